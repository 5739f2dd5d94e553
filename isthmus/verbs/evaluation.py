"""The evaluating verb of a space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from isthmus.errors import InvalidInput
from isthmus.retrieval.search.examples import item_vectors
from isthmus.schema import DOMAIN, ITEM_ID, MODALITY_MASK, modalities_in
from isthmus.verbs.open_space import OpenSpace

if TYPE_CHECKING:
    from isthmus.evaluation.plan import EvaluationPlan
    from isthmus.evaluation.report import Evaluation
    from isthmus.evaluation.run import Material
    from isthmus.evaluation.systems import System


class SpaceEvaluation(OpenSpace):
    """The part of `isthmus.Space` that measures recommendations on its interactions."""

    def evaluate(
        self,
        plan: EvaluationPlan | None = None,
        *,
        systems: Mapping[str, System] | None = None,
        out: str | Path | None = None,
        progress: bool = False,
    ) -> Evaluation:
        """Measure how well systems recommend, on interactions that are hidden from them.

        For each protocol (who and what is hidden, see `EvaluationPlan`) and each target domain,
        every baseline (random, popularity, item-KNN, user-KNN, EASE, ALS, and nearest neighbours
        by the content vectors of the space; for values the mean and offsets) is tuned on
        validation users, and all systems answer val and test. All items of the target are ranked,
        nothing is sampled. The space itself takes part as ``"isthmus"`` (what `train` makes of the
        train table of the task), ``"isthmus ratings"`` (for values), and ``"interests"`` (what is
        recommended without training).

        Which interactions are positive, where they have values, `EvaluationPlan.positive_from`
        says: by default, where values differ, those of 0.8 of the largest value or more (4 of 5
        stars). Every task's facts state it.

        Parameters
        ----------
        plan : EvaluationPlan, optional
            What is asked for; by default every protocol in every domain that has interactions.
        systems : mapping of str to Recommender, Rater, Learner or callable, optional
            Further systems by name. A function is called for each protocol with the task of the
            split ``"val"``, and gives the system; `Learner` says in addition what it can do and
            which settings its answers depend on.
        out : path, optional
            A folder for ``evaluation.json`` and ``evaluation.html``. It keeps every answer too:
            an evaluation that was interrupted goes on where it stopped.
        progress : bool, default False
            Whether to show bars.

        Returns
        -------
        Evaluation
            All figures with intervals and paired tests; `skipped` has the protocols for which
            there is too little data, with the reasons.

        Raises
        ------
        InvalidInput
            If a domain, a protocol, a baseline or a system is unknown, there are no
            interactions, or every protocol is skipped.
        """
        from isthmus.evaluation.plan import EvaluationPlan
        from isthmus.evaluation.run import carry_out

        folder = None if out is None else Path(out)
        plan = plan or EvaluationPlan()
        material = self._material(systems or {}, plan.systems)
        return carry_out(plan, material, out=folder, show=progress)

    def _material(
        self, systems: Mapping[str, System], asked: Sequence[str] | None = None
    ) -> Material:
        """Bring together what is needed of one moment of the space."""
        from isthmus.evaluation.lists import ItemVectors
        from isthmus.evaluation.run import Material
        from isthmus.evaluation.space_systems import systems_of

        view = self._live.now()
        names = view.snapshot.column(ITEM_ID).combine_chunks()
        item_ids = names.to_pylist()
        domains = dict(zip(item_ids, view.snapshot.column(DOMAIN).to_pylist(), strict=True))
        table = self._interactions.table()
        held = pc.is_in(table.column(ITEM_ID), value_set=names.cast(pa.string()))
        masks = view.snapshot.column(MODALITY_MASK).to_pylist()
        contents = ItemVectors(
            item_ids,
            item_vectors(view, view.find(item_ids), self._weights),
            [" and ".join(modalities_in(mask)) or "none" for mask in masks],
        )
        own = systems_of(view, self._weights)
        for name in asked or ():
            if name not in own:
                raise InvalidInput(f"the space has no system {name!r}; it has {', '.join(own)}")
        own = {name: s for name, s in own.items() if asked is None or name in asked}
        return Material(table.filter(held), domains, contents, {**own, **systems})
