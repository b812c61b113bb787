"""Datasets of any size from a few real complexes: copies under other ids, and chains that differ from one another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bindrae.chem.hetero import PREFIX
from bindrae.chem.residues import ONE_LETTER
from bindrae.data.index import LIGAND_SUFFIXES, PROTEIN_SUFFIXES
from bindrae.data.layout import DataLayout
from bindrae.data.storage import read_table, rejected_path, write_table
from bindrae.errors import BindraeError

FAMILY = 10  # chains that are kin to one another, as many in a small dataset as in a large one
KEPT = 0.7  # share of the residues that a member of a family has from its ancestor


def smallest(layout: DataLayout, count: int) -> list[dict[str, Any]]:
    """The complexes of an index with the smallest files, those apart whose ligand is a residue of the protein file.

    Raises
    ------
    BindraeError
        When there is none.
    """
    rows = read_table(layout.entries, ["id", "protein", "ligand", "size"]).to_pylist()
    own = [row for row in rows if not row["ligand"][0].startswith(PREFIX)]
    if not own:
        raise BindraeError("no complex has a ligand file of its own", "name another --root")
    return sorted(own, key=lambda row: (row["size"], row["id"]))[:count]


def link_copies(sources: list[dict[str, Any]], count: int, folder: Path) -> None:
    """Fill a folder with `count` complexes in layout ``pdbbind``, links to the files of a few.

    Parameters
    ----------
    sources : list of dict
        Rows of an index.
    count : int
    folder : Path
    """
    for number in range(count):
        source = sources[number % len(sources)]
        name = f"{source['id']}-{number:06d}"
        (folder / name).mkdir(parents=True)
        for path, suffixes in (
            (source["protein"], PROTEIN_SUFFIXES),
            *((p, LIGAND_SUFFIXES) for p in source["ligand"]),
        ):
            (folder / name / f"{name}{_suffix(path, suffixes)}").symlink_to(Path(path).resolve())


def _suffix(path: str, suffixes: tuple[str, ...]) -> str:
    """The suffix of a layout with a file's own ending."""
    return next(suffix for suffix in suffixes if path.endswith(suffix[suffix.index(".") :]))


def with_distinct_chains(layout: DataLayout, out: DataLayout, seed: int = 0) -> int:
    """Index and clean tables as the stage `split` reads them, but every chain with a sequence of its own.

    Chains come in families: an ancestor is a real chain with its residues in another order, a stranger to all others;
    members have 70 % of its residues.

    Returns
    -------
    int
        Chains.
    """
    generator, letters, chains = np.random.default_rng(seed), np.array(list(ONE_LETTER[:20])), 0
    ancestors: dict[int, np.ndarray] = {}
    for path in (layout.entries, rejected_path(layout.entries)):
        write_table(read_table(path), out.root / "index" / path.name)
    out.batches.write_bytes(layout.batches.read_bytes())
    for number in layout.batch_numbers():
        table = read_table(layout.batch("clean", number), ["id", "sequences", "ligand_smiles"])
        found = []
        for sequences in table["sequences"].to_pylist():
            changed = []
            for sequence in sequences:
                ancestor = ancestors.get(chains // FAMILY)
                if ancestor is None:
                    ancestor = ancestors[chains // FAMILY] = generator.permutation(list(sequence))
                drawn = generator.choice(letters, len(ancestor))
                changed.append("".join(np.where(generator.random(len(ancestor)) < KEPT, ancestor, drawn)))
                chains += 1
            found.append(changed)
        column = pa.array(found, type=pa.list_(pa.string()))
        write_table(table.set_column(1, "sequences", column), out.batch("clean", number))
        write_table(read_table(rejected_path(layout.batch("clean", number))), rejected_path(out.batch("clean", number)))
    return chains
