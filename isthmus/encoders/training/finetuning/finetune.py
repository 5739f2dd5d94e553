"""Fine-tune an encoder on pairs, save it as an encoder, and measure what it gains and forgets."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from isthmus.digests import digest
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.registry import load_encoder
from isthmus.encoders.training.cached_vectors import encode_cached
from isthmus.encoders.training.finetuning.network import (
    TunedNetwork,
    WeightChanges,
    apply_changes,
    require_peft,
)
from isthmus.encoders.training.finetuning.pairs import (
    TEST,
    TRAINING,
    VALIDATION,
    ContentPairs,
    Pairs,
    TrainingContents,
    assign_splits,
    component_keys,
    gather_pairs,
    pairs_of_split,
)
from isthmus.encoders.training.finetuning.quality import (
    TARGET,
    DomainQuality,
    Evaluation,
    SplitDomain,
    gather_domains,
    split_domain,
)
from isthmus.encoders.training.finetuning.report import (
    REPORT,
    FinetuneReport,
    ShareQuality,
    compare,
)
from isthmus.encoders.training.finetuning.training import PairBatches, train_network
from isthmus.encoders.training.retrieval_quality import Rows
from isthmus.encoders.training.saving import (
    WORK,
    open_work_folder,
    require_trainable,
    save_encoder,
)
from isthmus.encoders.training.settings import FinetuneSettings
from isthmus.errors import InvalidInput
from isthmus.numerics.arrays import FloatArray
from isthmus.numerics.checkpoint import Checkpoint
from isthmus.numerics.training import EpochResult, TrainingHistory

if TYPE_CHECKING:
    from isthmus.encoders.backends.torch_encoder import TorchEncoder

MIN_SPLIT_PAIRS: Final = 4
SHARES: Final = (1.0, 0.75, 0.5, 0.25)


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
    """Train an encoder on contents that belong together, and save it as an encoder.

    Embeddings and checkpoints are kept in the folder ``work`` under `out`: after an interruption
    the same call resumes. The folder may be deleted afterwards.

    Parameters
    ----------
    encoder : str
        Spec of the encoder to start from: ``local/text``, a model of Transformers, Sentence
        Transformers or timm, or an encoder that an earlier fine-tuning saved.
    pairs : list of (str, str); path, list of those, table, frame, or list of dicts; ContentPairs
        Contents that belong together.
    out : str or Path
        Folder for the encoder; new, or that of a fine-tuning.
    others : sequence, optional
        Other domains, which should not be forgotten: each an `OtherDomain`, a file or other
        source of rows, or a list of texts.
    text : str, optional
        Template or column of the text of a pair, ``text`` by default.
    other : str, optional
        Template or column of the text that belongs to it, ``other`` by default.
    image : str, optional
        Column of the image that belongs to it, instead of `other`.
    others_text : str, optional
        Template or column of the text in `others`, ``text`` by default.
    label : str, optional
        Column of a label in `others`: texts of one label belong together.
    settings : FinetuneSettings, optional
        Hyperparameters.
    device : str, default "auto"
        Device of the encoder.
    on_epoch : callable, optional
        Called after every epoch with its number and mean loss; what it raises ends the training.
    progress : bool, default False
        Whether to show progress bars.

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
        split_domain(domain, settings.seed) for domain in gather_domains(others, others_text, label)
    ]
    finetuning = _Finetuning(encoder, before, contents, domains, settings, folder, device, progress)
    return finetuning.run(on_epoch, started)


class _Finetuning:
    """One fine-tuning: the state that its steps share."""

    def __init__(
        self,
        spec: str,
        before: TorchEncoder,
        contents: ContentPairs,
        domains: list[SplitDomain],
        settings: FinetuneSettings,
        folder: Path,
        device: str,
        show: bool,
    ) -> None:
        self._spec, self._before, self._contents = spec, before, contents
        self._domains, self._settings, self._folder = domains, settings, folder
        self._device, self._show = device, show
        self._work = folder / WORK
        self._splits = _split_contents(contents, settings)
        self._anchors = list(dict.fromkeys(text for one in domains for text in one.anchors))

    def run(self, on_epoch: Callable[[int, float], None] | None, started: float) -> FinetuneReport:
        """Train, choose the share of the change, save, and test."""
        contents = TrainingContents(self._contents, self._anchors)
        validation = self._evaluation(VALIDATION)
        training_rows = self._pairs(TRAINING).ravel()
        network = TunedNetwork(
            _load(self._spec, self._device),
            contents,
            sorted({*training_rows, *validation.rows, *contents.anchor_rows}),
            self._settings,
            self._work,
            show=self._show,
        )
        history = self._train(network, contents, validation, on_epoch)
        changes = network.changes()
        shares = try_shares(validation, self._before, lambda share: self._candidate(changes, share))
        chosen = choose_share(shares, self._settings.max_forgetting)
        spec = self._save(changes, chosen.share, self._folder)
        after = _load(spec, self._device)
        shutil.rmtree(self._work / "shares", ignore_errors=True)
        test = self._evaluation(TEST)
        report = FinetuneReport(
            before=self._spec,
            after=spec,
            before_fingerprint=self._before.fingerprint,
            after_fingerprint=after.fingerprint,
            rows_read=self._contents.rows_read,
            problems=self._contents.problems,
            contents=len(self._contents),
            pairs=len(self._contents.pairs),
            training_pairs=len(self._pairs(TRAINING)),
            validation_pairs=len(validation.pairs),
            test_pairs=len(test.pairs),
            anchors=len(self._anchors),
            trained_weights=sum(weights.numel() for weights in network.trained.values()),
            skipped_frozen=network.skips_frozen,
            losses=history.losses,
            validation_scores=history.scores,
            best_epoch=history.best_epoch,
            shares=shares,
            share=chosen.share,
            comparisons=compare(
                test.evaluate(self._before, self._before), test.evaluate(after, self._before)
            ),
            settings=asdict(self._settings),
            seconds=time.monotonic() - started,
        )
        report.save(self._folder)
        return report

    def _train(
        self,
        network: TunedNetwork,
        contents: TrainingContents,
        validation: Evaluation,
        on_epoch: Callable[[int, float], None] | None,
    ) -> TrainingHistory:
        batches = PairBatches(
            self._pairs(TRAINING),
            self._contents.pairs,
            self._contents.ordered,
            contents.anchor_rows,
            self._settings,
        )

        def measure() -> float:
            vectors = network.encode(validation.rows.tolist())
            return float(validation.target_quality(vectors).quality.mean())

        def report_epoch(epoch: int, result: EpochResult) -> None:
            if epoch and on_epoch is not None:
                on_epoch(epoch, result.loss)

        return train_network(
            network,
            batches,
            self._anchor_vectors(),
            measure,
            self._settings,
            Checkpoint(self._work, self._key()),
            on_epoch=report_epoch,
            show=self._show,
        )

    def _pairs(self, split: int) -> Pairs:
        return pairs_of_split(self._contents.pairs, self._splits, split)

    def _evaluation(self, split: int) -> Evaluation:
        return Evaluation(
            self._contents,
            self._splits,
            self._domains,
            split,
            self._work,
            distractors=split == TEST,  # validation happens often and must be cheap
            show=self._show,
        )

    def _anchor_vectors(self) -> FloatArray:
        if not self._anchors:
            return np.empty((0, self._before.dim), np.float32)
        return encode_cached(
            self._before,
            "text",
            [digest(text) for text in self._anchors],
            lambda rows: [self._anchors[row] for row in rows],
            self._work,
            label="encoding anchor texts",
            show=self._show,
        )

    def _candidate(self, changes: WeightChanges, share: float) -> Encoder:
        folder = self._work / "shares" / f"{share:g}"
        return _load(self._save(changes, share, folder), self._device)

    def _save(self, changes: WeightChanges, share: float, folder: Path) -> str:
        """Write the encoder with a share of the change."""
        encoder = load_encoder(self._spec, device="cpu", precision="fp32")
        trainable = require_trainable(encoder, self._spec)
        apply_changes(trainable, changes, share)
        return save_encoder(trainable, self._spec, folder)

    def _key(self) -> str:
        """Return a digest of everything that the trained weights depend on."""
        contents = self._contents
        parts = [self._spec, self._before.fingerprint]
        parts.append(json.dumps(asdict(self._settings), sort_keys=True))
        data = b"".join([*contents.digests, contents.pairs.tobytes()])
        anchors = b"".join(digest(text) for text in self._anchors)
        return digest("\n".join(parts).encode() + data + anchors).hex()


def try_shares(
    validation: Evaluation,
    before: Encoder,
    changed: Callable[[float], Encoder],
    shares: Sequence[float] = SHARES,
) -> list[ShareQuality]:
    """Evaluate the encoder before, and with each share of the change.

    Parameters
    ----------
    validation : Evaluation
        Evaluates encoders on the validation split.
    before : Encoder
        The encoder before fine-tuning.
    changed : callable
        Returns the encoder with a share of the change.
    shares : sequence of float
        Shares of the change.
    """
    start = validation.evaluate(before, before)
    qualities = [_share_quality(0.0, start, start)]
    for share in shares:
        evaluated = validation.evaluate(changed(share), before)
        qualities.append(_share_quality(share, evaluated, start))
    return qualities


def choose_share(shares: Sequence[ShareQuality], allowed: float) -> ShareQuality:
    """Return the share with the best target among those that forget no more than is allowed.

    Examples
    --------
    >>> shares = [ShareQuality(s, s, {"books": 1 - s / 10}) for s in (0, 0.5, 1)]
    >>> choose_share(shares, 0.06).share
    0.5
    """
    return max(
        (one for one in shares if not one.forgets(allowed)),
        key=lambda one: (one.target, -one.share),
    )


def _share_quality(
    share: float, after: Mapping[str, DomainQuality], before: Mapping[str, DomainQuality]
) -> ShareQuality:
    means = {name: float(one.quality.mean()) for name, one in after.items()}
    kept = {
        name: mean / max(float(before[name].quality.mean()), 1e-12)
        for name, mean in means.items()
        if name != TARGET
    }
    return ShareQuality(share, means[TARGET], kept)


def _load(spec: str, device: str) -> TorchEncoder:
    encoder = load_encoder(spec, device=device, precision="fp32")
    return require_trainable(encoder, spec, "'local/text', or ")


def _split_contents(contents: ContentPairs, settings: FinetuneSettings) -> Rows:
    """Return the split of each content; raise `InvalidInput` if a split has too few pairs."""
    keys = component_keys(contents.digests, contents.pairs)
    splits = assign_splits(keys, settings.validation, settings.held_out, settings.seed)
    counts = [len(pairs_of_split(contents.pairs, splits, split)) for split in range(3)]
    if min(counts) < MIN_SPLIT_PAIRS:
        raise InvalidInput(
            f"of {len(contents.pairs)} pairs, {counts[TRAINING]} would be learned from, "
            f"{counts[VALIDATION]} validated on and {counts[TEST]} tested on, and "
            f"{MIN_SPLIT_PAIRS} of each are needed; give more pairs, or other shares with "
            "validation (--validation) and held_out (--held-out)"
        )
    return splits
