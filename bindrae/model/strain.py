"""What bonds and angles of the given backbone tell of its side chains: a part of the model.

Frames and torsions leave out bond lengths, angles and planarity, which depend on the rotamer
(`bindrae.geometry.backbone_strain`). A small network says how likely each chi1 is given the types and torsions of a
residue and the two to either side, once with their geometry and once without. The ratio of both is what geometry adds:
the model's own distribution of chi1 is multiplied by it, so that what both know already is in neither twice, and the
rest of the model reads it. How far the geometry of the whole structure is from the usual is told as well, since one of
low resolution, or with errors, is not to be believed. The network is fitted before the model is trained
(`bindrae.training.strain_fit`), and stays as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bindrae.chem import residues as aa
from bindrae.geometry.backbone_strain import NAMES, BackboneStrain

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

    kinds: Tensor  # [..., N, 5] int64 types of the residues from two before to two after; `aa.N_TYPES` beyond the chain
    torsions: Tensor  # [..., N, 5 * 12] of the same residues
    values: Tensor  # [..., N, 5 * 11] of the same residues, see `BackboneStrain`
    known: Tensor  # [..., N, 11] bool, of the residue's own values
    usual: Tensor  # [..., N, 11] root mean square of the values over the whole structure

    @classmethod
    def of(cls, strain: BackboneStrain, aatype: Tensor, linked: Tensor) -> Strained:
        """Gather what the network reads.

        Parameters
        ----------
        strain : BackboneStrain
            Of one structure, or of several padded to the same length.
        aatype : Tensor
            [..., N] types.
        linked : Tensor
            [..., N] bool, peptide bond to the next row.
        """
        n = aatype.shape[-1]
        chain = F.pad(torch.cumsum(~linked[..., :-1], -1), (1, 0))
        at = torch.arange(n, device=aatype.device).unsqueeze(-1)
        at = at + torch.arange(-_REACH, _REACH + 1, device=aatype.device)
        place = at.clamp(0, n - 1)
        there = (at == place) & (chain[..., place] == chain.unsqueeze(-1))

        def around(x: Tensor) -> Tensor:
            return (x[..., place, :] * there.unsqueeze(-1)).flatten(-2)

        sine, cosine = strain.torsions.unbind(-1)
        double = torch.stack([2 * sine * cosine, cosine**2 - sine**2], -1)
        count = strain.known.sum(-2, keepdim=True).clamp_min(1)
        usual = ((strain.values**2).sum(-2, keepdim=True) / count).sqrt()
        return cls(
            torch.where(there, aatype[..., place], aa.N_TYPES),
            around(torch.cat([strain.torsions, double], -1).flatten(-2)),
            around(strain.values),
            strain.known,
            usual.expand_as(strain.values),
        )

    def take(self, rows: Tensor) -> Strained:
        """Some of the residues of one structure."""
        return Strained(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


class StrainNetwork(nn.Module):
    """Distributions of chi1, with the backbone's geometry and without."""

    def __init__(self) -> None:
        super().__init__()
        self.from_kinds = nn.Parameter(torch.empty(_PLACES, aa.N_TYPES + 1, _WIDTH))
        nn.init.normal_(self.from_kinds, std=0.3)
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
            [..., N] bool, whether the geometry is read.

        Returns
        -------
        Tensor
            [..., N, 36] logarithms of probabilities; bin b reaches from 10 b to 10 b + 10 degrees.
        """
        geometry = torch.cat([residues.values, residues.known.to(residues.values.dtype), residues.usual], -1)
        geometry = torch.cat([geometry, torch.ones_like(geometry[..., :1])], -1) * told.unsqueeze(-1)
        place = torch.arange(_PLACES, device=told.device)
        x = self.from_kinds[place, residues.kinds].sum(-2) + self.from_torsions(residues.torsions)
        x = self._drop(F.silu(x + self.from_strain(geometry)))
        x = self._drop(F.silu(self.first(x)))
        x = F.silu(self.second(x))
        return torch.log_softmax(self.last(x), -1)

    def gain(self, residues: Strained) -> Tensor:
        """[..., N, 36] logarithm of what geometry multiplies the probability of each chi1 by."""
        told = torch.ones(residues.kinds.shape[:-1], dtype=torch.bool, device=residues.kinds.device)
        return self(residues, told) - self(residues, ~told)

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, _DROPOUT, self.training)


class BackboneGeometry(nn.Module):
    """What the model is told of a backbone's geometry.

    Nothing, as long as the network is not fitted; then first of all chi1, and what else training makes of it.

    Parameters
    ----------
    c_s : int
        Width of a residue.
    """

    def __init__(self, c_s: int) -> None:
        super().__init__()
        self.network = StrainNetwork().requires_grad_(False)
        self.to_residue = nn.Sequential(nn.Linear(BINS, c_s), nn.GELU(), nn.Linear(c_s, c_s))
        for last in (self.network.last, self.to_residue[-1]):
            for parameter in last.parameters():
                nn.init.zeros_(parameter)
        self.scale = nn.Parameter(torch.ones(()))

    def train(self, mode: bool = True) -> BackboneGeometry:
        """As of any module; the network, which is fitted already, drops nothing."""
        super().train(mode)
        self.network.eval()
        return self

    @property
    def fitted(self) -> bool:
        """Whether the network says anything."""
        return bool(self.network.last.weight.any())

    @torch.no_grad()
    def gain(self, residues: Strained, read: Tensor) -> Tensor:
        """What geometry multiplies the probability of each chi1 by.

        Parameters
        ----------
        residues : Strained
        read : Tensor
            [..., N] bool, residues whose geometry is to be read.

        Returns
        -------
        Tensor
            [..., N, 36] logarithms; 0 of residues that have no chi1 or are not to be read.
        """
        with_chi1 = torch.as_tensor(aa.CHI_MASK, device=read.device)[residues.kinds[..., _REACH], 0]
        with torch.autocast(read.device.type, enabled=False):
            return self.network.gain(residues) * (read & with_chi1).unsqueeze(-1)

    def forward(self, gain: Tensor) -> Tensor:
        """[..., N, c_s] what the rest of the model reads of a `gain`."""
        said: Tensor = self.to_residue(gain)
        return said * (gain != 0).any(-1, keepdim=True)

    def at(self, gain: Tensor, chi1: Tensor) -> Tensor:
        """[..., N, K] logarithms to add to those of the model's probabilities at some chi1 [K] (radians)."""
        return self.scale * between_bins(gain, chi1.expand(*gain.shape[:-1], -1))


def between_bins(values: Tensor, chi1: Tensor) -> Tensor:
    """Values given at the centres of the bins, [..., 36], at chi1 [..., K] (radians) between them."""
    at = chi1 / (2 * math.pi) * BINS - 0.5
    low = at.floor()
    share = at - low
    below = torch.remainder(low.long(), BINS)
    return values.gather(-1, below) * (1 - share) + values.gather(-1, torch.remainder(below + 1, BINS)) * share
