"""What makes more of a trained model: networks of refinement fitted to it, and a calibrated confidence."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bindrae.config import RefinementSettings
from bindrae.data.layout import DataLayout, weights_file
from bindrae.data.stages import VERSIONS
from bindrae.data.storage import write_sidecar
from bindrae.errors import BindraeError
from bindrae.model.export import rewrite_metadata
from bindrae.prediction.calibrate import Judged, calibrate, judge_trial, quality, report
from bindrae.prediction.confidence import METADATA_KEY
from bindrae.prediction.networks import RefinementNetworks, read_networks
from bindrae.prediction.networks_fit import fit_networks
from bindrae.prediction.side_pool import Side, gather_side
from bindrae.training.initial import initial_weights


def run_fit(data: DataLayout, model: Path, output: Path, settings: RefinementSettings, processes: int = 1) -> None:
    """Fit the networks of refinement on the training side, then the confidence on the validation side.

    The networks are fitted where the model is as sure as it is of its training side, which is hardly more than it
    should be; what they are worth shows on the validation side (`bindrae.prediction.tune`). How good the calibration
    is is judged on one half of the complexes by that of the other, and printed; the one that is written is of all.

    Parameters
    ----------
    data : DataLayout
        With shards.
    model : Path
        Model file of a training, or of an ensemble.
    output : Path
        Model file to write, atomically, with its sidecar beside it.
    settings : RefinementSettings
    processes : int

    Raises
    ------
    BindraeError
        When there is nothing to start from, to choose from or to calibrate on.
    """
    began = time.monotonic()
    networks = _networks(settings)
    counts: dict[str, int] = {}
    with TemporaryDirectory(prefix="bindrae-fit-") as folder:

        def side(name: str, most: int | None) -> Side:
            answers = Path(folder) / name
            answers.mkdir()
            return Side(data.root, model, name, most, answers)

        if settings.epochs:
            training = side("train", settings.complexes)
            networks, found = fit_networks(training, processes, settings.epochs, networks)
            counts |= found
        networks = networks.as_stored()
        held_out = side("val", settings.calibration_complexes)
        judged = gather_side(partial(judge_trial, networks), held_out, processes, "calibrate")
    judgement = _judge(judged)
    calibrations = calibrate(judged)
    output.parent.mkdir(parents=True, exist_ok=True)
    rewrite_metadata(model, networks.to_metadata() | {METADATA_KEY: calibrations.to_json()}, output)
    facts: dict[str, Any] = {**counts, "calibration_complexes": len(judged), **judgement}
    inputs = {"model": model} | ({} if settings.start is None else {"start": weights_file(settings.start)})
    recorded = settings.model_dump(mode="json", exclude={"fit"})
    write_sidecar(output, "fit", VERSIONS["fit"], recorded, inputs, facts, time.monotonic() - began)


def _networks(settings: RefinementSettings) -> RefinementNetworks:
    if settings.start is None:
        return RefinementNetworks()
    path = initial_weights(settings.start, "refinement.start")
    found = read_networks(path)
    if found is None:
        raise BindraeError(
            f"refinement.start: {path} holds no networks of refinement", "leave it out, to fit them from the start"
        )
    return found


def _judge(judged: list[Judged]) -> dict[str, Any]:
    if len(judged) < 2:
        return {}
    held_out = calibrate(judged[::2])
    print(report(judged[1::2], held_out, "one half, calibrated on the other"), flush=True)
    return {"half_on_the_other": quality(judged[1::2], held_out)}
