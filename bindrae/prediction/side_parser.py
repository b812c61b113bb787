"""The options of programs that measure or fit something on one side of a dataset."""

from __future__ import annotations

import argparse
from pathlib import Path


def side_parser(
    module: str, description: str | None, side: str, note: str, most: int, writes: bool = False
) -> argparse.ArgumentParser:
    """A parser of ``DATA MODEL --side --max-complexes``, and of ``--output`` where a model file is written.

    Parameters
    ----------
    module : str
        Started with ``python -m``.
    description : str
        The module's docstring.
    side, note : str
        Side of the split that is taken by default, and what its help says more.
    most : int
        Complexes at most, by default.
    writes : bool
        Whether the program writes a model file.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("data", type=Path, help="data folder of the dataset: results/<dataset>/data")
    parser.add_argument("model", type=Path, help="model file")
    parser.add_argument("--side", default=side, help=f"side of the split{note}")
    parser.add_argument("--max-complexes", type=int, default=most, help="complexes at most, evenly over the side")
    if writes:
        parser.add_argument("--output", type=Path, help="model file to write; the same one by default")
    return parser
