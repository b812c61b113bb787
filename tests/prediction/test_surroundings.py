"""What the surroundings of a side chain are worth: finding them, reading them, fitting the network, choosing by it."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from batches import random_sample
from test_contacts import potential_of
from test_neighbourhood import arrangement
from test_refine import extended, scene_of, staggered
from torch.nn import functional as F

from bindrae.chem import residues as aa
from bindrae.data.layout import DataLayout
from bindrae.errors import BindraeError
from bindrae.model.export import rewrite_metadata
from bindrae.prediction import surroundings_fit
from bindrae.prediction.contact_fit import store
from bindrae.prediction.contacts import N_MOVING, SHAPE, atom_kinds, moving_kinds
from bindrae.prediction.neighbourhood import CHANNELS, REACH, Near
from bindrae.prediction.potential import SURROUNDINGS_KEY, ContactPotential, read_potential
from bindrae.prediction.predict import Predictor
from bindrae.prediction.refine import Arrangements, refine_chis
from bindrae.prediction.surroundings import OPEN_NATS, STEPS, WIDTH, SurroundingsNetwork
from bindrae.prediction.surroundings_fit import (
    Choice,
    fit_model,
    fit_network,
    gather_choices,
    negative_log_likelihood,
    total_energy,
)
from bindrae.prediction.tune import try_sample


def random_network(seed: int = 0) -> SurroundingsNetwork:
    """A network none of whose weights is 0."""
    torch.manual_seed(seed)
    network = SurroundingsNetwork()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network.requires_grad_(False)


def handed(made: Arrangements) -> tuple[np.ndarray, np.ndarray, Near]:
    """Costs, candidates that they leave open, and what stands around those."""
    costs = made.costs()
    asked = np.flatnonzero(made.open_candidates(costs))
    return costs, asked, made.near(asked, made.standing(costs))


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
    d = max(float(near.distance[pair]), STEPS[0])
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
    found = made.surroundings_energy(network, asked, costs)
    kinds = made.scene.aatype.numpy()[made.row[asked]]
    surprise, rest = torch.as_tensor(made.surprise[asked]), torch.as_tensor((costs - made.trusted)[asked])
    expected = network.trust[kinds] * surprise + network.rest[kinds] * rest
    atoms = torch.zeros(len(asked), WIDTH)
    for at, (v, atom) in enumerate(zip(near.candidate, near.atom, strict=True)):
        summed = torch.zeros(WIDTH)
        for pair in range(near.first[at], near.first[at + 1]):
            for place, share in weight_by_hand(near, pair).items():
                summed += share * network.near[place]
        own = int(moving_kinds()[atom])
        x = F.silu(summed @ (network.read + network.read_kind[own] + network.read_atom[atom]) + network.bias[atom])
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
    whole = made.surroundings_energy(network, asked, costs)
    monkeypatch.setattr("bindrae.prediction.refine._AT_ONCE", 7)
    assert len(asked) > 20
    assert torch.allclose(whole, made.surroundings_energy(network, asked, costs), atol=1e-4)


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
        np.array(distances, np.float16), cosine, cosine, np.full(count, 255, np.uint8),
    )  # fmt: skip


def test_nothing_jumps_where_an_atom_comes_into_reach() -> None:
    network = random_network()

    def energy(distances: list[float], angle: float = 0.0) -> float:
        zero = torch.zeros(1)
        near = near_of(distances, angle=angle)
        return float(network(near, zero, zero, zero.long(), torch.zeros(1, 4, 2)))

    assert energy([REACH - 0.002]) == pytest.approx(energy([]), abs=0.1)
    assert energy([4.0]) != pytest.approx(energy([]), abs=0.5)
    assert energy([1.0]) == energy([STEPS[0]])
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
        np.full(flat.sum(), oxygen, np.uint8), np.full(flat.sum(), 2.8, np.float16), np.zeros(flat.sum(), np.int8),
        np.zeros(flat.sum(), np.int8), np.full(flat.sum(), 255, np.uint8),
    )  # fmt: skip
    zero = np.zeros(2 * residues, np.float32)
    kind = np.full(2 * residues, aa.TYPE_OF_NAME["SER"])
    chi = np.zeros((2 * residues, 4, 2), np.float16)
    return Choice(near, zero, zero, zero, kind, chi, np.repeat(np.arange(residues), 2), np.tile(flat == 1, (2, 1)))


def test_the_fit_learns_what_no_sum_over_contacts_can_say() -> None:
    network = fit_network([one_partner(100, seed) for seed in range(60)], epochs=12)
    choice = one_partner(400, 99)
    energy = total_energy(network, choice).reshape(-1, 2)
    right = choice.right[0].reshape(-1, 2)
    assert (right[np.arange(400), energy.argmin(1)]).mean() > 0.98


def test_the_same_seed_fits_the_same_network() -> None:
    first, again, other = (
        fit_network([one_partner(20, 0), one_partner(20, 1)], epochs=1, seed=seed).to_json() for seed in (0, 0, 1)
    )
    assert first == again != other


def test_nothing_to_choose_is_an_error() -> None:
    with pytest.raises(BindraeError, match="open candidates"):
        fit_network([one_partner(0, 0)])


def test_choices_are_of_residues_with_several_open_candidates(predictor: Predictor) -> None:
    trial = try_sample(predictor.model, "x", random_sample(60, 5))
    potential = potential_of(np.zeros(SHAPE), 0.7)
    choice = gather_choices(potential, trial)
    made = Arrangements(trial.scene, trial.circle, trial.rotamers, polish_weight=0.0, potential=potential)
    asked = made.open_candidates(made.costs())
    assert len(choice.base) == asked.sum() > 10
    assert (np.bincount(choice.residue) > 1).all()
    assert (choice.right[1] <= choice.right[0]).all()
    assert choice.near.candidate.max() < len(choice.base)
    # Its parts are those that prediction hands to the network.
    network = random_network()
    costs = made.costs()
    added = made.surroundings_energy(network, np.flatnonzero(asked), costs)
    assert torch.allclose(total_energy(network, choice), torch.as_tensor(choice.base) + added, rtol=1e-3, atol=1e-2)


def with_network(network: SurroundingsNetwork) -> ContactPotential:
    potential = potential_of(np.zeros(SHAPE))
    potential.surroundings = network
    return potential


def test_a_network_without_energies_changes_nothing() -> None:
    sample = random_sample(40, 2)
    scene = scene_of(sample)
    plain = refine_chis(scene, *staggered(sample), potential=potential_of(np.zeros(SHAPE)))
    same = refine_chis(scene, *staggered(sample), potential=with_network(SurroundingsNetwork()))
    assert torch.equal(plain.xyz, same.xyz)
    other = refine_chis(scene, *staggered(sample), potential=with_network(random_network()))
    assert not torch.equal(plain.xyz, other.xyz)


def test_the_network_decides_between_open_candidates_alone() -> None:
    sample = extended("AAAASAAAA")
    circle, rotamers = staggered(sample)
    rotamers.log_p[4] = torch.log(torch.tensor([0.7, 0.3 - 1e-4, 1e-4]))  # the last is out of the question
    network = SurroundingsNetwork().requires_grad_(False)
    serine = aa.TYPE_OF_NAME["SER"]

    def chosen(trust: float) -> int:
        network.trust[serine] = trust
        made = Arrangements(scene_of(sample), circle, rotamers, potential=with_network(network))
        return int(made.state[4])

    assert [chosen(0.0), chosen(-3.0)] == [0, 1]


def test_the_model_file_carries_the_network(model_path: Path, tmp_path: Path) -> None:
    network = random_network()
    store(model_path, potential_of(np.zeros(SHAPE)), tmp_path / "m.safetensors")
    plain = read_potential(tmp_path / "m.safetensors")
    assert plain is not None
    assert plain.surroundings is None
    rewrite_metadata(tmp_path / "m.safetensors", {SURROUNDINGS_KEY: network.to_json()}, tmp_path / "n.safetensors")
    potential = Predictor.load(tmp_path / "n.safetensors").potential
    assert potential is not None
    assert potential.surroundings is not None
    for name, value in network.named_parameters():
        assert torch.allclose(value, potential.surroundings.get_parameter(name), atol=2e-3), name


@pytest.mark.parametrize(
    ("key", "value"), [("steps", [5.0]), ("channels", ["C"]), ("weights", "AAAA"), ("width", 1), ("moving", 3)]
)
def test_a_damaged_network_is_an_error(model_path: Path, tmp_path: Path, key: str, value: object) -> None:
    out = tmp_path / "m.safetensors"
    store(model_path, potential_of(np.zeros(SHAPE)), out)
    text = json.dumps(json.loads(random_network().to_json()) | {key: value})
    rewrite_metadata(out, {SURROUNDINGS_KEY: text}, out)
    with pytest.raises(BindraeError, match=r"network of surroundings in its metadata is damaged"):
        read_potential(out)


def test_weights_that_are_no_numbers_are_an_error() -> None:
    network = random_network()
    with torch.no_grad():
        network.bias[0, 0] = math.nan
    with pytest.raises(ValueError, match="cannot be"):
        SurroundingsNetwork.from_json(network.to_json())


def test_the_command_fits_on_a_side(
    demo_layout: DataLayout, model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    model, out = tmp_path / "m.safetensors", tmp_path / "n.safetensors"
    with pytest.raises(BindraeError, match="has no contact potential"):
        fit_model(demo_layout.root, model_path, "train", 1, 1, 1, out)
    store(model_path, potential_of(np.zeros(SHAPE)), model)
    arguments = ["surroundings_fit", demo_layout.root, model, "--max-complexes", "1", "--epochs", "1", "--output", out]
    monkeypatch.setattr(sys, "argv", list(map(str, arguments)))
    surroundings_fit.main()
    printed = capsys.readouterr().out
    assert "1 complexes, side train" in printed
    assert "nats a residue" in printed
    potential = read_potential(out)
    assert potential is not None
    assert potential.surroundings is not None
    assert potential.surroundings.bias.shape[0] == N_MOVING
    assert potential.surroundings.direct.abs().max() > 0
