"""Arrays of safetensors files are mapped as they were written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import save_file

from isthmus.numerics.mapped_arrays import TYPES, map_arrays

ANY_ARRAY = st.sampled_from(sorted(TYPES.values())).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0))
)


@given(st.dictionaries(st.text("ab/. ", min_size=1), ANY_ARRAY, max_size=4))
def test_arrays_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, written: dict[str, npt.NDArray[Any]]
) -> None:
    path = tmp_path_factory.mktemp("arrays") / "some.safetensors"
    save_file(written, path)
    read = map_arrays(path)
    assert read.keys() == written.keys()
    for name, array in written.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)


def test_changes_stay_in_the_process(tmp_path: Path) -> None:
    path = tmp_path / "some.safetensors"
    save_file({"a": np.arange(3)}, path)
    map_arrays(path)["a"][:] = 7
    assert map_arrays(path)["a"].tolist() == [0, 1, 2]


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "some.safetensors"
    save_file({"a": np.arange(300)}, path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match="buffer"):
        map_arrays(path)
