"""What contacts are worth: counting them, fitting their worth, keeping it in the model file, and choosing by it."""

from __future__ import annotations

import json
import math
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from batches import random_sample
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from scipy.sparse import csr_matrix
from test_refine import extended, scene_of, staggered

from bindrae.chem import residues as aa
from bindrae.data.layout import DataLayout
from bindrae.errors import BindraeError
from bindrae.prediction import contact_fit
from bindrae.prediction.calibrate import store as store_calibrations
from bindrae.prediction.confidence import Calibrations
from bindrae.prediction.contact_fit import Evidence, fit_potential, gather_evidence, store
from bindrae.prediction.contacts import (
    EDGES,
    KINDS,
    SHAPE,
    atom_kinds,
    contacts,
    obstacle_kinds,
)
from bindrae.prediction.potential import CONTACTS_KEY, ContactPotential, read_potential
from bindrae.prediction.predict import Predictor
from bindrae.prediction.refine import OVERLAP_BESIDE_CONTACTS, WEIGHT, Arrangements, refine_chis
from bindrae.prediction.search import best_combination
from bindrae.prediction.tune import try_sample


def potential_of(table: np.ndarray, trust: float = 1.0) -> ContactPotential:
    return ContactPotential(table, np.full(aa.N_TYPES, trust))


def arrangement(seed: int = 0, n: int = 30) -> Arrangements:
    sample = random_sample(n, seed)
    tip = sample["atom14"][n // 2, :3] + torch.tensor([1.5, 1.5, 1.5])
    return Arrangements(scene_of(sample, tip), *staggered(sample))


def test_every_atom_has_a_kind_and_those_beyond_cb_a_number() -> None:
    kind, moving = atom_kinds()
    assert np.array_equal(kind >= 0, aa.ATOM14_MASK)
    assert np.array_equal(moving >= 0, aa.ATOM14_MASK & (np.arange(aa.N_SLOTS) > aa.SLOT_CB))
    assert sorted(moving[moving >= 0].tolist()) == list(range(SHAPE[0]))
    elements = {"C": "C", "N": "N", "O": "O", "S": "S"}
    for t, slot in np.argwhere(aa.ATOM14_MASK):
        name = KINDS[kind[t, slot]]
        assert elements[str(aa.ATOM14_ELEMENT[t, slot])] in (name.split()[-1][0], name[0])
    radii = np.array([aa.BONDI_RADII[element] for element in ("C", "N", "O", "S", "CL")], dtype=np.float32)
    assert [KINDS[k] for k in obstacle_kinds(radii)] == [
        "ligand C", "ligand N", "ligand O", "ligand other", "ligand other"
    ]  # fmt: skip


def test_contacts_are_all_pairs_within_reach_but_those_of_one_residue() -> None:
    made = arrangement()
    kind = made.scene.aatype.numpy()
    xyz, mask = made.xyz.double().numpy(), made.mask.numpy()
    around = made.surroundings()
    found: dict[tuple[int, int], int] = {}
    for candidate, place in contacts(xyz, mask, made.row, kind, around):
        for key in zip(candidate.tolist(), place.tolist(), strict=True):
            found[key] = found.get(key, 0) + 1

    expected: dict[tuple[int, int], int] = {}
    several = np.bincount(made.row, minlength=len(kind)) > 1
    for v in range(len(made.row)):
        r = made.row[v]
        for slot in np.flatnonzero(mask[v])[np.flatnonzero(mask[v]) > aa.SLOT_CB] if several[r] else []:
            distance = np.linalg.norm(around.xyz - xyz[v, slot], axis=1)
            for other in np.flatnonzero((distance <= EDGES[-1]) & (around.row != r)):
                place = sum(distance[other] > edge for edge in EDGES)
                at = (atom_kinds()[1][kind[r], slot], around.kind[other], place)
                key = (v, int(np.ravel_multi_index(at, SHAPE)))
                expected[key] = expected.get(key, 0) + 1
    assert len(expected) > 500
    assert found == expected
    assert {KINDS[np.unravel_index(place, SHAPE)[1]] for _, place in found} >= {"ligand C", "backbone O", "CB"}


def test_energies_are_the_sum_of_the_table_whatever_the_place_in_space(monkeypatch: pytest.MonkeyPatch) -> None:
    made = arrangement(1)
    table = np.random.default_rng(0).normal(size=SHAPE)
    kind = made.scene.aatype.numpy()
    xyz, mask, around = made.xyz.double().numpy(), made.mask.numpy(), made.surroundings()
    energies = potential_of(table).energies(xyz, mask, made.row, kind, around)
    expected = np.zeros(len(made.row))
    for candidate, place in contacts(xyz, mask, made.row, kind, around):
        np.add.at(expected, candidate, table.ravel()[place])
    assert np.abs(expected).max() > 1.0
    assert np.allclose(energies, expected)
    # In pieces, and moved as a whole.
    monkeypatch.setattr("bindrae.prediction.contacts._ATOMS_AT_ONCE", 7)
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    around.xyz = around.xyz @ turn.T + 50.0
    moved = potential_of(table).energies(xyz @ turn.T + 50.0, mask, made.row, kind, around)
    assert np.allclose(energies, moved, atol=1e-6)


def test_a_table_of_zeros_changes_nothing_but_the_cost_of_overlaps() -> None:
    sample = random_sample(40, 2)
    scene = scene_of(sample)
    plain = refine_chis(scene, *staggered(sample), weight=WEIGHT * OVERLAP_BESIDE_CONTACTS)
    same = refine_chis(scene, *staggered(sample), potential=potential_of(np.zeros(SHAPE)))
    assert torch.equal(plain.xyz, same.xyz)


def test_what_a_contact_is_worth_decides_and_trust_weighs_against_it() -> None:
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
    table = np.zeros(SHAPE)
    atom = atom_kinds()[1][aa.TYPE_OF_NAME["PHE"], cz]
    table[atom, KINDS.index("ligand C")] = -3.0
    own, other = rotamers.chi[4, 0, 0].item(), rotamers.chi[4, 1, 0].item()

    def chi1(potential: ContactPotential | None) -> float:
        found = refine_chis(scene, circle, rotamers, potential=potential, polish_weight=0.0)
        return math.atan2(*found.circle[4, 3].tolist())

    assert chi1(None) == pytest.approx(own, abs=1e-4)
    assert math.cos(chi1(potential_of(table)) - other) == pytest.approx(1.0, abs=1e-6)
    assert chi1(potential_of(table, trust=5.0)) == pytest.approx(own, abs=1e-4)


def test_residues_choose_twice_each_with_all_others_where_they_are() -> None:
    sample = random_sample(25, 6)
    scene = scene_of(sample)
    table = np.random.default_rng(2).normal(size=SHAPE)
    made = Arrangements(scene, *staggered(sample), potential=potential_of(table))

    by_hand = Arrangements(scene, *staggered(sample), potential=potential_of(np.zeros(SHAPE)))
    energies, start = by_hand.energies, by_hand.energies.alone.copy()
    by_hand.state = best_combination(energies)  # where the search ends
    kind, xyz, mask = scene.aatype.numpy(), by_hand.xyz.double().numpy(), by_hand.mask.numpy()
    states = [by_hand.state]
    for _ in range(2):
        worth = potential_of(table).energies(xyz, mask, by_hand.row, kind, by_hand.surroundings())
        energies.alone = start + worth
        chosen = []
        for r in range(len(kind)):
            others = [by_hand.state.copy() for _ in range(energies.first[r + 1] - energies.first[r])]
            for place, state in enumerate(others):
                state[r] = place
            chosen.append(int(np.argmin([energies.total(state) for state in others])))
        by_hand.state = np.array(chosen)
        states.append(by_hand.state)
    assert not any((a == b).all() for a, b in pairwise(states))
    assert made.state.tolist() == by_hand.state.tolist()


def told_by(potential: ContactPotential, residues: int, seed: int) -> Evidence:
    """Residues that choose among four candidates with random contacts as a potential says."""
    rng = np.random.default_rng(seed)
    v = 4 * residues
    used = rng.integers(0, 6, size=(v, 5))  # six places of the table occur
    places = np.array([np.ravel_multi_index((3 * k, 2 * k, k), SHAPE) for k in range(6)])
    counts = csr_matrix(
        (np.ones(5 * v, np.float32), (np.repeat(np.arange(v), 5), places[used].ravel())), (v, math.prod(SHAPE))
    )
    surprise = rng.exponential(2.0, v)
    overlap = rng.exponential(1.0, v)
    kind = np.repeat(rng.integers(0, 20, residues), 4)
    energy = counts @ potential.table.ravel() + potential.trust[kind] * surprise
    energy += OVERLAP_BESIDE_CONTACTS * overlap
    chosen = np.argmin(energy.reshape(-1, 4) + rng.gumbel(size=(residues, 4)) * -1.0, axis=1)
    right = np.zeros(v, dtype=bool)
    right[4 * np.arange(residues) + chosen] = True
    return Evidence(counts, surprise, overlap, kind, 4 * np.arange(residues), right)


def test_the_fit_finds_what_the_choices_were_made_by() -> None:
    table = np.zeros(SHAPE)
    worth = [0.8, -0.9, 0.5, -0.4, 1.2, 0.0]
    for k, value in enumerate(worth):
        table[3 * k, 2 * k, k] = value
    truth = potential_of(table, 0.7)
    fitted = fit_potential([told_by(truth, 6000, 1), told_by(truth, 6000, 2)], ridge=1.0)
    found = np.array([fitted.table[3 * k, 2 * k, k] for k in range(6)])
    # Each candidate has five contacts: only differences between the worths are told.
    assert np.allclose(found - found.mean(), np.array(worth) - np.mean(worth), atol=0.12)
    assert np.allclose(fitted.trust[:20].mean(), 0.7, atol=0.05)


def test_a_ridge_without_end_leaves_the_probabilities_alone() -> None:
    fitted = fit_potential([told_by(potential_of(np.zeros(SHAPE)), 500, 3)], ridge=1e9)
    assert np.abs(fitted.table).max() < 1e-6
    assert np.ptp(fitted.trust) < 1e-6
    assert fitted.trust[0] == pytest.approx(1.0, abs=0.15)


def test_nothing_to_choose_is_an_error() -> None:
    empty = Evidence(
        csr_matrix((0, math.prod(SHAPE))), *(np.zeros(0),) * 2, *(np.zeros(0, int),) * 2, np.zeros(0, bool)
    )
    with pytest.raises(ValueError, match="no residue"):
        fit_potential([empty])


def test_evidence_holds_residues_with_a_choice_and_the_truth_in_it(predictor: Predictor) -> None:
    trial = try_sample(predictor.model, "x", random_sample(60, 5))
    evidence = gather_evidence(trial)
    assert len(evidence.first) > 3
    groups = np.split(np.arange(len(evidence.kind)), evidence.first[1:])
    assert all(len(group) > 1 and evidence.right[group].any() for group in groups)
    assert all(len(set(evidence.kind[group].tolist())) == 1 for group in groups)
    assert evidence.contacts.shape == (len(evidence.kind), math.prod(SHAPE))
    # The arrangement was asked without contacts: each candidate's cost is what the search saw.
    assert (evidence.surprise >= 0).all()


def test_the_model_file_carries_its_potential(model_path: Path, predictor: Predictor, tmp_path: Path) -> None:
    assert read_potential(model_path) is None
    trials = [try_sample(predictor.model, str(seed), random_sample(40, seed)) for seed in range(3)]
    whole = fit_potential([gather_evidence(trial) for trial in trials])
    out = tmp_path / "new.safetensors"
    store(model_path, whole, out)
    store_calibrations(out, Calibrations(), out)
    read = Predictor.load(out).potential
    assert read is not None
    assert np.allclose(read.table, whole.table, atol=2e-3)
    assert np.allclose(read.trust, whole.trust, atol=1e-4)
    weights, new = load_file(model_path), load_file(out)
    assert all(torch.equal(weights[name], new[name]) for name in weights)


def test_the_command_fits_on_a_side_and_prediction_reads_it(
    demo_layout: DataLayout, model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "new.safetensors"
    arguments = ["contact_fit", str(demo_layout.root), str(model_path), "--max-complexes", "1", "--output", str(out)]
    monkeypatch.setattr(sys, "argv", arguments)
    contact_fit.main()
    assert "1 complexes, side train" in capsys.readouterr().out
    potential = read_potential(out)
    assert potential is not None
    assert np.abs(potential.table).max() > 0.01
    sample = random_sample(40, 3)
    scene = scene_of(sample)
    plain = refine_chis(scene, *staggered(sample))
    assert not torch.equal(plain.xyz, refine_chis(scene, *staggered(sample), potential=potential).xyz)


@pytest.mark.parametrize(
    ("key", "value"),
    [("edges", [1.0]), ("kinds", ["C"]), ("table", "AAAA"), ("trust", [1.0]), ("moving", 3), (None, "{")],
)
def test_a_damaged_potential_is_an_error(model_path: Path, tmp_path: Path, key: str | None, value: object) -> None:
    text = str(value)
    if key is not None:
        text = json.dumps(json.loads(potential_of(np.zeros(SHAPE)).to_json()) | {key: value})
    with safe_open(model_path, "pt") as file:
        metadata = dict(file.metadata())
    save_file(load_file(model_path), tmp_path / "m.safetensors", metadata | {CONTACTS_KEY: text})
    with pytest.raises(BindraeError, match="contact potential"):
        read_potential(tmp_path / "m.safetensors")
