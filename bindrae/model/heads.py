"""Torsion heads: one mean direction, or bins that can hold several modes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bindrae.chem import residues as aa
from bindrae.geometry.kinematics import angles_to_circle, unit_circle
from bindrae.structure.torsions import CHI1

N_TORSIONS = 7


@dataclass
class TorsionPrediction:
    """What a head says of N residues."""

    circle: Tensor  # [B, N, 7, 2] (sin, cos) of the decoded torsions, on the unit circle
    raw: Tensor  # [B, N, 7, 2] before normalisation
    chi_logits: Tensor | None  # [B, N, 4, bins] of the multimodal head
    chi_offsets: Tensor | None  # [B, N, 4, bins] angle of each mode from its bin's centre (radians)


class TorsionHead(nn.Module):
    """(sin, cos) of seven torsions: LayerNorm, two layers, added to the input backbone's own torsions.

    Parameters
    ----------
    c_s : int
    """

    def __init__(self, c_s: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.LayerNorm(c_s),
            nn.Linear(c_s, c_s),
            nn.GELU(),
            nn.Linear(c_s, c_s),
            nn.GELU(),
            nn.Linear(c_s, N_TORSIONS * 2),
        )

    def forward(self, s: Tensor, known: Tensor, aatype: Tensor, true_chi: Tensor | None) -> TorsionPrediction:
        """Torsions.

        Parameters
        ----------
        s : Tensor
            [B, N, c_s].
        known : Tensor
            [B, N, 3, 2] (sin, cos) of phi, psi, omega of the input; 0 where undefined.
        aatype : Tensor
            [B, N]; unused, the same call as the multimodal head's.
        true_chi : Tensor or None
            Unused here.
        """
        raw = self.net(s).float().unflatten(-1, (N_TORSIONS, 2))
        raw = torch.cat([raw[..., :CHI1, :] + known.float(), raw[..., CHI1:, :]], dim=-2)
        return TorsionPrediction(unit_circle(raw), raw, None, None)


class MultimodalHead(nn.Module):
    """Chi angles as bins with an in-bin offset, chi1 to chi4 each given those before; decodes the mode, never the mean.

    Parameters
    ----------
    c_s : int
    bins : int
        Bins of 2 pi; even, so that a pi-periodic chi has two bins half a turn apart.
    """

    centres: Tensor

    def __init__(self, c_s: int, bins: int) -> None:
        super().__init__()
        if bins % 2:
            raise ValueError(f"chi_bins must be even, not {bins}")
        self.bins = bins
        self.backbone = TorsionHead(c_s)
        self.types = nn.Embedding(aa.N_TYPES, c_s)
        self.hidden = nn.Sequential(nn.LayerNorm(c_s), nn.Linear(c_s, c_s), nn.GELU())
        self.previous = nn.ModuleList(nn.Linear(2 * k, c_s) if k else nn.Identity() for k in range(aa.N_CHI))
        self.output = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(c_s), nn.Linear(c_s, c_s), nn.GELU(), nn.Linear(c_s, 2 * bins))
            for _ in range(aa.N_CHI)
        )
        self.register_buffer("centres", bin_centres(bins), persistent=False)

    def forward(self, s: Tensor, known: Tensor, aatype: Tensor, true_chi: Tensor | None) -> TorsionPrediction:
        """Torsions and the chis' distributions; arguments as for `TorsionHead`.

        Parameters
        ----------
        true_chi : Tensor or None
            [B, N, 4, 2] (sin, cos): each chi is then conditioned on the true ones before it (training). None
            conditions on the decoded ones (prediction).
        """
        base = self.backbone(s, known, aatype, None)
        h = self.hidden(s + self.types(aatype))
        circles: list[Tensor] = []
        logits, offsets = [], []
        for k in range(aa.N_CHI):
            x = h
            if k:
                before = torch.cat(circles, dim=-1) if true_chi is None else true_chi[..., :k, :].flatten(-2)
                x = h + self.previous[k](before.to(h.dtype))
            raw_logits, raw_offset = self.output[k](x).float().chunk(2, dim=-1)
            logits.append(raw_logits)
            offsets.append(torch.tanh(raw_offset) * (math.pi / self.bins))
            circles.append(angles_to_circle(self.decode(logits[-1], offsets[-1])))
        chi = torch.stack(circles, dim=-2)
        return TorsionPrediction(
            circle=torch.cat([base.circle[..., :CHI1, :], chi], dim=-2),
            raw=torch.cat([base.raw[..., :CHI1, :], chi], dim=-2),
            chi_logits=torch.stack(logits, dim=-2),
            chi_offsets=torch.stack(offsets, dim=-2),
        )

    def decode(self, logits: Tensor, offsets: Tensor) -> Tensor:
        """Angle of the most likely bin, with its offset: [..., bins] twice to [...] radians."""
        best = logits.argmax(-1, keepdim=True)
        return (self.centres[best] + torch.gather(offsets, -1, best)).squeeze(-1)


def bin_centres(bins: int) -> Tensor:
    """Centres of equal bins over (-pi, pi], [bins] radians."""
    return (torch.arange(bins) + 0.5) * (2 * math.pi / bins) - math.pi
