"""Measure ideal geometry from cleaned structures: ``python -m bindrae.chem.fit_geometry CLEAN.parquet ... OUTPUT.csv``.

Made ``ideal_geometry.csv``. Each side-chain atom has a bond length, a bond angle and a torsion (or the offset of its
torsion from the chi that turns it); the table holds trimmed means over all residues with low B-factors, with the spread
(median absolute deviation times 1.4826) and the count beside them.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd

from bindrae.chem import residues as aa
from bindrae.data.schema import iterate_rows
from bindrae.data.storage import read_table
from bindrae.structure.torsions import dihedral

_MAX_BFACTOR = 40.0
# The backbone's own rows: N-CA, CA-C and their angle, the peptide bond, and O by psi.
_BACKBONE = (("CA", "N", "", ""), ("C", "CA", "N", ""), ("O", "C", "CA", "N"))


def _middle(values: np.ndarray) -> float:
    """Mean of the values within four spreads of the median: the centre that makes squared errors smallest."""
    return float(values[np.abs(values - np.median(values)) <= 4 * _spread(values)].mean())


def _spread(values: np.ndarray) -> float:
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def _angle(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    u, v = a - b, c - b
    cosine = (u * v).sum(-1) / (np.linalg.norm(u, axis=-1) * np.linalg.norm(v, axis=-1))
    return np.arccos(np.clip(cosine, -1, 1))


def _circular(values: np.ndarray) -> tuple[float, float]:
    """Trimmed mean and spread of angles, taken about their mean direction."""
    centre = np.angle(np.exp(1j * values).mean())
    rest = np.angle(np.exp(1j * (values - centre)))
    middle = centre + _middle(rest)
    return float(np.angle(np.exp(1j * middle))), _spread(rest)


def measure(paths: list[Path]) -> pd.DataFrame:
    """Mean internal coordinates by residue type.

    Parameters
    ----------
    paths : list of Path
        Tables of the clean stage.

    Returns
    -------
    pandas.DataFrame
        Columns residue, atom, bonded, angle_atom, torsion_atom, source, bond_angstrom, angle_deg, torsion_deg, their
        spreads and the count.
    """
    parts: dict[int, list[np.ndarray]] = defaultdict(list)
    peptide: list[np.ndarray] = []
    for path in paths:
        for row in iterate_rows(read_table(path, ["id", "aatype", "atom14", "atom14_mask", "bfactor", "linked"])):
            full = (row["atom14_mask"] == aa.ATOM14_MASK[row["aatype"]]).all(axis=1)
            cold = np.where(row["atom14_mask"], row["bfactor"], 0.0).max(axis=1) < _MAX_BFACTOR
            for kind in range(aa.UNKNOWN):
                parts[kind].append(row["atom14"][full & cold & (row["aatype"] == kind)])
            joined = np.flatnonzero(row["linked"] & cold)
            peptide.append(np.concatenate([row["atom14"][joined, :4], row["atom14"][joined + 1, :3]], axis=1))
    rows: list[dict[str, object]] = []
    for kind in range(aa.UNKNOWN):
        name = aa.RESIDUE_NAMES[kind]
        xyz = np.concatenate(parts[kind]).astype(np.float64)
        atom = {a: xyz[:, i] for i, a in enumerate(aa.ATOM14_NAMES[kind]) if a}
        chi: dict[str, np.ndarray] = {}
        steps = [(*step, "psi" if step[0] == "O" else "bb") for step in _BACKBONE]
        steps += [(s.atom, s.bonded, s.angle, s.torsion, s.source) for s in aa.BUILD_STEPS[name]]
        for target, bonded, angle, torsion, source in steps:
            entry: dict[str, object] = {
                "residue": name,
                "atom": target,
                "bonded": bonded,
                "angle_atom": angle,
                "torsion_atom": torsion,
            }
            entry["source"] = source
            length = np.linalg.norm(atom[target] - atom[bonded], axis=-1)
            entry |= {"bond_angstrom": _middle(length), "bond_spread": _spread(length)}
            if angle:
                bend = np.degrees(_angle(atom[target], atom[bonded], atom[angle]))
                entry |= {"angle_deg": _middle(bend), "angle_spread": _spread(bend)}
            if torsion and source != "psi":
                turn = dihedral(atom[torsion], atom[angle], atom[bonded], atom[target])[0].astype(np.float64)
                if source.startswith("chi"):
                    turn = turn - chi.setdefault(source, turn)
                middle, spread = _circular(turn)
                entry |= {"torsion_deg": np.degrees(middle), "torsion_spread": np.degrees(spread)}
            elif source == "psi":  # O lies opposite the next residue's N
                entry |= {"torsion_deg": 180.0, "torsion_spread": 0.0}
            rows.append(entry | {"count": len(xyz)})
    rows += _peptide_rows(np.concatenate(peptide).astype(np.float64))
    return pd.DataFrame(rows)


def _peptide_rows(xyz: np.ndarray) -> list[dict[str, object]]:
    """The bond between residues: C-N and the two angles at it (residue `-`)."""
    _, CA, C, _, N2, CA2, _ = (xyz[:, i] for i in range(7))
    length = np.linalg.norm(N2 - C, axis=-1)
    at_c, at_n = np.degrees(_angle(CA, C, N2)), np.degrees(_angle(C, N2, CA2))
    common = {"residue": "-", "torsion_atom": "", "source": "peptide", "count": len(xyz)}
    return [
        {**common, "atom": "N+", "bonded": "C", "angle_atom": "CA", "bond_angstrom": _middle(length),
         "bond_spread": _spread(length), "angle_deg": _middle(at_c), "angle_spread": _spread(at_c)},
        {**common, "atom": "CA+", "bonded": "N+", "angle_atom": "C", "angle_deg": _middle(at_n),
         "angle_spread": _spread(at_n)},
    ]  # fmt: skip


if __name__ == "__main__":
    *inputs, output = map(Path, sys.argv[1:])
    measure(inputs).round(4).to_csv(output, index=False)
