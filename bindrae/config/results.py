"""Settings of what a trained model is used for: evaluation and prediction."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bindrae.config.base import Count, Settings


class EvaluationSettings(Settings):
    """The evaluation of the best model on one side of the split."""

    side: Literal["train", "val", "test", "all"] = Field("test", description="Side that is scored.")
    data: str | None = Field(
        None, description="Data folder of another dataset to score on (protocol benchmark); null scores this one."
    )
    refine: bool = Field(
        True,
        description="Score what `bindrae predict` gives by default, side chains refined together, with the network's "
        "own answer beside it; false scores the latter alone.",
    )
    bootstrap: Annotated[int, Field(ge=100)] = Field(1000, description="Bootstrap samples over sequence clusters.")
    seed: int = Field(0, description="Seed of the bootstrap.")


class PredictionSettings(Settings):
    """The prediction of all complexes of the dataset as structure files."""

    weights: Literal["none", "shipped", "run"] = Field(
        "none",
        description="Weights that predict every complex of the dataset into runs/<run>/predicted/: those of the "
        "package, or those of this run; none predicts nothing.",
    )
    samples: Count = Field(1, description="Sets of side chains a complex, written as models; the first is the best.")
    refine: bool = Field(True, description="Choose side chains together and remove clashes.")
    backbone: Literal["input", "predicted"] = Field(
        "input", description="input: N, CA, C, O stay as they are; predicted: as the model moves them."
    )
