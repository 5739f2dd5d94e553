"""The model card of a recommender: what it is, for the people who are to rely on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from isthmus.privacy.guarantee import Guarantee

MODEL_CARD: Final = "MODEL_CARD.md"


def model_card(
    trained: str,
    domains: Sequence[str],
    interactions: int,
    generators: Sequence[str],
    left_out: Mapping[str, str],
    guarantee: Guarantee | None,
) -> str:
    """Return the model card of a recommender, as Markdown.

    Parameters
    ----------
    trained : str
        When, in ISO 8601.
    domains : sequence of str
        The domains that it recommends from.
    interactions : int
        Number of interactions that it learned from.
    generators : sequence of str
        Its candidate generators.
    left_out : mapping of str to str
        Candidate generators that were left out, and why.
    guarantee : Guarantee or None
        What a private training promises.
    """
    lines = [
        "# Recommender",
        "",
        f"* Trained: {trained}",
        f"* Recommends: {', '.join(domains) or 'nothing'}",
        f"* Interactions: {interactions:,}",
        f"* Candidate generators: {', '.join(generators)}",
        *(f"* Left out: {name} ({reason})" for name, reason in left_out.items()),
        "",
        "## Privacy",
        "",
        *_privacy(guarantee),
    ]
    return "\n".join(lines) + "\n"


def _privacy(guarantee: Guarantee | None) -> list[str]:
    if guarantee is None:
        return [
            "Users have no differential privacy: factors, neighbours and rankers learned from "
            "their rows as they are."
        ]
    noise = [f"{one.name} {one.noise_multiplier:.3g}" for one in guarantee.mechanisms]
    return [
        f"Differentially private with epsilon {guarantee.epsilon:g} and delta {guarantee.delta:g}.",
        "",
        f"* Protects: {guarantee.unit}",
        f"* Mechanism: {guarantee.mechanism}; noise multipliers: {', '.join(noise)}",
        f"* Bounds: {guarantee.max_rows} rows a user, of the length {guarantee.max_norm:g}",
        f"* Items with co-occurrences: {guarantee.modelled_items:,}",
        f"* Spent by all private trainings of the space: epsilon {guarantee.spent_epsilon:.3g}",
        "",
        "Not covered:",
        "",
        *(f"* {what}" for what in guarantee.not_covered),
    ]
