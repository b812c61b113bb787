"""Candidate side chains of each residue, from the head's distributions: each chi given those before it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from bindrae.chem import residues as aa
from bindrae.data.batch import IPABatch
from bindrae.geometry.kinematics import angles_to_circle
from bindrae.model.context import KnownSidechains
from bindrae.model.ensemble import Decoder
from bindrae.model.heads import ChiHead, TorsionHead, bin_centres
from bindrae.model.stage1 import Stage1Output
from bindrae.structure.torsions import CHI1

WITHIN = math.radians(20.0)
"""Half width of a mode: what lies within counts as the same conformation, as in the chi accuracies."""
_PEAKS = (5, 5, 4, 4)  # modes of each chi that are followed up
_FEWEST_NATS = 9.0  # a candidate this much less likely than the best one is left out
_SPREAD = (math.radians(3.0), math.radians(12.0))
_ROWS = 2048  # residues whose candidates are made together


@dataclass
class HeadInputs:
    """What the torsion head was given in the last pass: enough to ask it again under other chis."""

    head: ChiHead | TorsionHead
    s: Tensor  # [1, N, c_s]
    aatype: Tensor  # [1, N]

    @cached_property
    def _prepared(self) -> Tensor:
        """[1, N, c]."""
        return self._chi_head.prepare(self.s, self.aatype)

    @property
    def tells(self) -> bool:
        """Whether the head gives distributions, and can be asked about other chis."""
        return isinstance(self.head, ChiHead)

    @property
    def _chi_head(self) -> ChiHead:
        if not isinstance(self.head, ChiHead):
            raise TypeError("a head without distributions cannot be asked about chis")
        return self.head

    def ask_one(self, rows: Tensor, chi: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Distribution of one chi, given those of `chi` before it.

        Parameters
        ----------
        rows : Tensor
            [R] residues.
        chi : Tensor
            [R, 4] radians.
        k : int
            Which, from 0.

        Returns
        -------
        logits, offsets : Tensor
            [R, bins].
        """
        logits, offsets = self._chi_head.ask(k, self._prepared[:, rows], angles_to_circle(chi[:, :k]).flatten(-2)[None])
        return logits[0], offsets[0]

    def ask(self, rows: Tensor, chi: Tensor) -> tuple[Tensor, Tensor]:
        """Distributions of all four chis, as `ask_one` gives them, [R, 4, bins] both."""
        logits, offsets = zip(*(self.ask_one(rows, chi, k) for k in range(aa.N_CHI)), strict=True)
        return torch.stack(logits, 1), torch.stack(offsets, 1)


@dataclass
class Rotamers:
    """K candidate side chains of N residues, the model's own choice first."""

    chi: Tensor  # [N, K, 4] radians
    log_p: Tensor  # [N, K] logarithm of the probability mass within 20 degrees; -inf where there is no candidate
    spread: Tensor  # [N, K, 4] radians, standard deviation within each mode
    inputs: HeadInputs | None = None  # of a head that can be asked about other angles


@torch.inference_mode()
def run_model(
    model: Decoder, batch: IPABatch, known: KnownSidechains | None = None, geometry: bool = True
) -> tuple[Stage1Output, HeadInputs]:
    """Run the model on a batch of one complex, and keep what its head was given.

    Parameters
    ----------
    model : Stage1 or Ensemble
    batch : IPABatch
    known : KnownSidechains, optional
        Side chains to show throughout.
    geometry : bool
        Whether bonds and angles of the backbone are read, by a model that can.

    Raises
    ------
    ValueError
        When the batch holds several complexes.
    """
    if len(batch.pdb_ids) != 1:
        raise ValueError(f"one complex at a time, not {len(batch.pdb_ids)}")
    given: list[tuple[Tensor, ...]] = []
    handle = model.head.register_forward_pre_hook(lambda _, arguments: given.append(arguments))
    try:
        output = model(replace(batch, geometry=batch.geometry & geometry), known=known)
    finally:
        handle.remove()
    s, _, aatype, _ = given[-1]
    return output, HeadInputs(model.head, s, aatype)


@torch.inference_mode()
def propose_rotamers(output: Stage1Output, inputs: HeadInputs, movable: Tensor, count: int = 24) -> Rotamers:
    """The most likely side chains of each residue.

    A beam search: of each chi the modes (at least 20 degrees apart) are taken given each kept combination of the chis
    before. Half a turn of a pi-periodic chi is the same conformation and appears once.

    Parameters
    ----------
    output, inputs
        From `run_model`.
    movable : Tensor
        [N] bool; other residues have their first candidate alone.
    count : int
        Candidates at most.
    """
    decoded = torch.atan2(*output.torsions.circle[0, :, CHI1:].unbind(-1))
    n = len(decoded)
    if not inputs.tells:
        width = torch.full((n, 1, aa.N_CHI), math.radians(10.0))
        return Rotamers(decoded.unsqueeze(1), torch.zeros(n, 1), width)
    parts = [
        _search(inputs, decoded[start : start + _ROWS], movable[start : start + _ROWS], start, count)
        for start in range(0, n, _ROWS)
    ]
    chi, log_p, spread = (torch.cat(column) for column in zip(*parts, strict=True))
    return Rotamers(chi, log_p, spread, inputs)


def _search(inputs: HeadInputs, decoded: Tensor, movable: Tensor, start: int, count: int) -> tuple[Tensor, ...]:
    n = len(decoded)
    kind = inputs.aatype[0, start : start + n]
    has_chi = torch.as_tensor(aa.CHI_MASK)[kind]
    periodic = torch.as_tensor(aa.CHI_PI_PERIODIC)[kind]
    chi = decoded.unsqueeze(1).repeat(1, count, 1)
    log_p = torch.full((n, count), -torch.inf)
    log_p[:, 0] = 0.0
    spread = torch.full((n, count, aa.N_CHI), _SPREAD[1])
    for k in range(aa.N_CHI):
        rows = torch.nonzero(has_chi[:, k] & movable).squeeze(-1)
        row, place = torch.nonzero(torch.isfinite(log_p[rows]), as_tuple=True)
        if not len(row):
            continue
        own = rows[row]
        logits, offsets = inputs.ask_one(own + start, chi[own, place], k)
        angle, mass, width = modes(logits, offsets, periodic[own, k], _PEAKS[k])
        # The first mode of the first candidate is the model's own decoding, and stays first whatever its mass.
        new = torch.full((len(rows), count, _PEAKS[k]), -torch.inf)
        new[row, place] = log_p[own, place].unsqueeze(-1) + mass.log()
        angles, widths = torch.zeros_like(new), torch.full_like(new, _SPREAD[1])
        angles[row, place], widths[row, place] = angle, width
        flat = new.flatten(1)
        ranked = flat.clone()
        ranked[:, 0] = torch.inf
        best = torch.topk(ranked, count, dim=1).indices
        parent = best // _PEAKS[k]
        chi[rows] = torch.gather(chi[rows], 1, parent.unsqueeze(-1).expand(-1, -1, aa.N_CHI))
        spread[rows] = torch.gather(spread[rows], 1, parent.unsqueeze(-1).expand(-1, -1, aa.N_CHI))
        chi[rows, :, k] = torch.gather(angles.flatten(1), 1, best)
        spread[rows, :, k] = torch.gather(widths.flatten(1), 1, best)
        kept = torch.gather(flat, 1, best)
        unlikely = kept < kept.amax(1, keepdim=True) - _FEWEST_NATS
        unlikely[:, 0] = False
        log_p[rows] = kept.masked_fill(unlikely, -torch.inf)
    chi[:, 0] = decoded
    return chi, log_p, spread


def modes(logits: Tensor, offsets: Tensor, periodic: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The modes of distributions over bins, most likely bin first.

    Parameters
    ----------
    logits, offsets : Tensor
        [R, bins].
    periodic : Tensor
        [R] bool, half a turn is the same.
    count : int
        Modes.

    Returns
    -------
    angle, mass, spread : Tensor
        [R, count]: angle of the mode (radians), probability within 20 degrees that no earlier mode has, and standard
        deviation there (radians).
    """
    bins = logits.shape[-1]
    p = torch.softmax(logits, -1)
    at = bin_centres(bins) + offsets
    folded = torch.where(periodic.unsqueeze(-1), p + p.roll(bins // 2, -1), p)
    left = torch.ones_like(p, dtype=torch.bool)
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for _ in range(count):
        best = torch.where(left, p, -1.0).argmax(-1, keepdim=True)
        angle = torch.gather(at, -1, best)
        away = wrap(at - angle)
        near = (away.abs() <= WITHIN) & left
        weight = folded * near
        mass = weight.sum(-1)
        spread = ((weight * away**2).sum(-1) / mass.clamp_min(1e-9)).sqrt().clamp(*_SPREAD)
        found.append((angle.squeeze(-1), mass.clamp_min(1e-9), spread))
        # Half a turn away: what stands there, and what was counted here, which need not stand at exactly half a turn.
        opposite = (wrap(away - math.pi).abs() <= WITHIN) | near.roll(bins // 2, -1)
        left = left & ~(away.abs() <= WITHIN) & ~(periodic.unsqueeze(-1) & opposite)
    angles, masses, spreads = zip(*found, strict=True)
    return torch.stack(angles, -1), torch.stack(masses, -1), torch.stack(spreads, -1)


def wrap(angle: Tensor) -> Tensor:
    """Angles in [-pi, pi)."""
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


@dataclass
class Density:
    """What the model says of the chis of R residues near given values, each chi given those before it."""

    p: Tensor  # [R, 4, bins] probability of each bin
    away: Tensor  # [R, 4, bins] turn from the given value to the bin (radians), the nearest of a periodic chi's two

    def within(self, angle: float) -> Tensor:
        """[R, 4] probability mass at turns of at most `angle` (radians) to either side."""
        return (self.p * (self.away.abs() <= angle)).sum(-1).clamp(0.0, 1.0)

    def smoothed(self, turns: Tensor, width: float) -> Tensor:
        """Probability at some turns, each bin taken for a normal distribution.

        Each bin is shared between the two nearest points of a fine grid first, for which the normal distributions are
        found once for all residues.

        Parameters
        ----------
        turns : Tensor
            [T] radians.
        width : float
            Standard deviation (radians).

        Returns
        -------
        Tensor
            [R, 4, T]; 1 where one bin that is sure stands.
        """
        step, end = width / 4, float(turns.abs().max()) + 4 * width
        grid = torch.arange(-math.ceil(end / step), math.ceil(end / step) + 1) * step
        at = (self.away - grid[0]) / step
        low = at.floor().clamp(0, len(grid) - 2)
        beyond = at - low
        # Bins that are farther than the grid reaches count nowhere.
        p = torch.where((beyond >= 0) & (beyond <= 1), self.p, 0.0)
        mass = p.new_zeros(*p.shape[:-1], len(grid))
        for place, share in ((low.long(), 1 - beyond), (low.long() + 1, beyond)):
            mass.scatter_add_(-1, place, p * share)
        return mass @ torch.exp(-0.5 * ((grid[:, None] - turns) / width) ** 2)


@torch.inference_mode()
def density_around(inputs: HeadInputs, rows: Tensor, chi: Tensor) -> Density:
    """Ask the head about chis near given values.

    Parameters
    ----------
    inputs : HeadInputs
        Of a head with a distribution.
    rows : Tensor
        [R] residues.
    chi : Tensor
        [R, 4] radians.
    """
    logits, offsets = inputs.ask(rows, chi)
    bins = bin_centres(logits.shape[-1]) + offsets
    return Density(torch.softmax(logits, -1), turn_between(chi.unsqueeze(-1), bins, inputs.aatype[0, rows]))


def turn_between(start: Tensor, end: Tensor, aatype: Tensor) -> Tensor:
    """The shortest turn (radians) from one chi to another, to the nearer place where half a turn is the same.

    Parameters
    ----------
    start, end : Tensor
        [R, 4] radians, or both with one more dimension.
    aatype : Tensor
        [R] types.
    """
    turn = wrap(end - start)
    periodic = torch.as_tensor(aa.CHI_PI_PERIODIC)[aatype]
    if turn.dim() > periodic.dim():
        periodic = periodic.unsqueeze(-1)
    return torch.where(periodic, torch.remainder(turn + math.pi / 2, math.pi) - math.pi / 2, turn)


def mass_around(inputs: HeadInputs, chi: Tensor) -> Tensor | None:
    """Probability that each chi lies within 20 degrees of a value, given the values of the chis before it.

    Parameters
    ----------
    inputs : HeadInputs
    chi : Tensor
        [N, 4] radians.

    Returns
    -------
    Tensor or None
        [N, 4] in [0, 1], 1 for chis that a residue lacks; None for a head without a distribution.
    """
    if not inputs.tells:
        return None
    mass = density_around(inputs, torch.arange(len(chi)), chi).within(WITHIN)
    return torch.where(torch.as_tensor(aa.CHI_MASK)[inputs.aatype[0]], mass, 1.0)


def chi1_probability(inputs: HeadInputs, circle: Tensor) -> np.ndarray | None:
    """[N] the model's probability that chi1 is within 20 degrees of that of `circle` [N, 7, 2], see `mass_around`."""
    mass = mass_around(inputs, torch.atan2(*circle[:, CHI1:].unbind(-1)))
    return None if mass is None else mass[:, 0].double().numpy()
