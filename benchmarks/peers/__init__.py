"""Isthmus and other engines and libraries behind one contract, `Peer`.

``pip install 'isthmus[peers]'`` installs them; those that are missing are skipped.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from peers.peer import Peer

PEERS = {
    "isthmus": "isthmus_peer:IsthmusPeer",
    "hnswlib": "hnswlib_peer:HnswlibPeer",
    "usearch": "usearch_peer:UsearchPeer",
    "voyager": "voyager_peer:VoyagerPeer",
    "scann": "scann_peer:ScannPeer",
    "faiss-hnsw": "faiss_hnsw_peer:FaissHnswPeer",
    "faiss-ivf": "faiss_ivf_peer:FaissIvfPeer",
    "lancedb": "lancedb_peer:LancedbPeer",
    "qdrant": "qdrant_peer:QdrantPeer",
    "chroma": "chroma_peer:ChromaPeer",
}
PACKAGES = (
    "numpy",
    "faiss-gpu",
    "faiss-cpu",
    "hnswlib",
    "usearch",
    "voyager",
    "scann",
    "lancedb",
    "qdrant-client",
    "chromadb",
)


def make_peer(name: str, folder: Path) -> Peer:
    """Return a peer that may write into a folder; this imports its library."""
    module, kind = PEERS[name].split(":")
    peer: Peer = getattr(import_module(f"peers.{module}"), kind)(folder)
    return peer


__all__ = ["PACKAGES", "PEERS", "Peer", "make_peer"]
