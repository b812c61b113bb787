"""What residues choose from in complexes of known structure, and how likely a network holds what is true.

Every residue with several open candidates, the true side chain among them, says which it is, with all others where
refinement puts them: their conditional likelihood, once for chi1 and once for all chis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bindrae.evaluation.metrics import ACCURACY_DEG
from bindrae.prediction.neighbourhood import Near, Standing
from bindrae.prediction.refine import Arrangements
from bindrae.prediction.surroundings import SurroundingsNetwork
from bindrae.prediction.tune import Trial

_FAR = -1e9  # of a candidate that is not meant


@dataclass
class Choice:
    """V open candidates of one complex, and what stands around them."""

    near: Near
    surprise: np.ndarray  # [V] float32 minus the logarithm of the network's probability
    rest: np.ndarray  # [V] float32 what it costs beside that, with all others in place
    base: np.ndarray  # [V] float32 what the search takes it to cost
    aatype: np.ndarray  # [V]
    chi: np.ndarray  # [V, 4, 2] float16 (sin, cos)
    residue: np.ndarray  # [V] number of its residue among those that choose, non-decreasing
    right: np.ndarray  # [2, V] bool, chi1 and all chis within 20 degrees of the truth


def choices_of(trial: Trial, made: Arrangements, costs: np.ndarray, standing: Standing) -> Choice:
    """What the residues of a complex of known structure choose from, beside what is `standing` there."""
    asked = made.open_candidates(costs)
    near = made.near(np.flatnonzero(asked), standing)
    row = made.row[asked]
    defined = trial.sample["torsion_mask"][:, 3:].numpy()[row]
    wrong = (trial.candidate_errors(made.circle[asked], row) >= ACCURACY_DEG[0]) & defined
    right = np.stack([~wrong[:, 0], ~wrong.any(1)]) & defined[:, 0]
    return Choice(
        near,
        made.surprise[asked].astype(np.float32),
        (costs - made.surprise)[asked].astype(np.float32),
        costs[asked].astype(np.float32),
        trial.scene.aatype.numpy()[row],
        made.circle[asked, 3:].half().numpy(),
        np.unique(row, return_inverse=True)[1],
        right,
    )


def choice_loss(network: SurroundingsNetwork, choice: Choice) -> tuple[Tensor, int]:
    """`negative_log_likelihood` of what the network says of a complex, and how many residues choose."""
    if not len(choice.residue):
        return torch.zeros(()), 0
    return negative_log_likelihood(total_energy(network, choice), choice), int(choice.residue[-1]) + 1


def negative_log_likelihood(energy: Tensor, choice: Choice) -> Tensor:
    """Sum over residues and over the two meanings of right; what has no right candidate says nothing.

    Parameters
    ----------
    energy : Tensor
        [V] nats.
    choice : Choice
    """
    residue = torch.as_tensor(choice.residue)
    count = int(residue[-1]) + 1
    total = _log_sum(-energy, residue, count)
    loss = energy.new_zeros(())
    for right in torch.as_tensor(choice.right):
        told = torch.zeros(count).index_add(0, residue, right.float()) > 0
        true = _log_sum(torch.where(right, -energy, _FAR), residue, count)
        loss = loss + (total - true)[told].sum()
    return loss


def _log_sum(x: Tensor, residue: Tensor, count: int) -> Tensor:
    most = x.new_full((count,), _FAR).scatter_reduce(0, residue, x.detach(), "amax")
    return most + x.new_zeros(count).index_add(0, residue, torch.exp(x - most[residue])).log()


def total_energy(network: SurroundingsNetwork, choice: Choice) -> Tensor:
    """[V] what the search takes a candidate to cost, and what the network adds (nats)."""
    surprise, rest, base = (torch.as_tensor(x) for x in (choice.surprise, choice.rest, choice.base))
    aatype, chi = torch.as_tensor(choice.aatype), torch.as_tensor(choice.chi).float()
    return base + network(choice.near, surprise, rest, aatype, chi)
