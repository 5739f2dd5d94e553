"""Evaluations through the space: protocols, systems, targets, errors, what is cached."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from isthmus import EvaluationPlan, Space
from isthmus.errors import InvalidInput
from isthmus.evaluation.baselines.baseline import BaselineSystem, GeneratorBaseline
from isthmus.evaluation.interaction_log import select_positives
from isthmus.evaluation.lists import Lists
from isthmus.evaluation.report import Evaluation
from isthmus.evaluation.request import PROTOCOLS, available_baselines
from isthmus.evaluation.splits import planned_splits
from isthmus.evaluation.systems import SystemFactory
from isthmus.operations.evaluation import evaluation_data
from isthmus.retrieval.candidates.popularity import Popularity
from tests.retrieval.evaluation.shops import make_shop
from tests.retrieval.evaluation.worlds import hidden, pairs, two_shops
from tests.toy import item, text_encoder

FEW = {"ks": (5, 10), "n": 20, "resamples": 100, "min_users": 3}
BASELINES = available_baselines()


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return make_shop(tmp_path_factory.mktemp("shops"))


@pytest.fixture(scope="module")
def whole(shop):
    """Every protocol in both domains, every baseline with its first settings."""
    return shop.evaluate(EvaluationPlan(systems=["interests"], quick=True, **FEW))


def plan_of(*protocols, **more):
    given = {"protocols": protocols, "targets": ["books"], "baselines": ["popularity"], **FEW}
    return EvaluationPlan(systems=["interests"], **{**given, **more})


def named(task):
    return {system.name: system for system in task.systems}


def test_every_protocol_in_every_domain(whole):
    assert [(t.name, t.split) for t in whole.tasks] == [
        (name, split)
        for domain in ("books", "films")
        for name in (
            f"cold users in {domain}",
            f"1 shots in {domain}",
            f"3 shots in {domain}",
            f"5 shots in {domain}",
            f"warm {domain}",
            f"cold items of {domain}",
            f"ratings of {domain}",
            f"temporal {domain}",
            f"sessions in {domain}",
        )
        for split in ("val", "test")
    ]
    assert whole.skipped == []
    for task in whole.tasks:
        assert [s.error for s in task.systems] == [None] * len(task.systems)
        names = list(named(task))
        if task.kind == "rating":
            assert names == ["mean", "offsets"]
        else:
            assert names == [n for n in BASELINES if n not in ("mean", "offsets")] + ["interests"]
            assert task.best_baseline in BASELINES
            assert "interests" in {c.system for c in task.comparisons}


def test_nothing_is_sampled_and_positives_are_stated(whole):
    for task in whole.tasks:
        assert task.candidates == 36 if task.kind != "cold item" else task.candidates < 36
        if task.kind != "rating":
            assert task.facts["positive from"] == "4"
            assert task.facts["positive"] == "1,680 of 2,160"


def test_users_of_themes_get_their_theme(whole):
    for task in whole.tasks:
        if task.kind not in ("rating", "cold item"):  # of few new items, chance finds most
            found = {name: s.metrics["recall@10"].value for name, s in named(task).items()}
            assert found["content"] > 1.5 * found["random"]
            assert found["interests"] > 0.7 * found["content"]


def test_grids_are_tuned_on_val_and_reported(shop):
    plan = plan_of("warm", "rating", baselines=["content", "offsets", "popularity"])
    chosen = shop.evaluate(plan).settings.systems
    assert chosen.keys() == {"warm books", "ratings of books"}
    content, offsets = chosen["warm books"]["content"], chosen["ratings of books"]["offsets"]
    scores = {trial["settings"]["pooling"]: trial["score"] for trial in content["trials"]}
    assert content["settings"]["pooling"] == max(scores, key=scores.get)
    errors = [trial["score"] for trial in offsets["trials"]]
    best = offsets["trials"][int(np.argmin(errors))]["settings"]
    assert (len(errors), offsets["settings"]) == (9, best)
    assert chosen["warm books"]["popularity"]["trials"] == []


class Best:
    """Knows the truth of one task, and recommends nothing in another."""

    def __init__(self, task):
        self.task = task

    def recommend(self, task, n):
        known = {user.user_id: user.truth for user in self.task.users}
        return Lists([known.get(user.user_id, ()) for user in task.users])


def test_a_factory_is_handed_the_val_task_alone(shop):
    seen = []

    def make(task):
        seen.append(task)
        return Best(task)

    found = shop.evaluate(plan_of("cold", "warm", "temporal", "rating"), systems={"own": make})
    assert [(task.kind, task.split) for task in seen] == [
        ("cold user", "val"),
        ("warm", "val"),
        ("temporal", "val"),
    ]
    for val, test in zip(found.tasks[:4:2], found.tasks[1:4:2], strict=True):
        assert named(val)["own"].metrics["recall@10"].value == 1.0
        assert named(test)["own"].metrics["recall@10"].value == 0.0
    (skipped,) = found.skipped
    assert skipped.name == "rating books"
    assert skipped.reason == "none of the systems that were asked for predicts values"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_train_table_has_a_hidden_pair_of_either_split(shop, protocol):
    data = evaluation_data(shop.opened, {})
    plan = plan_of(protocol, targets=())
    for split in planned_splits(plan, data.interactions, data.domains):
        made = split.make()
        for task in made:
            assert not hidden(task) & pairs(task.train)
            for user in task.users:
                assert not set(user.truth) & {*user.history, *user.exclude}
        # what a factory sees: the val task, whose train table has nothing of the test's truth
        assert not hidden(made.test) & pairs(made.val.train)
        seen = {(u.user_id, i) for u in made.val.users for i in (*u.history, *u.truth)}
        assert not hidden(made.test) & seen


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), protocol=st.sampled_from(PROTOCOLS))
def test_hidden_pairs_are_nowhere_in_random_worlds(seed, protocol):
    table, domains = two_shops(seed=seed)
    given_plan = EvaluationPlan(systems=["interests"], protocols=[protocol], seed=seed, min_users=1)
    for split in planned_splits(given_plan, table, domains):
        try:
            made = split.make()
        except InvalidInput:
            continue  # this seed holds nobody out
        for task in made:
            assert not hidden(task) & pairs(task.train)
        assert not hidden(made.test) & pairs(made.val.train)


def test_systems_that_fail_stop_nothing(shop):
    def broken(task):
        raise RuntimeError("no model")

    given_systems = {"broken": broken, "fine": BaselineSystem(GeneratorBaseline(Popularity()))}
    found = shop.evaluate(plan_of("warm"), systems=given_systems).tasks[1]
    assert named(found)["broken"].error == "RuntimeError: no model"
    assert named(found)["fine"].metrics == named(found)["popularity"].metrics
    with pytest.raises(InvalidInput, match="'popularity' is the name of a baseline"):
        shop.evaluate(plan_of("warm"), systems={"popularity": broken})
    with pytest.raises(InvalidInput, match="'odd' is no system: 3 has neither"):
        shop.evaluate(plan_of("warm"), systems={"odd": 3})


def test_raters_take_part_where_values_are_predicted(shop):
    class Five:
        def rate(self, task):
            return [np.full(len(user.truth), 5.0) for user in task.users]

    learned = SystemFactory(lambda val: Five(), ranks=False, rates=True)
    found = shop.evaluate(plan_of("warm", "rating"), systems={"five": Five(), "late": learned})
    assert not {"five", "late"} & set(named(found.tasks[0]))
    rated = named(found.tasks[3])
    assert rated["five"].metrics == rated["late"].metrics
    assert rated["five"].metrics["rmse"].value > 1


def test_what_has_too_little_data_is_skipped_with_the_reason(tmp_path):
    space = Space.create(tmp_path / "s", text_encoder())
    space.upsert([item(f"f{n}", f"film {n}") for n in range(30)])
    space.upsert([item("b", "a book", "books"), item("s", "a song", "songs")])
    rows = [
        {"user_id": f"u{u}", "item_id": f"f{(u + n) % 30}"} for u in range(60) for n in range(9)
    ]
    space.add_interactions([*rows, {"user_id": "u0", "item_id": "b"}])
    found = space.evaluate(EvaluationPlan(systems=["interests"], baselines=["popularity"], **FEW))
    assert {task.name for task in found.tasks} == {"warm films", "cold items of films"}
    skipped = {skip.name: skip.reason for skip in found.skipped}
    assert skipped["rating films"] == "every value is 1, so there is nothing to predict"
    assert "541 interactions have no time" in skipped["temporal films"]
    assert "hides nothing for val; there are too few" in skipped["warm books"]
    assert found.tasks[0].facts["positive from"] == "any value (all are equal)"
    assert not [name for name in skipped if "songs" in name]
    with pytest.raises(
        InvalidInput, match=r"nothing could be evaluated \(warm books: the protocol"
    ):
        space.evaluate(plan_of("warm"))
    few = plan_of("warm", targets=["films"], min_users=50)
    with pytest.raises(InvalidInput, match="fewer than the minimum of 50"):
        space.evaluate(few)


def test_errors_name_what_there_is(shop, tmp_path):
    with pytest.raises(InvalidInput, match=r"no domain 'songs' .* books, films"):
        shop.evaluate(plan_of("warm", targets=["songs"]))
    with pytest.raises(InvalidInput, match="no protocol 'luke'; there are cold, few1"):
        plan_of("luke")
    with pytest.raises(InvalidInput, match="no baseline 'x'; there are random, popularity"):
        plan_of("warm", baselines=["x"])
    with pytest.raises(InvalidInput, match="'warm' is named twice"):
        plan_of("warm", "warm")
    with pytest.raises(InvalidInput, match="a target goes with protocols"):
        EvaluationPlan(systems=["interests"], targets=["books"], folders=[tmp_path])
    with pytest.raises(InvalidInput, match=r"no value reaches 9, .* the largest is 5"):
        shop.evaluate(plan_of("warm", positive_from=9))
    with pytest.raises(InvalidInput, match="no metric 'ndcg@3' is measured"):
        shop.evaluate(plan_of("warm", metric="ndcg@3"))
    empty = Space.create(tmp_path / "s", text_encoder())
    with pytest.raises(InvalidInput, match="isthmus interactions add"):
        empty.evaluate()
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="cannot keep results in"):
        shop.evaluate(plan_of("warm"), out=tmp_path / "file")


def test_interactions_with_unknown_items_do_not_count(tmp_path):
    space = make_shop(tmp_path, users=60)
    before = space.evaluate(plan_of("warm")).tasks[1]
    space.add_interactions(
        [{"user_id": "u0", "item_id": f"later{n}", "value": 5} for n in range(9)]
    )
    assert space.evaluate(plan_of("warm")).tasks[1].train == before.train


def test_items_without_vectors_are_candidates_of_zeros(tmp_path):
    space = make_shop(tmp_path, users=60)
    space.upsert([{"item_id": "bare", "domain": "books", "image": "absent.png", "text": "x"}])
    data = evaluation_data(space.opened, {})
    assert set(data.contents.item_ids) == set(data.domains)
    norms = np.linalg.norm(data.contents.vectors, axis=1)
    assert norms == pytest.approx(np.ones(len(norms)), abs=1e-5)
    space.delete(["bare"])
    assert "bare" not in evaluation_data(space.opened, {}).domains


def test_ready_protocols_need_no_interactions(shop, tmp_path):
    folder = tmp_path / "warm_books"
    folder.mkdir()
    (split,) = planned_splits(plan_of("warm"), *parts(shop))
    val, test = split.make()
    pq.write_table(test.train, folder / "train.parquet")
    pq.write_table(pa.table({"item_id": list(test.candidates)}), folder / "candidates.parquet")
    for task in (val, test):
        rows = [
            {"user_id": u.user_id, "history": u.history, "truth": u.truth, "exclude": u.exclude}
            for u in task.users
        ]
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{task.split}.parquet")
    bare = Space.create(tmp_path / "s", text_encoder())
    options = {"systems": ["interests"], "baselines": ["popularity"], **FEW}
    plan = EvaluationPlan(folders=[folder], **options)
    read, made = bare.evaluate(plan).tasks[1], shop.evaluate(plan_of("warm")).tasks[1]
    assert named(read)["popularity"].metrics == named(made)["popularity"].metrics
    with pytest.raises(
        InvalidInput, match=r"nothing could be evaluated .* there is no .*val\.parq"
    ):
        bare.evaluate(
            EvaluationPlan(systems=["interests"], folders=[tmp_path], baselines=["popularity"])
        )


def parts(space):
    data = evaluation_data(space.opened, {})
    return data.interactions, data.domains


@given(st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=20))
@example([0.0, -0.0])
def test_positives_by_default(values):
    table = pa.table({"value": pa.array(values, pa.float32())})
    if len(set(values)) == 1:
        assert len(select_positives(table).table) == len(values)
    elif max(values) <= 0:
        with pytest.raises(InvalidInput, match="the threshold of positives is unclear"):
            select_positives(table)
    else:
        found = select_positives(table)
        selected = found.table.column("value").to_pylist()
        assert selected == [v for v in values if np.float32(v) >= np.float32(0.8 * max(values))]
        assert found.n_interactions == len(values)
        assert pc.max(found.table.column("value")).as_py() == max(values)


class Stop(BaseException):
    """What Ctrl+C raises is no `Exception` either."""


def test_an_evaluation_that_was_interrupted_goes_on(shop, tmp_path):
    calls = []

    def learner(name, stops=False):
        def make(val):
            calls.append((name, val.name))
            if stops:
                raise Stop
            return BaselineSystem(GeneratorBaseline(Popularity()))

        return SystemFactory(make, settings={"is": "popularity"})

    plan = plan_of("warm", "cold", baselines=["content", "popularity"])
    systems = {"first": learner("first"), "second": learner("second", stops=True)}
    with pytest.raises(Stop):
        shop.evaluate(plan, systems=systems, out=tmp_path / "out")
    assert calls == [("first", "warm books"), ("second", "warm books")]
    assert not (tmp_path / "out/evaluation.json").exists()
    cached = sorted(path.name for path in (tmp_path / "out/cache").iterdir())
    # two trials of content; answers of content, popularity, interests and first to val
    assert len(cached) == 6

    calls.clear()
    systems["second"] = learner("second")
    found = shop.evaluate(plan, systems=systems, out=tmp_path / "out")
    assert calls == [
        ("second", "warm books"),
        ("first", "warm books"),  # for test, which it had not answered
        ("first", "cold users in books"),
        ("second", "cold users in books"),
    ]
    calls.clear()
    again = shop.evaluate(plan, systems=systems, out=tmp_path / "out")
    assert calls == []
    assert again.tasks == found.tasks  # to the second that was measured
    assert Evaluation.read(tmp_path / "out/evaluation.json") == again
    fresh = shop.evaluate(plan, systems=systems)
    clocks = {"systems": {"__all__": {"seconds"}}}
    assert [t.model_dump(exclude=clocks) for t in fresh.tasks] == [
        t.model_dump(exclude=clocks) for t in again.tasks
    ]


def test_other_settings_seeds_and_broken_files_are_computed_anew(shop, tmp_path):
    splits = []

    class Counted(BaselineSystem):
        strength = 1

        def settings(self):
            return {"strength": self.strength}

        def recommend(self, task, n):
            splits.append(task.split)
            return super().recommend(task, n)

    def run(plan, system):
        splits.clear()
        shop.evaluate(plan, systems={"own": system}, out=tmp_path)
        return len(splits)

    system = Counted(GeneratorBaseline(Popularity()))
    assert run(plan_of("warm"), system) == 2
    assert run(plan_of("warm"), system) == 0
    assert run(plan_of("warm", seed=1), system) == 2
    assert run(plan_of("warm", ks=(10,)), system) == 2
    system.strength = 2
    assert run(plan_of("warm"), system) == 2
    assert run(plan_of("warm"), BaselineSystem(GeneratorBaseline(Popularity()))) == 0
    for path in (tmp_path / "cache").iterdir():
        json.loads(path.read_text())
        path.write_text('{"result": 3')
    assert run(plan_of("warm"), system) == 2
