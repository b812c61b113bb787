"""Messages along edges: a layer of two steps for each edge, averaged at the receiver.

On a CPU the tensors of all edges would go to memory and back for each operation. `_InChunks` takes a few residues at a
time through all of them while they are in the cache, forward and backward, and keeps nothing but its inputs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear, silu

from bindrae.model.neighbours import batch_rows, gather_rows, pool, pool_weights

_CHUNK_EDGES = 768  # times the width of a message, in half precision: a fifth of a core's second-level cache


def zero_linear(width_in: int, width_out: int) -> nn.Linear:
    """A linear layer that starts at 0, so that its branch begins as the identity."""
    layer = nn.Linear(width_in, width_out)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class Messages(nn.Module):
    """One round of messages along edges, averaged at the receiver (residual, normalised at the input).

    Parameters
    ----------
    c_s : int
        Width of the residue representation.
    width : int
        Width of edges and messages.
    from_residues : bool
        Whether senders are residues, whose representation joins the message.
    dropout : float
    update_edges : bool
        Add to each edge what its message says: the next round knows what both ends have learnt.
    """

    def __init__(self, c_s: int, width: int, from_residues: bool, dropout: float, update_edges: bool = False) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(c_s)
        self.receiver = nn.Linear(c_s, width)
        self.sender = nn.Linear(c_s, width, bias=False) if from_residues else None
        self.edge = nn.Linear(width, width, bias=False)
        self.hidden = nn.Linear(width, width)
        self.out = zero_linear(width, c_s)
        self.next_edge = zero_linear(width, width) if update_edges else None
        self.dropout = nn.Dropout(dropout)

    def forward(self, s: Tensor, edge: Tensor, weight: Tensor, index: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """New residues and edges.

        Parameters
        ----------
        s : Tensor
            [B, N, c_s].
        edge : Tensor
            [B, N, K, width].
        weight : Tensor
            [B, N, K], see `nearest`.
        index : Tensor, optional
            [B, N, K] senders, when they are residues.

        Returns
        -------
        s, edge : Tensor
            Of the same shapes; edges as they were without `update_edges`.
        """
        normed = self.norm(s)
        receiver = self.receiver(normed)
        sender = None if self.sender is None else self.sender(normed)
        if s.device.type == "cpu" and not torch.compiler.is_compiling():
            pooled, edge = self._in_chunks(receiver, sender, edge, weight, index)
        else:
            pooled, edge = self._at_once(receiver, sender, edge, weight, index)
        return s + self.dropout(self.out(pooled)), edge

    def _at_once(
        self, receiver: Tensor, sender: Tensor | None, edge: Tensor, weight: Tensor, index: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """[B, N, width] and new edges, an operation after the other."""
        message = receiver.unsqueeze(2) + self.edge(edge)
        if sender is not None:
            assert index is not None
            message = message + gather_rows(sender, index)
        message = silu(self.hidden(silu(message)))
        return pool(message, weight), edge if self.next_edge is None else edge + self.next_edge(message)

    def _in_chunks(
        self, receiver: Tensor, sender: Tensor | None, edge: Tensor, weight: Tensor, index: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The same, a few residues at a time."""
        dtype = receiver.dtype
        rows = None if index is None else batch_rows(index, edge.shape[1]).flatten(0, 1)
        last = (None, None) if self.next_edge is None else (self.next_edge.weight.to(dtype), self.next_edge.bias)
        pooled, changed = _InChunks.apply(
            receiver.flatten(0, 1),
            None if sender is None else sender.flatten(0, 1),
            edge.to(dtype).contiguous().flatten(0, 1),
            pool_weights(weight).to(dtype).flatten(0, 1),
            rows,
            self.edge.weight.to(dtype),
            self.hidden.weight.to(dtype),
            self.hidden.bias.to(dtype),
            *(None if x is None else x.to(dtype) for x in last),
        )
        return pooled.unflatten(0, edge.shape[:2]), edge if self.next_edge is None else changed.view_as(edge)


class _InChunks(torch.autograd.Function):
    """Messages to R residues along K edges each; see `Messages._at_once` for the formula."""

    @staticmethod
    def forward(
        ctx: Any, receiver: Tensor, sender: Tensor | None, edge: Tensor, share: Tensor, rows: Tensor | None,
        of_edge: Tensor, of_hidden: Tensor, bias: Tensor, of_next: Tensor | None, next_bias: Tensor | None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        ctx.save_for_backward(receiver, sender, edge, share, rows, of_edge, of_hidden, bias, of_next)
        pooled = torch.empty_like(receiver)
        changed = edge.new_empty(0) if of_next is None else torch.empty_like(edge)
        for at in _chunks(edge):
            _, _, _, message = _message(receiver, sender, edge, rows, of_edge, of_hidden, bias, at)
            torch.bmm(share[at].unsqueeze(1), message.view_as(edge[at]), out=pooled[at].unsqueeze(1))
            if of_next is not None and next_bias is not None:
                torch.addmm(next_bias, message, of_next.T, out=changed[at].flatten(0, 1)).add_(edge[at].flatten(0, 1))
        ctx.set_materialize_grads(False)
        return pooled, changed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        receiver, sender, edge, share, rows, of_edge, of_hidden, bias, of_next = ctx.saved_tensors
        to_pooled, to_changed = gradients[0], None if of_next is None else gradients[1]
        width, dtype = edge.shape[-1], edge.dtype
        # What is summed over all edges is summed in single precision at least.
        exact = torch.promote_types(dtype, torch.float32)
        to_weights = [torch.zeros(width, width, dtype=exact) for _ in range(3)]
        to_biases = [torch.zeros(width, dtype=exact) for _ in range(2)]
        to_sender = None if sender is None else torch.zeros(len(sender), width, dtype=exact)
        to_receiver, to_edge = torch.empty_like(receiver), torch.empty_like(edge)
        for at in _chunks(edge):
            x, a, y, message = _message(receiver, sender, edge, rows, of_edge, of_hidden, bias, at)
            slope = torch.zeros_like(message)
            if to_pooled is not None:
                torch.mul(share[at].unsqueeze(-1), to_pooled[at].unsqueeze(1), out=slope.view_as(edge[at]))
            if to_changed is not None:
                of_changed = to_changed[at].flatten(0, 1)
                to_weights[2] += of_changed.T @ message
                to_biases[1] += of_changed.sum(0)
                slope.addmm_(of_changed, of_next)
            slope = torch.ops.aten.silu_backward(slope, y)
            to_weights[1] += slope.T @ a
            to_biases[0] += slope.sum(0)
            slope = torch.ops.aten.silu_backward(slope @ of_hidden, x)
            to_weights[0] += slope.T @ edge[at].flatten(0, 1)
            torch.sum(slope.view_as(edge[at]), 1, out=to_receiver[at])
            to_own = to_edge[at].flatten(0, 1)
            torch.mm(slope, of_edge, out=to_own)
            if to_changed is not None:
                to_own += of_changed
            if to_sender is not None:
                to_sender.index_add_(0, rows[at].flatten(), slope.to(exact))
        return (
            to_receiver, None if to_sender is None else to_sender.to(dtype), to_edge, None, None,
            to_weights[0].to(dtype), to_weights[1].to(dtype), to_biases[0].to(dtype),
            None if of_next is None else to_weights[2].to(dtype), None if of_next is None else to_biases[1].to(dtype),
        )  # fmt: skip


def _message(
    receiver: Tensor, sender: Tensor | None, edge: Tensor, rows: Tensor | None, of_edge: Tensor, of_hidden: Tensor,
    bias: Tensor, at: slice,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Both layers of the messages of a chunk before and after their activation, [edges, width] each."""
    x = edge[at].flatten(0, 1) @ of_edge.T
    x.view_as(edge[at]).add_(receiver[at].unsqueeze(1))
    if sender is not None and rows is not None:
        x += sender.index_select(0, rows[at].flatten())
    a = silu(x)
    y = linear(a, of_hidden, bias)
    return x, a, y, silu(y)


def _chunks(edge: Tensor) -> list[slice]:
    step = max(1, _CHUNK_EDGES // max(1, edge.shape[1]))
    return [slice(start, start + step) for start in range(0, len(edge), step)]
