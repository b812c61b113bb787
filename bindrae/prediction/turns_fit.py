"""Chosen side chains of complexes of known structure, and how likely a network holds the turns to the truth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bindrae.prediction.refine import Arranged, Arrangements
from bindrae.prediction.tune import Trial
from bindrae.prediction.turns import FARTHEST, TURNS, Turnable, TurnNetwork

_BLUR = math.radians(4.0)  # of the true turn, so that its neighbours among `TURNS` are not wrong


@dataclass
class TrueTurns:
    """R chosen side chains of one complex, and the turns that would make them right."""

    asked: Turnable
    turns: np.ndarray  # [R, 4] float32 radians, NaN where the truth is unknown


def true_turns_of(trial: Trial, made: Arrangements, costs: np.ndarray, arranged: Arranged) -> TrueTurns:
    """The side chains of a complex of known structure as they are arranged; `costs` [V] say who may be where."""
    rows = made.turning_rows
    turns = trial.turns_to_truth(arranged.circle[rows], rows)
    return TrueTurns(made.turnable(arranged, costs), turns.astype(np.float32))


def turn_loss(network: TurnNetwork, true: TrueTurns) -> tuple[Tensor, int]:
    """Cross-entropy of the true turns, and of how many chis.

    A chi whose true turn is beyond `FARTHEST` stands in another mode and says nothing, nor do those behind it.
    """
    if not len(true.turns):
        return torch.zeros(()), 0
    turns = torch.as_tensor(true.turns)
    # A comparison with NaN is False.
    counts = torch.cumprod((turns.abs() < FARTHEST).int(), 1).bool()
    away = (torch.nan_to_num(turns).unsqueeze(-1) - TURNS) / _BLUR
    wanted = torch.softmax(-0.5 * away**2, -1)
    loss = -(wanted * network(true.asked)).sum(-1)
    return loss[counts].sum(), int(counts.sum())
