"""Trained models joined to an ensemble in one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bindrae.data.storage import atomic_path, sha256_file
from bindrae.errors import BindraeError
from bindrae.model.ensemble import Ensemble
from bindrae.model.model_file import load_model, save_model
from bindrae.model.stage1 import Stage1


def join_models(sources: Sequence[Path], output: Path, sweeps: int = 0) -> Ensemble:
    """Write the ensemble of several model files, atomically.

    Networks of refinement and calibrations of the sources are left out: they were fitted to other distributions.

    Parameters
    ----------
    sources : sequence of Path
        Model files of one architecture; an ensemble among them gives all its members.
    output : Path
        File to write.
    sweeps : int
        Sweeps of each member at prediction; see `Ensemble`.

    Returns
    -------
    Ensemble

    Raises
    ------
    BindraeError
        When a source is missing or no model, two hold the same weights, or they cannot be averaged.
    """
    members: list[Stage1] = []
    for path in sources:
        model = load_model(path)
        members += [model] if isinstance(model, Stage1) else list(model)
    hashes = [sha256_file(path) for path in sources]
    for number, value in enumerate(hashes):
        if value in hashes[:number]:
            raise BindraeError(
                f"{sources[number]} is the same as {sources[hashes.index(value)]}",
                "join networks that were trained with different seeds",
            )
    try:
        ensemble = Ensemble(members, sweeps)
    except ValueError as error:
        raise BindraeError(
            f"{', '.join(map(str, sources))}: {error}", "join networks of the same `model:` settings"
        ) from None
    output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(output) as temporary:
        save_model(ensemble, temporary, {"sources_sha256": hashes})
    return ensemble
