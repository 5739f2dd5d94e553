from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.digests import DigestIndex, digest, keys_of
from isthmus.encoders.embedding_cache import EmbeddingCache, RecordCache


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


@settings(max_examples=50)
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


RECORD = np.dtype([("term", "<i4"), ("weight", "<f4")])


def records(*lengths):
    return [np.array([(n, n / 2) for n in range(length)], RECORD) for length in lengths]


def test_records_of_any_number_come_back_in_order(tmp_path):
    hashes = [digest(str(n)) for n in range(5)]
    cache = RecordCache(tmp_path, "text", "f0", RECORD)
    cache.add(hashes[:3], records(2, 0, 5))
    cache.flush()
    cache.add(hashes[3:], records(1, 3))  # in memory still
    order = [4, 1, 2, 0, 3, 2]
    found = cache.records([hashes[at] for at in order])
    for got, expected in zip(found, records(3, 0, 5, 2, 1, 5), strict=True):
        np.testing.assert_array_equal(got, expected)
    with pytest.raises(KeyError, match="1 contents are not"):
        cache.records([digest("x")])


def test_a_cache_says_whether_another_writer_added_to_it(tmp_path):
    cache = RecordCache(tmp_path, "text", "f0", RECORD)
    assert cache.is_newest()
    other = RecordCache(tmp_path, "text", "f0", RECORD)
    other.add([digest("a")], records(1))
    other.flush()
    assert not cache.is_newest()
    assert not cache.contains([digest("a")]).any()
    scanned = list(RecordCache(tmp_path, "text", "f0", RECORD).scan_records())
    assert [hashes for hashes, _ in scanned] == [[digest("a")]]
    np.testing.assert_array_equal(scanned[0][1][0], records(1)[0])
