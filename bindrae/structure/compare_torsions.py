"""Compare the torsions of a prepared dataset with those of biotite and Bio.PDB.

``python -m bindrae.structure.compare_torsions results/casf2016/data`` reads each protein file again with both programs
and ends with exit code 1 when a torsion that both have differs by more than 0.1 degree. It needs the packages biotite
and biopython; CASF-2016 takes minutes, nearly all of them theirs.
"""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bindrae.data.layout import DataLayout
from bindrae.data.schema import iterate_rows
from bindrae.data.storage import read_table
from bindrae.files import read_limited
from bindrae.structure.atoms import MAX_BYTES
from bindrae.structure.torsions import TORSION_NAMES

TOLERANCE_DEG = 0.1
Key = tuple[str, int, str]
Angles = dict[Key, np.ndarray]  # seven angles in degrees, NaN where there is none


def of_biotite(text: str) -> Angles:
    """Torsions by biotite, a residue each."""
    from biotite import structure
    from biotite.structure.io.pdb import PDBFile

    atoms = PDBFile.read(io.StringIO(text)).get_structure(model=1, altloc="occupancy")
    atoms = atoms[structure.filter_amino_acids(atoms) & (atoms.element != "H") & (atoms.element != "D")]
    starts = structure.get_residue_starts(atoms)
    backbone = np.stack(structure.dihedral_backbone(atoms), axis=1)
    angles = np.degrees(np.concatenate([backbone, structure.dihedral_side_chain(atoms)], axis=1))
    found: Angles = {}
    for i, row in zip(starts, angles, strict=True):
        found.setdefault((str(atoms.chain_id[i]), int(atoms.res_id[i]), str(atoms.ins_code[i])), row)
    return found


def of_biopython(text: str) -> Angles:
    """Torsions by Bio.PDB's internal coordinates, a residue each."""
    from Bio.PDB.PDBParser import PDBParser

    model = PDBParser(QUIET=True).get_structure("x", io.StringIO(text))[0]
    for residue in model.get_residues():
        for atom in [a for a in residue.get_unpacked_list() if a.element in ("H", "D")]:
            residue.detach_child(atom.id)
    model.atom_to_internal_coordinates()
    found: Angles = {}
    for chain in model:
        residues = list(chain)
        for i, residue in enumerate(residues):
            ric = residue.internal_coord
            if ric is None:
                continue
            after = residues[i + 1].internal_coord if i + 1 < len(residues) else None
            row = np.full(7, np.nan)
            # Their omega belongs to the bond before the residue.
            for k, (owner, name) in enumerate(
                [(ric, "phi"), (ric, "psi"), (after, "omg")] + [(ric, f"chi{j}") for j in range(1, 5)]
            ):
                value = owner.get_angle(name) if owner is not None else None
                row[k] = np.nan if value is None else value
            found.setdefault((chain.id.strip(), residue.id[1], residue.id[2].strip()), row)
    return found


def compare(
    rows: Iterator[tuple[dict[str, Any], dict[str, Any], str]], program: Callable[[str], Angles]
) -> dict[str, Any]:
    """Differences between stored torsions and those of another program.

    Parameters
    ----------
    rows : iterator of (dict, dict, str)
        Rows of the clean and the torsions table, and the protein file's text.
    program : callable
        `of_biotite` or `of_biopython`.

    Returns
    -------
    dict
        ``compared``, ``ours_only``, ``theirs_only`` ([7] counts), ``largest`` ([7] degrees) and ``far``, the torsions
        that differ by more than 0.1 degree: (id, key, name, ours, theirs).
    """
    out: dict[str, Any] = {
        name: np.zeros(7, dtype=int) for name in ("residues", "compared", "ours_only", "theirs_only")
    }
    out |= {"largest": np.zeros(7), "far": []}
    for clean, torsions, text in rows:
        theirs = program(text)
        ours, defined = np.degrees(torsions["angles"]), torsions["defined"]
        for i, key in enumerate(zip(clean["chain"], clean["number"].tolist(), clean["insertion"], strict=True)):
            other = theirs.get(key, np.full(7, np.nan))
            has = np.isfinite(other)
            both = has & defined[i]
            difference = np.where(both, np.abs((ours[i] - np.where(has, other, 0.0) + 180.0) % 360.0 - 180.0), 0.0)
            out["residues"] += 1
            out["compared"] += both
            out["ours_only"] += defined[i] & ~has
            out["theirs_only"] += has & ~defined[i]
            out["largest"] = np.maximum(out["largest"], difference)
            for k in np.flatnonzero(difference > TOLERANCE_DEG):
                out["far"].append((clean["id"], key, TORSION_NAMES[k], float(ours[i, k]), float(other[k])))
    return out


def prepared(layout: DataLayout) -> Iterator[tuple[dict[str, Any], dict[str, Any], str]]:
    """Rows of both tables with the text of the protein file, complex by complex; mmCIF files are left out."""
    paths = {row["id"]: Path(row["protein"]) for row in read_table(layout.entries).to_pylist()}
    for number in layout.batch_numbers():
        clean = iterate_rows(read_table(layout.batch("clean", number), ["id", "chain", "number", "insertion"]))
        torsions = iterate_rows(read_table(layout.batch("torsions", number)))
        for row, angles in zip(clean, torsions, strict=True):
            text = read_limited(paths[row["id"]], MAX_BYTES).decode("latin-1")
            if not text.startswith("data_"):
                yield row, angles, text


def main(folder: str) -> int:
    """Print the comparison; the exit code."""
    warnings.simplefilter("ignore")
    failed = False
    for name, program in (("biotite", of_biotite), ("Bio.PDB", of_biopython)):
        result = compare(prepared(DataLayout(Path(folder))), program)
        print(f"{name}: {result['residues'][0]} residues")
        print(f"{'':8}{'compared':>10}{'ours only':>11}{'theirs only':>13}{'largest deg':>13}")
        for k, torsion in enumerate(TORSION_NAMES):
            counts = "".join(
                f"{result[c][k]:>{w}}" for c, w in (("compared", 10), ("ours_only", 11), ("theirs_only", 13))
            )
            print(f"{torsion:8}{counts}{result['largest'][k]:13.5f}")
        for identifier, key, torsion, ours, theirs in result["far"]:
            print(f"  {identifier} {key} {torsion}: {ours:.3f}, they {theirs:.3f}")
        failed |= bool(result["far"])
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
