"""Models of Sentence Transformers: the library's modules, batched by Isthmus.

Texts are encoded as the library's ``encode_document`` does, and queries as ``encode_query``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from isthmus.encoders.audio import Samples, import_soundfile
from isthmus.encoders.backends.runtime import Runtime, choose_runtime
from isthmus.encoders.backends.torch_encoder import TorchEncoder
from isthmus.encoders.backends.towers import (
    Arrays,
    AudioTower,
    Forward,
    ImageTower,
    ModalityTower,
    TextTower,
)
from isthmus.encoders.encoder import Encoder, Role
from isthmus.encoders.hub import ModelSource, explain_load_errors, find_source, hash_settings
from isthmus.encoders.models.sentence_parts import (
    CROSS_ENCODER,
    MULTI_VECTOR,
    ONE_VECTOR,
    SPARSE,
    describe_modules,
    load_model,
    pool_network,
    require_library,
    set_max_length,
    settings_of,
    type_of,
)
from isthmus.encoders.models.transformers_audio import arrays_of_window, audio_tower
from isthmus.encoders.models.transformers_parts import (
    Pooling,
    Tokenize,
    Transform,
    describe_processor,
    hash_tokenizer,
)
from isthmus.encoders.prompts import Prompts, known_prompts, template_of
from isthmus.errors import InvalidInput, UnknownEncoder, command_in
from isthmus.schema import Modality

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch
    from PIL import Image

Extract = Callable[[Samples], Arrays]
_POOLING_MODES: Final[Mapping[Pooling, str]] = {"mean": "mean", "cls": "cls", "last": "lasttoken"}
_Media = TypeVar("_Media", ImageTower, AudioTower)

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
        return _encoder_of(model, source, spec, runtime, window, model.get_embedding_dimension())


def load_one_network(
    source: ModelSource,
    spec: str,
    runtime: Runtime,
    pooling: Pooling | None,
    max_length: str | None,
    window: str | None,
) -> Encoder:
    """Load a model that reads text and media in one network, and pool its hidden states.

    Parameters
    ----------
    source : ModelSource
        A model of Sentence Transformers, or a checkpoint of Transformers.
    spec : str
        How it was named, for errors.
    runtime : Runtime
        Device and precision.
    pooling : {"mean", "cls", "last"}, optional
        In the place of what the folder states.
    max_length, window : str, optional
        See `load_sentence_transformer`.

    Raises
    ------
    UnknownEncoder
        If no pooling is stated and none is given.
    """
    require_library()
    if pooling is not None:
        model = pool_network(source, _POOLING_MODES[pooling])
        dim = model.encode(["a"]).shape[1]  # some project hidden states to another length
    elif settings_of(source, "modules.json"):
        _require_one_vector(source, spec)
        model = load_model(ONE_VECTOR, source)
        dim = model.get_embedding_dimension()
    else:
        raise UnknownEncoder(
            f"{spec!r} gives no features of text and of images in one space, and states no pooling "
            "of its hidden states; give a dual encoder, such as "
            "transformers/google/siglip2-base-patch16-224, or a model of text alone, or, if it "
            "reads text and media in one network and was trained for embeddings, its pooling, as "
            "in ?pooling=last"
        )
    set_max_length(model, max_length)
    return _encoder_of(model, source, spec, runtime, window, dim)


def _encoder_of(
    model: Any, source: ModelSource, spec: str, runtime: Runtime, window: str | None, dim: int
) -> TorchEncoder:
    """Return the encoder of a model of the library that gives vectors of a length."""
    identity = {"kind": "sentence-transformers", **describe_modules(model), **source.components}
    towers = _towers(model, int(dim), _prompts(model, source.name), spec, window)
    weights = {n: t for n, t in model.state_dict().items() if "pooler." not in n}
    encoder = TorchEncoder(model, towers, int(dim), identity, runtime, weights)
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
        towers["image"] = _image_tower(model, dim, prompts)
    if model.supports("audio"):
        towers["audio"] = _audio_tower(model, dim, prompts, window)
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
    model: Any, dim: int, prompts: Prompts, spec: str, network: Mapping[str, str]
) -> TextTower:
    """Return the tower of texts of a network of a Router, or of a model that has one."""
    sample = model.preprocess(["a text"], **network)
    zeros = _features_that_are_zero(sample, spec)
    constant = {"modality": sample["modality"]} if "modality" in sample else {}
    tokenizer, max_length = _tokenizer_of(model, network)
    in_messages = _takes_messages(model)

    def tokenize_behind(features: Mapping[str, str]) -> Tokenize:
        def tokenize(texts: Sequence[str]) -> list[list[int]]:
            batch = model.preprocess(list(texts), **features)
            ids = batch["input_ids"].numpy()  # (n, length)
            masks = batch["attention_mask"].bool().numpy()
            return [row[mask].tolist() for row, mask in zip(ids, masks, strict=True)]

        return tokenize

    def forward_behind(prompt: str) -> Forward:
        """Return the forward function of texts behind a prompt, whose length pooling may need."""
        features = dict(constant)
        if prompt and _pools_without_prompt(model):
            length = model.preprocess(["a"], prompt=prompt, **network)["prompt_length"]
            features["prompt_length"] = length

        def forward(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            tokens = {"input_ids": input_ids, "attention_mask": attention_mask}
            more = {name: input_ids.new_zeros(input_ids.shape) for name in zeros}
            batch = model({**tokens, **more, **features}, **network)
            vectors: torch.Tensor = batch["sentence_embedding"]
            return vectors[:, :dim]  # of a model that states truncate_dim

        return forward

    def behind(prompt: str, role: Role) -> dict[str, Any]:
        """Return what differs behind a prompt: of messages the tokens, else what pooling needs."""
        if in_messages:
            return {"tokenize": tokenize_behind(_of_message(prompt, role))}
        return {"forward": forward_behind(prompt)}

    tower = TextTower(
        tokenize=tokenize_behind(network),
        forward=forward_behind("" if in_messages else prompts.document),
        components={
            "tokenizer": hash_tokenizer(tokenizer),
            "max_length": str(max_length),
            **_template(model),
        },
        pad_id=tokenizer.pad_token_id or 0,
        tokenizer=None if in_messages else getattr(tokenizer, "backend_tokenizer", None),
        prompts=prompts,
        behind=behind if in_messages or _pools_without_prompt(model) else None,
        joins_prompt=not in_messages,
    )
    if network.get("task") == "query":
        return replace(tower, forward=forward_behind(prompts.query))
    return tower.for_documents()


def _features_that_are_zero(sample: Mapping[str, Any], spec: str) -> list[str]:
    """Return the names of features of a text that are zero for each token.

    They mark tokens of media, or of a second text.

    Raises
    ------
    UnknownEncoder
        If a text has other features than its tokens and these.
    """
    others = sample.keys() - _TOKEN_FEATURES
    shape = getattr(sample.get("input_ids"), "shape", None)
    zeros = [
        n for n in others if getattr(sample[n], "shape", None) == shape and not sample[n].any()
    ]
    if len(zeros) < len(others) or "attention_mask" not in sample:
        raise UnknownEncoder(
            f"{spec!r} takes more than the tokens of a text ({', '.join(sample)}); of Sentence "
            "Transformers, Isthmus runs transformer models; for text and images, give a "
            "model of two encoders, such as transformers/google/siglip2-base-patch16-224"
        )
    return sorted(zeros)


def _takes_messages(model: Any) -> bool:
    """Return whether the model reads all contents as messages of a chat, prompts among them."""
    return "message" in model.modalities


def _of_message(prompt: str, role: Role) -> dict[str, str]:
    """Return the arguments that place a prompt before the message of a content."""
    return {"prompt": prompt, "task": role} if prompt else {"task": role}


def _template(model: Any) -> dict[str, str]:
    """Return the components of the template that makes a text of messages."""
    if not _takes_messages(model):
        return {}
    processor = model[0].processor
    template = getattr(processor, "chat_template", None) or model.tokenizer.chat_template
    return {"chat_template": hash_settings(template)}


def _tokenizer_of(model: Any, network: Mapping[str, str]) -> tuple[Any, Any]:
    """Return the tokenizer of a network, and the most tokens of a text."""
    if not network:
        return model.tokenizer, model.max_seq_length
    first = model[0].sub_modules[network["task"]][0]
    return first.tokenizer, first.max_seq_length


def _image_tower(model: Any, dim: int, prompts: Prompts) -> ImageTower:
    """Return the tower of images, prepared by the library's processor."""

    def transform_behind(features: Mapping[str, str]) -> Transform:
        def transform(image: Image.Image) -> dict[str, npt.NDArray[Any]]:
            batch = model.preprocess([image], **features)  # of one image
            return {n: t.numpy() for n, t in batch.items() if hasattr(t, "numpy")}

        return transform

    processor = getattr(model.processor, "image_processor", model.processor)
    tower = ImageTower(
        transform_behind({}),
        _forward_of_media(model, dim, "image"),
        {**describe_processor(processor), **_template(model)},
        has_batch_axis=True,
    )
    return _in_messages(tower, "transform", transform_behind, model, prompts)


def _audio_tower(model: Any, dim: int, prompts: Prompts, window: str | None) -> AudioTower:
    """Return the tower of audio; the library's processor prepares each window by itself."""
    import_soundfile()
    extractor = getattr(model.processor, "feature_extractor", model.processor)
    rate = int(extractor.sampling_rate)

    def extract_behind(features: Mapping[str, str]) -> Extract:
        def extract(samples: Samples) -> dict[str, npt.NDArray[Any]]:
            batch = model.preprocess([{"array": samples, "sampling_rate": rate}], **features)
            return arrays_of_window({n: t for n, t in batch.items() if hasattr(t, "numpy")})

        return extract

    forward = _forward_of_media(model, dim, "audio")
    tower = audio_tower(extractor, forward, window, _template(model), extract_behind({}))
    return _in_messages(tower, "extract", extract_behind, model, prompts)


def _forward_of_media(model: Any, dim: int, modality: Modality) -> Forward:
    """Return the function from the features of media to vectors, shape (n, dim)."""
    constant = {"modality": "message" if _takes_messages(model) else modality}

    def forward(**batch: torch.Tensor) -> torch.Tensor:
        vectors: torch.Tensor = model({**batch, **constant})["sentence_embedding"]
        return vectors[:, :dim]

    return forward


def _in_messages(
    tower: _Media,
    attribute: str,
    prepare_behind: Callable[[Mapping[str, str]], Any],
    model: Any,
    prompts: Prompts,
) -> _Media:
    """Return a tower of media that places prompts, where the model reads messages."""
    if not _takes_messages(model):
        return tower
    return replace(
        tower,
        prompts=prompts,
        behind=lambda prompt, role: {attribute: prepare_behind(_of_message(prompt, role))},
    ).for_documents()


def _pools_without_prompt(model: Any) -> bool:
    return any(getattr(module, "include_prompt", True) is False for module in model.modules())
