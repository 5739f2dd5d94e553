"""The operations of the HTTP service: one table, of which everything else is made.

Routes, authorisation, the OpenAPI description, the clients and the table of names in the
documentation follow it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from isthmus.evaluation.request import EvaluateRequest
from isthmus.operations.events import RecordEventsRequest
from isthmus.operations.request import (
    AttributesRequest,
    BackupRequest,
    CastAttributeRequest,
    DeleteRequest,
    DropAttributeRequest,
    InteractionsRequest,
    MergeUsersRequest,
    MonitorRequest,
    PublishRequest,
    RenameAttributeRequest,
    UpdateRequest,
    UpsertRequest,
    UsersRequest,
)
from isthmus.requests import Request
from isthmus.retrieval.recommend.request import (
    EventsRequest,
    PredictRatingsRequest,
    RecommendBatchRequest,
    RecommendRequest,
    RecommendRowsRequest,
    RecommendUsersRequest,
    ScenarioRequest,
    TrainRequest,
)
from isthmus.retrieval.search.request import (
    FacetsRequest,
    FilterOptions,
    MapRequest,
    ScrollRequest,
    SearchBatchRequest,
    SearchGroupsRequest,
    SearchRequest,
    SimilarRequest,
)

Scope = Literal["read", "write", "events", "admin"]
SCOPES: Final[tuple[Scope, ...]] = ("read", "write", "events", "admin")
PREFIX: Final = "/v1"
# Of a CSV, which does not come over HTTP.
OF_FILES: Final = ("delimiter", "encoding", "quote", "decimal", "null_values")
# The service encodes in its own processes.
OF_ENGINES: Final = ("engine", "address", "workers", "gpus_per_worker", "concurrency")
ITEM: Final = {"item_id": "film-1", "domain": "films", "text": "A ship in a storm", "year": 1998}
USER: Final = {"id": "user-7", "history": ["book-2"]}


@dataclass(frozen=True, eq=False)
class Operation:
    """An operation of the service: a verb of `isthmus.Space`, or one that only a service has.

    Attributes
    ----------
    name : str
        The verb, or the name of the operation.
    method, path : str
        Of its requests; the path follows the version, and the space where there are several.
    scope : str
        What a key must be allowed to do.
    summary : str
        What it does, in a line.
    request : type of Request or None
        Its arguments.
    omit : tuple of str
        Arguments that are not offered over HTTP.
    in_path : tuple of str
        Arguments that stand in the path, in the order of those of the verb.
    answer : str
        How the result is written, see `isthmus.api.answers`.
    example : mapping
        A body.
    job : bool
        Whether it is carried out as a job: the answer is 202 and the job.
    is_verb : bool
        Whether it is a method of `isthmus.Space`.
    """

    name: str
    method: str
    path: str
    scope: Scope
    summary: str
    request: type[Request] | None = None
    omit: tuple[str, ...] = ()
    in_path: tuple[str, ...] = ()
    answer: str = "plain"
    example: dict[str, Any] = field(default_factory=dict)
    job: bool = False
    is_verb: bool = True

    @property
    def has_body(self) -> bool:
        """Whether its arguments come in a body, rather than behind a question mark."""
        return self.method != "GET" and not (self.method == "DELETE" and self.in_path)

    @property
    def reads(self) -> bool:
        """Whether it only reads."""
        return self.scope == "read" or self.method == "GET"

    @property
    def documented_path(self) -> str:
        """Method and path, as the documentation writes them."""
        path = self.path
        for name in self.in_path:
            path = path.replace(f"{{{name}}}", "{id}")
        return f"{self.method} {PREFIX}{path}"


OPERATIONS: Final[Sequence[Operation]] = (
    # Read
    Operation(
        *("search", "POST", "/search", "read"),
        "Find the items nearest to a text, an image, audio, a vector, or examples.",
        request=SearchRequest,
        answer="hits",
        example={"text": "a ship in a storm", "k": 3, "where": "year > 1990"},
    ),
    Operation(
        *("search_batch", "POST", "/search/batch", "read"),
        "Find the items nearest to each of many vectors.",
        request=SearchBatchRequest,
        answer="batch",
        example={"vectors": [[0.1, 0.2], [0.3, 0.4]], "k": 3},
    ),
    Operation(
        *("search_groups", "POST", "/search/groups", "read"),
        "Find the best items of each value of an attribute.",
        request=SearchGroupsRequest,
        omit=("cursor",),
        answer="groups",
        example={"text": "a ship in a storm", "by": "year", "k": 3, "group_size": 2},
    ),
    Operation(
        *("facets", "POST", "/facets", "read"),
        "Count the values of attributes among the items that a filter selects.",
        request=FacetsRequest,
        answer="facets",
        example={"attributes": ["year"], "domain": ["films"]},
    ),
    Operation(
        *("scroll", "POST", "/scroll", "read"),
        "Return the items that a filter selects, page by page, in the order of their ids.",
        request=ScrollRequest,
        answer="page",
        example={"domain": ["films"], "k": 10},
    ),
    Operation(
        *("count", "POST", "/count", "read"),
        "Count the searchable items that a filter selects.",
        request=FilterOptions,
        answer="count",
        example={"where": "year > 1990"},
    ),
    Operation(
        *("get", "GET", "/items/{item_id}", "read"),
        "Return an item.",
        in_path=("item_id",),
        answer="item",
    ),
    Operation(
        *("similar", "POST", "/items/{item_id}/similar", "read"),
        "Find the items most similar to an item.",
        request=SimilarRequest,
        in_path=("item_id",),
        answer="hits",
        example={"domain": ["books"], "k": 3},
    ),
    Operation(
        *("attributes", "GET", "/attributes", "read"),
        "List the attributes of each domain.",
        request=AttributesRequest,
        answer="attributes",
    ),
    Operation(
        *("map", "POST", "/map", "read"),
        "Lay the contents of items out on a plane, similar ones close together.",
        request=MapRequest,
        answer="map",
        example={"domain": ["films"], "limit": 500, "layout": "components"},
    ),
    Operation(*("status", "GET", "/status", "read"), "Describe the space.", answer="status"),
    # Recommend
    Operation(
        *("recommend", "POST", "/recommend", "read"),
        "Recommend items to a user.",
        request=RecommendRequest,
        answer="hits",
        example={"user": USER, "domain": ["films"], "k": 3},
    ),
    Operation(
        *("recommend_batch", "POST", "/recommend/batch", "read"),
        "Recommend items to each of many users.",
        request=RecommendBatchRequest,
        omit=("processes",),
        answer="lists",
        example={"users": [USER], "domain": ["films"], "k": 3},
    ),
    Operation(
        *("recommend_rows", "POST", "/recommend/rows", "read"),
        "Recommend several titled rows of items to a user, no item twice.",
        request=RecommendRowsRequest,
        answer="rows",
        example={"user": USER, "domain": ["films"], "k": 6, "n_rows": 4},
    ),
    Operation(
        *("recommend_users", "POST", "/items/{item_id}/users", "events"),
        "Return the users to tell about an item.",
        request=RecommendUsersRequest,
        in_path=("item_id",),
        answer="users",
        example={"k": 100},
    ),
    Operation(
        *("predict_ratings", "POST", "/predict-ratings", "read"),
        "Predict the ratings that a user would give items.",
        request=PredictRatingsRequest,
        answer="ratings",
        example={"user": USER, "item_ids": ["film-1"]},
    ),
    # Write
    Operation(
        *("upsert", "PUT", "/items", "write"),
        "Add new items and change those that are there; searchable when it answers 200.",
        request=UpsertRequest,
        omit=(*OF_FILES, *OF_ENGINES),
        answer="items_report",
        example={"items": [ITEM]},
    ),
    Operation(
        *("update", "PATCH", "/items", "write"),
        "Change items that are there, in the columns that are given.",
        request=UpdateRequest,
        omit=OF_FILES,
        answer="items_report",
        example={"items": [{"item_id": "film-1", "year": 1999}]},
    ),
    Operation(
        *("delete", "DELETE", "/items", "write"),
        "Delete items, by id or by a filter.",
        request=DeleteRequest,
        omit=("file",),
        answer="deleted",
        example={"item_ids": ["film-1"]},
    ),
    Operation(
        *("cast_attribute", "POST", "/attributes/cast", "admin"),
        "Cast an attribute of a domain to another type.",
        request=CastAttributeRequest,
        example={"domain": "films", "name": "year", "type": "text"},
    ),
    Operation(
        *("rename_attribute", "POST", "/attributes/rename", "admin"),
        "Rename an attribute of a domain.",
        request=RenameAttributeRequest,
        example={"domain": "films", "name": "year", "new_name": "released"},
    ),
    Operation(
        *("drop_attribute", "DELETE", "/attributes", "admin"),
        "Drop an attribute of a domain, with all its values.",
        request=DropAttributeRequest,
        example={"domain": "films", "name": "year"},
    ),
    # Events and users
    Operation(
        *("record_events", "POST", "/events", "events"),
        "Record events; one whose id was sent before changes nothing.",
        request=RecordEventsRequest,
        answer="interactions_report",
        example={
            "events": [
                {"event_id": "e-1", "user_id": "user-7", "item_id": "film-1", "event": "click"}
            ]
        },
    ),
    Operation(
        *("add_interactions", "POST", "/interactions", "events"),
        "Add interactions; rows that repeat a stored one exactly are left out.",
        request=InteractionsRequest,
        omit=OF_FILES,
        answer="interactions_report",
        example={"source": [{"user_id": "user-7", "item_id": "film-1", "rating": 4.5}]},
    ),
    Operation(
        *("interactions", "GET", "/users/{user_id}/interactions", "events"),
        "Return the interactions of a user.",
        in_path=("user_id",),
        answer="interactions",
    ),
    Operation(
        *("events", "POST", "/events/summary", "admin"),
        "Say how a training would use the stored events.",
        request=EventsRequest,
        answer="events",
    ),
    Operation(
        *("export_user", "GET", "/users/{user_id}/export", "events"),
        "Return all that is stored of a user.",
        in_path=("user_id",),
        answer="export",
    ),
    Operation(
        *("forget_user", "DELETE", "/users/{user_id}", "events"),
        "Delete all that is stored of a user.",
        in_path=("user_id",),
        answer="deleted",
    ),
    Operation(
        *("add_users", "PUT", "/users", "events"),
        "Add users with their attributes, or change those that are there.",
        request=UsersRequest,
        omit=OF_FILES,
        answer="users_report",
        example={"source": [{"user_id": "user-7", "country": "NL"}]},
    ),
    Operation(
        *("merge_users", "POST", "/users/merge", "events"),
        "Make one user of two: what is stored of the first becomes the second's.",
        request=MergeUsersRequest,
        answer="merged",
        example={"user_id": "visitor-3", "into": "user-7"},
    ),
    Operation(
        *("users", "GET", "/users/{user_ids}", "events"),
        "Return a user with the attributes.",
        in_path=("user_ids",),
        answer="users",
    ),
    Operation(
        *("user_ids", "GET", "/users", "events"),
        "List the ids of the users that have attributes.",
        answer="user_ids",
    ),
    Operation(
        *("user_attributes", "GET", "/user-attributes", "events"),
        "List the attributes of users.",
        answer="attributes",
    ),
    Operation(
        *("delete_users", "DELETE", "/users/{user_ids}/attributes", "events"),
        "Delete the attributes of a user.",
        in_path=("user_ids",),
        answer="deleted",
    ),
    # Operate
    Operation(
        *("quarantine", "GET", "/quarantine", "write"),
        "List what could not be embedded.",
        answer="quarantine",
    ),
    Operation(
        *("retry_quarantine", "POST", "/quarantine/retry", "write"),
        "Encode again what could not be embedded.",
        answer="items_report",
    ),
    Operation(
        *("releases", "GET", "/releases", "admin"), "List the kept releases.", answer="releases"
    ),
    Operation(
        *("rollback", "POST", "/rollback", "admin"),
        "Make an earlier release current.",
        answer="release",
        example={"number": 1},
    ),
    Operation(
        *("scenarios", "GET", "/scenarios", "admin"),
        "List the scenarios: named sets of rules that requests refer to.",
        answer="scenarios",
    ),
    Operation(
        *("set_scenario", "PUT", "/scenarios/{name}", "admin"),
        "Set a scenario, in the place of one of its name.",
        request=ScenarioRequest,
        in_path=("name",),
        example={"caps": {"year": 2}, "where": "year > 1990"},
    ),
    Operation(
        *("delete_scenario", "DELETE", "/scenarios/{name}", "admin"),
        "Delete a scenario.",
        in_path=("name",),
    ),
    Operation(
        *("backup", "POST", "/jobs/backup", "admin"),
        "Back the space up to a place that serve.toml names, as a job.",
        request=BackupRequest,
        answer="job",
        example={"to": "nightly", "keep": 7},
        job=True,
    ),
    Operation(
        *("publish", "POST", "/jobs/publish", "admin"),
        "Build a release, measure it, and make it current, as a job.",
        request=PublishRequest,
        answer="job",
        job=True,
    ),
    Operation(
        *("train", "POST", "/jobs/train", "admin"),
        "Train candidate generators and rankers on the stored interactions, as a job.",
        request=TrainRequest,
        omit=("start_from",),
        answer="job",
        job=True,
    ),
    Operation(
        *("monitor", "POST", "/jobs/monitor", "admin"),
        "Measure recall, drift and growth, and compare them with the thresholds, as a job.",
        request=MonitorRequest,
        answer="job",
        job=True,
    ),
    Operation(
        *("evaluate", "POST", "/jobs/evaluate", "admin"),
        "Measure how well systems recommend, on interactions that are hidden from them, as a job.",
        request=EvaluateRequest,
        answer="job",
        example={"protocols": ["warm"], "quick": True},
        job=True,
    ),
    Operation(
        *("jobs", "GET", "/jobs", "admin"),
        "List the jobs, the newest first.",
        answer="jobs",
        is_verb=False,
    ),
    Operation(
        *("job", "GET", "/jobs/{job_id}", "admin"),
        "Return a job.",
        in_path=("job_id",),
        answer="job",
        is_verb=False,
    ),
)
BY_NAME: Final = {operation.name: operation for operation in OPERATIONS}
