"""Small peptides built by the project's own forward kinematics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from bindrae.chem import residues as aa
from bindrae.geometry.chain import chain_to_atoms
from bindrae.geometry.kinematics import angles_to_circle

HELIX = (-63.0, -42.0)
"""phi and psi of an alpha helix (degrees)."""
Place = tuple[int, str]  # residue, atom


@dataclass(frozen=True)
class Peptide:
    """N residues of one chain.

    Attributes
    ----------
    aatype : numpy.ndarray
        [N] types.
    xyz, mask : numpy.ndarray
        [N, 14, 3] (A) and [N, 14].
    rotation, origin : numpy.ndarray
        [N, 3, 3] and [N, 3] frames (A).
    """

    aatype: np.ndarray
    xyz: np.ndarray
    mask: np.ndarray
    rotation: np.ndarray
    origin: np.ndarray

    @property
    def linked(self) -> np.ndarray:
        """[N] peptide bond to the next residue."""
        return np.arange(len(self.aatype)) < len(self.aatype) - 1

    def atoms(self) -> list[Place]:
        """Every atom."""
        return [(i, aa.ATOM14_NAMES[self.aatype[i]][slot]) for i, slot in zip(*np.nonzero(self.mask), strict=True)]

    def at(self, residue: int, atom: str) -> np.ndarray:
        """[3] its place (A)."""
        return self.xyz[residue, aa.ATOM14_NAMES[self.aatype[residue]].index(atom)]

    def bonds(self) -> list[tuple[Place, Place]]:
        """Bonds within residues and peptide bonds."""
        found: list[tuple[Place, Place]] = [((i, "C"), (i + 1, "N")) for i in range(len(self.aatype) - 1)]
        for i, kind in enumerate(self.aatype):
            names = aa.ATOM14_NAMES[kind]
            found += [((i, names[a]), (i, names[b])) for a, b in aa.BONDS[kind]]
        return found


def build(sequence: str, phi: float, psi: float, omega: float = 180.0, chi: float = 180.0) -> Peptide:
    """A peptide with the same torsions (degrees) in every residue.

    Parameters
    ----------
    sequence : str
        One-letter codes.
    phi, psi, omega, chi : float
        Degrees; `chi` for all chis.
    """
    kinds = torch.tensor([aa.TYPE_OF_LETTER[letter] for letter in sequence])
    angles = torch.deg2rad(torch.tensor([phi, psi, omega, chi, chi, chi, chi], dtype=torch.float64))
    torsions = angles_to_circle(angles.repeat(len(sequence), 1))
    linked = torch.arange(len(sequence)) < len(sequence) - 1
    first = (torch.eye(3, dtype=torch.float64).repeat(len(sequence), 1, 1),
             torch.zeros(len(sequence), 3, dtype=torch.float64))  # fmt: skip
    xyz, mask, (rotation, origin) = chain_to_atoms(torsions, kinds, linked, first)
    return Peptide(*(tensor.numpy() for tensor in (kinds, xyz, mask, rotation, origin)))
