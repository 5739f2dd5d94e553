"""Rating models on disk: they predict the same, and damaged ones are refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from isthmus.errors import CorruptRelease, UnsupportedFormat
from isthmus.retrieval.ratings.components import RatingSettings
from isthmus.retrieval.ratings.model import RatingModel
from isthmus.retrieval.ratings.ratings import History
from isthmus.retrieval.ratings.store import DESCRIPTION, TENSORS, load, save
from tests.retrieval.ratings.worlds import history, one_domain, ratings_of, tastes


@pytest.fixture(scope="module")
def trained():
    table, vectors, _ = tastes()
    domains = np.arange(60) % 3
    return RatingModel.fit(
        ratings_of(table), vectors, domains, settings=RatingSettings(2, 8)
    ), table


@pytest.fixture
def folder(trained, tmp_path):
    save(trained[0], tmp_path / "rating")
    return tmp_path / "rating"


def test_a_stored_model_predicts_exactly_the_same(trained, folder):
    model, table = trained
    histories = [*(history(table, u) for u in range(10)), History((), ())]
    read = load(folder)
    assert read.settings == model.settings
    assert read.weights.tensors.keys() == model.weights.tensors.keys()
    for before, again in zip(
        model.explain(histories, [np.arange(60)] * 11),
        read.explain(histories, [np.arange(60)] * 11),
        strict=True,
    ):
        np.testing.assert_array_equal(before.predicted, again.predicted)
        for name, term in before.terms.items():
            np.testing.assert_array_equal(term, again.terms[name])


def test_a_stored_model_can_be_extended(trained, folder):
    vectors = np.ones((2, 8), np.float32)
    new = np.array([0, 5])
    both = [m.extended(vectors, new) for m in (trained[0], load(folder))]
    known = history(trained[1], 0)
    first, second = (m.predict([known], [[60, 61]])[0] for m in both)
    np.testing.assert_array_equal(first, second)


def test_a_model_replaces_another(trained, folder):
    table, vectors, _ = tastes(users=30, items=20, seed=5)
    other = RatingModel.fit(
        ratings_of(table), vectors, one_domain(20), settings=RatingSettings(factors=0)
    )
    save(other, folder)
    assert load(folder).n_items == 20


@pytest.mark.parametrize("name", [DESCRIPTION, TENSORS])
@pytest.mark.parametrize("harm", ["missing", "cut off", "changed"])
def test_damaged_files_are_refused_by_name(folder, name, harm):
    path = folder / name
    data = path.read_bytes()
    if harm == "missing":
        path.unlink()
    elif harm == "cut off":
        path.write_bytes(data[: len(data) // 2])
    else:
        path.write_bytes(
            data.replace(b'"mean"', b'"men"') if name == DESCRIPTION else data[:-1] + b"?"
        )
    with pytest.raises(CorruptRelease, match=name):
        load(folder)


def test_another_format_is_refused(folder):
    about = json.loads((folder / DESCRIPTION).read_text())
    (folder / DESCRIPTION).write_text(json.dumps(about | {"format": 99}))
    with pytest.raises(UnsupportedFormat, match="format 99, this version of Isthmus reads"):
        load(folder)


def test_other_components_are_refused(folder):
    about = json.loads((folder / DESCRIPTION).read_text())
    (folder / DESCRIPTION).write_text(json.dumps(about | {"components": ["magic"]}))
    with pytest.raises(UnsupportedFormat, match="weighs magic"):
        load(folder)
