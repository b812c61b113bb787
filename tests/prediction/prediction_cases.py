"""A protein with what real files hold, the same without, or with wrong, side chains; networks that say something."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch

from bindrae.prediction.surroundings import SurroundingsNetwork
from bindrae.prediction.turns import TurnNetwork
from complexes import Atom, hetero, peptide

Network = TypeVar("Network", bound=torch.nn.Module)
SEQUENCE = "AFKDSWLEGHRMPTYNQVIC"
BACKBONE = ("N", "CA", "C", "O", "OXT")


def messy_protein() -> list[Atom]:
    """Two chains, an insertion code, alternate locations of a side chain, hydrogens, a metal, waters and a TPO."""
    atoms = peptide(SEQUENCE)
    atoms = [replace(a, insertion="A") if a.number == 5 else a for a in atoms]
    atoms = [replace(a, number=4) if a.number == 5 else a for a in atoms]
    second = peptide("GSTPAKE", chain="B", start=301, origin=(0.0, 14.0, 3.0))
    second = [replace(a, residue="TPO") if a.number == 303 else a for a in second]
    og = next(a for a in second if a.number == 303 and a.name == "OG1")
    at = second.index(og) + 2
    second.insert(at, replace(og, name="P", element="P", xyz=tuple(np.add(og.xyz, (0.0, 1.6, 0.0)))))
    lys = [a for a in atoms if a.residue == "LYS" and a.name not in BACKBONE]
    other = [replace(a, altloc="B", occupancy=0.4, xyz=tuple(np.add(a.xyz, (0.3, 0.3, 0.3)))) for a in lys]
    atoms = [replace(a, altloc="A", occupancy=0.6) if a in lys else a for a in atoms]
    atoms[atoms.index(replace(lys[-1], altloc="A", occupancy=0.6)) + 1 : 0] = other
    ca = next(a for a in atoms if a.number == 2 and a.name == "CA")
    atoms.insert(atoms.index(ca) + 1, replace(ca, name="HA", element="H", xyz=tuple(np.add(ca.xyz, (0.0, 0.0, 1.0)))))
    waters = hetero("HOH", 901, {"O": (5.0, -9.0, 2.0)}) + hetero("HOH", 902, {"O": (9.0, -9.0, 2.0)})
    return atoms + second + hetero("ZN", 401, {"ZN": (3.0, 6.0, 8.0)}) + waters


def scrambled(atoms: list[Atom]) -> list[Atom]:
    """Every side-chain atom (and hydrogen) of the 20 types somewhere else."""
    rng = np.random.default_rng(0)
    return [replace(a, xyz=tuple(rng.uniform(-40, 40, 3).round(3))) if is_sidechain(a) else a for a in atoms]


def stripped(atoms: list[Atom]) -> list[Atom]:
    """No side-chain atom of the 20 types."""
    return [a for a in atoms if not is_sidechain(a)]


def is_sidechain(atom: Atom) -> bool:
    return not atom.hetero and atom.residue != "TPO" and atom.name not in BACKBONE


def random_network(seed: int = 0) -> SurroundingsNetwork:
    """A network of surroundings none of whose weights is 0."""
    torch.manual_seed(seed)
    return _speaking(SurroundingsNetwork(), 0.3)


def random_turns(seed: int = 0) -> TurnNetwork:
    """A network of turns none of whose weights is 0."""
    torch.manual_seed(seed)
    return _speaking(TurnNetwork(), 0.1)


def _speaking(network: Network, std: float) -> Network:
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return network.requires_grad_(False).eval()
