"""The residue data against itself (closure) and against RDKit's and Biopython's own residues."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, pairwise

import numpy as np
import pytest
from rdkit import Chem

from bindrae.chem import residues as aa

KINDS = range(aa.N_TYPES)
# RDKit's sequence reader names the two branches of ILE the other way round; the PDB bonds CD1 to CG1.
RDKIT_NAMES = {"ILE": {"CG1": "CG2", "CG2": "CG1"}}
NAMED = [pytest.param(kind, id=aa.RESIDUE_NAMES[kind]) for kind in range(aa.UNKNOWN)]


def bond_set(kind: int) -> set[frozenset[str]]:
    names = aa.ATOM14_NAMES[kind]
    return {frozenset((names[i], names[j])) for i, j in aa.BONDS[kind]}


@pytest.mark.parametrize("kind", NAMED)
def test_atoms_and_bonds_are_those_of_rdkit(kind: int) -> None:
    letter = aa.ONE_LETTER[kind]
    # The middle of three: both peptide bonds made, so that no terminal atom is left over.
    mol = Chem.MolFromSequence(f"G{letter}G")
    infos = {a.GetIdx(): a.GetPDBResidueInfo() for a in mol.GetAtoms()}
    names = {i: info.GetName().strip() for i, info in infos.items() if info.GetResidueNumber() == 2}
    renamed = RDKIT_NAMES.get(aa.RESIDUE_NAMES[kind], {})
    inside = {i: renamed.get(name, name) for i, name in names.items()}
    bonds = {
        frozenset((inside[b.GetBeginAtomIdx()], inside[b.GetEndAtomIdx()]))
        for b in mol.GetBonds()
        if b.GetBeginAtomIdx() in inside and b.GetEndAtomIdx() in inside
    }
    assert {name for name in aa.ATOM14_NAMES[kind] if name} == set(inside.values())
    assert bond_set(kind) == bonds
    elements = {inside[i]: mol.GetAtomWithIdx(i).GetSymbol() for i in inside}
    assert dict(zip(aa.ATOM14_NAMES[kind], aa.ATOM14_ELEMENT[kind], strict=True)).items() >= elements.items()


@pytest.mark.parametrize("kind", NAMED)
def test_rings_are_those_of_rdkit(kind: int) -> None:
    mol = Chem.MolFromSequence(f"G{aa.ONE_LETTER[kind]}G")
    names = [atom.GetPDBResidueInfo().GetName().strip() for atom in mol.GetAtoms()]
    expected = {frozenset(names[i] for i in ring) for ring in mol.GetRingInfo().AtomRings()}
    rings = aa.ring_slots(kind)
    assert {frozenset(aa.ATOM14_NAMES[kind][slot] for slot in ring) for ring in rings} == expected
    for ring in rings:  # in order round the ring: each atom is bonded to the next, the last to the first
        steps = {frozenset(aa.ATOM14_NAMES[kind][s] for s in pair) for pair in pairwise([*ring, ring[0]])}
        assert len(steps) == len(ring)
        assert steps <= bond_set(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_bonds_connect_every_atom_once(kind: int) -> None:
    slots = {int(slot) for slot in np.flatnonzero(aa.ATOM14_MASK[kind])}
    assert len({frozenset(pair) for pair in aa.BONDS[kind]}) == len(aa.BONDS[kind])
    reached, grown = {aa.SLOT_N}, True
    while grown:
        joined = {j for pair in aa.BONDS[kind] if reached & set(pair) for j in pair}
        grown = not joined <= reached
        reached |= joined
    assert reached == slots


@pytest.mark.parametrize("kind", NAMED)
def test_each_build_step_starts_from_placed_atoms(kind: int) -> None:
    placed = set(aa.BACKBONE)
    for step in aa.BUILD_STEPS[aa.RESIDUE_NAMES[kind]]:
        assert {step.bonded, step.angle, step.torsion} <= placed
        # The angle and the torsion are the chemical ones, not measured across unbonded atoms.
        assert frozenset((step.bonded, step.angle)) in bond_set(kind)
        if step.source != "bb":
            assert frozenset((step.angle, step.torsion)) in bond_set(kind)
        placed.add(step.atom)
    assert placed == {name for name in aa.ATOM14_NAMES[kind] if name}


@pytest.mark.parametrize("kind", NAMED)
def test_chis_are_bonded_paths_that_follow_one_another(kind: int) -> None:
    n_chi = int(aa.CHI_MASK[kind].sum())
    assert aa.CHI_MASK[kind, :n_chi].all(), "a chi without the one before it"
    names = np.array(aa.ATOM14_NAMES[kind])
    chis = [tuple(names[aa.CHI_ATOMS[kind, k]]) for k in range(n_chi)]
    for chi in chis:
        assert len(set(chi)) == 4
        assert all(frozenset(pair) in bond_set(kind) for pair in pairwise(chi))
    for before, after in pairwise(chis):
        assert before[1:] == after[:3]


def test_chi_definitions_agree_with_biopython() -> None:
    ic_data = pytest.importorskip("Bio.PDB.ic_data")
    for kind in range(aa.UNKNOWN):
        theirs = {
            entry[4]: entry[:4]
            for entry in ic_data.ic_data_sidechains.get(aa.ONE_LETTER[kind], ())
            if len(entry) == 5 and entry[4] != "chi5"  # ARG's fifth is flat
        }
        names = np.array(aa.ATOM14_NAMES[kind])
        ours = {f"chi{k + 1}": tuple(names[aa.CHI_ATOMS[kind, k]]) for k in np.flatnonzero(aa.CHI_MASK[kind])}
        assert ours == theirs, aa.RESIDUE_NAMES[kind]


def test_swaps_are_involutions_that_keep_the_graph() -> None:
    for kind in KINDS:
        swap = aa.SWAP_SLOTS[kind]
        assert np.array_equal(swap[swap], np.arange(aa.N_SLOTS))
        bonds = {frozenset(pair) for pair in aa.BONDS[kind]}
        assert {frozenset((int(swap[i]), int(swap[j]))) for i, j in aa.BONDS[kind]} == bonds
        assert np.array_equal(aa.ATOM14_ELEMENT[kind][swap], aa.ATOM14_ELEMENT[kind])


def test_swapping_atoms_are_those_the_graph_does_not_tell_apart() -> None:
    prochiral = {"LEU", "VAL"}  # their methyls have names of their own
    drawn_apart = {"ARG", "ASP", "GLU"}  # equal by resonance, which one drawing does not show
    for kind in range(aa.UNKNOWN):
        name = aa.RESIDUE_NAMES[kind]
        mol = Chem.MolFromSequence(f"G{aa.ONE_LETTER[kind]}G")
        ranks = Chem.CanonicalRankAtoms(mol, breakTies=False, includeChirality=False)
        infos = [a.GetPDBResidueInfo() for a in mol.GetAtoms()]
        same = {
            frozenset((infos[i].GetName().strip(), infos[j].GetName().strip()))
            for i, j in combinations(range(len(infos)), 2)
            if ranks[i] == ranks[j] and infos[i].GetResidueNumber() == infos[j].GetResidueNumber() == 2
        }
        if name not in prochiral | drawn_apart:
            assert {frozenset(pair) for pair in aa.AMBIGUOUS.get(name, ())} == same, name


def test_half_turn_of_a_periodic_chi_is_a_swap_of_its_last_atom() -> None:
    for kind, chi in zip(*np.nonzero(aa.CHI_PI_PERIODIC), strict=True):
        last = aa.CHI_ATOMS[kind, chi, 3]
        assert aa.SWAP_SLOTS[kind, last] != last
        assert chi == np.flatnonzero(aa.CHI_MASK[kind])[-1]
    counts = Counter(aa.RESIDUE_NAMES[kind] for kind in np.nonzero(aa.CHI_PI_PERIODIC)[0])
    assert counts == Counter(aa.PI_PERIODIC.keys())


def test_names_letters_and_aliases_lead_to_one_type() -> None:
    assert len(set(aa.ONE_LETTER)) == aa.N_TYPES == len(aa.ATOM14_NAMES)
    for kind, name in enumerate(aa.RESIDUE_NAMES):
        assert Chem.MolToSequence(Chem.MolFromSequence(aa.ONE_LETTER[kind])) == aa.ONE_LETTER[kind]
        info = Chem.MolFromSequence(aa.ONE_LETTER[kind]).GetAtomWithIdx(0).GetPDBResidueInfo()
        assert info.GetResidueName() == name
    assert set(aa.ALIASES.values()) <= set(aa.RESIDUE_NAMES)
    assert not set(aa.ALIASES) & set(aa.RESIDUE_NAMES)
    for atoms in aa.ATOM_ALIASES.values():
        assert set(atoms.values()) <= {name for names in aa.ATOM14_NAMES for name in names}


def test_every_atom_has_a_radius_and_an_empty_slot_none() -> None:
    assert np.array_equal(aa.ATOM14_RADIUS > 0, aa.ATOM14_MASK)
