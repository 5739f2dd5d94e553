"""Encoders whose weights were trained further, written as their own libraries write them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from isthmus.encoders.hub import find_source
from isthmus.encoders.models.local import text_package
from isthmus.encoders.models.transformers_parts import quiet_transformers
from isthmus.encoders.registry import LOCAL_PAIR, parse_spec
from isthmus.errors import InvalidInput

if TYPE_CHECKING:
    from isthmus.encoders.backends.torch_encoder import TorchEncoder
    from isthmus.encoders.encoder import Encoder
from isthmus.encoders.registry import spec_path

WORK: Final = "work"

SAVED_KINDS: Final = ("transformers", "sentence-transformers", "timm")
WEIGHTS: Final = "model.safetensors"
PREPARATION: Final = frozenset({".json", ".txt", ".model"})
TOKENIZER_SETTINGS: Final = "tokenizer_config.json"
REPORTS: Final = frozenset({"distillation.json", "finetuning.json"})  # of how the source was made


def require_trainable(encoder: Encoder, spec: str, remedy: str = "") -> TorchEncoder:
    """Give an encoder as one whose weights can be trained and saved, or raise `InvalidInput`."""
    from isthmus.encoders.backends.torch_encoder import TorchEncoder

    known = parse_spec(spec).family in SAVED_KINDS or spec == LOCAL_PAIR["text"]
    if not known or not isinstance(encoder, TorchEncoder):
        raise InvalidInput(
            f"{spec!r} cannot be trained further; give {remedy}a spec that begins with "
            f"{', '.join(SAVED_KINDS)}"
        )
    return encoder


def save_encoder(encoder: TorchEncoder, spec: str, folder: Path) -> str:
    """Write the weights that an encoder's model has now, with what prepares its contents.

    Parameters
    ----------
    encoder : TorchEncoder
        What `spec` loads, with weights of the same names and shapes; see `require_trainable`.
    spec : str
        Where it came from.
    folder : Path
        Where it goes; files of the same names are replaced.

    Returns
    -------
    str
        Spec of what was written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with quiet_transformers():
        return _save(encoder, spec, folder)


def _save(encoder: TorchEncoder, spec: str, folder: Path) -> str:
    kind, rest, options = parse_spec(spec)
    query = "&".join(f"{name}={value}" for name, value in options.items())
    behind = f"?{query}" if query else ""
    model: Any = encoder.model
    if kind == "timm":
        architecture = rest.partition(":")[0]
        _save_tensors(model, folder)
        return f"timm/{architecture}:{folder / WEIGHTS}{behind}"
    if kind == "sentence-transformers":
        model.save(str(folder))
        return f"sentence-transformers/{folder}{behind}"
    if kind == "local":
        _save_local_preparation(folder)
    else:
        source = find_source(rest, spec)
        _save_preparation(source.name, source.local, folder)
    state = model.state_dict()  # poolers that are random and unused stay behind
    used = {name: state[name] for name in state if name in encoder.used_weights}
    model.save_pretrained(folder, state_dict=used)
    return f"transformers/{folder}{behind}"


def _save_tensors(model: Any, folder: Path) -> None:
    from safetensors.torch import save_file

    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, folder / WEIGHTS)


def _save_preparation(name: str, local: bool, folder: Path) -> None:
    """Copy tokenizer and image processor: every small file of the model's folder."""
    if local:
        _copy_small_files(Path(name), folder)
        return
    from transformers import AutoImageProcessor, AutoTokenizer

    for loader in (AutoTokenizer, AutoImageProcessor):
        try:
            loader.from_pretrained(name).save_pretrained(folder)
        except (OSError, ValueError):  # a model has the one, or the other
            continue


def _save_local_preparation(folder: Path) -> None:
    """Copy the tokenizer of ``local/text``, which states the tokens that its model takes."""
    package, most = text_package()
    for name in ("tokenizer.json", "special_tokens_map.json", "vocab.txt"):
        shutil.copyfile(package / name, folder / name)
    settings = json.loads((package / TOKENIZER_SETTINGS).read_text("utf-8"))
    settings["model_max_length"] = most
    (folder / TOKENIZER_SETTINGS).write_text(json.dumps(settings, indent=2) + "\n", "utf-8")


def _copy_small_files(source: Path, folder: Path) -> None:
    for file in source.iterdir():
        if file.is_file() and file.suffix in PREPARATION and file.name not in REPORTS:
            shutil.copyfile(file, folder / file.name)


def open_work_folder(folder: Path, made: str, report: str, *sources: str) -> Path:
    """Make the folder of an encoder, or open one that the same kind of training made.

    Parameters
    ----------
    folder : Path
        Where; it gets a folder ``work``.
    made : str
        What is made there, for the errors: ``"distilled"`` or ``"fine-tuned"``.
    report : str
        The file that such a training leaves.
    sources : str
        Specs of the encoders that it is made of.

    Raises
    ------
    InvalidInput
        If it is a file, or holds something else or one of the sources.
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
