"""What the surroundings of a side chain are worth: a small network over the atoms near each of its atoms.

A network that has seen few structures knows too little of which atoms like each other's company. Energies of pairs, as
in potentials of mean force, would treat each contact as if it were alone; but whether a hydroxyl group without a
partner is bad depends on what else it touches, and how near a carbon may come on how tightly it is packed. So for each
moving atom vectors that are learnt by kind, distance and angles are summed over the atoms around it, as atom-centred
descriptors are (Behler & Parrinello, Phys. Rev. Lett. 98, 146401, 2007); layers that the atom shares with its kind turn
the sum into an energy, and the atoms of a side chain together add another. Fitted by
`bindrae fit`, as the conditional likelihood of the true side chain among candidates.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bindrae.chem import residues as aa
from bindrae.prediction.descriptors import N_VECTORS, STEPS, SparseProduct, descriptors, read_by_kind
from bindrae.prediction.kinds import N_MOVING, SIDE_KINDS, moving_kinds
from bindrae.prediction.neighbourhood import CHANNELS, Near
from bindrae.prediction.stored_network import StoredNetwork

OPEN_NATS = 6.0
"""Candidates that cost more than their residue's best by this much are not asked."""

WIDTH = 64
"""Length of all vectors."""
DROPOUT = 0.1
_FEATURES = 2 * aa.N_CHI + 2
_MOST_NATS, _NATS_UNIT = 12.0, 4.0  # of costs as inputs


class SurroundingsNetwork(StoredNetwork):
    """Energies of candidates (nats) that are added to what the search finds.

    Atoms of a kind read their surroundings alike, each with a bias and energies of its own besides: with a matrix for
    every single atom the network knows the training side by heart after a few epochs.
    """

    KEY, NAME = "surroundings", "network of surroundings"
    kind_of: Tensor  # [M] kind of each moving atom

    def __init__(self) -> None:
        super().__init__()
        kinds, scale = len(SIDE_KINDS), WIDTH**-0.5
        self.near = nn.Parameter(0.05 * torch.randn(N_VECTORS, WIDTH))
        self.read = nn.Parameter(scale * torch.randn(WIDTH, WIDTH))
        self.read_kind = nn.Parameter(0.3 * scale * torch.randn(kinds, WIDTH, WIDTH))
        self.bias = nn.Parameter(0.05 * torch.randn(N_MOVING, WIDTH))
        self.mix = nn.Linear(WIDTH, WIDTH)
        self.energy_kind = nn.Parameter(torch.zeros(kinds, WIDTH))
        self.energy_atom = nn.Parameter(torch.zeros(N_MOVING, WIDTH))
        self.direct = nn.Parameter(torch.zeros(N_MOVING, WIDTH))
        self.trust = nn.Parameter(torch.zeros(aa.N_TYPES))
        self.rest = nn.Parameter(torch.zeros(aa.N_TYPES))
        self.from_type = nn.Parameter(torch.randn(aa.N_TYPES, WIDTH))
        self.from_atoms = nn.Linear(WIDTH, WIDTH)
        self.from_features = nn.Linear(_FEATURES, WIDTH)
        self.join = nn.Linear(WIDTH, WIDTH)
        self.energy_joined = nn.Parameter(torch.zeros(WIDTH))
        self.register_buffer("kind_of", torch.as_tensor(moving_kinds()), persistent=False)

    def forward(self, near: Near, surprise: Tensor, rest: Tensor, aatype: Tensor, chi: Tensor) -> Tensor:
        """Energies to add.

        Parameters
        ----------
        near : Near
        surprise, rest : Tensor
            [V] minus the logarithm of the network's probability, and what a candidate costs beside it, with all
            others where they are (nats).
        aatype : Tensor
            [V] residue type of each candidate.
        chi : Tensor
            [V, 4, 2] (sin, cos) of its chis.

        Returns
        -------
        Tensor
            [V] nats. A residue's energies mean nothing but by their differences.
        """
        atom = torch.as_tensor(near.atom.astype(np.int64))
        summed = F.dropout(SparseProduct.apply(self.near, descriptors(near)), DROPOUT, self.training)
        order = torch.argsort(self.kind_of[atom], stable=True)  # atoms of one kind together
        atom, summed = atom[order], summed[order]
        hidden = read_by_kind(summed, self.kind_of[atom], self.read + self.read_kind)
        hidden = F.dropout(F.silu(hidden + self.bias[atom]), DROPOUT, self.training)
        hidden = F.dropout(hidden + F.silu(self.mix(hidden)), DROPOUT, self.training)
        energy = (hidden * (self.energy_kind[self.kind_of] + self.energy_atom)[atom]).sum(-1)
        energy = energy + (summed * self.direct[atom]).sum(-1)

        candidate = torch.as_tensor(near.candidate.astype(np.int64))[order]
        total = torch.zeros_like(surprise).index_add(0, candidate, energy)
        atoms = hidden.new_zeros(len(surprise), WIDTH).index_add(0, candidate, hidden)
        given = (chi * torch.as_tensor(aa.CHI_MASK)[aatype].unsqueeze(-1)).flatten(1)
        nats = [x.clamp(-_MOST_NATS, _MOST_NATS).unsqueeze(-1) / _NATS_UNIT for x in (surprise, rest)]
        joined = self.from_atoms(atoms) + self.from_features(torch.cat([given, *nats], 1)) + self.from_type[aatype]
        joined = F.dropout(F.silu(joined), DROPOUT, self.training)
        joined = joined + F.silu(self.join(joined))
        return total + joined @ self.energy_joined + self.trust[aatype] * surprise + self.rest[aatype] * rest

    @staticmethod
    def about() -> dict[str, object]:
        return {"moving": N_MOVING, "channels": list(CHANNELS), "steps": list(STEPS), "width": WIDTH}
