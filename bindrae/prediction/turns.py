"""How far the chis of a chosen side chain should turn: a small network over its surroundings and the model's density.

Candidates stand where the model's density has its peaks, which is not where they fit best beside their neighbours: of
the chi1 that miss the truth by 20 degrees, 29 % miss it by less than 40 (docs/progress.md). So each chosen side chain
is asked once more. Neighbours push and pull along the way in which an atom moves when a chi turns: summed over them are
vectors learnt by kind, distance and angles, as in `bindrae.prediction.surroundings`, but times the growth of the
distance with the chi, which is what the derivative of an energy is made of. With these sums and the density near where
the chi stands the network says how likely each turn is. Fitted by `bindrae fit`, as the likelihood
of the true angles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bindrae.chem import residues as aa
from bindrae.geometry.kinematics import angles_to_circle
from bindrae.prediction.descriptors import (
    N_VECTORS,
    STEPS,
    SparseProduct,
    approach_descriptors,
    descriptors,
    read_by_kind,
)
from bindrae.prediction.kinds import N_MOVING, SIDE_KINDS, moving_kinds
from bindrae.prediction.levers import moved_atoms
from bindrae.prediction.neighbourhood import CHANNELS, PER_ANGSTROM, Near
from bindrae.prediction.rotamers import WITHIN, Density
from bindrae.prediction.stored_network import StoredNetwork

FARTHEST = math.radians(36.0)
"""Largest turn that is thought of; candidates are at least 20 degrees apart."""
TURNS = torch.linspace(-FARTHEST, FARTHEST, 25)
"""Turns (radians) of which the network says how likely they are."""
N_TOLD = 2 * aa.N_CHI + 3

_WIDTH = 64  # of vectors of atoms
_HIDDEN = 128
_DROPOUT = 0.1
_WAVES = 3  # of sine and cosine over the turns, by which the density is tilted
_SMOOTH = math.radians(5.0)  # of a bin of the model's density; bins are 5 degrees wide by default
_LEAST = 1e-6  # of a density, so that its logarithm is finite
_MOST_NATS, _NATS_UNIT = 12.0, 4.0  # of costs as inputs
_DENSITY_RANGE = (-8.0, 3.0)  # of logarithms as inputs: the least, and by how much they are shifted and scaled
_TRIED = torch.deg2rad(torch.arange(-30.0, 30.5, 2.0))  # turns that may be made
_EDGE = math.radians(3.0)  # softness of the edge of 20 degrees: turns of nearly as much mass are told apart by more


@dataclass
class Turnable:
    """R chosen side chains of one complex, and what stands around them."""

    near: Near  # with `approach`
    aatype: np.ndarray  # [R]
    chi: np.ndarray  # [R, 4] float32 radians
    density: np.ndarray  # [R, 4, T] float16 logarithm of the model's density at `TURNS`
    told: np.ndarray  # [R, 11] float16 see `tell`


def tell(density: Density, probability: np.ndarray, surprise: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Numbers about chosen side chains that the network reads.

    Parameters
    ----------
    density : Density
        Of R residues, near where they stand.
    probability : numpy.ndarray
        [R] of the chosen candidates among those of their residues.
    surprise, rest : numpy.ndarray
        [R] minus the logarithm of the model's probability, and what they cost beside it (nats).

    Returns
    -------
    numpy.ndarray
        [R, 11] float16.
    """
    nats = [np.clip(x, -_MOST_NATS, _MOST_NATS) for x in (np.log(probability + 1e-4), surprise, rest)]
    mass = torch.stack([density.within(WITHIN), density.within(2 * WITHIN)], -1).flatten(1)
    return np.concatenate([mass.numpy(), np.stack(nats, 1) / _NATS_UNIT], 1).astype(np.float16)


def log_density(density: Density) -> np.ndarray:
    """[R, 4, T] float16 logarithm of the model's density at `TURNS`."""
    return torch.log(density.smoothed(TURNS, _SMOOTH) + _LEAST).half().numpy()


class TurnNetwork(StoredNetwork):
    """Probabilities of turns."""

    KEY, NAME = "turns", "network of turns"
    kind_of: Tensor  # [M] kind of each moving atom
    waves: Tensor  # [2 * waves, T]

    def __init__(self) -> None:
        super().__init__()
        kinds = len(SIDE_KINDS)
        self.near = nn.Parameter(0.05 * torch.randn(N_VECTORS, _WIDTH))
        self.push = nn.Parameter(0.05 * torch.randn(N_VECTORS, _WIDTH))
        self.read = nn.Parameter(_WIDTH**-0.5 * torch.randn(kinds, _WIDTH, _WIDTH))
        self.bias = nn.Parameter(0.05 * torch.randn(N_MOVING, _WIDTH))
        self.gate = nn.Linear(_WIDTH, _WIDTH)
        self.direct = nn.Parameter(torch.zeros(aa.N_CHI, N_MOVING, _WIDTH))
        self.from_type = nn.Parameter(torch.randn(aa.N_TYPES, _HIDDEN))
        self.from_near = nn.Linear(_WIDTH, _HIDDEN)
        self.from_push = nn.Linear(aa.N_CHI * _WIDTH, _HIDDEN, bias=False)
        self.from_told = nn.Linear(2 * aa.N_CHI + N_TOLD + aa.N_CHI * len(TURNS), _HIDDEN)
        self.join = nn.Linear(_HIDDEN, _HIDDEN)
        self.tilt = nn.Linear(_HIDDEN, aa.N_CHI * 2 * _WAVES)
        self.trust = nn.Parameter(torch.ones(aa.N_TYPES, aa.N_CHI))
        nn.init.zeros_(self.tilt.weight)
        nn.init.zeros_(self.tilt.bias)
        self.register_buffer("kind_of", torch.as_tensor(moving_kinds()), persistent=False)
        phase = TURNS / FARTHEST * (math.pi / 2)
        waves = [wave(k * phase) for k in range(1, _WAVES + 1) for wave in (torch.sin, torch.cos)]
        self.register_buffer("waves", torch.stack(waves), persistent=False)

    def forward(self, side_chains: Turnable) -> Tensor:
        """How likely each turn of each chi is.

        Parameters
        ----------
        side_chains : Turnable
            R of them.

        Returns
        -------
        Tensor
            [R, 4, T] logarithms of probabilities over `TURNS`; without meaning for chis that a residue lacks.
        """
        near, count = side_chains.near, len(side_chains.aatype)
        if near.approach is None:
            raise ValueError("what distances grow with the chis is missing")
        atom, owner = (torch.as_tensor(x.astype(np.int64)) for x in (near.atom, near.candidate))
        moved, chis = np.nonzero(moved_atoms()[near.atom])
        around_atoms = descriptors(near)
        approaching = approach_descriptors(around_atoms, near.approach * np.float32(1 / PER_ANGSTROM), moved, chis)
        rows, which = torch.as_tensor(moved), torch.as_tensor(chis)
        hidden = self._drop(F.silu(self._read(atom, self._drop(SparseProduct.apply(self.near, around_atoms)))))
        push = self._drop(SparseProduct.apply(self.push, approaching))
        place = owner[rows] * aa.N_CHI + which
        gated = push * (1 + self.gate(hidden)[rows])
        pushes = push.new_zeros(count * aa.N_CHI, _WIDTH).index_add(0, place, gated).view(count, -1)
        direct = (push * self.direct[which, atom[rows]]).sum(-1)
        slope = push.new_zeros(count * aa.N_CHI).index_add(0, place, direct).view(count, aa.N_CHI)
        around = hidden.new_zeros(count, _WIDTH).index_add(0, owner, hidden)

        kind = torch.as_tensor(side_chains.aatype)
        has = torch.as_tensor(aa.CHI_MASK)[kind].unsqueeze(-1)
        circle = angles_to_circle(torch.as_tensor(side_chains.chi)) * has
        density = torch.log_softmax(torch.as_tensor(side_chains.density).float(), -1)
        least, unit = _DENSITY_RANGE
        shape = (density.clamp_min(least) + unit) / unit * has
        told = [circle.flatten(1), torch.as_tensor(side_chains.told).float(), shape.flatten(1)]
        x = self.from_near(around) + self.from_push(pushes) + self.from_told(torch.cat(told, 1)) + self.from_type[kind]
        x = self._drop(F.silu(x))
        x = self._drop(x + F.silu(self.join(x)))
        tilt = self.tilt(x).view(count, aa.N_CHI, -1)
        # The first wave is a slope: what neighbours push adds to it.
        tilt = torch.cat([tilt[..., :1] + slope.unsqueeze(-1), tilt[..., 1:]], -1)
        return torch.log_softmax(self.trust[kind].unsqueeze(-1) * density + tilt @ self.waves, -1)

    def _read(self, atom: Tensor, summed: Tensor) -> Tensor:
        """[A, width] what atoms read of their surroundings; those of one kind alike but for a bias of their own."""
        order = torch.argsort(self.kind_of[atom], stable=True)
        read = read_by_kind(summed[order], self.kind_of[atom[order]], self.read)
        return read[torch.argsort(order)] + self.bias[atom]

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, _DROPOUT, self.training)

    @staticmethod
    def about() -> dict[str, object]:
        return {
            "moving": N_MOVING, "channels": list(CHANNELS), "steps": list(STEPS), "width": _WIDTH, "hidden": _HIDDEN,
            "turns": len(TURNS), "waves": _WAVES,
        }  # fmt: skip


def best_turns(log_p: Tensor, aatype: np.ndarray) -> tuple[Tensor, Tensor]:
    """The turns within 20 degrees of which the most probability lies, and how much does.

    Parameters
    ----------
    log_p : Tensor
        [R, 4, T] of `TurnNetwork`.
    aatype : numpy.ndarray
        [R] types.

    Returns
    -------
    turns, probability : Tensor
        [R, 4] radians and [R, 4], with a soft edge; 0 and 1 for chis that a residue lacks.
    """
    within = torch.sigmoid((WITHIN - (TURNS[:, None] - _TRIED).abs()) / _EDGE)
    probability, best = (log_p.exp() @ within).max(-1)
    has = torch.as_tensor(aa.CHI_MASK)[torch.as_tensor(aatype)]
    return torch.where(has, _TRIED[best], 0.0), torch.where(has, probability, 1.0)
