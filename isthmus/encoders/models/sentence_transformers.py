"""Models of Sentence Transformers: the library's modules, batched by Isthmus.

Texts are encoded as the library's ``encode_document`` does, and queries as ``encode_query``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from isthmus.encoders.audio import Samples, import_soundfile
from isthmus.encoders.backends.runtime import choose_runtime
from isthmus.encoders.backends.torch_encoder import TorchEncoder
from isthmus.encoders.backends.towers import (
    AudioTower,
    Forward,
    ImageTower,
    ModalityTower,
    TextTower,
)
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.hub import ModelSource, explain_load_errors, find_source
from isthmus.encoders.models.sentence_parts import (
    CROSS_ENCODER,
    MULTI_VECTOR,
    ONE_VECTOR,
    SPARSE,
    describe_modules,
    load_model,
    require_library,
    set_max_length,
    type_of,
)
from isthmus.encoders.models.transformers_audio import arrays_of_window, audio_tower
from isthmus.encoders.models.transformers_parts import describe_processor, hash_tokenizer
from isthmus.encoders.prompts import Prompts, known_prompts, template_of
from isthmus.errors import InvalidInput, UnknownEncoder, command_in
from isthmus.schema import Modality

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch
    from PIL import Image

# Features of a model that takes the tokens of a text and nothing else.
_TOKEN_FEATURES = frozenset({"input_ids", "attention_mask", "token_type_ids", "modality", "task"})
_OTHER_USES: Final = {
    CROSS_ENCODER: "order the first hits of a search with it: rerank='cross-encoder/…'",
    MULTI_VECTOR: "order the first hits of a search with it: "
    f"{command_in(None, 'precompute late-interaction/…')}, then rerank='late-interaction'",
    SPARSE: "find items by its words in hybrid search: "
    f"{command_in(None, 'precompute sparse/…')}, then hybrid=True, words='sparse'",
}


def load_sentence_transformer(
    name: str,
    *,
    max_length: str | None = None,
    window: str | None = None,
    revision: str | None = None,
    trust_remote_code: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    compile: bool = False,
) -> Encoder:
    """Load an encoder of Sentence Transformers with its pooling, dense layers and prompts.

    It encodes texts, images, audio, or several of them into one space.

    Parameters
    ----------
    name : str
        A name on the hub, with ``sentence-transformers/`` left out, or a local folder.
    max_length : str, optional
        Most tokens of a text; by default what the model states.
    window : str, optional
        Seconds of a window of audio; by default what the model takes.
    revision, trust_remote_code : str, optional
        See `find_source`.
    device, precision, compile
        As for `load_encoder`.

    Raises
    ------
    MissingDependency
        If Sentence Transformers is not installed.
    UnknownEncoder
        If the model cannot be loaded, or takes more than the tokens of a text.
    """
    spec = f"sentence-transformers/{name}"
    require_library()
    source = find_source(name, spec, revision, trust_remote_code)
    runtime = choose_runtime(device, precision, compile)
    with explain_load_errors(spec):
        _require_one_vector(source, spec)
        model = load_model(ONE_VECTOR, source)
        set_max_length(model, max_length)
        modules = describe_modules(model)
        identity = {"kind": "sentence-transformers", **modules, **source.components}
        dim = int(model.get_embedding_dimension())
        towers = _towers(model, dim, _prompts(model, source.name), spec, window)
        weights = {n: t for n, t in model.state_dict().items() if "pooler." not in n}
        encoder = TorchEncoder(model, towers, dim, identity, runtime, weights)
        encoder.nested = model.truncate_dim is not None
        return encoder


def _require_one_vector(source: ModelSource, spec: str) -> None:
    """Refuse a model of another type, which the library would turn into one of random weights."""
    kind = type_of(source)
    if kind in _OTHER_USES:
        raise UnknownEncoder(
            f"{spec!r} is a {kind}, which gives no vector of a whole text; {_OTHER_USES[kind]}"
        )


def _prompts(model: Any, name: str) -> Prompts:
    """Return the prompts of a model: those it states, or those its authors are known to ask for.

    A default prompt counts for both roles where the model states none for either.
    """
    stated: Mapping[str, str] = model.prompts
    query = _first(stated, ("query", "search_query"))
    document = _first(stated, ("document", "passage", "corpus", "search_document"))
    if query or document:
        return Prompts(query, document, template_of(query))
    default = stated.get(model.default_prompt_name or "", "")
    return Prompts(default, default, template_of(default)) if default else known_prompts(name)


def _first(prompts: Mapping[str, str], names: Sequence[str]) -> str:
    return next((prompts[name] for name in names if prompts.get(name)), "")


def _towers(
    model: Any, dim: int, prompts: Prompts, spec: str, window: str | None
) -> dict[Modality, ModalityTower]:
    """Return the tower of each modality that the model takes.

    Raises
    ------
    InvalidInput
        If a window is given and it takes no audio.
    UnknownEncoder
        If it takes no modality of Isthmus, or more than the tokens of a text.
    """
    towers: dict[Modality, ModalityTower] = {}
    if model.supports("text"):
        towers["text"] = _text_tower(model, dim, prompts, spec)
    if model.supports("image"):
        towers["image"] = _image_tower(model, dim)
    if model.supports("audio"):
        towers["audio"] = _audio_tower(model, dim, window)
    elif window is not None:
        raise InvalidInput(f"window is for audio, and {spec!r} takes none; leave it out")
    if not towers:
        raise UnknownEncoder(
            f"{spec!r} takes {', '.join(map(str, model.modalities))}; of Sentence Transformers, "
            "Isthmus runs models of text, images and audio"
        )
    return towers


def _text_tower(model: Any, dim: int, prompts: Prompts, spec: str) -> TextTower:
    """Return the tower of texts; a Router has another network for queries."""
    if type(model[0]).__name__ != "Router":
        return _network_of_texts(model, dim, prompts, spec, {})
    tower = _network_of_texts(model, dim, prompts, spec, {"task": "document"})
    query = _network_of_texts(model, dim, prompts, spec, {"task": "query"})
    tower.query_tower = query
    tower.components = {
        **tower.components,
        **{f"query_{name}": query.components[name] for name in ("tokenizer", "max_length")},
    }
    return tower


def _network_of_texts(
    model: Any, dim: int, prompts: Prompts, spec: str, role: Mapping[str, str]
) -> TextTower:
    """Return the tower of texts in a role, or in any where the model has one network."""
    sample = model.preprocess(["a text"], **role)
    if not sample.keys() <= _TOKEN_FEATURES or "attention_mask" not in sample:
        raise UnknownEncoder(
            f"{spec!r} takes more than the tokens of a text ({', '.join(sample)}); of Sentence "
            "Transformers, Isthmus runs transformer models; for text and images, give a "
            "model of two encoders, such as transformers/google/siglip2-base-patch16-224"
        )
    constant = {"modality": sample["modality"]} if "modality" in sample else {}
    tokenizer, max_length = _tokenizer_of(model, role)

    def tokenize(texts: Sequence[str]) -> list[list[int]]:
        features = model.preprocess(list(texts), **role)
        ids = features["input_ids"].numpy()  # (n, length)
        masks = features["attention_mask"].bool().numpy()
        return [row[mask].tolist() for row, mask in zip(ids, masks, strict=True)]

    def forward_behind(prompt: str) -> Forward:
        """Return the forward function of texts behind a prompt, whose length pooling may need."""
        features = dict(constant)
        if prompt and _pools_without_prompt(model):
            length = model.preprocess(["a"], prompt=prompt, **role)["prompt_length"]
            features["prompt_length"] = length

        def forward(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            tokens = {"input_ids": input_ids, "attention_mask": attention_mask}
            vectors: torch.Tensor = model({**tokens, **features}, **role)["sentence_embedding"]
            return vectors[:, :dim]  # of a model that states truncate_dim

        return forward

    return TextTower(
        tokenize=tokenize,
        forward=forward_behind(prompts.query if role.get("task") == "query" else prompts.document),
        components={"tokenizer": hash_tokenizer(tokenizer), "max_length": str(max_length)},
        pad_id=tokenizer.pad_token_id or 0,
        tokenizer=getattr(tokenizer, "backend_tokenizer", None),
        prompts=prompts,
        forward_behind=forward_behind if _pools_without_prompt(model) else None,
    )


def _tokenizer_of(model: Any, role: Mapping[str, str]) -> tuple[Any, Any]:
    """Return the tokenizer of a role, and the most tokens of a text."""
    if not role:
        return model.tokenizer, model.max_seq_length
    first = model[0].sub_modules[role["task"]][0]
    return first.tokenizer, first.max_seq_length


def _image_tower(model: Any, dim: int) -> ImageTower:
    """Return the tower of images, prepared by the library's processor."""

    def transform(image: Image.Image) -> dict[str, npt.NDArray[Any]]:
        features = model.preprocess([image])
        return {n: t[0].numpy() for n, t in features.items() if hasattr(t, "numpy")}

    def forward(**batch: torch.Tensor) -> torch.Tensor:
        vectors: torch.Tensor = model({**batch, "modality": "image"})["sentence_embedding"]
        return vectors[:, :dim]

    processor = getattr(model.processor, "image_processor", model.processor)
    return ImageTower(transform, forward, describe_processor(processor))


def _audio_tower(model: Any, dim: int, window: str | None) -> AudioTower:
    """Return the tower of audio; the library's processor prepares each window by itself."""
    import_soundfile()
    extractor = getattr(model.processor, "feature_extractor", model.processor)
    rate = int(extractor.sampling_rate)

    def extract(samples: Samples) -> dict[str, npt.NDArray[Any]]:
        features = model.preprocess([{"array": samples, "sampling_rate": rate}])
        return arrays_of_window({n: t for n, t in features.items() if hasattr(t, "numpy")})

    def forward(**batch: torch.Tensor) -> torch.Tensor:
        vectors: torch.Tensor = model({**batch, "modality": "audio"})["sentence_embedding"]
        return vectors[:, :dim]

    return audio_tower(extractor, forward, window, {}, extract)


def _pools_without_prompt(model: Any) -> bool:
    return any(getattr(module, "include_prompt", True) is False for module in model.modules())
