"""Invariant point attention in the factorised form that one fused attention call computes.

IPA (Jumper et al. 2021, SI algorithm 22) adds to the usual dot product the squared distances of points and an edge
bias. Both are inner products of longer vectors: ``-|q - k|^2 / 2 = q.k - |k|^2 / 2 - |q|^2 / 2``, the last term the
same for all keys and so without effect on the softmax, and ``bias_ij = sum_r b1_ir b2_jr``. Queries and keys are
therefore concatenations, the values carry points and edge factors along, and no [N, N] array is ever made (FlashIPA,
Liu et al. 2025). Parameters are named as in the flash_ipa package, whose layer's weights load unchanged.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from bindrae.geometry.rigid import Frames
from bindrae.model.blockwise import attend

_MASKED = -1e9
_SOFTPLUS_INVERSE_1 = math.log(math.e - 1)
BACKENDS = ("reference", "sdpa", "flash_ipa")


class InvariantPointAttention(nn.Module):
    """Attention over residues that sees their frames; invariant under rigid motion of all frames together.

    Parameters
    ----------
    c_s, c_z : int
        Widths of residues and of edge factors (a multiple of 4).
    c_hidden, heads : int
        Width and number of heads.
    qk_points, v_points : int
        Points a head.
    z_rank : int
        Rank of the edge factors.
    backend : {"reference", "sdpa", "flash_ipa"}
        reference: dense, float32, O(N^2) memory, the oracle. sdpa: torch's fused attention, everywhere; on one thread
        of a CPU by `bindrae.model.blockwise`, which is faster. flash_ipa: the library's layer on CUDA.
    """

    def __init__(
        self,
        c_s: int,
        c_z: int,
        c_hidden: int,
        heads: int,
        qk_points: int,
        v_points: int,
        z_rank: int,
        backend: str = "sdpa",
    ) -> None:
        super().__init__()
        if backend not in BACKENDS:
            raise ValueError(f"unknown attention backend {backend!r}; known: {', '.join(BACKENDS)}")
        self.c_s, self.c_z, self.c_hidden, self.heads = c_s, c_z, c_hidden, heads
        self.qk_points, self.v_points, self.z_rank, self.backend = qk_points, v_points, z_rank, backend
        self.linear_q = nn.Linear(c_s, heads * c_hidden)
        self.linear_kv = nn.Linear(c_s, 2 * heads * c_hidden)
        self.linear_q_points = nn.Linear(c_s, heads * qk_points * 3)
        self.linear_kv_points = nn.Linear(c_s, heads * (qk_points + v_points) * 3)
        self.linear_b = nn.Linear(c_z, heads)
        self.down_z = nn.Linear(c_z, c_z // 4)
        self.head_weights = nn.Parameter(torch.full((heads,), _SOFTPLUS_INVERSE_1))
        self.linear_out = nn.Linear(heads * (c_z // 4 + c_hidden + 4 * v_points), c_s)
        for linear in (
            self.linear_q,
            self.linear_kv,
            self.linear_q_points,
            self.linear_kv_points,
            self.linear_b,
            self.down_z,
        ):
            nn.init.trunc_normal_(linear.weight, std=1 / math.sqrt(linear.in_features))
            nn.init.zeros_(linear.bias)
        nn.init.zeros_(self.linear_out.weight)
        nn.init.zeros_(self.linear_out.bias)

    def forward(self, s: Tensor, z_f1: Tensor, z_f2: Tensor, frames: Frames, mask: Tensor) -> Tensor:
        """Update of the residue representation.

        Parameters
        ----------
        s : Tensor
            [B, N, c_s].
        z_f1, z_f2 : Tensor
            [B, N, rank, c_z] edge factors.
        frames : (R [B, N, 3, 3], t [B, N, 3])
            In nanometres, near the origin.
        mask : Tensor
            [B, N] bool.

        Returns
        -------
        Tensor
            [B, N, c_s]; values at masked residues mean nothing.
        """
        if self.backend == "flash_ipa":
            return self._library(s, z_f1, z_f2, frames, mask)
        q = self.linear_q(s).unflatten(-1, (self.heads, -1))
        k, v = self.linear_kv(s).unflatten(-1, (self.heads, -1)).split(self.c_hidden, dim=-1)
        b1, b2 = self.linear_b(z_f1), self.linear_b(z_f2)  # [B, N, rank, H]
        d1, d2 = self.down_z(z_f1), self.down_z(z_f2)  # [B, N, rank, c_z / 4]
        with torch.autocast(s.device.type, enabled=False):
            q_points, k_points, v_points = self.global_points(s, frames)
        core = self._dense if self.backend == "reference" else self._fused
        o, o_points, o_pair = core(q, k, v, q_points, k_points, v_points, b1, b2, d1, d2, mask)
        return self.combine(o, o_points, o_pair, frames)

    def combine(self, o: Tensor, o_points: Tensor, o_pair: Tensor, frames: Frames) -> Tensor:
        """[B, N, c_s] update from what attention gave: [B, N, H, c_hidden], [B, N, 3, H, P] and [B, N, H, c_z / 4]."""
        with torch.autocast(o.device.type, enabled=False):
            R, t = frames
            o_points = R.mT @ (o_points.float().flatten(-2) - t.unsqueeze(-1))  # [B, N, 3, H * P]
            length = torch.sqrt((o_points**2).sum(-2) + 1e-8)
        features = [o.flatten(-2), o_points.flatten(-2), length, o_pair.flatten(-2)]
        updated: Tensor = self.linear_out(torch.cat([f.to(o.dtype) for f in features], dim=-1))
        return updated

    def global_points(self, s: Tensor, frames: Frames) -> tuple[Tensor, Tensor, Tensor]:
        """[B, N, 3, H, P] points of queries, keys and values in space; linear layers give all x, then all y, all z.

        All points of a residue are the columns of one matrix, so that its frame moves them in one product.
        """
        R, t = frames
        linears = (self.linear_q_points, self.linear_kv_points)
        local = [
            nn.functional.linear(s.float(), x.weight.float(), x.bias.float()).unflatten(-1, (3, -1)) for x in linears
        ]
        points = R @ torch.cat(local, dim=-1) + t.unsqueeze(-1)
        q, kv = (x.unflatten(-1, (self.heads, -1)) for x in points.split([x.shape[-1] for x in local], dim=-1))
        return q, *kv.split([self.qk_points, self.v_points], dim=-1)

    def point_weight(self) -> Tensor:
        return nn.functional.softplus(self.head_weights.float()) * math.sqrt(1.0 / (3 * (self.qk_points * 9.0 / 2)))

    def _dense(
        self, q: Tensor, k: Tensor, v: Tensor, q_points: Tensor, k_points: Tensor, v_points: Tensor,
        b1: Tensor, b2: Tensor, d1: Tensor, d2: Tensor, mask: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """The formula of the paper, term by term, in float32."""
        q, k, v, b1, b2, d1, d2 = (x.float() for x in (q, k, v, b1, b2, d1, d2))
        logits = torch.einsum("bihc,bjhc->bhij", q, k) * math.sqrt(1.0 / (3 * self.c_hidden))
        logits = logits + torch.einsum("birh,bjrh->bhij", b1, b2)
        squared = ((q_points.unsqueeze(2) - k_points.unsqueeze(1)) ** 2).sum((3, 5))  # [B, i, j, H]
        logits = logits - 0.5 * (squared * self.point_weight()).permute(0, 3, 1, 2)
        weights = torch.softmax(logits.masked_fill(~mask[:, None, None, :], _MASKED), dim=-1)
        o = torch.einsum("bhij,bjhc->bihc", weights, v)
        o_points = torch.einsum("bhij,bjxhp->bixhp", weights, v_points)
        o_pair = torch.einsum("bhij,bird,bjrd->bihd", weights, d1, d2)
        return o, o_points, o_pair

    def _fused(
        self, q: Tensor, k: Tensor, v: Tensor, q_points: Tensor, k_points: Tensor, v_points: Tensor,
        b1: Tensor, b2: Tensor, d1: Tensor, d2: Tensor, mask: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """The same by one call on concatenated vectors, in memory that grows with N."""
        with torch.autocast(q.device.type, enabled=False):
            weight = self.point_weight()
            # Padding rides in the key's own column against a query of ones: no mask is handed to the kernel.
            column = -0.5 * weight * (k_points**2).sum((2, 4)) + _MASKED * ~mask.unsqueeze(-1)  # [B, N, H]
            column = column.unsqueeze(-1)
            k, k_points = k.float() * math.sqrt(1.0 / (3 * self.c_hidden)), k_points * weight.unsqueeze(-1)
            pair = d2.flatten(-2).unsqueeze(2).expand(-1, -1, self.heads, -1)
            query = _concatenate([q, *q_points.unbind(2), torch.ones_like(column), b1.transpose(-1, -2)])
            key = _concatenate([k, *k_points.unbind(2), column, b2.transpose(-1, -2)])
            value = _concatenate([v, *v_points.unbind(2), pair])
            out = _attend(query, key, value, q.dtype).transpose(1, 2)  # [B, N, H, width of values or more]
        widths = [self.c_hidden, 3 * self.v_points, pair.shape[-1]]
        o, o_points, o_pair, _ = out.split([*widths, out.shape[-1] - sum(widths)], dim=-1)
        o_points, o_pair = o_points.unflatten(-1, (3, -1)).transpose(2, 3), o_pair.unflatten(-1, d2.shape[-2:])
        return o.to(q.dtype), o_points, (d1.unsqueeze(2) * o_pair).sum(-2)

    def _library(self, s: Tensor, z_f1: Tensor, z_f2: Tensor, frames: Frames, mask: Tensor) -> Tensor:
        """flash_ipa's own layer with this layer's parameters."""
        result: Tensor = torch.func.functional_call(
            self._library_layer(), dict(self.named_parameters()), (s, None, z_f1, z_f2, _library_rigid(frames), mask)
        )
        return result

    def _library_layer(self) -> nn.Module:
        if "_built" not in self.__dict__:
            from flash_ipa.ipa import InvariantPointAttention as Layer
            from flash_ipa.ipa import IPAConfig

            config = IPAConfig(
                use_flash_attn=True,
                attn_dtype="bf16",
                c_s=self.c_s,
                c_z=self.c_z,
                c_hidden=self.c_hidden,
                no_heads=self.heads,
                z_factor_rank=self.z_rank,
                no_qk_points=self.qk_points,
                no_v_points=self.v_points,
            )
            # Outside the module's registry: its parameters are this layer's own.
            self.__dict__["_built"] = Layer(config)
        built: nn.Module = self.__dict__["_built"]
        return built


def _concatenate(parts: list[Tensor]) -> Tensor:
    """[B, H, N, width] in float32 of parts [B, N, H, width], filled up to a multiple of 8: what kernels are best at."""
    empty = parts[0].new_zeros(()).expand(*parts[0].shape[:-1], -sum(x.shape[-1] for x in parts) % 8)
    return torch.cat([x.float().transpose(1, 2) for x in (*parts, empty)], dim=-1)


def _attend(query: Tensor, key: Tensor, value: Tensor, dtype: torch.dtype) -> Tensor:
    """[B, H, N, V] of queries and keys [B, H, N, C] and values [B, H, N, V]; torch's fused kernels work in `dtype`."""
    # Several threads would wait for each other at each product of a block; torch's kernels hand them whole heads.
    alone = query.device.type == "cpu" and torch.get_num_threads() == 1
    if alone and not torch.compiler.is_compiling():
        return attend(query, key, value)
    width = max(query.shape[-1], value.shape[-1])  # one for all three
    q, k, v = (nn.functional.pad(x, (0, width - x.shape[-1])).to(dtype) for x in (query, key, value))
    return nn.functional.scaled_dot_product_attention(q, k, v, scale=1.0)[..., : value.shape[-1]]


def _library_rigid(frames: Frames) -> Any:
    from flash_ipa.rigid import create_rigid

    return create_rigid(*frames)
