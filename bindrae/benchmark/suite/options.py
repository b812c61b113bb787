"""What a user of the benchmark may ask for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """Options of all parts; each part reads those that concern it.

    Attributes
    ----------
    output : Path
        Folder of the results, one JSON file a part.
    data : Path or None
        Prepared data folder (``results/<dataset>/data``).
    root : Path or None
        Complexes as distributed, for the parts that start from files.
    layout : str
        Shape of `root`, as ``index.layout`` in the config.
    openfold, flash_ipa : Path or None
        Checkouts of these projects, to be measured beside ours.
    quick : bool
        Small sizes and few runs: a first try, not a result.
    peers : str
        Programs of the part `predict`, separated by commas.
    scale : int
        Complexes of the largest dataset of the part `scale`.
    """

    output: Path = Path("results/bench")
    data: Path | None = None
    root: Path | None = None
    layout: str = "casf2016"
    openfold: Path | None = None
    flash_ipa: Path | None = None
    quick: bool = False
    peers: str = "bindrae,faspr,promod3,ligandmpnn"
    scale: int = 3000
