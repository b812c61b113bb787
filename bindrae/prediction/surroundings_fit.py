"""Fit the network of surroundings: ``python -m bindrae.prediction.surroundings_fit DATA MODEL``.

Every residue with several open candidates, the true side chain among them, says which it is, with all others where
refinement puts them: their conditional likelihood, once for chi1 and once for all chis. This is done twice, since the
network is asked about both: side chains as the search arranges them, then also as they stand when the network of the
first time has chosen. Written into the model file's metadata; `bindrae.prediction.tune` shows on the validation side
what it is worth.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bindrae.errors import BindraeError, exit_on_error
from bindrae.evaluation.metrics import ACCURACY_DEG
from bindrae.model.export import rewrite_metadata
from bindrae.prediction.neighbourhood import Near
from bindrae.prediction.refine import OVERLAP_BESIDE_NETWORK, WEIGHT, Arrangements
from bindrae.prediction.side_parser import side_parser
from bindrae.prediction.side_pool import gather_side
from bindrae.prediction.surroundings import SURROUNDINGS_KEY, SurroundingsNetwork
from bindrae.prediction.tune import Trial

EPOCHS = 2
"""Of each of the two fits."""
_RATE, _DECAY = 3e-3, 1e-2
_WARMUP, _LAST = 50, 0.02  # steps, and the rate at the end over the largest
_COMPLEXES = 2  # of a step
_RESIDUES = 300.0  # whose losses add up to about 1: an average would let small complexes count as much as large ones
_CLIP_NORM = 5.0
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


def gather_choices(network: SurroundingsNetwork | None, trial: Trial) -> Choice:
    """What the residues of a complex of known structure choose from, arranged by search, or by a network after it."""
    made = Arrangements(
        trial.scene, trial.circle, trial.rotamers, weight=WEIGHT * OVERLAP_BESIDE_NETWORK, polish_weight=0.0
    )
    if network is not None:
        made.choose_in_place(network)
    costs = made.costs()
    asked = made.open_candidates(costs)
    near = made.near(np.flatnonzero(asked), made.standing(costs))
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


def fit_network(choices: Sequence[Choice], epochs: int = EPOCHS, seed: int = 0) -> SurroundingsNetwork:
    """The network under which the true side chains are the likeliest.

    Parameters
    ----------
    choices : list of Choice
        Of complexes that the model knows no better than those it will be used on.
    epochs, seed : int

    Raises
    ------
    BindraeError
        When no residue has a choice.
    """
    choices = [choice for choice in choices if len(choice.residue)]
    if not choices:
        raise BindraeError("no residue has several open candidates", "name more complexes: --max-complexes")
    torch.manual_seed(seed)
    network = SurroundingsNetwork().train()
    optimizer = torch.optim.AdamW(network.parameters(), _RATE, weight_decay=_DECAY)
    batches = list(_batches(len(choices), epochs, seed))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1.0, (step + 1) / _WARMUP) * max(_LAST, 0.5 * (1 + np.cos(np.pi * step / len(batches)))),
    )
    began, loss, told = time.monotonic(), 0.0, 0
    for number, batch in enumerate(batches, start=1):
        optimizer.zero_grad()
        for choice in (choices[i] for i in batch):
            one = negative_log_likelihood(total_energy(network, choice), choice)
            (one / _RESIDUES).backward()
            loss, told = loss + one.item(), told + int(choice.residue[-1]) + 1
        torch.nn.utils.clip_grad_norm_(network.parameters(), _CLIP_NORM)
        optimizer.step()
        schedule.step()
        if number % -(-len(batches) // (4 * epochs)) == 0 or number == len(batches):
            seconds = time.monotonic() - began
            print(
                f"step {number} of {len(batches)}: loss {loss / told:.4f} nats a residue, {seconds:.0f} s", flush=True
            )
            loss, told = 0.0, 0
    return network.requires_grad_(False).eval()


def total_energy(network: SurroundingsNetwork, choice: Choice) -> Tensor:
    """[V] what the search takes a candidate to cost, and what the network adds (nats)."""
    surprise, rest, base = (torch.as_tensor(x) for x in (choice.surprise, choice.rest, choice.base))
    aatype, chi = torch.as_tensor(choice.aatype), torch.as_tensor(choice.chi).float()
    return base + network(choice.near, surprise, rest, aatype, chi)


def _batches(count: int, epochs: int, seed: int) -> Iterator[list[int]]:
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        order = rng.permutation(count).tolist()
        yield from (order[start : start + _COMPLEXES] for start in range(0, count, _COMPLEXES))


def fit_model(data: Path, model: Path, side: str, most: int, processes: int, epochs: int, output: Path) -> None:
    """Gather and fit, twice, and write the model file with the network in its metadata."""
    choices: list[Choice] = []
    network: SurroundingsNetwork | None = None
    for arranged in ("by search", "by the network"):
        found = gather_side(partial(gather_choices, network), data, model, side, most, processes, arranged)
        residues = sum(int(choice.residue[-1]) + 1 for choice in found if len(choice.residue))
        print(f"{len(found)} complexes, side {side}, arranged {arranged}: {residues:,} residues choose")
        choices += found
        network = fit_network(choices, epochs)
    assert network is not None
    rewrite_metadata(model, {SURROUNDINGS_KEY: network.to_json()}, output)


def main() -> None:
    """Read the options, and fit."""
    parser = side_parser(
        "bindrae.prediction.surroundings_fit", __doc__, "train", "; never the one that is tested on", 10_000,
        writes=True,
    )  # fmt: skip
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--processes", type=int, default=1)
    given = parser.parse_args()
    fit_model(
        given.data, given.model, given.side, given.max_complexes, given.processes, given.epochs,
        given.output or given.model,
    )  # fmt: skip


if __name__ == "__main__":
    with exit_on_error():
        main()
