"""A map of a space: what its points are, where they lie, how they are drawn."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from isthmus import Space
from isthmus.errors import InvalidFilter, InvalidInput, MissingDependency
from isthmus.retrieval.search.map_layout import find_neighbours, lay_out
from tests.toy import item, joint_encoder, picture, text_encoder, two_encoders

COLOURS = ("red", "green", "blue", "black", "white", "yellow")


@pytest.fixture
def colours(tmp_path):
    """A space in which a red picture and the word red are the same."""
    space = Space.create(tmp_path / "colours.space", joint_encoder())
    space.upsert(
        [
            *(item(f"t{n}", COLOURS[n % 6], "words") for n in range(120)),
            *(item(f"p{n}", "", "pictures", image=picture(COLOURS[n % 6])) for n in range(120)),
            item("both", "red", "words", image=picture("red")),
        ]
    )
    return space


def test_each_content_is_a_point_near_similar_contents(colours):
    drawing = colours.map()
    assert (drawing.vector_name, len(drawing)) == ("joint", 242)
    rows = drawing.table().to_pylist()
    assert rows[0].keys() == {"item_id", "domain", "modality", "x", "y"}
    assert [r["modality"] for r in rows if r["item_id"] == "both"] == ["text", "image"]
    assert {(r["domain"], r["modality"]) for r in rows} == {
        ("words", "text"),
        ("pictures", "image"),
        ("words", "image"),
    }
    colour = np.array(
        [COLOURS.index("red") if i == "both" else int(i[1:]) % 6 for i in drawing.item_ids]
    )
    centres = np.stack([drawing.points[colour == n].mean(axis=0) for n in range(6)])
    far = np.linalg.norm(drawing.points[:, None] - centres, axis=2)
    assert (far.argmin(axis=1) == colour).all()


def test_the_same_space_and_seed_give_the_same_map(colours, tmp_path):
    first, again = colours.map(seed=3), colours.map(seed=3)
    np.testing.assert_array_equal(first.points, again.points)
    for name in ("map.png", "map.svg", "map.pdf"):
        first.save(tmp_path / name)
        again.save(tmp_path / f"again-{name}")
        assert (tmp_path / name).read_bytes() == (tmp_path / f"again-{name}").read_bytes()
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    svg = (tmp_path / "map.svg").read_text()
    assert "241 items, named vector joint" in svg
    assert "words, text" in svg
    assert first._repr_png_() == (tmp_path / "map.png").read_bytes()


def test_only_selected_items_are_on_the_map(colours):
    assert set(colours.map(domain="words", where="item_id <> 'both'").modalities) == {"text"}
    few = colours.map(limit=7, seed=1)
    assert len(set(few.item_ids)) == 7
    assert set(few.item_ids) != set(colours.map(limit=7, seed=2).item_ids)
    with pytest.raises(InvalidInput, match="boats"):
        colours.map(domain="boats")
    with pytest.raises(InvalidFilter, match="price"):
        colours.map(where="price < 3")
    with pytest.raises(
        InvalidInput, match="no item to draw has a vector in the named vector joint"
    ):
        colours.map(where="item_id = 'absent'")
    with pytest.raises(InvalidInput, match="limit is 0; give one item or more"):
        colours.map(limit=0)


def test_a_named_vector_of_one_modality_is_mapped_by_name(tmp_path):
    space = Space.create(tmp_path / "s", two_encoders())
    space.upsert([item(f"{n}", f"w{n}", image=picture(COLOURS[n])) for n in range(6)])
    assert space.map().vector_name == "text"
    assert set(space.map(vector_name="image").modalities) == {"image"}
    with pytest.raises(
        InvalidInput, match="no named vector 'sound' in this space; give one of: text, im"
    ):
        space.map(vector_name="sound")


@pytest.mark.parametrize("count", [1, 2, 4, 5, 6])
def test_few_items_have_a_map_too(tmp_path, count):
    space = Space.create(tmp_path / "s", text_encoder())
    space.upsert([item(f"{n}", f"word{n}") for n in range(count)])
    drawing = space.map()
    assert drawing.points.shape == (count, 2)
    assert np.isfinite(drawing.points).all()
    drawing.save(tmp_path / "map.png")


def test_neighbours_are_taken_equally_from_each_modality():
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((40, 8)).astype(np.float32)
    vectors[20:, 0] += 9  # the gap between modalities
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    kinds = ["text"] * 20 + ["image"] * 20
    found = find_neighbours(vectors, kinds, 6)
    assert found.indices.shape == (40, 7)
    assert (found.indices[:, 0] == np.arange(40)).all()
    assert ((found.indices[:, 1:] < 20).sum(axis=1) == 3).all()
    assert (np.diff(found.distances, axis=1) >= 0).all()
    cosines = vectors @ vectors.T - 9 * np.eye(40)
    for row in range(40):
        texts = np.argsort(-cosines[row, :20])[:3]
        images = 20 + np.argsort(-cosines[row, 20:])[:3]
        assert set(found.indices[row, 1:]) == {*texts, *images}
        assert row not in found.indices[row, 1:]


def test_a_modality_of_one_content_has_neighbours():
    found = find_neighbours(np.eye(9, dtype=np.float32), ["text"] * 8 + ["image"], 4)
    assert found.indices.shape == (9, 3)
    assert set(found.indices[8, 1:]) < set(range(8))


def test_vectors_that_are_all_the_same_are_laid_out():
    assert np.isfinite(lay_out(np.ones((9, 3), np.float32), ["text"] * 9, 0)).all()


def test_invalid_options_and_missing_libraries_are_named(colours, tmp_path, monkeypatch):
    drawing = colours.map()
    with pytest.raises(InvalidInput, match=r"cannot draw into .*map\.gif; give a name in \.png"):
        drawing.save(tmp_path / "map.gif")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependency, match=r"pip install 'isthmus\[map\]'"):
        drawing.save(tmp_path / "map.png")
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(MissingDependency, match=r"pip install 'isthmus\[map\]'"):
        colours.map()


def test_principal_components_need_nothing_and_leave_nothing_to_chance(colours, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    drawing = colours.map(layout="components")
    assert len(drawing) == 242
    np.testing.assert_array_equal(drawing.points, colours.map(layout="components", seed=9).points)
    assert np.abs(drawing.points).max() == pytest.approx(10)
    places = {
        (modality, colour): point
        for colour in range(6)
        for item_id, modality, point in zip(
            drawing.item_ids, drawing.modalities, drawing.points.tolist(), strict=True
        )
        if item_id in (f"t{colour}", f"p{colour}")
    }
    assert len({tuple(np.round(point, 3)) for point in places.values()}) >= 6
    with pytest.raises(InvalidInput, match="layout"):
        colours.map(layout="circle")
