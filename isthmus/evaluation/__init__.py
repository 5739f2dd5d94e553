"""How good recommendations are: tasks with hidden truth, metrics, statistics, baselines, reports.

Nothing here knows how a list was made. A system takes a `Task` and returns `Lists`; everything else
follows from the lists and what the task hides.
"""
