"""Running mean of the weights: what is validated, kept and used for prediction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class MovingAverage:
    """Exponential moving average of a model's parameters (Polyak and Juditsky, SIAM J. Control Optim. 30, 838, 1992).

    Parameters
    ----------
    model : torch.nn.Module
        Its parameters are the first values; buffers are not averaged.
    decay : float
        Decay a step in [0, 1); 0 follows the parameters exactly.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the parameters after `step` steps; early on the mean is short, so that it forgets the start."""
        decay = min(self.decay, (1 + step) / (10 + step)) if self.decay else 0.0
        torch._foreach_lerp_(list(self.weights.values()), [p.detach() for p in model.parameters()], 1 - decay)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """The model with the mean in place of its parameters, which come back at the end."""
        own = {name: p.detach().clone() for name, p in model.named_parameters()}
        self._write(model, self.weights)
        try:
            yield
        finally:
            self._write(model, own)

    def load(self, weights: dict[str, Tensor]) -> None:
        """Go on from the `weights` of a checkpoint."""
        for name, value in self.weights.items():
            value.copy_(weights[name])

    @staticmethod
    @torch.no_grad()
    def _write(model: nn.Module, values: dict[str, Tensor]) -> None:
        for name, parameter in model.named_parameters():
            parameter.copy_(values[name])
