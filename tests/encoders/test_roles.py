"""Queries and documents: prompts, instructions and shorter vectors, as the libraries have them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from isthmus import Space, load_encoder
from isthmus.encoders.registry import resolve_encoders
from isthmus.errors import InvalidInput, UnknownEncoder
from isthmus.index.releases.view import View
from isthmus.retrieval.search.recall_queries import RecallQuerySampler
from tests.encoders import models
from tests.encoders.contract import cosines
from tests.toy import PointEncoder

TEXTS = ["a red shoe", "hat", "a green hat of a blue shoe", "red", "blue shoe " * 40]
QUERY_PROMPT = "a query of "


def sentence_transformer(folder):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu", local_files_only=True)


@pytest.fixture
def prompted(folder_of):
    return f"sentence-transformers/{folder_of(models.prompted_folder)}"


@pytest.mark.parametrize(
    ("save", "options"),
    [
        (models.prompted_folder, {}),
        (models.prompted_folder, {"include_prompt": False}),
        (models.qwen3_folder, {}),
        (models.gemma3_folder, {}),
    ],
)
def test_both_roles_are_what_the_library_gives(save, options, folder_of, encoder_of):
    folder = folder_of(save, **options)
    encoder, library = encoder_of(f"sentence-transformers/{folder}"), sentence_transformer(folder)
    documents, queries = encoder.encode(TEXTS), encoder.encode(TEXTS, role="query")
    for ours, theirs in (
        (documents, library.encode_document(TEXTS, normalize_embeddings=True)),
        (queries, library.encode_query(TEXTS, normalize_embeddings=True)),
    ):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)
    assert cosines(documents, queries).min() < 0.999
    assert encoder.for_queries().fingerprint == encoder.fingerprint


def test_an_instruction_takes_the_place_of_the_models_own(folder_of, encoder_of):
    folder = folder_of(models.qwen3_folder)
    encoder, library = encoder_of(f"sentence-transformers/{folder}"), sentence_transformer(folder)
    ours = encoder.encode(TEXTS, role="query", instruction="a blue hat")
    prompt = "Instruct: a blue hat\nQuery:"
    expected = library.encode(TEXTS, prompt=prompt, normalize_embeddings=True)
    np.testing.assert_allclose(ours, expected, atol=2e-5)


def test_prompts_of_the_user_replace_those_of_the_model(prompted, encoder_of):
    encoder = encoder_of(prompted)
    other = load_encoder(f"{prompted}?query_prompt=of%20a%20&document_prompt=hat%20", device="cpu")
    library = sentence_transformer(prompted.partition("/")[2])
    for role, prompt in (("query", "of a "), ("document", "hat ")):
        expected = library.encode(TEXTS, prompt=prompt, normalize_embeddings=True)
        np.testing.assert_allclose(other.encode(TEXTS, role=role), expected, atol=2e-5)
    assert other.fingerprint != encoder.fingerprint
    assert other.components["text.prompt.query"] == "of a "


def test_a_model_known_by_its_name_gets_the_prompts_of_its_authors(tmp_path):
    folder = models.bert_folder(tmp_path / "multilingual-e5-small")
    encoder = load_encoder(f"transformers/{folder}", device="cpu")
    assert encoder.components["text.prompt.query"] == "query: "
    plain = load_encoder(f"transformers/{models.bert_folder(tmp_path / 'plain')}", device="cpu")
    passages = [f"passage: {text}" for text in TEXTS]
    np.testing.assert_allclose(encoder.encode(TEXTS), plain.encode(passages), atol=1e-5)
    assert "text.prompt.query" not in plain.components


def test_searches_are_queries_and_items_documents(tmp_path, prompted, encoder_of):
    space = Space.create(tmp_path / "s", text_encoder=prompted)
    space.upsert([{"item_id": n, "text": text} for n, text in enumerate(TEXTS)], domain="shop")
    encoder = encoder_of(prompted)
    documents, queries = encoder.encode(TEXTS), encoder.encode(TEXTS, role="query")
    for n, text in enumerate(TEXTS):
        scores = {hit.item_id: hit.score for hit in space.search(text, k=9)}
        assert scores[str(n)] == pytest.approx(documents[n] @ queries[n], abs=1e-3)
    assert space.status()["prompts"] == {"query": QUERY_PROMPT, "document": "a passage: "}
    _assert_release_queries_are_queries(space, queries)
    assert space.publish().accepted


def test_a_search_takes_an_instruction(tmp_path, encoder_of):
    spec = "local/text?query_prompt=look%20for%20%7Binstruction%7D:%20"
    space = Space.create(tmp_path / "s", text_encoder=spec)
    space.upsert([{"item_id": 1, "text": "red boots"}], domain="shop")
    expected, item = encoder_of("local/text").encode(["look for shoes: hat", "red boots"])
    (hit,) = space.search("hat", instruction="shoes")
    assert hit.score == pytest.approx(expected @ item, abs=3e-3)
    with pytest.raises(InvalidInput, match="an instruction is for the text of a query"):
        space.search(vector=item, instruction="shoes")
    with pytest.raises(InvalidInput, match="the instruction is empty"):
        space.search("hat", instruction=" ")


def _assert_release_queries_are_queries(space: Space, queries: np.ndarray) -> None:
    view: View = space.opened.view()
    sampler = RecallQuerySampler(space.path, space.settings, space.opened.encoder_of)
    kinds = {kind.name: kind.vectors for kind in sampler(view, "text", np.arange(len(queries)))}
    best = (kinds["text to item"] @ queries.T).max(axis=1)
    np.testing.assert_allclose(best, 1, atol=1e-4)


def test_prompts_given_for_a_space_are_stored_with_it(tmp_path):
    space = Space.create(tmp_path / "s", text_encoder="local/text", query_prompt="find: ")
    assert space.settings.encoders["text"] == "local/text?query_prompt=find%3A%20"
    assert Space.open(tmp_path / "s").status()["prompts"] == {"query": "find: "}
    instructed = Space.create(
        tmp_path / "i", text_encoder="local/text", query_prompt="{instruction}: "
    )
    assert instructed.status()["prompts"] == {"query": "{instruction}: "}
    pair = resolve_encoders("local", prompts={"document": "item: "})
    assert pair["text"].components["text.prompt.document"] == "item: "
    assert pair["image"].spec == "local/image"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"role": "passage"}, "unknown role 'passage'; use one of query, document|document, query"),
        ({"instruction": "find"}, "an instruction is for queries"),
        ({"role": "query", "instruction": "find"}, "'local/text' follows no instruction"),
    ],
)
def test_roles_that_make_no_sense_are_refused(arguments, reason, encoder_of):
    with pytest.raises(InvalidInput, match=reason):
        encoder_of("local/text").encode(["hat"], **arguments)


def test_empty_prompts_and_instructions_are_refused(prompted, encoder_of, tmp_path):
    with pytest.raises(InvalidInput, match=r"the prompt of a query is empty.*--query-prompt"):
        load_encoder("local/text?query_prompt=", device="cpu")
    with pytest.raises(InvalidInput, match=r"follows no instruction.*has no place for one"):
        encoder_of(prompted).encode(["hat"], role="query", instruction="find shoes")
    with pytest.raises(InvalidInput, match="takes no text, and so no prompt"):
        load_encoder("local/image?query_prompt=find", device="cpu")
    with pytest.raises(InvalidInput, match=r"without encoders .* takes no prompt"):
        Space.create(tmp_path / "s", "none", query_prompt="find: ")
    assert not (tmp_path / "s").exists()


def test_shorter_vectors_are_the_first_values_at_unit_norm(prompted, encoder_of):
    whole, short = (encoder_of(f"{prompted}{options}") for options in ("", "?dim=8&force=true"))
    for role in ("document", "query"):
        kept = whole.encode(TEXTS, role=role)[:, :8]
        expected = kept / np.linalg.norm(kept, axis=1, keepdims=True)
        np.testing.assert_allclose(short.encode(TEXTS, role=role), expected, atol=1e-6)
    assert (short.dim, short.components["dim"]) == (8, "8")


def test_the_length_of_the_vectors_themselves_shortens_nothing(prompted, encoder_of):
    whole, same = (encoder_of(f"{prompted}{options}") for options in ("", "?dim=32"))
    np.testing.assert_allclose(same.encode(TEXTS), whole.encode(TEXTS), atol=1e-6)
    assert same.fingerprint == whole.fingerprint


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("dim=8", r"is not known to be trained so that the first 8 of its 32 .*force=true"),
        ("dim=33", "dim=33 is more than the 32 values"),
        ("dim=0", "dim=0 in .* cannot be used; give a number of values"),
        ("dim=8&force=yes", "force=yes in .* is neither true nor false"),
    ],
)
def test_lengths_that_make_no_sense_are_refused(options, reason, prompted):
    with pytest.raises(InvalidInput, match=reason):
        load_encoder(f"{prompted}?{options}", device="cpu")


def test_a_model_that_states_a_shorter_length_has_it(tmp_path):
    folder = models.prompted_folder(tmp_path)
    file = folder / "config_sentence_transformers.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "truncate_dim": 16}))
    encoder = load_encoder(f"sentence-transformers/{folder}", device="cpu")
    expected = sentence_transformer(folder).encode_document(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=2e-5)
    assert load_encoder(f"sentence-transformers/{folder}?dim=8", device="cpu").dim == 8


def test_a_dual_encoder_of_another_family(tmp_path):
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = models.metaclip2_folder(tmp_path / "m")
    encoder = load_encoder(f"transformers/{folder}", device="cpu")
    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert encoder.modalities == {"text", "image"}
    with torch.inference_mode():
        out = model.get_text_features(**tokenizer(["a red shoe"], return_tensors="pt"))
    expected = torch.nn.functional.normalize(getattr(out, "pooler_output", out)).numpy()
    np.testing.assert_allclose(encoder.encode(["a red shoe"]), expected, atol=1e-5)


def test_models_of_many_vectors_are_refused_with_what_to_use(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "colpali"}))
    with pytest.raises(UnknownEncoder, match=r"type colpali, .*late interaction.* give an encoder"):
        load_encoder(f"transformers/{tmp_path}", device="cpu")


def test_revisions_and_code_need_what_pins_them(tmp_path):
    folder = models.bert_folder(tmp_path / "m")
    with pytest.raises(InvalidInput, match="revision is for names on the hub"):
        load_encoder(f"transformers/{folder}?revision=main", device="cpu")
    with pytest.raises(InvalidInput, match="pin it with revision= and a full commit hash"):
        load_encoder("transformers/some/model?trust_remote_code=true&revision=main", device="cpu")
    trusted = load_encoder(f"transformers/{folder}?trust_remote_code=true", device="cpu")
    plain = load_encoder(f"transformers/{folder}", device="cpu")
    assert trusted.components["code"]
    assert trusted.fingerprint != plain.fingerprint


def test_a_space_is_not_trusted_to_run_code(tmp_path, folder_of, monkeypatch):
    spec = f"transformers/{folder_of(models.bert_folder)}?trust_remote_code=true"
    Space.create(tmp_path / "s", text_encoder=spec)
    with pytest.raises(UnknownEncoder, match="set ISTHMUS_TRUST_REMOTE_CODE=1 if you have read"):
        Space.open(tmp_path / "s").upsert([{"item_id": 1, "text": "hat"}], domain="shop")
    monkeypatch.setenv("ISTHMUS_TRUST_REMOTE_CODE", "1")
    assert Space.open(tmp_path / "s").upsert([{"item_id": 1, "text": "hat"}], domain="shop").added


def test_a_plan_of_shorter_vectors_counts_what_they_find(tmp_path):
    space = Space.create(tmp_path / "s", PointEncoder(4))
    rng = np.random.default_rng(0)
    points = rng.integers(-9, 10, (60, 4))
    items = [{"item_id": n, "text": " ".join(map(str, p))} for n, p in enumerate(points)]
    space.upsert(items, domain="shop")
    vectors = points / np.linalg.norm(points, axis=1, keepdims=True)
    short = points[:, :2] / np.linalg.norm(points[:, :2], axis=1, keepdims=True)
    found, expected = ([set(np.argsort(-(v @ w))[1:11]) for w in v] for v in (short, vectors))
    recall = np.mean([len(a & b) / 10 for a, b in zip(found, expected, strict=True)])
    two, four = space.plan(dims=[2, 9])
    assert (two.dim, two.full_dim, two.bytes_per_vector, two.sampled) == (2, 4, 8, 60)
    assert two.recall == pytest.approx(recall, abs=0.05)  # points on a line tie
    assert (four.dim, four.recall) == (4, 1.0)
    with pytest.raises(InvalidInput, match="dims is 0; give numbers of values"):
        space.plan(dims=[0])
