"""Settings of the candidate generators of a recommender; kept apart from their heavy imports."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from isthmus.requests import Names, validated_settings

Normalisation = Literal["none", "centre", "whiten"]


@validated_settings
class GeneratorSettings:
    """Which candidate generators are used, and how they learn from item features."""

    exclude_generators: Names = Field(
        default=None, description="Candidate generators that are not used."
    )
    two_tower: bool = Field(
        default=False,
        description="Use the two-tower model as a generator too; a weight of domain adaptation, "
        "which is a term of its loss, switches it on.",
    )
    feature_normalization: Normalisation = Field(
        default="whiten",
        description="Normalization of item features by domain: none, centre or whiten.",
    )
    adversarial_weight: float = Field(
        default=0.0, ge=0, description="Weight of the domain-adversarial loss; 0 switches it off."
    )
    coral_weight: float = Field(
        default=0.0, ge=0, description="Weight of the CORAL loss; 0 switches it off."
    )
    mmd_weight: float = Field(
        default=0.0,
        ge=0,
        description="Weight of the maximum mean discrepancy; 0 switches it off.",
    )
    seed: int = Field(default=0, description="Seed of the random numbers.")
