"""Fine-tuning of ``local/text`` on co-occurring items: gain in the target domain, and forgetting.

``python benchmarks/finetuning.py --out FOLDER`` (some ten minutes on one core; an interrupted run
resumes, and vectors of the original encoder are cached); ``--frozen`` instead measures the time
saved by running frozen layers only once.

Target: titles of Office products; pairs are products with at least two users in common
(``--least-common``), more often than chance, ten pairs per product. Splits are by a hash of the
title: test titles are in no training pair and are not used for model selection.

Other domains, for forgetting: Arts & Crafts by co-occurrence of its items; fashion titles with
equal attributes; film titles with equal genres; captions of the same photo. The last three have
``--texts`` texts each.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from scipy.sparse import csr_matrix

from isthmus import FinetuneSettings, OtherDomain, finetune, load_encoder
from isthmus.cli.show_reports import show_finetuning
from isthmus.digests import digest
from isthmus.encoders.training.finetuning import network as network_module
from isthmus.encoders.training.finetuning.layers import MAX_STATE_BYTES
from isthmus.encoders.training.finetuning.network import TunedNetwork
from isthmus.encoders.training.finetuning.pairs import ContentPairs, TrainingContents
from isthmus.encoders.training.finetuning.training import PairBatches
from isthmus.encoders.training.saving import require_trainable
from isthmus.numerics.co_occurrence import co_occurring_pairs
from isthmus.operations.finetuning import pairs_of_texts

DATA = Path(os.environ.get("ISTHMUS_DATA", "../shared/data"))


def column(folder: str, name: str, file: str = "items") -> list[str]:
    """Return the values of a column, stripped of white space."""
    values = pq.read_table(DATA / folder / f"{file}.parquet", columns=[name])[name].to_pylist()
    return [(value or "").strip() for value in values]


def shop_pairs(domain: str, least_common: int = 2) -> tuple[list[str], np.ndarray]:
    """Return the titles of a domain, and the pairs of them that co-occur in user histories."""
    table = pq.read_table(DATA / "amazon_arts_office" / "items.parquet").to_pylist()
    items = [row for row in table if row["domain"] == domain]
    place = {row["item_id"]: number for number, row in enumerate(items)}
    interactions = pq.read_table(DATA / "amazon_arts_office" / "interactions.parquet").to_pylist()
    events = [
        (row["user_id"], place[row["item_id"]]) for row in interactions if row["item_id"] in place
    ]
    users = {user: number for number, user in enumerate(dict.fromkeys(user for user, _ in events))}
    rows, columns = [users[user] for user, _ in events], [item for _, item in events]
    likes = csr_matrix((np.ones(len(events)), (rows, columns)), shape=(len(users), len(items)))
    titles = [(row["title"] or "").strip() for row in items]
    return titles, co_occurring_pairs(likes, min_common_users=least_common)


def other_domains(other_shop: str, max_texts: int) -> list[OtherDomain]:
    """Return the other domains: the other shop with pairs, the rest with labels."""
    titles, pairs = shop_pairs(other_shop)
    used, rows = np.unique(pairs, return_inverse=True)
    captions, photos = (column("flickr8k_1000", n, "captions") for n in ("caption", "image"))
    return [
        OtherDomain(other_shop, [titles[n] for n in used], pairs=rows.reshape(pairs.shape)),
        labelled_domain(
            "fashion", *text_and_label("fashion_products", "title", "attributes"), max_texts
        ),
        labelled_domain(
            "films", *text_and_label("movielens_posters", "title", "genres"), max_texts
        ),
        labelled_domain("captions", captions, photos, max_texts),
    ]


def text_and_label(folder: str, text: str, label: str) -> tuple[list[str], list[str]]:
    """Return the text and label columns of items."""
    return column(folder, text), column(folder, label)


def labelled_domain(name: str, texts: list[str], labels: list[str], max_texts: int) -> OtherDomain:
    """Return a domain whose texts with equal labels are relevant; labels are sampled by hash."""
    order = sorted(set(labels), key=digest)
    texts_of: dict[str, list[str]] = {label: [] for label in order}
    for text, label in zip(texts, labels, strict=True):
        if text and label:
            texts_of[label].append(text)
    sample = [(text, label) for label in order for text in texts_of[label]][:max_texts]
    return OtherDomain(name, [text for text, _ in sample], [label for _, label in sample])


def target(name: str, least_common: int = 2) -> ContentPairs:
    """Return the pairs of the target."""
    return pairs_of_texts(*shop_pairs(name, least_common))


def time_frozen(spec: str, folder: Path, settings: FinetuneSettings, steps: int = 2) -> None:
    """Print the seconds of a step with frozen layers run in each step, and run once in advance."""
    contents = target("office")
    pair_batches = PairBatches(
        contents.pairs, contents.pairs, False, range(0), replace(settings, anchor_weight=0)
    )
    batches = [one.rows.tolist() for one in islice(pair_batches.of_epoch(1), steps)]
    rows = sorted({row for batch in batches for row in batch})
    folder.mkdir(parents=True, exist_ok=True)
    for layers in (6, settings.layers):
        layer_settings = replace(settings, layers=layers)
        for max_state_bytes in (0,) if layers == 6 else (0, MAX_STATE_BYTES):
            network_module.MAX_STATE_BYTES = max_state_bytes
            encoder = require_trainable(load_encoder(spec, device="cpu"), spec)
            start = time.perf_counter()
            network = TunedNetwork(
                encoder, TrainingContents(contents, []), rows, layer_settings, folder
            )
            setup_seconds = time.perf_counter() - start
            seconds = []
            for batch in batches:
                start = time.process_time()
                network.vectors(batch).sum().backward()
                seconds.append(time.process_time() - start)
            cached_note = (
                f"; run once for {len(rows)} texts in {setup_seconds:.1f} s"
                if max_state_bytes
                else ""
            )
            print(
                f"{layers} layers trained, {statistics.median(seconds):.2f} s a step{cached_note}"
            )


def main() -> None:
    """Fine-tune, and print the report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--encoder", default="local/text")
    parser.add_argument("--target", choices=["office", "arts_crafts"], default="office")
    parser.add_argument(
        "--least-common", type=int, default=2, help="Minimum common users of a target pair."
    )
    parser.add_argument("--texts", type=int, default=3_000)
    parser.add_argument("--settings", default="{}", help="JSON of FinetuneSettings.")
    parser.add_argument("--frozen", action="store_true")
    arguments = parser.parse_args()
    settings = FinetuneSettings(**json.loads(arguments.settings))
    if arguments.frozen:
        time_frozen(arguments.encoder, arguments.out, settings)
        return
    (other_shop,) = {"office", "arts_crafts"} - {arguments.target}
    report = finetune(
        arguments.encoder,
        target(arguments.target, arguments.least_common),
        arguments.out,
        others=other_domains(other_shop, arguments.texts),
        settings=settings,
        on_epoch=lambda number, loss: print(f"epoch {number}: loss {loss:.4f}", flush=True),
    )
    print(f"{torch.get_num_threads()} threads")
    show_finetuning(report, as_json=False)


if __name__ == "__main__":
    main()
