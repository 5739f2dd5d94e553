"""Image encoders of timm."""

from __future__ import annotations

from typing import Any

from isthmus.encoders.backends.runtime import choose_runtime
from isthmus.encoders.backends.torch_encoder import TorchEncoder
from isthmus.encoders.backends.towers import ImageTower
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.hub import explain_load_errors, find_checkpoint
from isthmus.encoders.image import pixels_from_torchvision


def load_timm(
    name: str, *, device: str = "auto", precision: str = "auto", compile: bool = False
) -> Encoder:
    """Load an image encoder of timm: its features before the classifier.

    Parameters
    ----------
    name : str
        An architecture of timm, whose pretrained weights are fetched from the hub; or an
        architecture, a colon and the path of a checkpoint.
    device, precision, compile
        As for `load_encoder`.

    Raises
    ------
    UnknownEncoder
        If it cannot be loaded, or the checkpoint is one of another architecture.
    """
    architecture, _, checkpoint = name.partition(":")
    runtime = choose_runtime(device, precision, compile)
    spec = f"timm/{name}"
    with explain_load_errors(spec):
        model = _load(architecture, checkpoint, spec)
        tower, dim = _tower(model)
        identity = {"kind": "timm", "model": architecture}
        return TorchEncoder(model, {"image": tower}, dim, identity, runtime)


def _load(architecture: str, checkpoint: str, spec: str) -> Any:
    import timm
    from timm.models import load_state_dict

    if not checkpoint:
        return timm.create_model(architecture, pretrained=True, num_classes=0)
    state = load_state_dict(str(find_checkpoint(checkpoint, spec)), weights_only=True)
    model: Any = timm.create_model(architecture, pretrained=False, num_classes=0)
    classifier = model.default_cfg.get("classifier") or ()
    classifiers = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    prefixes = tuple(f"{name}." for name in classifiers)
    model.load_state_dict({n: t for n, t in state.items() if not n.startswith(prefixes)})
    return model


def _tower(model: Any) -> tuple[ImageTower, int]:
    import timm.data

    data: Any = timm.data
    settings = data.resolve_model_data_config(model)
    transform = data.create_transform(**settings, is_training=False)
    pixels = pixels_from_torchvision(transform, settings)
    dim = getattr(model, "head_hidden_size", None) or model.num_features
    return ImageTower(pixels, pixels.normalize_before(model), pixels.components), int(dim)
