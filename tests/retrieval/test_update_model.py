"""Any sequence of upserts, updates, synchronisations and deletions behaves as a dictionary."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from isthmus import Space
from tests.toy import text_encoder

IDS = [f"i{n}" for n in range(8)]
DOMAINS = {name: ("films", "books")[at % 2] for at, name in enumerate(IDS)}
WORDS = ["sea", "snow", "jazz"]
TEMPLATE = "{title}. {genre}"
VALUES = {
    "title": st.sampled_from(WORDS),
    "genre": st.sampled_from([None, "noir", "war"]),
    "price": st.none() | st.integers(0, 4),
    "tags": st.none() | st.lists(st.sampled_from("ab"), max_size=2),
}
OTHERS = {name: values for name, values in VALUES.items() if name != "title"}
NEW = st.fixed_dictionaries({"title": VALUES["title"]}, optional=OTHERS)
CHANGE = st.fixed_dictionaries({}, optional=VALUES)
ITEMS = st.dictionaries(st.sampled_from(IDS), NEW, min_size=1, max_size=5)
CHANGES = st.dictionaries(st.sampled_from([*IDS, "none"]), CHANGE, min_size=1, max_size=5)
EMPTY = dict.fromkeys(VALUES)


class UpdateMachine(RuleBasedStateMachine):
    @initialize()
    def create(self):
        self.folder = Path(tempfile.mkdtemp())
        self.space = Space.create(self.folder / "s", text_encoder())
        self.reader = Space.open(self.folder / "s", encoder=text_encoder())
        # Without items a domain would forget its mapping: one of each always stays.
        values = {"title": "sea", "genre": "war", "price": 1, "tags": ["a"]}
        self.model = {f"seed-{domain}": values for domain in ("films", "books")}
        rows = [{"item_id": i, "domain": i[5:], **v} for i, v in self.model.items()]
        self.space.upsert(rows, text=TEMPLATE)

    def teardown(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def rows(self, items):
        return [{"item_id": i, "domain": DOMAINS[i], **values} for i, values in items.items()]

    @rule(items=ITEMS)
    def upsert(self, items):
        report = self.space.upsert(self.rows(items))
        after = {i: {**self.model.get(i, EMPTY), **values} for i, values in items.items()}
        same = sum(self.model.get(i) == values for i, values in after.items())
        assert report.added == len(set(items) - set(self.model))
        assert report.unchanged == same
        self.model |= after

    @rule(items=ITEMS)
    def replace(self, items):
        self.space.upsert(self.rows(items), replace=True)
        self.model |= {i: {**EMPTY, **values} for i, values in items.items()}

    @rule(changes=CHANGES)
    def update(self, changes):
        known = {i: change for i, change in changes.items() if i in self.model}
        after = {i: {**self.model[i], **change} for i, change in known.items()}
        rows = [{"item_id": i, **change} for i, change in changes.items()]
        report = self.space.update(rows)
        assert report.unknown == [i for i in changes if i not in self.model]
        assert report.changed == sum(self.model[i] != values for i, values in after.items())
        assert report.reencoded == sum(
            text_of(self.model[i]) != text_of(values) for i, values in after.items()
        )
        self.model |= after

    @rule(prices=st.dictionaries(st.sampled_from(IDS), VALUES["price"], min_size=1))
    def update_a_column(self, prices):
        table = {"item_id": list(prices), "price": pa.array(prices.values(), pa.int64())}
        self.space.update(pa.table(table))
        for i in set(prices) & set(self.model):
            self.model[i] = {**self.model[i], "price": prices[i]}

    @rule(items=ITEMS)
    def synchronise(self, items):
        films = {i: values for i, values in items.items() if DOMAINS[i] == "films"}
        films["seed-films"] = {"price": 2}
        stored = [i for i in self.model if DOMAINS.get(i, i[5:]) == "films"]
        rows = [{"item_id": i, **values} for i, values in films.items()]
        report = self.space.upsert(rows, domain="films", sync=True, max_delete="100%")
        assert report.deleted == len(set(stored) - set(films))
        for i in set(stored) - set(films):
            del self.model[i]
        self.model |= {i: {**self.model.get(i, EMPTY), **values} for i, values in films.items()}

    @rule(names=st.sets(st.sampled_from(IDS), max_size=3))
    def delete(self, names):
        assert self.space.delete(names) == len(names & set(self.model))
        self.model = {i: values for i, values in self.model.items() if i not in names}

    @rule(price=st.integers(0, 4))
    def delete_by_filter(self, price):
        gone = [i for i in IDS if i in self.model and self.model[i]["price"] == price]
        assert self.space.delete(where=f"price = {price} AND item_id LIKE 'i%'") == len(gone)
        self.model = {i: v for i, v in self.model.items() if i not in gone}

    @rule()
    def publish(self):
        self.space.publish()

    @invariant()
    def both_hold_what_the_dictionary_holds(self):
        for space in (self.space, self.reader):
            assert set(space.ids()) == set(self.model)
            for item in space.get(list(self.model)):
                values = self.model[item["item_id"]]
                stored = {**EMPTY, **item["attributes"]}
                assert stored == values
                assert item["text"] == text_of(values)
        dear = {i for i, v in self.model.items() if (v["price"] or 0) > 2}
        if dear:
            assert self.reader.count(where="price > 2") == len(dear)


def text_of(values):
    return ". ".join(filter(None, (values["title"], values["genre"])))


UNHURRIED = {"deadline": None, "suppress_health_check": list(HealthCheck)}
UpdateMachine.TestCase.settings = settings(max_examples=3, stateful_step_count=12, **UNHURRIED)
TestUpdates = UpdateMachine.TestCase


@pytest.mark.heavy
def test_many_sequences_of_updates():
    run_state_machine_as_test(
        UpdateMachine, settings=settings(max_examples=60, stateful_step_count=20, **UNHURRIED)
    )
