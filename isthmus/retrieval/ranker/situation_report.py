"""What the training found of one situation."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from isthmus.retrieval.ranker.calibration import ReliabilityBin

MIN_USERS = 20


class SituationReport(BaseModel):
    """NDCG@10 of simulated users in one situation, by models that were not trained on them.

    Attributes
    ----------
    users : int
        Number of simulated users.
    model : str
        The model that ranks in this situation.
    ranker : float
        NDCG@10 of this model.
    models : dict of str to float
        NDCG@10 of every model that was tried, from simple to rich.
    generators : dict of str to float
        NDCG@10 of the list of each candidate generator alone.
    best : str
        The best generator.
    low, high : float
        95 % interval of the gain of the best model over it: a paired bootstrap, corrected for as
        many comparisons as there are generators.
    fallback : bool
        Whether the models were worse than this generator beyond chance, so that its list is taken.
    coverage : dict of str to float
        Share of the relevant items that a generator proposed, and all together (``"union"``).
    calibration_error : float
        Expected calibration error of the first 20 candidates of these users.
    reliability : list of ReliabilityBin
        Predicted and observed shares of these candidates.
    """

    model_config = ConfigDict(extra="forbid")
    users: int
    model: str
    ranker: float
    models: dict[str, float]
    generators: dict[str, float]
    best: str
    low: float
    high: float
    fallback: bool = False
    coverage: dict[str, float]
    calibration_error: float
    reliability: list[ReliabilityBin]
