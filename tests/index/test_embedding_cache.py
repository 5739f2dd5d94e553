from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.digests import DigestIndex, digest, keys_of
from isthmus.encoders.embedding_cache import EmbeddingCache


def some(names):
    return [digest(name) for name in names], np.array([[len(n), ord(n[0])] for n in names], "f4")


def test_what_was_recorded_is_known_before_and_after_a_flush(tmp_path):
    cache = EmbeddingCache(tmp_path, "text", "f0", 2)
    hashes, vectors = some(["a", "bb", "ccc"])
    cache.add(hashes[:2], vectors[:2])
    assert cache.contains(hashes).tolist() == [True, True, False]
    cache.flush()
    cache.add(hashes[2:], vectors[2:])
    np.testing.assert_array_equal(cache.vectors(hashes[::-1]), vectors[::-1])
    cache.close()
    np.testing.assert_array_equal(
        EmbeddingCache(tmp_path, "text", "f0", 2).vectors(hashes), vectors
    )


def test_another_fingerprint_or_modality_knows_nothing(tmp_path):
    hashes, vectors = some(["a"])
    cache = EmbeddingCache(tmp_path, "text", "f0", 2)
    cache.add(hashes, vectors)
    cache.close()
    assert not EmbeddingCache(tmp_path, "text", "f1", 2).contains(hashes).any()
    assert not EmbeddingCache(tmp_path, "image", "f0", 2).contains(hashes).any()


def test_an_unknown_content_has_no_vector(tmp_path):
    with pytest.raises(KeyError, match="1 contents are not in the embedding cache"):
        EmbeddingCache(tmp_path, "text", "f0", 2).vectors([digest("x")])


def test_many_small_commits_are_merged(tmp_path):
    for n in range(40):
        cache = EmbeddingCache(tmp_path, "text", "f0", 2)
        cache.add(*some([f"{n} words"]))
        cache.close()
    hashes, vectors = some([f"{n} words" for n in range(40)])
    cache = EmbeddingCache(tmp_path, "text", "f0", 2)
    np.testing.assert_array_equal(cache.vectors(hashes), vectors)
    assert len(cache) == 40


@settings(max_examples=50, deadline=None)
@given(batches=st.lists(st.lists(st.integers(0, 40), max_size=10), max_size=8))
def test_a_digest_index_is_a_dictionary_to_the_latest_position(batches):
    first = np.array([7, 7, 9], np.uint64)
    index, model = DigestIndex(first), {7: 1, 9: 2}
    position = 3
    for batch in batches:
        index.add(np.array(batch, np.uint64))
        for key in batch:
            model[key] = position
            position += 1
    keys = np.arange(41, dtype=np.uint64)
    assert index.find(keys).tolist() == [model.get(int(key), -1) for key in keys]
    index._merge()
    assert index.find(keys).tolist() == [model.get(int(key), -1) for key in keys]


def test_keys_are_the_first_eight_bytes():
    assert keys_of([digest("a")])[0] == int.from_bytes(digest("a")[:8], "little")
