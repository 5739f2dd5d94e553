"""A verb that is stopped at a system call, and done again, ends as one that was not disturbed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.crash.children import Outcome, Watch, in_child, in_child_with_imports
from tests.crash.state import (
    SECTIONS,
    State,
    answers,
    between,
    differences,
    leftovers,
    media_of,
    state_of,
)
from tests.crash.stops import Record, Stop, require_equal, stops, write
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
        self._place, template = work / "place", work / "template"
        self._space = self._place / "space"
        self._place.mkdir()
        valued(in_child_with_imports(self._prepare))
        shutil.copytree(self._place, template)
        self.undisturbed = self._run(template)

    def _prepare(self) -> None:
        self.verb.prepare(self._space)

    def _run(self, template: Path) -> Undisturbed:
        before = valued(in_child(self.state))

        def act() -> int:
            watch = Watch(self._library, self._place)
            self._act()
            return watch.counted()

        calls = valued(in_child_with_imports(act))
        after, answered, media, left = valued(in_child(self._look))
        assert not left, f"{self.verb.name} leaves {left}"
        return Undisturbed(template, before, after, answered, media, calls)

    def _act(self) -> None:
        self.verb.act(self.verb.open(self._space))

    def _look(self) -> tuple[State, dict[str, Any], list[str], list[str]]:
        path = self._space
        return self.state(), self._answers(), media_of(path), leftovers(self._place, path)

    def state(self) -> State:
        """Return what the space holds, without what the verb changes each time it is done."""
        if self._unreadable():
            return {section: {} for section in SECTIONS}
        state = state_of(self._space)
        if "attempts" in self.verb.ignore:
            for row in state["quarantine"].values():
                del row["attempts"]
        return state

    def _answers(self) -> dict[str, Any]:
        return {} if self._unreadable() else answers(self._space)

    def _unreadable(self) -> bool:
        """Return whether the space is not there yet, or damaged as it is before it is mended."""
        if self.verb.unreadable:
            try:
                state_of(self._space)
            except self.verb.unreadable:
                return True
        return False

    def restore(self) -> None:
        """Put the space back to what it was before the verb."""
        shutil.rmtree(self._place, ignore_errors=True)
        shutil.copytree(self.undisturbed.template, self._place)

    def killed_at(self, call: int) -> list[str] | None:
        """Kill the verb at a system call, do it again; return what is wrong, None if not killed."""
        self.restore()

        def act() -> None:
            Watch(self._library, self._place, call)
            self._act()

        outcome = in_child(act)
        if outcome.error:
            return [f"fails where it should be killed: {outcome.error}"]
        return self.recovers() if outcome.killed else None

    def recovers(self) -> list[str]:
        """Ask a space that was left anyhow, do the verb again; return what is wrong."""
        expected = self.undisturbed

        def look() -> list[str]:
            self._answers()
            return between(self.state(), expected.before, expected.after)

        def again() -> list[str]:
            self._act()
            state, answered, media, left = self._look()
            problems = differences(state, expected.after)
            if answered != expected.answers:
                problems.append(f"answers {answered}, expected {expected.answers}")
            if media != expected.media:
                problems.append(f"media {media}, expected {expected.media}")
            return problems + [f"left over: {name}" for name in left]

        seen = in_child(look)
        problems = [f"in between: {what}" for what in problems_of(seen)]
        return problems + [f"done again: {what}" for what in problems_of(in_child(again))]

    def recorded(self) -> Record:
        """Do the verb once and record its calls."""
        self.restore()
        folder = self._work / "record"
        folder.mkdir()

        def act() -> None:
            Watch(self._library, self._place, record=folder)
            self._act()

        valued(in_child(act))
        return Record.read(folder, self._place)

    def all_stops(self, first: int = 1, step: int = 1) -> Iterator[tuple[Stop, list[str]]]:
        """Stop at every `step`-th stop from the first; yield it and what is wrong."""
        record = self.recorded()
        found = list(stops(record, self.undisturbed.template))
        (last,) = (stop for stop in found if stop.done and stop.kind == "kill")
        require_equal(last.disk, self._place)
        for number, stop in enumerate(found, 1):
            if stop.done or (number >= first and (number - first) % step == 0):
                self._left(stop)
                problems = self.recovers()
                if stop.done:
                    self._left(stop)
                    problems += self._lost()
                yield stop, problems

    def _left(self, stop: Stop) -> None:
        shutil.rmtree(self._place)
        write(stop.disk, self._place)

    def _lost(self) -> list[str]:
        """Return what a space in which the verb is done does not hold."""
        outcome = in_child(lambda: differences(self.state(), self.undisturbed.after))
        return [f"lost: {what}" for what in problems_of(outcome)]


def problems_of(outcome: Outcome) -> list[str]:
    if outcome.killed or outcome.error:
        return [outcome.error or "killed"]
    return outcome.value


def valued(outcome: Outcome) -> Any:
    """Return the value of a process that must not fail."""
    if outcome.error or outcome.killed:
        raise AssertionError(outcome.error or "killed")
    return outcome.value
