"""The registry: from a spec, such as ``open_clip/ViT-B-32:laion2b_s34b_b79k``, to an encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from isthmus.encoders.encoder import Encoder
from isthmus.encoders.hub import explained
from isthmus.errors import InvalidInput, UnknownEncoder
from isthmus.schema import MODALITIES, Modality

if TYPE_CHECKING:
    pass
import re
from pathlib import Path
from urllib.parse import parse_qsl

from isthmus.encoders.hub import is_path

EncoderChoice = str | Encoder | Mapping[Modality, Encoder]

# Kinds whose name may be a folder, and those that may have a checkpoint behind a colon.
_OF_FOLDERS = frozenset(
    {"transformers", "sentence-transformers", "clap", "static", "aligned", "open_clip"}
)
_OF_CHECKPOINTS = frozenset({"timm", "open_clip"})
_OPTIONS = re.compile(r"\?(?=\w+=)")

LOCAL_PAIR: Final[Mapping[Modality, str]] = {"text": "local/text", "image": "local/image"}

ENTRY_POINTS: Final = "isthmus.encoders"

Builder = Callable[..., Encoder]


class Kind(NamedTuple):
    """A kind of encoder that Isthmus brings: where its builder is, and a spec for example."""

    module: str
    builder: str
    example: str


KINDS: Final[Mapping[str, Kind]] = {
    "local": Kind("local", "load_local", "local/text"),
    "open_clip": Kind(
        "open_clip_encoder", "load_open_clip", "open_clip/ViT-B-32:laion2b_s34b_b79k"
    ),
    "sentence-transformers": Kind(
        "sentence_encoder", "load_sentence_encoder", "sentence-transformers/all-MiniLM-L6-v2"
    ),
    "transformers": Kind(
        "transformers_encoder", "load_transformers", "transformers/google/siglip2-base-patch16-224"
    ),
    "clap": Kind("transformers_clap", "load_clap", "clap/laion/clap-htsat-unfused"),
    "aligned": Kind("aligned", "load_aligned", "aligned/local"),
    "timm": Kind("timm_encoder", "load_timm", "timm/vit_small_patch14_dinov2.lvd142m"),
    "static": Kind("static_encoder", "load_static", "static/folder"),
}


def load_encoder(
    spec: str, *, device: str = "auto", precision: str = "auto", compile: bool = False
) -> Encoder:
    """Load an encoder.

    Parameters
    ----------
    spec : str
        A kind, a slash, and what that kind takes: a name on a model hub or a local folder;
        options follow a question mark, as in ``transformers/folder?pooling=cls``. Encoders of text
        alone or images alone take ``backend=openvino-fp32`` or ``-bf16``, those of text ``-int8``
        and ``-mixed`` too, and ``agreement``, the least cosine with the vectors of the model as it
        is (0.99); see docs/openvino.md. Audio encoders take
        ``window``, in seconds; see docs/audio.md.
    device : str, default "auto"
        ``cpu``, ``cuda``, ``cuda:N``, or ``auto``.
    precision : str, default "auto"
        ``fp32``, ``bf16``, ``fp16``, or ``auto``.
    compile : bool, default False
        Whether to compile the model.

    Returns
    -------
    Encoder
        Its `spec` has an absolute path where a local folder or file was named, so that it can be
        loaded again from anywhere; the path is no part of its fingerprint.

    Raises
    ------
    UnknownEncoder
        If no such encoder can be loaded.
    MissingDependency
        If it needs a package that is not installed.
    InvalidInput
        If the device is absent, or an option is unknown.
    """
    kind, rest, options = parse_spec(spec)
    if spec == "local":
        raise UnknownEncoder(
            "'local' is a pair of encoders, 'local/text' and 'local/image': load one of the two, "
            "or both with load_encoders('local')"
        )
    backend = options.pop("backend", None)
    agreement = options.pop("agreement", None) if backend else None
    device = device if backend is None else _on_cpu(device)
    encoder = _call(
        _builder(kind, spec),
        spec,
        rest,
        {**options, "device": device, "precision": precision, "compile": compile},
    )
    encoder.spec = anchored(spec)
    if backend is None:
        return encoder
    from isthmus.encoders.backends.openvino import run_on_openvino

    with explained(spec):
        return run_on_openvino(encoder, backend, agreement)


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
        return {modality: load(one) for modality, one in LOCAL_PAIR.items()}
    encoder = load(spec)
    return {modality: encoder for modality in MODALITIES if modality in encoder.modalities}


def _on_cpu(device: str) -> str:
    if device not in ("auto", "cpu"):
        raise InvalidInput(f"a backend runs on the CPU, not on {device!r}; leave one of them out")
    return "cpu"


def _builder(kind: str, spec: str) -> Builder:
    if kind in KINDS:
        known = KINDS[kind]
        builder: Builder = getattr(import_module(f"{__package__}.{known.module}"), known.builder)
        return builder
    registered = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if kind in registered:
        return _load_point(registered[kind])
    examples = "; ".join([*(k.example for k in KINDS.values()), *(f"{n}/…" for n in registered)])
    raise UnknownEncoder(
        f"no encoder of kind {kind!r} is known (spec {spec!r}); specs look like: {examples}"
    )


def _load_point(point: EntryPoint) -> Builder:
    try:
        builder: Builder = point.load()
    except Exception as error:
        raise UnknownEncoder(
            f"the encoder {point.name!r}, registered as {point.value!r}, cannot be imported: "
            f"{error}; reinstall the package that brings it"
        ) from error
    return builder


def _call(builder: Builder, spec: str, rest: str, options: dict[str, Any]) -> Encoder:
    import inspect

    try:
        inspect.signature(builder).bind(rest, **options)
    except TypeError as error:
        raise InvalidInput(f"the encoder {spec!r} does not take these options: {error}") from error
    return builder(rest, **options)


class Spec(NamedTuple):
    """A spec, divided.

    Attributes
    ----------
    kind : str
        What stands before the first slash.
    rest : str
        What stands behind it.
    options : dict of str to str
        What follows the question mark.
    """

    kind: str
    rest: str
    options: dict[str, str]


def parse_spec(spec: str) -> Spec:
    """Divide a spec.

    Examples
    --------
    >>> parse_spec("transformers/some/folder?pooling=cls&max_length=64")
    Spec(kind='transformers', rest='some/folder', options={'pooling': 'cls', 'max_length': '64'})
    """
    name, *query = _OPTIONS.split(spec, maxsplit=1)
    kind, _, rest = name.partition("/")
    return Spec(kind, rest, dict(parse_qsl(query[0], keep_blank_values=True)) if query else {})


def anchored(spec: str) -> str:
    """Give a spec that means the same in every working folder: its path is absolute.

    Specs of other kinds, of names on a hub and of ``aligned/local`` are what they were.

    Examples
    --------
    >>> anchored("timm/vit_small_patch14_dinov2.lvd142m"), anchored("aligned/local")
    ('timm/vit_small_patch14_dinov2.lvd142m', 'aligned/local')
    >>> anchored("static/~/small") == f"static/{Path.home() / 'small'}"
    True
    """
    name, *query = _OPTIONS.split(spec, maxsplit=1)
    path = _path_in(name)
    if path:
        name = f"{name.removesuffix(path)}{Path(path).expanduser().absolute()}"
    return "?".join([name, *query])


def path_of(spec: str) -> Path | None:
    """Give the folder or file that a spec names, or None if it names none.

    Examples
    --------
    >>> path_of("timm/test_vit:/models/vit.safetensors"), path_of("local/text")
    (PosixPath('/models/vit.safetensors'), None)
    """
    path = _path_in(_OPTIONS.split(spec, maxsplit=1)[0])
    return Path(path).expanduser() if path else None


def _path_in(name: str) -> str:
    """Give the path at the end of a spec without options; empty where there is none."""
    kind, _, rest = name.partition("/")
    checkpoint = rest.partition(":")[2]
    if kind in _OF_FOLDERS and is_path(rest) and name != "aligned/local":
        return rest
    return checkpoint if kind in _OF_CHECKPOINTS and is_path(checkpoint) else ""


def choose_encoders(
    encoder: EncoderChoice,
    text_encoder: str | Encoder | None = None,
    image_encoder: str | Encoder | None = None,
    audio_encoder: str | Encoder | None = None,
    *,
    device: str = "auto",
    precision: str = "auto",
) -> dict[Modality, Encoder]:
    """Give an encoder for each modality.

    Parameters
    ----------
    encoder : str, Encoder or mapping
        One for all its modalities, or one for each; passed over where the others are given.
    text_encoder, image_encoder, audio_encoder : str or Encoder, optional
        One for each modality; those of one spec are one encoder, and share a block.
    device : str
        Where encoders run that are loaded here.
    precision : str
        What those compute in, see `load_encoder`.
    """
    own: dict[Modality, str | Encoder | None] = {
        "text": text_encoder,
        "image": image_encoder,
        "audio": audio_encoder,
    }
    if any(own.values()):
        given = {
            modality: anchored(one) if isinstance(one, str) else one
            for modality, one in own.items()
            if one is not None
        }
        loaded = {one: _load(one, device, precision) for one in dict.fromkeys(given.values())}
        return {modality: loaded[one] for modality, one in given.items()}
    if isinstance(encoder, str):
        return dict(load_encoders(encoder, device=device, precision=precision))
    if isinstance(encoder, Encoder):
        return {m: encoder for m in MODALITIES if m in encoder.modalities}
    return dict(encoder)


def _load(encoder: str | Encoder, device: str, precision: str) -> Encoder:
    if isinstance(encoder, str):
        return load_encoder(encoder, device=device, precision=precision)
    return encoder
