"""The options of programs that measure something on one side of a dataset."""

from __future__ import annotations

import argparse
from pathlib import Path


def side_parser(module: str, description: str | None, side: str, note: str, most: int) -> argparse.ArgumentParser:
    """A parser of ``DATA MODEL --side --max-complexes``.

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
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("data", type=Path, help="data folder of the dataset: results/<dataset>/data")
    parser.add_argument("model", type=Path, help="model file")
    parser.add_argument("--side", default=side, help=f"side of the split{note}")
    parser.add_argument("--max-complexes", type=int, default=most, help="complexes at most, evenly over the side")
    return parser
