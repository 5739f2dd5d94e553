"""Rating predictors of scikit-surprise, and their search grids."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from isthmus.retrieval.ratings.neighbours import Pairs
from isthmus.retrieval.ratings.ratings import Ratings

Settings = dict[str, Any]
Predict = Callable[[Pairs], npt.NDArray[np.float64]]


def grids() -> dict[str, list[Settings]]:
    """Return the settings to try on val, by name of the algorithm."""
    damping = [(2, 5), (4, 8), (5, 10), (10, 15)]
    knn = [(20, 100), (40, 50), (40, 100), (40, 200), (80, 100)]
    svd = [(100, 0.1), (200, 0.08), (200, 0.1), (400, 0.08), (400, 0.1), (800, 0.1)]
    return {
        "BaselineOnly": [
            {"bsl_options": {"method": "als", "n_epochs": 20, "reg_i": i, "reg_u": u}}
            for i, u in damping
        ],
        "KNNBaseline": [_knn(k, shrinkage) for k, shrinkage in knn],
        "SVD": [{"n_factors": n, "n_epochs": 60, "lr_all": 0.01, "reg_all": reg} for n, reg in svd],
        "SVD++": [
            {"n_factors": 20, "n_epochs": 20, "lr_all": 0.007, "reg_all": 0.02},
            {"n_factors": 20, "n_epochs": 30, "lr_all": 0.007, "reg_all": 0.1},
        ],
    }


def fit(name: str, settings: Settings, train: Ratings, seed: int) -> Predict:
    """Train an algorithm; return its prediction function, limited to the scale of the ratings."""
    import pandas as pd
    from surprise import SVD, BaselineOnly, Dataset, KNNBaseline, Reader, SVDpp

    scale = (float(train.values.min()), float(train.values.max()))
    frame = pd.DataFrame({"user": train.rows, "item": train.columns, "value": train.values})
    trainset = Dataset.load_from_df(frame, Reader(rating_scale=scale)).build_full_trainset()
    if name in ("SVD", "SVD++"):
        algorithm = (SVD if name == "SVD" else SVDpp)(**settings, random_state=seed)
    else:
        algorithm = (BaselineOnly if name == "BaselineOnly" else KNNBaseline)(
            **settings, verbose=False
        )
    algorithm.fit(trainset)

    def predict(requested: Pairs) -> npt.NDArray[np.float64]:
        pairs = zip(requested.rows.tolist(), requested.columns.tolist(), strict=True)
        return np.array([algorithm.predict(user, item).est for user, item in pairs])

    return predict


def _knn(k: int, shrinkage: int) -> Settings:
    similarity = {"name": "pearson_baseline", "user_based": False, "shrinkage": shrinkage}
    return {"k": k, "sim_options": similarity}
