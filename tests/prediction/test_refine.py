"""Overlaps: which pairs may clash, what the search does about them, and what the gradient steps do."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from batches import random_sample

from bindrae.chem import residues as aa
from bindrae.chem.topology import CLASH_TOLERANCE
from bindrae.data.dataset import Sample
from bindrae.evaluation.metrics import find_clashes
from bindrae.geometry.kinematics import angles_to_circle
from bindrae.geometry.rigid import build_frames_from_3_points
from bindrae.prediction.overlap import may_clash
from bindrae.prediction.refine import Refined, Scene, build_unrefined, refine_chis
from bindrae.prediction.rotamers import Rotamers, wrap
from bindrae.structure.torsions import residue_torsions
from complexes import peptide


def scene_of(sample: Sample, ligand: torch.Tensor | None = None, radius: float = 1.7) -> Scene:
    xyz = torch.zeros(0, 3) if ligand is None else ligand
    backbone = sample["atom14"][:, :4]
    return Scene(
        frames=build_frames_from_3_points(*backbone[:, :3].unbind(1)),
        aatype=sample["aatype"].long(),
        linked=sample["linked"],
        ligand_xyz=xyz,
        ligand_radius=torch.full((len(xyz),), radius),
        backbone=backbone,
    )


def extended(sequence: str) -> Sample:
    """An extended peptide, in which side chains stand free."""
    atoms = peptide(sequence)
    aatype = np.array([aa.TYPE_OF_LETTER[letter] for letter in sequence])
    xyz, mask = np.zeros((len(aatype), aa.N_SLOTS, 3), np.float32), aa.ATOM14_MASK[aatype]
    for atom in atoms:
        xyz[atom.number - 1, aa.ATOM14_NAMES[aatype[atom.number - 1]].index(atom.name)] = atom.xyz
    linked = np.arange(len(aatype)) < len(aatype) - 1
    angles, _ = residue_torsions(xyz, mask, aatype, linked)
    arrays = {"atom14": xyz, "aatype": aatype, "linked": linked, "torsion_angles": angles}
    return {name: torch.as_tensor(array) for name, array in arrays.items()}


def staggered(sample: Sample, sure: float = 0.6) -> tuple[torch.Tensor, Rotamers]:
    """Three candidates a residue, a third of a turn of chi1 apart; the first is the sample's own."""
    angles = sample["torsion_angles"]
    chi = angles[:, None, 3:].repeat(1, 3, 1)
    chi[:, 1, 0] += 2 * math.pi / 3
    chi[:, 2, 0] -= 2 * math.pi / 3
    log_p = torch.log(torch.tensor([sure, (1 - sure) / 2, (1 - sure) / 2])).repeat(len(angles), 1)
    return angles_to_circle(angles), Rotamers(chi, log_p, torch.full_like(chi, math.radians(8.0)))


def clashes(scene: Scene, xyz: torch.Tensor, mask: torch.Tensor) -> tuple[int, int]:
    found = find_clashes(
        xyz.numpy(), mask.numpy(), scene.aatype.numpy(), scene.linked.numpy(), scene.ligand_xyz.numpy(),
        scene.ligand_radius.numpy(),
    )  # fmt: skip
    return int(found["protein"].sum()), int(found["ligand"].sum())


def test_pairs_that_may_clash_are_those_of_the_metric() -> None:
    sample = random_sample(60, 4)
    sample["aatype"][:] = torch.arange(60) % 20
    scene = scene_of(sample)
    xyz, mask = build_unrefined(scene, angles_to_circle(sample["torsion_angles"]))
    row, slot = np.nonzero(mask.numpy())
    kind = scene.aatype.numpy()
    atoms, radius = xyz.numpy()[row, slot], aa.ATOM14_RADIUS[kind[row], slot]
    i, j = np.triu_indices(len(row), 1)
    near = np.linalg.norm(atoms[i] - atoms[j], axis=1) < radius[i] + radius[j] - CLASH_TOLERANCE
    i, j = i[near], j[near]
    free = may_clash(row[i], slot[i], row[j], slot[j], kind, scene.linked.numpy())
    assert np.array_equal(free, may_clash(row[j], slot[j], row[i], slot[i], kind, scene.linked.numpy()))
    touched = np.zeros(len(row), dtype=bool)
    touched[i[free]] = touched[j[free]] = True
    expected = find_clashes(xyz.numpy(), mask.numpy(), kind, scene.linked.numpy(), np.zeros((0, 3)), np.zeros(0))
    assert 0 < free.sum() < len(free)
    assert np.array_equal(np.bincount(row[touched], minlength=60), expected["protein"])


@pytest.mark.parametrize("polish_weight", [0.0, 30.0])
def test_chis_measured_on_a_backbone_that_is_not_ideal_are_those_that_were_chosen(polish_weight: float) -> None:
    sample = extended("AFKDSWLEGHRMPTYNQVIC")
    backbone, there = sample["atom14"][:, :4].clone(), torch.ones(len(sample["aatype"]), 4, dtype=torch.bool)
    n, ca, c, _ = backbone.unbind(1)
    bent = n - ca + torch.linspace(-0.25, 0.25, len(n)).unsqueeze(-1) * (c - ca)  # by up to 14 degrees
    backbone[:, 0] = ca + 1.46 * bent / bent.norm(dim=-1, keepdim=True)
    circle, rotamers = staggered(sample)
    scene = scene_of(sample)
    scene.stand_on(backbone, there, circle)
    found = refine_chis(scene, circle, rotamers, polish_weight=polish_weight)
    assert found.xyz[:, :4].equal(backbone)
    measured, defined = residue_torsions(
        found.xyz.numpy(), found.mask.numpy(), scene.aatype.numpy(), scene.linked.numpy()
    )
    chosen = torch.atan2(*found.circle[:, 3:].unbind(-1))
    off = wrap(torch.as_tensor(measured[:, 3:]) - chosen)[torch.as_tensor(defined[:, 3:])]
    assert len(off) > 30
    assert off.abs().max() < 1e-3


def test_clashes_within_the_protein_go() -> None:
    before = after = floor = 0
    for seed in range(4):
        sample = random_sample(40, seed)
        scene = scene_of(sample)
        circle, rotamers = staggered(sample)
        before += clashes(scene, *build_unrefined(scene, circle))[0]
        refined = refine_chis(scene, circle, rotamers)
        after += clashes(scene, refined.xyz, refined.mask)[0]
        # The random chain runs through itself: what backbone and CB alone touch, no side chain can mend.
        bare = refined.mask & (torch.arange(aa.N_SLOTS) <= aa.SLOT_CB)
        floor += clashes(scene, refined.xyz, bare)[0]
    assert after - floor < 0.3 * (before - floor)


def test_a_side_chain_makes_room_for_the_ligand_but_not_for_a_metal() -> None:
    sample = extended("AAAAFAAAA")
    circle, rotamers = staggered(sample)
    xyz, _ = build_unrefined(scene_of(sample), circle)
    at_tip = xyz[4, aa.ATOM14_NAMES[aa.TYPE_OF_NAME["PHE"]].index("CZ")] + torch.tensor([0.4, 0.0, 0.0])
    organic, metal = scene_of(sample, at_tip[None]), scene_of(sample, at_tip[None], radius=0.0)
    moved, stayed = refine_chis(organic, circle, rotamers), refine_chis(metal, circle, rotamers)
    tip = aa.ATOM14_NAMES[aa.TYPE_OF_NAME["PHE"]].index("CZ")
    assert float((moved.xyz[4, tip] - at_tip).norm()) > 2.8
    assert float((stayed.xyz[4, tip] - at_tip).norm()) < 1.0


def test_the_ligand_is_cleared_whatever_the_protein_may_overlap() -> None:
    sample = extended("AAMAA")
    circle, rotamers = staggered(sample)
    only = replace(rotamers, log_p=torch.where(torch.arange(3) == 0, 0.0, -torch.inf).expand(5, -1))
    names = aa.ATOM14_NAMES[aa.TYPE_OF_NAME["MET"]]
    gamma, delta, tip = (sample["atom14"][2, names.index(name)] for name in ("CG", "SD", "CE"))
    along = torch.nn.functional.normalize(tip - delta, dim=0)
    aside = torch.nn.functional.normalize(torch.linalg.cross(along, gamma - delta), dim=0)  # where chi3 takes the tip
    ligand = (tip + 1.2 * along + 2.0 * aside).unsqueeze(0)
    scene = scene_of(sample, ligand)

    def gap(xyz: torch.Tensor, mask: torch.Tensor) -> float:
        return float((xyz[2][mask[2]] - ligand).norm(dim=-1).min())

    before, after = gap(*build_unrefined(scene, circle)), refine_chis(scene, circle, only, polish_weight=1e-3)
    needed = 2 * 1.7 - CLASH_TOLERANCE
    assert before < needed - 0.3
    assert gap(after.xyz, after.mask) > needed - 0.02
    turned = wrap(torch.atan2(*after.circle[2, 3:].unbind(-1)) - torch.atan2(*circle[2, 3:].unbind(-1))).abs()
    assert turned[0] < turned[1:3].max()


def test_what_touches_nothing_stays() -> None:
    sample = extended("AASAKAFAA")
    circle, rotamers = staggered(sample, sure=0.98)
    scene = scene_of(sample)
    plain, mask = build_unrefined(scene, circle)
    assert clashes(scene, plain, mask)[0] == 0
    refined = refine_chis(scene, circle, rotamers)
    assert torch.allclose(refined.xyz, plain, atol=0.15)


def test_given_side_chains_are_obstacles_and_do_not_move() -> None:
    sample = random_sample(40, 1)
    circle, rotamers = staggered(sample)
    scene = scene_of(sample)
    scene.kept = torch.arange(40) % 2 == 0
    scene.kept_xyz, scene.kept_mask = build_unrefined(scene_of(sample), circle)
    refined = refine_chis(scene, circle, rotamers)
    assert torch.equal(refined.xyz[scene.kept], scene.kept_xyz[scene.kept])
    assert not torch.equal(refined.xyz[~scene.kept], scene.kept_xyz[~scene.kept])
    assert clashes(scene, refined.xyz, refined.mask)[0] < clashes(scene, scene.kept_xyz, scene.kept_mask)[0]


def test_bond_lengths_and_the_backbone_survive() -> None:
    sample = random_sample(40, 3)
    circle, rotamers = staggered(sample)
    scene = scene_of(sample)
    refined = refine_chis(scene, circle, rotamers)
    assert torch.equal(refined.xyz[:, :4], sample["atom14"][:, :4])
    rebuilt, _ = build_unrefined(scene, refined.circle)
    assert torch.allclose(rebuilt, refined.xyz, atol=1e-4)
    assert torch.allclose(refined.circle.norm(dim=-1), torch.ones(40, 7), atol=1e-5)


def test_the_same_seed_gives_the_same_answer() -> None:
    sample = random_sample(40, 3)
    runs: list[Refined] = [refine_chis(scene_of(sample), *staggered(sample), seed=5) for _ in range(2)]
    assert torch.equal(runs[0].xyz, runs[1].xyz)


def test_a_place_that_the_ligand_leaves_free_is_taken() -> None:
    """Of three equal candidates the one that touches nothing."""
    sample = extended("AAAAFAAAA")
    circle, rotamers = staggered(sample, sure=1 / 3)
    free = scene_of(sample)
    for left in range(3):
        tips = []
        for place in {0, 1, 2} - {left}:
            turned = circle.clone()
            turned[:, 3:] = angles_to_circle(rotamers.chi[:, place])
            tips.append(build_unrefined(free, turned)[0][4, 9:11])
        refined = refine_chis(scene_of(sample, torch.cat(tips)), circle, rotamers)
        away = torch.atan2(*refined.circle[4, 3]) - rotamers.chi[4, left, 0]
        assert float(torch.cos(away)) > 0.9


def test_cysteines_that_reach_each_other_bond() -> None:
    sample = random_sample(2, 0)
    sample["aatype"][:] = aa.TYPE_OF_NAME["CYS"]
    sample["linked"][:] = False
    circle, rotamers = staggered(sample, sure=0.4)
    scene = scene_of(sample)
    sg = aa.ATOM14_NAMES[aa.TYPE_OF_NAME["CYS"]].index("SG")
    # Lay the second residue so that the second candidate of each has its sulphur 2.2 A from the other's.
    turned = circle.clone()
    turned[:, 3:] = angles_to_circle(rotamers.chi[:, 1])
    xyz, _ = build_unrefined(scene, turned)
    outward = torch.nn.functional.normalize(xyz[0, sg] - xyz[0, 1], dim=0)
    inward = torch.nn.functional.normalize(xyz[1, sg] - xyz[1, 1], dim=0)
    turn = _rotation(inward, -outward)
    moved = (sample["atom14"][1] - xyz[1, 1]) @ turn.T
    tip = turn @ (xyz[1, sg] - xyz[1, 1])
    sample["atom14"][1] = moved + xyz[0, sg] + 2.2 * outward - tip
    refined = refine_chis(scene_of(sample), circle, rotamers)
    assert float((refined.xyz[0, sg] - refined.xyz[1, sg]).norm()) == pytest.approx(2.05, abs=0.2)


def _rotation(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The rotation that takes unit vector a to b."""
    v, c = torch.linalg.cross(a, b), torch.dot(a, b)
    k = torch.tensor([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return torch.eye(3) + k + k @ k / (1 + c)
