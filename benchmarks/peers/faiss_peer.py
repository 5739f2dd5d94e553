"""The base class of the FAISS peers."""

from __future__ import annotations

from typing import Any

import faiss
from common.data import Floats

from peers.peer import Peer


class FaissPeer(Peer):
    """A FAISS index, searched with the parameters that `tune` sets."""

    measured = "its file"
    _index: Any
    _parameters: Any

    def search(self, queries: Floats, k: int) -> Any:
        """Search."""
        return self._index.search(queries, k, params=self._parameters)[1]

    def bytes(self) -> int:
        """Return the size of its file."""
        path = self.folder / "index.faiss"
        faiss.write_index(self._index, str(path))
        return path.stat().st_size

    def use_threads(self, threads: int) -> None:
        """Set the threads of FAISS."""
        faiss.omp_set_num_threads(threads)
