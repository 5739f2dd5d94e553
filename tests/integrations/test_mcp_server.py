"""The tools of a language model over a space: they answer as the verbs do, errors included."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

import isthmus
from isthmus import Space, User
from isthmus.integrations.mcp_server import make_mcp_server
from tests.retrieval.crowd import make_crowd

POINT = "1 0 0 0 0"  # how the toy encoder of the crowd reads a text
mcp = pytest.importorskip("mcp", reason="the extra mcp is not installed")


def call(server: Any, tool: str, **arguments: Any) -> Any:
    """Call a tool as a client does; returns what it returned, or the text of the error."""

    async def ask() -> Any:
        async with mcp.Client(server) as client:
            return await client.call_tool(tool, arguments)

    answer = asyncio.run(ask())
    return answer.content[0].text if answer.is_error else answer.structured_content


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Space:
    return make_crowd(tmp_path_factory.mktemp("crowd"))


@pytest.fixture(scope="module")
def server(crowd: Space) -> Any:
    return make_mcp_server(crowd)


def test_there_are_five_tools_that_only_read(server):
    async def ask() -> Any:
        async with mcp.Client(server) as client:
            return (await client.list_tools()).tools

    tools = asyncio.run(ask())
    assert server.version == isthmus.__version__
    assert [tool.name for tool in tools] == ["domains", "search", "similar", "recommend", "explain"]
    for tool in tools:
        assert tool.annotations.read_only_hint
        assert tool.description


def test_the_tools_answer_as_the_verbs_do(server, crowd):
    status = crowd.status()
    assert call(server, "domains")["domains"] == status["domains"]
    domain = next(iter(status["domains"]))
    item_id = next(iter(crowd.ids(domain=domain)))
    verbs = {
        "search": ({"text": POINT, "k": 3}, crowd.search(POINT, k=3)),
        "similar": (
            {"item_id": item_id, "domain": domain, "k": 4},
            crowd.similar(item_id, domain=domain, k=4),
        ),
        "recommend": (
            {"history": [item_id], "domain": domain, "k": 5},
            crowd.recommend(User([item_id]), domain=domain, k=5),
        ),
    }
    for tool, (arguments, hits) in verbs.items():
        items = call(server, tool, **arguments)["items"]
        assert [(one["item_id"], one["score"]) for one in items] == [
            (hit.item_id, hit.score) for hit in hits
        ]
        assert all(one["title"] for one in items)


def test_errors_reach_the_model_as_they_are_said(server):
    assert "no item 'nothing'" in call(server, "similar", item_id="nothing")
    assert "price" in call(server, "search", text=POINT, where="price <")
    assert "k" in call(server, "search", text=POINT, k=51)


def test_a_failure_of_another_kind_tells_no_details(server, monkeypatch):
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(Space, "search", fail)
    assert "/secret/path" not in call(server, "search", text=POINT)


@pytest.mark.heavy
def test_the_command_serves_a_client(tmp_path: Path):
    Space.create(tmp_path / "shop.space").upsert(
        [{"item_id": "f1", "domain": "films", "text": "a ship in a storm"}]
    )
    command = mcp.StdioServerParameters(
        command=sys.executable,
        args=["-m", "isthmus", "mcp", "--space", str(tmp_path / "shop.space")],
        env=dict(os.environ),
    )
    (found,) = call(command, "search", text="a boat at sea")["items"]
    assert (found["item_id"], found["text"]) == ("f1", "a ship in a storm")
