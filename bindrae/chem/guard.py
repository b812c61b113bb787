"""Calls into RDKit that might not come back, in a process that can be killed.

RDKit perceives rings, aromaticity, stereo and canonical order in code that nothing can interrupt. Drug-like molecules
take a millisecond; heavily fused ones, or files with damaged bonds, can take hours or end the process. Those few are
handed to a child process with a time limit; all others are treated in place and pay nothing.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from rdkit import Chem, RDLogger

from bindrae.chem.walk import atoms_of
from bindrae.errors import RejectedComplex

RDLogger.DisableLog("rdApp.*")  # type: ignore[attr-defined]  # every failure is raised with its own message

MAX_EASY_ATOMS = 120
"""Heavy atoms above which a molecule goes to the child process; 6 of 3,044 ligands of public sets have more."""
MAX_EASY_RINGS = 12
"""Independent rings above which it does; none of those ligands has more."""
_KEPT = Chem.PropertyPickleOptions.CoordsAsDouble | Chem.PropertyPickleOptions.AllProps

Settled = tuple[Chem.Mol, str, str]


def is_hard(mol: Chem.Mol) -> bool:
    """Whether a molecule (not sanitised) is one on which RDKit may take very long."""
    rings = mol.GetNumBonds() - mol.GetNumAtoms() + len(Chem.GetMolFrags(mol))
    if mol.GetNumAtoms() <= MAX_EASY_ATOMS or rings > MAX_EASY_RINGS:
        return rings > MAX_EASY_RINGS
    return sum(atom.GetAtomicNum() != 1 for atom in atoms_of(mol)) > MAX_EASY_ATOMS


def is_hard_to_parse(n_atoms: int, n_bonds: int) -> bool:
    """Whether a file's header tells of a molecule on which RDKit's parsers may take very long."""
    return n_atoms > 4 * MAX_EASY_ATOMS or n_bonds - n_atoms >= MAX_EASY_RINGS


def pack(mol: Chem.Mol) -> bytes:
    """A molecule with its properties and full precision of coordinates."""
    binary: bytes = mol.ToBinary(_KEPT)
    return binary


def unpack(binary: bytes) -> Chem.Mol:
    """The molecule of `pack`."""
    return Chem.Mol(binary)  # type: ignore[call-overload]  # the stubs forget bytes


def settle(mol: Chem.Mol) -> Settled:
    """Sanitise, take stereo from the coordinates, and remove hydrogens.

    Parameters
    ----------
    mol : rdkit.Chem.Mol
        As parsed, with one conformer; changed in place.

    Returns
    -------
    mol : rdkit.Chem.Mol
        Without hydrogens.
    smiles, inchikey : str

    Raises
    ------
    ValueError, RuntimeError
        When RDKit finds the molecule impossible.
    """
    Chem.SanitizeMol(mol)
    Chem.AssignStereochemistryFrom3D(mol)
    mol = Chem.RemoveAllHs(mol)
    return mol, Chem.MolToSmiles(mol), Chem.MolToInchiKey(mol) or Chem.MolToInchiKey(_without_dative_bonds(mol))


def _without_dative_bonds(mol: Chem.Mol) -> Chem.Mol:
    """InChI does not know them; haem then has a key that says where its iron is covalently bound."""
    covalent = Chem.RWMol(mol)
    for bond in mol.GetBonds():
        if bond.GetBondType() == Chem.BondType.DATIVE:
            covalent.RemoveBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
    return covalent.GetMol()


def settle_within(mol: Chem.Mol, seconds: float, where: str) -> Settled:
    """`settle`, in a child process when the molecule is hard; raises as `run_apart`."""
    if not is_hard(mol):
        return settle(mol)
    binary, smiles, inchikey = run_apart(_settle_packed, (pack(mol),), seconds, where)
    return unpack(binary), smiles, inchikey


def _settle_packed(binary: bytes) -> tuple[bytes, str, str]:
    mol, smiles, inchikey = settle(unpack(binary))
    return pack(mol), smiles, inchikey


def run_apart(function: Callable[..., Any], arguments: tuple[Any, ...], seconds: float, where: str) -> Any:
    """Call a function of a module in a child process.

    Parameters
    ----------
    function : callable
        Found by its module and name.
    arguments : tuple
        Of texts and bytes, and so is the result: nothing that crosses over can run anything here.
    seconds : float
        Time limit, the child's start (a third of a second) included.
    where : str
        File name for messages.

    Raises
    ------
    RejectedComplex
        ``ligand_timeout``, or ``ligand_unreadable`` when the child died.
    ValueError
        What the function raised as ValueError or RuntimeError.
    """
    import msgpack

    # A fork would copy the locks of pyarrow's and torch's threads; a fresh interpreter is safe everywhere.
    call = msgpack.packb((function.__module__, function.__name__, arguments))
    command = [sys.executable, "-c", "from bindrae.chem.guard import answer; answer()"]
    try:
        done = subprocess.run(command, input=call, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise RejectedComplex("ligand_timeout", f"{where}: RDKit did not finish within {seconds:g} s") from None
    if done.returncode:
        raise RejectedComplex("ligand_unreadable", f"{where}: RDKit died on the molecule (exit code {done.returncode})")
    fault, result = msgpack.unpackb(done.stdout)
    if fault:
        raise ValueError(fault)
    return result


def answer() -> None:
    """What the child process does: read a call from standard input, write its result to standard output."""
    import msgpack

    module, name, arguments = msgpack.unpackb(sys.stdin.buffer.read())
    try:
        result = "", getattr(importlib.import_module(module), name)(*arguments)
    except (ValueError, RuntimeError) as error:
        result = str(error) or type(error).__name__, None
    sys.stdout.buffer.write(msgpack.packb(result))
