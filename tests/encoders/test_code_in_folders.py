"""No model folder runs code that lies in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from isthmus import Space
from isthmus.encoders import load_encoder
from isthmus.errors import UnknownEncoder
from tests.encoders import models
from tests.toy import item


def _edit(file: Path, **changes) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def evil_config(folder: Path) -> None:
    """A model of a type of its own."""
    _edit(folder / "config.json", model_type="evil", auto_map={"AutoConfig": "evil.EvilConfig"})


def evil_model(folder: Path) -> None:
    """A model class of its own for a known type."""
    evil_config(folder)
    _edit(folder / "config.json", auto_map={"AutoConfig": "evil.C", "AutoModel": "evil.M"})


def evil_tokenizer(folder: Path) -> None:
    _edit(
        folder / "tokenizer_config.json",
        auto_map={"AutoTokenizer": ["evil.EvilTok", "evil.EvilTok"]},
        tokenizer_class="EvilTok",
    )


def evil_processor(folder: Path) -> None:
    _edit(
        folder / "preprocessor_config.json",
        auto_map={"AutoImageProcessor": "evil.EvilProcessor"},
        image_processor_type="EvilProcessor",
    )


def evil_module(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["type"] = "evil.Pooling"
    (folder / "modules.json").write_text(json.dumps(modules))


def evil_activation(folder: Path) -> None:
    config = next(folder.glob("*_Dense/config.json"))
    _edit(config, activation_function="evil.Activation")


def evil_open_clip_tokenizer(folder: Path) -> None:
    evil_tokenizer(_with_tokenizer(folder))
    _edit_text(folder, hf_tokenizer_name="x", tokenizer_kwargs={"trust_remote_code": True})


def evil_open_clip_tokenizer_unasked(folder: Path) -> None:
    """The folder names code without asking for trust; Transformers would ask in the terminal."""
    evil_tokenizer(_with_tokenizer(folder))
    _edit_text(folder, hf_tokenizer_name="x")


def _with_tokenizer(folder: Path) -> Path:
    models._bert_tokenizer().save_pretrained(folder)
    return folder


def _edit_text(folder: Path, **changes) -> None:
    file = folder / "open_clip_config.json"
    config = json.loads(file.read_text())
    config["model_cfg"]["text_cfg"].update(changes)
    file.write_text(json.dumps(config))


CASES = {
    "a configuration": ("transformers", models.bert_folder, evil_config),
    "a model": ("transformers", models.bert_folder, evil_model),
    "a tokenizer": ("transformers", models.bert_folder, evil_tokenizer),
    "a tokenizer of a joint model": ("transformers", models.clip_folder, evil_tokenizer),
    "an image processor": ("transformers", models.vit_folder, evil_processor),
    "a module": ("sentence-transformers", models.sentence_folder, evil_module),
    "an activation": ("sentence-transformers", models.sentence_folder, evil_activation),
    "a tokenizer of OpenCLIP": ("open_clip", models.open_clip_folder, evil_open_clip_tokenizer),
    "the same, unasked": ("open_clip", models.open_clip_folder, evil_open_clip_tokenizer_unasked),
}


@pytest.fixture(params=CASES.values(), ids=CASES)
def evil(request, tmp_path, monkeypatch):
    """The spec of a model whose folder holds code, and the file that the code would write."""
    family, make, spoil = request.param
    folder, proof = make(tmp_path / "model"), tmp_path / "proof"
    spoil(folder)
    names = "EvilTok EvilConfig C M EvilProcessor Pooling Activation"
    code = f"import pathlib; pathlib.Path({str(proof)!r}).touch()\n" + "".join(
        f"class {name}: pass\n" for name in names.split()
    )
    for place in {folder, *(file.parent for file in folder.rglob("*.json"))}:
        (place / "evil.py").write_text(code)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    # Every question is answered with yes.
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    return f"{family}/{folder}", proof


def test_a_folder_that_names_code_is_refused_with_the_reason(evil):
    spec, proof = evil
    with pytest.raises(UnknownEncoder, match="cannot load") as refused:
        load_encoder(spec)
    assert not proof.exists()
    if "evil.Activation" not in str(refused.value):
        assert "Isthmus does not run code from a model's folder" in str(refused.value)


def test_a_space_that_names_such_a_folder_runs_nothing(tmp_path, evil):
    spec, proof = evil
    space = Space.create(
        tmp_path / "space", f"transformers/{models.bert_folder(tmp_path / 'good')}"
    )
    space.upsert([item("a", "a red hat")])
    settings = tmp_path / "space" / "space.toml"
    settings.write_text(settings.read_text().replace(f"transformers/{tmp_path / 'good'}", spec))
    with pytest.raises(UnknownEncoder, match="cannot load"):
        Space.open(tmp_path / "space").search("a red hat")
    assert not proof.exists()
