"""Isthmus and the usual tools of recommendation behind one contract, `Method`.

The tools are written from the papers and from the public libraries, without Isthmus' generators,
ranker or training: what is compared are two implementations. Only the reading of tasks and the
metrics are shared. A tool of an environment of its own needs numpy, scipy and pyarrow there beside
its library.
"""

from __future__ import annotations

from importlib import import_module

from recommenders.method import Method

METHODS = {
    "isthmus": "isthmus_method:IsthmusMethod",
    "popularity": "neighbours:Popularity",
    "item-KNN": "neighbours:ItemKNN",
    "user-KNN": "neighbours:UserKNN",
    "EASE": "linear:Ease",
    "ALS": "factors:Als",
    "EMCDR-linear": "factors:Emcdr",
    "LightFM": "lightfm_method:LightFm",
    "two-stage": "two_stage:TwoStage",
    "content": "content:Content",
    "content to ALS": "content:ContentToAls",
}
OURS = "isthmus"


def make_method(name: str) -> Method:
    """Return a method; this imports its library."""
    module, kind = METHODS[name].split(":")
    method: Method = getattr(import_module(f"recommenders.{module}"), kind)()
    return method


__all__ = ["METHODS", "OURS", "Method", "make_method"]
