"""Crystals of the same protein: reading one, finding its residues in another, and moving the other's ligand into it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from rdkit import Chem
from rdkit.Chem import rdMolTransforms

from bindrae.chem import residues as aa
from bindrae.chem.ligand import mol_from_block
from bindrae.config import CleanSettings, PocketSettings, TokenSettings
from bindrae.data.axes import AXES
from bindrae.data.batch import Sample
from bindrae.data.runner import Row
from bindrae.data.stages import clean_complex, pocket_row, tokens_row, torsions_row
from bindrae.evaluation.metrics import kabsch_align
from bindrae.structure.context import nearest_distance, nearest_ligand_distance

POCKET_ANGSTROM = 6.0
"""Residues with a heavy atom this near the ligand's are the pocket of a pair of crystals."""
SHARED_POCKET = 0.5
"""Ligands sit in one site when at least this share of the smaller pocket belongs to the larger one too."""
FITTED_ANGSTROM = 2.0
"""Pocket residues whose backbone lies farther off than this after superposition (A, RMSD) take no part in it."""
_DISPLACED_ANGSTROM = 1.8
"""An atom of another molecule this close to the moved ligand is in its place; metals bind from 1.9 A on."""
_FIT_ROUNDS = 20
_FEWEST_FITTED = 3
_FRAME = [aa.SLOT_N, aa.SLOT_CA, aa.SLOT_C]


class UnusablePairError(Exception):
    """A pair of crystals that cannot be scored.

    Parameters
    ----------
    code : str
        Short name of the reason, for counting.
    message : str
        What stands against it.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass
class Crystal:
    """One complex of N residues as cleaning gives it, and as the model takes it."""

    id: str
    row: Row = field(repr=False)  # of `schema.CLEAN`
    sample: Sample = field(repr=False)
    pocket: np.ndarray  # [N] bool, within `POCKET_ANGSTROM` of the ligand

    @property
    def chi(self) -> np.ndarray:
        """[N, 4] radians."""
        return self.sample["torsion_angles"][:, 3:].numpy()

    @property
    def defined(self) -> np.ndarray:
        """[N, 4] bool, which chis the crystal has."""
        return self.sample["torsion_mask"][:, 3:].numpy()


def read_crystal(identifier: str, protein: Path, ligand: list[str]) -> Crystal:
    """Read a complex from its files as the pipeline does, with the default settings.

    Raises
    ------
    RejectedComplex
        As `clean` rejects complexes.
    """
    row = clean_complex({"id": identifier, "protein": str(protein), "ligand": ligand}, CleanSettings())
    near = nearest_ligand_distance(row["atom14"], row["atom14_mask"], row["ligand_xyz"], POCKET_ANGSTROM)
    return Crystal(identifier, row, sample_of(row), near <= POCKET_ANGSTROM)


def sample_of(row: Row) -> Sample:
    """A cleaned complex with its pocket, torsions and tokens, in the form that a shard holds; no language model."""
    whole = row | pocket_row(row, PocketSettings()) | torsions_row(row)
    # The tokens' `xyz` are theirs alone.
    whole |= tokens_row(whole, TokenSettings())
    sample = {
        name: torch.as_tensor(np.ascontiguousarray(whole[column])).to(dtype)
        for columns in AXES.values()
        for name, (column, dtype) in columns.items()
    }
    n = len(row["aatype"])
    return sample | {"plm": torch.zeros(n, 0), "residue_index": torch.arange(n)}


def without_ligand(sample: Sample) -> Sample:
    """The same complex as a prediction without a ligand takes it: no token; other molecules are but in the way."""
    return sample | {name: sample[name][:0] for axis in ("token", "ligand") for name in AXES[axis]}


def partners(first: Crystal, second: Crystal) -> np.ndarray:
    """The residue of the first crystal for each of the second.

    Chains belong together when they have the same sequence, in the order of the files.

    Returns
    -------
    numpy.ndarray
        [N of the second] row in the first, -1 for none.

    Raises
    ------
    UnusablePairError
        ``other_sequence``, when no chain of one is a chain of the other.
    """
    free: dict[str, list[np.ndarray]] = defaultdict(list)
    for k, sequence in enumerate(first.row["sequences"]):
        free[sequence].append(np.flatnonzero(first.row["chain_index"] == k))
    rows = np.full(len(second.row["aatype"]), -1)
    for k, sequence in enumerate(second.row["sequences"]):
        if free[sequence]:
            rows[second.row["chain_index"] == k] = free[sequence].pop(0)
    if not (rows >= 0).any():
        raise UnusablePairError(
            "other_sequence", f"no chain of {first.id} has the residues of a chain of {second.id} after cleaning"
        )
    return rows


def check_same_site(first: Crystal, second: Crystal, rows: np.ndarray) -> None:
    """Check that both ligands sit in the same pocket.

    Parameters
    ----------
    first, second : Crystal
    rows : numpy.ndarray
        From `partners`.

    Raises
    ------
    UnusablePairError
        ``other_site``, see `SHARED_POCKET`; ``pocket_incomplete``, when fewer than three residues of a pocket have a
        partner.
    """
    there = rows >= 0
    in_first = np.zeros_like(there)
    in_first[there] = first.pocket[rows[there]]
    in_second = second.pocket & there
    sizes = int(in_first.sum()), int(in_second.sum())
    if min(sizes) < _FEWEST_FITTED:
        raise UnusablePairError(
            "pocket_incomplete",
            f"of the pockets of {first.id} and {second.id} {sizes[0]} and {sizes[1]} residues are in both crystals",
        )
    shared = int((in_first & in_second).sum())
    if shared < SHARED_POCKET * min(sizes):
        raise UnusablePairError(
            "other_site",
            f"the ligands of {first.id} and {second.id} share {shared} of {sizes[0]} and {sizes[1]} pocket residues",
        )


@dataclass
class Crossed:
    """The backbone of one crystal with the ligand of another."""

    sample: Sample = field(repr=False)
    pocket_rmsd: float  # of all N, CA, C of the pocket between the two crystals, superposed (A)
    ligand_distance: float  # from the moved ligand to the nearest N, CA, C or O (A)
    displaced: int  # atoms of other molecules that the moved ligand leaves no room


def cross(backbone: Crystal, donor: Crystal, rows: np.ndarray) -> Crossed:
    """Move a ligand into another crystal of its protein, by superposing the backbone (N, CA, C) of its pocket.

    A loop that stands elsewhere takes no part, see `fit_core`. Metals and cofactors are those of the crystal that gives
    the backbone.

    Parameters
    ----------
    backbone : Crystal
        Gives everything but the ligand.
    donor : Crystal
        Gives the ligand.
    rows : numpy.ndarray
        [N of the donor] row in `backbone`, from `partners`.

    Raises
    ------
    UnusablePairError
        ``other_shape``, when less than half of the pocket can be superposed.
    """
    pocket = np.flatnonzero(donor.pocket & (rows >= 0))
    mobile = donor.row["atom14"][pocket][:, _FRAME].astype(np.float64)
    target = backbone.row["atom14"][rows[pocket]][:, _FRAME].astype(np.float64)
    rotation, shift, fitted = fit_core(mobile, target)
    if 2 * fitted.sum() < len(pocket):
        raise UnusablePairError(
            "other_shape",
            f"of the {len(pocket)} pocket residues of {donor.id} {int(fitted.sum())} lie on those of {backbone.id}",
        )
    rmsd = float(np.sqrt(((mobile @ rotation.T + shift - target) ** 2).sum(-1).mean()))
    motion = np.eye(4)
    motion[:3, :3], motion[:3, 3] = rotation, shift
    mol = mol_from_block(donor.row["ligand_block"])
    rdMolTransforms.TransformConformer(mol.GetConformer(), motion)
    xyz = (donor.row["ligand_xyz"] @ rotation.T + shift).astype(np.float32)
    stays = nearest_distance(backbone.row["context_xyz"], xyz) >= _DISPLACED_ANGSTROM
    row = backbone.row | {
        "id": f"{backbone.id}+{donor.id}",
        "ligand_xyz": xyz,
        "ligand_element": donor.row["ligand_element"],
        "ligand_block": Chem.MolToV3KMolBlock(mol),
        **{name: backbone.row[name][stays] for name in ("context_xyz", "context_element", "context_charge")},
    }
    bare = backbone.row["atom14"][:, : aa.SLOT_CB]
    distance = nearest_ligand_distance(bare, backbone.row["atom14_mask"][:, : aa.SLOT_CB], xyz, POCKET_ANGSTROM)
    return Crossed(sample_of(row), rmsd, float(distance.min()), int((~stays).sum()))


def fit_core(mobile: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Superpose backbones on what they have in common.

    Residues farther off than `FITTED_ANGSTROM`, the farther half at most, are left out of the next fit until nothing
    changes.

    Parameters
    ----------
    mobile, target : numpy.ndarray
        [K, 3, 3] N, CA, C of the same residues (A).

    Returns
    -------
    rotation, shift : numpy.ndarray
        [3, 3] and [3]; ``mobile @ rotation.T + shift`` lies on `target`.
    fitted : numpy.ndarray
        [K] bool, residues within `FITTED_ANGSTROM` under this motion.
    """
    chosen = np.ones(len(mobile), dtype=bool)
    for _ in range(_FIT_ROUNDS):
        rotation, shift = kabsch_align(mobile[chosen].reshape(-1, 3), target[chosen].reshape(-1, 3))
        off = np.sqrt(((mobile @ rotation.T + shift - target) ** 2).sum(-1).mean(-1))
        # The nearer half always stays: a loop far off drags the first fit away from all residues.
        closer = off <= max(FITTED_ANGSTROM, float(np.median(off)))
        if (closer == chosen).all():
            break
        chosen = closer
    fitted = off <= FITTED_ANGSTROM
    return rotation, shift, fitted
