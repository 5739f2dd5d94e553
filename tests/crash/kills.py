"""A verb that is killed at a system call, and done again, ends as one that was not disturbed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.crash.children import Outcome, Watch, in_child
from tests.crash.state import State, answers, between, differences, leftovers, media_of, open_space
from tests.crash.state import state_of as _state_of
from tests.crash.verbs import Verb


@dataclass(frozen=True)
class Undisturbed:
    """A verb that nobody disturbs.

    Attributes
    ----------
    template : Path
        The space before.
    before, after : State
        What it holds before and after.
    answers : dict
        What it answers after.
    media : list of str
        The stored media after.
    calls : int
        The system calls that the verb takes.
    """

    template: Path
    before: State
    after: State
    answers: dict[str, Any]
    media: list[str]
    calls: int


class Trial:
    """One verb in a working folder.

    Parameters
    ----------
    verb : Verb
        The verb.
    library : Path
        The compiled library.
    work : Path
        An empty folder.
    """

    def __init__(self, verb: Verb, library: Path, work: Path) -> None:
        self.verb, self._library, self._work = verb, library, work
        self._space = work / "space"
        template = work / "template"
        valued(in_child(self._prepare))
        shutil.copytree(self._space, template)
        self.undisturbed = self._run(template)

    def _prepare(self) -> None:
        self.verb.prepare(self._space)

    def _run(self, template: Path) -> Undisturbed:
        before = valued(in_child(lambda: self.state_of(self._space)))

        def act() -> int:
            watch = Watch(self._library, self._space)
            self.verb.act(open_space(self._space))
            return watch.counted()

        calls = valued(in_child(act))
        after, answered, media, left = valued(in_child(lambda: self._look(self._space)))
        assert not left, f"{self.verb.name} leaves {left}"
        return Undisturbed(template, before, after, answered, media, calls)

    def _look(self, path: Path) -> tuple[State, dict[str, Any], list[str], list[str]]:
        return self.state_of(path), answers(path), media_of(path), leftovers(path)

    def state_of(self, path: Path) -> State:
        state = _state_of(path)
        if "attempts" in self.verb.ignore:
            for row in state["quarantine"].values():
                del row["attempts"]
        return state

    def restore(self) -> Path:
        """Put the space back to what it was before the verb."""
        shutil.copytree(self.undisturbed.template, self.clear())
        return self._space

    def killed_at(self, call: int) -> list[str] | None:
        """Kill the verb at a system call, do it again; return what is wrong, None if not killed."""
        space = self.restore()

        def act() -> None:
            Watch(self._library, space, call)
            self.verb.act(open_space(space))

        outcome = in_child(act)
        if outcome.error:
            return [f"fails where it should be killed: {outcome.error}"]
        return self.recovers(space) if outcome.killed else None

    def recovers(self, path: Path) -> list[str]:
        """Ask a space that was left anyhow, do the verb again; return what is wrong."""
        expected = self.undisturbed

        def look() -> list[str]:
            answers(path)
            return between(self.state_of(path), expected.before, expected.after)

        def again() -> list[str]:
            self.verb.act(open_space(path))
            state, answered, media, left = self._look(path)
            problems = differences(state, expected.after)
            if answered != expected.answers:
                problems.append(f"answers {answered}, expected {expected.answers}")
            if media != expected.media:
                problems.append(f"media {media}, expected {expected.media}")
            return problems + [f"left over: {name}" for name in left]

        seen = in_child(look)
        problems = [f"in between: {what}" for what in problems_of(seen)]
        return problems + [f"done again: {what}" for what in problems_of(in_child(again))]

    def clear(self) -> Path:
        """Remove the space, and return where it was."""
        shutil.rmtree(self._space, ignore_errors=True)
        return self._space

    def recorded(self) -> tuple[Path, Path]:
        """Do the verb once and record its calls; return the folders of the record and the space."""
        space, record = self.restore(), self._work / "record"
        record.mkdir()

        def act() -> None:
            Watch(self._library, space, record=record)
            self.verb.act(open_space(space))

        valued(in_child(act))
        return record, space

    def differs(self, path: Path) -> list[str]:
        """Return what a space in which the verb is done does not hold."""
        outcome = in_child(lambda: differences(self.state_of(path), self.undisturbed.after))
        return [f"lost: {what}" for what in problems_of(outcome)]

    def all_kills(self, first: int, step: int) -> Iterator[tuple[int, list[str]]]:
        """Kill at every `step`-th call from the first; yield the call and what is wrong."""
        call = first
        while (problems := self.killed_at(call)) is not None:
            yield call, problems
            call += step


def problems_of(outcome: Outcome) -> list[str]:
    if outcome.killed or outcome.error:
        return [outcome.error or "killed"]
    return outcome.value


def valued(outcome: Outcome) -> Any:
    """Return the value of a process that must not fail."""
    if outcome.error or outcome.killed:
        raise AssertionError(outcome.error or "killed")
    return outcome.value
