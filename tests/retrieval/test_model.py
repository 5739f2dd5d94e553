"""Any sequence of writes, publishes, rollbacks and reopenings behaves as a plain dictionary."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from isthmus import Space
from isthmus.errors import UnsupportedModality
from tests.toy import item, picture, two_encoders

IDS = [f"i{n}" for n in range(12)]
WORDS = ["sea", "snow", "jazz", "robot"]
COLOURS = ["red", "green", "blue"]

contents = st.tuples(
    st.sampled_from([*WORDS, None]), st.sampled_from([*COLOURS, None]), st.integers(0, 5)
).filter(lambda content: content[0] or content[1])
batches = st.dictionaries(st.sampled_from(IDS), contents, min_size=1, max_size=6)


class SpaceMachine(RuleBasedStateMachine):
    @initialize()
    def create(self):
        self.folder = Path(tempfile.mkdtemp())
        self.encoders = two_encoders()
        self.space = Space.create(self.folder / "s", self.encoders)
        self.reader = Space.open(self.folder / "s", encoder=two_encoders())
        self.model = {}
        self.encoded = set()
        self.releases = []

    def teardown(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    @rule(batch=batches)
    def upsert(self, batch):
        rows = [
            item(name, text, "dw"[IDS.index(name) % 2], image=colour and picture(colour), n=n)
            for name, (text, colour, n) in batch.items()
        ]
        report = self.space.upsert(rows)
        same = {name for name in batch if self.model.get(name) == batch[name]}
        new = set(batch) - set(self.model)
        assert report.unchanged == len(same)
        assert report.added == len(new)
        assert report.changed == len(batch) - len(same) - len(new)
        content = {c for text, colour, _ in batch.values() for c in (text, colour) if c}
        assert sum(report.encoded.values()) == len(content - self.encoded)
        self.encoded |= content
        self.model.update(batch)

    @rule(names=st.sets(st.sampled_from(IDS), max_size=4))
    def delete(self, names):
        assert self.space.delete(names) == len(names & set(self.model))
        for name in names:
            self.model.pop(name, None)

    @rule()
    def publish(self):
        self.releases.append(self.space.publish().number)

    @precondition(lambda self: len(self.releases) > 1 and self.space.current_release > 1)
    @rule(data=st.data())
    def rollback(self, data):
        kept = [manifest.number for manifest in self.space.releases()]
        number = data.draw(st.sampled_from(kept))
        assert self.space.rollback(number) == number

    @rule()
    def reopen(self):
        self.space = Space.open(self.folder / "s", encoder=self.encoders)

    @invariant()
    def both_see_what_the_dictionary_holds(self):
        for space in (self.space, self.reader):
            assert space.count() == len(self.model)
            for word in WORDS:
                expected = {n for n, (text, _, _) in self.model.items() if text == word}
                hits = found(space, [text for text, _, _ in self.model.values()], text=word)
                assert {hit.item_id for hit in hits if hit.score > 0.999} == expected
                assert len(hits) == sum(1 for text, _, _ in self.model.values() if text)
            colour = COLOURS[len(self.model) % 3]
            expected = {n for n, (_, c, _) in self.model.items() if c == colour}
            hits = found(space, [c for _, c, _ in self.model.values()], image=picture(colour, 4))
            assert {hit.item_id for hit in hits if hit.score > 0.999} == expected

    @precondition(lambda self: any(n > 2 for *_, n in self.model.values()))
    @invariant()
    def filters_agree_with_python(self):
        expected = {name for name, (_, _, n) in self.model.items() if n > 2}
        assert self.reader.count(where="n > 2") == len(expected)
        texts = [self.model[name][0] for name in expected]
        hits = found(self.reader, texts, text="sea", where="n > 2")
        assert {h.item_id for h in hits} == {n for n in expected if self.model[n][0]}


def found(space, held, **query):
    """Search; a query that has no named vector in common with any item is refused."""
    if held and not any(held):
        with pytest.raises(UnsupportedModality, match="isthmus align"):
            space.search(k=50, **query)
        return []
    return space.search(k=50, **query)


UNHURRIED = {"deadline": None, "suppress_health_check": list(HealthCheck)}
SpaceMachine.TestCase.settings = settings(max_examples=8, stateful_step_count=20, **UNHURRIED)
TestSpaceModel = SpaceMachine.TestCase


@pytest.mark.heavy
def test_many_sequences_of_operations():
    run_state_machine_as_test(
        SpaceMachine, settings=settings(max_examples=60, stateful_step_count=20, **UNHURRIED)
    )
