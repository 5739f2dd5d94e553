"""Distil an encoder: train a small student on a teacher's vectors, save it, and measure it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from isthmus.digests import digest
from isthmus.encoders.backends.runtime import choose_runtime
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.models.static import TokenBags, WordTokenizer, padding_id_of
from isthmus.encoders.registry import load_encoder
from isthmus.encoders.training.cached_vectors import encode_cached
from isthmus.encoders.training.distillation.inputs import Contents, gather_contents
from isthmus.encoders.training.distillation.report import (
    REPORT,
    TIMED,
    DistillReport,
    Recommendation,
    Speed,
    UserCase,
    contents_per_second,
    measure_quality,
    measure_recommendation,
    read_user_items,
    split_users,
)
from isthmus.encoders.training.distillation.static_student import (
    StaticStudent,
    build_tokenizer,
    initial_vectors,
    require_model2vec,
    token_texts,
)
from isthmus.encoders.training.distillation.students import NetworkStudent, Student
from isthmus.encoders.training.losses import cosine_loss, similarity_loss
from isthmus.encoders.training.retrieval_quality import Rows
from isthmus.encoders.training.saving import WORK, open_work_folder
from isthmus.encoders.training.settings import DistillSettings
from isthmus.errors import UnsupportedModality
from isthmus.numerics.arrays import FloatArray
from isthmus.numerics.checkpoint import Checkpoint
from isthmus.numerics.training import EpochResult, OnEpoch, TrainingLoop, linear_decay
from isthmus.schema import Modality

if TYPE_CHECKING:
    import torch


STATIC: Final = "static"


def distill(
    teacher: str | Encoder,
    student: str,
    contents: Any,
    out: str | Path,
    *,
    modality: Modality = "text",
    text: str | None = None,
    label: str | None = None,
    interactions: Any = None,
    settings: DistillSettings | None = None,
    device: str = "auto",
    on_epoch: Callable[[int, float], None] | None = None,
    progress: bool = False,
) -> DistillReport:
    """Train a student on a teacher's vectors, save it as an encoder, and measure it.

    Embeddings and checkpoints are kept in the folder ``work`` under `out`: after an interruption
    the same call resumes. The folder may be deleted afterwards.

    Parameters
    ----------
    teacher : str or Encoder
        A spec for `load_encoder`, or an encoder.
    student : str
        ``static``, for a table of token vectors; or the spec of a model of Transformers,
        Sentence Transformers or timm, which is trained further.
    contents : str, Path or list of Path; anything that holds items; or list of str or None
        Files, rows, or the texts themselves; for images, files and folders of them. Contents that
        cannot be used are listed in the report and left out.
    out : str or Path
        Folder for the student; new, or that of a distillation.
    modality : {"text", "image"}, default "text"
        What is distilled.
    text : str, optional
        Template or column of the text (of images, of their path); by default ``text``
        (``image``).
    label : str, optional
        Column of a label: the report measures retrieval of contents of the same label.
    interactions : path, glob, list of those, table, frame, or list of dicts, optional
        What users liked, columns user_id and item_id; the contents then need item ids. The report
        measures recommendation of held-out contents.
    settings : DistillSettings, optional
        Hyperparameters.
    device : str, default "auto"
        Device of the encoders that are loaded here: the teacher, and the student when it is
        measured. A student is trained on the CPU.
    on_epoch : callable, optional
        Called after every epoch with its number and mean loss; what it raises ends the training.
    progress : bool, default False
        Whether to show progress bars.

    Returns
    -------
    DistillReport
        Also written to ``distillation.json`` in `out`.

    Raises
    ------
    InvalidInput
        If there are too few contents, the folder holds something else, or such a student cannot
        be trained.
    UnsupportedModality
        If the teacher, or the student, does not take the modality.
    MissingDependency
        If a package is absent.
    """
    started = time.monotonic()
    settings = settings or DistillSettings()
    sources = (teacher if isinstance(teacher, str) else teacher.spec, student)
    folder = open_work_folder(Path(out), "distilled", REPORT, *sources)
    teacher = load_encoder(teacher, device=device) if isinstance(teacher, str) else teacher
    teacher.require(modality)
    _check_student(student, modality)
    user_items = None if interactions is None else read_user_items(interactions)
    gathered = gather_contents(contents, modality, text, label, with_ids=user_items is not None)
    rows, held_out = gathered.split(settings.held_out, settings.seed)
    users = None
    if user_items is not None:
        users = split_users(user_items, gathered.item_rows, held_out)
    network = None  # loaded before the teacher encodes, so that a bad spec fails at once
    if student != STATIC:
        network = NetworkStudent(student, gathered, teacher.dim, settings.seed)
    targets = encode_cached(
        teacher,
        modality,
        gathered.digests,
        gathered.load,
        folder / WORK,
        label="the teacher's vectors",
        show=progress,
    )
    trainee: Student = network or _static_student(
        teacher, gathered, rows, targets, settings, folder, progress
    )

    def report_epoch(epoch: int, result: EpochResult) -> None:
        if on_epoch is not None:
            on_epoch(epoch, result.loss)

    losses = train_student(
        trainee,
        targets,
        rows,
        settings,
        Checkpoint(folder / WORK, _key(student, teacher, gathered, settings)),
        on_epoch=report_epoch,
        show=progress,
    )
    spec = trainee.save(folder)
    made = load_encoder(spec, device=device)
    sample = gathered.load(held_out[: TIMED[modality]].tolist())
    labels = None if gathered.labels is None else [gathered.labels[row] for row in held_out]
    report = DistillReport(
        teacher=teacher.spec,
        student=spec,
        teacher_fingerprint=teacher.fingerprint,
        student_fingerprint=made.fingerprint,
        modality=modality,
        rows_read=gathered.rows_read,
        distinct=len(gathered),
        trained=len(rows),
        problems=gathered.problems,
        losses=losses,
        speed=_measure_speed(teacher, made, sample, modality, device),
        teacher_bytes=getattr(teacher, "bytes", None),
        student_bytes=_size_of(folder),
        quality=measure_quality(
            targets[held_out], _encode(made, gathered, held_out, modality), labels
        ),
        recommendation=_recommendation(made, gathered, held_out, targets, users),
        settings=asdict(settings),
        seconds=time.monotonic() - started,
    )
    report.save(folder)
    return report


def _recommendation(
    student: Encoder,
    contents: Contents,
    held_out: Rows,
    targets: FloatArray,
    users: Sequence[UserCase] | None,
) -> Recommendation | None:
    """Measure recommendation by both encoders, where interactions were given."""
    if users is None:
        return None
    needed = np.unique(np.concatenate([held_out, *(user.history for user in users)]))
    vectors = np.zeros((len(contents), student.dim), np.float32)
    vectors[needed] = _encode(student, contents, needed, contents.modality)
    return measure_recommendation(targets, vectors, users, held_out)


def _check_student(student: str, modality: Modality) -> None:
    if student != STATIC:
        return
    require_model2vec()
    if modality != "text":
        raise UnsupportedModality(
            f"a static student takes text, not {modality}; give the spec of a small model to train"
        )


def _static_student(
    teacher: Encoder,
    contents: Contents,
    rows: Rows,
    targets: FloatArray,
    settings: DistillSettings,
    folder: Path,
    progress: bool,
) -> StaticStudent:
    texts = [contents.values[row] for row in rows]
    only_seen = settings.pieces == "seen"
    tokenizer = build_tokenizer(teacher, texts, settings.max_words, only_seen=only_seen)
    tokens = token_texts(tokenizer)
    token_vectors = encode_cached(
        teacher,
        "text",
        [digest(token) for token in tokens],
        lambda numbers: [tokens[number] for number in numbers],
        folder / WORK,
        label="the teacher's vectors of tokens",
        show=progress,
    )
    bags = WordTokenizer(tokenizer, padding_id_of(tokenizer))(contents.values).split()
    training_bags = TokenBags.join([bags[row] for row in rows])
    start = initial_vectors(token_vectors, training_bags, targets[rows])
    return StaticStudent(tokenizer, start, bags, settings.storage)


def _key(student: str, teacher: Encoder, contents: Contents, settings: DistillSettings) -> str:
    """Return a digest of everything that the trained student depends on."""
    parts = [student, teacher.fingerprint, json.dumps(asdict(settings), sort_keys=True)]
    return digest("\n".join(parts).encode() + b"".join(contents.digests)).hex()


def _measure_speed(
    teacher: Encoder, student: Encoder, sample: Any, modality: Modality, device: str
) -> Speed:
    import torch

    return Speed(
        contents=len(sample),
        threads=torch.get_num_threads(),
        device=str(choose_runtime(device).device),
        teacher=contents_per_second(teacher, sample, modality),
        student=contents_per_second(student, sample, modality),
    )


def _encode(encoder: Encoder, contents: Contents, rows: Rows, modality: Modality) -> FloatArray:
    """Encode contents in parts, so that decoded images fit into memory."""
    at_once = 8 * TIMED[modality]
    parts = [rows[start : start + at_once].tolist() for start in range(0, len(rows), at_once)]
    return np.concatenate([encoder.encode(contents.load(part), modality) for part in parts])


def _size_of(folder: Path) -> int:
    """Return the bytes of a saved encoder: all files except the work folder and the report."""
    files = [f for f in folder.rglob("*") if f.is_file() and f.name != REPORT]
    return sum(f.stat().st_size for f in files if WORK not in f.relative_to(folder).parts)


def train_student(
    student: Student,
    targets: FloatArray,
    rows: Rows,
    settings: DistillSettings,
    checkpoint: Checkpoint,
    *,
    on_epoch: OnEpoch | None = None,
    show: bool = False,
) -> list[float]:
    """Train a student in place.

    An interrupted run resumes from its checkpoint and ends with the same student.

    Parameters
    ----------
    student : Student
        The student.
    targets : numpy.ndarray
        float32, shape (n_contents, dim): the teacher's vectors, of unit norm.
    rows : numpy.ndarray
        int64: the rows of `targets` to train on.
    settings : DistillSettings
        Hyperparameters.
    checkpoint : Checkpoint
        Where the run resumes from.
    on_epoch : callable, optional
        Called after every epoch; what it raises ends the training.
    show : bool, default False
        Whether to show a progress bar.

    Returns
    -------
    list of float
        Mean loss of each epoch.
    """
    size = min(settings.batch_size or student.batch, len(rows))
    steps = len(rows) // size  # an epoch leaves out the rows of an incomplete batch

    def batches(epoch: int) -> Iterator[Rows]:
        order = np.random.default_rng([settings.seed, epoch - 1]).permutation(rows)
        return (order[step * size : (step + 1) * size] for step in range(steps))

    def loss(batch: Rows) -> torch.Tensor:
        import torch

        teacher = torch.from_numpy(targets[batch])  # (n, teacher dim)
        vectors, mapped = student.vectors(batch.tolist())  # (n, student dim), (n, teacher dim)
        total = cosine_loss(mapped, teacher)
        if settings.similarity_weight:
            similarity = similarity_loss(vectors, teacher, settings.temperature)
            total = total + settings.similarity_weight * similarity
        return total

    optimizer = student.optimizer(settings.learning_rate or student.rate)
    loop = TrainingLoop(
        loss,
        batches,
        optimizer,
        settings.epochs,
        schedule=linear_decay(optimizer, settings.epochs * steps),
        model=student,
        checkpoint=checkpoint,
    )
    history = loop.run("training the student", steps_per_epoch=steps, on_epoch=on_epoch, show=show)
    return history.losses
