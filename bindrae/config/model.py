"""The architecture."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bindrae.config.base import Count, Fraction, Positive, Settings


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
    local_edge_updates: bool = Field(
        True, description="Edges of the local branch take up each layer's messages for the next layer."
    )
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
        1,
        description="Sweeps after the first pass, in which the residues are asked again in three groups in turn, each "
        "shown the side chains of all others. 0 builds a network that can be shown none.",
    )
    backbone_geometry: bool = Field(
        True,
        description="Bond lengths, angles and planarity of the given backbone tell of chi1, by a network that is "
        "fitted before the training.",
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
