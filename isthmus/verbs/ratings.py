"""The verb of a space that predicts values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isthmus.data.interactions.ratings import select_events, value_by_item
from isthmus.errors import InvalidInput, ItemNotFound
from isthmus.numerics.arrays import FloatArray
from isthmus.retrieval.ratings.ratings import History
from isthmus.retrieval.recommend.serving import Serving
from isthmus.retrieval.recommend.users import User
from isthmus.verbs.recommending import SpaceRecommendations


class SpaceRatings(SpaceRecommendations):
    """The part of `isthmus.Space` that predicts values."""

    def predict_rating(self, user: User, item_ids: str | Sequence[str]) -> FloatArray:
        """Predict what a user would give items.

        Parameters
        ----------
        user : User
            The stored values of ``user.id`` and ``user.ratings`` count, the latter where an item
            has both; nothing else of a user has a value. Of what is stored, kinds of event whose
            values were all the same in the training (views, purchases) say nothing here. Without
            any value, the prediction is the item's own level.
        item_ids : str or sequence of str
            The items, known or new.

        Returns
        -------
        numpy.ndarray
            float32, shape (n_items,), within the scale of the values that were learned from.

        Raises
        ------
        InvalidInput
            If the release has no model of values.
        ItemNotFound
            If the space does not hold an item, or it came with a domain that is newer than the
            training.
        """
        view = self._live.now()
        serving = self._serving(view)
        if serving is None or serving.rating is None:
            raise InvalidInput(
                f"{self.path} has no model of values; add interactions whose values differ "
                "(isthmus interactions add --value), then: isthmus train, isthmus publish"
            )
        names = [item_ids] if isinstance(item_ids, str) else list(item_ids)
        asked = serving.columns_of(names)
        if len(asked) and asked.min() < 0:
            raise ItemNotFound(
                f"no item {names[int(np.argmin(asked))]!r} in this space, or its domain is newer "
                "than the training: isthmus train"
            )
        return serving.rating.predict([self._values_of(user, serving)], [asked])[0]

    def _values_of(self, user: User, serving: Serving) -> History:
        """Give what a user gave items, stored or told."""
        stored: dict[str, float] = {}
        if user.id is not None:
            table, events = self._interactions.of_users([user.id]), serving.recommender.rated_events
            stored = value_by_item(table if events is None else select_events(table, events))
        known = stored | user.ratings
        columns_of = serving.columns_of(list(known))
        there = columns_of >= 0
        values = np.array(list(known.values()), np.float32)
        return History(columns_of[there], values[there])
