"""The standard tests of Haystack; run by tests/integrations/test_adapters.py."""

import pytest
from haystack import Document, Pipeline
from haystack.dataclasses import ByteStream
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy
from haystack.testing.document_store import DocumentStoreBaseTests

from isthmus import Space
from isthmus.errors import ItemNotFound
from isthmus.integrations.haystack import IsthmusDocumentStore, IsthmusEmbeddingRetriever


@pytest.fixture
def document_store(tmp_path):
    return IsthmusDocumentStore(str(tmp_path / "s"), attributes=("year",))


class TestDocumentStore(DocumentStoreBaseTests):
    @pytest.fixture
    def document_store(self, tmp_path):
        return IsthmusDocumentStore(str(tmp_path / "standard"))

    def assert_documents_are_equal(self, received, expected):
        assert sorted(received, key=lambda d: d.id) == sorted(expected, key=lambda d: d.id)

    def test_write_documents(self, document_store):
        document = Document(content="a")
        assert document_store.write_documents([document]) == 1
        with pytest.raises(DuplicateDocumentError, match=document.id):
            document_store.write_documents([document])


def vector(n):
    return [float(n == m) + 0.1 * (n + 1 == m) for m in range(768)]


@pytest.fixture
def numbered(document_store):
    document_store.write_documents(
        [
            Document(
                id=str(n),
                content=f"document {n}",
                embedding=vector(n),
                meta={"year": 1990 + n, "tags": ["x", {"n": n}]},
                blob=ByteStream(b"\x00\xff", mime_type="image/png"),
            )
            for n in range(6)
        ]
    )
    return document_store


def test_documents_come_back_as_they_were(numbered):
    [document] = numbered.filter_documents({"field": "id", "operator": "==", "value": "3"})
    assert document.embedding == vector(3)
    assert document.blob == ByteStream(b"\x00\xff", mime_type="image/png")
    assert document.meta == {"year": 1993, "tags": ["x", {"n": 3}]}


def test_the_nearest_documents_with_both_kinds_of_filter(numbered):
    assert [d.id for d in numbered.search(vector(2), top_k=1)] == ["2"]
    late = {"field": "meta.year", "operator": ">=", "value": 1994}
    assert {d.id for d in numbered.search(vector(2), top_k=2, filters=late)} == {"4", "5"}
    assert {d.id for d in numbered.search(vector(2), top_k=5, where="year >= 1994")} == {"4", "5"}


def test_a_retriever_in_a_pipeline_that_was_stored(numbered):
    pipeline = Pipeline()
    pipeline.add_component("retriever", IsthmusEmbeddingRetriever(numbered, top_k=1))
    module = IsthmusEmbeddingRetriever.__module__
    again = Pipeline.loads(pipeline.dumps(), allowed_modules=[module])
    found = again.run({"retriever": {"query_embedding": vector(4)}})["retriever"]["documents"]
    assert [document.id for document in found] == ["4"]
    assert found[0].score == pytest.approx(1)


def test_more_documents_than_a_page_holds_come_back(document_store, monkeypatch):
    monkeypatch.setattr("isthmus.integrations.haystack.PAGE", 2)
    documents = [Document(id=f"d{n}", content=f"text {n}") for n in range(5)]
    document_store.write_documents(documents)
    assert document_store.filter_documents() == documents


@pytest.mark.parametrize("tells", [True, False])
def test_a_write_asks_for_its_own_documents_alone(numbered, monkeypatch, tells):
    get = Space.get

    def of_a_service(space, item_id):
        try:
            return get(space, item_id)
        except ItemNotFound as error:
            raise ItemNotFound(str(error), error.item_ids if tells else ()) from error

    for verb in ("ids", "scroll"):
        monkeypatch.setattr(Space, verb, lambda *_, **__: pytest.fail("all are read"))
    monkeypatch.setattr(Space, "get", of_a_service)
    new, old = Document(id="new", content="a"), Document(id="3", content="other")
    assert numbered.write_documents([new, old], DuplicatePolicy.SKIP) == 1
    with pytest.raises(DuplicateDocumentError, match="of these ids: 3, new;"):
        numbered.write_documents([new, old, Document(id="newer", content="b")])
    assert numbered.write_documents([new, old], DuplicatePolicy.OVERWRITE) == 2
    assert numbered.count_documents() == 7
