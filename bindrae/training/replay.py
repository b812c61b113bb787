"""Run a batch again whose loss was not finite: ``python -m bindrae.training.replay checkpoints/replay-step-N.pt``.

Names the first module whose output is not finite, then the first operation whose gradient is not.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bindrae.config import ModelSettings, TrainingSettings
from bindrae.data.batch import IPABatch
from bindrae.data.tensors import read_tensors
from bindrae.errors import BindraeError
from bindrae.model.context import KnownSidechains
from bindrae.model.stage1 import Stage1
from bindrae.training.step import losses_of


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from _tensors(getattr(value, name))


def first_bad_module(model: nn.Module, run: Any) -> str | None:
    """Name of the first module in the order of calls whose output is not finite; None when all are.

    Parameters
    ----------
    model : torch.nn.Module
    run : callable
        Called once; runs the model.
    """
    bad: list[str] = []

    def watch(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if any(not torch.isfinite(x).all() for x in _tensors(output) if x.is_floating_point()):
                bad.append(name)

        return hook

    handles = [module.register_forward_hook(watch(name or "model")) for name, module in model.named_modules()]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return bad[0] if bad else None


def replay(path: Path) -> dict[str, float]:
    """Losses of the kept batch; prints where the first value that is not finite comes from.

    Raises
    ------
    BindraeError
        When the file is missing or damaged.
    """
    state = read_tensors(path, "name the file that the error message gave")
    settings = TrainingSettings.model_validate(state["training"])
    model = Stage1(ModelSettings.model_validate(state["model_settings"])).train()
    model.load_state_dict(state["model"])
    batch = IPABatch(**state["batch"])
    print(f"complexes {', '.join(batch.pdb_ids)}, losses then: {state['losses']}")
    known = None if state["known"] is None else KnownSidechains(**state["known"])
    found: list[dict[str, torch.Tensor]] = []

    def run() -> None:
        structure = len(state["losses"]) > 2  # more than the total and the torsion loss
        found.append(losses_of(model, batch, known, settings, torch.device("cpu"), structure, state["seed"]))

    with warnings.catch_warnings(), torch.autograd.set_detect_anomaly(True):
        warnings.simplefilter("ignore")  # the traceback of the forward pass, which the hooks below name better
        bad = first_bad_module(model, run)
        print(f"first module with a bad output: {bad or 'none, all are finite'}")
        losses = found[0]
        values = {name: value.item() for name, value in losses.items()}
        print(f"losses now: {values}")
        try:
            losses["loss"].backward()
        except RuntimeError as error:
            print(f"backward: {error}")
    weights = [name for name, p in model.named_parameters() if p.grad is not None and not torch.isfinite(p.grad).all()]
    print(f"parameters with a bad gradient: {', '.join(weights) or 'none'}")
    return values


if __name__ == "__main__":
    try:
        replay(Path(sys.argv[1]))
    except (BindraeError, IndexError) as error:
        sys.exit(f"error: {error}" if isinstance(error, BindraeError) else __doc__)
