"""What the surroundings of a side chain are worth: reading them, fitting the network, choosing by it."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from batches import random_sample
from prediction_cases import random_network
from safetensors.torch import load_file
from test_neighbourhood import arrangement
from test_refine import extended, scene_of, staggered
from torch.nn import functional as F

from bindrae.chem import residues as aa
from bindrae.errors import BindraeError
from bindrae.model.export import rewrite_metadata
from bindrae.prediction.confidence import METADATA_KEY, Calibrations
from bindrae.prediction.descriptors import STEPS
from bindrae.prediction.kinds import atom_kinds, moving_kinds
from bindrae.prediction.neighbourhood import CHANNELS, NEAREST, REACH, Near, in_bytes
from bindrae.prediction.networks import RefinementNetworks, read_networks
from bindrae.prediction.networks_fit import fit_network, gather_choices
from bindrae.prediction.predict import Predictor
from bindrae.prediction.refine import OVERLAP_BESIDE_NETWORK, WEIGHT, Arrangements
from bindrae.prediction.surroundings import OPEN_NATS, WIDTH, SurroundingsNetwork
from bindrae.prediction.surroundings_fit import Choice, choice_loss, negative_log_likelihood, total_energy
from bindrae.prediction.tune import try_sample


def handed(made: Arrangements) -> tuple[np.ndarray, np.ndarray, Near]:
    """Costs, candidates that they leave open, and what stands around those."""
    costs = made.costs()
    asked = np.flatnonzero(made.open_candidates(costs))
    return costs, asked, made.near(asked, made.standing(costs, made.arranged()))


def worth(made: Arrangements, network: SurroundingsNetwork, asked: np.ndarray, costs: np.ndarray) -> torch.Tensor:
    return made.surroundings_energy(network, asked, costs, made.standing(costs, made.arranged()))


def fit(choices: list[Choice], epochs: int, seed: int = 0) -> SurroundingsNetwork:
    torch.manual_seed(seed)
    return fit_network(SurroundingsNetwork(), choices, choice_loss, epochs, seed)


def test_only_candidates_near_the_best_are_asked_and_only_where_there_are_several() -> None:
    made = arrangement(3)
    costs = made.costs()
    asked = made.open_candidates(costs)
    for r in range(int(made.row.max()) + 1):
        own = costs[made.row == r]
        near = own < own.min() + OPEN_NATS
        assert asked[made.row == r].tolist() == (near if near.sum() > 1 else np.zeros(len(own), bool)).tolist()
    p = made.probabilities(costs)
    assert np.bincount(made.row, p) == pytest.approx(1.0)
    assert np.log(p[1] / p[0]) == pytest.approx(costs[0] - costs[1], abs=1e-6)


def weight_by_hand(near: Near, pair: int) -> dict[int, float]:
    """What share each learnt vector has in one neighbour, by its number."""
    d = NEAREST + int(near.distance[pair]) / 255 * (REACH - NEAREST)
    low = max(k for k, step in enumerate(STEPS[:-1]) if step <= d)
    part = (d - STEPS[low]) / (STEPS[low + 1] - STEPS[low])
    shares = {low: 1 - part} | ({low + 1: part} if low + 2 < len(STEPS) else {})
    own, other = near.own_cosine[pair] / 127, near.other_cosine[pair] / 127
    place = int(near.channel[pair]) * len(STEPS)
    return {
        (place + step) * 4 + k: share * angle * near.weight[pair] / 255
        for step, share in shares.items()
        for k, angle in enumerate((1.0, own, other, own * other))
    }


def test_an_energy_is_that_of_its_definition() -> None:
    """Atom by atom and neighbour by neighbour."""
    network, made = random_network(), arrangement(2)
    costs, asked, near = handed(made)
    found = worth(made, network, asked, costs)
    kinds = made.scene.aatype.numpy()[made.row[asked]]
    surprise, rest = torch.as_tensor(made.surprise[asked]), torch.as_tensor((costs - made.surprise)[asked])
    expected = network.trust[kinds] * surprise + network.rest[kinds] * rest
    atoms = torch.zeros(len(asked), WIDTH)
    for at, (v, atom) in enumerate(zip(near.candidate, near.atom, strict=True)):
        summed = torch.zeros(WIDTH)
        for pair in range(near.first[at], near.first[at + 1]):
            for place, share in weight_by_hand(near, pair).items():
                summed += share * network.near[place]
        own = int(moving_kinds()[atom])
        x = F.silu(summed @ (network.read + network.read_kind[own]) + network.bias[atom])
        x = x + F.silu(network.mix(x))
        expected[v] += x @ (network.energy_kind[own] + network.energy_atom[atom]) + summed @ network.direct[atom]
        atoms[v] += x
    chi = made.circle[asked, 3:] * torch.as_tensor(aa.CHI_MASK)[kinds].unsqueeze(-1)
    nats = torch.stack([surprise.clamp(-12, 12), rest.clamp(-12, 12)], 1).float() / 4
    x = network.from_atoms(atoms) + network.from_features(torch.cat([chi.flatten(1), nats], 1))
    x = F.silu(x + network.from_type[kinds])
    expected += (x + F.silu(network.join(x))) @ network.energy_joined
    assert found.abs().max() > 1.0
    assert torch.allclose(found.double(), expected.double(), atol=2e-3, rtol=1e-3)


def test_candidates_asked_in_parts_are_worth_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    network, made = random_network(), arrangement(3)
    costs, asked, _ = handed(made)
    whole = worth(made, network, asked, costs)
    monkeypatch.setattr("bindrae.prediction.refine._AT_ONCE", 7)
    assert len(asked) > 20
    assert torch.allclose(whole, worth(made, network, asked, costs), atol=1e-4)


def test_the_gradient_is_that_of_the_energy() -> None:
    network, made = random_network(), arrangement(5)
    network.requires_grad_(True)
    _, asked, near = handed(made)
    kinds = made.scene.aatype[made.row[asked]]
    zero = torch.zeros(len(asked))

    def total() -> torch.Tensor:
        return network(near, zero, zero, kinds, made.circle[asked, 3:]).sum()

    total().backward()
    assert network.near.grad is not None
    place = int(network.near.grad.abs().argmax())
    slope = float(network.near.grad.flatten()[place])
    values = []
    for step in (-1e-2, 1e-2):
        with torch.no_grad():
            network.near.view(-1)[place] += step
            values.append(float(total()))
            network.near.view(-1)[place] -= step
    assert slope == pytest.approx((values[1] - values[0]) / 2e-2, rel=2e-2)


def near_of(distances: list[float], channel: int = 6, angle: float = 0.0) -> Near:
    """One moving atom, and what stands around it."""
    count = len(distances)
    cosine = np.full(count, round(127 * angle), np.int8)
    return Near(
        np.zeros(1, np.int32), np.zeros(1, np.int16), np.array([0, count]), np.full(count, channel, np.uint8),
        in_bytes(distances), cosine, cosine, np.full(count, 255, np.uint8),
    )  # fmt: skip


def test_nothing_jumps_where_an_atom_comes_into_reach() -> None:
    network = random_network()

    def energy(distances: list[float], angle: float = 0.0) -> float:
        zero = torch.zeros(1)
        near = near_of(distances, angle=angle)
        return float(network(near, zero, zero, zero.long(), torch.zeros(1, 4, 2)))

    assert energy([REACH - 0.002]) == pytest.approx(energy([]), abs=0.1)
    assert energy([4.0]) != pytest.approx(energy([]), abs=0.5)
    assert energy([2.6]) != pytest.approx(energy([2.5]), abs=0.02)
    assert energy([3.0], 0.9) != pytest.approx(energy([3.0], -0.9), abs=0.02)
    # Two neighbours are not worth the sum of one each, which is what the network is for.
    assert energy([4.0, 4.0]) - energy([]) != pytest.approx(2 * (energy([4.0]) - energy([])), abs=0.02)


def test_the_loss_is_the_conditional_likelihood_of_both_meanings_of_right() -> None:
    rng = np.random.default_rng(0)
    residue = np.array([0, 0, 0, 1, 1, 2, 2])
    right = np.array([[1, 1, 0, 0, 1, 0, 0], [1, 0, 0, 0, 1, 0, 0]], bool)  # residue 2 has no right candidate
    energy = rng.normal(size=7)
    zero = np.zeros(7, np.float32)
    choice = Choice(near_of([]), zero, zero, zero, np.zeros(7, int), np.zeros((7, 4, 2)), residue, right)
    p = np.exp(-energy)
    expected = sum(
        -math.log(p[(residue == r) & meaning].sum() / p[residue == r].sum()) for meaning in right for r in (0, 1)
    )
    assert negative_log_likelihood(torch.as_tensor(energy), choice).item() == pytest.approx(expected)
    assert negative_log_likelihood(torch.as_tensor(energy + 7 * (residue == 1)), choice).item() == pytest.approx(
        expected
    )


def one_partner(residues: int, seed: int) -> Choice:
    """Serines of two candidates, of which the right one has exactly one oxygen near: no sum over contacts tells."""
    rng = np.random.default_rng(seed)
    og = atom_kinds()[1][aa.TYPE_OF_NAME["SER"], aa.ATOM14_NAMES[aa.TYPE_OF_NAME["SER"]].index("OG")]
    oxygen = CHANNELS.index("backbone O")
    count = np.where(rng.random((residues, 1)) < 0.5, [[1, 0]], [[1, 2]])
    swap = rng.random(residues) < 0.5
    count[swap] = count[swap, ::-1]
    flat = count.ravel()
    near = Near(
        np.arange(2 * residues, dtype=np.int32), np.full(2 * residues, og, np.int16), np.append(0, np.cumsum(flat)),
        np.full(flat.sum(), oxygen, np.uint8), in_bytes(np.full(flat.sum(), 2.8)), np.zeros(flat.sum(), np.int8),
        np.zeros(flat.sum(), np.int8), np.full(flat.sum(), 255, np.uint8),
    )  # fmt: skip
    zero = np.zeros(2 * residues, np.float32)
    kind = np.full(2 * residues, aa.TYPE_OF_NAME["SER"])
    chi = np.zeros((2 * residues, 4, 2), np.float16)
    return Choice(near, zero, zero, zero, kind, chi, np.repeat(np.arange(residues), 2), np.tile(flat == 1, (2, 1)))


def test_the_fit_learns_what_no_sum_over_contacts_can_say() -> None:
    network = fit([one_partner(100, seed) for seed in range(40)], epochs=8)
    choice = one_partner(400, 99)
    energy = total_energy(network, choice).reshape(-1, 2)
    right = choice.right[0].reshape(-1, 2)
    assert (right[np.arange(400), energy.argmin(1)]).mean() > 0.98


def test_the_same_seed_fits_the_same_network() -> None:
    first, again, other = (
        fit([one_partner(20, k) for k in range(4)], epochs=1, seed=seed).to_json() for seed in (0, 0, 1)
    )
    assert first == again != other


def test_nothing_is_dropped_but_while_fitting() -> None:
    fitted = fit([one_partner(20, 0)], epochs=1)
    read = SurroundingsNetwork.from_json(fitted.to_json())
    choice = one_partner(30, 1)
    for network in (fitted, read):
        assert not network.training
        assert torch.equal(total_energy(network, choice), total_energy(network, choice))


def test_choices_are_of_residues_with_several_open_candidates(predictor: Predictor) -> None:
    trial = try_sample(predictor.model, "x", random_sample(60, 5))
    network = random_network()
    choice = gather_choices(RefinementNetworks(), trial)
    made = Arrangements(trial.scene, trial.circle, trial.rotamers, weight=WEIGHT * OVERLAP_BESIDE_NETWORK)
    costs = made.costs()
    asked = made.open_candidates(costs)
    assert len(choice.base) == asked.sum() > 10
    assert (np.bincount(choice.residue) > 1).all()
    assert (choice.right[1] <= choice.right[0]).all()
    assert choice.near.candidate.max() < len(choice.base)
    # Its parts are those that prediction hands to the network.
    added = worth(made, network, np.flatnonzero(asked), costs)
    assert torch.allclose(total_energy(network, choice), torch.as_tensor(choice.base) + added, rtol=1e-3, atol=1e-2)
    # With a network, side chains stand where it puts them.
    made = Arrangements(trial.scene, trial.circle, trial.rotamers, networks=RefinementNetworks(network))
    costs = made.costs()
    again = gather_choices(RefinementNetworks(network), trial)
    assert again.base == pytest.approx(costs[made.open_candidates(costs)], abs=1e-4)
    assert len(again.base) != len(choice.base)


def test_a_network_without_energies_changes_nothing_but_the_cost_of_overlaps() -> None:
    sample = random_sample(40, 2)
    scene = scene_of(sample)
    plain = Arrangements(scene, *staggered(sample), weight=WEIGHT * OVERLAP_BESIDE_NETWORK)
    same = Arrangements(scene, *staggered(sample), networks=RefinementNetworks(SurroundingsNetwork()))
    assert same.costs() == pytest.approx(plain.costs())
    assert not same.added.any()
    other = Arrangements(scene, *staggered(sample), networks=RefinementNetworks(random_network()))
    assert (plain.state != other.state).any()


def test_residues_choose_three_times_each_with_all_others_where_they_are() -> None:
    sample, network = random_sample(25, 6), random_network(2)
    scene = scene_of(sample)
    made = Arrangements(scene, *staggered(sample), networks=RefinementNetworks(network))

    by_hand = Arrangements(scene, *staggered(sample), weight=WEIGHT * OVERLAP_BESIDE_NETWORK)
    first, states, added = by_hand.energies.first, [by_hand.state], np.zeros(len(by_hand.row))
    for _ in range(3):
        costs = []
        for v, r in enumerate(by_hand.row):
            state = by_hand.state.copy()
            state[r] = v - first[r]
            costs.append(by_hand.energies.total(state))
        costs = np.array(costs) - np.array(costs)[first[by_hand.row]] + by_hand.costs()[first[by_hand.row]]
        assert costs == pytest.approx(by_hand.costs(), abs=1e-6)
        asked = by_hand.open_candidates(costs)
        # From the second time on, what is not sure stands where the last answers have it.
        standing = by_hand.standing(costs + added, by_hand.arranged())
        said = by_hand.surroundings_energy(network, np.flatnonzero(asked), costs, standing).numpy()
        added = np.zeros(len(costs))
        for r in range(len(first) - 1):
            own = np.flatnonzero(asked & (by_hand.row == r))
            worth = said[by_hand.row[asked] == r]
            added[own] = worth - worth.mean() if len(own) else worth
        by_hand.state = np.array([int(np.argmin((costs + added)[by_hand.row == r])) for r in range(len(first) - 1)])
        states.append(by_hand.state)
    assert not any((a == b).all() for a, b in pairwise(states))
    assert made.state.tolist() == by_hand.state.tolist()
    assert made.added == pytest.approx(added, abs=1e-4)


def test_what_is_near_decides_and_the_networks_own_probabilities_weigh_against_it() -> None:
    sample = extended("AAAAFAAAA")
    circle, rotamers = staggered(sample)
    scene = scene_of(sample)
    cz = aa.ATOM14_NAMES[aa.TYPE_OF_NAME["PHE"]].index("CZ")
    made = Arrangements(scene, circle, rotamers)
    # A ligand's atom 4 A from where the second candidate has its CZ.
    second = made.xyz[made.energies.first[4] + 1, cz]
    away = second - scene.frames[1][4]
    scene.ligand_xyz = (second + 4.0 * away / away.norm())[None]
    scene.ligand_radius = torch.tensor([1.7])
    network = SurroundingsNetwork().requires_grad_(False).eval()
    atom = atom_kinds()[1][aa.TYPE_OF_NAME["PHE"], cz]
    carbon, four = CHANNELS.index("molecule: other C"), STEPS.index(4.0)
    network.near.zero_()
    network.near[(carbon * len(STEPS) + four) * 4] = 1.0
    network.direct[atom] = -4.0 / WIDTH

    def chosen(trust: float) -> int:
        network.trust[aa.TYPE_OF_NAME["PHE"]] = trust
        return int(Arrangements(scene, circle, rotamers, networks=RefinementNetworks(network)).state[4])

    assert int(made.state[4]) == 0
    assert [chosen(0.0), chosen(5.0)] == [1, 0]


def test_draws_follow_the_network_too() -> None:
    sample = extended("AAAASAAAA")
    circle, rotamers = staggered(sample)
    network = SurroundingsNetwork().requires_grad_(False).eval()
    network.trust[aa.TYPE_OF_NAME["SER"]] = 20.0  # what the model finds likeliest, and nothing else
    rng = np.random.default_rng(0)

    def others(networks: RefinementNetworks | None) -> int:
        made = Arrangements(scene_of(sample), circle, rotamers, polish_weight=0.0, networks=networks)
        drawn = [made.draw(rng, 1.0).circle[4, 3] for _ in range(40)]
        return sum(not torch.allclose(chi, circle[4, 3], atol=1e-4) for chi in drawn)

    assert others(None) > 5
    assert others(RefinementNetworks(network)) == 0


def test_the_network_decides_between_open_candidates_alone() -> None:
    sample = extended("AAAASAAAA")
    circle, rotamers = staggered(sample)
    rotamers.log_p[4] = torch.log(torch.tensor([0.7, 0.3 - 1e-4, 1e-4]))  # the last is out of the question
    network = SurroundingsNetwork().requires_grad_(False).eval()
    serine = aa.TYPE_OF_NAME["SER"]

    def chosen(trust: float) -> int:
        network.trust[serine] = trust
        return int(Arrangements(scene_of(sample), circle, rotamers, networks=RefinementNetworks(network)).state[4])

    assert [chosen(0.0), chosen(-3.0)] == [0, 1]


def test_the_model_file_carries_the_network(model_path: Path, tmp_path: Path) -> None:
    network, out = random_network(), tmp_path / "n.safetensors"
    assert read_networks(model_path) is None
    rewrite_metadata(model_path, {network.KEY: network.to_json()}, out)
    rewrite_metadata(out, {METADATA_KEY: Calibrations().to_json()}, out)
    networks = Predictor.load(out).networks
    assert networks is not None
    assert networks.turns is None
    read = networks.surroundings
    for name, value in network.named_parameters():
        assert torch.allclose(value, read.get_parameter(name), atol=2e-3), name
    weights, new = load_file(model_path), load_file(out)
    assert all(torch.equal(weights[name], new[name]) for name in weights)


@pytest.mark.parametrize(
    ("key", "value"), [("steps", [5.0]), ("channels", ["C"]), ("weights", "AAAA"), ("width", 1), ("moving", 3)]
)
def test_a_damaged_network_is_an_error(model_path: Path, tmp_path: Path, key: str, value: object) -> None:
    out = tmp_path / "m.safetensors"
    text = json.dumps(json.loads(random_network().to_json()) | {key: value})
    rewrite_metadata(model_path, {SurroundingsNetwork.KEY: text}, out)
    with pytest.raises(BindraeError, match=r"network of surroundings in its metadata is damaged"):
        read_networks(out)


def test_weights_that_are_no_numbers_are_an_error() -> None:
    network = random_network()
    with torch.no_grad():
        network.bias[0, 0] = math.nan
    with pytest.raises(ValueError, match="cannot be"):
        SurroundingsNetwork.from_json(network.to_json())
