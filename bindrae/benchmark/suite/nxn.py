"""Invariant point attention over all pairs, N x N: what `bindrae.model.attention` is measured against.

Jumper et al. 2021, SI algorithm 22. A layer of the original is given the pair representation z [B, N, N, c_z], makes
the bias of each head from it, and adds the attention's mean of it to the residues. As in the layers of OpenFold's
descendants, z is brought down to c_z / 4 before that mean: the linear layer after it would otherwise be most of the
parameters. Scales are those of the `reference` backend.

The factorised layer has no z; it has factors. Its bias is ``sum_r linear_b(z_f1)[i, r] linear_b(z_f2)[j, r]`` and its
pair value ``sum_r down_z(z_f1)[i, r] down_z(z_f2)[j, r]``: products of two linear maps, while the original's are one
linear map of z. `pair_representation` finds the z of which one linear map gives these same numbers. So this layer, with
the parameters of the factorised one, does the original's work on an input of the original's size, and what comes out
can be compared number for number.

What it is given and what is spared:

- z is an input, made before the clock starts. It and its gradient count as memory: a network with N x N layers holds
  them.
- Bias and pair values come from one linear map, so that z is read once and has one gradient to be added up.
- Values and value points are multiplied by the attention together.
- Sums go into the logits in place; nothing is permuted but by views.
- Distances of points are written as in the paper: differences [B, N, N, H, 3 P], squared and summed. OpenFold and
  flash_ipa's own "original" do the same (and spend more on other terms). With `multiply_out` the square is multiplied
  out instead, so that points join queries and keys, and no such tensor is made: half the step from the paper's formula
  to FlashIPA, and about the best that a layer with a z in memory can do.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bindrae.geometry.rigid import Frames
from bindrae.model.attention import InvariantPointAttention

_MASKED = -1e9


class AllPairsAttention(nn.Module):
    """The layer over all pairs with the parameters of a factorised one.

    Parameters
    ----------
    layer : InvariantPointAttention
        Whose parameters are used.
    multiply_out : bool
        Multiply out the squared distances of points.
    """

    def __init__(self, layer: InvariantPointAttention, multiply_out: bool = False) -> None:
        super().__init__()
        self.layer, self.multiply_out = layer, multiply_out

    def forward(self, s: Tensor, z: Tensor, frames: Frames, mask: Tensor) -> Tensor:
        """Update of the residue representation.

        Parameters
        ----------
        s : Tensor
            [B, N, c_s].
        z : Tensor
            [B, N, N, c_z].
        frames : (R [B, N, 3, 3], t [B, N, 3])
            In nanometres.
        mask : Tensor
            [B, N] bool.

        Returns
        -------
        Tensor
            [B, N, c_s]; values at masked residues mean nothing.
        """
        layer = self.layer
        q = layer.linear_q(s).unflatten(-1, (layer.heads, -1)) * math.sqrt(1.0 / (3 * layer.c_hidden))
        k, v = layer.linear_kv(s).unflatten(-1, (layer.heads, -1)).split(layer.c_hidden, dim=-1)
        with torch.autocast(s.device.type, enabled=False):
            q_points, k_points, v_points = (x.transpose(2, 3).flatten(-2) for x in layer.global_points(s, frames))
        bias, pair = nn.functional.linear(z, *_both(layer)).split([layer.heads, layer.c_z // 4], dim=-1)
        logits = self._logits(q, k, q_points, k_points)
        logits += bias.permute(0, 3, 1, 2)
        if not bool(mask.all()):
            logits.masked_fill_(~mask[:, None, None, :], _MASKED)
        weights = torch.softmax(logits, dim=-1).to(v.dtype)  # [B, H, N, N]
        values = torch.cat([v, v_points.to(v.dtype)], dim=-1).transpose(1, 2)
        o, o_points = (weights @ values).transpose(1, 2).split([layer.c_hidden, 3 * layer.v_points], dim=-1)
        o_pair = weights.transpose(1, 2) @ pair  # [B, N, H, c_z / 4]
        return layer.combine(o, o_points.unflatten(-1, (3, -1)).transpose(2, 3), o_pair, frames)

    def _logits(self, q: Tensor, k: Tensor, q_points: Tensor, k_points: Tensor) -> Tensor:
        """[B, H, N, N] of queries and keys [B, N, H, c_hidden] and points [B, N, H, 3 P]."""
        weight = self.layer.point_weight()
        if self.multiply_out:
            column = -0.5 * weight.unsqueeze(-1) * (k_points**2).sum(-1, keepdim=True)  # the query's changes nothing
            q = torch.cat([q, q_points.to(q.dtype), torch.ones_like(column, dtype=q.dtype)], dim=-1)
            k = torch.cat([k, (k_points * weight.unsqueeze(-1)).to(q.dtype), column.to(q.dtype)], dim=-1)
            return q.transpose(1, 2) @ k.permute(0, 2, 3, 1)
        logits = q.transpose(1, 2) @ k.permute(0, 2, 3, 1)
        squared = ((q_points.unsqueeze(2) - k_points.unsqueeze(1)) ** 2).sum(-1)  # [B, N, N, H]
        logits -= (0.5 * weight * squared).permute(0, 3, 1, 2)
        return logits


def _both(layer: InvariantPointAttention) -> tuple[Tensor, Tensor]:
    """Weight and bias of `linear_b` and `down_z` as one layer."""
    return (
        torch.cat([layer.linear_b.weight, layer.down_z.weight]),
        torch.cat([layer.linear_b.bias, layer.down_z.bias]),
    )


@torch.no_grad()
def pair_representation(layer: InvariantPointAttention, z_f1: Tensor, z_f2: Tensor) -> Tensor:
    """The z with which `AllPairsAttention` computes what the factorised layer computes from its factors.

    Parameters
    ----------
    layer : InvariantPointAttention
        With no more heads than 3/4 c_z, so that some z gives any bias and pair value.
    z_f1, z_f2 : Tensor
        [B, N, rank, c_z] edge factors.

    Returns
    -------
    Tensor
        [B, N, N, c_z], the shortest such vectors.
    """
    weight, bias = (x.double() for x in _both(layer))
    first, second = (nn.functional.linear(z.double(), weight, bias) for z in (z_f1, z_f2))
    wanted = torch.einsum("bird,bjrd->bijd", first, second)
    return ((wanted - bias) @ torch.linalg.pinv(weight).T).to(z_f1.dtype)
