"""Ligand conditioning: residues attend to tokens seen in their own frames, and are modulated by what they find."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from bindrae.geometry.rigid import Frames

_NM = 0.1
_QUERY_CHUNK = 1024
_FADE_ANGSTROM = 2.0


class LigandConditioner(nn.Module):
    """Cross-attention to the ligand tokens, then FiLM (Perez et al., AAAI 2018): S -> (1 + l gamma) S + l beta.

    A token's coordinates enter in the frame of the residue that looks at it, so that nothing depends on where the
    complex stands.

    Parameters
    ----------
    c_s : int
        Width of the residue representation.
    d_lig : int
        Width of a token.
    num_heads : int
        Attention heads; divides `d_lig`.
    n_types : int
        Width of a token's type.
    warmup_steps : int
        Steps over which lambda goes from 0 to 1.
    reach : float or None
        Residues whose CA is farther than this from every token are left as they are (A), which spares most of the work
        in a large protein; None modulates all.
    """

    def __init__(
        self, c_s: int, d_lig: int, num_heads: int, n_types: int, warmup_steps: int, reach: float | None = None
    ) -> None:
        super().__init__()
        if d_lig % num_heads:
            raise ValueError(f"num_heads ({num_heads}) must divide d_lig ({d_lig})")
        self.heads, self.warmup_steps, self.reach = num_heads, warmup_steps, reach
        self.embed = nn.Sequential(
            nn.Linear(3 + n_types, d_lig), nn.LayerNorm(d_lig), nn.GELU(), nn.Linear(d_lig, d_lig)
        )
        self.norm = nn.LayerNorm(c_s)
        self.query = nn.Linear(c_s, d_lig)
        self.key = nn.Linear(d_lig, d_lig, bias=False)  # a bias would be the same for all tokens
        self.value = nn.Linear(d_lig, d_lig)
        self.out = nn.Linear(d_lig, c_s)
        self.gamma = nn.Linear(c_s, c_s)
        self.beta = nn.Linear(c_s, c_s)
        for linear, bias in ((self.gamma, 1.0), (self.beta, 0.0)):
            nn.init.normal_(linear.weight, std=0.01)
            nn.init.constant_(linear.bias, bias)

    def strength(self, step: int) -> float:
        """lambda at a training step."""
        return 1.0 if self.warmup_steps == 0 else min(1.0, step / self.warmup_steps)

    def forward(self, s: Tensor, frames: Frames, points: Tensor, types: Tensor, mask: Tensor, step: int) -> Tensor:
        """Modulated residues.

        Parameters
        ----------
        s : Tensor
            [B, N, c_s].
        frames : (R [B, N, 3, 3], t [B, N, 3])
            Angstrom.
        points, types, mask : Tensor
            [B, M, 3] (A), [B, M, n_types], [B, M] bool.
        step : int
            Training steps done, for lambda.

        Returns
        -------
        Tensor
            [B, N, c_s]; rows out of reach of every token as they were.
        """
        if points.shape[1] == 0:
            return s
        near = self._nearness(frames[1], points, mask)
        rows = torch.nonzero(near, as_tuple=True)
        R, t = frames
        found = [
            self._attend(s[at], R[at], t[at], points, types, mask, at[0])
            for at in zip(*(index.split(_QUERY_CHUNK) for index in rows), strict=True)
        ]
        if not found:
            return s
        seen, own = torch.cat(found), s[rows]
        strength = self.strength(step) * near[rows].unsqueeze(-1)
        return s.index_put(rows, (own + strength * (self.gamma(seen) * own + self.beta(seen))).to(s.dtype))

    @torch.no_grad()
    def _nearness(self, t: Tensor, points: Tensor, mask: Tensor) -> Tensor:
        """[B, N] in [0, 1]: 1 within the reach of a token, falling to 0 over its last 2 A."""
        if self.reach is None:
            return mask.any(-1, keepdim=True).to(t.dtype).expand(t.shape[:2])
        distance = torch.cdist(t, points, compute_mode="donot_use_mm_for_euclid_dist")
        nearest = distance.masked_fill(~mask.unsqueeze(1), torch.inf).amin(-1)
        inside = ((self.reach - nearest) / _FADE_ANGSTROM).clamp(0.0, 1.0)
        return inside * inside * (3 - 2 * inside)

    def _attend(
        self, s: Tensor, R: Tensor, t: Tensor, points: Tensor, types: Tensor, mask: Tensor, owner: Tensor
    ) -> Tensor:
        """What n residues [n, c_s], each of complex ``owner`` [n], find among its tokens: [n, c_s].

        A token looks different to every residue, so whatever is computed for each is computed n M times. The linear
        maps on both sides of the softmax are therefore moved to the residues: ``q . (K t) = (K^T q) . t`` and
        ``sum_m w_m (V t_m) = V sum_m w_m t_m``.
        """
        first, last = cast(nn.Linear, self.embed[0]), cast(nn.Linear, self.embed[3])
        linear = nn.functional.linear
        with torch.autocast(s.device.type, enabled=False):
            local = ((points[owner] - t.unsqueeze(1)) @ R) * _NM  # [n, M, 3]
        of_place, of_type = first.weight.split([3, first.in_features - 3], dim=1)
        token = self.embed[1:3](linear(local, of_place) + linear(types, of_type, first.bias)[owner])
        key = (self.key.weight @ last.weight).unflatten(0, (self.heads, -1))
        value = (self.value.weight @ last.weight).unflatten(0, (self.heads, -1))
        q = torch.einsum("nhc,hcd->nhd", self.query(self.norm(s)).unflatten(-1, (self.heads, -1)), key)
        token = token.to(q.dtype)
        logits = (q @ token.transpose(-1, -2)).float() / key.shape[1] ** 0.5
        weights = torch.softmax(logits.masked_fill(~mask[owner].unsqueeze(1), -torch.inf), dim=-1).to(q.dtype)
        seen = torch.einsum("nhd,hcd->nhc", weights @ token, value).flatten(-2)
        return self.out(seen + linear(last.bias, self.value.weight, self.value.bias).to(seen.dtype))


def create_ligand_conditioner(
    c_s: int, d_lig: int = 64, num_heads: int = 8, warmup_steps: int = 2000, n_types: int = 12,
    reach: float | None = None,
) -> LigandConditioner:  # fmt: skip
    """A `LigandConditioner` with the sizes of the baseline."""
    return LigandConditioner(c_s, d_lig, num_heads, n_types, warmup_steps, reach)
