"""What goes over HTTP, for the service and for its clients: operations, bodies, answers, errors.

`operations` is the one table of them; `bodies` makes the JSON of requests from the request models
of the verbs, `answers` that of results, and `problems` that of errors.
"""
