"""Train the alignment of ``local`` that is part of the package, and write its model card.

``OMP_NUM_THREADS=1 python benchmarks/local_alignment.py`` (data: ISTHMUS_DATA, which is not part
of the package; ten minutes on one core, once the vectors are encoded)

A fifth of each set is held out for the figures of the card.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from common.picture_pairs import SETS, read_pairs

from isthmus.encoders import load_encoders
from isthmus.encoders.alignment import PACKAGED, Alignment
from isthmus.encoders.projection_head import ProjectionHead
from isthmus.encoders.training.alignment.cross_modal_recall import CrossModalRecall, recall_by_set
from isthmus.encoders.training.alignment.fit import fit_alignment
from isthmus.encoders.training.settings import AlignmentSettings

DIM = 480  # 120 for each set and for all of them together
CARD = """# The alignment of `local`

Heads that bring the text vectors of all-MiniLM-L6-v2 and the picture vectors of \
EfficientNet-Lite0 into one space of {dim} dimensions: linear maps, one for each set and one \
shared by all sets, weighted by the similarity of an input to the set. Trained by \
`benchmarks/local_alignment.py` (start: regularised CCA; then a symmetric contrastive loss).

Fingerprint `{fingerprint}`.

## Data

| set | training pairs | content | terms |
| --- | ---: | --- | --- |
| fashion | {fashion:,} | titles and pictures (60 by 80 pixels) of the Myntra catalogue | no \
licence stated |
| posters | {posters:,} | titles and genres of MovieLens films, and their posters | \
non-commercial research; posters are their studios' |
| flickr | {flickr:,} | captions of Flickr8k, five per picture | research |

The data is not part of the package, and no picture or text can be read out of the heads: they \
are matrices of {numbers:,} numbers, stored as float16 values. Users who may not use a model \
trained on research data create spaces with `alignment=None` and train an alignment on other \
pairs with `isthmus align`.

## Evaluation

Recall@10 on a fifth of each set, held out with everything that shares a text or a picture with \
it. Every picture with the same text is relevant.

| set | texts | pictures | text to picture | chance | picture to text | chance |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
{rows}

## Limits

English only, like MiniLM. The training data covers clothes, posters and everyday scenes; other \
content, such as paintings, maps or faces, is placed by the ImageNet features of the picture \
encoder. The alignment distinguishes kinds of things and scenes, not counts, positions, names or \
writing. For another catalogue, `isthmus align` on a few thousand of its pairs gives better \
results.
"""


def main() -> None:
    """Train and evaluate the alignment, and write it with its model card."""
    arguments = _arguments()
    training, test = read_pairs(arguments.work, SETS).split(0.2, 100)
    result = fit_alignment(training, AlignmentSettings(dim=DIM), progress=True)
    encoders = load_encoders("local", device="cpu")
    heads = {"text": _half(result.heads[0]), "image": _half(result.heads[1])}
    recall = recall_by_set((heads["text"], heads["image"]), test)
    report = {**result.report, "test": {n: c.as_dict() for n, c in recall.items()}}
    alignment = Alignment(
        heads,
        {modality: encoder.spec for modality, encoder in encoders.items()},
        {modality: dict(encoder.components) for modality, encoder in encoders.items()},
        report,
    )
    alignment.save(arguments.out)
    (arguments.out / "MODEL_CARD.md").write_text(_card(alignment, recall, report), "utf-8")
    print((arguments.out / "MODEL_CARD.md").read_text("utf-8"))


def _half(head: ProjectionHead) -> ProjectionHead:
    """Return a head rounded to float16, which has no measurable effect on recall."""
    return replace(
        head, **{name: a.astype("f2").astype("f4") for name, a in head.tensors().items()}
    )


def _card(
    alignment: Alignment, recall: Mapping[str, CrossModalRecall], report: Mapping[str, Any]
) -> str:
    rows = [
        f"| {name} | {c.texts:,} | {c.images:,} | {c.text_to_image:.3f} "
        f"| {c.chance_text_to_image:.3f} | {c.image_to_text:.3f} | {c.chance_image_to_text:.3f} |"
        for name, c in recall.items()
    ]
    return CARD.format(
        dim=alignment.dim,
        fingerprint=alignment.fingerprint,
        numbers=sum(a.size for h in alignment.heads.values() for a in h.tensors().values()),
        rows="\n".join(rows),
        **report["pairs"],
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("alignment-work"))
    parser.add_argument("--out", type=Path, default=PACKAGED)
    return parser.parse_args()


if __name__ == "__main__":
    main()
