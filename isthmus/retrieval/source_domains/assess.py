"""The other domains ranked as sources for a target domain."""

from __future__ import annotations

import time

from isthmus.errors import InvalidInput
from isthmus.retrieval.candidates.training_data import TrainingData
from isthmus.retrieval.source_domains.lift import measure_lifts
from isthmus.retrieval.source_domains.quality import quality_of
from isthmus.retrieval.source_domains.relatedness import relatedness_of
from isthmus.retrieval.source_domains.report import SourceDomain, SourceReport


def assess_sources(
    corpus: TrainingData, target: str, *, measure: bool = True, seed: int = 0
) -> SourceReport:
    """Rank the other domains as sources for a target.

    Parameters
    ----------
    corpus : Corpus
        What there is.
    target : str
        The domain to recommend in.
    measure : bool
        Whether to measure what each is worth to cold users; without, only counts and contents
        are compared.
    seed : int
        Of all that is left to chance.

    Raises
    ------
    InvalidInput
        If there is no such domain.
    """
    if target not in corpus.domain_names:
        raise InvalidInput(f"no domain {target!r}; there are {', '.join(corpus.domain_names)}")
    start = time.perf_counter()
    code = corpus.domain_code(target)
    lifts = measure_lifts(corpus, code, seed=seed) if measure else {}
    sources = [
        SourceDomain(
            domain=name,
            quality=quality_of(corpus, other),
            relatedness=relatedness_of(corpus, other, code, seed=seed),
            lift=lifts.get(name),
        )
        for other, name in enumerate(corpus.domain_names)
        if name != target
    ]
    return SourceReport(
        target=target,
        quality=quality_of(corpus, code),
        sources=sorted(sources, key=SourceDomain.rank),
        seconds=time.perf_counter() - start,
    )
