"""Ligand conditioning: residues attend to tokens seen in their own frames, and are modulated by what they find."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bindrae.geometry.rigid import Frames

_NM = 0.1
_QUERY_CHUNK = 1024


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
    """

    def __init__(self, c_s: int, d_lig: int, num_heads: int, n_types: int, warmup_steps: int) -> None:
        super().__init__()
        if d_lig % num_heads:
            raise ValueError(f"num_heads ({num_heads}) must divide d_lig ({d_lig})")
        self.heads, self.warmup_steps = num_heads, warmup_steps
        self.embed = nn.Sequential(
            nn.Linear(3 + n_types, d_lig), nn.LayerNorm(d_lig), nn.GELU(), nn.Linear(d_lig, d_lig)
        )
        self.norm = nn.LayerNorm(c_s)
        self.query = nn.Linear(c_s, d_lig)
        self.key = nn.Linear(d_lig, d_lig)
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
            [B, N, c_s]; `s` itself for complexes without tokens.
        """
        if points.shape[1] == 0:
            return s
        found = torch.cat(
            [
                self._attend(
                    s[:, i : i + _QUERY_CHUNK], tuple(x[:, i : i + _QUERY_CHUNK] for x in frames), points, types, mask
                )
                for i in range(0, s.shape[1], _QUERY_CHUNK)
            ],
            dim=1,
        )
        strength = self.strength(step)
        modulated = (1 + strength * self.gamma(found)) * s + strength * self.beta(found)
        return torch.where(mask.any(-1)[:, None, None], modulated, s)

    def _attend(self, s: Tensor, frames: tuple[Tensor, ...], points: Tensor, types: Tensor, mask: Tensor) -> Tensor:
        R, t = frames
        with torch.autocast(s.device.type, enabled=False):
            # [B, n, M, 3]: rotation of the differences, one product a residue.
            local = ((points.unsqueeze(1) - t.unsqueeze(2)) @ R) * _NM
        token = self.embed(torch.cat([local, types.unsqueeze(1).expand(-1, local.shape[1], -1, -1)], dim=-1))
        q = self.query(self.norm(s)).unflatten(-1, (self.heads, -1))
        k = self.key(token).unflatten(-1, (self.heads, -1))
        v = self.value(token).unflatten(-1, (self.heads, -1))
        logits = torch.einsum("bnhc,bnmhc->bnhm", q, k) / q.shape[-1] ** 0.5
        # A finite floor: a complex without tokens gets even weights instead of NaN, and is left out at the end.
        weights = torch.softmax(logits.float().masked_fill(~mask[:, None, None, :], -1e9), dim=-1).to(v.dtype)
        return self.out(torch.einsum("bnhm,bnmhc->bnhc", weights, v).flatten(-2))


def create_ligand_conditioner(
    c_s: int, d_lig: int = 64, num_heads: int = 8, warmup_steps: int = 2000, n_types: int = 12
) -> LigandConditioner:
    """A `LigandConditioner` with the sizes of the baseline."""
    return LigandConditioner(c_s, d_lig, num_heads, n_types, warmup_steps)
