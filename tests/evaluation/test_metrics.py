from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch

from bindrae.chem import residues as aa
from bindrae.data.dataset import atom_radii
from bindrae.evaluation import metrics
from bindrae.evaluation.aggregate import Ratio, bootstrap_weights, summarise
from bindrae.evaluation.burial import count_neighbours
from bindrae.evaluation.rotamers import count_rotamers
from bindrae.evaluation.scoring import figures, score_complex
from bindrae.geometry.kinematics import angles_to_circle, torsions_to_atoms
from bindrae.geometry.rigid import build_frames_from_3_points
from bindrae.structure.pocket import virtual_cb
from tests.batches import random_rotation, random_sample

Truth = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def truth() -> Truth:
    return {name: value.numpy() for name, value in random_sample(60, 4).items()}


def with_chi(truth: Truth, chi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Atoms of the same backbone with other chis."""
    x = torch.as_tensor(truth["atom14"])
    angles = torch.as_tensor(truth["torsion_angles"]).clone()
    angles[:, 3:] = torch.as_tensor(chi)
    frames = build_frames_from_3_points(x[:, 0], x[:, 1], x[:, 2])
    atoms, mask = torsions_to_atoms(frames, angles_to_circle(angles), torch.as_tensor(truth["aatype"]).long())
    return atoms.numpy(), mask.numpy()


def overall(truth: Truth, pred: np.ndarray, mask: np.ndarray) -> dict[str, float | None]:
    radius = atom_radii(torch.as_tensor(truth["ligand_element"])).numpy()
    residues, summary = score_complex(truth, pred, mask, radius)
    cluster = {"cluster": pd.Categorical(["a"])}
    both = figures(
        residues.assign(cluster="a"), pd.DataFrame({**{k: [v] for k, v in summary.items()}, **cluster}), None
    )
    flat = {f"pocket_{k}": v["value"] for k, v in both["pocket"].items()}
    return flat | {k: v["value"] for k, v in both["overall"].items()}


def test_the_truth_scores_as_the_truth(truth: Truth) -> None:
    found = overall(truth, truth["atom14"], truth["atom14_mask"])
    for name in ("chi1_acc20", "chi4_acc20", "all_chi_acc20", "pocket_chi1_acc20"):
        assert found[name] == 100.0
    for name in ("chi1_mae_deg", "sidechain_rmsd", "pocket_irmsd", "pocket_irmsd_ca"):
        assert found[name] == pytest.approx(0.0, abs=1e-5)
    assert found["fape"] == pytest.approx(0.0, abs=5e-3)
    kind = truth["aatype"].astype(int)
    args = (truth["atom14"], truth["atom14_mask"], kind, truth["linked"])
    assert found["clash_atoms_pct"] == pytest.approx(metrics.compute_clash_percentage(*args))


def test_thirty_degrees_miss_at_20_and_hit_at_40(truth: Truth) -> None:
    chi = truth["torsion_angles"][:, 3:].copy()
    chi[:, 0] += math.radians(30.0)
    found = overall(truth, *with_chi(truth, chi))
    assert found["chi1_acc20"] == 0.0
    assert found["chi1_acc40"] == 100.0
    assert found["chi2_acc20"] == 100.0
    assert found["all_chi_acc20"] == 0.0
    assert found["chi1_mae_deg"] == pytest.approx(30.0, abs=0.1)


def test_half_a_turn_of_a_symmetric_group_is_right_and_of_others_wrong(truth: Truth) -> None:
    kind = truth["aatype"].astype(int)
    chi = truth["torsion_angles"][:, 3:] + np.where(aa.CHI_PI_PERIODIC[kind], np.pi, 0.0)
    found = overall(truth, *with_chi(truth, chi))
    assert found["all_chi_acc20"] == 100.0
    assert found["sidechain_rmsd"] == pytest.approx(0.0, abs=0.05)  # the two halves differ a little in the table
    flips = {"ASN": 1, "GLN": 2, "HIS": 1}
    for name, k in flips.items():
        rows = kind == aa.TYPE_OF_NAME[name]
        flipped = truth["torsion_angles"][:, 3:].copy()
        flipped[rows, k] += np.pi
        error = metrics.chi_errors(flipped, truth["torsion_angles"][:, 3:], kind)
        assert (error[rows, k] > 179.0).all()


def test_missing_residues_and_atoms_are_misses(truth: Truth) -> None:
    mask = truth["atom14_mask"].copy()
    has_chi1 = truth["torsion_mask"][:, 3]
    gone = np.flatnonzero(has_chi1)[:10]
    mask[gone] = False
    found = overall(truth, truth["atom14"], mask)
    assert found["chi1_acc20"] == pytest.approx(100.0 * (1 - 10 / has_chi1.sum()))


def slow_fape(pred: np.ndarray, true: np.ndarray, mask: np.ndarray, weight: np.ndarray) -> float:
    """Every atom in every frame, one pair after the other; no atoms of this input need another name."""

    def frame(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        e1 = (x[2] - x[1]) / np.linalg.norm(x[2] - x[1])
        side = x[0] - x[1] - e1 * np.dot(x[0] - x[1], e1)
        e2 = side / np.linalg.norm(side)
        return np.stack([e1, e2, np.cross(e1, e2)]), x[1]

    total = norm = 0.0
    for i in range(len(pred)):
        (R, t), (S, u) = frame(pred[i]), frame(true[i])
        for j, k in zip(*np.nonzero(mask), strict=True):
            error = np.linalg.norm(R @ (pred[j, k] - t) - S @ (true[j, k] - u))
            total += weight[j] * min(float(error), 10.0)
            norm += weight[j]
    return total / norm


def test_fape_is_that_of_its_definition(truth: Truth) -> None:
    kind, mask = truth["aatype"].astype(int)[:14], truth["atom14_mask"][:14]
    true = truth["atom14"][:14].astype(np.float64)
    rng = np.random.default_rng(0)
    pred = true + rng.normal(0, 0.15, true.shape)
    pred[9:] += 7.0  # beyond the clamp for some pairs
    weight = rng.random(14)
    found = metrics.compute_fape(pred, true, mask, kind, weight)
    assert found == pytest.approx(slow_fape(pred, true, mask, weight), rel=1e-5)
    moved = pred @ random_rotation(5).numpy().T.astype(np.float64) + 80.0
    assert metrics.compute_fape(moved, true, mask, kind, weight) == pytest.approx(found, rel=1e-4)
    assert math.isnan(metrics.compute_fape(pred, true, np.zeros_like(mask), kind))


def test_fape_takes_symmetric_names_the_better_way_wherever_the_prediction_stands(truth: Truth) -> None:
    kind, mask, true = truth["aatype"].astype(int), truth["atom14_mask"], truth["atom14"]
    renamed = true[np.arange(len(kind))[:, None], aa.SWAP_SLOTS[kind]] @ random_rotation(1).numpy().T - 50.0
    assert not np.array_equal(aa.SWAP_SLOTS[kind], np.tile(np.arange(14), (len(kind), 1)))
    assert metrics.compute_fape(renamed, true, mask, kind) == pytest.approx(0.0, abs=1e-3)


def test_burial_counts_neighbours_by_the_backbone_alone(truth: Truth) -> None:
    xyz = truth["atom14"].copy()
    centre = virtual_cb(xyz)
    expected = [(np.linalg.norm(centre - point, axis=1) < 10.0).sum() - 1 for point in centre]
    assert count_neighbours(xyz).tolist() == expected
    xyz[:, 4:] = 1e3
    assert count_neighbours(xyz).tolist() == expected


def test_pocket_irmsd_is_blind_to_rigid_motion_and_to_the_rest_of_the_protein(truth: Truth) -> None:
    kind, pocket = truth["aatype"].astype(int), truth["contact"]
    pred = truth["atom14"] @ random_rotation(2).numpy().T + 30.0
    pred[~pocket] += 5.0
    found = metrics.compute_pocket_irmsd(pred, truth["atom14"], truth["atom14_mask"], kind, pocket)
    assert max(found.values()) < 1e-3
    row = np.flatnonzero(pocket & (aa.ATOM14_MASK[kind].sum(1) > 5))[0]
    pred[row, 5:] += 3.0
    found = metrics.compute_pocket_irmsd(pred, truth["atom14"], truth["atom14_mask"], kind, pocket)
    beyond = truth["atom14_mask"][pocket][:, 5:].sum()
    expected = math.sqrt(27.0 * truth["atom14_mask"][row, 5:].sum() / beyond)
    assert found["irmsd_sidechain"] == pytest.approx(expected, rel=1e-3)
    assert found["irmsd_ca"] == pytest.approx(0.0, abs=1e-3)


def test_a_pocket_of_nothing_has_no_irmsd(truth: Truth) -> None:
    kind = truth["aatype"].astype(int)
    none = np.zeros(len(kind), dtype=bool)
    found = metrics.compute_pocket_irmsd(truth["atom14"], truth["atom14"], truth["atom14_mask"], kind, none)
    assert all(math.isnan(value) for value in found.values())


def test_kabsch_returns_a_proper_rotation_even_for_a_mirror_image() -> None:
    points = np.random.default_rng(0).normal(size=(9, 3))
    R, t = random_rotation(7).numpy(), np.array([1.0, -2.0, 3.0])
    rotation, translation = metrics.kabsch_align(points, points @ R.T + t)
    np.testing.assert_allclose(points @ rotation.T + translation, points @ R.T + t, atol=1e-6)
    rotation, _ = metrics.kabsch_align(points, points * [1, 1, -1])
    assert np.linalg.det(rotation) == pytest.approx(1.0)


def two_atoms(kinds: tuple[str, str], slots: tuple[str, str], gap: float, linked: bool = False) -> tuple:
    """Two residues that show one atom each, `gap` apart."""
    kind = np.array([aa.TYPE_OF_NAME[k] for k in kinds])
    xyz, mask = np.zeros((2, 14, 3)), np.zeros((2, 14), dtype=bool)
    for row, (k, atom) in enumerate(zip(kind, slots, strict=True)):
        slot = aa.ATOM14_NAMES[k].index(atom)
        xyz[row, slot, 0], mask[row, slot] = row * gap, True
    return xyz, mask, kind, np.array([linked, False])


def clashing(*args: object, ligand: tuple = (np.zeros((0, 3)), np.zeros(0))) -> int:
    return int(metrics.find_clashes(*args, *ligand)["protein"].sum())


def test_clashes_follow_radii_bonds_and_disulfides() -> None:
    assert clashing(*two_atoms(("LEU", "LEU"), ("CD1", "CD1"), 2.79)) == 2  # 1.7 + 1.7 - 0.6 = 2.8
    assert clashing(*two_atoms(("LEU", "LEU"), ("CD1", "CD1"), 2.81)) == 0
    assert clashing(*two_atoms(("LEU", "LEU"), ("C", "N"), 1.33)) == 2
    assert clashing(*two_atoms(("LEU", "LEU"), ("C", "N"), 1.33, linked=True)) == 0
    assert clashing(*two_atoms(("LEU", "LEU"), ("CA", "CA"), 2.5, linked=True)) == 0  # 1-4 through the peptide bond
    assert clashing(*two_atoms(("LEU", "LEU"), ("CB", "CA"), 2.5, linked=True)) == 2  # 1-5
    assert clashing(*two_atoms(("CYS", "CYS"), ("SG", "SG"), 2.05)) == 0
    assert clashing(*two_atoms(("CYS", "CYS"), ("SG", "SG"), 2.6)) == 2
    assert clashing(*two_atoms(("CYS", "MET"), ("SG", "SD"), 2.05)) == 2


def test_ligand_clashes_leave_out_metals_and_covalent_bonds() -> None:
    one = two_atoms(("LEU", "LEU"), ("CD1", "CD1"), 50.0)

    def count(gap: float, radius: float) -> int:
        ligand = (np.array([[0.0, gap, 0.0]]), np.array([radius]))
        return int(metrics.find_clashes(*one, *ligand)["ligand"].sum())

    assert count(2.5, 1.7) == 1
    assert count(2.9, 1.7) == 0
    assert count(1.5, 1.7) == 0  # a covalent bond
    assert count(2.1, 0.0) == 0  # a metal


def test_intervals_are_those_of_a_direct_bootstrap_over_clusters() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"cluster": rng.integers(0, 12, 300).astype(str), "hit": rng.integers(0, 2, 300), "n": 1})
    weights = bootstrap_weights(12, 2000, 1)
    found = summarise(table, [Ratio("acc", "hit", "n")], weights)["acc"]
    groups = [g["hit"].to_numpy() for _, g in table.groupby("cluster")]
    direct = [100 * np.concatenate([groups[i] for i in rng.integers(0, 12, 12)]).mean() for _ in range(2000)]
    assert found["value"] == pytest.approx(100 * table["hit"].mean())
    assert found["low"] == pytest.approx(np.percentile(direct, 2.5), abs=1.0)
    assert found["high"] == pytest.approx(np.percentile(direct, 97.5), abs=1.0)
    assert (
        summarise(table.assign(cluster="a"), [Ratio("acc", "hit", "n")], bootstrap_weights(1, 100, 0))["acc"]["low"]
        is None
    )
    assert summarise(table.assign(n=0), [Ratio("acc", "hit", "n")], weights)["acc"]["value"] is None


def test_rotamers_are_the_most_frequent_by_type_and_backbone_and_read_no_chi() -> None:
    n = 200
    kind = np.full(n, aa.TYPE_OF_NAME["SER"])
    angles = np.zeros((n, 7), dtype=np.float32)
    helix = np.arange(n) < 100
    angles[:, 0] = np.radians(np.where(helix, -63, -120))
    angles[:, 1] = np.radians(np.where(helix, -43, 130))
    rare = np.arange(n) % 4 == 0
    angles[:, 3] = np.radians(np.where(helix ^ rare, -65.0, 62.0))
    defined = np.zeros((n, 7), dtype=bool)
    defined[:, [0, 1, 3]] = True
    table = count_rotamers([(angles, defined, kind)])
    blind = angles.copy()
    blind[:, 3:] = 1e3
    chi = np.degrees(table.predict(blind, defined, kind)[:, 0])
    np.testing.assert_allclose(chi[helix], -65.0, atol=0.1)
    np.testing.assert_allclose(chi[~helix], 62.0, atol=0.1)
    unknown = defined.copy()
    unknown[:, :2] = False  # without a backbone: the most frequent of the type
    assert set(np.round(np.degrees(table.predict(blind, unknown, kind)[:, 0]))) <= {-65.0, 62.0}
