"""Heavy atoms of a ligand for scoring: metrics need places and elements, not sound bonds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bindrae.chem.hetero import PREFIX, find_group, parse_hetero
from bindrae.chem.ligand_files import parse_ligand_file
from bindrae.config import CleanSettings
from bindrae.errors import RejectedComplex
from bindrae.structure.atoms import MAX_COORDINATE, Atoms


def read_ligand_atoms(
    ligand: list[str], atoms: Atoms, protein: Path, settings: CleanSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Places and elements of a ligand's heavy atoms.

    `clean` asks for a molecule with sound valences, which a network's input needs. Here a file is good whose atoms can
    be read, so that no complex of a benchmark is lost over a charge.

    Parameters
    ----------
    ligand : list of str
        SDF or MOL2 files of one ligand, best first, or ``hetatm:NAME/CHAIN/NUMBER``.
    atoms : Atoms
        The protein file, for the latter.
    protein : Path
        Its path, for messages.
    settings : CleanSettings
        Limits of size and time.

    Returns
    -------
    xyz : numpy.ndarray
        [L, 3] float32 (A).
    element : numpy.ndarray
        [L] int16, atomic numbers.

    Raises
    ------
    RejectedComplex
        ``ligand_missing``, ``ligand_unreadable``, ``ligand_empty``, ``ligand_not_3d``, ``ligand_not_in_file`` and
        those of `parse_ligand_file`; of several files the first one's fault.
    """
    if ligand[0].startswith(PREFIX):
        try:
            wanted = parse_hetero(ligand[0])
        except ValueError as error:
            raise RejectedComplex("ligand_not_in_file", str(error)) from None
        group = find_group(atoms, wanted, str(protein))
        return atoms.xyz[group], atoms.element[group]
    faults: list[RejectedComplex] = []
    for path in map(Path, ligand):
        try:
            return _from_file(path, settings)
        except RejectedComplex as fault:
            faults.append(fault)
        except (ValueError, RuntimeError) as error:
            faults.append(RejectedComplex("ligand_unreadable", f"{path}: {' '.join(str(error).split())[:200]}"))
    raise faults[0]


def _from_file(path: Path, settings: CleanSettings) -> tuple[np.ndarray, np.ndarray]:
    if not path.is_file():
        raise RejectedComplex("ligand_missing", f"{path} does not exist")
    mol = parse_ligand_file(path, settings.max_ligand_atoms, settings.max_ligand_seconds).mol
    element = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()], dtype=np.int16)
    heavy = element > 1
    if not heavy.any():
        raise RejectedComplex("ligand_empty", f"{path} holds no heavy atom")
    if not mol.GetNumConformers():
        raise RejectedComplex("ligand_not_3d", f"{path} has no coordinates")
    xyz = mol.GetConformer().GetPositions()[heavy]
    if not np.isfinite(xyz).all() or np.abs(xyz).max() > MAX_COORDINATE:
        raise RejectedComplex("ligand_unreadable", f"{path} holds coordinates that are not numbers")
    return xyz.astype(np.float32), element[heavy]
