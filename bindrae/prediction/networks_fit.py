"""The fit of the networks of surroundings and of turns.

Both networks are asked about side chains as refinement arranges them, and refinement asks both. So each is fitted
twice: what surroundings are worth first with all others where the search puts them, how far to turn then with all
others where that network puts them; then both again, also on side chains as they stand when the networks of the first
time have chosen and turned. Networks that are there already, say of the same model before it was trained on, go on once
instead, on side chains as they arrange them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from bindrae.errors import BindraeError
from bindrae.prediction.networks import RefinementNetworks
from bindrae.prediction.refine import OVERLAP_BESIDE_NETWORK, WEIGHT, Arrangements
from bindrae.prediction.side_pool import Side, gather_side
from bindrae.prediction.stored_network import StoredNetwork
from bindrae.prediction.surroundings import SurroundingsNetwork
from bindrae.prediction.surroundings_fit import Choice, choice_loss, choices_of
from bindrae.prediction.tune import Trial
from bindrae.prediction.turns import TurnNetwork, best_turns
from bindrae.prediction.turns_fit import TrueTurns, true_turns_of, turn_loss

_RATE, _RATE_FURTHER = 3e-3, 1e-3  # from the start, and of networks that go on
_DECAY = 1e-2
_WARMUP, _LAST = 50, 0.02  # steps, and the rate at the end over the largest
_COMPLEXES = 2  # of a step
_UNIT = 300.0  # residues or chis whose losses add up to 1: an average would let small complexes count as much as large
_CLIP_NORM = 5.0

Network = TypeVar("Network", bound=StoredNetwork)
Example = TypeVar("Example")


@torch.no_grad()
def gather_choices(networks: RefinementNetworks, trial: Trial) -> Choice:
    """What residues choose from as the search arranges a complex, or after networks have chosen and turned."""
    made = _arranged(trial, networks)
    costs = made.costs()
    return choices_of(trial, made, costs, made.standing_turned(networks, costs))


@torch.no_grad()
def gather_turns(networks: RefinementNetworks, trial: Trial) -> list[TrueTurns]:
    """Chosen side chains of a complex where their candidates have them, and where the networks have turned them."""
    made = _arranged(trial, networks)
    if not len(made.turning_rows):
        return []
    costs, arranged = made.costs() + made.added, made.arranged()
    found = [true_turns_of(trial, made, costs, arranged)]
    if networks.turns is not None:
        asked = found[0].asked
        arranged = made.turn(arranged, best_turns(networks.turns(asked), asked.aatype)[0])
        found.append(true_turns_of(trial, made, costs, arranged))
    return found


def _arranged(trial: Trial, networks: RefinementNetworks) -> Arrangements:
    made = Arrangements(
        trial.scene, trial.circle, trial.rotamers, weight=WEIGHT * OVERLAP_BESIDE_NETWORK, polish_weight=0.0
    )
    if networks.surroundings is not None:
        made.choose_in_place(networks)
    return made


def fit_network(
    network: Network,
    examples: Sequence[Example],
    loss: Callable[[Network, Example], tuple[Tensor, int]],
    epochs: int,
    seed: int = 0,
    rate: float = _RATE,
) -> Network:
    """The network under which what is true is the likeliest.

    Parameters
    ----------
    network : StoredNetwork
        To start from.
    examples : list
        Of complexes that the model knows no better than those it will be used on.
    loss : callable
        Sum of losses over an example (nats), and of how many.
    epochs, seed : int
    rate : float
        Of AdamW, at its height.
    """
    torch.manual_seed(seed)
    network.requires_grad_(True).train()
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=_DECAY)
    batches = list(_batches(len(examples), epochs, seed))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1.0, (step + 1) / _WARMUP) * max(_LAST, 0.5 * (1 + np.cos(np.pi * step / len(batches)))),
    )
    began, total, told = time.monotonic(), 0.0, 0
    for number, batch in enumerate(batches, start=1):
        optimizer.zero_grad()
        for example in (examples[i] for i in batch):
            one, count = loss(network, example)
            if count:
                (one / _UNIT).backward()
                total, told = total + one.item(), told + count
        torch.nn.utils.clip_grad_norm_(network.parameters(), _CLIP_NORM)
        optimizer.step()
        schedule.step()
        if number % -(-len(batches) // (4 * epochs)) == 0 or number == len(batches):
            seconds = time.monotonic() - began
            print(f"step {number} of {len(batches)}: loss {total / max(told, 1):.4f} nats, {seconds:.0f} s", flush=True)
            total, told = 0.0, 0
    return network.requires_grad_(False).eval()


def _batches(count: int, epochs: int, seed: int) -> Iterator[list[int]]:
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        order = rng.permutation(count).tolist()
        yield from (order[start : start + _COMPLEXES] for start in range(0, count, _COMPLEXES))


def fit_networks(
    side: Side, processes: int, epochs: int, start: RefinementNetworks
) -> tuple[RefinementNetworks, dict[str, int]]:
    """Gather and fit, twice; or once from networks that are there.

    Parameters
    ----------
    side : Side
        Complexes that the model knows no better than those it will be used on.
    processes : int
        That gather.
    epochs : int
        Of each fit.
    start : RefinementNetworks
        To go on from; without one of surroundings, both are fitted from the start.

    Returns
    -------
    networks : RefinementNetworks
    counts : dict of str to int
        ``complexes``, and ``choices`` and ``side_chains`` that the last fits learnt from.

    Raises
    ------
    BindraeError
        When no residue has a choice.
    """
    choices: list[Choice] = []
    networks, begun = start, start.surroundings is not None
    rate, side_chains = _RATE_FURTHER if begun else _RATE, 0
    for arranged in ("arranged by search", "arranged by the networks")[begun:]:
        choices += gather_side(partial(gather_choices, networks), side, processes, arranged)
        residues = sum(int(choice.residue[-1]) + 1 for choice in choices if len(choice.residue))
        if not residues:
            raise BindraeError(
                "no residue has several open candidates", "more complexes are needed (refinement.complexes)"
            )
        print(f"what surroundings are worth, {arranged}: {residues:,} residues choose", flush=True)
        first = start.surroundings or SurroundingsNetwork()
        surroundings = fit_network(first, choices, choice_loss, epochs, rate=rate)
        networks = replace(networks, surroundings=surroundings)
        gathered = gather_side(partial(gather_turns, networks), side, processes, "to turn")
        turns = [one for each in gathered for one in each]
        if not turns:  # a head without a distribution
            continue
        side_chains = sum(len(true.turns) for true in turns)
        print(f"how far to turn: {side_chains:,} side chains", flush=True)
        further = _RATE if start.turns is None else _RATE_FURTHER
        fitted = fit_network(start.turns or TurnNetwork(), turns, turn_loss, epochs, rate=further)
        networks = replace(networks, turns=fitted)
    return networks, {"complexes": len(side.dataset()), "choices": residues, "side_chains": side_chains}
