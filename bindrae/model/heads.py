"""Torsion heads: one mean direction, or bins that can hold several modes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
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


class ChiHead(nn.Module):
    """Bins, with an in-bin offset, for each chi given those before it; decodes the mode, never the mean."""

    bins: int
    """Bins of 2 pi."""
    centres: Tensor

    def torsions(self, s: Tensor, known: Tensor, aatype: Tensor) -> TorsionPrediction:
        """Torsions of which those of the backbone count; arguments as for `TorsionHead`."""
        raise NotImplementedError

    def prepare(self, s: Tensor, aatype: Tensor) -> Tensor:
        """[B, N, c] what `ask` is to be given of residues, whatever chi it is asked about."""
        raise NotImplementedError

    def ask(self, k: int, prepared: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """The distribution of one chi.

        Parameters
        ----------
        k : int
            Which, from 0.
        prepared : Tensor
            [B, N, c] from `prepare`.
        before : Tensor
            [B, N, 2 k] (sin, cos) of the chis before it.

        Returns
        -------
        logits, offsets : Tensor
            [B, N, bins]; offsets of each mode from its bin's centre in radians.
        """
        raise NotImplementedError

    def forward(self, s: Tensor, known: Tensor, aatype: Tensor, true_chi: Tensor | None) -> TorsionPrediction:
        """Torsions and the chis' distributions; arguments as for `TorsionHead`.

        Parameters
        ----------
        true_chi : Tensor or None
            [B, N, 4, 2] (sin, cos): each chi is then conditioned on the true ones before it (training). None
            conditions on the decoded ones (prediction).
        """
        base = self.torsions(s, known, aatype)
        prepared = self.prepare(s, aatype)
        circles: list[Tensor] = []
        logits, offsets = [], []
        before = base.circle.new_zeros(*aatype.shape, 0)
        for k in range(aa.N_CHI):
            said = self.ask(k, prepared, before)
            logits.append(said[0])
            offsets.append(said[1])
            circles.append(angles_to_circle(self.decode(*said)))
            before = torch.cat([before, circles[k] if true_chi is None else true_chi[..., k, :]], dim=-1)
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


class MultimodalHead(ChiHead):
    """Distributions from one representation of each residue.

    What it is given of a residue may be wider by the number of bins: the rest are logarithms that are added to those of
    the distribution of chi1.

    Parameters
    ----------
    c_s : int
    bins : int
        Bins of 2 pi; even, so that a pi-periodic chi has two bins half a turn apart.
    """

    def __init__(self, c_s: int, bins: int) -> None:
        super().__init__()
        if bins % 2:
            raise ValueError(f"chi_bins must be even, not {bins}")
        self.c_s, self.bins = c_s, bins
        self.backbone = TorsionHead(c_s)
        self.types = nn.Embedding(aa.N_TYPES, c_s)
        self.hidden = nn.Sequential(nn.LayerNorm(c_s), nn.Linear(c_s, c_s), nn.GELU())
        self.previous = nn.ModuleList(nn.Linear(2 * k, c_s) if k else nn.Identity() for k in range(aa.N_CHI))
        self.output = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(c_s), nn.Linear(c_s, c_s), nn.GELU(), nn.Linear(c_s, 2 * bins))
            for _ in range(aa.N_CHI)
        )
        self.register_buffer("centres", bin_centres(bins), persistent=False)

    def torsions(self, s: Tensor, known: Tensor, aatype: Tensor) -> TorsionPrediction:
        """As `ChiHead.torsions`."""
        out: TorsionPrediction = self.backbone(s[..., : self.c_s], known, aatype, None)
        return out

    def prepare(self, s: Tensor, aatype: Tensor) -> Tensor:
        """As `ChiHead.prepare`."""
        said: Tensor = self.hidden(s[..., : self.c_s] + self.types(aatype))
        return torch.cat([said, s[..., self.c_s :]], dim=-1)

    def ask(self, k: int, prepared: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """As `ChiHead.ask`."""
        x, gain = prepared[..., : self.c_s], prepared[..., self.c_s :]
        if k:
            x = x + self.previous[k](before.to(x.dtype))
        logits, offset = self.output[k](x).float().chunk(2, dim=-1)
        if not k and gain.shape[-1]:
            logits = logits + gain.float()
        return logits, torch.tanh(offset) * (math.pi / self.bins)


class EnsembleHead(ChiHead):
    """The mean of the probabilities of several heads, each of which reads its own part of the representation.

    Of probabilities, not of their logarithms: a mode that one head alone believes in stays open for refinement.

    Parameters
    ----------
    heads : sequence of MultimodalHead
        Of the same width and bins.

    Raises
    ------
    ValueError
        When their bins differ.
    """

    def __init__(self, heads: Sequence[MultimodalHead]) -> None:
        super().__init__()
        if len({head.bins for head in heads}) != 1:
            raise ValueError(f"heads must have the same bins, not {[head.bins for head in heads]}")
        self.heads = nn.ModuleList(heads)
        self.bins = heads[0].bins
        self.register_buffer("centres", bin_centres(self.bins), persistent=False)

    def torsions(self, s: Tensor, known: Tensor, aatype: Tensor) -> TorsionPrediction:
        """As `ChiHead.torsions`, the mean directions of the heads'."""
        parts = [head.torsions(x, known, aatype).circle for head, x in self._each(s)]
        raw = torch.stack(parts).mean(0)
        return TorsionPrediction(unit_circle(raw), raw, None, None)

    def prepare(self, s: Tensor, aatype: Tensor) -> Tensor:
        """As `ChiHead.prepare`, the heads' one beside the other."""
        return torch.cat([head.prepare(x, aatype) for head, x in self._each(s)], dim=-1)

    def ask(self, k: int, prepared: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """As `ChiHead.ask`; a bin's offset is that of the heads, weighted by the probability each gives to it."""
        said = [head.ask(k, x, before) for head, x in self._each(prepared)]
        log_p = torch.stack([torch.log_softmax(logits, -1) for logits, _ in said])
        offsets = torch.stack([offset for _, offset in said])
        return torch.logsumexp(log_p, 0) - math.log(len(said)), (torch.softmax(log_p, 0) * offsets).sum(0)

    def _each(self, x: Tensor) -> Iterator[tuple[MultimodalHead, Tensor]]:
        return zip(self.heads, x.chunk(len(self.heads), dim=-1), strict=True)  # type: ignore[arg-type]


def bin_centres(bins: int) -> Tensor:
    """Centres of equal bins over (-pi, pi], [bins] radians."""
    return (torch.arange(bins) + 0.5) * (2 * math.pi / bins) - math.pi
