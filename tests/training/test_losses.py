from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from bindrae.chem import residues as aa
from bindrae.config import TrainingSettings
from bindrae.data.dataset import IPABatch
from bindrae.evaluation.metrics import find_clashes
from bindrae.geometry import fape
from bindrae.geometry.fape import fape_loss
from bindrae.geometry.kinematics import angles_to_circle, torsions_to_atoms
from bindrae.geometry.rigid import build_frames_from_3_points
from bindrae.model.heads import TorsionPrediction, bin_centres
from bindrae.model.stage1 import Stage1Output
from bindrae.training.losses import stage1_loss
from bindrae.training.structure_losses import clash_penalty, distance_loss, neighbour_pairs, rename_ambiguous
from bindrae.training.torsion_loss import chi_trains, torsion_loss
from tests.batches import random_batch, random_rotation

BINS = 72


def frames_of(atoms: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return build_frames_from_3_points(atoms[:, :, 0], atoms[:, :, 1], atoms[:, :, 2])


def perturbed(batch: IPABatch, seed: int = 3) -> torch.Tensor:
    return batch.atom14 + 0.7 * torch.randn(batch.atom14.shape, generator=torch.Generator().manual_seed(seed))


def perfect_output(batch: IPABatch) -> Stage1Output:
    frames = frames_of(torch.stack([batch.N, batch.Ca, batch.C], 2))
    circle = angles_to_circle(batch.torsion_angles)
    atoms, mask = torsions_to_atoms(frames, circle, batch.aatype)
    place = (batch.torsion_angles[..., 3:] + math.pi) / (2 * math.pi / BINS)
    bins = place.long().clamp(0, BINS - 1)
    offset = batch.torsion_angles[..., 3:] - bin_centres(BINS)[bins]
    logits = 60.0 * torch.nn.functional.one_hot(bins, BINS)
    prediction = TorsionPrediction(circle, circle, logits, offset.unsqueeze(-1).expand(*offset.shape, BINS))
    return Stage1Output(prediction, frames, atoms, mask & batch.node_mask.unsqueeze(-1))


def slow_fape(
    pred: torch.Tensor, true: torch.Tensor, frames: torch.Tensor, atoms: torch.Tensor, weight: torch.Tensor
) -> float:
    """Algorithm 28, pair by pair."""
    pR, pt = frames_of(pred.unsqueeze(0))
    tR, tt = frames_of(true.unsqueeze(0))
    total = count = 0.0
    for i in torch.nonzero(frames).flatten().tolist():
        for j, slot in torch.nonzero(atoms).tolist():
            a = pR[0, i].T @ (pred[j, slot] - pt[0, i])
            b = tR[0, i].T @ (true[j, slot] - tt[0, i])
            total += float(weight[j]) * min(10.0, float((a - b).norm()))
            count += float(weight[j])
    return total / count


def test_fape_equals_the_pairwise_definition_with_weights_masks_and_clamp() -> None:
    batch = random_batch(9, 6)
    true = batch.atom14.clone()
    pred = perturbed(batch)
    pred[0, 8] += 30.0  # beyond the clamp
    weight = 1 + batch.w_res
    got = fape_loss(
        frames_of(pred), frames_of(true), pred.flatten(1, 2), true.flatten(1, 2), batch.node_mask,
        batch.atom14_mask.flatten(1), weight.unsqueeze(-1).expand(-1, -1, 14).flatten(1),
    )  # fmt: skip
    expected = [slow_fape(pred[b], true[b], batch.node_mask[b], batch.atom14_mask[b], weight[b]) for b in range(2)]
    assert float(got) == pytest.approx(sum(expected) / 2, rel=1e-4)


def test_fape_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = random_batch(20)
    values, gradients = [], []
    for chunk in (3, 1000):
        monkeypatch.setattr(fape, "_CHUNK_PAIRS", chunk)
        pred = perturbed(batch).requires_grad_()
        loss = fape_loss(
            frames_of(pred), frames_of(batch.atom14), pred.flatten(1, 2), batch.atom14.flatten(1, 2), batch.node_mask,
            batch.atom14_mask.flatten(1),
        )  # fmt: skip
        loss.backward()
        values.append(loss.detach())
        gradients.append(pred.grad)
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-4)


def test_fape_sees_a_mirror_image_and_ignores_rigid_motion() -> None:
    batch = random_batch(15)
    true, mask = batch.atom14, batch.atom14_mask.flatten(1)

    def error(pred: torch.Tensor) -> float:
        args = (pred.flatten(1, 2), true.flatten(1, 2), batch.node_mask, mask)
        return float(fape_loss(frames_of(pred), frames_of(true), *args))

    assert error(true @ random_rotation(1).T + 20.0) < 5e-3
    assert error(true * torch.tensor([1.0, 1.0, -1.0])) > 1.0


def test_distance_loss_equals_a_double_loop() -> None:
    batch, k = random_batch(12), 4
    pred = perturbed(batch)
    index, valid = neighbour_pairs(pred, batch.node_mask, k)
    weight = 1 + batch.w_res
    got = distance_loss(pred, batch.atom14, batch.atom14_mask, weight, index, valid)
    total = count = 0.0
    for i in range(12):
        for j, ok in zip(index[0, i].tolist(), valid[0, i].tolist(), strict=True):
            for a, b in [(a, b) for a in range(14) for b in range(14) if ok]:
                if batch.atom14_mask[0, i, a] and batch.atom14_mask[0, j, b]:
                    d, e = ((x[0, i, a] - x[0, j, b]).square().sum().add(1e-6).sqrt() for x in (pred, batch.atom14))
                    w = float(max(weight[0, i], weight[0, j]))
                    total += w * min(5.0, abs(float(d - e)))
                    count += w
    assert float(got) == pytest.approx(total / count, rel=1e-4)


def test_clash_penalty_counts_the_pairs_that_the_metric_counts() -> None:
    batch = random_batch(25, seed=3)
    atoms = batch.atom14
    index, valid = neighbour_pairs(atoms, batch.node_mask, 25)
    penalty = clash_penalty(
        atoms, batch.atom14_mask, batch.aatype, batch.linked, index, valid, batch.ligand_xyz[:, :0],
        batch.ligand_radius[:, :0], batch.ligand_mask[:, :0],
    )  # fmt: skip
    kind, mask = batch.aatype[0].numpy(), batch.atom14_mask[0].numpy()
    none = (np.zeros((0, 3)), np.zeros(0))
    found = find_clashes(atoms[0].numpy(), mask, kind, batch.linked[0].numpy(), *none)
    assert found["protein"].sum() > 0
    assert (kind == aa.TYPE_OF_NAME["CYS"]).sum() < 2  # disulfides: the metric measures them, the loss allows them
    # The same sum from the metric's rules, pair by pair.
    total = 0.0
    radius = aa.ATOM14_RADIUS[kind]
    places = np.argwhere(mask)
    points = atoms[0].numpy()[mask]
    for p, q in cKDTree(points).query_pairs(3.5):
        (i, a), (j, b) = places[p], places[q]
        pair = np.zeros_like(mask)
        pair[i, a] = pair[j, b] = True
        if find_clashes(atoms[0].numpy(), pair, kind, batch.linked[0].numpy(), *none)["pairs"]:
            total += (radius[i, a] + radius[j, b] - 0.6 - np.linalg.norm(points[p] - points[q])) ** 2
    assert float(penalty) == pytest.approx(total / mask.sum(), rel=1e-3)


def test_ligand_clash_pushes_the_side_chain_away_but_metals_do_not() -> None:
    batch = random_batch(6)
    index, valid = neighbour_pairs(batch.atom14, batch.node_mask)
    at = batch.atom14[:, 2:3, 4] + torch.tensor([2.0, 0.0, 0.0])

    def penalty(atoms: torch.Tensor, radius: float) -> torch.Tensor:
        ligand = (at, torch.full((1, 1), radius), torch.ones(1, 1, dtype=torch.bool))
        return clash_penalty(atoms, batch.atom14_mask, batch.aatype, batch.linked, index, valid, *ligand)

    atoms = batch.atom14.clone().requires_grad_()
    organic, metal = penalty(atoms, 1.7), penalty(atoms, 0.0)
    assert organic > metal
    (organic - metal).backward()
    assert atoms.grad is not None
    assert atoms.grad[0, 2, 4, 0] > 0  # descending moves the atom along -x, away from the ligand


@pytest.mark.parametrize("multimodal", [True, False])
def test_a_perfect_prediction_costs_nothing_and_half_a_turn_of_a_flat_group_neither(multimodal: bool) -> None:
    batch = random_batch(60)
    weight = batch.node_mask.float()
    output = perfect_output(batch).torsions
    if not multimodal:
        output = replace(output, chi_logits=None, chi_offsets=None)
    assert float(torsion_loss(output, batch, weight)) < 1e-3
    flipped = batch.torsion_angles.clone()
    periodic = torch.as_tensor(aa.CHI_PI_PERIODIC)[batch.aatype]
    flipped[..., 3:] += torch.where(periodic, math.pi, 0.0)
    flipped = torch.atan2(torch.sin(flipped), torch.cos(flipped))
    turned = replace(batch, torsion_angles=flipped)
    assert float(torsion_loss(output, turned, weight)) < 1e-2
    wrong = replace(
        batch, torsion_angles=torch.atan2(torch.sin(batch.torsion_angles + 1), torch.cos(batch.torsion_angles + 1))
    )
    assert float(torsion_loss(output, wrong, weight)) > 0.4


def test_smoothed_bins_equal_the_obvious_implementation() -> None:
    batch = random_batch(25)
    g = torch.Generator().manual_seed(3)
    shape = (*batch.aatype.shape, 4, 36)
    logits, offsets = torch.randn(shape, generator=g), torch.zeros(shape)
    prediction = replace(perfect_output(batch).torsions, chi_logits=logits, chi_offsets=offsets)
    weight = batch.node_mask.float()
    narrow, wide = (
        float(
            torsion_loss(prediction, batch, weight, None, smoothing)
            - torsion_loss(prediction, batch, weight, None, 0.0)
        )
        for smoothing in (1e-2, 12.0)
    )
    # A width far below a bin's leaves the one bin whose centre is nearest: the true one.
    assert narrow == pytest.approx(0.0, abs=1e-4)
    width = 2 * math.pi / 36
    total, count = 0.0, 0
    periodic = torch.as_tensor(aa.CHI_PI_PERIODIC)[batch.aatype]
    for b, n, k in torch.nonzero(batch.torsion_mask[..., 3:]).tolist():
        p = torch.softmax(logits[b, n, k], -1)
        if periodic[b, n, k]:
            p = p + p.roll(18)
        angle = float(batch.torsion_angles[b, n, 3 + k])
        target = [
            math.exp((math.cos(angle - (-math.pi + (i + 0.5) * width)) - 1) / math.radians(12) ** 2) for i in range(36)
        ]
        own = p[min(35, int((angle + math.pi) / width))]
        total -= sum(t * math.log(q) for t, q in zip(target, p, strict=True)) / sum(target) - math.log(own)
        count += 1
    assert wide == pytest.approx(total / count, rel=1e-4)


def test_chis_of_disordered_atoms_do_not_train() -> None:
    batch = random_batch(30)
    batch.bfactor[0, :15] = 80.0
    trains = chi_trains(batch, 40.0)
    assert not trains[0, :15].any()
    assert torch.equal(trains[0, 15:], batch.torsion_mask[0, 15:, 3:])
    assert torch.equal(chi_trains(batch, None), batch.torsion_mask[..., 3:])


def test_renaming_takes_the_nearer_names() -> None:
    batch = random_batch(80)
    swap = torch.as_tensor(aa.SWAP_SLOTS)[batch.aatype]
    exchanged = torch.gather(batch.atom14, 2, swap.unsqueeze(-1).expand(-1, -1, -1, 3))
    renamed, _ = rename_ambiguous(exchanged, batch.atom14, batch.atom14_mask, batch.aatype)
    mask = batch.atom14_mask
    assert not torch.allclose(exchanged[mask], batch.atom14[mask])
    torch.testing.assert_close(renamed[mask], exchanged[mask])


def test_total_is_the_weighted_sum_and_warms_up_with_the_pocket() -> None:
    batch = random_batch(20, 14)
    output = perfect_output(batch)
    output.atom14 = output.atom14 + 0.5 * torch.randn(output.atom14.shape, generator=torch.Generator().manual_seed(0))
    settings = TrainingSettings(weight_distance=0.3, weight_clash=0.7, pocket_warmup_steps=10)
    parts = stage1_loss(output, batch, settings, 0)
    expected = parts["torsion"] + parts["fape"] + 0.3 * parts["distance"] + 0.7 * parts["clash"]
    torch.testing.assert_close(parts["loss"], expected)
    assert stage1_loss(output, batch, settings, 5)["fape"] != parts["fape"]
    torch.testing.assert_close(
        stage1_loss(output, batch, settings, 10)["fape"], stage1_loss(output, batch, settings, 99)["fape"]
    )


def test_losses_on_atoms_are_left_out_on_demand_and_leave_out_shown_side_chains() -> None:
    batch = random_batch(20, 14)
    output = perfect_output(batch)
    settings = TrainingSettings()
    alone = stage1_loss(output, batch, settings, 0, structure=False)
    assert set(alone) == {"loss", "torsion"}
    assert alone["loss"] == alone["torsion"]

    hidden = batch.residue_index % 2 == 0
    base = stage1_loss(output, batch, settings, 0, hidden)
    side_chain = torch.arange(aa.N_SLOTS) > aa.SLOT_CB
    for residues, changes in ((~hidden, False), (hidden, True)):
        moved = replace(output, atom14=output.atom14.clone())
        moved.atom14[residues.unsqueeze(-1) & side_chain] += 3.0
        found = stage1_loss(moved, batch, settings, 0, hidden)
        for name in ("fape", "distance"):
            assert (abs(found[name] - base[name]) > 1e-3) == changes
