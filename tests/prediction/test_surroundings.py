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
from test_refine import extended, scene_of, staggered
from torch.nn import functional as F

from bindrae.chem import residues as aa
from bindrae.data.layout import DataLayout
from bindrae.errors import BindraeError
from bindrae.model.export import rewrite_metadata
from bindrae.prediction import surroundings_fit
from bindrae.prediction.contact_fit import store
from bindrae.prediction.contacts import KINDS, N_MOVING, SHAPE, atom_kinds, moving_kinds
from bindrae.prediction.potential import SURROUNDINGS_KEY, ContactPotential, read_potential
from bindrae.prediction.predict import Predictor
from bindrae.prediction.refine import Arrangements, refine_chis
from bindrae.prediction.surroundings import OPEN_NATS, REACH, SURE, Near, SurroundingsNetwork, find_near
from bindrae.prediction.surroundings_fit import (
    Choice,
    fit_model,
    fit_network,
    gather_choices,
    negative_log_likelihood,
    total_energy,
)
from bindrae.prediction.tune import try_sample


def arrangement(seed: int = 0, n: int = 30) -> Arrangements:
    sample = random_sample(n, seed)
    tip = sample["atom14"][n // 2, :3] + torch.tensor([1.5, 1.5, 1.5])
    return Arrangements(scene_of(sample, tip), *staggered(sample))


def random_network(seed: int = 0) -> SurroundingsNetwork:
    """A network none of whose weights is 0."""
    torch.manual_seed(seed)
    network = SurroundingsNetwork()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network.requires_grad_(False)


def energies(network: SurroundingsNetwork, made: Arrangements, near: Near, costs: np.ndarray) -> torch.Tensor:
    surprise, rest = (torch.as_tensor(x).float() for x in (made.surprise, costs - made.trusted))
    return network(near, surprise, rest, made.scene.aatype[made.row])


def test_what_is_near_is_all_within_reach_but_the_residue_itself() -> None:
    made = arrangement()
    costs = made.costs()
    asked, near = made.near(costs)
    around = made.surroundings(costs)
    kind = made.scene.aatype.numpy()
    assert 10 < asked.sum() < len(asked)
    expected = [
        (v, slot) for v in np.flatnonzero(asked) for slot in np.flatnonzero(made.mask.numpy()[v]) if slot > aa.SLOT_CB
    ]
    atoms = [atom_kinds()[1][kind[made.row[v]], slot] for v, slot in expected]
    assert near.candidate.tolist() == [v for v, _ in expected]
    assert near.atom.tolist() == atoms
    for at, (v, slot) in enumerate(expected):
        last = near.first[at + 1] if at + 1 < len(near.first) else len(near.kind)
        d = np.linalg.norm(around.xyz - made.xyz.double().numpy()[v, slot], axis=1)
        there = np.flatnonzero((d <= REACH) & (around.row != made.row[v]))
        told = sorted(zip((2 * around.kind[there] + ~around.sure[there]).tolist(), d[there].tolist(), strict=True))
        found = slice(near.first[at], last)
        pairs = sorted(zip(near.kind[found].tolist(), near.distance[found].tolist(), strict=True))
        assert np.array(pairs).ravel() == pytest.approx(np.array(told).ravel(), abs=4e-3)
    assert {KINDS[k // 2] for k in near.kind} >= {"ligand C", "backbone O", "CB"}
    assert set(near.kind % 2) == {0, 1}


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


def test_side_chains_are_sure_by_their_probability_and_all_else_always() -> None:
    made = arrangement(1)
    costs = made.costs()
    around = made.surroundings(costs)
    p = made.probabilities(costs)[made.energies.first[:-1] + made.state]
    assert 0 < (p < SURE).sum() < len(p)
    moves = np.isin(around.kind, np.unique(moving_kinds())) & (around.row >= 0)
    assert around.sure[~moves].all()
    assert (around.sure[moves] == (p[around.row[moves]] >= SURE)).all()
    assert made.surroundings().sure.all()


def test_an_energy_is_that_of_its_definition() -> None:
    """Atom by atom and neighbour by neighbour."""
    network, made = random_network(), arrangement(2)
    costs = made.costs()
    _, near = made.near(costs)
    found = energies(network, made, near, costs)
    kinds = made.scene.aatype.numpy()[made.row]
    expected = network.trust[kinds] * torch.as_tensor(made.surprise) + network.rest[kinds] * torch.as_tensor(
        costs - made.trusted
    )
    for at, (v, atom) in enumerate(zip(near.candidate, near.atom, strict=True)):
        last = near.first[at + 1] if at + 1 < len(near.first) else len(near.kind)
        summed = torch.zeros(network.near.shape[-1])
        for kind, d in zip(near.kind[near.first[at] : last], near.distance[near.first[at] : last], strict=True):
            low, part = int(d / 0.25), float(d) / 0.25 - int(d / 0.25)
            vector = (1 - part) * network.near[kind, low] + part * network.near[kind, low + 1]
            summed += min(1.0, REACH - float(d)) * vector
        own = int(moving_kinds()[atom])
        x = F.silu(summed @ (network.read + network.read_kind[own] + network.read_atom[atom]) + network.bias[atom])
        x = x + F.silu(network.mix(x))
        expected[v] += x @ (network.energy_kind[own] + network.energy_atom[atom]) + summed @ network.direct[atom]
    assert found.abs().max() > 1.0
    assert torch.allclose(found.double(), expected.double(), atol=2e-3, rtol=1e-4)


def test_energies_do_not_depend_on_place_or_order(monkeypatch: pytest.MonkeyPatch) -> None:
    network, made = random_network(), arrangement(4)
    costs = made.costs()
    asked, near = made.near(costs)
    first = energies(network, made, near, costs)
    around = made.surroundings(costs)
    order = np.random.default_rng(0).permutation(len(around.row))
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    for name in ("xyz", "kind", "row", "sure"):
        setattr(around, name, getattr(around, name)[order])
    around.xyz = around.xyz @ turn.T + 20.0
    monkeypatch.setattr("bindrae.prediction.contacts._ATOMS_AT_ONCE", 7)
    xyz = made.xyz.double().numpy() @ turn.T + 20.0
    again = find_near(xyz, made.mask.numpy(), made.row, made.scene.aatype.numpy(), asked, around)
    assert torch.allclose(first, energies(network, made, again, costs), atol=5e-3)


def test_nothing_jumps_where_an_atom_comes_into_reach() -> None:
    network = random_network()

    def energy(distances: list[float]) -> float:
        near = Near(
            np.zeros(1, np.int32), np.zeros(1, np.int16), np.zeros(1, np.int64),
            np.full(len(distances), 6, np.uint8), np.array(distances, np.float16),
        )  # fmt: skip
        return float(network(near, torch.zeros(1), torch.zeros(1), torch.zeros(1, dtype=torch.int64)))

    assert energy([REACH - 0.002]) == pytest.approx(energy([]), abs=0.02)
    assert energy([4.0]) != pytest.approx(energy([]), abs=0.02)
    # Two neighbours are not worth the sum of one each, which is what the network is for.
    assert energy([4.0, 4.0]) - energy([]) != pytest.approx(2 * (energy([4.0]) - energy([])), abs=0.02)


def test_the_loss_is_the_conditional_likelihood_of_both_meanings_of_right() -> None:
    rng = np.random.default_rng(0)
    residue = np.array([0, 0, 0, 1, 1, 2, 2])
    right = np.array([[1, 1, 0, 0, 1, 0, 0], [1, 0, 0, 0, 1, 0, 0]], bool)  # residue 2 has no right candidate
    energy = rng.normal(size=7)
    near = Near(np.zeros(0, np.int32), np.zeros(0, np.int16), np.zeros(0, np.int64), np.zeros(0, np.uint8), np.zeros(0))
    zero = np.zeros(7, np.float32)
    choice = Choice(near, zero, zero, zero, np.zeros(7, int), residue, right)
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
    oxygen = 2 * KINDS.index("backbone O")
    count = np.where(rng.random((residues, 1)) < 0.5, [[1, 0]], [[1, 2]])
    swap = rng.random(residues) < 0.5
    count[swap] = count[swap, ::-1]
    flat = count.ravel()
    first = np.cumsum(flat) - flat
    near = Near(
        np.arange(2 * residues, dtype=np.int32), np.full(2 * residues, og, np.int16), first,
        np.full(flat.sum(), oxygen, np.uint8), np.full(flat.sum(), 2.8, np.float16),
    )  # fmt: skip
    zero = np.zeros(2 * residues, np.float32)
    kind = np.full(2 * residues, aa.TYPE_OF_NAME["SER"])
    return Choice(near, zero, zero, zero, kind, np.repeat(np.arange(residues), 2), np.tile(flat == 1, (2, 1)))


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
    added = energies(network, made, made.near(costs)[1], costs)[asked]
    assert torch.allclose(total_energy(network, choice), torch.as_tensor(choice.base) + added, atol=1e-4)


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
    ("key", "value"), [("reach", 5.0), ("kinds", ["C"]), ("weights", "AAAA"), ("sizes", [1, 1]), ("moving", 3)]
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
    assert potential.surroundings.near.shape == (2 * len(KINDS), 26, 16)
    assert potential.surroundings.bias.shape[0] == N_MOVING
    assert potential.surroundings.direct.abs().max() > 0
