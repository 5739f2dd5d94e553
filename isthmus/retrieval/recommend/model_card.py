"""The model card of a recommender: what it is, for the people who are to rely on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isthmus.privacy.guarantee import Guarantee

if TYPE_CHECKING:
    from isthmus.retrieval.recommend.store import Description

MODEL_CARD = "MODEL_CARD.md"


def model_card(description: Description) -> str:
    """Return the model card of a recommender, as Markdown."""
    generators = [str(generator["name"]) for generator in description.generators]
    left_out = {
        name: reason
        for report in description.reports.values()
        for name, reason in report.left_out.items()
    }
    lines = [
        "# Recommender",
        "",
        f"* Trained: {description.created}",
        f"* Recommends: {', '.join(description.rankers) or 'nothing'}",
        f"* Interactions: {description.interactions:,}",
        f"* Candidate generators: {', '.join(generators)}",
        *(f"* Left out: {name} ({reason})" for name, reason in left_out.items()),
        "",
        "## Privacy",
        "",
        *_privacy(description.privacy),
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
