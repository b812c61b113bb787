"""The single source of every setting: models, defaults, documentation and the JSON schema.

The Snakefile, the command line and the documentation all read these models; nothing else defines a default.
"""

from __future__ import annotations

import difflib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from bindrae.errors import BindraeError

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]


class Settings(BaseModel):
    """Base of all sections: unknown keys are refused, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class IndexSettings(Settings):
    """Which complexes there are, and how they are cut into batches."""

    layout: Literal["demo", "casf2016", "pdbbind", "pairs", "sheet", "ids"] = Field(
        "casf2016",
        description="Shape of `root`. casf2016/pdbbind: <id>/<id>_protein.pdb with <id>_ligand.sdf or .mol2; "
        "pairs: the same files in one flat folder; sheet: `root` is a CSV, TSV or parquet table with columns "
        "id, protein, ligand; ids: `root` is a list of PDB ids, which the index fetches; demo: the complexes inside "
        "installed packages, no root.",
    )
    structure_url: Annotated[str, Field(pattern=r"^https?://.*<(id|ID)>")] = Field(
        "https://files.rcsb.org/download/<id>.cif.gz",
        description="Address of an entry's mmCIF or PDB file, for layout ids: <id> in small, <ID> in capital letters, "
        "<middle> its two middle characters.",
    )
    download_attempts: Count = Field(3, description="Tries a file before its complex is rejected as `download_failed`.")
    download_timeout_seconds: Positive = Field(60.0, description="Silence of the server that ends one try (s).")
    download_threads: Annotated[int, Field(ge=1, le=32)] = Field(4, description="Files fetched at the same time.")
    n_batches: Count = Field(
        8,
        description="Batches the complexes are hashed into; one job a stage and batch. Aim at 100-1000 complexes each.",
    )

    @field_validator("structure_url")
    @classmethod
    def _known_places(cls, value: str) -> str:
        # Not braces: Snakemake would take {id} for a wildcard.
        if set(re.findall(r"<(.*?)>", value)) - {"id", "ID", "middle"} or set(value) & set("{}"):
            raise ValueError("structure_url may hold <id>, <ID> and <middle>, and no other brackets or braces")
        return value


class CleanSettings(Settings):
    """Named switches of the cleaning protocol; docs/cleaning.md gives the reason for each."""

    altlocs: Literal["highest_occupancy", "first"] = Field(
        "highest_occupancy",
        description="Which alternate location of a residue is kept; always one for the whole residue.",
    )
    modified_residues: Literal["to_parent", "unknown"] = Field(
        "to_parent", description="Modified amino acids (MSE, TPO, ...) become their parent, or the unknown residue X."
    )
    d_residues: Literal["unknown", "context"] = Field(
        "unknown",
        description="D-amino acids stay in the chain as the unknown residue X with their backbone, or are cut out "
        "of it and kept as context atoms; never their L parent, whose side chain would be mirrored.",
    )
    chains_within_angstrom: Positive | None = Field(
        None, description="Keep only chains with an atom this close to the ligand (A); null keeps all chains."
    )
    context_within_angstrom: Positive = Field(
        8.0,
        description="Metals, cofactors and further ligands this close to the ligand are kept (A).",
    )
    max_ligand_distance_angstrom: Positive = Field(
        5.0, description="A ligand with no protein heavy atom this close (A) is rejected as `ligand_far`."
    )
    max_residues: Count = Field(20000, description="Larger proteins are rejected as `protein_too_large`.")
    max_peptide_bond_angstrom: Positive = Field(
        2.0, description="Consecutive residues whose C-N distance is larger are a chain break (A)."
    )
    max_distorted_fraction: Fraction = Field(
        0.5,
        description="A protein with a larger share of residues whose bonds are impossible is rejected as "
        "`protein_distorted`.",
    )
    max_resolution_angstrom: Positive | None = Field(
        None,
        description="Structures whose header gives a worse resolution are rejected as `resolution`; an unknown one is "
        "noted. null takes all.",
    )
    max_clash_fraction: Fraction | None = Field(
        None,
        description="A ligand with a larger share of heavy atoms in clash with the protein (closer than the Bondi "
        "radii - 0.6 A, bonds left out) is rejected as `ligand_clash`; null takes all.",
    )
    max_ligand_atoms: Count = Field(500, description="Larger ligands (heavy atoms) are rejected as `ligand_too_large`.")
    max_ligand_seconds: Positive = Field(
        60.0, description="A ligand that takes RDKit longer is rejected as `ligand_timeout` (s)."
    )


class PocketSettings(Settings):
    """The soft pocket mask w_res."""

    contact_angstrom: Positive = Field(
        5.0, description="Heavy-atom distance that makes a residue part of the pocket (A)."
    )
    hops: Annotated[int, Field(ge=0)] = Field(1, description="Chain neighbours of contact residues that join the mask.")
    sigma_angstrom: Positive = Field(2.0, description="Width of the decay exp(-d^2 / 2 sigma^2) (A).")


class TorsionSettings(Settings):
    """Ground-truth torsions need no setting: the chain breaks are those found by `clean`."""


class TokenSettings(Settings):
    """Ligand tokens: heavy atoms and direction probes."""

    tokens: Literal["none", "atoms", "atoms_and_probes"] = Field(
        "atoms_and_probes", description="What of the ligand the network sees; the first two are ablations."
    )
    max_points: Count = Field(128, description="Tokens a complex, at most.")
    max_probes: Annotated[int, Field(ge=0, le=2)] = Field(2, description="Direction probes a key atom, at most.")
    probe_step_angstrom: Annotated[float, Field(ge=1.0, le=3.0)] = Field(
        1.5, description="Distance of a probe from its atom (A)."
    )
    context: bool = Field(True, description="Metals, cofactors and further ligands become tokens too.")


PLM_WIDTH: dict[str, int] = {
    "none": 0,
    "esm2_t6_8M_UR50D": 320,
    "esm2_t12_35M_UR50D": 480,
    "esm2_t30_150M_UR50D": 640,
    "esm2_t33_650M_UR50D": 1280,
    "esm2_t36_3B_UR50D": 2560,
    "esm2_t48_15B_UR50D": 5120,
}
"""Width of each language model's embedding (Lin et al., Science 379, 1123, 2023)."""


class EmbedSettings(Settings):
    """The frozen protein language model."""

    plm: Literal[
        "none",
        "esm2_t6_8M_UR50D",
        "esm2_t12_35M_UR50D",
        "esm2_t30_150M_UR50D",
        "esm2_t33_650M_UR50D",
        "esm2_t36_3B_UR50D",
        "esm2_t48_15B_UR50D",
    ] = Field("none", description="Language model; none costs nothing and needs no download.")
    weights_dir: str | None = Field(None, description="Folder that holds <plm>.pt; jobs use no network.")
    weights_sha256: str | None = Field(
        None, description="Expected SHA-256 of that file; null records it without a check."
    )
    window: Annotated[int, Field(ge=16, le=1022)] = Field(
        1022, description="Residues a pass; longer chains use windows."
    )
    overlap: Annotated[int, Field(ge=0)] = Field(256, description="Residues two neighbouring windows share.")
    dtype: Literal["float16", "float32"] = Field("float16", description="Number format of the stored embeddings.")
    cache_dir: str | None = Field(
        None,
        description="Folder where each distinct chain's embedding is kept for other batches, datasets and reruns; null "
        "keeps none. Costs the embeddings' size once more.",
    )

    @model_validator(mode="after")
    def _overlap_below_window(self) -> EmbedSettings:
        if self.overlap >= self.window:
            raise ValueError(f"overlap ({self.overlap}) must be smaller than window ({self.window})")
        return self


class SplitSettings(Settings):
    """Train, validation and test sides: whole sequence clusters, never single complexes."""

    protocol: Literal["within", "benchmark"] = Field(
        "within",
        description="within: all sides come from this dataset; benchmark: another dataset is the test, and every "
        "complex here with kin in it is excluded.",
    )
    benchmark: str | None = Field(
        None,
        description="Data folder of the dataset to test on, such as results/casf2016/data, for protocol benchmark; its "
        "`clean` stage must have run.",
    )
    fractions: tuple[Fraction, Fraction, Fraction] = Field(
        (226 / 283, 29 / 283, 28 / 283), description="Wanted shares of train, val and test, by complexes."
    )
    min_identity: Fraction = Field(
        0.3, description="Sequence identity over an alignment at which two chains may not part."
    )
    coverage: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.8,
        description="Share of both chains (for chain clusters), then of the shorter chain alone (for the final search) "
        "that the alignment must cover.",
    )
    max_evalue: Positive = Field(0.1, description="Alignments with a higher E-value are taken for chance.")
    min_chain_length: Annotated[int, Field(ge=5)] = Field(
        10,
        description="A chain with fewer known residues links complexes only where it is the longest chain of one: tags "
        "and short peptides would chain strangers together.",
    )
    exhaustive_below: Annotated[int, Field(ge=0)] = Field(
        15000,
        description="Up to so many distinct chains every pair is aligned; beyond, a k-mer search comes first, which "
        "misses a few distant pairs.",
    )
    seed: int = Field(0, description="Another seed, another assignment of clusters to sides.")

    @field_validator("fractions")
    @classmethod
    def _sum_to_one(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if abs(sum(value) - 1.0) > 1e-6:
            raise ValueError(f"fractions must sum to 1, not {sum(value):g}")
        return value

    @model_validator(mode="after")
    def _benchmark_goes_with_its_protocol(self) -> SplitSettings:
        if (self.protocol == "benchmark") != (self.benchmark is not None):
            raise ValueError("protocol: benchmark and benchmark: FOLDER go together; set both or neither")
        return self


class ShardSettings(Settings):
    """What training reads."""

    dtype: Literal["float16", "float32"] = Field("float16", description="Number format of embeddings in shards.")


class QualitySettings(Settings):
    """The data quality report."""

    max_examples: Count = Field(20, description="Rejected complexes listed by name for each reason.")
    floor_complexes: Annotated[int, Field(ge=0)] = Field(
        300,
        description="Complexes whose crystal clashes and forward-kinematics round trip are measured: those with the "
        "smallest SHA-256 of `<seed>:<id>`, all when there are fewer; 0 leaves the floors out.",
    )
    seed: int = Field(0, description="Another seed, another sample for the floors.")
    write_pocket_pdb: bool = Field(False, description="Also write each pocket as a PDB file under data/pockets/.")


class ModelSettings(Settings):
    """Architecture of Stage-1; stored in every model file and forced from it at load."""

    preset: str | None = Field(
        None,
        description="YAML file with model settings, which the other keys of this section override.",
    )
    c_s: Count = Field(128, description="Width of the residue representation.")
    c_z: Count = Field(64, description="Width of the edge factors.")
    c_hidden: Count = Field(16, description="Width of one attention head.")
    heads: Count = Field(8, description="Attention heads of FlashIPA.")
    depth: Count = Field(3, description="FlashIPA layers, each with its frame update.")
    qk_points: Count = Field(4, description="Query and key points a head.")
    v_points: Count = Field(8, description="Value points a head.")
    z_rank: Count = Field(2, description="Rank of the factorised edge embedding.")
    num_rbf: Count = Field(16, description="Radial basis functions of a distance.")
    edge_neighbours: Count = Field(10, description="Neighbours whose distances enter the edge factors.")
    local_neighbours: Annotated[int, Field(ge=0)] = Field(
        24, description="Neighbours of the local branch beside each FlashIPA layer; 0 leaves the branch out."
    )
    local_hidden: Count = Field(128, description="Width of the local branch's edges and messages.")
    ligand_tokens: Literal["none", "atoms", "atoms_and_probes"] = Field(
        "atoms_and_probes",
        description="Which tokens of the shards the network reads; the first two are ablations that need no other "
        "shards.",
    )
    ligand_film: bool = Field(True, description="Cross-attention to all tokens and FiLM after each layer.")
    d_lig: Count = Field(64, description="Width of a ligand token.")
    ligand_heads: Count = Field(8, description="Heads of the ligand cross-attention.")
    ligand_warmup_steps: Annotated[int, Field(ge=0)] = Field(
        2000, description="Steps over which FiLM's lambda goes from 0 to 1."
    )
    ligand_reach_angstrom: Positive | None = Field(
        14.0,
        description="Only residues with CA within this distance of a token are modulated (A); null takes all.",
    )
    ligand_shared: bool = Field(False, description="One conditioner for all layers (baseline), or one each.")
    ligand_neighbours: Annotated[int, Field(ge=0)] = Field(
        12, description="Nearest tokens a residue reads in its own frame besides the cross-attention; 0 leaves it out."
    )
    recycles: Annotated[int, Field(ge=0, le=3)] = Field(
        0, description="Further passes, each given the side chains of the one before; training draws from 0 to this."
    )
    d_plm: Annotated[int, Field(ge=0)] = Field(
        0, description="Width of the language-model embedding; follows embed.plm, leave it out."
    )
    dropout: Fraction = Field(0.1, description="Dropout in training.")
    max_rotation_deg: Positive = Field(15.0, description="Largest frame rotation a layer (degrees).")
    max_translation_angstrom: Positive = Field(1.5, description="Largest frame translation a layer and component (A).")
    chi_head: Literal["bins", "sincos"] = Field(
        "bins",
        description="bins: modes with an in-bin offset, chi1 to chi4 in turn; sincos: one mean direction (baseline).",
    )
    chi_bins: Count = Field(72, description="Bins of 2 pi for each chi.")
    attention: Literal["reference", "sdpa", "flash_ipa"] = Field(
        "sdpa", description="Attention backend; recorded in the model file, never swapped silently."
    )


class TrainingSettings(Settings):
    """The training recipe."""

    seed: int = Field(0, description="Seed of initialisation, order, crops and noise.")
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
    recycle_start_step: Annotated[int, Field(ge=0)] = Field(
        0, description="Steps trained without recycling; it costs a third of a step a pass."
    )
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32", description="Autocast of the network; geometry and losses stay fp32."
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto takes CUDA where there is one.")
    processes: Count = Field(
        1,
        description="Processes that share the batches of each step: one a GPU, on a CPU they divide the threads. "
        "Divides `accumulate`.",
    )
    compile: bool = Field(False, description="torch.compile the trunk's layers; needs a C++ compiler.")
    loader_workers: Annotated[int, Field(ge=0)] = Field(0, description="Processes that prepare batches ahead.")
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


EXECUTION_KEYS = frozenset(
    {"device", "processes", "compile", "loader_workers", "log_steps", "checkpoint_minutes", "tensorboard"}
)
"""Training settings that say how a run is carried out, not what comes out: a resumed run may change them."""


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


class Config(Settings):
    """A whole run: one dataset, one model, one training."""

    dataset: Name = Field("demo", description="Name of the dataset; results go under results/<dataset>/.")
    root: str | None = Field(None, description="Folder (or sheet) with the complexes.")
    run: Name = Field(
        "default", description="Name of the training run; results go under results/<dataset>/runs/<run>/."
    )
    max_rejected_fraction: Fraction = Field(
        0.2, description="The run fails when a larger share of complexes is rejected."
    )
    index: IndexSettings = Field(default_factory=IndexSettings)
    clean: CleanSettings = Field(default_factory=CleanSettings)
    pocket: PocketSettings = Field(default_factory=PocketSettings)
    torsions: TorsionSettings = Field(default_factory=TorsionSettings)
    tokens: TokenSettings = Field(default_factory=TokenSettings)
    embed: EmbedSettings = Field(default_factory=EmbedSettings)
    split: SplitSettings = Field(default_factory=SplitSettings)
    shards: ShardSettings = Field(default_factory=ShardSettings)
    quality: QualitySettings = Field(default_factory=QualitySettings)
    model: ModelSettings = Field(default_factory=ModelSettings)
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings)
    prediction: PredictionSettings = Field(default_factory=PredictionSettings)
    ablation: str = Field(
        "config/grids/ablation.yaml",
        description="Grid of trainings for `snakemake ablation`; results go under runs/<name of the file>/.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        width = PLM_WIDTH[self.embed.plm]
        if self.model.d_plm != width:
            raise ValueError(
                f"model.d_plm is {self.model.d_plm}, but embed.plm '{self.embed.plm}' gives {width}: leave d_plm out"
            )
        if self.index.layout != "demo" and not self.root:
            raise ValueError(
                f"root is not set: layout '{self.index.layout}' needs the folder with the complexes "
                "(edit `root:` in the config file, or pass --config root=FOLDER)"
            )
        return self


T = TypeVar("T", bound=Settings)


def parse_settings(model: type[T], data: dict[str, Any], where: str) -> T:
    """Validate one mapping against a model and name every fault.

    Parameters
    ----------
    model : type of Settings
    data : dict
        Parsed YAML or JSON.
    where : str
        What the data came from, for the message.

    Returns
    -------
    Settings
        An instance of `model`.

    Raises
    ------
    BindraeError
        With each unknown key (and the nearest known one), wrong type or value out of range by its dotted name.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        lines = [_describe(model, fault) for fault in error.errors()]
        raise BindraeError(
            f"{where}: " + "; ".join(lines), "config/README.md lists every key with its default"
        ) from None


def override(settings: T, given: dict[str, Any]) -> T:
    """Settings with some keys replaced, checked again.

    Raises
    ------
    BindraeError
        When a value is out of range.
    """
    if not given:
        return settings
    return parse_settings(type(settings), settings.model_dump() | given, "command line")


def _describe(model: type[Settings], fault: Any) -> str:
    path = [str(part) for part in fault["loc"]]
    dotted = ".".join(path)
    if fault["type"] != "extra_forbidden":
        return f"{dotted}: {fault['msg']}" if dotted else str(fault["msg"]).removeprefix("Value error, ")
    known = _known_keys(model, path[:-1])
    near = difflib.get_close_matches(path[-1], known, n=1)
    return f"unknown key '{dotted}'" + (f" (did you mean '{near[0]}'?)" if near else f" (known: {', '.join(known)})")


def _known_keys(model: type[Settings], path: list[str]) -> list[str]:
    for part in path:
        annotation = model.model_fields[part].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, Settings)):
            return []
        model = annotation
    return list(model.model_fields)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read one YAML mapping; an empty file is an empty mapping.

    Raises
    ------
    BindraeError
        When the file is missing, is not YAML, or is not a mapping.
    """
    if path.is_dir():
        raise BindraeError(f"{path} is a folder", "name the YAML file in it")
    try:
        data = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise BindraeError(f"{path} does not exist", "check the path; it is taken from the working folder") from None
    except yaml.YAMLError as error:
        raise BindraeError(f"{path} is not valid YAML: {error}", "mend the line it names") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise BindraeError(f"{path} holds {type(data).__name__}, not a mapping", "write `key: value` lines")
    return data


def resolve_config(data: dict[str, Any], where: str = "config") -> Config:
    """Validate a whole configuration, with the model preset merged in.

    Parameters
    ----------
    data : dict
        The merged mapping that Snakemake or a file gives.
    where : str
        What the data came from, for messages.

    Returns
    -------
    Config
        With ``model.preset`` resolved into plain values.
    """
    data = dict(data)
    section = data.get("model")
    if isinstance(section, dict) and isinstance(section.get("preset"), str):
        preset = read_yaml(Path(section["preset"]))
        parse_settings(ModelSettings, preset, str(section["preset"]))
        data["model"] = {**preset, **section}
    embed = data.get("embed")
    plm = str(embed.get("plm", "none")) if isinstance(embed, dict) else "none"
    if isinstance(data.get("model", {}), dict):
        data["model"] = {"d_plm": PLM_WIDTH.get(plm, 0), **data.get("model", {})}
    return parse_settings(Config, data, where)


def load_config(path: Path) -> Config:
    """Read and validate a configuration file."""
    return resolve_config(read_yaml(path), str(path))


def load_settings(model: type[T], source: str | None) -> T:
    """Read the settings of one stage from inline JSON or a YAML file.

    Parameters
    ----------
    model : type of Settings
    source : str or None
        A JSON object, the path of a YAML file, or None for the defaults.
    """
    if source is None:
        return model()
    if source.lstrip().startswith("{"):
        try:
            data = json.loads(source)
        except json.JSONDecodeError as error:
            raise BindraeError(f"--settings is not valid JSON: {error}", "pass a JSON object or a YAML file") from None
        return parse_settings(model, data, "--settings")
    return parse_settings(model, read_yaml(Path(source)), source)


def json_schema() -> dict[str, Any]:
    """The JSON schema of `Config`, as written to workflow/schemas/config.schema.json."""
    # Validators look for the dialect in the schema itself; pydantic leaves it out.
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Config.model_json_schema()}


def reference() -> str:
    """Every key with its type, default and meaning as Markdown: the content of config/REFERENCE.md."""
    lines = [
        "# Configuration reference",
        "",
        "Generated by `bindrae schema --reference --output config/REFERENCE.md`; a test keeps it true.",
    ]
    sections: list[tuple[str, type[Settings]]] = [("", Config)]
    for name, field in Config.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
            sections.append((name, field.annotation))
    for name, model in sections:
        summary = (model.__doc__ or "").strip().splitlines()[0]
        lines += ["", f"## `{name}:`" if name else "## Top level", "", summary]
        if not model.model_fields:
            continue
        lines += ["", "| key | default | meaning |", "|---|---|---|"]
        for key, field in model.model_fields.items():
            if key in {section for section, _ in sections}:
                continue
            default = (
                json.dumps(field.default)
                if not isinstance(field.default, tuple)
                else json.dumps([round(x, 4) for x in field.default])
            )
            lines.append(f"| `{key}` | `{default}` | {str(field.description).replace('<', '&lt;')} |")
    return "\n".join(lines) + "\n"
