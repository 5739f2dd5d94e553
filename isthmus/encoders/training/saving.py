"""Folders of trained encoders: opened for a run, and written in the formats of their libraries."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from isthmus.encoders.backends.compiled_encoder import as_torch
from isthmus.encoders.backends.torch_encoder import TorchEncoder
from isthmus.encoders.hub import find_source
from isthmus.encoders.models.local import text_package
from isthmus.encoders.models.transformers_parts import quiet_transformers
from isthmus.encoders.registry import LOCAL_PAIR, parse_spec, spec_path
from isthmus.errors import InvalidInput

if TYPE_CHECKING:
    from isthmus.encoders.backends.torch_encoder import TorchEncoder
    from isthmus.encoders.encoder import Encoder

WORK: Final = "work"
TRAINABLE_FAMILIES: Final = ("transformers", "sentence-transformers", "timm")
WEIGHTS: Final = "model.safetensors"
PREPROCESSING_SUFFIXES: Final = frozenset({".json", ".txt", ".model"})
TOKENIZER_SETTINGS: Final = "tokenizer_config.json"
REPORTS: Final = frozenset({"distillation.json", "finetuning.json"})  # of the source: not copied


def require_trainable(encoder: Encoder, spec: str, remedy: str = "") -> TorchEncoder:
    """Return the encoder in PyTorch if it can be trained and saved, else raise `InvalidInput`."""
    encoder = as_torch(encoder)
    trainable = parse_spec(spec).family in TRAINABLE_FAMILIES or spec == LOCAL_PAIR["text"]
    if not trainable or not isinstance(encoder, TorchEncoder):
        raise InvalidInput(
            f"{spec!r} cannot be trained further; give {remedy}a spec that begins with "
            f"{', '.join(TRAINABLE_FAMILIES)}"
        )
    return encoder


def save_encoder(encoder: TorchEncoder, spec: str, folder: Path) -> str:
    """Write the current weights of an encoder's model, with its tokenizer or image processor.

    Parameters
    ----------
    encoder : TorchEncoder
        The encoder of `spec`, whose weights may have changed; see `require_trainable`.
    spec : str
        Spec that the encoder was loaded from.
    folder : Path
        Destination; files of the same names are replaced.

    Returns
    -------
    str
        Spec of the saved encoder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with quiet_transformers():
        return _save(encoder, spec, folder)


def _save(encoder: TorchEncoder, spec: str, folder: Path) -> str:
    kind, rest, options = parse_spec(spec)
    query = "&".join(f"{name}={value}" for name, value in options.items())
    suffix = f"?{query}" if query else ""
    model: Any = encoder.model
    if kind == "timm":
        architecture = rest.partition(":")[0]
        _save_tensors(model, folder)
        return f"timm/{architecture}:{folder / WEIGHTS}{suffix}"
    if kind == "sentence-transformers":
        model.save(str(folder))
        return f"sentence-transformers/{folder}{suffix}"
    if kind == "local":
        _save_local_tokenizer(folder)
    else:
        source = find_source(rest, spec)
        _save_preprocessing(source.name, source.local, folder)
    state = model.state_dict()  # random, unused poolers are left out
    used = {name: state[name] for name in state if name in encoder.used_weights}
    model.save_pretrained(folder, state_dict=used)
    return f"transformers/{folder}{suffix}"


def _save_tensors(model: Any, folder: Path) -> None:
    from safetensors.torch import save_file

    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, folder / WEIGHTS)


def _save_preprocessing(name: str, local: bool, folder: Path) -> None:
    """Copy the tokenizer and the image processor."""
    if local:
        _copy_small_files(Path(name), folder)
        return
    from transformers import AutoImageProcessor, AutoTokenizer

    for loader in (AutoTokenizer, AutoImageProcessor):
        try:
            loader.from_pretrained(name, trust_remote_code=False).save_pretrained(folder)
        except (OSError, ValueError):  # a model has one of the two
            continue


def _save_local_tokenizer(folder: Path) -> None:
    """Copy the tokenizer of ``local/text``, with the maximum length of its model."""
    package, max_tokens = text_package()
    for name in ("tokenizer.json", "special_tokens_map.json", "vocab.txt"):
        shutil.copyfile(package / name, folder / name)
    settings = json.loads((package / TOKENIZER_SETTINGS).read_text("utf-8"))
    settings["model_max_length"] = max_tokens
    (folder / TOKENIZER_SETTINGS).write_text(json.dumps(settings, indent=2) + "\n", "utf-8")


def _copy_small_files(source: Path, folder: Path) -> None:
    for file in source.iterdir():
        if file.is_file() and file.suffix in PREPROCESSING_SUFFIXES and file.name not in REPORTS:
            shutil.copyfile(file, folder / file.name)


def open_work_folder(folder: Path, made: str, report: str, *sources: str) -> Path:
    """Create the folder of a trained encoder, or open one of the same kind of training.

    Parameters
    ----------
    folder : Path
        The folder; a subfolder ``work`` is created in it.
    made : str
        Kind of training, for the errors: ``"distilled"`` or ``"fine-tuned"``.
    report : str
        Name of the report that such a training writes.
    sources : str
        Specs of the encoders it is trained from.

    Raises
    ------
    InvalidInput
        If the folder is a file, holds something else, or holds one of the sources.
    """
    if folder.exists() and not folder.is_dir():
        raise InvalidInput(f"{folder} is a file; give a folder for the {made} encoder")
    ours = (folder / WORK).is_dir() or (folder / report).is_file()
    if folder.is_dir() and any(folder.iterdir()) and not ours:
        raise InvalidInput(
            f"{folder} holds something else than a {made} encoder; give a new folder"
        )
    for spec in sources:
        if _lies_in(folder, spec):
            raise InvalidInput(
                f"{folder} holds {spec!r}, which would be overwritten; give another folder"
            )
    (folder / WORK).mkdir(parents=True, exist_ok=True)
    return folder


def _lies_in(folder: Path, spec: str) -> bool:
    path = spec_path(spec)
    return path is not None and path.resolve().is_relative_to(folder.resolve())
