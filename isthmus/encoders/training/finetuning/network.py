"""A network that is fine-tuned: which of its weights move, its vectors, and how far it moved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from isthmus.encoders.backends.towers import TextTower, batches_by_length
from isthmus.encoders.training.finetuning.layers import (
    MOST_BYTES,
    FrozenLayers,
    bytes_of_states,
    linear_maps,
    stacks_of,
    trained_parameters,
)
from isthmus.encoders.training.finetuning.settings import FinetuneSettings
from isthmus.errors import InvalidInput, MissingDependency
from isthmus.numerics.arrays import FloatArray
from isthmus.schema import Modality

if TYPE_CHECKING:
    import torch

    from isthmus.encoders.backends.torch_encoder import TorchEncoder
    from isthmus.encoders.training.finetuning.pairs import Examples

STATES: Final = "states.f32"
ADAPTER: Final = "default"
TEXTS_PER_BATCH: Final = 64
TOKENS_A_BATCH: Final = 2_048
TOKENS_A_STEP: Final = 512
PICTURES_A_BATCH: Final = 32

Changes = dict[str, "torch.Tensor"]


class TunedNetwork:
    """An encoder's network, with gradients.

    Parameters
    ----------
    encoder : TorchEncoder
        What is trained, in place.
    examples : Examples
        What it may be run over.
    rows : sequence of int
        Those that it will be run over again and again.
    settings : FinetuneSettings
        How.
    folder : Path
        Where the states of frozen layers are kept.
    show : bool
        Whether to show a bar.

    Raises
    ------
    MissingDependency
        If peft is not installed, and LoRA is asked for.
    InvalidInput
        If the model has no such layers.
    """

    def __init__(
        self,
        encoder: TorchEncoder,
        examples: Examples,
        rows: Sequence[int],
        settings: FinetuneSettings,
        folder: Path,
        *,
        show: bool = False,
    ) -> None:
        self._encoder, self._examples = encoder, examples
        self._model: Any = encoder.model
        self._device = next(self._model.parameters()).device
        names = _make_trainable(encoder, settings)
        parameters = dict(self._model.named_parameters())
        self.trained: dict[str, torch.Tensor] = {name: parameters[name] for name in names}
        self._start = {name: own.detach().clone() for name, own in self.trained.items()}
        self._prepared = examples.prepare(encoder)
        self._frozen = self._skip_frozen(rows, settings, folder, show=show)

    @property
    def skips_frozen(self) -> bool:
        """Whether the frozen layers were run once, and are not run again."""
        return self._frozen is not None

    def vectors(self, rows: Sequence[int]) -> torch.Tensor:
        """Run the network over examples of one or more modalities.

        Returns
        -------
        torch.Tensor
            Shape (len(rows), dim), rows of unit norm, with gradients.
        """
        import torch
        from torch.nn.functional import normalize

        own = [self._examples.modalities[row] for row in rows]
        kinds = sorted(set(own))
        parts, places = [], []
        for modality in kinds:
            at = [place for place, kind in enumerate(own) if kind == modality]
            parts.append(self._forward(modality, [rows[place] for place in at]))
            places += at
        order = np.argsort(places)
        return normalize(torch.cat(parts)[torch.from_numpy(order).to(self._device)], dim=-1)

    def encode(self, rows: Sequence[int]) -> FloatArray:
        """Give the vectors of examples as they are now, float32, shape (len(rows), dim)."""
        import torch

        out = np.empty((len(rows), self._encoder.dim), np.float32)
        with torch.no_grad():
            for batch in self._batches(rows):
                out[batch] = self.vectors([rows[at] for at in batch]).cpu().numpy()
        return out

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the trained weights."""
        return {name: own.detach().cpu().clone() for name, own in self.trained.items()}

    def load_state_dict(self, state_dict: dict[str, torch.Tensor]) -> None:
        """Set the trained weights."""
        import torch

        with torch.no_grad():
            for name, own in self.trained.items():
                own.copy_(state_dict[name])

    def changes(self) -> Changes:
        """Give how far each weight of the encoder moved, by its name in the encoder."""
        adapted = _adapted_layers(self._model)
        if adapted:
            return {
                f"{name}.weight": layer.get_delta_weight(ADAPTER).detach().cpu()
                for name, layer in adapted.items()
            }
        return {
            name: (own.detach() - self._start[name]).cpu() for name, own in self.trained.items()
        }

    def _forward(self, modality: Modality, rows: Sequence[int]) -> torch.Tensor:
        """Run examples of one modality; texts by length, since one batch is as wide as its longest.

        Pictures are one batch.
        """
        import torch

        if modality != "text":
            tower = self._encoder.towers[modality]
            return self._run(modality, tower.prepare(self._examples.load(rows)))
        lengths = np.array([len(self._prepared[row]) for row in rows], np.int64)
        batches = list(batches_by_length(lengths, TOKENS_A_STEP, TEXTS_PER_BATCH))
        parts = [self._texts([rows[at] for at in batch]) for batch in batches]
        order = torch.from_numpy(np.argsort(np.concatenate(batches))).to(self._device)
        return torch.cat(parts)[order]

    def _texts(self, rows: Sequence[int]) -> torch.Tensor:
        if self._frozen is not None:
            return self._frozen.forward(rows).float()
        return self._run("text", [self._prepared[row] for row in rows])

    def _run(self, modality: Modality, prepared: Sequence[Any]) -> torch.Tensor:
        tower = self._encoder.towers[modality]
        batch = {name: t.to(self._device) for name, t in tower.collate(prepared).items()}
        return tower.forward(**batch).float()

    def _batches(self, rows: Sequence[int]) -> list[list[int]]:
        """Divide places into batches: texts by length, pictures in order."""
        own = [self._examples.modalities[row] for row in rows]
        texts = [at for at, kind in enumerate(own) if kind == "text"]
        files = [at for at, kind in enumerate(own) if kind != "text"]
        lengths = np.array([len(self._prepared[rows[at]]) for at in texts], np.int64)
        found = [
            [texts[at] for at in batch.tolist()]
            for batch in batches_by_length(lengths, TOKENS_A_BATCH, TEXTS_PER_BATCH)
        ]
        starts = range(0, len(files), PICTURES_A_BATCH)
        return found + [files[start : start + PICTURES_A_BATCH] for start in starts]

    def _skip_frozen(
        self, rows: Sequence[int], settings: FinetuneSettings, folder: Path, *, show: bool
    ) -> FrozenLayers | None:
        """Run the frozen layers once, where that is the same and fits on the disk."""
        stacks = stacks_of(self._model)
        tower = self._encoder.towers.get("text")
        alone = set(self._examples.modalities) == {"text"} and len(stacks) == 1
        if not alone or not isinstance(tower, TextTower) or self._encoder.modalities != {"text"}:
            return None
        first = stacks[0].first_trained(settings.layers)
        own = [self._prepared[row] for row in rows]
        if not first or bytes_of_states(own, self._encoder.dim) > MOST_BYTES:
            return None
        file = folder / STATES
        frozen = FrozenLayers(
            tower, stacks[0], first, self._prepared, rows, file, self._device, show=show
        )
        return frozen if frozen.agrees() else None


def apply_changes(encoder: TorchEncoder, changes: Changes, share: float) -> None:
    """Move the weights of an encoder as it was by a share of the changes, in place.

    Between the two ends this is the interpolation of weights of Wortsman et al. ("Robust
    fine-tuning of zero-shot models", CVPR 2022).
    """
    import torch

    parameters = dict(encoder.model.named_parameters())
    with torch.no_grad():
        for name, moved in changes.items():
            parameters[name].add_(share * moved.to(parameters[name].device))


def _make_trainable(encoder: TorchEncoder, settings: FinetuneSettings) -> list[str]:
    """Let the weights move that are to move, and name them."""
    model: Any = encoder.model
    if settings.method == "full":
        names = [n for n in trained_parameters(model, settings.layers) if n in encoder.used_weights]
        for name, own in model.named_parameters():
            own.requires_grad_(name in set(names))
        return names
    return _inject(model, settings)


def _inject(model: Any, settings: FinetuneSettings) -> list[str]:
    """Put low-rank changes, which are none at first, beside the linear maps of the layers."""
    import torch

    require_peft()
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.rank,
        lora_dropout=0.0,
        target_modules=linear_maps(model, settings.layers),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        inject_adapter_in_model(config, model)
    names = [name for name, own in model.named_parameters() if own.requires_grad]
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
