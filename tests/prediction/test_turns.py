"""How far chosen side chains should turn: the network, its fit, and what prediction makes of it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from batches import random_sample
from prediction_cases import random_turns
from torch.nn import functional as F

from bindrae.chem import residues as aa
from bindrae.errors import BindraeError
from bindrae.geometry.kinematics import angles_to_circle
from bindrae.model.export import rewrite_metadata
from bindrae.prediction import turns
from bindrae.prediction.descriptors import STEPS, approach_descriptors, descriptors
from bindrae.prediction.kinds import N_MOVING, atom_kinds, moving_kinds
from bindrae.prediction.levers import lever_arms, moved_atoms
from bindrae.prediction.neighbourhood import CHANNELS, PER_ANGSTROM, Near, find_near, protein_directions
from bindrae.prediction.networks import RefinementNetworks, read_networks
from bindrae.prediction.networks_fit import fit_network, gather_turns
from bindrae.prediction.obstacles import Bond
from bindrae.prediction.predict import Predictor
from bindrae.prediction.refine import Arrangements
from bindrae.prediction.rotamers import WITHIN, Density, density_around, mass_around, turn_between
from bindrae.prediction.surroundings import SurroundingsNetwork
from bindrae.prediction.tune import Trial, try_sample
from bindrae.prediction.turns import FARTHEST, TURNS, Turnable, TurnNetwork, best_turns
from bindrae.prediction.turns_fit import TrueTurns, true_turns_of, turn_loss


@pytest.fixture(scope="module")
def trial(predictor: Predictor) -> Trial:
    return try_sample(predictor.model, "x", random_sample(40, 5))


@pytest.fixture(scope="module")
def made(trial: Trial) -> Arrangements:
    return Arrangements(trial.scene, trial.circle, trial.rotamers, polish_weight=0.0)


def test_distances_grow_with_the_chis_as_atoms_move(made: Arrangements) -> None:
    """Neighbours that stand still, before and after a small turn."""
    arranged, costs = made.arranged(), made.costs()
    rows, kind = made.turning_rows, made.scene.aatype.numpy()
    standing, step = made.standing(costs, arranged), 0.02
    near = made.turnable(arranged, costs).near
    assert near.approach is not None
    atoms = np.repeat(np.arange(len(near.atom)), np.diff(near.first))
    told = 0
    for chi in range(aa.N_CHI):
        moved = []
        for sign in (-1, 1):
            turn = torch.zeros(len(rows), aa.N_CHI)
            turn[:, chi] = sign * step
            moved.append(made.turn(arranged, turn).xyz[rows].double().numpy())
        where = [xyz[near.candidate, slot_of(near.atom, kind[rows][near.candidate])] for xyz in moved]
        # Each atom's neighbours are found again by their distance from where it stands.
        at = arranged.xyz[rows].double().numpy()[near.candidate, slot_of(near.atom, kind[rows][near.candidate])]
        for pair in range(0, len(atoms), 37):
            a = atoms[pair]
            d = np.linalg.norm(standing.xyz - at[a], axis=1)
            wanted = 2.5 + near.distance[pair] / 255 * 3.0
            same = np.flatnonzero((np.abs(d - wanted) < 0.0062) & (standing.channel == near.channel[pair]) & (d > 2.52))
            same = same[standing.row[same] != rows[near.candidate[a]]]
            if len(same) != 1:
                continue
            ends = [np.linalg.norm(standing.xyz[same[0]] - xyz[a]) for xyz in where]
            slope = (ends[1] - ends[0]) / (2 * step)
            assert near.approach[pair, chi] / PER_ANGSTROM == pytest.approx(slope, abs=0.05)
            told += abs(slope) > 0.5
    assert told > 20


def slot_of(atom: np.ndarray, kind: np.ndarray) -> np.ndarray:
    table = np.zeros(N_MOVING, np.int64)
    for t, slot in np.argwhere(atom_kinds()[1] >= 0):
        table[atom_kinds()[1][t, slot]] = slot
    return table[atom]


def test_what_neighbours_push_is_their_share_times_the_growth(made: Arrangements) -> None:
    near = made.turnable(made.arranged(), made.costs()).near
    assert near.approach is not None
    rows, chis = np.nonzero(moved_atoms()[near.atom])
    ones = approach_descriptors(descriptors(near), np.ones_like(near.approach, np.float32), rows, chis)
    assert (abs(ones - descriptors(near)[rows]) > 1e-6).nnz == 0
    found = approach_descriptors(descriptors(near), near.approach.astype(np.float32), rows, chis).toarray()
    for at in range(0, len(rows), 29):
        own = slice(int(near.first[rows[at]]), int(near.first[rows[at] + 1]))
        one = replace(
            near, atom=near.atom[rows[at]][None], candidate=np.zeros(1, np.int32), approach=None,
            first=np.array([0, own.stop - own.start]), weight=np.full(own.stop - own.start, 255, np.uint8),
            **{name: getattr(near, name)[own] for name in ("channel", "distance", "own_cosine", "other_cosine")},
        )  # fmt: skip
        expected = np.zeros(found.shape[1])
        for pair in range(own.stop - own.start):
            single = replace(
                one, first=np.array([0, 1]), weight=near.weight[own][pair : pair + 1],
                **{k: getattr(one, k)[pair : pair + 1] for k in ("channel", "distance", "own_cosine", "other_cosine")},
            )  # fmt: skip
            expected += descriptors(single).toarray()[0] * near.approach[own][pair, chis[at]]
        assert found[at] == pytest.approx(expected, abs=1e-3)


def test_probabilities_are_those_of_their_definition(made: Arrangements) -> None:
    """Side chain by side chain and atom by atom."""
    network, asked = random_turns(), made.turnable(made.arranged(), made.costs())
    found, near = network(asked), asked.near
    assert near.approach is not None
    assert torch.allclose(found.exp().sum(-1), torch.ones(len(asked.aatype), aa.N_CHI), atol=1e-5)
    table = torch.as_tensor(descriptors(near).toarray()) @ network.near
    for r in range(0, len(asked.aatype), 5):
        kind, around, pushes, slope = int(asked.aatype[r]), 0.0, torch.zeros(aa.N_CHI, 64), torch.zeros(aa.N_CHI)
        for a in np.flatnonzero(near.candidate == r):
            atom = int(near.atom[a])
            hidden = F.silu(table[a] @ network.read[moving_kinds()[atom]] + network.bias[atom])
            around = around + hidden
            for chi in np.flatnonzero(moved_atoms()[atom]):
                growth = near.approach / np.float32(PER_ANGSTROM)
                push = torch.as_tensor(
                    approach_descriptors(descriptors(near), growth, np.array([a]), np.array([chi])).toarray()[0]
                )
                push = push @ network.push
                pushes[chi] += push * (1 + network.gate(hidden))
                slope[chi] += push @ network.direct[chi, atom]
        has = torch.as_tensor(aa.CHI_MASK[kind])[:, None]
        density = torch.log_softmax(torch.as_tensor(asked.density[r]).float(), -1)
        told = torch.cat([
            (angles_to_circle(torch.as_tensor(asked.chi[r])) * has).flatten(), torch.as_tensor(asked.told[r]).float(),
            ((density.clamp_min(-8) + 3) / 3 * has).flatten(),
        ])  # fmt: skip
        x = network.from_near(around) + network.from_push(pushes.flatten()) + network.from_told(told)
        x = F.silu(x + network.from_type[kind])
        x = x + F.silu(network.join(x))
        tilt = network.tilt(x).view(aa.N_CHI, -1)
        tilt[:, 0] += slope
        phase = TURNS / FARTHEST * math.pi / 2
        waves = torch.stack([f(k * phase) for k in (1, 2, 3) for f in (torch.sin, torch.cos)])
        expected = torch.log_softmax(network.trust[kind][:, None] * density + tilt @ waves, -1)
        assert torch.allclose(found[r], expected, atol=2e-3)


def test_turns_do_not_depend_on_place(made: Arrangements) -> None:
    network, arranged, costs = random_turns(), made.arranged(), made.costs()
    asked, rows, kind = made.turnable(arranged, costs), made.turning_rows, made.scene.aatype.numpy()
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    rotation *= np.linalg.det(rotation)
    standing = made.standing(costs, arranged)
    moved = replace(standing, xyz=standing.xyz @ rotation.T + 9.0, direction=standing.direction @ rotation.T)
    xyz = arranged.xyz[rows].double().numpy() @ rotation.T + 9.0
    mask = arranged.mask[rows].numpy()
    arms, points = lever_arms(xyz, kind[rows]), protein_directions(xyz, mask, kind[rows])
    again = replace(asked, near=find_near(xyz, points, mask, rows, kind, moved, arms))
    assert torch.allclose(network(asked), network(again), atol=0.05)
    # In a mirror, what pushes one way pushes the other.
    mirror = np.diag([1.0, 1.0, -1.0])
    moved = replace(standing, xyz=standing.xyz @ mirror, direction=standing.direction @ mirror)
    xyz = arranged.xyz[rows].double().numpy() @ mirror
    arms, points = lever_arms(xyz, kind[rows]), protein_directions(xyz, mask, kind[rows])
    near = find_near(xyz, points, mask, rows, kind, moved, arms)
    assert near.approach is not None
    assert asked.near.approach is not None
    assert np.abs(near.approach.astype(int)).sum() == pytest.approx(
        np.abs(asked.near.approach.astype(int)).sum(), rel=0.01
    )
    assert near.approach.astype(int).sum() == pytest.approx(-asked.near.approach.astype(int).sum(), rel=0.05, abs=50)


def test_the_density_near_a_chi_is_the_models(trial: Trial) -> None:
    chi, rows = torch.atan2(*trial.circle[:, 3:].unbind(-1)), torch.arange(len(trial.circle))
    density = density_around(trial.inputs, rows, chi)
    assert torch.allclose(density.p.sum(-1), torch.ones(len(rows), aa.N_CHI), atol=1e-5)
    mass = mass_around(trial.inputs, chi)
    assert mass is not None
    has = torch.as_tensor(aa.CHI_MASK)[trial.scene.aatype]
    assert torch.equal(mass[has], density.within(WITHIN)[has])
    one = Density(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.1, 2.0]]]))
    assert one.smoothed(torch.tensor([0.1, 0.2]), 0.1)[0, 0].tolist() == pytest.approx([1.0, math.exp(-0.5)])


def test_half_a_turn_of_a_ring_is_no_turn() -> None:
    kind = torch.tensor([aa.TYPE_OF_NAME["PHE"], aa.TYPE_OF_NAME["LEU"]])
    start, end = torch.full((2, 4), 3.0), torch.full((2, 4), 0.1)
    found = turn_between(start, end, kind)
    assert found[:, 0].tolist() == pytest.approx([-2.9, -2.9])
    assert found[:, 1].tolist() == pytest.approx([math.pi - 2.9, -2.9])
    assert turn_between(torch.tensor([[3.1]]), torch.tensor([[-3.1]]), torch.tensor([0]))[0, 0] == pytest.approx(
        2 * math.pi - 6.2, abs=1e-5
    )


def test_the_turn_is_that_with_the_most_probability_within_twenty_degrees() -> None:
    serine, lysine = aa.TYPE_OF_NAME["SER"], aa.TYPE_OF_NAME["LYS"]
    log_p = torch.full((2, 4, len(TURNS)), -20.0)
    log_p[0, 0, [6, 18]] = torch.log(torch.tensor([0.4, 0.6]))  # -18 and 18 degrees: 0 has both
    log_p[1, 0, 20] = 0.0  # 24 degrees: whatever is within 20 of it; the middle of these by the soft edge
    log_p[1, 3, [0, 24]] = torch.log(torch.tensor([0.45, 0.55]))  # -36 and 36: not both
    turns, probability = best_turns(torch.log_softmax(log_p, -1), np.array([serine, lysine]))
    found = torch.rad2deg(turns)
    assert abs(found[0, 0]) <= 2
    assert found[0, 1:].tolist() == [0, 0, 0]
    assert found[1, 0] == pytest.approx(24, abs=4)
    assert found[1, 3] >= 22
    assert 0.6 < probability[0, 0] < 0.7, "both are near the edge, which is soft"
    assert probability[0, 1:].tolist() == [1, 1, 1]
    assert probability[1, 0] == pytest.approx(1.0, abs=0.01)
    assert probability[1, 3] == pytest.approx(0.55, abs=0.01)


def test_side_chains_that_a_bond_holds_stay(trial: Trial) -> None:
    free, bound, undistributed = (
        Arrangements(trial.scene, trial.circle, trial.rotamers, polish_weight=0.0) for _ in range(3)
    )
    rows = free.turning_rows
    assert set(rows) == set(np.flatnonzero(trial.scene.movable.numpy()))
    bound.scene = replace(trial.scene, bonds=(Bond(int(rows[3]), 5, 0, 1.8),))
    assert set(rows) - set(bound.turning_rows) == {rows[3]}
    undistributed.inputs = None
    assert not len(undistributed.turning_rows)


def test_networks_turn_the_chosen_side_chains_and_nothing_else(trial: Trial) -> None:
    surroundings = SurroundingsNetwork().requires_grad_(False).eval()
    networks = RefinementNetworks(surroundings, random_turns(3))

    def best(networks: RefinementNetworks) -> torch.Tensor:
        made = Arrangements(trial.scene, trial.circle, trial.rotamers, polish_weight=0.0, networks=networks)
        return made.best().circle

    before, after = best(RefinementNetworks(surroundings)), best(networks)
    turned = torch.rad2deg(
        turn_between(*(torch.atan2(*c[:, 3:].unbind(-1)) for c in (before, after)), trial.scene.aatype)
    )
    has = torch.as_tensor(aa.CHI_MASK)[trial.scene.aatype]
    assert (turned[has].abs() > 1.0).float().mean() > 0.3
    assert turned[~has].abs().max() < 1e-3
    assert turned.abs().max() < 2 * 30.1
    assert torch.equal(before[:, :3], after[:, :3])
    # Drawn side chains turn too.
    made = Arrangements(trial.scene, trial.circle, trial.rotamers, polish_weight=0.0, networks=networks)
    drawn = made.draw(np.random.default_rng(0), 1.0)
    candidates = torch.atan2(*made.circle[:, 3:].unbind(-1))
    chi1 = torch.atan2(*drawn.circle[:, 3].unbind(-1))
    off = [float((chi1[r] - candidates[made.row == r, 0]).abs().min()) for r in made.turning_rows]
    assert np.mean(np.array(off) > 0.01) > 0.3


def test_what_stands_in_another_mode_says_nothing(made: Arrangements, trial: Trial) -> None:
    network, true = random_turns(), true_turns_of(trial, made, made.costs(), made.arranged())
    true.turns[:] = np.nan
    true.turns[0, 0] = 0.1
    one, count = turn_loss(network, true)
    p = network(true.asked)[0, 0]
    wanted = torch.softmax(-0.5 * ((0.1 - TURNS) / math.radians(4.0)) ** 2, -1)
    assert count == 1
    assert one.item() == pytest.approx(-float((wanted * p).sum()), rel=1e-4)
    true.turns[0] = [0.7, 0.1, 0.1, 0.1]  # chi1 is in another mode: what lies behind it is elsewhere
    assert turn_loss(network, true)[1] == 0
    true.turns[0] = [0.1, 0.7, 0.1, 0.1]
    assert turn_loss(network, true)[1] == 1


def pushed(seed: int) -> TrueTurns:
    """Serines with an oxygen near, which want to turn toward it."""
    rng = np.random.default_rng(seed)
    count = 60
    kind = aa.TYPE_OF_NAME["SER"]
    og = atom_kinds()[1][kind, aa.ATOM14_NAMES[kind].index("OG")]
    growth = rng.choice([-1.2, 1.2], count)
    approach = np.zeros((count, aa.N_CHI), np.int8)
    approach[:, 0] = np.rint(growth * PER_ANGSTROM)
    near = Near(
        np.arange(count, dtype=np.int32), np.full(count, og, np.int16), np.arange(count + 1),
        np.full(count, CHANNELS.index("backbone O"), np.uint8), np.full(count, 90, np.uint8), np.zeros(count, np.int8),
        np.zeros(count, np.int8), np.full(count, 255, np.uint8), approach,
    )  # fmt: skip
    turns_ = np.full((count, aa.N_CHI), np.nan, np.float32)
    turns_[:, 0] = np.where(growth > 0, -0.3, 0.3)
    asked = Turnable(
        near, np.full(count, kind), np.zeros((count, aa.N_CHI), np.float32),
        np.zeros((count, aa.N_CHI, len(TURNS)), np.float16), np.zeros((count, turns.N_TOLD), np.float16),
    )  # fmt: skip
    return TrueTurns(asked, turns_)


def test_the_fit_learns_which_way_neighbours_push() -> None:
    torch.manual_seed(0)
    network = fit_network(TurnNetwork(), [pushed(seed) for seed in range(20)], turn_loss, epochs=6)
    true = pushed(99)
    found = best_turns(network(true.asked), true.asked.aatype)[0][:, 0].numpy()
    assert np.abs(found - true.turns[:, 0]).max() < math.radians(6.0)


def test_turns_are_gathered_where_candidates_stand_and_where_they_are_turned(trial: Trial) -> None:
    surroundings = SurroundingsNetwork().requires_grad_(False).eval()
    (at_modes,) = gather_turns(RefinementNetworks(surroundings), trial)
    first, turned = gather_turns(RefinementNetworks(surroundings, random_turns(3)), trial)
    assert len(at_modes.turns) == len(first.turns) == len(turned.turns) > 10
    difference = turn_between(
        torch.as_tensor(first.asked.chi), torch.as_tensor(turned.asked.chi), torch.as_tensor(first.asked.aatype)
    )
    left = turn_between(torch.as_tensor(first.turns - turned.turns), difference, torch.as_tensor(first.asked.aatype))
    has = torch.as_tensor(aa.CHI_MASK[first.asked.aatype]) & torch.as_tensor(np.isfinite(first.turns))
    assert left[has].abs().max() < 1e-4
    assert difference[has].abs().max() > 0.1


def test_the_model_file_carries_both_networks(model_path: Path, tmp_path: Path) -> None:
    out, network = tmp_path / "n.safetensors", random_turns()
    about = {SurroundingsNetwork.KEY: SurroundingsNetwork().to_json(), TurnNetwork.KEY: network.to_json()}
    rewrite_metadata(model_path, about, out)
    read = read_networks(out)
    assert read is not None
    assert read.turns is not None
    for name, value in network.named_parameters():
        assert torch.allclose(value, read.turns.get_parameter(name), atol=1e-3), name
    damaged = json.dumps(json.loads(about["turns"]) | {"steps": list(STEPS[:-1])})
    rewrite_metadata(model_path, about | {"turns": damaged}, out)
    with pytest.raises(BindraeError, match="network of turns in its metadata is damaged"):
        read_networks(out)
