"""The gates of a space: learned ones, kept in the space, and one that needs no learning."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np

from isthmus.errors import InvalidInput
from isthmus.index.files import write_atomically
from isthmus.index.lru_cache import Recent
from isthmus.index.releases.selection import Selection
from isthmus.index.releases.view import View
from isthmus.retrieval.search.examples import query_with_examples
from isthmus.retrieval.search.fusion.evidence import Samples, evidence_of, stack
from isthmus.retrieval.search.fusion.gate import Gate
from isthmus.retrieval.search.query import Query

Fusion = Literal["fixed", "gated", "learned"]
FUSIONS: Final[tuple[Fusion, ...]] = get_args(Fusion)
FILE: Final = "fusion.json"
FORMAT: Final = 1
TRIED: Final = 200
KEPT: Final = 4


@dataclass(frozen=True, eq=False)
class LearnedFusion:
    """What was learned for a space.

    Attributes
    ----------
    fingerprint : str
        Of the encoder stack whose vectors it was learned on.
    gates : dict of str to Gate
        For each kind of query, such as ``item to item``.
    """

    fingerprint: str
    gates: Mapping[str, Gate]

    def save(self, space: Path) -> None:
        """Write it into a space, whole or not at all."""
        gates = {kind: gate.as_dict() for kind, gate in self.gates.items()}
        values = {"format": FORMAT, "fingerprint": self.fingerprint, "gates": gates}
        write_atomically(space / FILE, json.dumps(values, indent=1).encode())

    @classmethod
    def load(cls, space: Path) -> LearnedFusion | None:
        """Read what a space has learned; None where that is nothing.

        Raises
        ------
        InvalidInput
            If the file is damaged, or of another version.
        """
        try:
            values = json.loads((space / FILE).read_bytes())
            if values["format"] != FORMAT:
                raise ValueError(f"format {values['format']}")
            gates = {kind: Gate.from_dict(own) for kind, own in values["gates"].items()}
            return cls(values["fingerprint"], gates)
        except FileNotFoundError:
            return None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInput(
                f"{space / FILE} is damaged or of another version ({error}); learn it anew with: "
                "isthmus weights --learn, or remove it"
            ) from error


class Gates:
    """Says how much each block counts for a query.

    Parameters
    ----------
    space : Path
        Folder of the space.
    fingerprint : str
        Fingerprint of its encoder stack.
    """

    def __init__(self, space: Path, fingerprint: str) -> None:
        self._space, self._fingerprint = space, fingerprint
        self.samples = Samples()
        self._unlearned: Recent[Gate] = Recent(KEPT)
        self._known: tuple[LearnedFusion | None, tuple[int, int] | None] = None, None

    def apply(
        self,
        view: View,
        query: Query,
        kind: str,
        fusion: Fusion | None = None,
        allowed: Selection | None = None,
    ) -> Query:
        """Give the query with its gate; the same query where weights are fixed.

        Parameters
        ----------
        view : View
            What is searched.
        query : Query
            What is looked for.
        kind : str
            Such as ``text to item``.
        fusion : {"fixed", "gated", "learned"}, optional
            By default what was learned for this kind of query counts, if anything was.
        allowed : Selection, optional
            The rows that may be returned.

        Raises
        ------
        InvalidInput
            If there is no such fusion, or nothing was learned where that is asked for.
        """
        if fusion is not None and fusion not in FUSIONS:
            raise InvalidInput(f"fusion is {fusion!r}; give one of {', '.join(FUSIONS)}")
        if fusion is None and len(query.vectors) < 2:  # not worth a look at the disk
            return query
        gate = self._gate(view, kind, fusion)
        if gate is None or len(query.vectors) < 2:
            return query
        return replace(query, gate=gate.factors(evidence_of(view, query, self.samples, allowed)))

    def learned(self) -> LearnedFusion | None:
        """Give what was learned, as it is on disk now; None if that was for other vectors."""
        try:
            stat = (self._space / FILE).stat()
        except FileNotFoundError:
            return None
        stamp = stat.st_mtime_ns, stat.st_ino
        if self._known[1] != stamp:
            self._known = LearnedFusion.load(self._space), stamp
        found = self._known[0]
        return found if found and found.fingerprint == self._fingerprint else None

    def _gate(self, view: View, kind: str, fusion: Fusion | None) -> Gate | None:
        if fusion == "fixed":
            return None
        if fusion == "gated":
            return self.unlearned(view)
        learned = self.learned()
        gate = None if learned is None else learned.gates.get(kind)
        if gate is None and fusion == "learned":
            raise InvalidInput(
                f"nothing was learned for queries of the kind {kind!r} and the present vectors; "
                f"learn it with: isthmus weights --learn --space {self._space}"
            )
        return gate

    def unlearned(self, view: View) -> Gate:
        """Give the gate that needs no learning; its scale is that of items of the space."""
        release = None if view.release is None else view.release.number
        return self._unlearned.get(release, lambda: self._measure(view))

    def _measure(self, view: View) -> Gate:
        rows = np.random.default_rng(1).permutation(self.samples.rows(view))[:TRIED]
        nothing = np.empty(0, np.int64)
        queries = [query_with_examples(view, {}, rows[[at]], nothing) for at in range(len(rows))]
        evidence = [evidence_of(view, query, self.samples) for query in queries]
        names = [block.name for block in view.blocks]
        return Gate.unlearned(names, stack(evidence, names).reshape(-1, len(names), 2))
