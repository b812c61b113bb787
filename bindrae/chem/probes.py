"""Ligand tokens: heavy atoms with their pharmacophore classes, and direction probes at the atoms that matter.

A probe stands where a key atom reaches out to the protein: beyond the atom, on the line of one of its bonds. The
probes give a set of points the directions that a point cloud of atoms lacks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from rdkit import Chem, RDConfig
from rdkit.Chem import ChemicalFeatures, rdPartialCharges

TYPE_NAMES = (
    "C", "N", "O", "S", "P", "halogen", "metal", "probe", "HBD", "HBA", "aromatic", "charged",
)  # fmt: skip
"""Meaning of the 12 type components: one of the first eight, any of the last four."""
N_TOKEN_TYPES = len(TYPE_NAMES)
CLASS_PRIORITY = {"charged": 100.0, "HBD": 50.0, "HBA": 40.0, "aromatic": 30.0}
"""Sampling priority of each class; an atom has that of its highest class."""
_DISTANCE_BONUS_ANGSTROM = 10.0

_ORGANIC = {6: "C", 7: "N", 8: "O", 16: "S", 15: "P", 9: "halogen", 17: "halogen", 35: "halogen", 53: "halogen"}
_FAMILY = {
    "Donor": "HBD", "Acceptor": "HBA", "Aromatic": "aromatic", "PosIonizable": "charged", "NegIonizable": "charged",
}  # fmt: skip


@dataclass
class AtomsInfo:
    """What `encode_atom_types` needs to know of M tokens."""

    element: np.ndarray  # [M] atomic number; that of its atom for a probe
    is_probe: np.ndarray  # [M] bool
    classes: dict[str, np.ndarray]  # HBD, HBA, aromatic, charged -> [M] bool


@dataclass
class Tokens:
    """M points that the network reads as the ligand and what stands beside it."""

    xyz: np.ndarray  # [M, 3] float32 (A): ligand atoms, then their probes, then context
    types: np.ndarray  # [M, 12] float32, see `encode_atom_types`
    is_context: np.ndarray  # [M] bool: a metal, or an atom of a cofactor or of a further ligand


@cache
def _feature_patterns() -> list[tuple[str, Chem.Mol]]:
    """Class and pattern of each feature of BaseFeatures that is one of ours.

    The factory's own `GetFeaturesForMol` matches all 27 patterns anew for each feature that it returns, which takes
    thirty times as long.
    """
    factory = ChemicalFeatures.BuildFeatureFactory(  # type: ignore[attr-defined]
        str(Path(RDConfig.RDDataDir) / "BaseFeatures.fdef")
    )
    families = ((name.partition(".")[0], smarts) for name, smarts in factory.GetFeatureDefs().items())
    return [(_FAMILY[family], Chem.MolFromSmarts(smarts)) for family, smarts in families if family in _FAMILY]


@cache
def _anionic_oxygen() -> Chem.Mol:
    # BaseFeatures has this acceptor too, but RDKit joins its lines so that it never matches.
    return Chem.MolFromSmarts("[O;-;!$(*-N=O)]")


def match_features(mol: Chem.Mol) -> dict[str, set[int]]:
    """Atom indices by class, as RDKit's BaseFeatures alone has them."""
    found: dict[str, set[int]] = {name: set() for name in CLASS_PRIORITY}
    for name, pattern in _feature_patterns():
        for match in mol.GetSubstructMatches(pattern):
            found[name].update(match)
    return found


def detect_key_atoms(mol: Chem.Mol) -> dict[str, set[int]]:
    """Atoms that can make a directed interaction, by class.

    Parameters
    ----------
    mol : rdkit.Chem.Mol
        Sanitised molecule.

    Returns
    -------
    dict of str to set of int
        Atom indices for ``HBD``, ``HBA``, ``aromatic`` and ``charged``, by RDKit's BaseFeatures; an atom with a formal
        charge is charged too, an anionic oxygen accepts, and an atom of an aromatic ring is aromatic.
    """
    found = match_features(mol)
    for atom in mol.GetAtoms():
        if atom.GetFormalCharge():
            found["charged"].add(atom.GetIdx())
        if atom.GetIsAromatic():
            found["aromatic"].add(atom.GetIdx())
    found["HBA"].update(i for (i,) in mol.GetSubstructMatches(_anionic_oxygen()))
    # A charged group of the feature factory includes its carbon; the charge sits on the others.
    found["charged"] = {
        i
        for i in found["charged"]
        if mol.GetAtomWithIdx(i).GetAtomicNum() != 6 or mol.GetAtomWithIdx(i).GetFormalCharge()
    }
    return found


def build_direction_probes(
    mol: Chem.Mol, pos: np.ndarray, atom_idx: int, max_k: int = 2, step: float = 1.5
) -> np.ndarray:
    """Probe positions of one atom: beyond it, on the lines of its bonds.

    The probe of the bond to neighbour n stands at ``pos[atom] + step * unit(pos[atom] - pos[n])``. A terminal atom so
    gets the one probe that continues its bond; with more bonds than `max_k`, those of the highest order come first,
    then those to the neighbour with the largest absolute Gasteiger charge (Gasteiger and Marsili, Tetrahedron 36,
    3219, 1980), then by index.

    Parameters
    ----------
    mol : rdkit.Chem.Mol
        Sanitised molecule without hydrogens.
    pos : numpy.ndarray
        [M, 3] positions (A).
    atom_idx : int
        The atom.
    max_k : int
        Probes at most.
    step : float
        Distance of a probe from the atom (A).

    Returns
    -------
    numpy.ndarray
        [K, 3] float32 with K <= `max_k`; K = 0 for an atom without bonds.
    """
    atom = mol.GetAtomWithIdx(atom_idx)
    bonds = list(atom.GetBonds())
    if len(bonds) > max_k:
        if not atom.HasProp("_GasteigerCharge"):
            rdPartialCharges.ComputeGasteigerCharges(mol)  # infinite or no number for some metals

        def rank(bond: Chem.Bond) -> tuple[float, float, int]:
            other = bond.GetOtherAtom(atom)
            charge = other.GetDoubleProp("_GasteigerCharge")
            return -bond.GetBondTypeAsDouble(), -abs(charge) if np.isfinite(charge) else 0.0, other.GetIdx()

        bonds.sort(key=rank)
    probes = []
    for bond in bonds[:max_k]:
        away = pos[atom_idx] - pos[bond.GetOtherAtomIdx(atom_idx)]
        length = float(np.linalg.norm(away))
        if length > 1e-6:
            probes.append(pos[atom_idx] + step * away / length)
    return np.array(probes, dtype=np.float32).reshape(-1, 3)


def encode_atom_types(atoms_info: AtomsInfo) -> np.ndarray:
    """12 type components of each token.

    Returns
    -------
    numpy.ndarray
        [M, 12] float32 in the order of ``TYPE_NAMES``: exactly one of the first eight is 1. Elements outside the list
        count as metal, except boron, silicon, arsenic and selenium, which go to their nearest organic neighbour.
    """
    types = np.zeros((len(atoms_info.element), N_TOKEN_TYPES), dtype=np.float32)
    nearest = {5: "C", 14: "C", 33: "P", 34: "S"}
    for i, (number, is_probe) in enumerate(zip(atoms_info.element, atoms_info.is_probe, strict=True)):
        name = "probe" if is_probe else _ORGANIC.get(int(number), nearest.get(int(number), "metal"))
        types[i, TYPE_NAMES.index(name)] = 1.0
    for name, member in atoms_info.classes.items():
        types[:, TYPE_NAMES.index(name)] = member
    return types


def build_ligand_tokens(
    mol: Chem.Mol,
    ca_xyz: np.ndarray,
    w_res: np.ndarray,
    max_points: int = 128,
    *,
    max_probes: int = 2,
    step: float = 1.5,
) -> tuple[np.ndarray, np.ndarray]:
    """Positions [M, 3] (A) and types [M, 12] of the tokens of a ligand alone; see `build_tokens`."""
    tokens = build_tokens(mol, ca_xyz, w_res, max_points, max_probes=max_probes, step=step)
    return tokens.xyz, tokens.types


def build_tokens(
    mol: Chem.Mol,
    ca_xyz: np.ndarray,
    w_res: np.ndarray,
    max_points: int = 128,
    *,
    max_probes: int = 2,
    step: float = 1.5,
    context_xyz: np.ndarray | None = None,
    context_element: np.ndarray | None = None,
    context_charge: np.ndarray | None = None,
) -> Tokens:
    """Tokens of a ligand and of what stands beside it.

    When there are more than `max_points`, the score ``priority + 10 A - distance to the pocket centre`` decides; ties
    fall to the lower index. Priorities are ``CLASS_PRIORITY`` by the highest class an atom has, 0 for other heavy
    atoms; a probe inherits its atom's.

    Parameters
    ----------
    mol : rdkit.Chem.Mol
        Sanitised molecule without hydrogens, one conformer: the bound pose.
    ca_xyz : numpy.ndarray
        [N, 3] CA positions (A).
    w_res : numpy.ndarray
        [N] the backbone-only pocket weight; the pocket centre is the CA mean by it. The weight that sees side chains
        must not be used: it would tell the network where they are.
    max_points : int
        Tokens at most.
    max_probes : int
        Probes at most for each key atom; 0 gives atoms alone.
    step : float
        Distance of a probe from its atom (A).
    context_xyz, context_element, context_charge : numpy.ndarray, optional
        [K, 3], [K], [K] metals and atoms of cofactors and further ligands.

    Returns
    -------
    Tokens
    """
    pos = mol.GetConformer().GetPositions().astype(np.float32)
    key = detect_key_atoms(mol)
    n = len(pos)
    member = {name: _flags(atoms, n) for name, atoms in key.items()}
    points, owner, is_probe = [pos], list(range(n)), [False] * n
    if max_probes:
        for i in sorted(set().union(*key.values())):
            probes = build_direction_probes(mol, pos, i, max_probes, step)
            points.append(probes)
            owner += [i] * len(probes)
            is_probe += [True] * len(probes)
    element = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])[owner]
    classes = {name: flags[owner] for name, flags in member.items()}

    if context_xyz is not None and context_element is not None and len(context_xyz):
        k = len(context_xyz)
        points.append(context_xyz.astype(np.float32))
        element = np.concatenate([element, context_element])
        is_probe += [False] * k
        charge = np.zeros(k) if context_charge is None else context_charge
        charged = (charge != 0) | ~np.isin(context_element, [*_ORGANIC, 5, 14, 33, 34])
        polar = np.isin(context_element, [7, 8])
        # Without hydrogens or bond orders a polar context atom may give or take a hydrogen bond.
        extra = {"charged": charged, "HBD": polar, "HBA": polar, "aromatic": np.zeros(k, dtype=bool)}
        classes = {name: np.concatenate([flags, extra[name]]) for name, flags in classes.items()}

    xyz = np.concatenate(points)
    types = encode_atom_types(AtomsInfo(element, np.array(is_probe), classes))
    is_context = np.arange(len(xyz)) >= len(owner)
    if len(xyz) > max_points:
        keep = _most_important(xyz, classes, _pocket_centre(pos, ca_xyz, w_res), max_points)
        xyz, types, is_context = xyz[keep], types[keep], is_context[keep]
    return Tokens(xyz, types, is_context)


def _flags(atoms: set[int], n: int) -> np.ndarray:
    flags = np.zeros(n, dtype=bool)
    flags[list(atoms)] = True
    return flags


def _pocket_centre(ligand_xyz: np.ndarray, ca_xyz: np.ndarray, w_res: np.ndarray) -> np.ndarray:
    total = float(w_res.sum())
    if total <= 0:
        return ligand_xyz.mean(axis=0)
    return (ca_xyz * w_res[:, None]).sum(axis=0) / total


def _most_important(xyz: np.ndarray, classes: dict[str, np.ndarray], centre: np.ndarray, max_points: int) -> np.ndarray:
    priority = np.zeros(len(xyz))
    for name, flags in classes.items():
        priority = np.maximum(priority, np.where(flags, CLASS_PRIORITY[name], 0.0))
    score = priority + _DISTANCE_BONUS_ANGSTROM - np.linalg.norm(xyz - centre, axis=1)
    return np.sort(np.argsort(-score, kind="stable")[:max_points])
