"""The description of the service (OpenAPI 3.1), made of the table of operations."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

import isthmus
from isthmus.api.bodies import body_of, query_model
from isthmus.api.operations import OPERATIONS, PREFIX, Operation
from isthmus.api.problems import MEDIA_TYPE as PROBLEM
from isthmus.api.tables import ARROW, CSV, NDJSON, PARQUET, TABLES
from isthmus.api.values import MEDIA_TYPE as JSON
from isthmus.data.interactions.ingest import InteractionReport
from isthmus.index.catalog.ingest import AddReport
from isthmus.operations.events import Event
from isthmus.operations.users import UserReport
from isthmus.retrieval.search.results import Hit
from isthmus.service.inputs import FILE_PARTS, MULTIPART
from isthmus.service.uploads import PREFER

Schema = dict[str, Any]

REFERENCE: Final = "#/components/schemas/{model}"
TEXT: Final[Schema] = {"type": "string"}
TEXTS: Final[Schema] = {"type": "array", "items": TEXT}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
ROW: Final[Schema] = {"type": "object"}
ROWS: Final[Schema] = {"type": "array", "items": ROW}
NULLABLE_TEXT: Final[Schema] = {"type": ["string", "null"]}
HIT: Final[Schema] = {"$ref": "#/components/schemas/Hit"}
HITS: Final[Schema] = {"type": "array", "items": HIT}
JOB: Final[Mapping[str, Schema]] = {
    "job_id": TEXT,
    "operation": TEXT,
    "state": {"enum": ["waiting", "running", "done", "failed"]},
    "created": TEXT,
    "finished": NULLABLE_TEXT,
    "result": {},
    "problem": {"type": ["object", "null"]},
    "arguments": ROW,
}

# The members of each kind of answer, beside the release.
ANSWERED: Final[Mapping[str, Mapping[str, Schema]]] = {
    "hits": {"hits": HITS, "notes": {"type": "array", "items": TEXT}, "cursor": NULLABLE_TEXT},
    "groups": {
        "groups": {
            "type": "array",
            "items": {"type": "object", "properties": {"value": {}, "hits": HITS}},
        },
        "notes": {"type": "array", "items": TEXT},
    },
    "rows": {
        "rows": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "kind": {"enum": ["for_you", "because", "category", "new", "popular"]},
                    "title": TEXT,
                    "item_id": NULLABLE_TEXT,
                    "attribute": NULLABLE_TEXT,
                    "value": {},
                    "hits": HITS,
                },
            },
        },
        "notes": {"type": "array", "items": TEXT},
    },
    "batch": {
        "results": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "item_ids": {"type": "array", "items": TEXT},
                    "scores": {"type": "array", "items": {"type": "number"}},
                },
            },
        },
        "k": COUNT,
    },
    "facets": {"facets": {"type": "object", "additionalProperties": ROWS}},
    "page": {"items": ROWS, "cursor": NULLABLE_TEXT},
    "count": {"count": COUNT},
    "item": {"item": ROW},
    "attributes": {"attributes": ROWS},
    "map": {
        "vector_name": TEXT,
        "item_ids": TEXTS,
        "domains": TEXTS,
        "modalities": TEXTS,
        "points": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
    },
    "status": {"domains": {"type": "object", "additionalProperties": COUNT}},
    "lists": {"lists": ROWS},
    "ratings": {"ratings": {"type": "array", "items": {"type": "number"}}},
    "items_report": {},
    "interactions_report": {},
    "users_report": {},
    "deleted": {"deleted": COUNT},
    "export": {"export": ROW},
    "merged": {"merged": COUNT},
    "interactions": {"interactions": ROWS},
    "events": {"summary": ROW},
    "users": {"users": ROWS},
    "user_ids": {"user_ids": {"type": "array", "items": TEXT}},
    "quarantine": {"quarantine": ROWS},
    "releases": {"releases": ROWS},
    "release": {"current": COUNT},
    "scenarios": {"scenarios": {"type": "object", "additionalProperties": ROW}},
    "plain": {"result": {}},
    "jobs": {"jobs": {"type": "array", "items": {"type": "object", "properties": dict(JOB)}}},
    "job": JOB,
}
REPORTS: Final = {
    "items_report": AddReport,
    "interactions_report": InteractionReport,
    "users_report": UserReport,
}
EXAMPLES: Final[Mapping[str, Any]] = {
    "hits": {
        "hits": [
            {
                "item_id": "film-1",
                "domain": "films",
                "score": 0.72,
                "rank": 1,
                "text": None,
                "image": None,
                "attributes": {},
            }
        ],
        "notes": [],
        "cursor": None,
    },
    "groups": {"groups": [{"value": 1998, "hits": []}], "notes": []},
    "rows": {
        "rows": [
            {
                "kind": "because",
                "title": "Because you liked A ship in a storm",
                "item_id": "book-2",
                "attribute": None,
                "value": None,
                "hits": [{"item_id": "film-1", "domain": "films", "score": 0.1, "rank": 1}],
            }
        ],
        "notes": [],
    },
    "batch": {"results": [{"item_ids": ["film-1"], "scores": [0.72]}], "k": 1},
    "facets": {"facets": {"year": [{"value": 1998, "count": 12}]}},
    "page": {"items": [{"item_id": "film-1", "domain": "films"}], "cursor": None},
    "count": {"count": 12},
    "item": {"item": {"item_id": "film-1", "domain": "films", "text": "A ship in a storm"}},
    "attributes": {"attributes": [{"domain": "films", "attribute": "year", "type": "int64"}]},
    "map": {
        "vector_name": "embedding",
        "item_ids": ["film-1"],
        "domains": ["films"],
        "modalities": ["text"],
        "points": [[0.5, -3.25]],
    },
    "status": {"domains": {"films": 12}},
    "lists": {
        "lists": [{"user_id": "user-7", "hits": [{"item_id": "film-1", "rank": 1, "score": 0.1}]}]
    },
    "ratings": {"ratings": [4.5]},
    "items_report": {"rows_read": 1, "added": 1},
    "interactions_report": {"rows_read": 1, "added": 1},
    "users_report": {"rows_read": 1, "added": 1},
    "deleted": {"deleted": 1},
    "export": {"export": {"user_id": "user-7", "attributes": {"country": "NL"}}},
    "merged": {"merged": 4},
    "interactions": {"interactions": [{"user_id": "user-7", "item_id": "film-1"}]},
    "events": {"summary": {"kinds": [], "half_life_days": None, "waiting": 0}},
    "users": {"users": [{"user_id": "user-7", "country": "NL"}]},
    "user_ids": {"user_ids": ["user-7"]},
    "quarantine": {"quarantine": []},
    "releases": {"releases": []},
    "release": {"current": 1},
    "scenarios": {"scenarios": {"home": {"caps": {"year": 2}}}},
    "plain": {"result": None},
    "jobs": {"jobs": []},
    "job": {"job_id": "5f0c9e1d2b3a", "operation": "publish", "state": "running"},
}
FIRST_HIT: Final = {"item_id": "$response.body#/hits/0/item_id"}
FIRST_ITEM: Final = {"item_id": "$response.body#/items/0/item_id"}
# What can be asked next, with what an answer says: by operation, then by name.
LINKS: Final[Mapping[str, Mapping[str, Schema]]] = {
    "search": {
        "Similar": {"operationId": "similar", "parameters": FIRST_HIT},
        "Item": {"operationId": "get", "parameters": FIRST_HIT},
    },
    "recommend": {
        "Similar": {"operationId": "similar", "parameters": FIRST_HIT},
        "Users": {"operationId": "recommend_users", "parameters": FIRST_HIT},
    },
    "similar": {"Item": {"operationId": "get", "parameters": FIRST_HIT}},
    "scroll": {
        "Item": {"operationId": "get", "parameters": FIRST_ITEM},
        "Next": {
            "operationId": "scroll",
            "requestBody": {"cursor": "$response.body#/cursor"},
        },
    },
    "recommend_users": {
        "Interactions": {
            "operationId": "interactions",
            "parameters": {"user_id": "$response.body#/users/0/user_id"},
        }
    },
    "set_scenario": {
        "Delete": {
            "operationId": "delete_scenario",
            "parameters": {"name": "$request.path.name"},
        }
    },
    "record_events": {
        "Interactions": {
            "operationId": "interactions",
            "parameters": {"user_id": "$request.body#/events/0/user_id"},
        },
        "Forget": {
            "operationId": "forget_user",
            "parameters": {"user_id": "$request.body#/events/0/user_id"},
        },
    },
    "user_ids": {
        "User": {
            "operationId": "users",
            "parameters": {"user_ids": "$response.body#/user_ids/0"},
        }
    },
    "jobs": {
        "Job": {
            "operationId": "job",
            "parameters": {"job_id": "$response.body#/jobs/0/job_id"},
        }
    },
}
PATH_EXAMPLES: Final = {"space": "shop", "job_id": "5f0c9e1d2b3a", "name": "home"}
STATUSES: Final[Mapping[int, str]] = {
    401: "No key, or one that is unknown or revoked.",
    403: "The key does not reach that far.",
    404: "No such item, release or job.",
    409: "The space does not allow it now.",
    413: "The body is too large.",
    422: "An argument is not valid.",
    429: "The key has too many requests at a time.",
    501: "A library that this needs is not installed.",
    503: "Too much to do, or somebody else is writing; try again.",
}


@cache
def describe(*, several: bool) -> Schema:
    """Return the description.

    Parameters
    ----------
    several : bool
        Whether several spaces are served, so that paths name one.
    """
    bodies = [body_of(operation) for operation in OPERATIONS]
    _, schemas = models_json_schema(
        [(body, "validation") for body in bodies], ref_template=REFERENCE
    )
    components: Schema = dict(schemas.get("$defs", {}))
    # A row of these is checked by the verb, which says at which place one is not valid.
    events = components["RecordEventsBody"]["properties"]["events"]
    events["items"] = {"$ref": REFERENCE.format(model="Event")}
    components["Event"] = Event.model_json_schema(ref_template=REFERENCE)
    for name, cls in (("Hit", Hit), *((cls.__name__, cls) for cls in REPORTS.values())):
        schema = TypeAdapter(cls).json_schema(mode="serialization", ref_template=REFERENCE)
        components |= schema.pop("$defs", {})
        components[name] = {**schema, "required": _required(cls)}
    components["Problem"] = _problem_schema()
    paths: Schema = {}
    prefixes = [f"{PREFIX}/spaces/{{space}}"] if several else [PREFIX]
    for prefix in prefixes:
        for operation in OPERATIONS:
            path = paths.setdefault(f"{prefix}{operation.path}", {})
            path[operation.method.lower()] = _described(operation, several=several)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Isthmus",
            "version": isthmus.__version__,
            "description": "Search and recommendations across domains. Arguments have the names "
            "that they have in Python; every answer names the release it came from.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"key": []}, {}],
    }


def _required(cls: type) -> list[str]:
    return ["item_id", "domain", "score", "rank"] if cls is Hit else ["rows_read"]


def _problem_schema() -> Schema:
    texts = dict.fromkeys(("type", "title", "detail", "error", "request_id"), TEXT)
    return {
        "type": "object",
        "properties": {**texts, "status": {"type": "integer"}},
        "required": ["type", "title", "status", "detail", "error", "request_id"],
    }


def _described(operation: Operation, *, several: bool) -> Schema:
    described: Schema = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.scope],
        "description": f"Needs the scope `{operation.scope}`.",
        "parameters": [*_parameters(operation, several=several)],
        "responses": _responses(operation),
    }
    if operation.has_body:
        described["requestBody"] = _request_body(operation)
    return described


def _parameters(operation: Operation, *, several: bool) -> list[Schema]:
    names = [*(["space"] if several else []), *operation.in_path]
    parameters: list[Schema] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "minLength": 1},
            "example": PATH_EXAMPLES.get(name, "film-1"),
        }
        for name in names
    ]
    if operation.name in TABLES:
        parameters.append(
            {
                "name": "Prefer",
                "in": "header",
                "required": False,
                "schema": {"enum": [PREFER]},
                "description": "Answer 202 with a job, and do not wait for it.",
            }
        )
    if not operation.has_body:
        schema = query_model(operation).model_json_schema(ref_template=REFERENCE)
        for name, one in schema.get("properties", {}).items():
            described = {key: value for key, value in one.items() if key != "title"}
            parameters.append(
                {
                    "name": name,
                    "in": "query",
                    "required": False,
                    "schema": described,
                    "description": one.get("description", ""),
                }
            )
    return parameters


def _request_body(operation: Operation) -> Schema:
    model: type[BaseModel] = body_of(operation)
    reference = {"$ref": REFERENCE.format(model=model.__name__)}
    content: Schema = {JSON: {"schema": reference, "example": operation.example}}
    if operation.name in TABLES:
        content[NDJSON] = {"schema": TEXT, "example": '{"item_id": "film-1", "domain": "films"}\n'}
        content[CSV] = {"schema": TEXT, "example": "item_id,domain\nfilm-1,films\n"}
        for kind in (ARROW, PARQUET):
            content[kind] = {"schema": {"type": "string", "format": "binary"}}
    if operation.name in ("search", "search_groups"):
        files = {name: {"type": "string", "format": "binary"} for name in FILE_PARTS}
        content[MULTIPART] = {
            "schema": {"type": "object", "properties": {"request": reference, **files}}
        }
    required = any(field.is_required() for field in model.model_fields.values())
    return {"required": required, "content": content}


def _responses(operation: Operation) -> Schema:
    members = ANSWERED[operation.answer]
    schema: Schema = {
        "type": "object",
        "properties": {**members, "release": COUNT},
        "required": [*members, "release"] if operation.answer != "job" else ["job_id", "state"],
    }
    if operation.answer in REPORTS:
        name = REPORTS[operation.answer].__name__
        schema = {"$ref": REFERENCE.format(model=name)}
    example = {**EXAMPLES[operation.answer], "release": 3}
    headers = {
        "isthmus-release": {"description": "The release that answered.", "schema": TEXT},
        "x-request-id": {"description": "Id of the request.", "schema": TEXT},
    }
    responses: Schema = {
        "202" if operation.job else "200": {
            "description": "The job." if operation.job else "The answer.",
            "headers": headers,
            "content": {JSON: {"schema": schema, "example": example}},
        }
    }
    if operation.name in LINKS:
        responses["200"]["links"] = dict(LINKS[operation.name])
    if operation.name in TABLES:
        job = {"type": "object", "properties": {**JOB}, "required": ["job_id", "state"]}
        example = {**EXAMPLES["job"], "operation": operation.name, "state": "waiting", "release": 3}
        responses["202"] = {
            "description": "The job that takes the table: it is large, or that was asked for.",
            "headers": headers,
            "content": {JSON: {"schema": job, "example": example}},
        }
    for status, meaning in STATUSES.items():
        responses[str(status)] = {
            "description": meaning,
            "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    return responses
