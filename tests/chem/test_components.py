"""The component dictionary against biotite's own reading, and molecules laid on its entries."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import biotite.structure.info
import numpy as np
import pytest
from rdkit import Chem

from bindrae.chem.components import match_by_graph, match_by_names, posed_component
from bindrae.chem.dictionary import component, decode
from bindrae.errors import BindraeError
from complexes import embedded

CODES = ["STI", "HEM", "NAP", "ATP", "ZN", "SF4", "FAD", "ALA", "CLA", "144"]


def template_of(code: str):
    template = component(code)
    assert template is not None
    return template


@pytest.mark.parametrize("code", CODES)
def test_entries_are_those_that_biotite_reads(code: str) -> None:
    ours = template_of(code)
    theirs = biotite.structure.info.residue(code, allow_missing_coord=True)
    heavy = np.flatnonzero(theirs.element != "H")
    assert list(ours.names) == theirs.atom_name[heavy].tolist()
    assert [e.upper() for e in ours.elements] == theirs.element[heavy].tolist()
    assert list(ours.charges) == theirs.charge[heavy].tolist()
    place = {int(i): k for k, i in enumerate(heavy)}
    bonds = [(int(a), int(b)) for a, b, _ in theirs.bonds.as_array()] if theirs.bonds else []
    assert {frozenset(bond[:2]) for bond in ours.bonds} == {
        frozenset((place[a], place[b])) for a, b in bonds if a in place and b in place
    }
    assert sum(ours.hydrogens) == sum((a in place) != (b in place) for a, b in bonds)


def test_the_whole_dictionary_is_found() -> None:
    ccd = biotite.structure.info.get_ccd()
    codes = set(ccd["chem_comp_atom"]["comp_id"].as_array().tolist())
    for code in np.random.default_rng(0).choice(sorted(codes), 300):
        assert component(str(code)) is not None, code
    assert component("??") is None
    assert component("") is None


def test_packed_integers_of_any_size_are_read() -> None:
    packing = {"kind": "IntegerPacking", "byteCount": 1, "srcSize": 5, "isUnsigned": False}
    wanted = [1, 127, -128, 300, -5]
    packed = np.array([1, 127, 0, -128, 0, 127, 127, 46, -5], dtype="<i1").tobytes()
    assert decode(packed, [packing, {"kind": "ByteArray", "type": 1}]).tolist() == wanted
    unsigned = np.array([255, 255, 7, 254], dtype="<u1").tobytes()
    steps = [{**packing, "isUnsigned": True}, {"kind": "ByteArray", "type": 4}]
    assert decode(unsigned, steps).tolist() == [517, 254]
    runs = np.array([3, 2, -1, 4], dtype="<i4").tobytes()
    steps = [{"kind": "Delta", "origin": 10}, {"kind": "RunLength"}, {"kind": "ByteArray", "type": 3}]
    assert decode(runs, steps).tolist() == [13, 16, 15, 14, 13, 12]
    with pytest.raises(BindraeError, match="Morse"):
        decode(runs, [{"kind": "Morse"}, {"kind": "ByteArray", "type": 3}])


def test_a_missing_dictionary_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from bindrae.chem import dictionary

    dictionary._dictionary.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(BindraeError, match="biotite") as caught:
            dictionary._dictionary()
    assert "install" in caught.value.hint


def test_neither_the_command_line_nor_files_with_bonds_load_the_dictionary() -> None:
    code = (
        "import sys, bindrae.cli, bindrae.data.stages, bindrae.chem.dictionary as d; "
        "assert not d._dictionary.cache_info().currsize; "
        "assert not {'biotite', 'msgpack', 'requests'} & set(sys.modules), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("code", "smiles"),
    [
        ("STI", "Cc1ccc(NC(=O)c2ccc(CN3CCN(C)CC3)cc2)cc1Nc1nccc(-c2cccnc2)n1"),
        ("ZN", "[Zn+2]"),
        ("I5I", "S=C=Nc1ccc2oc(C3=NCCN3)cc2c1"),
        ("SF4", "[S]12[Fe]3[S]4[Fe]1[S]1[Fe]2[S]3[Fe]41"),
    ],
)
def test_posed_entries_are_the_molecules_they_should_be(code: str, smiles: str) -> None:
    template = template_of(code)
    n = len(template.names)
    mol = posed_component(template, list(range(n)), np.zeros((n, 3)))
    Chem.SanitizeMol(mol)
    assert Chem.MolToSmiles(mol) == Chem.CanonSmiles(smiles)


def test_names_find_their_atoms_and_strange_ones_are_refused() -> None:
    template = template_of("STI")
    names, elements = list(template.names[::-2]), list(template.elements[::-2])
    match = match_by_names(template, names, elements)
    assert [template.names[i] for i in match] == names
    with pytest.raises(ValueError, match="XX9"):
        match_by_names(template, ["XX9", *names], ["C", *elements])
    with pytest.raises(ValueError, match=names[0]):
        match_by_names(template, names, ["Zn", *elements[1:]])
    with pytest.raises(ValueError, match="one name"):
        match_by_names(template, names[:1] * 2, elements[:1] * 2)
    older = template_of("ATP")
    assert older.alternative_names != older.names
    assert match_by_names(older, list(older.alternative_names), list(older.elements)) == list(range(len(older.names)))


@pytest.mark.parametrize("code", ["STI", "ATP", "I5I", "DKZ", "FAD"])
def test_graphs_without_orders_get_those_of_the_entry(code: str) -> None:
    """Bond lengths tell the double bond of a group from its single one."""
    template = template_of(code)
    whole = list(range(len(template.names)))
    flat = posed_component(template, whole, np.zeros((len(whole), 3)))
    Chem.SanitizeMol(flat)
    right = Chem.MolToSmiles(flat)
    mol = embedded(right)
    bare = Chem.RWMol(mol)
    order = np.random.default_rng(1).permutation(mol.GetNumAtoms())
    for bond in bare.GetBonds():
        bond.SetBondType(Chem.BondType.SINGLE)
        bond.SetIsAromatic(False)
    for atom in bare.GetAtoms():
        atom.SetFormalCharge(0)
        atom.SetIsAromatic(False)
        atom.SetNoImplicit(False)
        atom.SetNumExplicitHs(0)
    bare = Chem.RenumberAtoms(bare.GetMol(), order.tolist())
    match = match_by_graph(template, bare)
    posed = posed_component(template, match, bare.GetConformer().GetPositions())
    Chem.SanitizeMol(posed)
    assert Chem.MolToSmiles(posed) == right
    for bond in posed.GetBonds():  # the orders lie on the bonds that have their length
        ends = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        length = np.linalg.norm(np.subtract(*(posed.GetConformer().GetPositions()[i] for i in ends)))
        if {posed.GetAtomWithIdx(i).GetSymbol() for i in ends} == {"C", "O"}:
            assert (bond.GetBondType() == Chem.BondType.DOUBLE) == (length < 1.30)
    for other in ("GLC", "HEM"):
        with pytest.raises(ValueError, match=other):
            match_by_graph(template_of(other), bare)
