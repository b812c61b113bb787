"""From atoms to residues: which atoms belong together, and which of several locations stays."""

from __future__ import annotations

import numpy as np

from bindrae.chem import residues as aa
from bindrae.structure.atoms import Atoms, changes, label_codes, text, unique_labels
from bindrae.structure.notes import note

_NEAR = 4.0  # atoms of one residue are connected in steps shorter than this, with an atom missing between (A)
_BONDED = 2.0  # longest bond of an amino acid (A)
_ODD = 0x9E3779B97F4A7C15 - 2**64  # any large odd number spreads names over all integers
_MAX_PARTS = 20  # more parts under one key than this are no parted residue but labels that mean nothing


def group_residues(atoms: Atoms) -> tuple[Atoms, np.ndarray]:
    """Put the atoms of each residue together.

    A residue ends where chain, number, insertion code or name changes; at one position two names under labels are
    microheterogeneity, an alternate location of the whole residue. Parts of one residue that another label separates
    (one wrong character in one line is enough) are joined again when key, atom names and distance say so.

    Returns
    -------
    atoms : Atoms
        Each residue's atoms in one run, residues in the order of the file; a parted one stands where most of it stood.
    residue : numpy.ndarray
        [A] int64, non-decreasing from 0.
    """
    if not len(atoms.name):
        return atoms, np.zeros(0, dtype=np.int64)
    changed = changes(atoms.chain) | changes(atoms.insertion) | (atoms.number[1:] != atoms.number[:-1])
    changed |= changes(atoms.residue_name) & (label_codes(atoms.altloc)[1:] == 0)
    residue = np.append(0, np.cumsum(changed))
    first = np.append(0, np.flatnonzero(changed) + 1)
    keys = list(
        zip(atoms.chain[first].tolist(), atoms.number[first].tolist(), atoms.insertion[first].tolist(), strict=True)
    )
    if len(set(keys)) == len(keys):
        return atoms, residue
    return _join_parts(atoms, residue, first, keys)


def _join_parts(
    atoms: Atoms, residue: np.ndarray, first: np.ndarray, keys: list[tuple[bytes, int, bytes]]
) -> tuple[Atoms, np.ndarray]:
    parts_of: dict[tuple[bytes, int, bytes], list[int]] = {}
    for part, key in enumerate(keys):
        parts_of.setdefault(key, []).append(part)
    ends = np.append(first[1:], len(residue))
    target = np.arange(len(first))
    names = atoms.residue_name.copy()

    def spread(whole: list[int]) -> np.ndarray:
        return np.concatenate([np.arange(first[part], ends[part]) for part in whole])

    for parts in parts_of.values():
        if not 1 < len(parts) <= _MAX_PARTS:
            continue
        wholes: list[list[int]] = []
        for part in parts:
            index = np.arange(first[part], ends[part])
            fit = next((whole for whole in wholes if _belong(atoms, spread(whole), index)), None)
            if fit is None:
                wholes.append([part])
            else:
                fit.append(part)
        for whole in wholes:
            if len(whole) > 1:
                note(atoms.notes, "split_residues_joined", 1)
                target[whole] = max(
                    whole, key=lambda part: ends[part] - first[part]
                )  # a stray atom moves, not the rest
                index = spread(whole)
                values, votes = np.unique(atoms.residue_name[index], return_counts=True)
                names[index[atoms.altloc[index] == b""]] = values[np.argmax(votes)]
    joined = target[residue]
    order = np.argsort(joined, kind="stable")
    atoms = atoms.select(order)
    atoms.residue_name = names[order]
    return atoms, np.cumsum(np.diff(joined[order], prepend=joined[order[0]]) != 0)


def _belong(atoms: Atoms, whole: np.ndarray, part: np.ndarray) -> bool:
    """Whether two runs of atoms under one key are parts of one residue."""
    labels = [set(zip(atoms.name[i].tolist(), atoms.altloc[i].tolist(), strict=True)) for i in (whole, part)]
    if labels[0] & labels[1] or len(whole) + len(part) > 100:
        return False
    nearest = np.linalg.norm(atoms.xyz[whole, None] - atoms.xyz[None, part], axis=-1).min()
    names = {text(name) for i in (whole, part) for name in atoms.residue_name[i].tolist()}
    if len(names) == 1:
        return bool(nearest < _NEAR)
    # Another name too: only within an amino acid, not a ligand and the ion beside it.
    return bool(nearest < _BONDED) and any(aa.ALIASES.get(name, name) in aa.TYPE_OF_NAME for name in names)


def choose_altlocs(atoms: Atoms, residue: np.ndarray, rule: str) -> np.ndarray:
    """Indices of the atoms that stay when each residue keeps one alternate location.

    Parameters
    ----------
    atoms : Atoms
    residue : numpy.ndarray
        [A] residue index of each atom.
    rule : {"highest_occupancy", "first"}
        Which location wins. The occupancy of a location is its mean over all atoms that any location of that residue
        name has, so that a location of one atom does not win; equal ones fall to the first label.

    Returns
    -------
    numpy.ndarray
        Atom indices in file order. Atoms without a label always stay.
    """
    if not len(atoms.name):
        return np.zeros(0, dtype=np.int64)
    labelled = np.flatnonzero(label_codes(atoms.altloc))
    keep = np.ones(len(atoms.name), dtype=bool)
    if len(labelled):
        keep[labelled] = False
        starts = np.flatnonzero(np.diff(residue[labelled], prepend=-1))
        for group in np.split(labelled, starts[1:]):
            if rule == "highest_occupancy":
                winner = _most_occupied(atoms, group)
            else:
                winner = atoms.altloc[group[0]]
            keep[group[atoms.altloc[group] == winner]] = True
    index = np.flatnonzero(keep)
    note(atoms.notes, "altloc_atoms_dropped", len(keep) - len(index))
    # The same atom name twice in a residue (a fault of some writers): the first stays.
    name = label_codes(atoms.name)[index]
    mixed = np.sort(name * _ODD + residue[index])  # equal for equal atoms, and hardly ever for others
    if (mixed[1:] != mixed[:-1]).all():
        return index
    _, once = np.unique(residue[index] * len(index) + unique_labels(atoms.name[index])[1], return_index=True)
    note(atoms.notes, "duplicate_atoms_dropped", len(index) - len(once))
    return index[np.sort(once)]


def _most_occupied(atoms: Atoms, group: np.ndarray) -> bytes:
    labels, which = np.unique(atoms.altloc[group], return_inverse=True)
    if len(labels) == 1:
        return bytes(labels[0])
    wanted: dict[bytes, set[bytes]] = {}  # atoms that a location of this residue name should have
    pairs = list(zip(atoms.residue_name[group].tolist(), atoms.name[group].tolist(), strict=True))
    for residue_name, name in pairs:
        wanted.setdefault(residue_name, set()).add(name)
    share = [atoms.occupancy[i] / len(wanted[name]) for i, (name, _) in zip(group, pairs, strict=True)]
    return bytes(labels[int(np.argmax(np.round(np.bincount(which, weights=share), 3)))])
