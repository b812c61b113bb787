"""Side chains without clashes at little cost in likelihood: a search over candidates, then gradient steps on chi."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from bindrae.geometry.kinematics import angles_to_circle
from bindrae.prediction.energies import candidate_energies
from bindrae.prediction.levers import lever_arms
from bindrae.prediction.neighbourhood import (
    Near,
    Standing,
    find_near,
    protein_directions,
    standing_molecules,
    standing_protein,
)
from bindrae.prediction.networks import RefinementNetworks
from bindrae.prediction.polish import polish
from bindrae.prediction.reach import reach_partners
from bindrae.prediction.rotamers import WITHIN, HeadInputs, Rotamers, chi1_probability, density_around, wrap
from bindrae.prediction.scene import Scene, build_unrefined
from bindrae.prediction.search import best_combination, costs_in_place, sample_arrangements
from bindrae.prediction.surroundings import OPEN_NATS, SurroundingsNetwork
from bindrae.prediction.turns import Turnable, TurnNetwork, best_turns, log_density, tell
from bindrae.structure.torsions import CHI1

__all__ = [
    "POLISH_WEIGHT", "WEIGHT", "Arrangements", "Refined", "Scene", "build_unrefined", "draw_unrefined", "refine_chis",
    "unrefined",
]  # fmt: skip

WEIGHT = 10.0
"""Cost of an overlap of 1 A (nats) in the search; chosen with `bindrae.prediction.tune`, see docs/prediction.md."""
OVERLAP_BESIDE_NETWORK = 0.4
"""Share of that cost where a network tells what is too close; chosen in the same way."""
POLISH_WEIGHT = 30.0
"""The same within the protein in the gradient steps, where a turn of one standard deviation costs half a nat."""

_ROUNDS = 3  # of asking what surroundings are worth
_TURNS = 2  # of asking how far the side chains that stay should turn
_AT_ONCE = 4_000  # candidates that the network is asked about together


@dataclass
class Refined:
    """Side chains after refinement."""

    circle: Tensor  # [N, 7, 2] torsions
    xyz: Tensor  # [N, 14, 3] angstrom
    mask: Tensor  # [N, 14] bool
    chi1_probability: np.ndarray | None = None  # [N] that chi1 is within 20 degrees; None where nothing tells


@dataclass
class Arranged:
    """One candidate for each of N residues, where it has its side chain or turned from there."""

    number: np.ndarray  # [N] of the candidate
    circle: Tensor  # [N, 7, 2]
    xyz: Tensor  # [N, 14, 3] angstrom
    mask: Tensor  # [N, 14] bool


class Arrangements:
    """All candidates of all residues on one backbone, with what they cost alone and together.

    Every residue has its candidates; an arrangement costs minus the logarithm of the model's probabilities plus the
    overlaps of its atoms.

    Parameters
    ----------
    scene : Scene
    circle : Tensor
        [N, 7, 2] (sin, cos) of the model's torsions; psi carries O.
    rotamers : Rotamers
        Candidates, from `propose_rotamers`; those of residues with a stated bond are added to.
    weight : float
        Cost of an overlap of 1 A (nats).
    polish_weight : float
        The same within the protein in the gradient steps that follow the choice; 0 leaves these out.
    seed : int
        Of the search.
    networks : RefinementNetworks, optional
        Say what a side chain's surroundings are worth, and how far it should turn; overlaps then count less.
    """

    @torch.no_grad()
    def __init__(
        self,
        scene: Scene,
        circle: Tensor,
        rotamers: Rotamers,
        weight: float = WEIGHT,
        polish_weight: float = POLISH_WEIGHT,
        seed: int = 0,
        networks: RefinementNetworks | None = None,
    ) -> None:
        self.scene, self.polish_weight, self.networks = scene, polish_weight, networks
        rotamers = reach_partners(scene, circle, rotamers)
        asks = networks is not None and networks.surroundings is not None
        first_alone = torch.arange(rotamers.chi.shape[1]) == 0
        there = torch.isfinite(rotamers.log_p) & (scene.movable.unsqueeze(-1) | first_alone)
        row, place = torch.nonzero(there, as_tuple=True)
        self.row, self.surprise = row.numpy(), -rotamers.log_p[row, place].double().numpy()
        self.spread, self.inputs = rotamers.spread[row, place], rotamers.inputs
        self.circle = torch.cat([circle[row, :3], angles_to_circle(rotamers.chi[row, place])], dim=1)
        self.xyz, self.mask = scene.build(self.circle, row)
        self.energies = candidate_energies(
            self.xyz.double().numpy(), self.mask.numpy(), self.row, -self.surprise, scene.aatype.numpy(),
            scene.linked.numpy(), scene.obstacles, weight * OVERLAP_BESIDE_NETWORK if asks else weight,
        )  # fmt: skip
        self.state = best_combination(self.energies, seed)
        self.added = np.zeros_like(self.surprise)  # by the network (nats)
        if networks is not None and asks:
            self.choose_in_place(networks)

    def costs(self) -> np.ndarray:
        """[V] costs of all candidates without the network, each with all others as they are arranged (nats)."""
        pairs = zip(*self.energies.by_residue(), strict=True)
        return np.concatenate([costs_in_place(alone, beside, self.state) for alone, beside in pairs])

    def probabilities(self, costs: np.ndarray) -> np.ndarray:
        """[V] probabilities of each residue's candidates by their `costs`."""
        first = self.energies.first[:-1]
        p = np.exp(np.minimum.reduceat(costs, first)[self.row] - costs)
        return np.asarray(p / np.add.reduceat(p, first)[self.row])

    def open_candidates(self, costs: np.ndarray) -> np.ndarray:
        """[V] whether a candidate is little worse than its residue's best, and not the only one such."""
        near = costs < np.minimum.reduceat(costs, self.energies.first[:-1])[self.row] + OPEN_NATS
        return np.asarray(near & (np.bincount(self.row, near) > 1)[self.row])

    def arranged(self, state: np.ndarray | None = None) -> Arranged:
        """Side chains where their candidates have them; those of the arrangement found, unless another is named."""
        number = self.energies.first[:-1] + (self.state if state is None else state)
        return Arranged(number, self.circle[number], self.xyz[number], self.mask[number])

    def standing(self, costs: np.ndarray, arranged: Arranged) -> Standing:
        """What candidates may come near: all others as they are arranged, or by `costs` may be, and the obstacles."""
        protein = standing_protein(
            arranged.xyz.double().numpy(), self.xyz.double().numpy(), self._directions, self.mask.numpy(), self.row,
            arranged.number, self.probabilities(costs), self.scene.aatype.numpy(), self.scene.linked.numpy(),
        )  # fmt: skip
        return Standing.joined([protein, self._molecules])

    def near(self, candidates: np.ndarray, standing: Standing) -> Near:
        """What stands around some candidates, which are numbered anew from 0."""
        xyz, mask = self.xyz[candidates].double().numpy(), self.mask[candidates].numpy()
        row, kind = self.row[candidates], self.scene.aatype.numpy()
        return find_near(xyz, self._directions[candidates], mask, row, kind, standing)

    @cached_property
    def _directions(self) -> np.ndarray:
        kind = self.scene.aatype.numpy()[self.row]
        return protein_directions(self.xyz.double().numpy(), self.mask.numpy(), kind)

    @cached_property
    def _molecules(self) -> Standing:
        return standing_molecules(self.scene.obstacles)

    @torch.no_grad()
    def choose_in_place(self, networks: RefinementNetworks) -> None:
        """Ask what surroundings are worth with the others where they are, let every residue choose, and again.

        What surroundings are worth was asked for where the others stand. A search that moves them all at once would
        mostly find arrangements that the answers were not given for. From the second time on the others are turned
        already, and those that are not sure stand where the last answers have them.
        """
        assert networks.surroundings is not None
        for _ in range(_ROUNDS):
            costs = self.costs()
            standing = self.standing_turned(networks, costs)
            self.added = self._worth(networks.surroundings, costs, standing)
            self.state = self._best(costs + self.added)

    def standing_turned(self, networks: RefinementNetworks | None, costs: np.ndarray) -> Standing:
        """What stands around, as far as it is known: at first as the search has it, then chosen and turned."""
        total, arranged = costs + self.added, self.arranged()
        if networks is not None and networks.turns is not None and self.added.any():
            arranged, _ = self._turned(networks.turns, total, arranged)
        return self.standing(total, arranged)

    @torch.no_grad()
    def surroundings_energy(
        self, network: SurroundingsNetwork, candidates: np.ndarray, costs: np.ndarray, standing: Standing
    ) -> Tensor:
        """Energies of some candidates by the network, [K] nats; `costs` [V] with all others as they are arranged."""
        surprise, rest = (torch.as_tensor(x).float() for x in (self.surprise, costs - self.surprise))
        kind = self.scene.aatype[self.row]
        parts = [
            network(self.near(own, standing), surprise[own], rest[own], kind[own], self.circle[own, 3:])
            for own in np.split(candidates, range(_AT_ONCE, len(candidates), _AT_ONCE))
        ]
        return torch.cat(parts)

    def _worth(self, network: SurroundingsNetwork, costs: np.ndarray, standing: Standing) -> np.ndarray:
        """[V] what the network adds to the candidates that `costs` leave open (nats)."""
        asked = self.open_candidates(costs)
        energy = np.zeros(len(costs))
        energy[asked] = self.surroundings_energy(network, np.flatnonzero(asked), costs, standing).double().numpy()
        # Only differences mean something: the mean of the open ones stays, and with it the distance to the others.
        mean = np.bincount(self.row, energy) / np.maximum(1, np.bincount(self.row, asked))
        return np.where(asked, energy - mean[self.row], 0.0)

    @cached_property
    def turning_rows(self) -> np.ndarray:
        """Residues whose side chain may turn: those that move and that no bond holds; none without a density."""
        if self.inputs is None:
            return np.zeros(0, dtype=np.int64)
        turns = self.scene.movable.numpy().copy()
        turns[[bond.row for bond in self.scene.bonds]] = False
        return np.flatnonzero(turns)

    def turnable(self, arranged: Arranged, costs: np.ndarray) -> Turnable:
        """The side chains of `turning_rows` with what stands around them; `costs` [V] say who may be where."""
        rows, kind = self.turning_rows, self.scene.aatype.numpy()
        own, chi = arranged.number[rows], torch.atan2(*arranged.circle[rows, 3:].unbind(-1))
        xyz, mask = arranged.xyz[rows].double().numpy(), arranged.mask[rows].numpy()
        assert self.inputs is not None
        density = density_around(self.inputs, torch.as_tensor(rows), chi)
        near = find_near(
            xyz, protein_directions(xyz, mask, kind[rows]), mask, rows, kind, self.standing(costs, arranged),
            lever_arms(xyz, kind[rows]),
        )  # fmt: skip
        surprise, rest = self.surprise[own], (costs - self.added - self.surprise)[own]
        told = tell(density, self.probabilities(costs)[own], surprise, rest)
        return Turnable(near, kind[rows], chi.float().numpy(), log_density(density), told)

    def turn(self, arranged: Arranged, turns: Tensor) -> Arranged:
        """Side chains of `turning_rows` turned by [R, 4] radians."""
        rows = torch.as_tensor(self.turning_rows)
        circle, xyz = arranged.circle.clone(), arranged.xyz.clone()
        circle[rows, 3:] = angles_to_circle(torch.atan2(*circle[rows, 3:].unbind(-1)) + turns)
        xyz[rows] = self.scene.build(circle[rows], rows)[0]
        return Arranged(arranged.number, circle, xyz, arranged.mask)

    def _turned(self, network: TurnNetwork, costs: np.ndarray, arranged: Arranged) -> tuple[Arranged, np.ndarray]:
        """Side chains turned once as the network finds likely, and [N] the probability within 20 degrees of chi1."""
        rows, within = self.turning_rows, np.ones(len(arranged.number))
        if not len(rows):
            return arranged, within
        asked = self.turnable(arranged, costs)
        turns, probability = best_turns(network(asked), asked.aatype)
        within[rows] = probability[:, 0].numpy()
        return self.turn(arranged, turns), within

    def _mode_probability(self, costs: np.ndarray, circle: Tensor) -> np.ndarray:
        """[N] share of the candidates, by their `costs` [V], whose chi1 is within 20 degrees of that of `circle`."""
        own, theirs = (torch.atan2(*x[:, CHI1].unbind(-1)) for x in (circle, self.circle))
        same = (wrap(theirs - own[self.row]).abs() <= WITHIN).numpy()
        return np.bincount(self.row, self.probabilities(costs) * same, len(circle))

    def _best(self, costs: np.ndarray) -> np.ndarray:
        """[N] place of the candidate of least cost of each residue."""
        first = self.energies.first[:-1]
        best = np.flatnonzero(costs == np.minimum.reduceat(costs, first)[self.row])
        return np.asarray(best[np.unique(self.row[best], return_index=True)[1]] - first)

    def best(self) -> Refined:
        """The arrangement of least cost."""
        return self._finish(self.state)

    def draw(self, rng: np.random.Generator, temperature: float) -> Refined:
        """One arrangement drawn by its cost.

        Parameters
        ----------
        rng : numpy.random.Generator
        temperature : float
            1 draws as the model says; less, closer to the best.
        """
        energies = replace(self.energies, alone=self.energies.alone + self.added)
        return self._finish(sample_arrangements(energies, self.state, rng, temperature))

    @torch.no_grad()
    def _finish(self, state: np.ndarray) -> Refined:
        arranged, networks, scene = self.arranged(state), self.networks, self.scene
        total, within = self.costs() + self.added, np.ones(len(state))
        if networks is not None and networks.turns is not None:
            for _ in range(_TURNS):
                arranged, within = self._turned(networks.turns, total, arranged)
        circle, xyz = arranged.circle, arranged.xyz
        if self.polish_weight:
            circle, xyz = polish(
                scene.frames, circle, self.spread[arranged.number], xyz, arranged.mask, scene.aatype,
                scene.linked, scene.movable, scene.obstacles, self.polish_weight,
            )  # fmt: skip
        if self.inputs is None:  # a single answer, no distribution: nothing tells how sure it is
            probability = None
        elif networks is None:
            probability = chi1_probability(self.inputs, circle)
        else:
            # In the right mode, and near enough there: of the surroundings the networks know more than the model.
            probability = self._mode_probability(total, arranged.circle) * within
        return Refined(circle, xyz, arranged.mask, probability)


def refine_chis(
    scene: Scene,
    circle: Tensor,
    rotamers: Rotamers,
    *,
    weight: float = WEIGHT,
    polish_weight: float = POLISH_WEIGHT,
    seed: int = 0,
    networks: RefinementNetworks | None = None,
) -> Refined:
    """Side chains that the model finds likely and whose atoms overlap little, also with ligand and other molecules.

    See `Arrangements` for the arguments.
    """
    return Arrangements(scene, circle, rotamers, weight, polish_weight, seed, networks).best()


def unrefined(scene: Scene, circle: Tensor, inputs: HeadInputs) -> Refined:
    """Side chains with the model's torsions [N, 7, 2], just as they are; `inputs` tell how sure of them it is."""
    return Refined(circle, *build_unrefined(scene, circle), chi1_probability(inputs, circle))


def draw_unrefined(circle: Tensor, rotamers: Rotamers, rng: np.random.Generator, temperature: float) -> Tensor:
    """Torsions [N, 7, 2] of candidates drawn by the model's probabilities, each residue for itself.

    To the logarithm of each probability over the temperature a Gumbel variate is added: the largest sum is a draw from
    the tempered distribution.

    Parameters
    ----------
    circle : Tensor
        [N, 7, 2] torsions of the model.
    rotamers : Rotamers
    rng : numpy.random.Generator
    temperature : float
        1 draws as the model says; less, closer to the mode.
    """
    noise = torch.as_tensor(rng.gumbel(size=tuple(rotamers.log_p.shape)), dtype=rotamers.log_p.dtype)
    best = (rotamers.log_p / temperature + noise).argmax(1)
    return torch.cat([circle[:, :3], angles_to_circle(rotamers.chi[torch.arange(len(best)), best])], dim=1)
