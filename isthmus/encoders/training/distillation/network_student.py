"""Students that are networks: small models of text or images."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isthmus.encoders.registry import load_encoder
from isthmus.encoders.training.distillation.inputs import Contents
from isthmus.encoders.training.distillation.student import Student
from isthmus.encoders.training.saving import require_trainable, save_encoder

if TYPE_CHECKING:
    import torch


class NetworkStudent(Student):
    """A network as its encoder runs it, with gradients.

    Where the dimensions of the two differ, the student's vectors reach the teacher's space by a
    linear map that is trained with it and left behind (Romero et al., "FitNets", ICLR 2015); the
    similarity loss is taken of the student's own.

    Parameters
    ----------
    spec : str
        What is trained: a model of Transformers, Sentence Transformers or timm.
    contents : Contents
        What it learns from.
    dim : int
        The teacher's.
    seed : int
        Of the linear map.

    Raises
    ------
    InvalidInput
        If such an encoder cannot be trained here, or does not take these contents.
    """

    batch = 64
    rate = 3e-4

    def __init__(self, spec: str, contents: Contents, dim: int, seed: int) -> None:
        import torch

        self._spec = spec
        loaded = load_encoder(spec, device="cpu", precision="fp32")
        encoder = require_trainable(loaded, spec, "'static', or ")
        self._encoder, self._contents = encoder, contents
        encoder.require(contents.modality)
        self._tower = encoder.towers[contents.modality]
        self._model: Any = encoder.model
        self._model.requires_grad_(True)
        self._head: torch.nn.Module = torch.nn.Identity()
        if encoder.dim != dim:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                self._head = torch.nn.Linear(encoder.dim, dim, bias=False)
        self._prepared = self._prepare_texts()

    def optimizer(self, rate: float) -> torch.optim.Optimizer:
        """Make AdamW over the network and the linear map."""
        import torch

        found = itertools.chain(self._model.parameters(), self._head.parameters())
        return torch.optim.AdamW(list(found), lr=rate)

    def vectors(self, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the network over contents."""
        from torch.nn.functional import normalize

        if self._prepared is None:
            prepared = self._tower.prepare(self._contents.load(rows))
        else:
            prepared = [self._prepared[row] for row in rows]
        own = self._tower.forward(**self._tower.collate(prepared)).float()
        return normalize(own, dim=-1), normalize(self._head(own), dim=-1)

    def state(self) -> dict[str, Any]:
        """Give the parameters of the network and of the linear map."""
        return {"model": self._model.state_dict(), "head": self._head.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take the parameters of the network and of the linear map."""
        self._model.load_state_dict(state["model"])
        self._head.load_state_dict(state["head"])

    def save(self, folder: Path) -> str:
        """Write the model as its own library does, with what prepares its contents."""
        return save_encoder(self._encoder, self._spec, folder)

    def _prepare_texts(self) -> list[Any] | None:
        """Tokenise all texts at once; images are too large for that."""
        if self._contents.modality != "text":
            return None
        return self._tower.prepare(self._contents.values)
