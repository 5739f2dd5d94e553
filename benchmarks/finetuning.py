"""Fine-tuning of ``local/text`` by what users take together: gained in the target, lost elsewhere.

``python benchmarks/finetuning.py --out FOLDER`` (some ten minutes on one core; run again, it goes
on where it was, and vectors of the encoder as it was are kept); ``--frozen`` times instead what it
saves to run frozen layers once.

Target: titles of Office products; pairs are products that at least two users took together
(``--least-common``), more often than chance, ten a product. Items are told apart by a hash of their
title: no title that is measured on was in a training pair, nor do choices see it.

Elsewhere: Arts & Crafts by what its own users take together; fashion titles of equal attributes;
film titles of equal genres; captions of the same photo; of the last three 3,000 texts each, or as
many as ``--texts`` says.
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
    """Read a column, without white space around."""
    values = pq.read_table(DATA / folder / f"{file}.parquet", columns=[name])[name].to_pylist()
    return [(value or "").strip() for value in values]


def shop(domain: str, least_common: int = 2) -> tuple[list[str], np.ndarray]:
    """Return the titles of a domain, and the pairs of them that users take together."""
    table = pq.read_table(DATA / "amazon_arts_office" / "items.parquet").to_pylist()
    items = [row for row in table if row["domain"] == domain]
    place = {row["item_id"]: number for number, row in enumerate(items)}
    taken = pq.read_table(DATA / "amazon_arts_office" / "interactions.parquet").to_pylist()
    own = [(row["user_id"], place[row["item_id"]]) for row in taken if row["item_id"] in place]
    users = {user: number for number, user in enumerate(dict.fromkeys(user for user, _ in own))}
    rows, columns = [users[user] for user, _ in own], [item for _, item in own]
    likes = csr_matrix((np.ones(len(own)), (rows, columns)), shape=(len(users), len(items)))
    titles = [(row["title"] or "").strip() for row in items]
    return titles, co_occurring_pairs(likes, min_common_users=least_common)


def elsewhere(other_shop: str, most: int) -> list[OtherDomain]:
    """Return the other domains: a shop by pairs, the others by labels."""
    titles, pairs = shop(other_shop)
    kept, rows = np.unique(pairs, return_inverse=True)
    captions, photos = (column("flickr8k_1000", n, "captions") for n in ("caption", "image"))
    return [
        OtherDomain(other_shop, [titles[n] for n in kept], pairs=rows.reshape(pairs.shape)),
        labelled("fashion", *pair("fashion_products", "title", "attributes"), most),
        labelled("films", *pair("movielens_posters", "title", "genres"), most),
        labelled("captions", captions, photos, most),
    ]


def pair(folder: str, text: str, label: str) -> tuple[list[str], list[str]]:
    """Return two columns of items."""
    return column(folder, text), column(folder, label)


def labelled(name: str, texts: list[str], labels: list[str], most: int) -> OtherDomain:
    """Return a domain whose texts belong together by a label, whole labels drawn by their hash."""
    order = sorted(set(labels), key=digest)
    own: dict[str, list[str]] = {label: [] for label in order}
    for text, label in zip(texts, labels, strict=True):
        if text and label:
            own[label].append(text)
    drawn = [(text, label) for label in order for text in own[label]][:most]
    return OtherDomain(name, [text for text, _ in drawn], [label for _, label in drawn])


def target(name: str, least_common: int = 2) -> ContentPairs:
    """Return the pairs of the target."""
    return pairs_of_texts(*shop(name, least_common))


def time_frozen(spec: str, folder: Path, settings: FinetuneSettings, steps: int = 2) -> None:
    """Print the seconds of a step with frozen layers run every time, and run once before."""
    contents = target("office")
    pair_batches = PairBatches(
        contents.pairs, contents.pairs, False, range(0), replace(settings, anchor_weight=0)
    )
    batches = [one.rows.tolist() for one in islice(pair_batches.of_epoch(1), steps)]
    rows = sorted({row for batch in batches for row in batch})
    folder.mkdir(parents=True, exist_ok=True)
    for layers in (6, settings.layers):
        own = replace(settings, layers=layers)
        for most in (0,) if layers == 6 else (0, MAX_STATE_BYTES):
            network_module.MAX_STATE_BYTES = most
            encoder = require_trainable(load_encoder(spec, device="cpu"), spec)
            start = time.perf_counter()
            network = TunedNetwork(encoder, TrainingContents(contents, []), rows, own, folder)
            made = time.perf_counter() - start
            seconds = []
            for batch in batches:
                start = time.process_time()
                network.vectors(batch).sum().backward()
                seconds.append(time.process_time() - start)
            once = f"; run once for {len(rows)} texts in {made:.1f} s" if most else ""
            print(f"{layers} layers trained, {statistics.median(seconds):.2f} s a step{once}")


def main() -> None:
    """Fine-tune, and print what it came to."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--encoder", default="local/text")
    parser.add_argument("--target", choices=["office", "arts_crafts"], default="office")
    parser.add_argument("--least-common", type=int, default=2, help="Users of a target's pair.")
    parser.add_argument("--texts", type=int, default=3_000)
    parser.add_argument("--settings", default="{}", help="JSON of FinetuneSettings.")
    parser.add_argument("--frozen", action="store_true")
    given = parser.parse_args()
    settings = FinetuneSettings(**json.loads(given.settings))
    if given.frozen:
        time_frozen(given.encoder, given.out, settings)
        return
    (other_shop,) = {"office", "arts_crafts"} - {given.target}
    report = finetune(
        given.encoder,
        target(given.target, given.least_common),
        given.out,
        others=elsewhere(other_shop, given.texts),
        settings=settings,
        on_epoch=lambda number, loss: print(f"epoch {number}: loss {loss:.4f}", flush=True),
    )
    print(f"{torch.get_num_threads()} threads")
    show_finetuning(report, as_json=False)


if __name__ == "__main__":
    main()
