"""Pockets that the report shows: which, with which atoms, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from rdkit import Chem

from bindrae.chem import residues as aa
from bindrae.data.dataset import ShardDataset, atom_radii
from bindrae.data.layout import SIDES, DataLayout
from bindrae.errors import BindraeError
from bindrae.evaluation.pockets import Pocket, choose_pockets, ligand_bonds, pockets_to_show
from bindrae.evaluation.predictors import rebuild
from bindrae.evaluation.scoring import score_complex


@pytest.fixture(scope="module")
def scored(demo_layout: DataLayout) -> tuple[str, dict[str, Any], np.ndarray, pd.DataFrame]:
    """Side and sample of 1s3v, atoms predicted for it, and their scores: every third side chain is turned."""
    side, sample = next(
        (s, dict(data)[name]) for s in SIDES for data in [list(ShardDataset(demo_layout, s))] for name in dict(data)
        if name == "1s3v"
    )  # fmt: skip
    chi = sample["torsion_angles"][:, 3:].numpy().copy()
    chi[::3] += np.radians(100.0)
    atoms, mask = rebuild(sample, chi)
    truth = {name: value.numpy() for name, value in sample.items()}
    residues, _ = score_complex(truth, atoms, mask, atom_radii(sample["ligand_element"]).numpy())
    return side, sample, atoms, residues.assign(id="1s3v", confidence=0.5)


def shown(layout: DataLayout, side: str, residues: pd.DataFrame) -> list[Pocket]:
    return pockets_to_show(layout, side, residues, [{"id": "1s3v", "pocket_irmsd": 2.0}])


def test_the_atoms_that_were_scored_are_drawn(
    demo_layout: DataLayout, scored: tuple[str, dict[str, Any], np.ndarray, pd.DataFrame]
) -> None:
    side, sample, atoms, residues = scored
    (pocket,) = shown(demo_layout, side, residues)
    rows = pocket.residues["row"].to_numpy()
    assert set(rows) == set(np.flatnonzero(sample["contact"].numpy()))
    assert pocket.residues["all_chi_hit20"].min() == 0  # some are wrong, so what follows is not trivial
    drawn = pocket.pred_mask & aa.ATOM14_MASK[pocket.kind]
    assert drawn.sum() > 50
    np.testing.assert_allclose(pocket.pred[drawn], atoms[rows][drawn], atol=2e-3)
    assert not pocket.pred_mask[:, :4].any()  # the backbone is given, not predicted
    np.testing.assert_array_equal(pocket.true, sample["atom14"].numpy()[rows])
    for i, j in pocket.linked:
        carbon, nitrogen = pocket.true[i, aa.SLOT_C], pocket.true[j, aa.SLOT_N]
        assert np.linalg.norm(carbon - nitrogen) < 1.5
    assert len(pocket.probes) > 0
    nearest = np.linalg.norm(pocket.probes[:, None] - pocket.ligand, axis=-1).min(1)
    assert nearest.max() < 2.1  # probes stand 1.5 to 2 A from a ligand atom


def test_what_was_not_predicted_is_not_drawn(
    demo_layout: DataLayout, scored: tuple[str, dict[str, Any], np.ndarray, pd.DataFrame]
) -> None:
    side, _, _, residues = scored
    gone = residues.assign(**{f"chi{k}_pred": np.nan for k in range(1, 5)})
    (pocket,) = shown(demo_layout, side, gone)
    assert not pocket.pred_mask[aa.CHI_MASK[pocket.kind, 0]].any()
    assert pocket.true_mask.any()


def test_large_pockets_keep_what_is_nearest_to_the_ligand(
    demo_layout: DataLayout,
    scored: tuple[str, dict[str, Any], np.ndarray, pd.DataFrame],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    side, _, _, residues = scored
    monkeypatch.setattr("bindrae.evaluation.pockets.MAX_RESIDUES", 5)
    (pocket,) = shown(demo_layout, side, residues)
    distances = np.sort(residues.loc[residues["contact"], "ligand_distance"])
    np.testing.assert_allclose(np.sort(pocket.residues["ligand_distance"]), distances[:5])
    assert pocket.n_left_out == len(distances) - 5


def test_residues_of_other_data_are_refused(
    demo_layout: DataLayout, scored: tuple[str, dict[str, Any], np.ndarray, pd.DataFrame]
) -> None:
    side, _, _, residues = scored
    with pytest.raises(BindraeError, match=r"1s3v was scored with \d+ residues, but the shards of .* hold \d+"):
        shown(demo_layout, side, residues[1:])
    other = next(s for s in SIDES if s != side)
    with pytest.raises(BindraeError, match="hold no such complex"):
        shown(demo_layout, other, residues)


def test_the_worst_and_a_typical_pocket_are_chosen() -> None:
    table: list[dict[str, Any]] = [{"id": f"c{i}", "pocket_irmsd": float(i)} for i in range(11)]
    chosen = choose_pockets([*table, {"id": "none", "pocket_irmsd": None}])
    assert [name for name, _, _ in chosen] == ["c10", "c9", "c8", "c7", "c5"]
    assert chosen[1] == ("c9", "second largest pocket iRMSD", 9.0)
    assert chosen[-1] == ("c5", "median pocket iRMSD", 5.0)
    assert [name for name, _, _ in choose_pockets(table[:2])] == ["c1", "c0"]
    assert [name for name, _, _ in choose_pockets(table[:5])] == ["c4", "c3", "c2", "c1", "c0"]
    assert choose_pockets([]) == []


@pytest.mark.parametrize(
    "smiles", ["CC(=O)Oc1ccccc1C(=O)O", "ClC1CCNCC1Br", "OP(=O)(O)OCC#N", "FC(F)(F)S(=O)(=O)c1nccs1"]
)
def test_bonds_by_distance_are_those_of_the_molecule(smiles: str) -> None:
    from rdkit.Chem import AllChem

    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(molecule, randomSeed=7)
    molecule = Chem.RemoveHs(molecule)
    element = np.array([atom.GetAtomicNum() for atom in molecule.GetAtoms()])
    bonds = {tuple(sorted((b.GetBeginAtomIdx(), b.GetEndAtomIdx()))) for b in molecule.GetBonds()}
    assert set(ligand_bonds(molecule.GetConformer().GetPositions(), element)) == bonds
    assert ligand_bonds(np.zeros((1, 3)), np.array([30])) == []
