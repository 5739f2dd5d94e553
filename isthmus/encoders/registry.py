"""The registry: from a spec, such as ``open_clip/ViT-B-32:laion2b_s34b_b79k``, to an encoder.

A spec is ``family/name`` with options behind a question mark: ``timm/vit_tiny``,
``transformers/some/folder?pooling=cls&max_length=64``. The module of a family is imported when
the first encoder of the family is loaded.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode

from isthmus.encoders.backends.openvino import TORCH, run_on_openvino
from isthmus.encoders.backends.runtime import DTYPES
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.hub import explain_load_errors, is_path
from isthmus.encoders.prompts import OPTIONS as PROMPT_OPTIONS
from isthmus.encoders.truncation import TruncatedEncoder, Truncation
from isthmus.errors import InvalidInput, UnknownEncoder, command_in
from isthmus.schema import MODALITIES, Modality

ENTRY_POINTS: Final = "isthmus.encoders"
LOCAL_PAIR: Final[Mapping[Modality, str]] = {"text": "local/text", "image": "local/image"}

# Families whose vectors have one fingerprint, whatever ran the model; see `CompiledEncoder`.
AGREEING_FAMILIES: Final = frozenset({"local"})

# Families whose models run on PyTorch, in a type of weights that can be chosen.
WITH_DTYPE: Final = frozenset(
    {"local", "open_clip", "sentence-transformers", "transformers", "clap", "timm"}
    | {"cross-encoder", "late-interaction", "sparse"}
)

RUN_BY: Final = ("device", "precision", "compile")
"""Arguments of every loader, which are no options of a spec."""

EncoderLike = str | Encoder | Mapping[Modality, Encoder]
Loader = Callable[..., Encoder]

_OPTIONS = re.compile(r"\?(?=\w+=)")


class EncoderFamily(NamedTuple):
    """A family of encoders that comes with Isthmus.

    Attributes
    ----------
    module : str
        The module in `isthmus.encoders.models`.
    loader : str
        The function in the module, or a method of a class, that loads an encoder.
    example : str
        An example spec, for error messages.
    takes_folder : bool
        Whether the name may be a local folder.
    takes_checkpoint : bool
        Whether a checkpoint's path may follow the name and a colon.
    """

    module: str
    loader: str
    example: str
    takes_folder: bool = False
    takes_checkpoint: bool = False


FAMILIES: Final[Mapping[str, EncoderFamily]] = {
    "local": EncoderFamily("local", "load_local", "local/text"),
    "open_clip": EncoderFamily(
        "open_clip",
        "load_open_clip",
        "open_clip/ViT-B-32:laion2b_s34b_b79k",
        takes_folder=True,
        takes_checkpoint=True,
    ),
    "sentence-transformers": EncoderFamily(
        "sentence_transformers",
        "load_sentence_transformer",
        "sentence-transformers/all-MiniLM-L6-v2",
        takes_folder=True,
    ),
    "transformers": EncoderFamily(
        "transformers",
        "load_transformers",
        "transformers/google/siglip2-base-patch16-224",
        takes_folder=True,
    ),
    "clap": EncoderFamily(
        "transformers_joint", "load_clap", "clap/laion/clap-htsat-unfused", takes_folder=True
    ),
    "aligned": EncoderFamily("aligned", "load_aligned", "aligned/local", takes_folder=True),
    "timm": EncoderFamily(
        "timm", "load_timm", "timm/vit_small_patch14_dinov2.lvd142m", takes_checkpoint=True
    ),
    "openai": EncoderFamily("openai", "load_openai", "openai/NAME?base_url=http://host:8000/v1"),
    "static": EncoderFamily("static", "load_static", "static/folder", takes_folder=True),
}

# Models that judge items after a search, or beside it; they make no vectors of items to search by.
SECOND_STAGE: Final[Mapping[str, EncoderFamily]] = {
    "cross-encoder": EncoderFamily(
        "cross_encoder",
        "CrossEncoder.load",
        "cross-encoder/ms-marco-MiniLM-L6-v2",
        takes_folder=True,
    ),
    "late-interaction": EncoderFamily(
        "late_interaction",
        "LateInteraction.load",
        "late-interaction/lightonai/GTE-ModernColBERT-v1",
        takes_folder=True,
    ),
    "openai": EncoderFamily(
        "chat_reranker", "load_chat_reranker", "openai/NAME?base_url=http://host:8000/v1"
    ),
    "sparse": EncoderFamily(
        "learned_sparse",
        "LearnedSparse.load",
        "sparse/naver/splade-v3",
        takes_folder=True,
    ),
}


class Spec(NamedTuple):
    """The parts of a spec.

    Attributes
    ----------
    family : str
        The part before the first slash.
    name : str
        The part behind it, without options.
    options : dict of str to str
        The part behind the question mark.
    """

    family: str
    name: str
    options: dict[str, str]


def parse_spec(spec: str) -> Spec:
    """Split a spec into family, name and options.

    Examples
    --------
    >>> parse_spec("transformers/some/folder?pooling=cls&max_length=64")
    Spec(family='transformers', name='some/folder', options={'pooling': 'cls', 'max_length': '64'})
    """
    path, *query = _OPTIONS.split(spec, maxsplit=1)
    family, _, name = path.partition("/")
    options = dict(parse_qsl(query[0], keep_blank_values=True)) if query else {}
    return Spec(family, name, options)


def absolute_spec(spec: str) -> str:
    """Return the spec with its path made absolute, so that it holds in every working folder.

    Specs without a path (names on a hub, ``aligned/local``, other families) stay unchanged.

    Examples
    --------
    >>> absolute_spec("timm/vit_small_patch14_dinov2.lvd142m"), absolute_spec("aligned/local")
    ('timm/vit_small_patch14_dinov2.lvd142m', 'aligned/local')
    >>> absolute_spec("static/~/small") == f"static/{Path.home() / 'small'}"
    True
    """
    without_options, *query = _OPTIONS.split(spec, maxsplit=1)
    path = _path_in(without_options)
    if path:
        prefix = without_options.removesuffix(path)
        without_options = f"{prefix}{Path(path).expanduser().absolute()}"
    return "?".join([without_options, *query])


def spec_path(spec: str) -> Path | None:
    """Return the folder or file that a spec names, or None if it names none.

    Examples
    --------
    >>> spec_path("timm/test_vit:/models/vit.safetensors"), spec_path("local/text")
    (PosixPath('/models/vit.safetensors'), None)
    """
    path = _path_in(_OPTIONS.split(spec, maxsplit=1)[0])
    return Path(path).expanduser() if path else None


def _path_in(spec: str) -> str:
    """Return the path at the end of a spec without options; empty if there is none."""
    kind, _, name = spec.partition("/")
    family = FAMILIES.get(kind) or SECOND_STAGE.get(kind)
    if family is None or spec == "aligned/local":
        return ""
    if family.takes_folder and is_path(name):
        return name
    checkpoint = name.partition(":")[2]
    return checkpoint if family.takes_checkpoint and is_path(checkpoint) else ""


def load_encoder(
    spec: str, *, device: str = "auto", precision: str = "auto", compile: bool = False
) -> Encoder:
    """Load an encoder.

    Parameters
    ----------
    spec : str
        A family, a slash, and a name on a model hub or a local folder. Options follow a question
        mark, as in ``transformers/folder?pooling=cls``:

        - ``pooling``, ``max_length`` (tokens), ``window`` (seconds of audio, see
          docs/experiments/audio.md): where the family takes them;
        - ``dtype``: ``bf16`` or ``fp16`` holds the weights in half the memory, on every device, and
          computes in this type; ``fp32`` computes exactly;
        - ``query_prompt``, ``document_prompt``: what precedes texts of each role, in place of what
          the model states; ``{instruction}`` in the former is where an instruction goes;
        - ``dim``: keep the first values of each vector alone, for models that were trained so
          (Matryoshka); any other is refused without ``force=true``;
        - ``backend``: ``openvino-fp32`` or ``openvino-bf16`` for encoders of text alone or of
          images alone, also ``openvino-int8`` or ``openvino-mixed`` for text, see
          docs/experiments/openvino.md; or ``torch``, where the encoders of ``local`` would run on
          OpenVINO;
        - ``agreement`` (with ``backend``): the smallest accepted cosine with the vectors of the
          unconverted model, default 0.99.
    device : str, default "auto"
        ``cpu``, ``cuda``, ``cuda:N``, or ``auto``.
    precision : str, default "auto"
        ``fp32``, ``bf16``, ``fp16``, or ``auto``.
    compile : bool, default False
        Whether to compile the model.

    Returns
    -------
    Encoder
        The path in its `spec` is absolute, so that the encoder can be loaded again from any
        working folder. The path is not part of the fingerprint.

    Raises
    ------
    UnknownEncoder
        If no such encoder can be loaded.
    MissingDependency
        If it needs a package that is not installed.
    InvalidInput
        If the device is absent, or an option is unknown.
    """
    family, name, options = parse_spec(spec)
    if spec == "local":
        raise UnknownEncoder(
            "'local' is a pair of encoders, 'local/text' and 'local/image': load one of the two, "
            "or both with load_encoders('local')"
        )
    precision = _precision(options, precision, spec)
    backend = options.pop("backend", None)
    agreement = options.pop("agreement", None) if backend else None
    if backend not in (None, TORCH):
        device = _cpu_for_backend(device)
    prompts: dict[str, str] = {
        role: options.pop(name) for name, role in PROMPT_OPTIONS.items() if name in options
    }
    loader = _loader(family, spec)
    takes_dim = "dim" in inspect.signature(loader).parameters  # a plug-in has options of its own
    truncation = None if takes_dim else Truncation.pop_from(options, spec)
    keywords = {**options, "device": device, "precision": precision, "compile": compile}
    encoder: Encoder = _load(loader, spec, name, keywords)
    if backend is not None:
        with explain_load_errors(spec):
            encoder = run_on_openvino(encoder, backend, agreement)
    if prompts:
        encoder.set_prompts(prompts)
    return encoder if truncation is None else TruncatedEncoder(encoder, truncation)


def load_second_stage(spec: str, *, device: str = "auto", precision: str = "auto") -> Any:
    """Load a model of the second stage, of a family in `SECOND_STAGE`.

    Parameters
    ----------
    spec : str
        A family, a slash, and a name on a model hub or a local folder; options as for
        `load_encoder`.
    device, precision : str
        As for `load_encoder`.

    Raises
    ------
    UnknownEncoder
        If no such model can be loaded.
    MissingDependency
        If it needs a package that is not installed.
    InvalidInput
        If the device is absent, or an option is unknown.
    """
    family, name, options = parse_spec(spec)
    if family not in SECOND_STAGE or not name:
        raise UnknownEncoder(
            f"{spec!r} names no model of the second stage; specs look like: "
            f"{'; '.join(f.example for f in SECOND_STAGE.values())}"
        )
    loader = _module_loader(SECOND_STAGE[family])
    precision = _precision(options, precision, spec)
    keywords = {**options, "device": device, "precision": precision}
    return _load(loader, spec, name, keywords)


def load_encoders(
    spec: str, *, device: str = "auto", precision: str = "auto", compile: bool = False
) -> dict[Modality, Encoder]:
    """Load an encoder for each modality that a spec serves.

    Parameters
    ----------
    spec : str
        A spec for `load_encoder`, or ``local`` for the offline pair.
    device, precision, compile
        As for `load_encoder`.

    Returns
    -------
    dict of str to Encoder
        The same object for modalities that share a space.
    """

    def load(spec: str) -> Encoder:
        return load_encoder(spec, device=device, precision=precision, compile=compile)

    if spec == "local":
        return {modality: load(spec) for modality, spec in LOCAL_PAIR.items()}
    return _by_modality(load(spec))


def resolve_encoders(
    encoder: EncoderLike,
    text_encoder: str | Encoder | None = None,
    image_encoder: str | Encoder | None = None,
    audio_encoder: str | Encoder | None = None,
    *,
    device: str = "auto",
    precision: str = "auto",
    prompts: Mapping[str, str] | None = None,
) -> dict[Modality, Encoder]:
    """Return an encoder for each modality.

    Parameters
    ----------
    encoder : str, Encoder or mapping
        One encoder for all its modalities, or one per modality. Ignored if any of the others is
        given.
    text_encoder, image_encoder, audio_encoder : str or Encoder, optional
        One encoder per modality. Modalities with the same spec share one encoder, and so a space.
    device : str
        Device of the encoders that are loaded here.
    precision : str
        Precision of the encoders that are loaded here; see `load_encoder`.
    prompts : mapping of str to str, optional
        Prompts of texts by role; they become options of the spec of the text encoder.

    Raises
    ------
    InvalidInput
        If there are prompts, and no spec of an encoder of text that they could be options of.
    """
    if prompts:
        options = {f"{role}_prompt": prompt for role, prompt in prompts.items()}
        if any((text_encoder, image_encoder, audio_encoder)):
            text_encoder = _with_options(text_encoder, options)
        elif encoder == "local":
            text = _with_options(LOCAL_PAIR["text"], options)
            text_encoder, image_encoder = text, LOCAL_PAIR["image"]
        else:
            encoder = _with_options(encoder, options)

    def load(source: str | Encoder) -> Encoder:
        if isinstance(source, Encoder):
            return source
        return load_encoder(source, device=device, precision=precision)

    candidates: dict[Modality, str | Encoder | None] = {
        "text": text_encoder,
        "image": image_encoder,
        "audio": audio_encoder,
    }
    if any(candidates.values()):
        sources = {
            modality: absolute_spec(source) if isinstance(source, str) else source
            for modality, source in candidates.items()
            if source is not None
        }
        loaded = {source: load(source) for source in dict.fromkeys(sources.values())}
        return {modality: loaded[source] for modality, source in sources.items()}
    if isinstance(encoder, str):
        return load_encoders(encoder, device=device, precision=precision)
    if isinstance(encoder, Encoder):
        return _by_modality(encoder)
    if not isinstance(encoder, Mapping):
        raise InvalidInput(
            f"an encoder is a spec such as 'local', an Encoder, or a mapping of modalities to "
            f"encoders; {type(encoder).__name__} is none of them"
        )
    return dict(encoder)


def _with_options(source: Any, options: Mapping[str, str]) -> str:
    """Return a spec with more options.

    Examples
    --------
    >>> _with_options("local/text", {"query_prompt": "find: "})
    'local/text?query_prompt=find%3A%20'
    """
    if not isinstance(source, str):
        raise InvalidInput(
            "a prompt (--query-prompt, --document-prompt) is an option of a text encoder that is "
            "named by its spec; an encoder object keeps its own: load it with load_encoder and "
            "the options query_prompt and document_prompt"
        )
    separator = "&" if _OPTIONS.search(source) else "?"
    return f"{source}{separator}{urlencode(options, quote_via=quote)}"


def _by_modality(encoder: Encoder) -> dict[Modality, Encoder]:
    return {modality: encoder for modality in MODALITIES if modality in encoder.modalities}


def _precision(options: dict[str, str], precision: str, spec: str) -> str:
    """Return the precision that the option ``dtype`` asks for, and remove it."""
    if "dtype" not in options or parse_spec(spec).family not in WITH_DTYPE:
        return precision
    dtype = options.pop("dtype")
    if dtype not in DTYPES:
        raise InvalidInput(f"dtype={dtype} is no type of weights; use one of {', '.join(DTYPES)}")
    if options.get("backend", TORCH) != TORCH:
        raise InvalidInput(f"{spec!r}: a backend says the type itself; leave dtype out")
    if precision not in ("auto", DTYPES[dtype]):
        raise InvalidInput(f"{spec!r} and precision={precision!r} disagree; leave one of them out")
    return DTYPES[dtype]


def _cpu_for_backend(device: str) -> str:
    if device not in ("auto", "cpu"):
        raise InvalidInput(f"a backend runs on the CPU, not on {device!r}; leave one of them out")
    return "cpu"


def _loader(family: str, spec: str) -> Loader:
    if family in FAMILIES:
        loader: Loader = _module_loader(FAMILIES[family])
        return loader
    if family in SECOND_STAGE:
        raise UnknownEncoder(
            f"{spec!r} is a model of the second stage and makes no vectors that a space could be "
            "searched by; create the space with an encoder, and see the second stage in "
            f"docs/how-to/search.md: {command_in(None, 'precompute MODEL')}, then rerank= or words="
        )
    plugins = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if family in plugins:
        return _load_plugin(plugins[family])
    examples = [*(f.example for f in FAMILIES.values()), *(f"{name}/…" for name in plugins)]
    raise UnknownEncoder(
        f"no encoder of kind {family!r} is known (spec {spec!r}); "
        f"specs look like: {'; '.join(examples)}"
    )


def _module_loader(family: EncoderFamily) -> Any:
    module = import_module(f"{__package__}.models.{family.module}")
    return attrgetter(family.loader)(module)


def _load_plugin(point: EntryPoint) -> Loader:
    try:
        loader: Loader = point.load()
    except Exception as error:
        raise UnknownEncoder(
            f"the encoder {point.name!r}, registered as {point.value!r}, cannot be imported: "
            f"{error}; reinstall the package that brings it"
        ) from error
    return loader


def _load(loader: Callable[..., Any], spec: str, name: str, keywords: Mapping[str, Any]) -> Any:
    """Return what a loader loads; raise `InvalidInput` if it does not take the options."""
    try:
        inspect.signature(loader).bind(name, **keywords)
    except TypeError as error:
        wrong = _wrong_options(loader, keywords) or str(error)
        raise InvalidInput(f"the encoder {spec!r} does not take these options: {wrong}") from error
    model = loader(name, **keywords)
    model.spec = absolute_spec(spec)
    return model


def _wrong_options(loader: Callable[..., Any], keywords: Mapping[str, Any]) -> str:
    """Return the options that a loader does not take, and those it takes; empty if it takes all.

    Examples
    --------
    >>> def load(name, *, revision="main", device): ...
    >>> _wrong_options(load, {"wat": "1", "device": "cpu"})
    'wat; it takes revision'
    """
    parameters = inspect.signature(loader).parameters
    wrong = [name for name in keywords if name not in parameters]
    if not wrong:
        return ""
    own = [one.name for one in parameters.values() if one.kind is one.KEYWORD_ONLY]
    taken = [name for name in own if name not in RUN_BY]
    return f"{', '.join(wrong)}; it takes {', '.join(taken) or 'none'}"
