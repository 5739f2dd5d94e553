"""Whole evaluations: what is in the report, on the terminal and on the page."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from isthmus.errors import InvalidInput, MissingDependency
from isthmus.evaluation.baselines.baseline import BaselineSystem, GeneratorBaseline, Random
from isthmus.evaluation.evaluate import evaluate
from isthmus.evaluation.html_report import render_html, write_html
from isthmus.evaluation.lists import ItemVectors, Lists
from isthmus.evaluation.protocols import few_shot, rating
from isthmus.evaluation.report import Evaluation
from isthmus.evaluation.terminal import show_evaluation
from isthmus.evaluation.time_splits import temporal
from isthmus.retrieval.candidates.item_knn import ItemKNN
from isthmus.retrieval.candidates.popularity import Popularity
from tests.retrieval.evaluation.worlds import Fixed, small_task, two_shops

GOOD = [["b0", "b5"], ["b1", "b2"]]
POOR = [["b2", "b3", "b0"], []]
NASTY = "<script>alert('$x$ & \"y\"')</script>"


class Broken:
    def recommend(self, task, n):
        raise RuntimeError(f"no model for {task.name}")


class Mean:
    """Predicts the mean of the values it may see."""

    def rate(self, task):
        mean = np.mean(task.train.column("value").to_pylist())
        return [np.full(len(user.truth), mean) for user in task.users]


class Sourced:
    """Item-KNN and popularity, one after the other."""

    def __init__(self):
        self.generators = {
            "item-KNN": BaselineSystem(
                GeneratorBaseline(ItemKNN(k=None, shrink=50.0, max_user_items=None))
            ),
            NASTY: BaselineSystem(GeneratorBaseline(Popularity())),
        }

    def recommend(self, task, n):
        found = {name: s.recommend(task, n).items for name, s in self.generators.items()}
        mixed = [[*a[: n // 2], *b] for a, b in zip(*found.values(), strict=True)]
        return Lists(
            mixed, generators={name: [items[:5] for items in f] for name, f in found.items()}
        )


@pytest.fixture(scope="module")
def rich_evaluation():
    table, domains = two_shops(users=120)
    tasks = [few_shot(table, domains, "b", 3).val, temporal(table, domains, "b").test]
    tasks += [rating(table, domains).test]
    systems = {
        "random": BaselineSystem(Random()),
        "popularity": BaselineSystem(GeneratorBaseline(Popularity())),
        NASTY: Sourced(),
        "without a source": BaselineSystem(
            GeneratorBaseline(ItemKNN(k=None, shrink=50.0, max_user_items=None))
        ),
        "broken": Broken(),
        "mean": Mean(),
    }
    return evaluate(
        tasks,
        systems,
        baselines=["random", "popularity"],
        ablations={"without a source": NASTY},
        ks=(5, 10),
        n=30,
        resamples=200,
        settings={NASTY: {"note": NASTY}},
    )


def test_figures_of_a_small_task():
    found = evaluate(
        [small_task()], {"good": Fixed(GOOD), "poor": Fixed(POOR)}, baselines=["poor"], ks=(2, 10)
    )
    (task,) = found.tasks
    assert (task.users, task.truth, task.candidates, task.train) == (2, 3, 6, 8)
    good, poor = task.systems
    assert good.metrics["ndcg@10"].model_dump() == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert poor.metrics["recall@10"].value == pytest.approx(0.25)
    assert poor.metrics["ndcg@2"].value == 0.0
    assert poor.metrics["ndcg@10"].value == pytest.approx(0.5 / (1 + 1 / np.log2(3)) / 2)
    assert good.lists["coverage@10"] == pytest.approx(4 / 6)
    assert good.loss.model_dump() == {"k": 10, "found": 3, "ranked_below": 0, "never_candidate": 0}
    assert poor.loss.never_candidate == 2
    assert task.best_baseline == "poor"
    (comparison,) = task.comparisons
    assert (comparison.system, comparison.reference) == ("good", "poor")
    assert comparison.ratio is None  # a resample may hold the second user alone
    assert {(b.by, b.name, b.metric) for b in good.buckets} == {
        ("target interactions", "0", "ndcg@10"),
        ("target interactions", "1", "ndcg@10"),
        ("source interactions", "1", "ndcg@10"),
        ("length of the history", "1-5", "ndcg@10"),
        ("domain of the truth", "b", "found@10"),
        ("users of the truth", "0", "found@10"),
        ("users of the truth", "1-5", "found@10"),
    }


def test_one_failing_system_stops_no_other(rich_evaluation):
    for task in rich_evaluation.tasks:
        found = {system.name: system for system in task.systems}
        assert found["broken"].metrics == {}
        if task.kind == "rating":
            assert found["mean"].error is None
            assert 0 < found["mean"].metrics["mae"].value < found["mean"].metrics["rmse"].value
            assert "has no method rate" in found["popularity"].error
        else:
            assert found["broken"].error == f"RuntimeError: no model for {task.name}"
            assert "has no method recommend" in found["mean"].error
            assert found[NASTY].error is None


def test_lists_of_the_wrong_number_fail_alone():
    found = evaluate([small_task()], {"short": Fixed(GOOD[:1]), "good": Fixed(GOOD)})
    assert "1 lists for the 2 users" in found.tasks[0].systems[0].error
    assert found.tasks[0].systems[1].error is None


def test_ablations_are_compared_with_their_whole_and_generators_are_measured(rich_evaluation):
    task = rich_evaluation.tasks[0]
    assert [(c.system, c.reference) for c in task.ablations] == [("without a source", NASTY)]
    assert task.best_baseline in ("random", "popularity")
    assert {c.system for c in task.comparisons} == {"random", "popularity", NASTY} - {
        task.best_baseline
    }
    sourced = task.systems[2]
    assert [generator.generator for generator in sourced.coverage.generators] == ["item-KNN", NASTY]
    recalls = [generator.recall for generator in sourced.coverage.generators]
    assert max(recalls) <= sourced.coverage.union <= sum(recalls)
    fates = sourced.loss.model_dump()
    assert fates["found"] + fates["ranked_below"] + fates["never_candidate"] == task.truth


def test_diversity_is_measured_where_vectors_are_given():
    vectors = ItemVectors([f"b{i}" for i in range(6)], np.eye(6, dtype=np.float32))
    found = evaluate([small_task()], {"good": Fixed(GOOD)}, vectors=vectors)
    assert found.tasks[0].systems[0].lists["diversity@10"] == pytest.approx(1.0)


def test_the_report_comes_back_from_json(rich_evaluation, tmp_path):
    rich_evaluation.write(tmp_path / "report.json")
    assert Evaluation.read(tmp_path / "report.json") == rich_evaluation
    assert rich_evaluation.settings.systems == {NASTY: {"note": NASTY}}
    assert rich_evaluation.settings.seed == 0
    assert {"python", "numpy", "isthmus"} <= rich_evaluation.versions.keys()
    with pytest.raises(InvalidInput, match="is no evaluation"):
        Evaluation.read(tmp_path / "absent.json")


def test_the_same_again_but_for_the_clock(rich_evaluation):
    again = evaluate([small_task()], {"good": Fixed(GOOD), "poor": Fixed(POOR)}, baselines=["poor"])
    twice = evaluate([small_task()], {"good": Fixed(GOOD), "poor": Fixed(POOR)}, baselines=["poor"])
    clocks = {"created": ..., "tasks": {0: {"systems": {"__all__": {"seconds"}}}}}
    assert again.model_dump(exclude=clocks) == twice.model_dump(exclude=clocks)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"metric": "ndcg@7"}, "no metric 'ndcg@7' is measured"),
        ({"n": 50}, "metrics at 200 need as long lists"),
        ({"baselines": ["x"]}, "no system 'x'"),
        ({"ablations": {"good": "whole"}}, "no system 'whole'"),
        ({"test": "coin"}, "no test 'coin'"),
    ],
)
def test_settings_that_make_no_sense(changes, said):
    with pytest.raises(InvalidInput, match=said):
        evaluate([small_task()], {"good": Fixed(GOOD)}, **changes)


def test_the_terminal_shows_every_system(rich_evaluation, capsys):
    show_evaluation(rich_evaluation)
    shown = capsys.readouterr().out
    for system in ("random", "popularity (b)", NASTY, "broken failed: RuntimeError: no model"):
        assert system in shown
    assert "fisher, holm" in shown
    assert re.search(r"without a source is \d\.\d\d \[.*\] of <script>", shown)


@pytest.fixture(scope="module")
def page_text(rich_evaluation, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_html(rich_evaluation, path, f"Report {NASTY}")
    return path.read_text(encoding="utf-8")


class Page(HTMLParser):
    """Collects what a page is made of."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.images, self.ids, self.text = [], [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.tags.append(tag)
        self.ids += [named["id"]] if "id" in named else []
        self.links += [v for k, v in attributes if k in ("src", "href", "xlink:href", "data")]
        if named.get("role") == "img":
            self.images.append(named.get("aria-label", ""))

    def handle_data(self, data):
        self.text += data


def test_the_page_needs_nothing_beside_itself_and_escapes_all_text(page_text):
    page = Page(page_text)
    assert "script" not in page.tags
    assert not {"link", "img", "iframe", "object", "embed"} & set(page.tags)
    assert all(link.startswith("#") for link in page.links)
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert not re.search(r"@import|url\((?!#)", page_text)
    assert page.tags.count("svg") == len(page.images) == page.tags.count("figcaption") > 12
    assert all(page.images)
    assert NASTY in page.text
    for heading in (
        "Summary", "Ablations", "Coverage of candidate generators", "Where truth is lost",
        "Accuracy beside coverage and novelty", "Settings", "By what is known of a user",
        "By popularity of the hidden items",
    ):  # fmt: skip
        assert heading in page.text
    assert "failed: RuntimeError" in page.text


def test_the_same_page_again(rich_evaluation, page_text):
    assert render_html(rich_evaluation, f"Report {NASTY}") == page_text


def test_without_matplotlib_the_page_says_what_to_install(rich_evaluation, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependency, match=r"pip install 'isthmus\[evaluate\]'"):
        render_html(rich_evaluation)
