"""Pockets to look at: the worst predicted ones and a typical one, with crystal, prediction, ligand and probes.

The evaluation keeps angles, not atoms. The predicted side chains are built again from the input's backbone and the
predicted chis, which gives the atoms of a refined prediction; a prediction with ``evaluation.refine: false`` also moves
the backbone a little, which is not shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial.distance import pdist, squareform

from bindrae.chem import residues as aa
from bindrae.chem.probes import TYPE_NAMES
from bindrae.data.dataset import ShardDataset
from bindrae.data.layout import DataLayout
from bindrae.errors import BindraeError
from bindrae.evaluation.predictors import rebuild

_PLACES = ("largest", "second largest", "third largest", "fourth largest")
N_WORST = len(_PLACES)
MAX_RESIDUES = 60
"""Pocket residues that are drawn, the nearest to the ligand first."""
COLUMNS = [
    "id", "row", "type", "contact", "all_chi_hit20", "chi1_error", "chi1_n", "sidechain_rmsd", "ligand_distance",
    "confidence", *(f"chi{k}_pred" for k in range(1, aa.N_CHI + 1)),
]  # fmt: skip
"""Columns of residues.parquet that are read; the labels `LABELS` besides, where they are there."""
LABELS = ["chain", "number", "insertion", "name"]
# Atoms of a ligand closer than the sum of their radii and this are drawn as bonded.
_BOND_TOLERANCE_ANGSTROM = 0.45
_COVALENT_RADII = {1: 0.31, 5: 0.84, 6: 0.76, 7: 0.71, 8: 0.66, 9: 0.57, 14: 1.11, 15: 1.07, 16: 1.05, 17: 1.02,
                   34: 1.20, 35: 1.20, 53: 1.39}  # fmt: skip
_DEFAULT_RADIUS = 1.3


@dataclass(frozen=True)
class Pocket:
    """One pocket, in the frame of the crystal.

    Attributes
    ----------
    id, why : str
        The complex, and for what it was chosen.
    irmsd : float
        Its pocket iRMSD (A).
    residues : pandas.DataFrame
        The n residues that are drawn: columns of `COLUMNS`, `LABELS` where known.
    kind : numpy.ndarray
        [n] residue types.
    true, true_mask, pred, pred_mask : numpy.ndarray
        [n, 14, 3] (A) and [n, 14]; `pred_mask` holds the side chain only, and is empty where no angle is predicted.
    linked : list of (int, int)
        Rows of `residues` that are joined by a peptide bond, first the one whose C takes part.
    ligand, element : numpy.ndarray
        [m, 3] (A) and [m] atomic numbers.
    bonds : list of (int, int)
        Bonded ligand atoms, by their distance.
    probes, context : numpy.ndarray
        [p, 3] direction probes and [c, 3] heavy atoms of metals, cofactors and further ligands (A).
    n_left_out : int
        Pocket residues beyond the limit.
    """

    id: str
    why: str
    irmsd: float
    residues: pd.DataFrame
    kind: np.ndarray
    true: np.ndarray
    true_mask: np.ndarray
    pred: np.ndarray
    pred_mask: np.ndarray
    linked: list[tuple[int, int]]
    ligand: np.ndarray
    element: np.ndarray
    bonds: list[tuple[int, int]]
    probes: np.ndarray
    context: np.ndarray
    n_left_out: int


def choose_pockets(by_complex: list[dict[str, Any]]) -> list[tuple[str, str, float]]:
    """Id, reason and pocket iRMSD of the pockets to show: the largest first, then the median one.

    Parameters
    ----------
    by_complex : list of dict
        That part of evaluation.json; complexes without a pocket iRMSD are passed over.
    """
    known = [(c["pocket_irmsd"], str(c["id"])) for c in by_complex if c.get("pocket_irmsd") is not None]
    ranked = sorted(known, key=lambda pair: (-pair[0], pair[1]))
    chosen = [(name, f"{place} pocket iRMSD", value) for place, (value, name) in zip(_PLACES, ranked, strict=False)]
    if len(ranked) > N_WORST:
        value, name = ranked[max(N_WORST, (len(ranked) - 1) // 2)]
        chosen.append((name, "median pocket iRMSD", value))
    return chosen


def pockets_to_show(
    layout: DataLayout, side: str, residues: pd.DataFrame, by_complex: list[dict[str, Any]]
) -> list[Pocket]:
    """The pockets of `choose_pockets` with their atoms.

    Parameters
    ----------
    layout : DataLayout
        The dataset that was scored; its shards are read.
    side : str
        The side that was scored.
    residues : pandas.DataFrame
        From residues.parquet.
    by_complex : list of dict
        That part of evaluation.json.

    Raises
    ------
    BindraeError
        When the shards are missing or hold other complexes than those that were scored.
    """
    chosen = choose_pockets(by_complex)
    if not chosen:
        return []
    dataset = ShardDataset(layout, side)
    place = {name: i for i, name in enumerate(dataset.ids)}
    pockets = []
    for name, why, irmsd in chosen:
        rows = residues[residues["id"] == name].sort_values("row")
        if name not in place or len(rows) != dataset.lengths[place[name]]:
            raise BindraeError(
                f"{name} was scored with {len(rows)} residues, but the shards of {layout.root} hold "
                f"{dataset.lengths[place[name]] if name in place else 'no such complex'}",
                "the data changed since; rerun `bindrae evaluate`",
            )
        pockets.append(_pocket(why, irmsd, rows.reset_index(drop=True), dataset[place[name]][1]))
    return pockets


def _pocket(why: str, irmsd: float, rows: pd.DataFrame, sample: dict[str, Any]) -> Pocket:
    chi = rows[[f"chi{k}_pred" for k in range(1, aa.N_CHI + 1)]].to_numpy(dtype=np.float64)
    kind = sample["aatype"].numpy().astype(np.int64)
    known = np.isfinite(chi) | ~aa.CHI_MASK[kind]
    atoms, mask = rebuild(sample, np.radians(np.nan_to_num(chi)).astype(np.float32))
    # Glycine has no side chain, alanine needs no angle.
    mask = mask & (np.arange(aa.N_SLOTS) >= aa.SLOT_CB) & known.all(1)[:, None]
    inside = rows.index[rows["contact"]].to_numpy()
    order = inside[np.argsort(rows["ligand_distance"].to_numpy()[inside], kind="stable")]
    kept = np.sort(order[:MAX_RESIDUES])
    where = {int(row): i for i, row in enumerate(kept)}
    linked = sample["linked"].numpy()
    ligand, element = sample["ligand_xyz"].numpy(), sample["ligand_element"].numpy().astype(np.int64)
    probe = sample["lig_types"].numpy()[:, TYPE_NAMES.index("probe")] > 0
    return Pocket(
        id=str(rows["id"].iloc[0]),
        why=why,
        irmsd=irmsd,
        residues=rows.loc[kept].reset_index(drop=True),
        kind=kind[kept],
        true=sample["atom14"].numpy()[kept],
        true_mask=sample["atom14_mask"].numpy()[kept],
        pred=atoms[kept],
        pred_mask=mask[kept],
        linked=[(i, where[row + 1]) for row, i in where.items() if linked[row] and row + 1 in where],
        ligand=ligand,
        element=element,
        bonds=ligand_bonds(ligand, element),
        probes=sample["lig_points"].numpy()[probe],
        context=sample["context_xyz"].numpy(),
        n_left_out=len(inside) - len(kept),
    )


def ligand_bonds(xyz: np.ndarray, element: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of atoms close enough to be bonded.

    Parameters
    ----------
    xyz : numpy.ndarray
        [m, 3] (A).
    element : numpy.ndarray
        [m] atomic numbers.
    """
    if len(xyz) < 2:
        return []
    radius = np.array([_COVALENT_RADII.get(int(z), _DEFAULT_RADIUS) for z in element])
    near = squareform(pdist(xyz)) < radius[:, None] + radius + _BOND_TOLERANCE_ANGSTROM
    return [(int(a), int(b)) for a, b in zip(*np.nonzero(np.triu(near, 1)), strict=True)]
