"""The HTTP service: spaces behind keys and limits, answered by several processes.

A request runs through `app` (routes, request ids, errors), `keys` and `access` (who may do what),
`limits`, `spaces` (the verb, from one release) and `isthmus.api.answers`.
"""
