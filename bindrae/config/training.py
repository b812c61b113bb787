"""The training recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from bindrae.config.base import Count, Fraction, Positive, Settings


class TrainingSettings(Settings):
    """The training recipe."""

    seed: int = Field(0, description="Seed of initialisation, order, crops, noise and shown side chains.")
    init: str | None = Field(
        None,
        description="Weights to start from instead of random ones: a model file, or `shipped` for those of the "
        "package. The architecture must be theirs, up to dropout and `recycles`.",
    )
    max_epochs: Count = Field(100, description="Passes over the training side.")
    patience: Count = Field(20, description="Epochs without a better value of `select_by` before stopping.")
    select_by: Literal["pocket_irmsd", "chi1_acc20", "pocket_chi1_acc20", "loss"] = Field(
        "pocket_irmsd", description="Figure of the validation side that picks the best epoch."
    )
    batch_size: Count = Field(4, description="Complexes of a batch.")
    max_batch_residues: Count | None = Field(
        None,
        description="Padded residues of a batch at most, instead of `batch_size`: many small complexes or a few large "
        "ones; null counts complexes.",
    )
    accumulate: Count = Field(
        1,
        description="Batches whose gradients make one step. Processes of a distributed run share them out, so the "
        "result does not depend on how many there are; give at least one a GPU.",
    )
    max_residues: Count = Field(512, description="Training crop around the ligand; evaluation never crops.")
    lr: Positive = Field(1e-4, description="Peak learning rate of AdamW.")
    weight_decay: Annotated[float, Field(ge=0.0)] = Field(0.05, description="Decoupled weight decay.")
    warmup_steps: Annotated[int, Field(ge=0)] = Field(1000, description="Linear warm-up before the cosine.")
    clip_norm: Positive = Field(1.0, description="Largest gradient norm.")
    ema_decay: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        0.999,
        description="Decay a step of the running mean of the weights that is validated and kept; 0 keeps the last "
        "weights. Rises from 0.1 at the start.",
    )
    weight_torsion: Annotated[float, Field(ge=0.0)] = Field(1.0, description="Weight of the torsion loss.")
    weight_fape: Annotated[float, Field(ge=0.0)] = Field(1.0, description="Weight of FAPE.")
    weight_distance: Annotated[float, Field(ge=0.0)] = Field(0.1, description="Weight of the distance loss.")
    weight_clash: Annotated[float, Field(ge=0.0)] = Field(0.1, description="Weight of the clash penalty.")
    pocket_kappa: Annotated[float, Field(ge=0.0)] = Field(
        1.0, description="Residue weight in the losses: 1 + kappa w_res."
    )
    pocket_warmup_steps: Annotated[int, Field(ge=0)] = Field(2000, description="Steps over which kappa rises from 0.")
    chi_smoothing_deg: Annotated[float, Field(ge=0.0, le=30.0)] = Field(
        5.0,
        description="Width of the wrapped normal around the true chi that the bins are trained to (degrees): crystals "
        "do not know a chi better. 0 trains the true bin alone.",
    )
    max_bfactor: Positive | None = Field(
        40.0, description="Chis of residues with a larger B-factor do not train; null trains all."
    )
    noise_start_step: Annotated[int, Field(ge=0)] = Field(
        5000, description="Rigid noise on the frames begins after this step."
    )
    noise_rotation_deg: Annotated[float, Field(ge=0.0)] = Field(
        5.0, description="Rotation noise, uniform in [0, this]."
    )
    noise_translation_angstrom: Annotated[float, Field(ge=0.0)] = Field(
        0.1, description="Translation noise, standard deviation a component (A)."
    )
    noise_wide_fraction: Fraction = Field(
        0.0,
        description="Share of the complexes whose noise is drawn anew between none and the two keys below, so that "
        "poor backbones are known too.",
    )
    noise_wide_rotation_deg: Annotated[float, Field(ge=0.0)] = Field(10.0, description="Widest rotation noise.")
    noise_wide_translation_angstrom: Annotated[float, Field(ge=0.0)] = Field(
        0.5, description="Widest translation noise (A)."
    )
    geometry_passes: Annotated[int, Field(ge=0)] = Field(
        8,
        description="Passes over the backbones of the training side for the network of `model.backbone_geometry`, "
        "before the training; it stays that of `init` where this has one. 0 leaves it saying nothing.",
    )
    geometry_untold_fraction: Fraction = Field(
        0.15,
        description="Share of the complexes whose backbone's bond lengths and angles are not read, so that the model "
        "knows to do without.",
    )
    shown_fraction: Fraction = Field(
        0.6,
        description="Share of the steps that train with some of the side chains shown and the others predicted, "
        "as in the sweeps of `model.recycles`.",
    )
    shown_most: Fraction = Field(0.85, description="Most of a complex's side chains that are shown; drawn from 0.")
    shown_wrong: Fraction = Field(
        0.25, description="Most of the shown side chains that are another one of their type; drawn from 0."
    )
    shown_noise_deg: Annotated[float, Field(ge=0.0)] = Field(
        8.0, description="Noise on the chis of shown side chains, standard deviation (degrees)."
    )
    structure_fraction: Fraction = Field(
        0.25,
        description="Share of the steps whose FAPE, distance and clash losses are computed; they cost a quarter of a "
        "step and teach the side chains little.",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "fp32",
        description="Autocast of the network; geometry and losses stay fp32. auto takes bf16 where all devices of the "
        "run multiply it by themselves (GPUs from Ampere on, processors with AMX or AVX-512 BF16), else fp32: other "
        "processors take several times as long in bf16.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto takes CUDA where there is one.")
    processes: Count = Field(
        1,
        description="Processes that share the batches of each step: one a GPU, on a CPU they divide the threads. "
        "Divides `accumulate`.",
    )
    compile: bool = Field(False, description="torch.compile the trunk's layers; needs a C++ compiler.")
    loader_workers: Annotated[int, Field(ge=0)] = Field(0, description="Processes that prepare batches ahead.")
    validation_complexes: Count | None = Field(
        None, description="Complexes of the validation side scored after each epoch, evenly over it; null takes all."
    )
    log_steps: Count = Field(50, description="Steps between two lines of the record.")
    checkpoint_minutes: Positive = Field(15.0, description="Time between checkpoints inside an epoch (min).")
    tensorboard: bool = Field(False, description="Also write TensorBoard events into the run's folder.")

    @model_validator(mode="after")
    def _processes_share_evenly(self) -> TrainingSettings:
        if self.accumulate % self.processes:
            raise ValueError(
                f"accumulate ({self.accumulate}) must be a multiple of processes ({self.processes}), which share out "
                "the batches of a step"
            )
        return self


class EnsembleSettings(Settings):
    """Networks of one recipe, trained apart, whose distributions are averaged: `snakemake ensemble`."""

    seeds: list[Annotated[int, Field(ge=0)]] = Field(
        [0, 1, 2],
        min_length=1,
        description="Seeds of the trainings, in the place of `training.seed`; results go under runs/<run>/ensemble/.",
    )
    init: list[str] | None = Field(
        None,
        description="Weights that the trainings start from, one model file for each seed; by default all start as "
        "`training.init` says.",
    )
    sweeps: Annotated[int, Field(ge=0)] = Field(
        0,
        description="Sweeps that each network makes at prediction, in the place of `model.recycles`. None takes a "
        "quarter of the time of one, and refinement makes up for most of it.",
    )

    @model_validator(mode="after")
    def _different(self) -> EnsembleSettings:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {self.seeds} repeat: the same seed trains the same network")
        if self.init is not None and len(self.init) != len(self.seeds):
            raise ValueError(f"init names {len(self.init)} model files for {len(self.seeds)} seeds: one for each")
        return self

    def member(self, seed: int, training: TrainingSettings) -> TrainingSettings:
        """The recipe of the network with one of the `seeds`: `training` with a seed and a start of its own."""
        init = training.init if self.init is None else self.init[self.seeds.index(seed)]
        return training.model_copy(update={"seed": seed, "init": init})


EXECUTION_KEYS = frozenset(
    {"device", "processes", "compile", "loader_workers", "log_steps", "checkpoint_minutes", "tensorboard"}
)
"""Training settings that say how a run is carried out, not what comes out: a resumed run may change them."""
