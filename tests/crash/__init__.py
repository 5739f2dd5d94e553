"""Stops every verb at every system call that changes a space, and loses power at each of them.

`python -m tests.crash.run` runs it; a C compiler is needed.
"""
