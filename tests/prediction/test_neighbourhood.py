"""What stands around candidate side chains: atoms, their kinds and directions, and who is near whom."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from batches import random_sample
from test_refine import extended, scene_of, staggered

from bindrae.chem import residues as aa
from bindrae.prediction.kinds import KINDS, N_MOVING, SIDE_KINDS, atom_kinds, moving_kinds
from bindrae.prediction.neighbourhood import (
    CHANNELS,
    MOLECULE_KINDS,
    NEAREST,
    RARE,
    REACH,
    SURE,
    Near,
    Standing,
    chain_directions,
    find_near,
    protein_directions,
    standing_molecules,
)
from bindrae.prediction.obstacles import Obstacles
from bindrae.prediction.refine import Arrangements


def arrangement(seed: int = 0, n: int = 30) -> Arrangements:
    sample = random_sample(n, seed)
    tip = sample["atom14"][n // 2, :3] + torch.tensor([1.5, 1.5, 1.5])
    return Arrangements(scene_of(sample, tip), *staggered(sample))


def directions(made: Arrangements) -> np.ndarray:
    kind = made.scene.aatype.numpy()[made.row]
    return protein_directions(made.xyz.double().numpy(), made.mask.numpy(), kind)


def neighbours(near: Near, at: int) -> slice:
    return slice(int(near.first[at]), int(near.first[at + 1]))


def test_every_atom_has_a_kind_and_those_beyond_cb_a_number() -> None:
    kind, moving = atom_kinds()
    assert np.array_equal(kind >= 0, aa.ATOM14_MASK)
    assert np.array_equal(moving >= 0, aa.ATOM14_MASK & (np.arange(aa.N_SLOTS) > aa.SLOT_CB))
    assert sorted(moving[moving >= 0].tolist()) == list(range(N_MOVING))
    for t, slot in np.argwhere(aa.ATOM14_MASK):
        name = KINDS[kind[t, slot]]
        assert str(aa.ATOM14_ELEMENT[t, slot]) in (name.split()[-1][0], name[0])
    assert {KINDS[k] for k in moving_kinds()} == set(SIDE_KINDS)


def test_channels_are_protein_perhaps_and_molecules() -> None:
    assert CHANNELS[: len(KINDS)] == KINDS
    assert [CHANNELS[len(KINDS) + k] for k in range(len(SIDE_KINDS))] == [f"perhaps {kind}" for kind in SIDE_KINDS]
    assert len(set(CHANNELS)) == len(KINDS) + len(SIDE_KINDS) + len(MOLECULE_KINDS) < 256


def test_an_atom_points_away_from_what_it_is_bonded_to() -> None:
    sample = extended("ASFGA")
    xyz = sample["atom14"].double().numpy()
    kind = sample["aatype"].numpy()
    mask = aa.ATOM14_MASK[kind]
    found = chain_directions(xyz, mask, kind, sample["linked"].numpy())

    def at(r: int, name: str) -> np.ndarray:
        return xyz[r, aa.ATOM14_NAMES[kind[r]].index(name)]

    def expected(own: np.ndarray, *bonded: np.ndarray) -> np.ndarray:
        away = own - np.mean(bonded, axis=0)
        return away / np.linalg.norm(away)

    cases = [
        (1, "OG", ["CB"], []), (1, "CB", ["CA", "OG"], []), (2, "CZ", ["CE1", "CE2"], []), (2, "O", ["C"], []),
        (2, "N", ["CA"], [(1, "C")]), (1, "C", ["CA", "O"], [(2, "N")]), (0, "N", ["CA"], []),
        (4, "C", ["CA", "O"], []),
    ]  # fmt: skip
    for r, name, own, others in cases:
        slot = aa.ATOM14_NAMES[kind[r]].index(name)
        bonded = [at(r, other) for other in own] + [at(q, other) for q, other in others]
        assert found[r, slot] == pytest.approx(expected(xyz[r, slot], *bonded), abs=1e-9), (r, name)
    # Alone, no residue sees the next.
    alone = protein_directions(xyz, mask, kind)
    assert alone[2, 0] == pytest.approx(expected(at(2, "N"), at(2, "CA")), abs=1e-9)
    # An atom without partners points nowhere.
    mask = np.zeros_like(mask)
    mask[:, 0] = True
    assert not protein_directions(xyz, mask, kind)[mask].any()


def test_molecules_are_told_apart_by_what_they_are_bonded_to() -> None:
    radius = {"C": 1.7, "N": 1.55, "O": 1.52, "S": 1.8, "P": 1.8, "CL": 1.75}
    # Chloroacetamide, then parts of other molecules far from it, and a metal.
    atoms = [
        ("C", (0.0, 0.0, 0.0), "other C"), ("C", (1.5, 0.0, 0.0), "flat C"), ("O", (2.1, 1.06, 0.0), "end O"),
        ("N", (2.2, -1.15, 0.0), "N of two bonds"), ("CL", (-0.6, 1.66, 0.0), "other element"),
        ("C", (20.0, 0.0, 0.0), "flat C"), ("C", (21.39, 0.0, 0.0), "flat C"), ("C", (19.3, 1.2, 0.0), "flat C"),
        ("C", (40.0, 0.0, 0.0), "flat C"), ("O", (41.43, 0.0, 0.0), "inner O"), ("C", (41.9, 1.35, 0.0), "flat C"),
        ("N", (60.0, 0.0, 0.0), "N of three bonds"), ("C", (61.47, 0.0, 0.0), "other C"),
        ("C", (59.3, 1.29, 0.0), "other C"), ("C", (59.3, -1.29, 0.0), "other C"),
        ("P", (80.0, 0.0, 0.0), "S or P"), ("S", (85.0, 0.0, 0.0), "S or P"), ("C", (90.0, 0.0, 0.0), "other C"),
        ("metal", (2.1, 2.2, 0.0), "metal"),
    ]  # fmt: skip
    obstacles = Obstacles(np.array([x for _, x, _ in atoms]), np.array([radius.get(e, 0.0) for e, _, _ in atoms]))
    found = standing_molecules(obstacles)
    told = [CHANNELS[c].removeprefix("molecule: ") for c in found.channel]
    assert told == [kind for _, _, kind in atoms]
    assert (found.row == -1).all()
    assert (found.weight == 1).all()
    oxygen = found.direction[2]
    assert oxygen == pytest.approx(np.array([0.6, 1.06, 0.0]) / np.hypot(0.6, 1.06))  # away from its carbon
    assert not found.direction[[11, 15, 18]].any()  # flat in the middle, alone, and a metal
    assert len(standing_molecules(Obstacles(np.zeros((0, 3)), np.zeros(0))).row) == 0


def test_side_chains_stand_where_they_are_sure_to_be_and_else_in_all_likely_places() -> None:
    made = arrangement(1)
    costs = made.costs()
    standing = made.standing(costs, made.arranged())
    p = made.probabilities(costs)
    sure = p[made.energies.first[:-1] + made.state] >= SURE
    assert 0 < sure.sum() < len(sure)
    perhaps = (standing.channel >= len(KINDS)) & (standing.row >= 0)
    side = np.isin(standing.channel, np.unique(moving_kinds())) & (standing.row >= 0)
    assert (standing.weight[~perhaps] == 1).all()
    kind = made.scene.aatype.numpy()
    for r in range(len(sure)):
        count = int((made.mask.numpy()[made.energies.first[r]] & (np.arange(aa.N_SLOTS) > aa.SLOT_CB)).sum())
        own = standing.row == r
        likely = p[made.row == r][p[made.row == r] >= RARE]
        assert (own & side).sum() == (count if sure[r] else 0)
        assert (own & perhaps).sum() == (0 if sure[r] else count * len(likely))
        if not sure[r]:
            assert standing.weight[own & perhaps].sum() == pytest.approx(count * likely.sum())
        assert (own & ~side & ~perhaps).sum() == aa.ATOM14_MASK[kind[r], : aa.SLOT_CB + 1].sum()


def test_what_is_near_is_all_within_reach_but_the_residue_itself() -> None:
    made = arrangement()
    costs = made.costs()
    asked = np.flatnonzero(made.open_candidates(costs))
    standing = made.standing(costs, made.arranged())
    near = made.near(asked, standing)
    kind, points = made.scene.aatype.numpy(), directions(made)
    assert 10 < len(asked) < len(costs)
    expected = [(k, slot) for k, v in enumerate(asked) for slot in np.flatnonzero(made.mask.numpy()[v]) if slot > 4]
    assert near.candidate.tolist() == [k for k, _ in expected]
    assert near.atom.tolist() == [atom_kinds()[1][kind[made.row[asked[k]]], slot] for k, slot in expected]
    for at, (k, slot) in enumerate(expected):
        v = asked[k]
        way = standing.xyz - made.xyz.double().numpy()[v, slot]
        d = np.linalg.norm(way, axis=1)
        there = np.flatnonzero((d <= REACH) & (standing.row != made.row[v]))
        own = way[there] @ points[v, slot] / d[there]
        other = -(way[there] * standing.direction[there]).sum(-1) / d[there]
        found = neighbours(near, at)
        told = standing.channel[there], np.maximum(d[there], NEAREST), own, other, standing.weight[there]
        said = (
            near.channel[found], NEAREST + near.distance[found] / 255 * (REACH - NEAREST), near.own_cosine[found] / 127,
            near.other_cosine[found] / 127, near.weight[found] / 255,
        )  # fmt: skip
        # Both in any order: sums by channel of everything times everything.
        for x in range(1, 5):
            for y in range(1, 5):
                one, two = (np.bincount(table[0], table[x] * table[y], len(CHANNELS)) for table in (told, said))
                assert two == pytest.approx(one, rel=1e-2, abs=0.1)
    assert {CHANNELS[k] for k in near.channel} >= {"molecule: other C", "backbone O", "CB"}
    assert (near.channel >= len(KINDS)).any()


def test_nothing_depends_on_place_or_order() -> None:
    made = arrangement(4)
    costs = made.costs()
    asked = np.flatnonzero(made.open_candidates(costs))
    standing = made.standing(costs, made.arranged())
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    order = np.random.default_rng(0).permutation(len(standing.row))
    shuffled = Standing(
        standing.xyz[order] @ turn.T + 20.0, standing.channel[order], standing.direction[order] @ turn.T,
        standing.weight[order], standing.row[order],
    )  # fmt: skip
    first = made.near(asked, standing)
    again = find_near(
        made.xyz.double().numpy()[asked] @ turn.T + 20.0, directions(made)[asked] @ turn.T, made.mask.numpy()[asked],
        made.row[asked], made.scene.aatype.numpy(), shuffled,
    )  # fmt: skip
    assert first.first.tolist() == again.first.tolist()
    own = np.repeat(np.arange(len(first.atom)), np.diff(first.first))
    for name in ("channel", "distance", "own_cosine", "other_cosine", "weight"):
        one, two = (np.bincount(own, getattr(near, name).astype(float)) for near in (first, again))
        assert one == pytest.approx(two, abs=0.1 if name in ("channel", "weight") else 3.0), name
