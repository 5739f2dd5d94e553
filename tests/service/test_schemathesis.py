"""The service against its own description: generated requests, valid and not (schemathesis)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from isthmus.api.operations import OPERATIONS
from isthmus.service.openapi import LINKS, describe
from tests.service.serving import app_of, running

pytestmark = pytest.mark.heavy

JOBS = ("publish", "train", "backup", "monitor", "evaluate")  # each is a process
WAIT_S = 120  # a limit for a broken service: the first map with UMAP compiles for seconds
CHECKS = [
    schemathesis.checks.not_a_server_error,
    schemathesis.checks.status_code_conformance,
    schemathesis.checks.content_type_conformance,
    schemathesis.checks.response_schema_conformance,
]


@pytest.fixture(scope="module")
def described(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The description of a service whose shop may be changed."""
    folder = shutil.copytree(shop, tmp_path_factory.mktemp("generated") / "shop.space")
    with running(app_of(spaces={"shop": Path(folder)})) as address:
        yield schemathesis.openapi.from_url(f"{address}/v1/openapi.json")


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(
    "operation", [o for o in OPERATIONS if o.name not in JOBS], ids=lambda o: o.name
)
def test_every_answer_is_as_described_and_none_is_a_failure(described, operation, mode):
    found = described[f"/v1{operation.path}"][operation.method]

    @given(case=found.as_strategy(generation_mode=mode))
    @settings(max_examples=25, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    def check(case: Any) -> None:
        case.call_and_validate(checks=CHECKS, timeout=WAIT_S)

    if mode is schemathesis.GenerationMode.NEGATIVE and not (found.body or found.query):
        pytest.skip("nothing of it can be wrong")
    check()


def test_operations_follow_one_another(described):
    """What an answer names is asked for next: items, users, cursors, scenarios."""
    linked = described.exclude(operation_id=list(JOBS)).as_state_machine()

    class Machine(linked):  # type: ignore[misc, valid-type]
        def validate_response(self, response: Any, case: Any, *_: Any, **__: Any) -> None:
            case.validate_response(response, checks=CHECKS)

    Machine.run(
        settings=settings(
            max_examples=40,
            stateful_step_count=6,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
    )


def test_every_link_leads_to_an_operation_with_its_parameters():
    found = describe(several=False)
    operations = {
        one["operationId"]: one for path in found["paths"].values() for one in path.values()
    }
    for name, links in LINKS.items():
        assert operations[name]["responses"]["200"]["links"] == links
        for link in links.values():
            target = operations[link["operationId"]]
            names = {one["name"] for one in target["parameters"] if one["in"] == "path"}
            assert set(link.get("parameters", {})) == names
