"""Settings of the data stages, from the index to the quality page."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from bindrae.config.base import Count, Fraction, Positive, Settings


class IndexSettings(Settings):
    """Which complexes there are, and how they are cut into batches."""

    layout: Literal["demo", "casf2016", "pdbbind", "pairs", "sheet", "ids"] = Field(
        "casf2016",
        description="Shape of `root`. casf2016/pdbbind: <id>/<id>_protein.pdb with <id>_ligand.sdf or .mol2; "
        "pairs: the same files in one flat folder; sheet: `root` is a CSV, TSV or parquet table with columns "
        "id, protein, ligand; ids: `root` is a list of PDB ids, which the index fetches; demo: the complexes inside "
        "installed packages, no root.",
    )
    structure_url: Annotated[str, Field(pattern=r"^(https://|http://(127\.0\.0\.1|localhost)[:/]).*<(id|ID)>")] = Field(
        "https://files.rcsb.org/download/<id>.cif.gz",
        description="Address of an entry's mmCIF or PDB file, for layout ids: <id> in small, <ID> in capital letters, "
        "<middle> its two middle characters. https, or http on this machine.",
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
