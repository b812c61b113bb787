"""What the whole surroundings of a side chain are worth: a small network over the atoms near each of its atoms.

A contact potential adds up pairs, as if each contact were alone. Whether a hydroxyl group without a partner is bad
depends on what else it touches, and how near a carbon may come on how tightly it is packed. So for each moving atom
vectors that are learnt by kind and distance are summed over the atoms around it, as atom-centred descriptors are
(Behler & Parrinello, Phys. Rev. Lett. 98, 146401, 2007), and two layers of the atom's own turn the sum into an energy.
Fitted by `bindrae.prediction.surroundings_fit`, as the conditional likelihood of the true side chain among candidates.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_matrix
from torch import Tensor, nn
from torch.nn import functional as F

from bindrae.chem import residues as aa
from bindrae.prediction.contacts import KINDS, N_MOVING, SIDE_KINDS, Surroundings, atom_kinds, moving_kinds, near_atoms

REACH = 6.0
"""Of an atom's surroundings (A)."""
OPEN_NATS = 6.0
"""Candidates that cost more than their residue's best by this much are not asked."""
SURE = 0.8
"""Probability of its candidate from which a neighbour's side chain is taken to stand where it is."""

WIDTH, HIDDEN = 16, 16
"""Length of the summed vectors, and of the layer that reads them."""
_STEP = 0.25  # between the distances at which vectors are learnt (A); linear in between
_N_STEPS = int(REACH / _STEP) + 2
_FADE = 1.0  # what is near counts less over the last A, so that nothing jumps at REACH


@dataclass
class Near:
    """A moving atoms of the candidates that are asked, and the P atoms near them."""

    candidate: np.ndarray  # [A] int32, non-decreasing
    atom: np.ndarray  # [A] int16 number of the moving atom, see `contacts.atom_kinds`
    first: np.ndarray  # [A] int64 first of its neighbours; an atom may have none
    kind: np.ndarray  # [P] uint8 twice the index into `KINDS`, one more where it is not sure to be there
    distance: np.ndarray  # [P] float16 (A)


def find_near(
    xyz: np.ndarray, mask: np.ndarray, row: np.ndarray, aatype: np.ndarray, asked: np.ndarray, around: Surroundings
) -> Near:
    """The surroundings of each moving atom.

    Parameters
    ----------
    xyz, mask : numpy.ndarray
        [V, 14, 3] (A) and [V, 14] atoms of each candidate.
    row, asked : numpy.ndarray
        [V] residue of each, and whether it is asked.
    aatype : numpy.ndarray
        [N].
    around : Surroundings
    """
    pairs = [np.zeros((0, 3))]
    for v, slot, other, distance in near_atoms(xyz, mask, row, asked, around, REACH):
        pairs.append(np.stack([v * aa.N_SLOTS + slot, other, distance], axis=1))
    own, other, distance = np.concatenate(pairs).T
    # Sorted by atom: much faster than by a sort, of which nothing more is asked.
    table = coo_matrix((distance, (own, other)), (len(row) * aa.N_SLOTS, max(1, len(around.row)))).tocsr()
    candidate, slot = np.nonzero(mask & asked[:, None] & (atom_kinds()[1][aatype[row]] >= 0))
    other = table.indices
    return Near(
        candidate.astype(np.int32),
        atom_kinds()[1][aatype[row[candidate]], slot].astype(np.int16),
        table.indptr[candidate * aa.N_SLOTS + slot].astype(np.int64),
        (2 * around.kind[other] + ~around.sure[other]).astype(np.uint8),
        table.data.astype(np.float16),
    )


class SurroundingsNetwork(nn.Module):
    """Energies of candidates (nats) that are added to what the search finds.

    What an atom shares with others of its kind and what is its own are summed, so that rare atoms learn from their
    likes.
    """

    kind_of: Tensor  # [M] kind of each moving atom

    def __init__(self) -> None:
        super().__init__()
        kinds, width, hidden = len(SIDE_KINDS), WIDTH, HIDDEN
        self.near = nn.Parameter(0.05 * torch.randn(2 * len(KINDS), _N_STEPS, width))
        self.read = nn.Parameter(width**-0.5 * torch.randn(width, hidden))
        self.read_kind = nn.Parameter(0.05 * torch.randn(kinds, width, hidden))
        self.read_atom = nn.Parameter(0.02 * torch.randn(N_MOVING, width, hidden))
        self.bias = nn.Parameter(0.02 * torch.randn(N_MOVING, hidden))
        self.mix = nn.Linear(hidden, hidden)
        self.energy_kind = nn.Parameter(torch.zeros(kinds, hidden))
        self.energy_atom = nn.Parameter(torch.zeros(N_MOVING, hidden))
        self.direct = nn.Parameter(torch.zeros(N_MOVING, width))
        self.trust = nn.Parameter(torch.zeros(aa.N_TYPES))
        self.rest = nn.Parameter(torch.zeros(aa.N_TYPES))
        self.register_buffer("kind_of", torch.as_tensor(moving_kinds()), persistent=False)

    def forward(self, near: Near, surprise: Tensor, rest: Tensor, aatype: Tensor) -> Tensor:
        """Energies to add.

        Parameters
        ----------
        near : Near
        surprise, rest : Tensor
            [V] minus the logarithm of the network's probability, and what a candidate costs beside it, with all
            others where they are (nats).
        aatype : Tensor
            [V] residue type of each candidate.

        Returns
        -------
        Tensor
            [V] nats. A residue's energies mean nothing but by their differences.
        """
        atom = torch.as_tensor(near.atom.astype(np.int64))
        summed = self._summed(near)
        own = (self.read + self.read_kind[self.kind_of] + self.read_atom)[atom]
        hidden = F.silu((summed.unsqueeze(1) @ own).squeeze(1) + self.bias[atom])
        hidden = hidden + F.silu(self.mix(hidden))
        energy = (hidden * (self.energy_kind[self.kind_of] + self.energy_atom)[atom]).sum(-1)
        energy = energy + (summed * self.direct[atom]).sum(-1)
        total = torch.zeros_like(surprise).index_add(0, torch.as_tensor(near.candidate.astype(np.int64)), energy)
        return total + self.trust[aatype] * surprise + self.rest[aatype] * rest

    def _summed(self, near: Near) -> Tensor:
        """[A, width] vectors of what is near, by kind and linear in the distance between steps."""
        distance = torch.as_tensor(near.distance.astype(np.float32))
        place = (distance / _STEP).clamp(max=_N_STEPS - 1.001)
        low = place.floor()
        part = place - low
        fade = ((REACH - distance) / _FADE).clamp(0.0, 1.0)
        row = torch.as_tensor(near.kind.astype(np.int64)) * _N_STEPS + low.long()
        rows = torch.stack([row, row + 1], dim=1).flatten()
        weights = torch.stack([(1.0 - part) * fade, part * fade], dim=1).flatten()
        return F.embedding_bag(
            rows, self.near.flatten(0, 1), 2 * torch.as_tensor(near.first), mode="sum", per_sample_weights=weights
        )

    def to_json(self) -> str:
        """For the metadata of a model file; the weights in 16 bits."""
        numbers = torch.cat([x.detach().flatten() for x in self.parameters()]).numpy()
        return json.dumps(self._about() | {"weights": base64.b64encode(numbers.astype("<f2").tobytes()).decode()})

    @classmethod
    def from_json(cls, text: str) -> SurroundingsNetwork:
        """The network of `to_json`.

        Raises
        ------
        ValueError, KeyError, TypeError
            When the text is damaged, or of a network of other sizes.
        """
        found = json.loads(text)
        network = cls()
        if {key: found[key] for key in cls._about()} != cls._about():
            raise ValueError("other kinds of atoms or distances")
        numbers = np.frombuffer(base64.b64decode(found["weights"]), "<f2").astype(np.float32)
        sizes = [x.numel() for x in network.parameters()]
        if len(numbers) != sum(sizes) or not np.isfinite(numbers).all():
            raise ValueError("values that cannot be")
        with torch.no_grad():
            for parameter, values in zip(network.parameters(), torch.as_tensor(numbers).split(sizes), strict=True):
                parameter.copy_(values.view_as(parameter))
        return network.requires_grad_(False)

    @staticmethod
    def _about() -> dict[str, object]:
        return {"moving": N_MOVING, "kinds": list(KINDS), "reach": REACH, "step": _STEP, "sizes": [WIDTH, HIDDEN]}
