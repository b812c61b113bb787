"""Our own model, through the call that `bindrae predict` makes."""

from __future__ import annotations

import time
from pathlib import Path

import torch

import bindrae
from bindrae import __version__
from bindrae.benchmark.peers.given import Given
from bindrae.benchmark.peers.peer import Cost, PackFailure
from bindrae.data.storage import sha256_file, sha256_text
from bindrae.errors import BindraeError
from bindrae.prediction.predict import PredictionOptions, Predictor, predict_complex
from bindrae.prediction.write import write_prediction

# What a prediction follows from besides the weights.
_CODE = ("chem", "data", "geometry", "model", "prediction", "structure")


class Own:
    """Runs in this process; imports and loading of the weights are not counted, as with the workers of others.

    Parameters
    ----------
    model : Path or None
        Model file; None for the weights that ship with the package.
    refine : bool
        Whether clashes are removed, which is the default of `bindrae predict`.
    """

    given = "protein; ligand with its bonds; other molecules"

    def __init__(self, model: Path | None, refine: bool) -> None:
        self.name = "bindrae" if refine else "bindrae-unrefined"
        self._path = model
        self._options = PredictionOptions(refine=refine)
        self._predictor: Predictor | None = None

    def prepare(self, folder: Path, threads: int) -> str:
        """See `Peer`; needs no environment."""
        torch.set_num_threads(threads)
        self._predictor = Predictor.load(self._path)
        return f"bindrae {__version__}, code {code_digest()[:12]}, model {self._predictor.sha256[:12]}"

    def pack(self, given: Given, output: Path, limit: float) -> Cost:
        """See `Peer`; has no time limit."""
        assert self._predictor is not None
        start, cpu_start = time.monotonic(), time.process_time()
        try:
            prediction = predict_complex(self._predictor, given.path, given.ligand, self._options, given.id)
            write_prediction(prediction, self._predictor, output)
        except (BindraeError, RuntimeError, MemoryError) as error:
            raise PackFailure(f"{type(error).__name__}: {getattr(error, 'message', error)}") from None
        return Cost(time.monotonic() - start, time.process_time() - cpu_start)

    def close(self) -> None:
        """See `Peer`."""


def code_digest() -> str:
    """SHA-256 of the modules and tables that a prediction follows from: other code, other results."""
    root = Path(bindrae.__file__).parent
    files = sorted(path for part in _CODE for ending in ("py", "csv") for path in (root / part).rglob(f"*.{ending}"))
    return sha256_text("".join(f"{path.relative_to(root)} {sha256_file(path)}\n" for path in files))
