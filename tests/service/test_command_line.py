"""``isthmus --server``, ``isthmus keys`` and ``isthmus serve``."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import plugin, run, run_json  # noqa: F401  (fixtures)
from tests.service.serving import app_of, running


def test_a_command_asks_the_service(run, shop, address):  # noqa: F811
    here = run("search", "filmsword2", "-k", 3, "--space", shop, "--json")
    there = run("--server", address, "search", "filmsword2", "-k", 3, "--json")
    assert there.returncode == 0, there.stderr
    found = json.loads(there.stdout)
    assert [hit["item_id"] for hit in found["hits"]]
    if here.returncode == 0:
        assert json.loads(here.stdout) == found


def test_groups_of_commands_ask_it_too(run, address):  # noqa: F811
    listed = run("--server", address, "interactions", "show", "u3", "--json")
    assert listed.returncode == 0, listed.stderr
    assert len(json.loads(listed.stdout)) == 8


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("similar", "none"), "isthmus: no item 'none' in this space"),
        (
            ("duplicates",),
            "isthmus: duplicates does not go over HTTP; open the folder of the space",
        ),
        (("search", "x", "--space", "other"), "isthmus: no space 'other' is served here"),
    ],
)
def test_its_errors_are_lines(run, address, words, said):  # noqa: F811
    result = run("--server", address, *words)
    assert result.returncode == 1
    assert result.stderr.startswith(said)


def test_a_service_that_is_not_there(run):  # noqa: F811
    result = run("--server", "http://127.0.0.1:9", "count")
    assert result.returncode == 1
    assert result.stderr.startswith("isthmus: cannot reach the service at http://127.0.0.1:9: ")


def test_keys_are_made_listed_and_revoked(run, run_json, shop, tmp_path):  # noqa: F811
    file = tmp_path / "keys.json"
    made = run_json("keys", "create", "--keys", file, "--name", "web", "--domain", "films")
    assert made["key"].startswith("isk_")
    assert made["key"] not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    (row,) = run_json("keys", "list", "--keys", file)
    assert (row["name"], row["domains"], row["revoked"]) == ("web", ["films"], None)
    with running(app_of(spaces={"shop": shop}, keys=file)) as address:
        ask = ("--server", address, "--key", made["key"], "count", "--json")
        assert json.loads(run(*ask).stdout) == {"count": 48}
        assert run("keys", "revoke", row["id"], "--keys", file, "--yes").returncode == 0
        refused = run(*ask)
        assert refused.stderr.startswith("isthmus: the key is unknown or revoked")


def test_the_world_is_not_let_in_without_keys(run, shop):  # noqa: F811
    result = run("serve", shop, "--host", "0.0.0.0")
    assert result.returncode == 1
    assert result.stderr.startswith("isthmus: whoever reaches 0.0.0.0 could read and write")
