"""Drift: whether what came since the release is like what the release was made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from isthmus.index.releases.view import View
from isthmus.numerics.arrays import Positions, sample_rows
from isthmus.numerics.statistics import holm
from isthmus.numerics.two_sample import MIN_SAMPLE, counts_differ, values_differ, vectors_differ

REFERENCE_ITEMS, SAMPLED_ITEMS = 1_000, 500
SAMPLED_ROWS = 20_000  # of attributes, whose tests cost less

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class DriftTest:
    """One comparison of the new items of a domain with those of the release.

    Attributes
    ----------
    domain : str
        The domain.
    what : str
        ``"vectors"`` or ``"attribute"``.
    name : str
        Of the named vector, or of the attribute.
    reference, sample : int
        Number of items of the release and of new items that were compared.
    p_value : float
        Of the null hypothesis that both come from one distribution.
    adjusted_p : float
        Corrected for the number of comparisons by Holm.
    """

    domain: str
    what: str
    name: str
    reference: int
    sample: int
    p_value: float
    adjusted_p: float = 1.0


def item_drift(view: View, *, seed: int = 0) -> list[DriftTest]:
    """Compare the items that are new or changed since the release with those of the release.

    In each domain with 10 items or more on both sides, the vectors of each name are compared by
    `isthmus.numerics.two_sample.vectors_differ`, numbers by the test of Kolmogorov and Smirnov,
    other flat attributes and missing values by the chi-squared test. Lists and structs are passed
    over.

    Returns
    -------
    list of DriftTest
        Empty before the first release, and where nothing is new.
    """
    if view.release is None or not view.delta:
        return []
    tests = [
        test
        for domain in view.domains
        for test in _domain_drift(view, domain, np.random.default_rng(seed))
    ]
    adjusted = holm([test.p_value for test in tests])
    return [replace(test, adjusted_p=p) for test, p in zip(tests, adjusted, strict=True)]


def _domain_drift(view: View, domain: str, rng: np.random.Generator) -> Iterator[DriftTest]:
    selection = view.select([domain])
    rows = np.flatnonzero(view.living.rows if selection is None else selection.rows)
    former, new = rows[rows < view.release_rows], rows[rows >= view.release_rows]
    if min(len(former), len(new)) < MIN_SAMPLE:
        return
    for vector in view.named_vectors:
        yield from _vector_drift(view, domain, vector.name, (former, new), rng)
    sides = [sample_rows(rng, side, SAMPLED_ROWS) for side in (former, new)]
    yield from _attribute_drift(view, domain, sides)


def _vector_drift(
    view: View,
    domain: str,
    name: str,
    sides: tuple[Positions, Positions],
    rng: np.random.Generator,
) -> Iterator[DriftTest]:
    former, new = (side[view.present(name, side)] for side in sides)
    if min(len(former), len(new)) < MIN_SAMPLE:
        return
    reference = view.vectors(name, sample_rows(rng, former, REFERENCE_ITEMS)).vectors
    sample = view.vectors(name, sample_rows(rng, new, SAMPLED_ITEMS)).vectors
    p_value = vectors_differ(reference, sample, seed=int(rng.integers(2**31))).p_value
    yield DriftTest(domain, "vectors", name, len(reference), len(sample), p_value)


def _attribute_drift(view: View, domain: str, sides: Sequence[Positions]) -> Iterator[DriftTest]:
    types = view.snapshot.attributes.types().get(domain, {})
    fields = {name: view.snapshot.attributes.field(domain, name) for name in types}
    fields = {name: field for name, field in fields.items() if not pa.types.is_nested(field.type)}
    if not fields:
        return
    columns = [field.name for field in fields.values()]
    former, new = (view.snapshot.fetch(view.row_ids(side), columns) for side in sides)
    for name, field in fields.items():
        p_value = _values_p(former.column(field.name), new.column(field.name))
        yield DriftTest(domain, "attribute", name, len(former), len(new), p_value)


def _values_p(former: pa.ChunkedArray, new: pa.ChunkedArray) -> float:
    """Return the p-value of two columns: of missing values and of values, corrected for both."""
    missing = counts_differ(*(_missing(column) for column in (former, new)))
    former, new = former.drop_null(), new.drop_null()
    if not len(former) or not len(new):
        return missing
    if _is_ordered(former.type):
        return min(holm([missing, values_differ(_numbers(former), _numbers(new))]))
    return min(holm([missing, counts_differ(*_category_counts(former, new))]))


def _missing(column: pa.ChunkedArray) -> Counts:
    return np.array([column.null_count, len(column) - column.null_count], np.int64)


def _is_ordered(type_: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(type_)
        or pa.types.is_floating(type_)
        or pa.types.is_decimal(type_)
        or pa.types.is_temporal(type_)
    )


def _numbers(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """Return finite numbers in the order of the values; times as ticks of their unit."""
    if pa.types.is_temporal(column.type):
        wide = column.type.bit_width == 64
        column = column.cast(pa.int64() if wide else pa.int32())
    values = np.asarray(column.cast(pa.float64(), safe=False), np.float64)
    return values[np.isfinite(values)]


def _category_counts(former: pa.ChunkedArray, new: pa.ChunkedArray) -> tuple[Counts, Counts]:
    """Return how often each value of either column is in both, shape (n_values,) each."""
    values = pa.chunked_array([*former.chunks, *new.chunks], former.type)
    codes = np.asarray(pc.index_in(values, value_set=pc.unique(values)), np.int64)
    n_values = int(codes.max()) + 1
    counts = [
        np.bincount(part, minlength=n_values)
        for part in (codes[: len(former)], codes[len(former) :])
    ]
    return counts[0], counts[1]
