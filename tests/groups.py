"""HETATM groups with the coordinates of the component dictionary, and mmCIF files, for tests of ligands in entries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import biotite.structure.info
import gemmi
import numpy as np

from complexes import Atom, write_pdb


def group(
    code: str,
    number: int = 201,
    chain: str = "A",
    centre: Sequence[float] = (5.0, 5.0, 8.0),
    leave_out: Sequence[str] = (),
) -> list[Atom]:
    """The heavy atoms of an entry of the dictionary (as biotite reads it), its middle where wanted."""
    residue = biotite.structure.info.residue(code)
    residue = residue[residue.element != "H"]
    points = np.round(residue.coord - residue.coord.mean(axis=0) + centre, 3)
    return [
        Atom(name, code, chain, number, tuple(float(v) for v in point), element.capitalize(), hetero=True)
        for name, point, element in zip(residue.atom_name, points, residue.element, strict=True)
        if name not in leave_out
    ]


def write_cif(path: Path, atoms: list[Atom]) -> Path:
    """An mmCIF file of some atoms, gzipped when the name says so; by gemmi, as the PDB would write it."""
    pdb = write_pdb(path.parent / "as.pdb", atoms)
    structure = gemmi.read_structure(str(pdb))
    pdb.unlink()
    structure.setup_entities()
    structure.assign_label_seq_id()
    text = structure.make_mmcif_document().as_string()
    if path.suffix == ".gz":
        import gzip

        path.write_bytes(gzip.compress(text.encode(), mtime=0))
    else:
        path.write_text(text)
    return path
