"""EfficientNet-Lite0 in plain PyTorch, its batch norms folded into the convolutions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import nn

FEATURES = 1280
EPS = 1e-3

# repeats, kernel, stride, expansion of each stage
STAGES = (
    (1, 3, 1, 1),
    (2, 3, 2, 6),
    (2, 5, 2, 6),
    (3, 3, 2, 6),
    (3, 5, 1, 6),
    (4, 5, 2, 6),
    (1, 3, 1, 6),
)


class EfficientNetLite0(nn.Module):
    """Pooled features of an image, shape (n, 1280).

    Parameters
    ----------
    weights : iterable of torch.Tensor
        The tensors of the checkpoint, in its order: a convolution, then its batch norm. The
        classifier's, at the end, are not read.

    References
    ----------
    Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", 2019.
    """

    def __init__(self, weights: Iterable[torch.Tensor]) -> None:
        super().__init__()
        tensors = iter(weights)
        layers: list[nn.Module] = [_convolution(tensors, stride=2)]
        for repeats, kernel, stride, expansion in STAGES:
            for n in range(repeats):
                layers.append(InvertedResidual(tensors, kernel, 1 if n else stride, expansion))
        layers.append(_convolution(tensors))
        self.layers = nn.Sequential(*layers)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Give the features of normalised pixels, shape (n, 3, 224, 224)."""
        features: torch.Tensor = self.layers(pixels)
        return features.mean((2, 3))


class InvertedResidual(nn.Module):
    """Widen, filter each channel, narrow; and add the input where the shapes agree."""

    def __init__(
        self, tensors: Iterator[torch.Tensor], kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        widen = [_convolution(tensors)] if expansion > 1 else []
        filtered = _convolution(tensors, stride=stride, depthwise=True)
        narrow = _convolution(tensors, active=False)
        self.layers = nn.Sequential(*widen, filtered, narrow)
        first, last = self.layers[0][-2 if widen else -2], narrow[-1]
        self.adds = stride == 1 and first.in_channels == last.out_channels

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Give new features."""
        features: torch.Tensor = self.layers(pixels)
        return features.add_(pixels) if self.adds else features
