"""The interactions of a space: what its users did with its items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from isthmus.data.interactions.ingest import InteractionReport, add_interactions
from isthmus.data.interactions.reader import InteractionMapping, InteractionReader
from isthmus.index.catalog.lock import writing
from isthmus.schema import ITEM_ID, USER_ID
from isthmus.verbs.open_space import OpenSpace


class SpaceInteractions(OpenSpace):
    """The part of `isthmus.Space` that takes in, gives and forgets interactions."""

    def add_interactions(
        self,
        source: Any,
        *,
        user: str = USER_ID,
        item: str = ITEM_ID,
        value: str | None = None,
        time: str | None = None,
        weight: str | None = None,
        event: str | None = None,
        event_column: str | None = None,
        skip_invalid: bool = False,
        progress: bool = False,
    ) -> InteractionReport:
        """Add what users did with items.

        One interaction is kept for each user, item and kind of event: the one with the latest
        time and, at equal times or without times, the one added last. One without a time is older
        than any that has one. So adding the same again changes nothing, and a job that was
        killed is completed by doing it again.

        Items need not be there yet: interactions with items that the catalog does not hold are
        stored, reported, and count as soon as the item is added.

        Parameters
        ----------
        source : path, glob, list of those, table, frame, or list of dicts
            Whatever `upsert` takes.
        user, item, value, time, weight, event, event_column : str, optional
            Which columns are what, see `InteractionMapping`; `event` names one kind of event for
            all. Times may be timestamps, dates, ISO 8601 texts, or seconds or milliseconds since
            1970, told apart by size (see `isthmus.data.columns`).
        skip_invalid : bool, default False
            Leave invalid rows out (they are listed in the report) rather than refuse them all.
        progress : bool, default False
            Whether to show bars.

        Returns
        -------
        InteractionReport
            What was read, added, changed and left unchanged, and which items are unknown.

        Raises
        ------
        InvalidInteractions
            If a row has no user or item, a value or weight that is no finite number, a negative
            weight, or a time that is none; nothing is stored then.
        InvalidMapping
            If a mapped column is absent, or has a type that cannot be what it is mapped to.
        SpaceLocked
            If another process is writing interactions.
        """
        mapping = InteractionMapping(user, item, value, time, weight, event, event_column)
        reader = InteractionReader(source, mapping)
        with writing(self.path, "interactions", self._wait_s):
            return add_interactions(
                self._interactions,
                reader,
                lambda names: self._catalog.snapshot().holds(names),
                skip_invalid=skip_invalid,
                progress=progress,
            )

    def interactions(
        self, user_id: str | Sequence[str] | None = None, *, waiting: bool = False
    ) -> pa.Table:
        """Give the interactions of a user, of some users, or of all.

        Parameters
        ----------
        user_id : str or list of str, optional
            Whose interactions; everybody's by default.
        waiting : bool, default False
            Whether to give those too whose item the catalog does not hold (yet).

        Returns
        -------
        pyarrow.Table
            Columns user_id, item_id, event, value (float32), weight (float32) and time
            (microseconds, UTC). With users named, by user, each one's oldest first.
        """
        if user_id is None:
            table = self._interactions.table()
        else:
            table = self._interactions.of_users([user_id] if isinstance(user_id, str) else user_id)
        if waiting:
            return table
        items = table.column(ITEM_ID).combine_chunks().dictionary_encode()
        held = self._catalog.snapshot().holds(items.dictionary)
        return table.filter(pc.take(held, items.indices))

    def forget_user(self, user_id: str) -> int:
        """Delete every interaction of a user, at once and in every process.

        The bytes leave the disk with ``compact(keep_days=0)`` or, when they are older than
        `keep_versions_days` of ``space.toml``, with `publish`, as those of all old versions do.

        Returns
        -------
        int
            How many interactions there were.

        Raises
        ------
        SpaceLocked
            If another process is writing interactions.
        """
        with writing(self.path, "interactions", self._wait_s):
            return self._interactions.delete_user(user_id)
