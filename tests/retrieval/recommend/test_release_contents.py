"""The projected contents that a release has are those that its readers would compute."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from isthmus import Space, User
from isthmus.errors import CorruptRelease
from isthmus.retrieval.recommend.release_contents import ViewContents
from tests.golden.make import HERE, TRAINED_WEIGHTS
from tests.toy import item, two_encoders

STORED = "recommender/contents.safetensors"


@pytest.fixture
def published(tmp_path):
    """Publish the golden recommender anew, over two named vectors and an alignment."""
    shutil.copytree(HERE / "trained.space", tmp_path / "s")
    space = Space.open(tmp_path / "s", encoder=two_encoders())
    space.publish()
    return space


def projected(space):
    serving = space._recommender.serving(space.opened.view())
    data = serving.data
    columns = np.arange(len(data))
    computed = serving.recommender.statistics.projection.transform(
        data.features, data.domains, columns
    )
    return data.projected, columns, computed


def stored_file(space):
    return space.path / "releases" / f"{space.current_release:06d}" / STORED


def test_contents_are_stored_with_the_release_and_followed_by_those_of_new_items(published):
    found, columns, computed = projected(published)
    assert isinstance(found, ViewContents)
    assert not len(found.newer)
    np.testing.assert_allclose(found.take(columns), computed, atol=1e-5)
    domain = published.search("films", k=1)[0].domain
    gone = published.search("films", k=1)[0].item_id
    published.upsert([item("brand new", "filmsword5 never seen", domain)])
    published.delete(gone)
    found, columns, computed = projected(published)
    assert isinstance(found, ViewContents)
    assert len(found.newer) == 1
    assert not computed.any(axis=1).all()  # the deleted item has none
    np.testing.assert_allclose(found.take(columns), computed, atol=1e-5)
    for some in (columns[-1:], columns[::-2], columns[:0]):
        np.testing.assert_allclose(found.take(some), computed[some], atol=1e-5)


def test_lists_are_those_of_a_reader_that_computes_them(published, monkeypatch):
    users = [User(), User(id="u3"), User(text="filmsword5")]

    def lists(space):
        return [[(h.item_id, h.score) for h in space.recommend(user, k=30)] for user in users]

    stored = lists(published)
    again = Space.open(published.path, encoder=two_encoders())
    monkeypatch.setattr(
        "isthmus.retrieval.recommend.space_recommender.published_contents", lambda _: None
    )
    for one, other in zip(stored, lists(again), strict=True):
        assert [name for name, _ in one] == [name for name, _ in other]
        np.testing.assert_allclose([s for _, s in one], [s for _, s in other], rtol=1e-4)


def test_contents_of_other_weights_do_not_fit(published):
    serving = published._recommender.serving(published.opened.view())
    projection, contents = serving.recommender.statistics.projection, serving.contents
    assert contents.fits(serving.features, projection)
    other = {name: 1 / weight for name, weight in serving.features.weights.items()}
    assert not contents.fits(replace(serving.features, weights=other), projection)
    published.set_weights({name: 1 / weight for name, weight in TRAINED_WEIGHTS.items()})
    found, columns, computed = projected(published)
    np.testing.assert_allclose(found.take(columns), computed, atol=1e-5)


def test_damaged_contents_are_found_and_made_anew(published):
    path = stored_file(published)
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    reader = Space.open(published.path, encoder=two_encoders())
    with pytest.raises(CorruptRelease, match=r"contents\.safetensors is missing or damaged"):
        reader.recommend(User(id="u3"))
    published.publish(rebuild=True)
    assert len(Space.open(published.path, encoder=two_encoders()).recommend(User(id="u3")))
