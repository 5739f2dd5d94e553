"""The fine-tuned network: its trained weights, its vectors, and the change of its weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from isthmus.encoders.backends.towers import TextTower, batches_by_length, to_tensors
from isthmus.encoders.training.finetuning.layers import (
    MAX_STATE_BYTES,
    FrozenLayers,
    layer_stacks,
    state_bytes,
    trained_linear_layers,
    trained_parameters,
)
from isthmus.encoders.training.finetuning.pairs import TrainingContents
from isthmus.encoders.training.settings import FinetuneSettings
from isthmus.errors import InvalidInput, MissingDependency
from isthmus.numerics.arrays import FloatArray
from isthmus.schema import Modality

if TYPE_CHECKING:
    import torch

    from isthmus.encoders.backends.torch_encoder import TorchEncoder

STATES: Final = "states.f32"
ADAPTER: Final = "default"
TEXTS_PER_BATCH: Final = 64
TOKENS_PER_BATCH: Final = 2_048  # without gradients
TOKENS_PER_STEP: Final = 512  # with gradients
IMAGES_PER_BATCH: Final = 32

WeightChanges = dict[str, "torch.Tensor"]
"""The change of each weight of an encoder, by name."""


class TunedNetwork:
    """The network of an encoder, with gradients.

    Parameters
    ----------
    encoder : TorchEncoder
        The encoder, trained in place.
    contents : TrainingContents
        Contents of training and validation.
    rows : sequence of int
        Rows of the contents that the network will be run over in every epoch.
    settings : FinetuneSettings
        Hyperparameters.
    folder : Path
        Folder for the outputs of frozen layers.
    show : bool, default False
        Whether to show a progress bar.

    Attributes
    ----------
    trained : dict of str to torch.Tensor
        The trained weights by name.

    Raises
    ------
    MissingDependency
        If the method is LoRA and peft is not installed.
    InvalidInput
        If the model has no such layers.
    """

    def __init__(
        self,
        encoder: TorchEncoder,
        contents: TrainingContents,
        rows: Sequence[int],
        settings: FinetuneSettings,
        folder: Path,
        *,
        show: bool = False,
    ) -> None:
        self._encoder, self._contents = encoder, contents
        self._model: Any = encoder.model
        self._device = next(self._model.parameters()).device
        names = _make_trainable(encoder, settings)
        parameters = dict(self._model.named_parameters())
        self.trained: dict[str, torch.Tensor] = {name: parameters[name] for name in names}
        self._start = {name: weight.detach().clone() for name, weight in self.trained.items()}
        self._tokens = contents.tokenize(encoder)
        self._frozen = self._frozen_layers(rows, settings, folder, show=show)

    @property
    def skips_frozen(self) -> bool:
        """Whether the outputs of the frozen layers were computed once and are reused."""
        return self._frozen is not None

    def vectors(self, rows: Sequence[int]) -> torch.Tensor:
        """Return the vectors of contents of any modality, (n, dim), with gradients.

        Returns
        -------
        torch.Tensor
            Shape (len(rows), dim), rows of unit norm.
        """
        import torch
        from torch.nn.functional import normalize

        modalities = [self._contents.modalities[row] for row in rows]
        parts, positions = [], []
        for modality in sorted(set(modalities)):
            selected = [
                position
                for position, row_modality in enumerate(modalities)
                if row_modality == modality
            ]
            parts.append(self._forward(modality, [rows[position] for position in selected]))
            positions += selected
        order = torch.from_numpy(np.argsort(positions)).to(self._device)
        return normalize(torch.cat(parts)[order], dim=-1)

    def encode(self, rows: Sequence[int]) -> FloatArray:
        """Return the current vectors of contents, float32, shape (len(rows), dim)."""
        import torch

        vectors = np.empty((len(rows), self._encoder.dim), np.float32)
        with torch.no_grad():
            for batch in self._batches(rows):
                batch_vectors = self.vectors([rows[position] for position in batch])
                vectors[batch] = batch_vectors.cpu().numpy()
        return vectors

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the trained weights."""
        return {name: weight.detach().cpu().clone() for name, weight in self.trained.items()}

    def load_state_dict(self, state_dict: dict[str, torch.Tensor]) -> None:
        """Set the trained weights."""
        import torch

        with torch.no_grad():
            for name, weight in self.trained.items():
                weight.copy_(state_dict[name])

    def changes(self) -> WeightChanges:
        """Return the change of each weight of the encoder, by its name in the encoder."""
        adapted = _adapted_layers(self._model)
        if adapted:
            return {
                f"{name}.weight": layer.get_delta_weight(ADAPTER).detach().cpu()
                for name, layer in adapted.items()
            }
        return {
            name: (weight.detach() - self._start[name]).cpu()
            for name, weight in self.trained.items()
        }

    def _forward(self, modality: Modality, rows: Sequence[int]) -> torch.Tensor:
        """Run contents of one modality; texts in batches by length, images in one batch."""
        import torch

        if modality != "text":
            tower = self._encoder.towers[modality]
            return self._run(modality, tower.prepare(self._contents.load(rows)))
        lengths = np.array([len(self._tokens[row]) for row in rows], np.int64)
        batches = list(batches_by_length(lengths, TOKENS_PER_STEP, TEXTS_PER_BATCH))
        parts = [self._run_texts([rows[position] for position in batch]) for batch in batches]
        order = torch.from_numpy(np.argsort(np.concatenate(batches))).to(self._device)
        return torch.cat(parts)[order]

    def _run_texts(self, rows: Sequence[int]) -> torch.Tensor:
        if self._frozen is not None:
            return self._frozen.forward(rows).float()
        return self._run("text", [self._tokens[row] for row in rows])

    def _run(self, modality: Modality, prepared: Sequence[Any]) -> torch.Tensor:
        tower = self._encoder.towers[modality]
        arrays = tower.collate(prepared)
        batch = {name: t.to(self._device) for name, t in to_tensors(arrays).items()}
        return tower.forward(**batch).float()

    def _batches(self, rows: Sequence[int]) -> list[list[int]]:
        """Return batches of positions: texts by length, images in order."""
        modalities = [self._contents.modalities[row] for row in rows]
        texts = [position for position, one in enumerate(modalities) if one == "text"]
        images = [position for position, one in enumerate(modalities) if one != "text"]
        lengths = np.array([len(self._tokens[rows[position]]) for position in texts], np.int64)
        batches = [
            [texts[number] for number in batch.tolist()]
            for batch in batches_by_length(lengths, TOKENS_PER_BATCH, TEXTS_PER_BATCH)
        ]
        starts = range(0, len(images), IMAGES_PER_BATCH)
        return batches + [images[start : start + IMAGES_PER_BATCH] for start in starts]

    def _frozen_layers(
        self, rows: Sequence[int], settings: FinetuneSettings, folder: Path, *, show: bool
    ) -> FrozenLayers | None:
        """Run the frozen layers once, where the result is the same and fits on the disk."""
        stacks = layer_stacks(self._model)
        tower = self._encoder.towers.get("text")
        text_only = set(self._contents.modalities) == {"text"} == self._encoder.modalities
        if not text_only or len(stacks) != 1 or not isinstance(tower, TextTower):
            return None
        first = stacks[0].first_trained(settings.layers)
        size = state_bytes([self._tokens[row] for row in rows], self._encoder.dim)
        if not first or size > MAX_STATE_BYTES:
            return None
        file = folder / STATES
        frozen = FrozenLayers(
            tower, stacks[0], first, self._tokens, rows, file, self._device, show=show
        )
        return frozen if frozen.matches_full_model() else None


def apply_changes(encoder: TorchEncoder, changes: WeightChanges, share: float) -> None:
    """Add a share of the changes to the weights of an encoder, in place.

    Between 0 and 1 this is the interpolation of weights of Wortsman et al., "Robust fine-tuning of
    zero-shot models" (CVPR 2022).
    """
    import torch

    parameters = dict(encoder.model.named_parameters())
    with torch.no_grad():
        for name, change in changes.items():
            parameters[name].add_(share * change.to(parameters[name].device))


def _make_trainable(encoder: TorchEncoder, settings: FinetuneSettings) -> list[str]:
    """Turn on gradients of the weights that are trained, and return their names."""
    model: Any = encoder.model
    if settings.method == "full":
        names = [n for n in trained_parameters(model, settings.layers) if n in encoder.used_weights]
        for name, weight in model.named_parameters():
            weight.requires_grad_(name in set(names))
        return names
    return _inject_lora(model, settings)


def _inject_lora(model: Any, settings: FinetuneSettings) -> list[str]:
    """Add low-rank updates, 0 at first, to the linear layers, and return their names."""
    import torch

    require_peft()
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.rank,
        lora_dropout=0.0,
        target_modules=trained_linear_layers(model, settings.layers),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        inject_adapter_in_model(config, model)
    names = [name for name, weight in model.named_parameters() if weight.requires_grad]
    if not names:
        raise InvalidInput("peft found nothing to change in this model; use method='full'")
    return names


def require_peft() -> None:
    """Raise `MissingDependency` if peft is absent."""
    try:
        import peft  # noqa: F401
    except ImportError as error:
        raise MissingDependency(
            "LoRA needs peft, which is not installed; install it with: "
            "pip install 'isthmus[finetune]', or train all weights with method='full' "
            "(--method full)"
        ) from error


def _adapted_layers(model: Any) -> dict[str, Any]:
    return {
        name: module
        for name, module in model.named_modules()
        if hasattr(module, "get_delta_weight") and ADAPTER in getattr(module, "lora_A", {})
    }
