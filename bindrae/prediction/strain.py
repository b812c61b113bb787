"""What the bonds and angles of a residue's own backbone tell about its chi1: a small network.

The model sees frames and torsions, and in training frames that are moved at random; it does not see a backbone's bond
lengths, angles and planarity, which depend on the rotamer (`bindrae.geometry.backbone_strain`). The network says how
likely each chi1 is given the types and torsions of a residue and the two to either side, once with their geometry and
once without. The ratio of both is what geometry adds, and multiplies the model's own probabilities: what
both know already is in neither twice. How far the geometry of the whole structure is from the usual is told as well,
since one of low resolution, or with errors, is not to be believed. Fitted by `bindrae fit`, as the likelihood of true
chi1, also on backbones with noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bindrae.chem import residues as aa
from bindrae.geometry.backbone_strain import NAMES, BackboneStrain
from bindrae.prediction.rotamers import Rotamers
from bindrae.prediction.stored_network import StoredNetwork

BINS = 36
"""Of chi1, over the whole turn."""
_WIDTH = 256
_DROPOUT = 0.05
_REACH = 2  # residues along the chain to either side that are read too
_PLACES = 2 * _REACH + 1
_TORSIONS = 2 * 2 * 3  # sine and cosine of phi, psi and omega, and of twice each


@dataclass
class Strained:
    """N residues with the geometry of their backbone."""

    kinds: Tensor  # [N, 5] int64 types of the residues from two before to two after; `aa.N_TYPES` beyond the chain
    torsions: Tensor  # [N, 5 * 12] of the same residues
    values: Tensor  # [N, 5 * 11] of the same residues, see `BackboneStrain`
    known: Tensor  # [N, 11] bool, of the residue's own values
    usual: Tensor  # [N, 11] root mean square of the values over the whole structure

    @classmethod
    def of(cls, strain: BackboneStrain, aatype: Tensor, linked: Tensor) -> Strained:
        """Gather what the network reads.

        Parameters
        ----------
        strain : BackboneStrain
        aatype : Tensor
            [N] types.
        linked : Tensor
            [N] bool, peptide bond to the next row.
        """
        n = len(aatype)
        chain = torch.cat([linked.new_zeros(1, dtype=torch.long), torch.cumsum(~linked[:-1], 0)])
        at = torch.arange(n).unsqueeze(-1) + torch.arange(-_REACH, _REACH + 1)
        place = at.clamp(0, n - 1)
        there = (at == place) & (chain[place] == chain.unsqueeze(-1))

        def around(x: Tensor) -> Tensor:
            return (x[place] * there.unsqueeze(-1)).flatten(1)

        sine, cosine = strain.torsions.unbind(-1)
        double = torch.stack([2 * sine * cosine, cosine**2 - sine**2], -1)
        usual = ((strain.values**2).sum(0) / strain.known.sum(0).clamp_min(1)).sqrt()
        return cls(
            torch.where(there, aatype[place], aa.N_TYPES),
            around(torch.cat([strain.torsions, double], -1).flatten(1)),
            around(strain.values),
            strain.known,
            usual.expand_as(strain.values),
        )

    def take(self, rows: Tensor) -> Strained:
        """Some of the residues."""
        return Strained(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


class StrainNetwork(StoredNetwork):
    """Distributions of chi1, with the backbone's geometry and without."""

    KEY, NAME = "strain", "network of the backbone's geometry"

    def __init__(self) -> None:
        super().__init__()
        self.from_kinds = nn.Parameter(0.3 * torch.randn(_PLACES, aa.N_TYPES + 1, _WIDTH))
        self.from_torsions = nn.Linear(_PLACES * _TORSIONS, _WIDTH)
        self.from_strain = nn.Linear((_PLACES + 2) * len(NAMES) + 1, _WIDTH, bias=False)
        self.first, self.second = nn.Linear(_WIDTH, _WIDTH), nn.Linear(_WIDTH, _WIDTH)
        self.last = nn.Linear(_WIDTH, BINS)

    def forward(self, residues: Strained, told: Tensor) -> Tensor:
        """How likely each chi1 is.

        Parameters
        ----------
        residues : Strained
        told : Tensor
            [N] bool, whether the geometry is read.

        Returns
        -------
        Tensor
            [N, 36] logarithms of probabilities; bin b reaches from 10 b to 10 b + 10 degrees.
        """
        geometry = torch.cat([residues.values, residues.known.float(), residues.usual], -1)
        geometry = torch.cat([geometry, torch.ones_like(geometry[:, :1])], -1) * told.unsqueeze(-1)
        place = torch.arange(_PLACES)
        x = self.from_kinds[place, residues.kinds].sum(1) + self.from_torsions(residues.torsions)
        x = self._drop(F.silu(x + self.from_strain(geometry)))
        x = self._drop(F.silu(self.first(x)))
        x = F.silu(self.second(x))
        return torch.log_softmax(self.last(x), -1)

    def gain(self, residues: Strained) -> Tensor:
        """[N, 36] logarithm of what geometry multiplies the probability of each chi1 by."""
        told = torch.ones(len(residues.kinds), dtype=torch.bool)
        return self(residues, told) - self(residues, ~told)

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, _DROPOUT, self.training)

    @staticmethod
    def about() -> dict[str, object]:
        return {"geometry": list(NAMES), "residues": _PLACES, "bins": BINS, "width": _WIDTH}


def between_bins(values: Tensor, chi1: Tensor) -> Tensor:
    """Values given at the centres of the bins, [N, 36], at chi1 [N, K] (radians) between them."""
    at = chi1 / (2 * math.pi) * BINS - 0.5
    low = at.floor()
    share = at - low
    below = torch.remainder(low.long(), BINS)
    return values.gather(1, below) * (1 - share) + values.gather(1, torch.remainder(below + 1, BINS)) * share


@torch.no_grad()
def weigh(rotamers: Rotamers, residues: Strained, network: StrainNetwork) -> Rotamers:
    """Candidates with what the backbone's geometry adds to their probabilities.

    Parameters
    ----------
    rotamers : Rotamers
        Of N residues.
    residues : Strained
        The same.
    network : StrainNetwork
    """
    gain = between_bins(network.gain(residues), rotamers.chi[..., 0])
    with_chi = torch.as_tensor(aa.CHI_MASK)[residues.kinds[:, _REACH], 0].unsqueeze(-1)
    counts = with_chi & torch.isfinite(rotamers.log_p)
    return replace(rotamers, log_p=torch.where(counts, rotamers.log_p + gain, rotamers.log_p))
