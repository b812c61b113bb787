"""Probes and their types on molecules whose answer is known by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rdkit import Chem, RDConfig
from rdkit.Chem import ChemicalFeatures, rdPartialCharges

from bindrae.chem.probes import (
    TYPE_NAMES,
    AtomsInfo,
    build_direction_probes,
    build_ligand_tokens,
    build_tokens,
    detect_key_atoms,
    encode_atom_types,
    match_features,
)
from complexes import embedded, posed, random_rotation

CA = np.array([(10.0, 0.0, 0.0), (0.0, 10.0, 0.0)])
EVEN = np.ones(2)


def positions(mol: Chem.Mol) -> np.ndarray:
    return mol.GetConformer().GetPositions().astype(np.float32)


def classes_of(types: np.ndarray) -> set[str]:
    return {TYPE_NAMES[i] for i in np.flatnonzero(types)}


def unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def test_the_probe_of_formaldehyde_lies_beyond_its_oxygen() -> None:
    xyz, types = build_ligand_tokens(posed("C=O", [(0, 0, 0), (1.2, 0, 0)]), CA, EVEN)
    assert np.allclose(xyz, [(0, 0, 0), (1.2, 0, 0), (2.7, 0, 0)], atol=1e-6)
    assert [classes_of(row) for row in types] == [{"C"}, {"O", "HBA"}, {"probe", "HBA"}]


@pytest.mark.parametrize("step", [1.0, 1.5, 2.0])
def test_the_probe_of_acetone_continues_the_carbonyl(step: float) -> None:
    mol = embedded("CC(C)=O", centre=(5.0, -40.0, 7.0))
    pos = positions(mol)
    (probe,) = build_direction_probes(mol, pos, 3, step=step)
    assert np.allclose(probe, pos[3] + step * unit(pos[3] - pos[1]), atol=1e-4)
    xyz, _ = build_ligand_tokens(mol, CA, EVEN, step=step)
    assert np.allclose(xyz[4:], [probe], atol=1e-5)


def test_acetate_is_charged_at_its_oxygens_only() -> None:
    mol = embedded("CC(=O)[O-]")
    assert detect_key_atoms(mol)["charged"] == {2, 3}
    pos = positions(mol)
    xyz, types = build_ligand_tokens(mol, CA, EVEN)
    assert [classes_of(row) for row in types[:4]] == [{"C"}, {"C"}, {"O", "HBA", "charged"}, {"O", "HBA", "charged"}]
    assert [classes_of(row) for row in types[4:]] == [{"probe", "HBA", "charged"}] * 2
    assert np.allclose(xyz[4:], pos[2:] + 1.5 * unit(pos[2:] - pos[1]), atol=1e-4)


def test_benzene_has_two_probes_an_atom_in_its_plane() -> None:
    mol = embedded("c1ccccc1")
    pos = positions(mol)
    xyz, types = build_ligand_tokens(mol, CA, EVEN)
    assert types.shape == (18, 12)
    assert all(classes_of(row) == {"probe", "aromatic"} for row in types[6:])
    normal = np.linalg.svd(pos - pos.mean(axis=0))[2][2]
    assert np.abs((xyz - pos.mean(axis=0)) @ normal).max() < 0.1
    expected = {i: {(i - 1) % 6, (i + 1) % 6} for i in range(6)}
    for i, neighbours in expected.items():
        wanted = [pos[i] + 1.5 * unit(pos[i] - pos[j]) for j in neighbours]
        own = xyz[6 + 2 * i : 8 + 2 * i]
        assert np.linalg.norm(own[:, None] - wanted, axis=-1).min(axis=0).max() < 1e-4


@pytest.mark.parametrize(
    ("smiles", "wanted"),
    [
        ("NC(=[NH2+])N", {"charged": {0, 2, 3}, "HBD": {0, 2, 3}}),
        ("C[NH3+]", {"charged": {1}, "HBD": {1}}),
        ("c1ccncc1", {"aromatic": set(range(6)), "HBA": {3}, "HBD": set()}),
        ("CO", {"HBD": {1}, "HBA": {1}, "charged": set()}),
        ("CC", {"HBD": set(), "HBA": set(), "charged": set(), "aromatic": set()}),
        ("[Mg+2]", {"charged": {0}}),
        ("CP(=O)([O-])[O-]", {"HBA": {2, 3, 4}, "charged": {3, 4}}),
        ("C[N+](=O)[O-]", {"HBA": set()}),
    ],
)
def test_key_atoms(smiles: str, wanted: dict[str, set[int]]) -> None:
    found = detect_key_atoms(Chem.MolFromSmiles(smiles))
    assert {name: found[name] for name in wanted} == wanted


def test_bonds_rank_by_order_then_by_charge_of_the_neighbour() -> None:
    tetrahedron = [(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)]
    # Sulfonyl chloride: both double bonds first, then the single bond whose far atom Gasteiger charges more.
    sulfonyl = posed("CS(Cl)(=O)=O", [tetrahedron[0], (0, 0, 0), *tetrahedron[1:]])
    reference = Chem.Mol(sulfonyl)
    rdPartialCharges.ComputeGasteigerCharges(reference)
    charge = [abs(atom.GetDoubleProp("_GasteigerCharge")) for atom in reference.GetAtoms()]
    assert charge[0] != charge[2]
    order: tuple[int, ...] = (3, 4, *sorted((0, 2), key=lambda i: -charge[i]))
    for k in (1, 2, 3):
        probes = build_direction_probes(sulfonyl, positions(sulfonyl), 1, max_k=k)
        assert np.allclose(probes, [-1.5 * unit(positions(sulfonyl)[i]) for i in order[:k]], atol=1e-5)

    # A double bond goes before the single bond to the more charged fluorine.
    vinyl = posed("FC(C)=C", [tetrahedron[0], (0, 0, 0), *tetrahedron[1:3]])
    (probe,) = build_direction_probes(vinyl, positions(vinyl), 1, max_k=1)
    assert np.allclose(probe, -1.5 * unit(positions(vinyl)[3]), atol=1e-5)

    # All single bonds: fluorine draws more charge than chlorine, chlorine more than bromine.
    halide = posed("BrC(Cl)F", [tetrahedron[0], (0, 0, 0), *tetrahedron[1:3]])
    for k, order in ((1, (3,)), (2, (3, 2))):
        probes = build_direction_probes(halide, positions(halide), 1, max_k=k)
        assert np.allclose(probes, [-1.5 * unit(positions(halide)[i]) for i in order], atol=1e-5)


def test_equal_bonds_rank_by_index_however_they_are_listed() -> None:
    points = np.array([(1.5, 0, 0), (0, 0, 0), (-0.7, 1.3, 0), (-0.7, -1.3, 0)], dtype=np.float32)
    mol = posed("CN(C)C", points)
    assert np.allclose(build_direction_probes(mol, points, 1), [-1.5 * unit(points[i]) for i in (0, 2)], atol=1e-5)
    turned = Chem.RenumberAtoms(mol, [3, 1, 2, 0])
    moved = points[[3, 1, 2, 0]]
    assert np.allclose(build_direction_probes(turned, moved, 1), [-1.5 * unit(moved[i]) for i in (0, 2)], atol=1e-5)


def test_the_number_of_probes_is_respected() -> None:
    mol = embedded("CS(=O)(=O)Nc1ccc(cc1)C(=O)[O-]")
    n = mol.GetNumAtoms()
    keys = set().union(*detect_key_atoms(mol).values())
    for k in (0, 1, 2):
        xyz, types = build_ligand_tokens(mol, CA, EVEN, max_points=500, max_probes=k)
        assert np.allclose(xyz[:n], positions(mol))
        assert len(xyz) - n == sum(min(k, mol.GetAtomWithIdx(i).GetDegree()) for i in keys)
        assert types[:n, TYPE_NAMES.index("probe")].sum() == 0
        assert types[n:, TYPE_NAMES.index("probe")].all()


def test_atoms_without_bonds_or_room_have_no_probe() -> None:
    for mol in (posed("[Zn+2]", [(1, 2, 3)]), posed("C=O", [(1, 2, 3), (1, 2, 3)])):
        xyz, _ = build_ligand_tokens(mol, CA, EVEN)
        assert len(xyz) == mol.GetNumAtoms()
        assert np.isfinite(xyz).all()
    assert classes_of(build_ligand_tokens(posed("[Zn+2]", [(1, 2, 3)]), CA, EVEN)[1][0]) == {"metal", "charged"}


def test_context_comes_last_and_is_typed() -> None:
    mol = embedded("CC(C)=O")
    context: dict[str, Any] = {
        "context_xyz": np.array([(9.0, 0, 0), (0, 9.0, 0), (0, 0, 9.0), (1, 9.0, 0)]),
        "context_element": np.array([30, 7, 6, 8], dtype=np.int16),
        "context_charge": np.array([0, 0, 0, -1], dtype=np.int8),
    }
    tokens = build_tokens(mol, CA, EVEN, **context)
    xyz, types = tokens.xyz, tokens.types
    assert tokens.is_context.tolist() == [False] * (len(xyz) - 4) + [True] * 4
    assert np.allclose(xyz[-4:], context["context_xyz"])
    assert [classes_of(row) for row in types[-4:]] == [
        {"metal", "charged"}, {"N", "HBD", "HBA"}, {"C"}, {"O", "HBD", "HBA", "charged"},
    ]  # fmt: skip
    bare, bare_types = build_ligand_tokens(mol, CA, EVEN)
    assert np.array_equal(xyz[:-4], bare)
    assert np.array_equal(types[:-4], bare_types)


def test_every_row_has_one_kind() -> None:
    numbers = [1, 5, 6, 7, 8, 9, 11, 12, 14, 15, 16, 17, 20, 25, 26, 27, 28, 29, 30, 33, 34, 35, 53, 78]
    info = AtomsInfo(np.array(numbers * 2), np.repeat([False, True], len(numbers)), {})
    types = encode_atom_types(info)
    assert types.shape == (2 * len(numbers), 12)
    assert np.array_equal(types[:, :8].sum(axis=1), np.ones(len(types)))
    kinds = dict(zip(numbers, (TYPE_NAMES[i] for i in types.argmax(axis=1)), strict=False))
    assert {n for n, kind in kinds.items() if kind == "halogen"} == {9, 17, 35, 53}
    assert {11, 12, 20, 25, 26, 27, 28, 29, 30, 78} <= {n for n, kind in kinds.items() if kind == "metal"}
    assert (types[len(numbers) :].argmax(axis=1) == TYPE_NAMES.index("probe")).all()


TYRAMINE = "[NH3+]CCc1ccc(O)cc1"


@pytest.mark.parametrize(
    ("max_points", "kept"),
    [(1, {"N"}), (2, {"N", "O"}), (3, {"N", "O", "aromatic"}), (8, {"N", "O", "aromatic"})],
)
def test_priority_decides_who_stays(max_points: int, kept: set[str]) -> None:
    """Charged before donor before aromatic before the rest, while all are near the centre."""
    mol = embedded(TYRAMINE)
    xyz, types = build_ligand_tokens(mol, np.zeros((1, 3)), np.ones(1), max_points, max_probes=0)
    assert len(xyz) == max_points
    seen = set()
    for row in types:
        names = classes_of(row)
        seen.add("aromatic" if names == {"C", "aromatic"} else next(iter(names & {"N", "O", "C"})))
    assert seen == kept


def slow_choice(xyz: np.ndarray, types: np.ndarray, centre: np.ndarray, max_points: int) -> list[int]:
    priority = [("charged", 100.0), ("HBD", 50.0), ("HBA", 40.0), ("aromatic", 30.0)]

    def score(i: int) -> float:
        highest = next((value for name, value in priority if types[i, TYPE_NAMES.index(name)]), 0.0)
        return highest + 10.0 - float(np.linalg.norm(xyz[i] - centre))

    return sorted(sorted(range(len(xyz)), key=lambda i: (-score(i), i))[:max_points])


@pytest.mark.parametrize("max_points", [1, 5, 17, 30])
def test_sampling_equals_the_obvious_implementation(max_points: int) -> None:
    mol = embedded("CS(=O)(=O)Nc1ccc(cc1)C(=O)NCC[NH3+]")
    rng = np.random.default_rng(max_points)
    ca, weights = rng.normal(0, 8, (12, 3)), rng.random(12)
    context: dict[str, Any] = {"context_xyz": rng.normal(0, 6, (3, 3)), "context_element": np.array([6, 8, 30])}
    every = build_tokens(mol, ca, weights, 500, **context)
    xyz, types = every.xyz, every.types
    centre = (ca * weights[:, None]).sum(axis=0) / weights.sum()
    keep = slow_choice(xyz, types, centre, max_points)
    some = build_tokens(mol, ca, weights, max_points, **context)
    assert np.array_equal(some.xyz, xyz[keep])
    assert np.array_equal(some.types, types[keep])
    assert np.array_equal(some.is_context, np.array(keep) >= len(xyz) - 3)


def test_distance_can_outweigh_a_class_and_ties_fall_to_the_lower_index() -> None:
    # A ring 45 A from the centre scores 30 + 10 - 45 < 0 + 10 - 1, a chain of carbons at the same distance ties.
    ring = [(45 + np.cos(a), np.sin(a), 0.0) for a in np.arange(6) * np.pi / 3]
    mol = posed("CCc1ccccc1", [(0, 1.0, 0), (0, -1.0, 0), *ring])
    centre = np.zeros((1, 3))
    assert np.array_equal(build_ligand_tokens(mol, centre, np.ones(1), 2, max_probes=0)[0], positions(mol)[:2])
    assert np.array_equal(build_ligand_tokens(mol, centre, np.ones(1), 1, max_probes=0)[0], positions(mol)[:1])


def test_the_centre_follows_the_weights() -> None:
    mol = posed("CCCC", [(0, 0, 0), (1.5, 0, 0), (3, 0, 0), (4.5, 0, 0)])
    ca = np.array([(-3.0, 0, 0), (8.0, 0, 0)])
    for weights, first in (((1.0, 0.0), 0.0), ((0.0, 1.0), 4.5)):
        xyz, _ = build_ligand_tokens(mol, ca, np.array(weights), 1)
        assert xyz[0, 0] == first
    inner, _ = build_ligand_tokens(mol, ca, np.zeros(2), 2)  # no weight at all: the ligand's own centre
    assert inner[:, 0].tolist() == [1.5, 3.0]


def test_tokens_move_with_the_complex() -> None:
    mol = embedded("O=C(N)c1ccc(O)nc1")
    rng = np.random.default_rng(5)
    ca, weights = rng.normal(0, 8, (12, 3)), rng.random(12)
    turn, shift = random_rotation(rng), rng.normal(0, 50, 3)
    xyz, types = build_ligand_tokens(mol, ca, weights, 16)
    mol.GetConformer().SetPositions(mol.GetConformer().GetPositions() @ turn.T + shift)
    moved, moved_types = build_ligand_tokens(mol, ca @ turn.T + shift, weights, 16)
    assert np.array_equal(types, moved_types)
    assert np.allclose(moved, xyz @ turn.T + shift, atol=1e-4)


@pytest.mark.parametrize(
    "smiles",
    [
        "CC(=O)Oc1ccccc1C(=O)[O-]", "NC(=[NH2+])c1ccc(cc1)C(F)(F)F", "O=P([O-])([O-])OCC1OC(n2cnc3c(N)ncnc32)C(O)C1O",
        "CS(=O)(=O)Nc1nc(C#N)c[nH]1", "C[N+](C)(C)CC(O)CC(=O)[O-]", "c1ccc2c(c1)sc(n2)-c1nnn[nH]1", "OB(O)c1ccsc1",
    ],
)  # fmt: skip
def test_patterns_matched_once_find_what_the_feature_factory_finds(smiles: str) -> None:
    mol = Chem.MolFromSmiles(smiles)
    factory = ChemicalFeatures.BuildFeatureFactory(str(Path(RDConfig.RDDataDir) / "BaseFeatures.fdef"))
    family = {"Donor": "HBD", "Acceptor": "HBA", "Aromatic": "aromatic", "PosIonizable": "charged"}
    family["NegIonizable"] = "charged"
    expected: dict[str, set[int]] = {name: set() for name in ("charged", "HBD", "HBA", "aromatic")}
    for feature in factory.GetFeaturesForMol(mol):
        if feature.GetFamily() in family:
            expected[family[feature.GetFamily()]].update(feature.GetAtomIds())
    assert match_features(mol) == expected
    assert sum(map(len, expected.values())) > 4
