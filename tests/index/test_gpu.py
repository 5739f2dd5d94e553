"""Placement on GPUs: what is refused without one, and equality with the CPU on one."""

from __future__ import annotations

import numpy as np
import pytest

from isthmus import Space
from isthmus.errors import InvalidInput, UnsupportedOperation
from isthmus.index.ann.bitmap import Bitmap
from isthmus.index.ann.exact import exact_search
from isthmus.index.ann.gpu import GpuIndex, choose_devices, exact_on, require_gpu_form
from isthmus.index.ann.recipes import RECIPES, suitable
from tests.index.vectors import clustered
from tests.toy import item, two_encoders

ON_GPU = [recipe for recipe in RECIPES if recipe.has_gpu_form]


def gpus():
    import faiss

    return faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0


needs_gpu = pytest.mark.skipif(gpus() == 0, reason="FAISS sees no GPU")
needs_none = pytest.mark.skipif(gpus() > 0, reason="FAISS sees a GPU")


@pytest.mark.parametrize("name", ["cuda", "cuda:1", "all"])
@needs_none
def test_an_absent_gpu_is_refused_and_not_replaced(name, space):
    with pytest.raises(InvalidInput, match=f"device '{name}' is absent: FAISS sees 0 GPU"):
        choose_devices(name)
    space.upsert([item("a", "word")])
    with pytest.raises(InvalidInput, match="absent"):
        Space.open(space.path, encoder=two_encoders(), device=name).search("word")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:-1", ""])
def test_an_unknown_device_is_refused(name):
    with pytest.raises(InvalidInput, match="'auto', 'cpu', 'cuda', 'cuda:N' or 'all'"):
        choose_devices(name)


@needs_none
def test_auto_is_the_cpu_where_there_is_no_gpu():
    assert choose_devices("auto") == choose_devices("cpu") == ()


def test_a_recipe_without_a_gpu_form_is_refused_by_name():
    for recipe in RECIPES:
        if recipe.has_gpu_form:
            require_gpu_form(recipe)
        else:
            with pytest.raises(UnsupportedOperation, match=r"no GPU form of.*--device cuda"):
                require_gpu_form(recipe)
    assert [r.name for r in suitable(32, on_gpu=True)] == [
        r.name for r in RECIPES if r.has_gpu_form
    ]


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("recipe", ON_GPU, ids=lambda recipe: recipe.name)
def test_a_gpu_finds_what_the_cpu_finds(recipe):
    vectors = clustered(np.random.default_rng(0), 20_000, 64)
    index = recipe.build(vectors)
    index = index.with_width(index.max_width // 4)
    placed = GpuIndex(index, choose_devices("cuda"))
    queries = vectors[:200]
    here, there = index.search(queries, 10), placed.search(queries, 10)
    np.testing.assert_allclose(here[0], there[0], atol=2e-3)
    same = [len(set(a) & set(b)) for a, b in zip(here[1].tolist(), there[1].tolist(), strict=True)]
    assert np.mean(same) >= 9.8


@pytest.mark.gpu
@needs_gpu
def test_a_filter_holds_on_a_gpu():
    vectors = clustered(np.random.default_rng(0), 20_000, 64)
    bitmap = Bitmap(np.arange(len(vectors)) % 7 == 0)
    placed = GpuIndex(RECIPES[0].build(vectors), choose_devices("cuda"))
    scores, found = placed.search_filtered(vectors[:50], 10, bitmap, 0)
    best, _ = exact_search(vectors[:50], vectors, 10, bitmap)
    assert (found % 7 == 0).all()
    np.testing.assert_allclose(scores, best, atol=1e-4)


@pytest.mark.gpu
@needs_gpu
def test_exact_search_on_a_gpu_equals_the_cpu():
    vectors = clustered(np.random.default_rng(0), 30_000, 64)
    here = exact_search(vectors[:500], vectors, 10)
    with exact_on(choose_devices("cuda")):
        there = exact_search(vectors[:500], vectors, 10)
    np.testing.assert_allclose(here[0], there[0], atol=1e-4)


@pytest.mark.gpu
@needs_gpu
def test_a_space_publishes_and_answers_on_a_gpu(space):
    space.upsert([item(str(n), f"w{n % 50} v{n % 37}") for n in range(3_000)])
    here = Space.open(space.path, encoder=two_encoders(), device="cpu")
    there = Space.open(space.path, encoder=two_encoders(), device="cuda")
    there.publish(latency_ms=1_000)
    assert there.status()["index"]["text"]["placement"] == "gpu"
    for word in ("w1 v1", "w7 v30"):
        assert [h.score for h in there.search(word)] == pytest.approx(
            [h.score for h in here.search(word)], abs=1e-3
        )
