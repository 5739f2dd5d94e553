"""Every verb, killed at any system call or caught by a loss of power, ends as if undisturbed.

The trials run in a process of their own, because they fork, and a fork does not copy the threads
that Lance has in this one.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from isthmus.cli.commands import build_app
from tests.crash.verbs import COMMANDS, VERBS

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ("retry", "set weights")
MADE_OF_OTHERS = {  # which are stopped
    "add",  # upsert
    "enrich",  # update
    "import",  # create, upsert
    "monitor",  # rollback
    "unenrich",  # attributes drop, upsert
    "users erase",  # interactions forget-user, compact
}
READING = {  # `distill` and `finetune` write an encoder into a folder of its own
    "attributes list",
    "backup",  # this and restoring are stopped in tests.retrieval.test_backup
    "backups",
    "count",
    "distill",
    "duplicates",
    "evaluate",
    "events",
    "export",
    "facets",
    "finetune",
    "get",
    "ids",
    "interactions count",
    "interactions show",
    "keys create",  # keys are no part of a space
    "keys list",
    "keys revoke",
    "map",
    "mcp",
    "plan",
    "predict-ratings",
    "profile",
    "quarantine",
    "recommend-file",
    "recommend-rows",
    "recommend-users",
    "recommendations",
    "releases",
    "restore",
    "scenarios list",
    "scroll",
    "search",
    "search-file",
    "search-groups",
    "serve",  # what is written is written by verbs
    "similar",
    "source-domains",
    "status",
    "users attributes",
    "users export",
    "users get",
    "users list",
    "weights",
}

pytestmark = pytest.mark.skipif(
    not (shutil.which("cc") or shutil.which("gcc")) or not sys.platform.startswith("linux"),
    reason="needs a C compiler and Linux",
)


def run(*arguments: str) -> str:
    command = [sys.executable, "-m", "tests.crash.run", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-2000:]}"
    return done.stdout


def commands(app, *words):
    """Yield the words of every command of the command line."""
    for command in app.registered_commands:
        name = command.name or command.callback.__name__.replace("_", "-")
        yield " ".join([*words, name])
    for group in app.registered_groups:
        yield from commands(group.typer_instance, *words, group.typer_instance.info.name)


def test_every_command_that_writes_a_space_is_stopped():
    """A new command is an entry of `VERBS`, or of `READING` if it writes nothing."""
    assert set(commands(build_app())) == COMMANDS | READING | MADE_OF_OTHERS
    assert not COMMANDS & READING


def test_a_sample_of_kills_and_losses_of_power():
    """A few of each; ten seconds, most of them to import and to make the spaces."""
    report = run(*SAMPLE, "--every", "60", "--first", "20")
    assert report.splitlines()[-1] == "0 divergences"
    assert all(f"{name}: " in report for name in SAMPLE)


@pytest.mark.heavy
@pytest.mark.parametrize("verb", VERBS)
def test_kills_and_losses_of_power(verb):
    """At every eighth stop of each verb; ``make crash`` takes all."""
    assert run(verb, "--every", "8", "--first", "4").splitlines()[-1] == "0 divergences"


@pytest.mark.heavy
@pytest.mark.parametrize("call", [7, 40, 90])
def test_a_killed_process_leaves_what_the_record_says(call):
    """A signal at a system call, in place of the disk that is made of the record."""
    assert run("upsert", "--at", str(call)).splitlines()[-1] == "0 divergences"


@pytest.mark.heavy
def test_a_divergence_is_found(tmp_path):
    """The trial notices a verb that, done again, does nothing."""
    script = """
import sys
from dataclasses import replace
from pathlib import Path
from tests.crash.children import build
from tests.crash.trial import Trial
from tests.crash.verbs import VERBS
work = Path(sys.argv[1])
times = work / "times"
def act(space):
    times.write_text(times.read_text() + "x" if times.exists() else "x")
    return space.delete(["i1"]) if len(times.read_text()) < 3 else None
trial = Trial(replace(VERBS["delete"], act=act), build(work), work)
problems = trial.killed_at(1)
assert problems and all("i1" in problem or "answers" in problem for problem in problems), problems
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
