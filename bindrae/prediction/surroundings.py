"""What the surroundings of a side chain are worth: a small network over the atoms near each of its atoms.

A network that has seen few structures knows too little of which atoms like each other's company. Energies of pairs, as
in potentials of mean force, would treat each contact as if it were alone; but whether a hydroxyl group without a
partner is bad depends on what else it touches, and how near a carbon may come on how tightly it is packed. So for each
moving atom vectors that are learnt by kind, distance and angles are summed over the atoms around it, as atom-centred
descriptors are (Behler & Parrinello, Phys. Rev. Lett. 98, 146401, 2007); layers that the atom shares with its kind turn
the sum into an energy, and the atoms of a side chain together add another. Fitted by
`bindrae.prediction.surroundings_fit`, as the conditional likelihood of the true side chain among candidates.
"""

from __future__ import annotations

import base64
import json
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from scipy.sparse import csr_matrix
from torch import Tensor, nn
from torch.nn import functional as F

from bindrae.chem import residues as aa
from bindrae.errors import BindraeError
from bindrae.prediction.kinds import N_MOVING, SIDE_KINDS, moving_kinds
from bindrae.prediction.neighbourhood import CHANNELS, NEAREST, REACH, Near

SURROUNDINGS_KEY = "surroundings"
"""Key of the model file's metadata that holds the network."""
OPEN_NATS = 6.0
"""Candidates that cost more than their residue's best by this much are not asked."""

WIDTH = 64
"""Length of all vectors."""
STEPS = (NEAREST, 2.8, 3.0, 3.25, 3.5, 3.75, 4.0, 4.35, 4.8, REACH)
"""Distances (A) at which vectors are learnt; linear in between."""
N_ANGLES = 4
"""1, the cosine at either atom, and their product: what each vector is weighted by."""
DROPOUT = 0.1
_FEATURES = 2 * aa.N_CHI + 2
_MOST_NATS, _NATS_UNIT = 12.0, 4.0  # of costs as inputs


class SurroundingsNetwork(nn.Module):
    """Energies of candidates (nats) that are added to what the search finds.

    Atoms of a kind read their surroundings alike, each with a bias and energies of its own besides: with a matrix for
    every single atom the network knows the training side by heart after a few epochs.
    """

    kind_of: Tensor  # [M] kind of each moving atom

    def __init__(self) -> None:
        super().__init__()
        kinds, scale = len(SIDE_KINDS), WIDTH**-0.5
        self.near = nn.Parameter(0.05 * torch.randn(len(CHANNELS) * len(STEPS) * N_ANGLES, WIDTH))
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
        summed = F.dropout(_SparseProduct.apply(self.near, descriptors(near)), DROPOUT, self.training)
        # Atoms of one kind together, so that each kind reads with one product of matrices.
        order = torch.argsort(self.kind_of[atom], stable=True)
        atom, summed = atom[order], summed[order]
        parts = summed.split(torch.bincount(self.kind_of[atom], minlength=len(SIDE_KINDS)).tolist())
        hidden = torch.cat([part @ read for part, read in zip(parts, self.read + self.read_kind, strict=True)])
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
        return network.requires_grad_(False).eval()

    @staticmethod
    def _about() -> dict[str, object]:
        return {"moving": N_MOVING, "channels": list(CHANNELS), "steps": list(STEPS), "width": WIDTH}


def read_surroundings(path: Path) -> SurroundingsNetwork | None:
    """The network in a model file's metadata; None where there is none.

    Raises
    ------
    BindraeError
        When it is damaged or of other sizes than this version's.
    """
    with safe_open(path, "pt") as file:
        text = (file.metadata() or {}).get(SURROUNDINGS_KEY)
    try:
        return None if text is None else SurroundingsNetwork.from_json(text)
    except (ValueError, KeyError, TypeError) as error:
        raise BindraeError(
            f"{path}: the network of surroundings in its metadata is damaged or of another version ({error!r})",
            "fit it anew: python -m bindrae.prediction.surroundings_fit DATA MODEL",
        ) from None


def descriptors(near: Near) -> csr_matrix:
    """How much of each learnt vector each atom's neighbours make up.

    Parameters
    ----------
    near : Near
        With A atoms.

    Returns
    -------
    scipy.sparse.csr_matrix
        [A, channels * steps * angles] float32.
    """
    low, part, beyond = _steps()
    width = len(STEPS) * N_ANGLES
    columns = near.channel.astype(np.int32) * width + (low * N_ANGLES)[near.distance]
    places = columns[:, None] + np.arange(2 * N_ANGLES, dtype=np.int32)
    weight = near.weight * np.float32(1 / 255)
    own, other = (cosine * np.float32(1 / 127) for cosine in (near.own_cosine, near.other_cosine))
    values = np.empty((len(weight), 2 * N_ANGLES), np.float32)
    for place, share in ((0, (1 - part)[near.distance]), (N_ANGLES, beyond[near.distance])):
        share = share * weight
        values[:, place], values[:, place + 1], values[:, place + 2] = share, share * own, share * other
        values[:, place + 3] = values[:, place + 1] * other
    shape = (len(near.atom), len(CHANNELS) * width)
    return csr_matrix((values.ravel(), places.ravel(), 2 * N_ANGLES * near.first), shape)


@cache
def _steps() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of the 256 distances: the step before, how far it is beyond, and the weight of the step behind."""
    distance = NEAREST + np.arange(256) * (REACH - NEAREST) / 255
    low = np.clip(np.searchsorted(STEPS, distance, side="right") - 1, 0, len(STEPS) - 2)
    part = (distance - np.array(STEPS)[low]) / np.diff(STEPS)[low]
    # What is at REACH has no weight, so that nothing jumps there.
    beyond = np.where(low == len(STEPS) - 2, 0.0, part)
    return low.astype(np.int32), part.astype(np.float32), beyond.astype(np.float32)


class _SparseProduct(torch.autograd.Function):
    """A fixed sparse matrix times weights: much faster than to look up each neighbour's vectors, and back."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, weights: Tensor, table: csr_matrix) -> Tensor:
        ctx.table = table  # type: ignore[attr-defined]
        return torch.as_tensor(table @ weights.detach().numpy())

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, slope: Tensor) -> tuple[Tensor, None]:
        return torch.as_tensor(ctx.table.T @ slope.contiguous().numpy()), None  # type: ignore[attr-defined]
