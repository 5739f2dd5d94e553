"""Late interaction and learned sparse vectors: computed once, stored, and searched by."""

from __future__ import annotations

import io
import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from isthmus import Space
from isthmus.encoders.multi_vectors import compress, expand, max_sim
from isthmus.errors import InvalidInput, IsthmusWarning, UnknownEncoder, UnsupportedModality
from tests.damage.damages import flip
from tests.encoders import models
from tests.toy import joint_encoder, picture, text_encoder

COLOURS = ("red", "green", "blue", "a", "of")
THINGS = ("shoe", "hat", "shoe hat", "hat of shoe")
TITLES = [f"{colour} {thing} {at}" for at, colour in enumerate(COLOURS) for thing in THINGS]
QUERY = "a red hat"
LATE = "late-interaction"


@pytest.fixture(scope="module")
def colbert(tmp_path_factory):
    return models.colbert_folder(tmp_path_factory.mktemp("colbert") / "model")


@pytest.fixture(scope="module")
def splade(tmp_path_factory):
    return models.splade_folder(tmp_path_factory.mktemp("splade") / "model")


@pytest.fixture(scope="module")
def colpali(tmp_path_factory):
    return models.colpali_folder(tmp_path_factory.mktemp("colpali") / "model")


def rows(titles, start=0):
    return [
        {"item_id": f"i{at:02}", "domain": "ab"[at % 2], "text": title}
        for at, title in enumerate(titles, start)
    ]


@pytest.fixture
def space(tmp_path):
    space = Space.create(tmp_path / "s", encoder=text_encoder())
    space.upsert(rows(TITLES))
    return space


def late_scores(folder, titles):
    """What the library's vectors score, compressed."""
    from sentence_transformers import MultiVectorEncoder

    library = MultiVectorEncoder(str(folder), device="cpu", local_files_only=True)
    query = library.encode_query(QUERY, convert_to_numpy=True)
    documents = library.encode_document(titles, convert_to_numpy=True)
    return max_sim(query, [expand(compress(vectors)) for vectors in documents])


class TestLateInteraction:
    def test_the_list_is_in_the_order_of_max_sim(self, space, colbert):
        report = space.precompute(f"{LATE}/{colbert}")
        assert (report.modality, report.contents, report.encoded) == ("text", 20, 20)
        hits = space.search(QUERY, k=20, rerank=LATE, attributes=True)
        expected = dict(zip(TITLES, late_scores(colbert, TITLES), strict=True))
        found = [hit.score for hit in hits]
        np.testing.assert_allclose(found, [expected[hit.text] for hit in hits], atol=0.05)
        assert found == sorted(found, reverse=True)
        assert hits.notes == ()
        assert list(space.search(QUERY, k=4, rerank=LATE, attributes=True)) == list(hits)[:4]

    def test_only_new_contents_are_encoded(self, space, colbert):
        space.precompute(f"{LATE}/{colbert}")
        space.upsert(rows(["red hat new", TITLES[0]], 20))
        report = space.precompute(f"{LATE}/{colbert}")
        assert (report.contents, report.encoded) == (21, 1)

    def test_what_is_not_stored_is_encoded_for_the_query(self, space, colbert):
        space.precompute(f"{LATE}/{colbert}")
        space.upsert(rows(["a red hat new"], 20))
        with pytest.warns(IsthmusWarning, match="1 of the first 21 candidates were encoded"):
            before = space.search(QUERY, k=21, rerank=LATE)
        assert space.search(QUERY, k=21, rerank=LATE).notes == ()  # kept in memory
        space.precompute(f"{LATE}/{colbert}")
        opened = Space.open(space.path, encoder=text_encoder())
        assert list(opened.search(QUERY, k=21, rerank=LATE)) == list(before)

    def test_a_model_that_is_named_needs_nothing_stored(self, space, colbert):
        with pytest.warns(IsthmusWarning, match="20 of the first 20 candidates were encoded"):
            named = space.search(QUERY, k=20, rerank=f"{LATE}/{colbert}")
        assert not list((space.path / "embedding_cache").glob("*-*.lance"))[1:]
        space.precompute(f"{LATE}/{colbert}")
        assert list(space.search(QUERY, k=20, rerank=LATE)) == list(named)

    def test_equal_items_have_equal_scores(self, space, colbert):
        space.upsert(rows(TITLES, 20))
        space.precompute(f"{LATE}/{colbert}")
        hits = space.search(QUERY, k=40, rerank=LATE, attributes=True)
        by_text = {}
        for hit in hits:
            by_text.setdefault(hit.text, set()).add(hit.score)
        assert len(by_text) == 20
        assert all(len(scores) == 1 for scores in by_text.values())

    def test_nothing_stored_names_the_command(self, space):
        with pytest.raises(InvalidInput, match="isthmus precompute late-interaction/NAME"):
            space.search(QUERY, rerank=LATE)

    def test_a_changed_model_is_refused(self, space, colbert, tmp_path):
        folder = shutil.copytree(colbert, tmp_path / "copy")
        space.precompute(f"{LATE}/{folder}")
        shutil.rmtree(folder)
        shutil.copytree(models.colbert_folder(tmp_path / "other", seed=1), folder)
        opened = Space.open(space.path, encoder=text_encoder())
        with pytest.raises(InvalidInput, match="has changed since items were encoded"):
            opened.search(QUERY, rerank=LATE)

    def test_an_item_without_text_stands_behind(self, tmp_path, colbert):
        space = Space.create(tmp_path / "s", encoder=joint_encoder())
        items = [{"item_id": "picture", "domain": "d", "image": picture("red")}]
        space.upsert([*items, {"item_id": "text", "domain": "d", "text": "hat"}])
        space.precompute(f"{LATE}/{colbert}")
        with pytest.warns(IsthmusWarning, match="1 of the first 2 candidates have no text"):
            hits = space.search("red", rerank=LATE)
        assert [hit.item_id for hit in hits] == ["text", "picture"]
        assert hits[1].score == pytest.approx(-12, abs=1e-3)
        space.delete(["text"])
        with pytest.raises(UnsupportedModality, match="reads the text of items"):
            space.search("red", rerank=LATE)

    def test_another_process_sees_what_was_added(self, space, colbert):
        space.precompute(f"{LATE}/{colbert}")
        reader = Space.open(space.path, encoder=text_encoder())
        reader.search(QUERY, rerank=LATE)
        space.upsert(rows(["a red hat new"], 20))
        space.precompute(f"{LATE}/{colbert}")
        space.compact(keep_days=0)
        assert reader.search(QUERY, k=21, rerank=LATE).notes == ()

    def test_a_space_is_not_trusted_to_run_code(self, space, colbert, monkeypatch):
        space.precompute(f"{LATE}/{colbert}?trust_remote_code=true")
        opened = Space.open(space.path, encoder=text_encoder())
        with pytest.raises(UnknownEncoder, match="set ISTHMUS_TRUST_REMOTE_CODE=1"):
            opened.search(QUERY, rerank=LATE)
        monkeypatch.setenv("ISTHMUS_TRUST_REMOTE_CODE", "1")
        assert opened.search(QUERY, rerank=LATE)

    def test_pictures_of_pages_are_judged_by_a_model_that_reads_them(self, tmp_path, colpali):
        space = Space.create(tmp_path / "s", encoder=joint_encoder())
        space.upsert(
            [{"item_id": c, "domain": "d", "image": picture(c), "text": c} for c in COLOURS[:3]]
            + [{"item_id": "text", "domain": "d", "text": "red"}]
        )
        report = space.precompute(f"{LATE}/{colpali}")
        assert (report.modality, report.contents) == ("image", 3)
        with pytest.warns(IsthmusWarning, match="1 of the first 4 candidates have no image"):
            hits = space.search("red", rerank=LATE)
        assert [hit.item_id for hit in hits][-1] == "text"
        from sentence_transformers import MultiVectorEncoder

        library = MultiVectorEncoder(str(colpali), device="cpu", local_files_only=True)
        pages = [Image.open(io.BytesIO(picture(c))).convert("RGB") for c in COLOURS[:3]]
        scores = library.similarity(library.encode_query(["red"]), library.encode_document(pages))
        expected = dict(zip(COLOURS, scores[0].tolist(), strict=False))
        for hit in hits[:3]:
            assert hit.score == pytest.approx(expected[hit.item_id], abs=0.1)

    def test_other_models_are_refused(self, space):
        with pytest.raises(InvalidInput, match="give late-interaction/NAME_OR_FOLDER or sparse/"):
            space.precompute("cross-encoder/x")


class TestSparse:
    def scores(self, folder, titles):
        from sentence_transformers import SparseEncoder

        library = SparseEncoder(str(folder), device="cpu", local_files_only=True)
        found = library.similarity(library.encode_query([QUERY]), library.encode_document(titles))
        return dict(zip(titles, found[0].numpy(), strict=True))

    def test_the_ranking_by_words_is_that_of_the_inner_products(self, space, splade):
        report = space.precompute(f"sparse/{splade}")
        assert (report.modality, report.contents, report.encoded) == ("text", 20, 20)
        scores = self.scores(splade, TITLES)
        by_vectors = [hit.item_id for hit in space.search(QUERY, k=20)]
        by_words = sorted(range(20), key=lambda at: -scores[TITLES[at]])
        ranks = {f"i{at:02}": 1 / (60 + rank) for rank, at in enumerate(by_words, 1)}
        heavy = space.search(QUERY, k=20, hybrid=True, words="sparse", bm25_weight=1e6)
        assert [hit.item_id for hit in heavy] == [f"i{at:02}" for at in by_words]
        hits = space.search(QUERY, k=20, hybrid=True, words="sparse")
        plain = {hit.item_id: hit.score for hit in space.search(QUERY, k=20)}
        tied = np.array([-plain[item] for item in by_vectors])
        first = {item: 1 + int((tied < tied[at]).sum()) for at, item in enumerate(by_vectors)}
        for hit in hits:
            expected = 1 / (60 + first[hit.item_id]) + ranks[hit.item_id]
            assert hit.score == pytest.approx(expected, abs=1e-6)

    def test_a_filter_holds(self, space, splade):
        space.precompute(f"sparse/{splade}")
        hits = space.search(QUERY, hybrid=True, words="sparse", domain="a")
        assert len(hits) == 10
        assert {hit.domain for hit in hits} == {"a"}

    def test_new_items_are_found_by_vectors_until_they_are_computed(self, space, splade):
        space.precompute(f"sparse/{splade}")
        space.upsert(rows(["a red hat"], 20))
        with pytest.warns(IsthmusWarning, match="1 items have no sparse vectors yet"):
            hits = space.search(QUERY, k=21, hybrid=True, words="sparse")
        assert len(hits) == 21
        space.precompute(f"sparse/{splade}")
        assert space.search(QUERY, k=21, hybrid=True, words="sparse").notes == ()

    def test_a_deleted_item_is_not_found(self, space, splade):
        space.precompute(f"sparse/{splade}")
        space.search(QUERY, hybrid=True, words="sparse")
        space.delete(["i01"])
        hits = space.search(QUERY, k=20, hybrid=True, words="sparse")
        assert len(hits) == 19
        assert "i01" not in {hit.item_id for hit in hits}

    def test_it_goes_before_a_reranker(self, space, splade, colbert):
        space.precompute(f"sparse/{splade}")
        space.precompute(f"{LATE}/{colbert}")
        first = {h.item_id for h in space.search(QUERY, k=5, hybrid=True, words="sparse")}
        hits = space.search(QUERY, k=5, hybrid=True, words="sparse", rerank=LATE, rerank_depth=5)
        assert {hit.item_id for hit in hits} == first

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"hybrid": True}, "isthmus precompute sparse/NAME"),
            ({}, "words='sparse' is for hybrid search"),
        ],
    )
    def test_what_cannot_be_is_refused(self, space, arguments, message):
        with pytest.raises(InvalidInput, match=message):
            space.search(QUERY, words="sparse", **arguments)


class TestQueryFile:
    QUERIES = ("a red hat", "blue shoe", "green")

    def lists(self, space, tmp_path, queries=QUERIES, **arguments):
        rows = [{"query_id": f"q{at}", "text": text} for at, text in enumerate(queries)]
        report = space.search_file(rows, tmp_path / "hits.parquet", k=4, **arguments)
        found = {}
        for row in pq.read_table(tmp_path / "hits.parquet").to_pylist():
            found.setdefault(row["query_id"], []).append((row["item_id"], row["score"]))
        return report, found

    @pytest.mark.parametrize(
        "arguments",
        [
            {"rerank": LATE},
            {"rerank": LATE, "rerank_depth": 5, "domain": "a"},
            {"hybrid": True},
            {"hybrid": True, "words": "sparse", "bm25_weight": 2.0},
            {"hybrid": True, "rerank": LATE},
        ],
    )
    def test_lists_are_those_of_single_searches(self, space, colbert, splade, tmp_path, arguments):
        space.precompute(f"{LATE}/{colbert}")
        space.precompute(f"sparse/{splade}")
        report, found = self.lists(space, tmp_path, **arguments)
        assert (report.answered, report.problems) == (3, [])
        for at, text in enumerate(self.QUERIES):
            expected = [(h.item_id, h.score) for h in space.search(text, k=4, **arguments)]
            assert [item for item, _ in found[f"q{at}"]] == [item for item, _ in expected]
            np.testing.assert_allclose(
                [score for _, score in found[f"q{at}"]], [score for _, score in expected], rtol=1e-5
            )

    def test_a_query_without_text_is_left_out_with_the_reason(self, space, colbert, tmp_path):
        space.precompute(f"{LATE}/{colbert}")
        dim = space.settings.layout[0].dim
        rows = [
            {"query_id": "q", "text": QUERY, "vector": None},
            {"query_id": "v", "text": None, "vector": [1.0] * dim},
        ]
        report = space.search_file(rows, tmp_path / "hits.parquet", rerank=LATE)
        assert (report.queries, report.answered) == (2, 1)
        assert "query 'v': hybrid search and rerank compare words" in str(report.problems[0])

    def test_what_is_said_of_every_query_is_said_once(self, space, colbert, tmp_path):
        with pytest.warns(IsthmusWarning, match="encoded for this query") as said:
            self.lists(space, tmp_path, queries=["hat", "shoe"], rerank=f"{LATE}/{colbert}")
        assert len(said) == 1

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"rerank": LATE}, "isthmus precompute late-interaction/NAME"),
            ({"rerank": "timm/x"}, "names no model that orders candidates"),
            ({"rerank": LATE, "rerank_depth": 3}, "no places up to 4"),
            ({"words": "sparse"}, "words='sparse' is for hybrid search"),
            ({"hybrid": True, "words": "sparse"}, "isthmus precompute sparse/NAME"),
            ({"hybrid": True, "bm25_weight": -1.0}, "bm25_weight is -1.0"),
        ],
    )
    def test_what_cannot_be_is_refused_first(self, space, tmp_path, arguments, message):
        with pytest.raises(InvalidInput, match=message):
            self.lists(space, tmp_path, **arguments)
        assert not (tmp_path / "hits.parquet").exists()


class TestStorage:
    @pytest.fixture
    def kept(self, space, colbert):
        space.precompute(f"{LATE}/{colbert}")
        return space

    def table(self, space):
        fingerprint = json.loads((space.path / "second_stage.json").read_text())["models"][LATE]
        return space.path / f"embedding_cache/text-{fingerprint['fingerprint']}.lance"

    def test_vectors_are_a_byte_a_value(self, kept):
        size = sum(path.stat().st_size for path in self.table(kept).rglob("data/*"))
        n_tokens = 20 * 8
        assert size < n_tokens * (4 + 16) * 2

    def test_status_describes_the_models(self, kept, colbert, splade):
        kept.precompute(f"sparse/{splade}")
        kept.upsert(rows(["a red hat new", TITLES[0]], 20))
        described = kept.status()["second_stage"]
        n_bytes = sum(f.stat().st_size for f in self.table(kept).rglob("*") if f.is_file())
        assert described[LATE] == {
            "model": f"{LATE}/{colbert}",
            "modality": "text",
            "items": 21,  # one of the new has a text that is known
            "missing": 1,
            "bytes": n_bytes,
        }
        assert described["sparse"]["items"] == 21

    def test_status_without_any(self, space):
        assert space.status()["second_stage"] == {}

    def test_damaged_vectors_are_named_dropped_and_encoded_again(self, kept, colbert):
        expected = list(kept.search(QUERY, k=20, rerank=LATE))
        (file,) = self.table(kept).glob("data/*")
        flip(file)
        opened = Space.open(kept.path, encoder=text_encoder())
        (damage,) = opened.verify().damages
        assert damage.file == str(file.relative_to(kept.path))
        assert damage.lost.startswith("nothing")
        assert opened.verify(repair=True).sound
        assert opened.precompute(f"{LATE}/{colbert}").encoded == 20
        assert list(opened.search(QUERY, k=20, rerank=LATE)) == expected

    def test_a_damaged_record_of_models_is_named_and_dropped(self, kept, colbert):
        (kept.path / "second_stage.json").write_text("{")
        with pytest.raises(InvalidInput, match="verify --drop-damaged"):
            kept.search(QUERY, rerank=LATE)
        status = kept.status()
        assert (status["second_stage"], len(status["damage"])) == (None, 1)
        (damage,) = kept.verify().damages
        assert damage.file == "second_stage.json"
        assert kept.verify(drop_damaged=True).sound
        assert kept.precompute(f"{LATE}/{colbert}").encoded == 0

    def test_compaction_drops_the_vectors_of_contents_that_are_gone(self, kept, colbert):
        kept.delete([f"i{at:02}" for at in range(5)])
        kept.compact(keep_days=0)
        reports = {report.table: report for report in kept.compact(keep_days=0)}
        assert str(self.table(kept).relative_to(kept.path)) in reports
        assert kept.precompute(f"{LATE}/{colbert}").contents == 15
