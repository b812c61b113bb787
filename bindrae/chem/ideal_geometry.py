"""Rigid groups of the 20 amino acids: where each atom stands in the group that carries it.

The numbers come from ``ideal_geometry.csv``: trimmed means over the residues with B < 40 A^2 of 3,044 public
protein-ligand structures of the PDB, made by ``python -m bindrae.chem.fit_geometry``. Groups are those of AlphaFold
(Jumper et al. 2021, SI 1.8.4): 0 the backbone frame (origin CA, x to C, N in the xy plane), 1 psi (carries O), 2-5
chi1-chi4.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from bindrae.chem import residues as aa

N_GROUPS = 6
GROUP_BACKBONE, GROUP_PSI, GROUP_CHI1 = 0, 1, 2
_TABLE = Path(__file__).with_name("ideal_geometry.csv")
# A measured torsion this close to 0 or 180 is that of a planar group: pi systems are flat by chemistry.
_PLANAR_WITHIN_DEG = 0.6
Rows = dict[str, dict[str, str]]  # atom -> column -> text


@dataclass(frozen=True)
class IdealGeometry:
    """Constants of forward kinematics, float64.

    Attributes
    ----------
    group : numpy.ndarray
        [21, 14] int64, group that carries each slot.
    local : numpy.ndarray
        [21, 14, 3] position of each slot in its group's frame (A); 0 where there is no slot.
    rotation, translation : numpy.ndarray
        [21, 6, 3, 3] and [21, 6, 3] frame of each group in its parent's frame at torsion 0. The parent of psi and chi1
        is the backbone, of chi k the group of chi k-1. The x axis is the bond that the torsion turns about.
    peptide : dict of str to float
        C-N bond (A), CA-C-N and C-N-CA angles (radians) of the bond between residues.
    """

    group: np.ndarray
    local: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    peptide: dict[str, float]


def place_atom(c: np.ndarray, b: np.ndarray, a: np.ndarray, bond: float, angle: float, torsion: float) -> np.ndarray:
    """Position of an atom bonded to `a`, from internal coordinates (NeRF).

    Parsons et al., J. Comput. Chem. 26, 1063, 2005.

    Parameters
    ----------
    c, b, a : numpy.ndarray
        [3] torsion, angle and bonded atom (A).
    bond : float
        Distance to `a` (A).
    angle, torsion : float
        Angle at `a` with `b`, torsion about b-a from `c` (radians).
    """
    x = (a - b) / np.linalg.norm(a - b)
    normal = np.cross(b - c, x)
    z = normal / np.linalg.norm(normal)
    y = np.cross(z, x)
    return a + bond * (-np.cos(angle) * x + np.sin(angle) * np.cos(torsion) * y + np.sin(angle) * np.sin(torsion) * z)


def frame_of(origin: np.ndarray, on_x: np.ndarray, in_plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frame with its x axis from `origin` to `on_x` and `in_plane` in the xy plane (y > 0).

    Returns
    -------
    rotation : numpy.ndarray
        [3, 3], axes as columns.
    translation : numpy.ndarray
        [3], the origin.
    """
    x = (on_x - origin) / np.linalg.norm(on_x - origin)
    y = in_plane - origin
    y = y - (y @ x) * x
    y = y / np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)], axis=-1), origin


@cache
def ideal_geometry() -> IdealGeometry:
    """The constants, built once from the table."""
    with _TABLE.open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    group = np.zeros((aa.N_TYPES, aa.N_SLOTS), dtype=np.int64)
    local = np.zeros((aa.N_TYPES, aa.N_SLOTS, 3))
    rotation = np.tile(np.eye(3), (aa.N_TYPES, N_GROUPS, 1, 1))
    translation = np.zeros((aa.N_TYPES, N_GROUPS, 3))
    by_residue: dict[str, Rows] = {}
    for row in table:
        by_residue.setdefault(row["residue"], {})[row["atom"]] = row
    for kind in range(aa.N_TYPES):
        # An unknown residue has the backbone and CB of alanine.
        name = aa.RESIDUE_NAMES[kind] if kind != aa.UNKNOWN else "ALA"
        _build(kind, by_residue[name], group, local, rotation, translation)
    link = by_residue["-"]
    peptide = {
        "bond": float(link["N+"]["bond_angstrom"]),
        "angle_ca_c_n": float(np.radians(float(link["N+"]["angle_deg"]))),
        "angle_c_n_ca": float(np.radians(float(link["CA+"]["angle_deg"]))),
    }
    return IdealGeometry(group, local, rotation, translation, peptide)


def _flat(degrees: float) -> float:
    nearest = 180.0 * round(degrees / 180.0)
    return float(np.radians(nearest if abs(degrees - nearest) < _PLANAR_WITHIN_DEG else degrees))


def _build(
    kind: int, rows: Rows, group: np.ndarray, local: np.ndarray, rotation: np.ndarray, translation: np.ndarray
) -> None:
    """Fill the constants of one type: build the residue with all torsions 0, then express each atom in its group."""

    def number(atom: str, column: str) -> float:
        return float(rows[atom][column])

    bend = np.radians(number("C", "angle_deg"))
    position = {
        "CA": np.zeros(3),
        "C": np.array([number("C", "bond_angstrom"), 0.0, 0.0]),
        "N": number("CA", "bond_angstrom") * np.array([np.cos(bend), np.sin(bend), 0.0]),
    }
    member = dict.fromkeys(("N", "CA", "C"), GROUP_BACKBONE)
    # The zero of psi and of each chi is cis: with psi = 0 the next N eclipses N, so O stands at 180 degrees.
    axes: dict[int, tuple[str, str, str]] = {GROUP_PSI: ("N", "CA", "C")}
    for atom, row in rows.items():
        if atom in ("CA", "C"):
            continue
        torsion_atom, angle_atom, bonded, source = row["torsion_atom"], row["angle_atom"], row["bonded"], row["source"]
        position[atom] = place_atom(
            position[torsion_atom], position[angle_atom], position[bonded],
            number(atom, "bond_angstrom"), np.radians(number(atom, "angle_deg")), _flat(float(row["torsion_deg"])),
        )  # fmt: skip
        if source == "psi":
            member[atom] = GROUP_PSI
        elif source == "bb":
            member[atom] = GROUP_BACKBONE
        elif source == "fix":
            member[atom] = member[bonded]
        else:
            member[atom] = GROUP_CHI1 + int(source[3]) - 1
            axes.setdefault(member[atom], (torsion_atom, angle_atom, bonded))

    frames = {GROUP_BACKBONE: (np.eye(3), np.zeros(3))}
    for number_of_group in sorted(axes):
        before, start, end = (position[a] for a in axes[number_of_group])
        # Origin at the bond's far end, x along the bond, the atom before it in the half plane y > 0.
        x = end + (end - start)
        frames[number_of_group] = frame_of(end, x, before + (end - start))
        parent = GROUP_BACKBONE if number_of_group in (GROUP_PSI, GROUP_CHI1) else number_of_group - 1
        parent_rotation, parent_translation = frames[parent]
        r, t = frames[number_of_group]
        rotation[kind, number_of_group] = parent_rotation.T @ r
        translation[kind, number_of_group] = parent_rotation.T @ (t - parent_translation)
    for slot, atom in enumerate(aa.ATOM14_NAMES[kind]):
        if atom:
            r, t = frames[member[atom]]
            group[kind, slot] = member[atom]
            local[kind, slot] = r.T @ (position[atom] - t)
