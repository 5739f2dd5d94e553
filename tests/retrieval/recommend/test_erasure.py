"""Certificates of erasure: what was deleted, what is left, and who signed it."""

from __future__ import annotations

import hashlib
import json
import stat

import pytest
from typer.testing import CliRunner

from isthmus.cli.commands import build_app
from isthmus.errors import InvalidInput

USER = "user-to-forget"


@pytest.fixture
def space(copied):
    space = copied()
    space.add_users([{"user_id": USER, "country": "NL"}])
    space.add_interactions([{"user_id": USER, "item_id": "f1"}, {"user_id": "u1", "item_id": "f2"}])
    return space


@pytest.fixture
def erase(space, tmp_path):
    def run(user):
        place = tmp_path / "out" / f"{user}.json"
        return space.erase_user(user, certificate=place, signing_key=tmp_path / "key.pem"), place

    return run


def test_a_certificate_says_what_was_deleted_and_that_nothing_is_left(space, erase, tmp_path):
    content, place = erase(USER)
    assert json.loads(place.read_text()) == content
    assert content["deleted_interactions"] == 1
    assert (content["left"], content["recommenders"]) == ([], [])
    assert USER not in place.read_text()
    user = content["user"]
    salted = bytes.fromhex(user["salt"]) + USER.encode()
    assert user["sha256"] == hashlib.sha256(salted).hexdigest()
    users = content["tables"]["users.lance"]
    assert users["before"]["rows"] - users["after"]["rows"] == 1
    assert users["before"]["sha256"] != users["after"]["sha256"]
    assert "its id" in content["searched"]["forms"]
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    assert space.check_certificate(place, USER).search.forgotten


def test_a_release_that_learned_of_a_user_is_named_until_it_is_trained_again(space, erase):
    content, place = erase("u1")
    (held,) = content["recommenders"]
    assert held["release"] == space.current_release
    assert held["deleted_events"] > 0
    assert not space.check_certificate(place, "u1").search.forgotten


def test_ids_that_were_merged_into_a_user_are_erased_with_it(space, erase):
    space.add_interactions([{"user_id": "visitor-4711", "item_id": "f1"}])
    space.merge_users("visitor-4711", USER)
    content, _ = erase(USER)
    assert content["left"] == []
    assert space.verify_forgotten("visitor-4711").forgotten


def test_two_certificates_have_one_key_and_another_salt(erase):
    (first, _), (second, _) = erase(USER), erase(USER)
    assert first["public_key"] == second["public_key"]
    assert first["user"]["salt"] != second["user"]["salt"]
    assert second["deleted_interactions"] == 0


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda c: c | {"deleted_interactions": 0}, "changed since it was signed"),
        (lambda c: c | {"left": None}, "changed since it was signed"),
        (lambda c: c | {"signature": "00"}, "changed since it was signed"),
        (lambda c: c | {"signature": "x"}, "no certificate of erasure"),
        (lambda c: c | {"format": 2}, "has format 2"),
        (lambda c: [c], "no certificate of erasure"),
    ],
)
def test_a_certificate_that_was_changed_is_refused(space, erase, change, problem):
    content, place = erase(USER)
    place.write_text(json.dumps(change(content)))
    with pytest.raises(InvalidInput, match=problem):
        space.check_certificate(place, USER)


def test_a_certificate_of_another_user_or_in_the_space_is_refused(space, erase, tmp_path):
    _, place = erase(USER)
    with pytest.raises(InvalidInput, match="is of another user than 'u1'"):
        space.check_certificate(place, "u1")
    with pytest.raises(InvalidInput, match="would stand in the space"):
        space.erase_user(USER, certificate=space.path / "c.json", signing_key=tmp_path / "key.pem")
    (tmp_path / "other.pem").write_text("no key")
    with pytest.raises(InvalidInput, match=r"other\.pem is no private key"):
        space.erase_user("u1", certificate=place, signing_key=tmp_path / "other.pem")
    assert len(space.interactions("u1")) > 0


def test_the_commands_erase_a_user_and_check_the_certificate(space, tmp_path):
    place, key = tmp_path / "c.json", tmp_path / "key.pem"
    at = ["--space", str(space.path)]
    run = CliRunner().invoke
    erased = run(
        build_app(),
        ["users", "erase", USER, *at, "--certificate", str(place), "--signing-key", str(key)],
    )
    assert erased.exit_code == 0, erased.output
    assert "1 interactions deleted" in erased.output
    checked = run(build_app(), ["verify", *at, "--forgotten", USER, "--certificate", str(place)])
    assert checked.exit_code == 0, checked.output
    assert "and unchanged" in checked.output
    alone = run(build_app(), ["verify", *at, "--certificate", str(place)])
    assert alone.exit_code != 0
