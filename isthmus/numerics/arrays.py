"""Array types that the whole package shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    pass

Positions = npt.NDArray[np.int64]

FloatArray = npt.NDArray[np.float32]
Columns = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Hits = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]
