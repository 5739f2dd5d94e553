"""The parts of Sentence Transformers models: their type, how they are loaded, and what they are.

A checkpoint is of one of the library's types. The library turns any other into the type that is
loaded, with layers of random weights where it lacks some, so the type is checked first.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Self

from isthmus.encoders.backends.runtime import Runtime, choose_runtime
from isthmus.encoders.encoder import digest_components
from isthmus.encoders.hub import ModelSource, explain_load_errors, find_source, hash_settings
from isthmus.encoders.models.transformers_parts import (
    hash_tokenizer,
    quiet_transformers,
    requiring_weights,
)
from isthmus.encoders.text import check_texts, cut_text
from isthmus.encoders.weights import hash_weights
from isthmus.errors import InvalidInput, MissingDependency, UnknownEncoder

CROSS_ENCODER: Final = "CrossEncoder"
MULTI_VECTOR: Final = "MultiVectorEncoder"
SPARSE: Final = "SparseEncoder"
ONE_VECTOR: Final = "SentenceTransformer"

_ARCHITECTURES: Final = (  # endings of a class of Transformers, where no type is stated
    ("ForSequenceClassification", CROSS_ENCODER),
    ("ForRetrieval", MULTI_VECTOR),
    ("HF_ColBERT", MULTI_VECTOR),
)
_FORMER_TYPES: Final = {"ColBERT": MULTI_VECTOR}  # of PyLate


class SentenceModel:
    """A model of Sentence Transformers that is no encoder of items.

    Parameters
    ----------
    model : sentence_transformers.base.model.BaseModel
        The model, on the CPU.
    source : ModelSource
        Where it was loaded from.
    runtime : Runtime
        Device and precision.

    Attributes
    ----------
    kind : str
        The family of its spec.
    type_name : str
        The library's type of it.
    gives : str
        What a model of this type gives, for the error about another.
    untyped : tuple of str
        Endings of the classes of Transformers that a checkpoint without a type may have.
    spec : str
        The spec that loads it again.
    components : dict of str to str
        Everything that changes its output, by name.
    """

    kind: ClassVar[str]
    type_name: ClassVar[str]
    gives: ClassVar[str]
    untyped: ClassVar[tuple[str, ...]] = ()
    spec: str

    @classmethod
    def load(
        cls,
        name: str,
        *,
        max_length: str | None = None,
        revision: str | None = None,
        trust_remote_code: str | None = None,
        device: str = "auto",
        precision: str = "auto",
    ) -> Self:
        """Load a model.

        Parameters
        ----------
        name : str
            A name on the hub, or a local folder.
        max_length : str, optional
            Most tokens of a text, or of a query and a text together; by default what the model
            states.
        revision, trust_remote_code : str, optional
            See `find_source`.
        device, precision
            As for `isthmus.encoders.registry.load_encoder`.

        Raises
        ------
        MissingDependency
            If Sentence Transformers is not installed.
        UnknownEncoder
            If it cannot be loaded, or is no model of this type that can be used.
        """
        spec = f"{cls.kind}/{name}"
        require_library()
        source = cls._find(name, spec, revision, trust_remote_code)
        runtime = choose_runtime(device, precision)
        with explain_load_errors(spec):
            cls._check_source(source, spec)
            model = load_model(cls.type_name, source)
            set_max_length(model, max_length)
            cls._check_model(model, spec)
            return cls(model, source, runtime)

    @classmethod
    def _find(
        cls, name: str, spec: str, revision: str | None, trust_remote_code: str | None
    ) -> ModelSource:
        """Return where a model is loaded from."""
        return find_source(name, spec, revision, trust_remote_code)

    @classmethod
    def _check_source(cls, source: ModelSource, spec: str) -> None:
        """Raise `UnknownEncoder` if a checkpoint is of another type."""
        found, classes = type_of(source), architectures(source)
        is_untyped = found is None and any(name.endswith(cls.untyped) for name in classes)
        if found != cls.type_name and not is_untyped:
            raise UnknownEncoder(
                f"{spec!r} is no {cls.type_name} "
                f"({found or ', '.join(classes) or 'of no known type'}); give a model that gives "
                f"{cls.gives}"
            )

    @classmethod
    def _check_model(cls, model: Any, spec: str) -> None:
        """Raise `UnknownEncoder` if a model of the type cannot be used."""

    def __init__(self, model: Any, source: ModelSource, runtime: Runtime) -> None:
        self.model, self.runtime = model, runtime
        self.components = {
            "kind": self.kind,
            **describe_modules(model),
            **source.components,
            "prompts": hash_settings([model.prompts, model.default_prompt_name]),
            "tokenizer": hash_tokenizer(model.tokenizer),
            "max_length": str(model.max_seq_length),
            "weights": hash_weights(model.state_dict()),
            "precision": runtime.precision,
        }
        model.eval().requires_grad_(False)
        model.to(device=runtime.device, dtype=runtime.weights_dtype)

    @property
    def fingerprint(self) -> str:
        """Digest of `components`: models with the same fingerprint give the same output."""
        return digest_components(self.components)


def type_of(source: ModelSource) -> str | None:
    """Return the type of a checkpoint; None where neither library states one."""
    stated = settings_of(source, "config_sentence_transformers.json").get("model_type")
    if stated is not None:
        return _FORMER_TYPES.get(stated, str(stated))
    modules = settings_of(source, "modules.json")
    if modules:
        kinds = [str(module.get("type", "")) for module in modules.values()]
        return SPARSE if any(kind.endswith("SpladePooling") for kind in kinds) else ONE_VECTOR
    for architecture in architectures(source):
        for ending, kind in _ARCHITECTURES:
            if architecture.endswith(ending):
                return kind
    return None


def architectures(source: ModelSource) -> list[str]:
    """Return the classes of Transformers that a checkpoint states."""
    return list(settings_of(source, "config.json").get("architectures") or [])


def settings_of(source: ModelSource, name: str) -> dict[str, Any]:
    """Return a file of settings; of a list its items by number; nothing where there is none."""
    from sentence_transformers.util import load_file_path

    path = load_file_path(
        source.name, name, revision=source.revision, local_files_only=source.local
    )
    if path is None:
        return {}
    values = json.loads(Path(path).read_text("utf-8"))
    return values if isinstance(values, dict) else {str(at): v for at, v in enumerate(values)}


def require_library() -> None:
    """Raise `MissingDependency` unless Sentence Transformers is installed."""
    try:
        import sentence_transformers  # noqa: F401
    except ImportError as error:
        raise MissingDependency(
            "Sentence Transformers is not installed; "
            "install it with: pip install 'isthmus[sentence-transformers]'"
        ) from error


def load_model(type_name: str, source: ModelSource) -> Any:
    """Load a model of one of the library's types, on the CPU, in float32.

    Raises
    ------
    UnknownEncoder
        If its checkpoint lacks weights, which the library would fill with random ones.
    """
    import sentence_transformers
    import torch

    is_plain = type_name == "SentenceTransformer" and type_of(source) is None
    instead = f"transformers/{source.name}" if is_plain else ""
    with quiet_transformers(), requiring_weights(instead):
        return getattr(sentence_transformers, type_name)(
            source.name,
            device="cpu",
            **source.options,
            model_kwargs={"dtype": torch.float32},
        )


def pool_network(source: ModelSource, mode: str) -> Any:
    """Return a model of Transformers behind a pooling, as a model of the library, in float32.

    Raises
    ------
    UnknownEncoder
        If its checkpoint lacks weights, which would be filled with random ones.
    """
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    with quiet_transformers(), requiring_weights():
        network = Transformer(
            source.name,
            model_kwargs={**source.options, "dtype": torch.float32},
            processor_kwargs=dict(source.options),
            config_kwargs=dict(source.options),
        )
    pooling = Pooling(network.get_embedding_dimension(), pooling_mode=mode)
    return SentenceTransformer(modules=[network, pooling, Normalize()], device="cpu")


def set_max_length(model: Any, max_length: str | None) -> None:
    """Set the most tokens of a text, as the option ``max_length`` says.

    Raises
    ------
    InvalidInput
        If it is no number.
    """
    if max_length is None:
        return
    if not max_length.isdecimal() or not int(max_length):
        raise InvalidInput(f"max_length={max_length} cannot be used; give a number of tokens")
    model.max_seq_length = int(max_length)


def describe_modules(model: Any) -> dict[str, str]:
    """Return the components of a model's modules: their names, and a digest of their settings."""
    modules = list(model)
    settings = [
        module.get_config_dict() if hasattr(module, "get_config_dict") else {} for module in modules
    ]
    return {
        "model": "+".join(type(module).__name__ for module in modules),
        "config": hash_settings(settings),
    }


def readable_texts(texts: Sequence[str]) -> list[str]:
    """Return texts as a tokenizer takes them: valid Unicode, and not longer than it reads."""
    check_texts(texts)
    return [cut_text(text) for text in texts]
