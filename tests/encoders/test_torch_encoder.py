"""Batches, devices and precision of all PyTorch encoders."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from isthmus.encoders.backends.runtime import Runtime, choose_runtime, cpu_thread_pool, prefetch_map
from isthmus.encoders.backends.torch_encoder import TorchEncoder
from isthmus.encoders.backends.towers import TextTower, batches_by_length
from isthmus.encoders.hub import read_weights
from isthmus.encoders.weights import hash_weights
from isthmus.errors import InvalidInput

CPU = choose_runtime("cpu")
IDENTITY = {"kind": "toy", "model": "sum"}


def toy(runtime: Runtime = CPU, forward=None) -> TorchEncoder:
    """Embeds a text by its letters."""
    torch.manual_seed(0)
    table = torch.nn.Embedding(128, 64, padding_idx=0)
    layer = torch.nn.Linear(64, 8)
    model = torch.nn.Sequential(table, layer)

    def embed(input_ids, attention_mask):
        return layer(table(input_ids)).sum(1) - (attention_mask == 0).sum(1)[:, None] * layer.bias

    tower = TextTower(lambda texts: [[ord(x) for x in t] for t in texts], forward or embed, {})
    return TorchEncoder(model, {"text": tower}, 8, IDENTITY, runtime)


def test_batches_hold_every_row_once_and_keep_within_their_limits():
    lengths = np.random.default_rng(0).integers(1, 90, 500)
    batches = list(batches_by_length(lengths, max_tokens=256, max_rows=16))
    assert sorted(np.concatenate(batches).tolist()) == list(range(500))
    assert max(len(rows) for rows in batches) == 16
    assert all(lengths[rows].max() * len(rows) <= 256 for rows in batches)
    padding = sum(lengths[rows].max() * len(rows) for rows in batches) - lengths.sum()
    assert padding < 0.1 * lengths.sum()


def test_a_row_over_the_limit_is_a_batch_of_its_own():
    assert [r.tolist() for r in batches_by_length(np.array([5, 999]), 64, 8)] == [[1], [0]]


def test_many_chunks_keep_the_order_of_the_input():
    encoder = toy()
    texts = ["x" * (n % 37 + 1) + chr(65 + n % 26) for n in range(5_000)]
    vectors = encoder.encode(texts)
    apart = np.concatenate([encoder.encode([text]) for text in texts[::500]])
    np.testing.assert_allclose(vectors[::500], apart, atol=1e-5)


def test_a_zero_vector_stays_zero():
    encoder = toy(forward=lambda input_ids, attention_mask: torch.zeros(len(input_ids), 8))
    np.testing.assert_array_equal(encoder.encode(["a"]), np.zeros((1, 8)))


def test_vectors_are_normalised_in_float32():
    encoder = toy(forward=lambda input_ids, attention_mask: torch.full((1, 8), 6e4).half())
    np.testing.assert_allclose(np.linalg.norm(encoder.encode(["a"])), 1, atol=1e-6)


def test_precision_changes_the_fingerprint_and_hardly_the_vector():
    exact, half = toy(), toy(Runtime(torch.device("cpu"), "bf16", False))
    assert exact.fingerprint != half.fingerprint
    assert (exact.encode(["hello"]) * half.encode(["hello"])).sum() > 0.99


def test_compiling_does_not_change_the_fingerprint():
    assert toy(Runtime(torch.device("cpu"), "fp32", True)).fingerprint == toy().fingerprint


def test_the_weights_hash_depends_on_names_types_shapes_and_bytes():
    base = {"a": torch.arange(4.0), "b": torch.zeros(())}
    same = {"b": torch.zeros(()), "a": torch.arange(4.0)}
    others = [
        {"a": torch.arange(4.0), "c": torch.zeros(())},
        {"a": torch.arange(4.0), "b": torch.zeros(1)},
        {"a": torch.arange(4.0).reshape(2, 2), "b": torch.zeros(())},
        {"a": torch.arange(4.0).to(torch.bfloat16), "b": torch.zeros(())},
        {"a": torch.arange(4.0).flip(0), "b": torch.zeros(())},
    ]
    assert hash_weights(base) == hash_weights(same)
    assert len({hash_weights(state) for state in [base, *others]}) == 6


def test_a_pickle_that_holds_code_is_refused(tmp_path):
    torch.save({"a": threading.Thread}, tmp_path / "model.pth")
    with pytest.raises(Exception, match=r"weights_only|Weights only"):
        read_weights(tmp_path / "model.pth")


def test_the_thread_pool_leaves_other_threads_unchanged():
    before = torch.get_num_threads(), threads_of_a_new_thread()
    assert set(cpu_thread_pool().map(lambda _: torch.get_num_threads(), range(8))) == {1}
    assert (torch.get_num_threads(), threads_of_a_new_thread()) == before


def threads_of_a_new_thread():
    counts: list[int] = []
    thread = threading.Thread(target=lambda: counts.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return counts[0]


def test_prefetching_raises_where_the_result_is_read():
    results = prefetch_map(lambda n: 1 // n, [1, 0, 1])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError, match="division"):
        next(results)


@pytest.mark.parametrize(
    ("device", "precision", "reason"),
    [
        ("cuda", "auto", "device 'cuda' is absent: PyTorch sees 0 CUDA"),
        ("cuda:1", "auto", "device 'cuda:1' is absent"),
        ("gpu", "auto", "unknown device 'gpu'; use 'auto', 'cpu'"),
        ("cpu", "bf16", "precision 'bf16' cannot be used on cpu; use 'auto' or fp32"),
        ("cpu", "fp8", "precision 'fp8' cannot be used"),
    ],
)
def test_an_absent_device_or_precision_is_refused(device, precision, reason, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(InvalidInput, match=reason):
        choose_runtime(device, precision)


def test_auto_is_float32_on_a_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_runtime() == Runtime(torch.device("cpu"), "fp32", False)


@pytest.mark.parametrize(("has_bf16", "precision"), [(True, "bf16"), (False, "fp16")])
def test_auto_on_a_gpu_is_its_half_precision(has_bf16, precision, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: has_bf16)
    assert choose_runtime() == Runtime(torch.device("cuda"), precision, False)
