"""Frame-aligned point error, as a loss and as a metric."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bindrae.geometry.rigid import Frames

_CHUNK_PAIRS = 1 << 17  # pairs of atom and frame at once: three arrays of doubles that stay in a core's cache
_EPS = 1e-6


def fape_loss(
    pred_frames: Frames,
    true_frames: Frames,
    pred_atoms: Tensor,
    true_atoms: Tensor,
    frame_mask: Tensor,
    atom_mask: Tensor,
    atom_weight: Tensor | None = None,
    clamp: float = 10.0,
) -> Tensor:
    """Frame-aligned point error (Jumper et al. 2021, SI algorithm 28), in A.

    Every atom of the prediction in every predicted frame against the same atom of the truth in the true frame. Memory
    grows linearly: frames are taken in chunks, and the gradient of each chunk is found while it is at hand.

    Parameters
    ----------
    pred_frames, true_frames : (R [B, N, 3, 3], t [B, N, 3])
    pred_atoms, true_atoms : Tensor
        [B, A, 3] (A).
    frame_mask : Tensor
        [B, N] bool.
    atom_mask : Tensor
        [B, A] bool.
    atom_weight : Tensor, optional
        [B, A] weights; 1 by default.
    clamp : float
        Largest error of a pair (A).

    Returns
    -------
    Tensor
        Scalar float32: weighted mean over atoms and frames of each complex, then over complexes.
    """
    weight = atom_mask.double() * (1.0 if atom_weight is None else atom_weight)
    atoms = _atom_features(pred_atoms, true_atoms, atom_mask)
    frames = _frame_features(pred_frames, true_frames, pred_atoms, true_atoms, atom_mask)
    total = []
    for one, frame, w, keep, has in zip(atoms, frames, weight, frame_mask, atom_mask, strict=True):
        # Slots without an atom are a good third of all: leave them out instead of weighing them with 0.
        total.append(_PairError.apply(one[has], frame[keep], w[has], clamp))
    count = weight.sum(1) * frame_mask.sum(1)
    return (torch.stack(total) / count.clamp_min(1e-6)).mean().float()


class _PairError(torch.autograd.Function):
    """Weighted sum of clamped errors over all pairs of atom and frame, its gradient found on the way."""

    @staticmethod
    def forward(ctx: Any, atoms: Tensor, frames: Tensor, weight: Tensor, clamp: float) -> Tensor:
        wanted = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        to_atoms, to_frames = torch.zeros_like(atoms), torch.zeros_like(frames)
        total = atoms.new_zeros(())
        step = max(1, _CHUNK_PAIRS // max(1, len(atoms)))
        for start in range(0, len(frames), step):
            frame = frames[start : start + step]
            error = (frame @ atoms.T).clamp_(min=0.0).add_(_EPS).sqrt_()  # [n, A]
            total += (error.clamp(max=clamp) @ weight).sum()
            if wanted:
                # d error / d squared = 1 / (2 error) below the clamp, 0 beyond it.
                slope = error.reciprocal_().mul_(0.5 * weight)
                slope.masked_fill_(slope < 0.5 * weight / clamp, 0.0)
                to_atoms.addmm_(slope.T, frame)
                to_frames[start : start + step] = slope @ atoms
        ctx.save_for_backward(to_atoms, to_frames)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        to_atoms, to_frames = ctx.saved_tensors
        return gradients[0] * to_atoms, gradients[0] * to_frames, None, None


# The squared error of atom j in frame i is a polynomial in both, so it is one inner product of 17 numbers an atom with
# 17 a frame: a matrix product instead of 3-vectors for every pair. With M = R R*^T,
#   |R^T (x - t) - R*^T (x* - t*)|^2 = |x - t|^2 + |x* - t*|^2 - 2 (x - t)^T M (x* - t*).
# Large terms cancel in it, hence double precision and coordinates about the centre.


def _centre(atoms: Tensor, mask: Tensor) -> Tensor:
    kept = mask.unsqueeze(-1)
    return torch.where(kept, atoms, 0.0).sum(1, keepdim=True) / kept.sum(1, keepdim=True).clamp_min(1)


def _atom_features(pred: Tensor, true: Tensor, mask: Tensor) -> Tensor:
    """[B, A, 17]: 1, |x|^2 + |x*|^2, x, x*, x x*^T; 0 for masked atoms, wherever they stand."""
    x, y = (torch.where(mask.unsqueeze(-1), a - _centre(a, mask).detach(), 0.0).double() for a in (pred, true))
    one = torch.ones_like(x[..., :1])
    outer = (x.unsqueeze(-1) * y.unsqueeze(-2)).flatten(-2)
    return torch.cat([one, (x * x + y * y).sum(-1, keepdim=True), x, y, outer], dim=-1)


def _frame_features(pred: Frames, true: Frames, pred_atoms: Tensor, true_atoms: Tensor, mask: Tensor) -> Tensor:
    """[B, N, 17]: the factors that go with `_atom_features`."""
    t = (pred[1] - _centre(pred_atoms, mask).detach()).double()
    u = (true[1] - _centre(true_atoms, mask).detach()).double()
    M = pred[0].double() @ true[0].double().transpose(-1, -2)
    Mu = (M @ u.unsqueeze(-1)).squeeze(-1)
    Mt = (M.transpose(-1, -2) @ t.unsqueeze(-1)).squeeze(-1)
    constant = (t * t + u * u - 2 * t * Mu).sum(-1, keepdim=True)
    return torch.cat([constant, torch.ones_like(constant), 2 * (Mu - t), 2 * (Mt - u), -2 * M.flatten(-2)], dim=-1)
