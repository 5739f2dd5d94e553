"""Fine-tune an encoder by pairs, save it as an encoder, and measure what it gained and forgot."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from isthmus.digests import digest
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.registry import load_encoder
from isthmus.encoders.training.cached_vectors import teacher_vectors
from isthmus.encoders.training.finetuning.interpolation import choose_share, try_shares
from isthmus.encoders.training.finetuning.network import (
    Changes,
    TunedNetwork,
    apply_changes,
    require_peft,
)
from isthmus.encoders.training.finetuning.pairs import (
    CHOOSING,
    LEARNING,
    MEASURING,
    ContentPairs,
    Examples,
    Rows,
    draw_parts,
    gather_pairs,
    keys_by_pairs,
    pairs_within,
)
from isthmus.encoders.training.finetuning.quality import (
    DividedDomain,
    Exam,
    divide_domain,
    gather_domains,
)
from isthmus.encoders.training.finetuning.report import REPORT, FinetuneReport, compare
from isthmus.encoders.training.finetuning.settings import FinetuneSettings
from isthmus.encoders.training.finetuning.training import PairBatches, train_network
from isthmus.encoders.training.saving import WORK, open_work_folder, require_trainable, save_encoder
from isthmus.errors import InvalidInput
from isthmus.numerics.arrays import FloatArray
from isthmus.numerics.checkpoint import Checkpoint
from isthmus.numerics.training import EpochResult, TrainingHistory

if TYPE_CHECKING:
    from isthmus.encoders.backends.torch_encoder import TorchEncoder

LEAST: Final = 4  # pairs of a part


def finetune(
    encoder: str,
    pairs: Any,
    out: str | Path,
    *,
    others: Sequence[Any] = (),
    text: str | None = None,
    other: str | None = None,
    image: str | None = None,
    others_text: str | None = None,
    label: str | None = None,
    settings: FinetuneSettings | None = None,
    device: str = "auto",
    on_epoch: Callable[[int, float], None] | None = None,
    progress: bool = False,
) -> FinetuneReport:
    """Train an encoder further on what belongs together, and save it as an encoder.

    Everything that takes long is kept in the folder ``work`` under `out` as it is done: run the
    same again after an interrupt, and it goes on. The folder may be deleted afterwards.

    Parameters
    ----------
    encoder : str
        Spec of the encoder to start from: ``local/text``, a model of Transformers, Sentence
        Transformers or timm, or what an earlier fine-tuning saved.
    pairs : list of (str, str); path, list of those, table, frame, or list of dicts; ContentPairs
        Contents that belong together.
    out : str or Path
        Folder for the encoder; new, or that of a fine-tuning.
    others : sequence, optional
        Other domains, which should not be forgotten: each an `OtherDomain`, a file or other
        thing that holds rows, or a list of texts.
    text : str, optional
        Template or column of the text of a pair, ``text`` by default.
    other : str, optional
        Template or column of the text that belongs to it, ``other`` by default.
    image : str, optional
        Column of the picture that belongs to it, in the place of `other`.
    others_text : str, optional
        Template or column of the text in `others`, ``text`` by default.
    label : str, optional
        Column of a label in `others`: texts of one label belong together.
    settings : FinetuneSettings, optional
        How.
    device : str, default "auto"
        Where the encoder runs.
    on_epoch : callable, optional
        Called after every epoch with its number and mean loss; what it raises ends the training.
    progress : bool, default False
        Whether to show bars.

    Returns
    -------
    FinetuneReport
        Also written to ``finetuning.json`` in `out`.

    Raises
    ------
    InvalidInput
        If there are too few pairs, the folder holds something else, or such an encoder cannot be
        trained.
    UnsupportedModality
        If the encoder does not take a modality of the pairs.
    MissingDependency
        If a package is absent.
    """
    started = time.monotonic()
    settings = settings or FinetuneSettings()
    if settings.method == "lora":
        require_peft()
    folder = open_work_folder(Path(out), "fine-tuned", REPORT, encoder)
    before = _load(encoder, device)
    if isinstance(pairs, ContentPairs):
        contents = pairs
    else:
        contents = gather_pairs(pairs, folder / WORK / "media", text=text, other=other, image=image)
    for modality in sorted(set(contents.modalities)):
        before.require(modality)
    if others:
        before.require("text")
    domains = [
        divide_domain(one, settings.seed) for one in gather_domains(others, others_text, label)
    ]
    task = _Task(encoder, before, contents, domains, settings, folder, device, progress)
    return task.carry_out(on_epoch, started)


class _Task:
    """One fine-tuning: all that its steps share."""

    def __init__(
        self,
        spec: str,
        before: TorchEncoder,
        contents: ContentPairs,
        domains: list[DividedDomain],
        settings: FinetuneSettings,
        folder: Path,
        device: str,
        show: bool,
    ) -> None:
        self._spec, self._before, self._contents = spec, before, contents
        self._domains, self._settings, self._folder = domains, settings, folder
        self._device, self._show = device, show
        self._work = folder / WORK
        self._parts = _divide(contents, settings)
        self._anchors = list(dict.fromkeys(text for own in domains for text in own.anchors))

    def carry_out(
        self, on_epoch: Callable[[int, float], None] | None, started: float
    ) -> FinetuneReport:
        """Train, choose how much of the change is taken, save, and measure."""
        examples = Examples(self._contents, self._anchors)
        choosing = self._exam(CHOOSING)
        network = TunedNetwork(
            _load(self._spec, self._device),
            examples,
            sorted({*self._pairs(LEARNING).ravel(), *choosing.rows, *examples.anchor_rows}),
            self._settings,
            self._work,
            show=self._show,
        )
        history = self._train(network, examples, choosing, on_epoch)
        changes = network.changes()
        tried = try_shares(choosing, self._before, lambda share: self._candidate(changes, share))
        chosen = choose_share(tried, self._settings.max_forgetting)
        spec = self._save(changes, chosen.share, self._folder)
        after = _load(spec, self._device)
        shutil.rmtree(self._work / "shares", ignore_errors=True)
        measuring = self._exam(MEASURING)
        compared = compare(measuring.start_from(self._before), measuring.ask(after))
        report = FinetuneReport(
            before=self._spec,
            after=spec,
            before_fingerprint=self._before.fingerprint,
            after_fingerprint=after.fingerprint,
            rows_read=self._contents.rows_read,
            problems=self._contents.problems,
            contents=len(self._contents),
            pairs=len(self._contents.pairs),
            learned=len(self._pairs(LEARNING)),
            chosen=len(choosing.pairs),
            measured=len(measuring.pairs),
            anchors=len(self._anchors),
            trained_weights=sum(own.numel() for own in network.trained.values()),
            skipped_frozen=network.skips_frozen,
            losses=history.losses,
            qualities=history.scores,
            best_pass=history.best_epoch,
            tried=tried,
            share=chosen.share,
            compared=compared,
            settings=asdict(self._settings),
            seconds=time.monotonic() - started,
        )
        report.save(self._folder)
        return report

    def _train(
        self,
        network: TunedNetwork,
        examples: Examples,
        exam: Exam,
        on_epoch: Callable[[int, float], None] | None,
    ) -> TrainingHistory:
        batches = PairBatches(
            self._pairs(LEARNING),
            self._contents.pairs,
            self._contents.ordered,
            examples.anchor_rows,
            self._settings,
        )

        def measure() -> float:
            return float(exam.mark_of(network.encode(exam.rows.tolist())).quality.mean())

        def report(epoch: int, result: EpochResult) -> None:
            if epoch and on_epoch is not None:
                on_epoch(epoch, result.loss)

        return train_network(
            network,
            batches,
            self._anchor_vectors(),
            measure,
            self._settings,
            Checkpoint(self._work, self._key()),
            on_epoch=report,
            show=self._show,
        )

    def _pairs(self, part: int) -> Rows:
        return pairs_within(self._contents.pairs, self._parts, part)

    def _exam(self, part: int) -> Exam:
        return Exam(
            self._contents,
            self._parts,
            self._domains,
            part,
            self._work,
            bystanders=part == MEASURING,  # choices are made often, and must be cheap
            show=self._show,
        )

    def _anchor_vectors(self) -> FloatArray:
        if not self._anchors:
            return np.empty((0, self._before.dim), np.float32)
        return teacher_vectors(
            self._before,
            "text",
            [digest(text) for text in self._anchors],
            lambda rows: [self._anchors[row] for row in rows],
            self._work,
            label="encoding texts to hold on to",
            show=self._show,
        )

    def _candidate(self, changes: Changes, share: float) -> Encoder:
        folder = self._work / "shares" / f"{share:g}"
        return _load(self._save(changes, share, folder), self._device)

    def _save(self, changes: Changes, share: float, folder: Path) -> str:
        """Write the encoder with a share of the change."""
        encoder = load_encoder(self._spec, device="cpu", precision="fp32")
        trainable = require_trainable(encoder, self._spec)
        apply_changes(trainable, changes, share)
        return save_encoder(trainable, self._spec, folder)

    def _key(self) -> str:
        """Digest what decides how a training goes."""
        contents = self._contents
        parts = [self._spec, self._before.fingerprint]
        parts.append(json.dumps(asdict(self._settings), sort_keys=True))
        given = b"".join([*contents.digests, contents.pairs.tobytes()])
        held = b"".join(digest(text) for text in self._anchors)
        return digest("\n".join(parts).encode() + given + held).hex()


def _load(spec: str, device: str) -> TorchEncoder:
    encoder = load_encoder(spec, device=device, precision="fp32")
    return require_trainable(encoder, spec, "'local/text', or ")


def _divide(contents: ContentPairs, settings: FinetuneSettings) -> Rows:
    """Give the part of each content, and see to it that each part has pairs."""
    keys = keys_by_pairs(contents.digests, contents.pairs)
    parts = draw_parts(keys, settings.validation, settings.held_out, settings.seed)
    counts = {part: len(pairs_within(contents.pairs, parts, part)) for part in range(3)}
    if min(counts.values()) < LEAST:
        raise InvalidInput(
            f"of {len(contents.pairs)} pairs, {counts[LEARNING]} would be learned from, "
            f"{counts[CHOOSING]} chosen on and {counts[MEASURING]} measured on, and {LEAST} of "
            "each are needed; give more pairs, or other shares with choosing (--choosing) and "
            "held_out (--held-out)"
        )
    return parts
