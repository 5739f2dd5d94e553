"""Distil an encoder: a small student learns a teacher's vectors and is saved as an encoder."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from isthmus.digests import digest
from isthmus.encoders.backends.runtime import choose_runtime
from isthmus.encoders.encoder import Encoder
from isthmus.encoders.registry import load_encoder
from isthmus.encoders.training.cached_vectors import teacher_vectors
from isthmus.encoders.training.distillation.inputs import Contents, Rows, gather_contents
from isthmus.encoders.training.distillation.report import (
    REPORT,
    TIMED,
    Case,
    DistillReport,
    Recommendation,
    Speed,
    find_users,
    items_a_second,
    measure_quality,
    measure_recommendation,
    read_liked,
)
from isthmus.encoders.training.distillation.settings import DistillSettings
from isthmus.encoders.training.distillation.training import train_student
from isthmus.encoders.training.saving import WORK, open_work_folder
from isthmus.errors import UnsupportedModality
from isthmus.numerics.arrays import FloatArray
from isthmus.numerics.checkpoint import Checkpoint
from isthmus.schema import Modality

if TYPE_CHECKING:
    from isthmus.encoders.training.distillation.students import Student

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
    """Train a student to a teacher's vectors, save it as an encoder, and measure it.

    Everything that takes long is kept in the folder ``work`` under `out` as it is done: run the
    same again after an interrupt, and it goes on. The folder may be deleted afterwards.

    Parameters
    ----------
    teacher : str or Encoder
        A spec for `load_encoder`, or an encoder.
    student : str
        ``static``, for a table of token vectors; or the spec of a model of Transformers,
        Sentence Transformers or timm, which is trained further.
    contents : str, Path or list of Path; anything that holds items; or list of str or None
        Files, rows, or the texts themselves; for images, files and folders of them. What cannot
        be used is named in the report and left out.
    out : str or Path
        Folder for the student; new, or that of a distillation.
    modality : {"text", "image"}, default "text"
        What is distilled.
    text : str, optional
        Template or column of the text (of images, of their path); by default ``text``
        (``image``).
    label : str, optional
        Column of a label; contents of one label belong together, and the report tells how well
        both find them.
    interactions : path, glob, list of those, table, frame, or list of dicts, optional
        What users liked, columns user_id and item_id; the contents then have item ids, too. The
        report tells how well both recommend contents that were held out.
    settings : DistillSettings, optional
        How.
    device : str, default "auto"
        Where encoders run that are loaded here: the teacher, and the student when it is measured.
        A student is trained on the CPU.
    on_epoch : callable, optional
        Called after every epoch with its number and mean loss; what it raises ends the training.
    progress : bool, default False
        Whether to show bars.

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
    given = load_encoder(teacher, device=device) if isinstance(teacher, str) else teacher
    given.require(modality)
    _check_student(student, modality)
    liked = None if interactions is None else read_liked(interactions)
    found = gather_contents(contents, modality, text, label, identified=liked is not None)
    rows, held_out = found.divide(settings.held_out, settings.seed)
    users = None if liked is None else find_users(liked, found.places, held_out)
    network = _make_network(student, found, given.dim, settings)
    targets = teacher_vectors(
        given, modality, found.digests, found.load, folder / WORK, show=progress
    )
    learner = network or _make_static(given, found, rows, targets, settings, folder, progress)
    key = _key(student, given, found, settings)
    losses = train_student(
        learner,
        targets,
        rows,
        settings,
        Checkpoint(folder / WORK, key),
        on_epoch=None if on_epoch is None else lambda epoch, result: on_epoch(epoch, result.loss),
        show=progress,
    )
    spec = learner.save(folder)
    made = load_encoder(spec, device=device)
    sample = found.load(held_out[: TIMED[modality]].tolist())
    labels = None if found.labels is None else [found.labels[row] for row in held_out]
    report = DistillReport(
        teacher=given.spec,
        student=spec,
        teacher_fingerprint=given.fingerprint,
        student_fingerprint=made.fingerprint,
        modality=modality,
        rows_read=found.rows_read,
        distinct=len(found),
        trained=len(rows),
        problems=found.problems,
        losses=losses,
        speed=_measure_speed(given, made, sample, modality, device),
        teacher_bytes=getattr(given, "bytes", None),
        student_bytes=_size_of(folder),
        quality=measure_quality(
            targets[held_out], _encode(made, found, held_out, modality), labels
        ),
        recommendation=_recommendation(made, found, held_out, targets, users),
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
    users: Sequence[Case] | None,
) -> Recommendation | None:
    """Measure what the student changes for users, where it is known what they like."""
    if users is None:
        return None
    needed = np.unique(np.concatenate([held_out, *(user.known for user in users)]))
    vectors = np.zeros((len(contents), student.dim), np.float32)
    vectors[needed] = _encode(student, contents, needed, contents.modality)
    return measure_recommendation(targets, vectors, users, held_out)


def _check_student(student: str, modality: Modality) -> None:
    if student != STATIC:
        return
    from isthmus.encoders.training.distillation.static_student import require_model2vec

    require_model2vec()
    if modality != "text":
        raise UnsupportedModality(
            f"a static student takes text, not {modality}; give the spec of a small model to train"
        )


def _make_network(
    student: str, contents: Contents, dim: int, settings: DistillSettings
) -> Student | None:
    """Load a student that is a network, before the teacher is asked for long; else None."""
    if student == STATIC:
        return None
    from isthmus.encoders.training.distillation.students import NetworkStudent

    return NetworkStudent(student, contents, dim, settings.seed)


def _make_static(
    teacher: Encoder,
    contents: Contents,
    rows: Rows,
    targets: FloatArray,
    settings: DistillSettings,
    folder: Path,
    progress: bool,
) -> Student:
    from isthmus.encoders.models.static import TokenBags, WordTokenizer, padding_id_of
    from isthmus.encoders.training.distillation.static_student import (
        StaticStudent,
        starting_vectors,
        student_tokenizer,
        tokens_of,
    )

    learned = [contents.values[row] for row in rows]
    only_seen = settings.pieces == "seen"
    tokenizer = student_tokenizer(teacher, learned, settings.max_words, only_seen=only_seen)
    tokens = tokens_of(tokenizer)
    vectors = teacher_vectors(
        teacher,
        "text",
        [digest(token) for token in tokens],
        lambda wanted: [tokens[row] for row in wanted],
        folder / WORK,
        label="the teacher's tokens",
        show=progress,
    )
    bags = WordTokenizer(tokenizer, padding_id_of(tokenizer))(contents.values).split()
    start = starting_vectors(vectors, TokenBags.join([bags[row] for row in rows]), targets[rows])
    return StaticStudent(tokenizer, start, bags, settings.storage)


def _key(student: str, teacher: Encoder, contents: Contents, settings: DistillSettings) -> str:
    """Digest what decides how a training goes."""
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
        teacher=items_a_second(teacher, sample, modality),
        student=items_a_second(student, sample, modality),
    )


def _encode(encoder: Encoder, contents: Contents, rows: Rows, modality: Modality) -> FloatArray:
    """Encode contents, so many at once that images fit into memory."""
    at_once = 8 * TIMED[modality]
    parts = [rows[start : start + at_once].tolist() for start in range(0, len(rows), at_once)]
    return np.concatenate([encoder.encode(contents.load(part), modality) for part in parts])


def _size_of(folder: Path) -> int:
    """Give the bytes of a saved encoder: all files but those of the work and the report."""
    files = [f for f in folder.rglob("*") if f.is_file() and f.name != REPORT]
    return sum(f.stat().st_size for f in files if WORK not in f.relative_to(folder).parts)
