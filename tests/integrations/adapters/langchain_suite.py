"""The standard tests of LangChain; run by tests/integrations/test_adapters.py."""

from pathlib import Path

import pytest
from langchain_core.documents import Document
from langchain_tests.integration_tests import (
    RetrieversIntegrationTests,
    VectorStoreIntegrationTests,
)

import isthmus
from isthmus.errors import InvalidInput
from isthmus.integrations.langchain import IsthmusVectorStore


class TestOwnVectors(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path):
        return IsthmusVectorStore.create(tmp_path / "s", self.get_embeddings())


class TestEncoderOfTheSpace(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path):
        return IsthmusVectorStore.create(tmp_path / "s")


@pytest.fixture
def notes(tmp_path):
    store = IsthmusVectorStore.create(tmp_path / "s", attributes=("year",))
    texts = ["a ship in a storm", "a recipe for bread", "the sea at night", "a loaf of rye"]
    metadatas = [{"year": 1990 + n, "tags": ["x", {"n": n}]} for n in range(4)]
    store.add_texts(texts, metadatas, ids=["ship", "bread", "sea", "rye"])
    return store


class TestRetriever(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _store(self, notes):
        self._notes = notes

    @property
    def retriever_constructor(self):
        return lambda k=4, **_: self._notes.as_retriever(search_kwargs={"k": k})

    @property
    def retriever_constructor_params(self):
        return {}

    @property
    def retriever_query_example(self):
        return "sailing"


def test_the_nearest_documents_come_with_metadata_and_cosines(notes):
    [(document, score), *_] = notes.similarity_search_with_score("a boat in bad weather", k=2)
    expected = {"year": 1990, "tags": ["x", {"n": 0}]}
    assert document == Document(id="ship", page_content="a ship in a storm", metadata=expected)
    assert score == notes._space.search("a boat in bad weather", k=1)[0].score


def test_named_metadata_are_attributes_that_filter(notes):
    found = notes.similarity_search("bread", k=4, where="year >= 1992")
    assert {document.id for document in found} == {"sea", "rye"}


def test_diverse_lists_and_relevances(notes):
    assert len(notes.max_marginal_relevance_search("bread", k=2)) == 2
    relevances = [r for _, r in notes.similarity_search_with_relevance_scores("bread", k=4)]
    assert relevances == sorted(relevances, reverse=True)
    assert all(0 <= relevance <= 1 for relevance in relevances)


def test_all_are_deleted_and_other_domains_stay(notes):
    notes._space.upsert([{"item_id": "film", "text": "a film"}], domain="films", text="text")
    notes.delete()
    assert list(notes._space.ids()) == ["film"]
    assert notes.similarity_search("bread") == []
    assert notes.get_by_ids(["film", "bread"]) == []


def test_metadata_that_are_no_json_are_refused_by_id(notes):
    with pytest.raises(InvalidInput, match="document 'odd' are not JSON"):
        notes.add_texts(["odd"], [{"path": Path("x")}], ids=["odd"])


def test_texts_and_metadata_must_agree(notes):
    with pytest.raises(InvalidInput, match="2 texts came with 1 metadata"):
        notes.add_texts(["a", "b"], [{}])


def test_a_store_of_a_space_that_is_there(notes, tmp_path):
    again = IsthmusVectorStore(isthmus.connect(tmp_path / "s"))
    assert again.get_by_ids(["sea"])[0].page_content == "the sea at night"
