"""Remote encoders against a real server that is honest, late, broken and dishonest."""

from __future__ import annotations

import time

import numpy as np
import pytest

from isthmus import Space, load_encoder
from isthmus.data import api_client
from isthmus.encoders.models.openai import PROBE_TEXT
from isthmus.errors import FingerprintMismatch, InvalidInput, PartlyEncoded, ServiceError
from tests.encoders.embedding_server import embedding_server
from tests.toy import item, text_encoder

TEXTS = ["red boots", "blue hat", "a green tree", "red hat"]


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(api_client, "FIRST_DELAY_S", 0.001)
    with embedding_server() as running:
        yield running


def test_vectors_are_those_of_the_model_in_the_order_of_the_texts(server):
    encoder = load_encoder(server.spec(batch_texts=3))
    np.testing.assert_allclose(encoder.encode(TEXTS), text_encoder().encode(TEXTS), atol=1e-6)
    assert (encoder.dim, encoder.modalities) == (64, {"text"})
    assert sorted(len(request["input"]) for request in server.requests) == [1, 1, 3]  # the probe
    assert server.requests[0] == {"model": "toy", "input": [PROBE_TEXT]}


@pytest.mark.parametrize(
    "behaviour",
    ["half", "same index", "dimension", "nan", "500", "503", "429", "truncated", "html", "no data"],
)
def test_one_bad_answer_is_requested_again(server, behaviour):
    encoder = load_encoder(server.spec())
    server.behaviours = [behaviour]
    started = time.monotonic()
    np.testing.assert_allclose(encoder.encode(TEXTS), text_encoder().encode(TEXTS), atol=1e-6)
    assert behaviour != "429" or time.monotonic() - started >= 0.25  # as Retry-After said


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        ("half", "answered 2 vectors for 4 texts"),
        ("same index", "answered vectors whose indexes are not those of the texts"),
        ("dimension", "answered vectors of 63 numbers, and not 64"),
        ("nan", "answered a vector of norm nan for text 0"),
        ("500", "answered 500"),
        ("html", "answered 6 bytes that are no JSON"),
        ("truncated", "embeddings "),
        ("no data", "answered JSON without a list of data"),
    ],
)
def test_many_bad_answers_are_an_error_that_names_the_address(server, behaviour, why):
    encoder = load_encoder(server.spec(retries=1))
    server.behaviours = [behaviour] * 2
    with pytest.raises(ServiceError) as caught:
        encoder.encode(TEXTS)
    assert why in str(caught.value)
    assert f"{server.address}/embeddings" in str(caught.value)
    assert "(2 attempts)" in str(caught.value)


def test_a_server_that_ignores_the_length_it_is_asked_for_is_refused(server):
    assert load_encoder(server.spec(dimensions=64)).dim == 64
    with pytest.raises(ServiceError, match="answered vectors of 64 numbers, and not 32"):
        load_encoder(server.spec(dimensions=32, retries=0))


def test_a_server_that_stalls_is_given_up(server):
    encoder = load_encoder(server.spec(timeout=0.2, retries=0))
    server.behaviours = ["stall"]
    with pytest.raises(ServiceError, match=r"did not answer within 0\.2 s"):
        encoder.encode(TEXTS)


def test_a_server_that_is_not_there():
    with pytest.raises(ServiceError, match=r"http://127\.0\.0\.1:9/v1/embeddings"):
        load_encoder("openai/x?base_url=http://127.0.0.1:9/v1&retries=0")


def test_the_key_is_sent_and_neither_stored_nor_shown(server, monkeypatch, tmp_path):
    monkeypatch.setenv("MY_KEY", "sk-secret")
    space = Space.create(tmp_path / "s", text_encoder=server.spec(key_env="MY_KEY", retries=0))
    space.upsert([item("a", "red boots")])
    assert set(server.keys) == {"Bearer sk-secret"}
    for status in ("401", "500"):
        server.behaviours = [status]
        with pytest.raises(ServiceError) as caught:
            space.search("red")
        assert "***" in str(caught.value)
        assert "sk-secret" not in str(caught.value)
    files = [path for path in (tmp_path / "s").rglob("*") if path.is_file()]
    assert not [path for path in files if b"sk-secret" in path.read_bytes()]
    monkeypatch.delenv("MY_KEY")
    server.behaviours = ["401"]
    with pytest.raises(ServiceError, match="MY_KEY: it is not set"):
        space.search("red")


def test_requests_at_once_are_limited_and_batches_are_of_so_many_tokens(server):
    encoder = load_encoder(server.spec(batch_tokens=10, concurrency=2))
    server.delay_s = 0.02
    texts = [f"{n:09d}" for n in range(12)]  # 4 tokens each, by estimate
    encoder.encode(texts)
    assert [len(request["input"]) for request in server.requests[1:]] == [2] * 6
    assert server.most_at_once == 2


def test_prompts_of_roles(server):
    encoder = load_encoder(server.spec(query_prompt="find: ", document_prompt="item: "))
    encoder.encode(["boots"])
    encoder.for_queries().encode(["boots"])
    assert server.texts[1:] == ["item: boots", "find: boots"]
    with pytest.raises(InvalidInput, match="follows no instruction"):
        encoder.for_queries("look for shoes")


def test_prompts_that_are_known_by_the_name_of_a_model(server):
    encoder = load_encoder(server.spec("intfloat/e5-small-v2"))
    encoder.encode(["boots"])
    encoder.encode(["boots"], role="query")
    assert server.texts[1:] == ["passage: boots", "query: boots"]


class TestSpaces:
    def test_a_space_is_made_opened_again_and_searched(self, server, tmp_path):
        space = Space.create(tmp_path / "s", text_encoder=server.spec())
        space.upsert([item(str(n), text) for n, text in enumerate(TEXTS)])
        texts_before = len(server.texts)
        again = Space.open(space.path)
        assert again.upsert([item(str(n), text) for n, text in enumerate(TEXTS)]).unchanged == 4
        assert len(server.texts) == texts_before  # not even the probe
        assert again.search("blue hat", k=1)[0].item_id == "1"
        assert server.texts[texts_before:] == [PROBE_TEXT, "blue hat"]

    def test_a_changed_model_behind_the_address_is_refused(self, server, tmp_path):
        space = Space.create(tmp_path / "s", text_encoder=server.spec())
        space.upsert([item("a", "red boots")])
        server.encoder = text_encoder(salt="another model")
        again = Space.open(space.path)
        with pytest.raises(FingerprintMismatch, match="another model behind the name 'toy'"):
            again.upsert([item("b", "blue hat")])
        moved = again.reembed(text_encoder=server.spec())
        assert moved.encoded == {"text": 1}
        assert again.search("red boots", k=1)[0].score > 0.999

    def test_the_same_model_at_another_address_needs_no_encoding(self, server, tmp_path):
        space = Space.create(tmp_path / "s", text_encoder=server.spec())
        space.upsert([item("a", "red boots")])
        with embedding_server() as other:
            spec = space.status()["encoders"]["text"].replace(server.address, other.address)
            assert Space.open(space.path).reembed(text_encoder=spec).encoded == {"text": 0}
            assert Space.open(space.path).search("red boots")[0].score > 0.999
            assert other.texts[-1] == "red boots"

    def test_a_server_that_dies_loses_nothing_that_it_answered(self, server, tmp_path):
        space = Space.create(
            tmp_path / "s", text_encoder=server.spec(batch_texts=1, retries=0, concurrency=1)
        )
        server.behaviours = ["", "", "half"]
        rows = [item(str(n), text) for n, text in enumerate(TEXTS)]
        with pytest.raises(PartlyEncoded, match="answered 0 vectors for 1 texts"):
            space.upsert(rows)
        assert space.status()["items"] == 0
        texts_before = len(server.texts)
        assert space.upsert(rows).encoded == {"text": 2}
        assert server.texts[texts_before:] == TEXTS[2:]

    def test_a_text_that_is_refused_is_quarantined_and_the_rest_stored(self, server, tmp_path):
        space = Space.create(tmp_path / "s", text_encoder=server.spec())
        rows = [item(str(n), text) for n, text in enumerate([*TEXTS, "forbidden words"])]
        report = space.upsert(rows)
        assert (report.added, report.quarantined, report.encoded) == (5, 1, {"text": 4})
        (failure,) = space.quarantine()
        assert failure["item_id"] == "4"
        assert "answered 400" in failure["reason"]
        assert "a text is too long" in failure["reason"]
        assert space.count() == 4
        queries = [
            {"query_id": "good", "text": "blue hat"},
            {"query_id": "bad", "text": "forbidden"},
        ]
        answers = space.search_file(queries, tmp_path / "out.parquet", k=1)
        assert (answers.queries, answers.answered) == (2, 1)
        assert "answered 400" in answers.problems[0].reason


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("", "say where the model is"),
        ("?base_url=ftp://host/v1", "give an address such as"),
        ("?base_url=http://user:pw@host/v1", "which would be stored"),
        ("?base_url=http://host/v1&timeout=soon", "timeout is 'soon'; give a number"),
        ("?base_url=http://host/v1&batch_texts=0", "batch_texts is '0'"),
    ],
)
def test_options_that_are_not_valid(options, why):
    with pytest.raises(InvalidInput, match=why):
        load_encoder(f"openai/toy{options}")
