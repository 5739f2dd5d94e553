"""The page of a service: what people look at, made of the same operations as the routes.

Every view asks through `isthmus.service.pipeline.Pipeline.carry_out`, so that a page shows what the
routes would answer the same key, and nothing else. Views are functions of a `Visit`; `routes` has
their table, the sign-in and the headers of every answer.
"""
