"""Floors of the data themselves: how much the crystal clashes, and what forward kinematics cannot rebuild.

A perfect prediction has the crystal's clashes; one made of ideal bond lengths and angles has the round trip's error.
"""

from __future__ import annotations

import hashlib
import heapq
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from bindrae.chem import residues as aa
from bindrae.chem.ideal_geometry import GROUP_CHI1, GROUP_PSI, N_GROUPS, ideal_geometry
from bindrae.data.batch import atom_radii
from bindrae.data.layout import DataLayout
from bindrae.data.schema import iterate_rows
from bindrae.data.storage import read_table
from bindrae.evaluation.metrics import find_clashes, match_symmetric
from bindrae.geometry.kinematics import angles_to_circle, torsions_to_atoms
from bindrae.geometry.rigid import build_frames_from_3_points
from bindrae.reporting.tally import N_EXTREMES, Histogram
from bindrae.structure.torsions import CHI1, PSI

_CLEAN_COLUMNS = [
    "id", "chain", "number", "insertion", "aatype", "linked", "atom14", "atom14_mask", "ligand_xyz", "ligand_element",
]  # fmt: skip
_BACKBONE = [aa.SLOT_N, aa.SLOT_CA, aa.SLOT_C]
_BEYOND_CB = slice(aa.SLOT_CB + 1, None)
# Sums by residue type.
_SUMS = ("residues", "atoms", "clash", "ligand_clash", "fk_squared", "fk_atoms", "fk_side_squared", "fk_side_atoms")


def choose_sample(ids: list[str], wanted: int, seed: int) -> set[str]:
    """The complexes with the smallest SHA-256 of ``<seed>:<id>``: adding complexes changes the sample little."""
    return set(heapq.nsmallest(wanted, ids, key=lambda i: hashlib.sha256(f"{seed}:{i}".encode()).digest()))


def round_trip(
    xyz: np.ndarray, mask: np.ndarray, aatype: np.ndarray, angles: np.ndarray, defined: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Error of the atoms rebuilt from their own frames and torsions with ideal bond lengths and angles.

    Parameters
    ----------
    xyz, mask : numpy.ndarray
        [N, 14, 3] (A) and [N, 14].
    aatype : numpy.ndarray
        [N] types.
    angles, defined : numpy.ndarray
        [N, 7] radians and bool.

    Returns
    -------
    squared : numpy.ndarray
        [N, 14] squared distances (A^2), 0 where not compared; symmetric atoms matched the better way.
    compared : numpy.ndarray
        [N, 14] atoms that exist, whose residue has its frame, and all of whose torsions are defined.
    """
    x = torch.from_numpy(np.array(xyz, dtype=np.float64))
    frames = build_frames_from_3_points(*(x[:, slot] for slot in _BACKBONE))
    kind = torch.from_numpy(aatype.astype(np.int64))
    rebuilt, _ = torsions_to_atoms(frames, angles_to_circle(torch.from_numpy(angles.astype(np.float64))), kind)
    known = np.ones((len(aatype), N_GROUPS), dtype=bool)
    known[:, GROUP_PSI] = defined[:, PSI]
    known[:, GROUP_CHI1:] = np.logical_and.accumulate(defined[:, CHI1:], axis=1)
    compared = mask & aa.ATOM14_MASK[aatype] & np.take_along_axis(known, ideal_geometry().group[aatype], axis=1)
    compared &= mask[:, _BACKBONE].all(axis=1, keepdims=True)
    return match_symmetric(rebuilt.numpy(), xyz, compared, aatype)


class Floors:
    """Floors over a sample of the accepted complexes, batch by batch.

    Parameters
    ----------
    ids : list of str
        All complexes that may be drawn.
    wanted : int
        Complexes of the sample, see `choose_sample`.
    seed : int
    """

    def __init__(self, ids: list[str], wanted: int, seed: int) -> None:
        self._wanted, self._seed, self._n = wanted, seed, 0
        self._chosen = pa.array(sorted(choose_sample(ids, wanted, seed)), pa.string())
        self._sums = dict(zip(_SUMS, np.zeros((len(_SUMS), aa.N_TYPES)), strict=True))
        self._pairs = self._near_pairs = 0
        self._worst: dict[str, list[tuple[float, str]]] = {}
        self._residues: list[tuple[float, str, str]] = []
        self._distributions = {
            "clash_atoms_pct": Histogram("Crystal clashes", "% of heavy atoms", np.arange(0.0, 5.1, 0.1)),
            "fk_sidechain_rmsd": Histogram("Rebuilt side chains", "RMSD, Å", np.arange(0.0, 1.01, 0.02)),
        }

    def add(self, layout: DataLayout, number: int, ids: list[str]) -> None:
        """Measure the complexes of one batch that belong to the sample.

        Parameters
        ----------
        layout : DataLayout
        number : int
            The batch.
        ids : list of str
            Its accepted complexes.
        """
        batch = pa.array(ids, pa.string())
        chosen = batch.filter(pc.is_in(batch, self._chosen))
        if not len(chosen):
            return

        def rows(stage: str, columns: list[str]) -> Any:
            table = read_table(layout.batch(stage, number), columns)
            return iterate_rows(table.filter(pc.is_in(table["id"], chosen)))

        torsions = rows("torsions", ["id", "angles", "defined"])
        for row, other in zip(rows("clean", _CLEAN_COLUMNS), torsions, strict=True):
            self._measure(row, other["angles"], other["defined"])

    def _measure(self, row: dict[str, Any], angles: np.ndarray, defined: np.ndarray) -> None:
        kind, mask = row["aatype"].astype(np.int64), row["atom14_mask"]
        radius = atom_radii(torch.from_numpy(row["ligand_element"].astype(np.int64))).numpy()
        clashes = find_clashes(row["atom14"], mask, kind, row["linked"], row["ligand_xyz"], radius)
        squared, compared = round_trip(row["atom14"], mask, kind, angles, defined)
        side, side_n = squared[:, _BEYOND_CB].sum(1), compared[:, _BEYOND_CB].sum(1)
        values = (
            np.ones(len(kind)), mask.sum(1), clashes["protein"], clashes["ligand"],
            squared.sum(1), compared.sum(1), side, side_n,
        )  # fmt: skip
        for name, value in zip(_SUMS, values, strict=True):
            self._sums[name] += np.bincount(kind, weights=value, minlength=aa.N_TYPES)
        self._n += 1
        self._pairs += int(clashes["pairs"])
        self._near_pairs += int(clashes["near_pairs"])
        worst = {
            "clash_atoms_pct": _share(clashes["protein"].sum(), mask.sum()),
            "ligand_clash_atoms": float(clashes["ligand"].sum()),
            "fk_sidechain_rmsd": _rms(side.sum(), side_n.sum()),
        }
        for name, value in worst.items():
            if value is not None:
                self._worst[name] = _largest(self._worst.get(name, []), [(value, row["id"])])
                if name in self._distributions:
                    self._distributions[name].add(np.array([value]))
        rms = np.sqrt(side / np.maximum(side_n, 1))
        for i in np.argsort(-rms, kind="stable")[:N_EXTREMES]:
            name = f"{row['chain'][i]} {row['number'][i]}{row['insertion'][i]} {_NAMES[kind[i]]}".strip()
            self._residues = _largest(self._residues, [(float(rms[i]), row["id"], name)])

    def summary(self) -> dict[str, Any]:
        """The floors as they stand in quality.json; ``None`` where nothing could be measured."""
        by_type = {
            name: self._figures({key: value[i] for key, value in self._sums.items()})
            for i, name in enumerate(_NAMES)
            if self._sums["residues"][i]
        }
        return {
            "complexes": self._n,
            "wanted": self._wanted,
            "seed": self._seed,
            **self._figures({key: value.sum() for key, value in self._sums.items()}),
            "clash_pairs_pct": _share(self._pairs, self._near_pairs),
            "by_type": by_type,
            "distributions": {name: histogram.summary() for name, histogram in self._distributions.items()},
            "worst": {
                name: [{"id": identifier, "value": value} for value, identifier in pairs if value > 0]
                for name, pairs in self._worst.items()
            },
            "distorted_residues": [
                {"id": identifier, "residue": residue, "value": value}
                for value, identifier, residue in self._residues
                if value > 0
            ],
        }

    @staticmethod
    def _figures(sums: dict[str, float]) -> dict[str, Any]:
        return {
            **{name: int(sums[name]) for name in ("residues", "atoms")},
            "clash_atoms_pct": _share(sums["clash"], sums["atoms"]),
            "ligand_clash_atoms_pct": _share(sums["ligand_clash"], sums["atoms"]),
            "fk_atoms": int(sums["fk_atoms"]),
            "fk_rmsd": _rms(sums["fk_squared"], sums["fk_atoms"]),
            "fk_sidechain_atoms": int(sums["fk_side_atoms"]),
            "fk_sidechain_rmsd": _rms(sums["fk_side_squared"], sums["fk_side_atoms"]),
        }


_NAMES = (*aa.RESIDUE_NAMES, "UNK")


def _share(part: float, whole: float) -> float | None:
    return float(100.0 * part / whole) if whole else None


def _rms(squared: float, n: float) -> float | None:
    return float(np.sqrt(squared / n)) if n else None


def _largest(kept: list[Any], new: list[Any]) -> list[Any]:
    """The largest few, ties by name."""
    return heapq.nsmallest(N_EXTREMES, kept + new, key=lambda entry: (-entry[0], *entry[1:]))
