"""Which atoms of the input file stand in the output, in the order of the file: the others are built."""

from __future__ import annotations

import numpy as np

from bindrae.chem import residues as aa
from bindrae.prediction.inputs import Complex, can_be_built
from bindrae.prediction.keep import kept_atoms
from bindrae.prediction.source import AtomKey, one_location, place
from bindrae.structure.atoms import text

_BACKBONE = [name.encode() for name in (*aa.BACKBONE, "OXT")]


def output_plan(complex_: Complex) -> list[tuple[int, np.ndarray]]:
    """What is written, in the order of the file.

    Returns
    -------
    list of (int, numpy.ndarray)
        A row to build and the index of its terminal oxygen, or -1 and the indices of atoms to copy.
    """
    source = complex_.source
    rows_of: dict[int, list[int]] = {}
    for row, run in enumerate(complex_.run.tolist()):
        rows_of.setdefault(run, []).append(row)
    built_keys = {
        (*source.key(int(source.first[run])), bytes(source.residue_name[source.first[run]]))
        for run, rows in rows_of.items()
        if any(row not in complex_.kept for row in rows)
    }
    location = _locations(complex_, rows_of)
    plan: list[tuple[int, np.ndarray]] = []
    for run, start in enumerate(source.first.tolist()):
        index = source.atoms_of(run)
        if run in rows_of:
            for row in rows_of[run]:
                own = kept_atoms(complex_, row)
                if row in complex_.kept:
                    plan.append((-1, _unique(complex_, own)))
                else:
                    plan.append((row, own[source.name[own] == b"OXT"][:1]))
            continue
        key, name = source.key(start), bytes(source.residue_name[start])
        chosen = location.get(key)
        if chosen is not None and chosen[0] is not None and chosen[0] != name and (source.altloc[index] != b"").all():
            continue  # another residue at the same position, of which one location stays
        if (*key, name) in built_keys:
            continue  # side-chain atoms of a residue that stands elsewhere in the file
        if not source.hetero[start] and can_be_built(text(name)) and place(*key) not in complex_.copied:
            # An amino acid that cannot be built: its side chain is not read, so it is not copied either.
            index = index[np.isin(source.name[index], _BACKBONE)]
            if not len(index):
                continue
        atoms = one_location(source, index, chosen[1] if chosen else b"")
        plan.append((-1, atoms[np.isfinite(source.xyz[atoms]).all(axis=1)]))
    return [(row, atoms) for row, atoms in plan if row >= 0 or len(atoms)]


def _unique(complex_: Complex, index: np.ndarray) -> np.ndarray:
    """The first atom of each name, with finite coordinates."""
    source = complex_.source
    index = index[np.isfinite(source.xyz[index]).all(axis=1)]
    _, first = np.unique(source.name[index], return_index=True)
    return index[np.sort(first)]


def _locations(complex_: Complex, rows_of: dict[int, list[int]]) -> dict[AtomKey, tuple[bytes | None, bytes]]:
    """Residue name and alternate location that stay at each position with labels."""
    source = complex_.source
    found: dict[AtomKey, tuple[bytes | None, bytes]] = {}
    for run, rows in rows_of.items():
        start = int(source.first[run])
        found[source.key(start)] = bytes(source.residue_name[start]), bytes(source.altloc[complex_.ca[rows[0]]])
    parts: dict[AtomKey, list[int]] = {}
    for i in np.flatnonzero(source.altloc != b"").tolist():
        parts.setdefault(source.key(i), []).append(i)
    for key, index in parts.items():
        if key in found:
            continue
        stay = one_location(source, np.array(index))
        names = set(source.residue_name[index].tolist())
        label, name = bytes(source.altloc[stay][0]), bytes(source.residue_name[stay][0])
        found[key] = (name if len(names) > 1 else None), label
    return found
