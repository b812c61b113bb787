"""Settings of what is done with a trained model: refinement fitted to it, evaluation and prediction."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from bindrae.config.base import Count, Settings


class RefinementSettings(Settings):
    """Networks of refinement and a calibrated confidence for the trained model: `bindrae fit`."""

    fit: bool = Field(
        False,
        description="Fit them; evaluation and prediction then use runs/<run>/fitted.safetensors. Worth it from about "
        "1,000 complexes to train on: a model that knows its training side by heart teaches them little.",
    )
    start: str | None = Field(
        None,
        description="Model file, or `shipped`, whose networks of refinement go on, once, in place of a fit from the "
        "start.",
    )
    epochs: Annotated[int, Field(ge=0)] = Field(
        2, description="Of each fit; 0 takes the networks of `start` as they are."
    )
    complexes: Count | None = Field(
        None, description="Complexes of the training side to fit the networks on, evenly over it; null takes all."
    )
    calibration_complexes: Count = Field(
        200, description="Complexes of the validation side to calibrate on, evenly over it."
    )

    @model_validator(mode="after")
    def _begins_somewhere(self) -> RefinementSettings:
        if not self.epochs and self.start is None:
            raise ValueError("epochs 0 fits nothing: name the networks to take, start: shipped or a model file")
        return self


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
    geometry: bool = Field(
        True,
        description="Let bonds and angles of the given backbone tell of chi1; they remember the side chains it had.",
    )
    backbone: Literal["input", "predicted"] = Field(
        "input", description="input: N, CA, C, O stay as they are; predicted: as the model moves them."
    )
