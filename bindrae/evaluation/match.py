"""Which residue of a predicted file is which of the truth."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from bindrae.chem import residues as aa
from bindrae.errors import BindraeError
from bindrae.structure.table import ResidueTable, name_segments, peptide_bonds

_MIN_AGREEMENT = 0.5
"""Of residues that truly correspond, nearly all have the same type; of residues of shifted numbers, 6 % do."""
_BOND_ANGSTROM = 2.0
_SAME_PLACE_ANGSTROM = 5.0


@dataclass(frozen=True)
class FileResidues:
    """The R amino acids of a file, in its order and under its labels."""

    chain: list[str]
    number: np.ndarray  # [R] int32
    insertion: list[str]
    kind: np.ndarray  # [R] type 0-20
    xyz: np.ndarray  # [R, 14, 3] angstrom
    mask: np.ndarray  # [R, 14]

    def __len__(self) -> int:
        return len(self.chain)


def match_residues(
    table: ResidueTable, true_file: FileResidues, pred: FileResidues, pred_name: str, true_name: str
) -> tuple[np.ndarray, list[str]]:
    """Find the residue of a prediction for each row of the true table.

    By chain, number and insertion code. Where the residues so found are of other types, or none is found, the file
    has been relabelled. Then all residues are taken in their order, provided that the two sequences are the same; and
    else chain by chain, a chain of the prediction with the same numbers and types or with the same sequence.

    Parameters
    ----------
    table : ResidueTable
        The truth, N rows.
    true_file : FileResidues
        All residues of the true file, also those that cleaning left out.
    pred : FileResidues
    pred_name, true_name : str
        For messages.

    Returns
    -------
    rows : numpy.ndarray
        [N] index into the prediction, -1 where it has none.
    notes : list of str

    Raises
    ------
    BindraeError
        When a chain is there under the right labels with other residues, or no chain is there at all.
    """
    base = _chains_of_file(table, true_file)
    kind = table.aatype.astype(np.int64)
    rows = _by_key(base, table, pred)
    notes: list[str] = []
    segments = [np.flatnonzero(table.chain_index == k) for k in range(int(table.chain_index.max()) + 1)]
    relabelled = [s for s in segments if not _agrees(kind[s], pred, rows[s])]
    if relabelled:
        in_order = _in_order(base, table, true_file, pred)
        if in_order is not None and len(relabelled) == len(segments):
            rows = in_order
            notes.append("chains or numbers differ from the truth's; matched by order, the sequences are the same")
        else:
            rows, notes = _by_chain(table, pred, rows, relabelled, pred_name, true_name)
    there = rows >= 0
    other = there & ~_same(kind, pred.kind[rows])
    missing = len(rows) - int(there.sum())
    if other.any():
        notes.append(f"{int(other.sum())} residues are of another type than the true ones: side chains missing")
    if missing:
        notes.append(f"{missing} of {len(rows)} residues are missing in the prediction: misses")
    return rows, notes


def _same(kind: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.asarray((kind == other) | (kind == aa.UNKNOWN) | (other == aa.UNKNOWN))


def _agrees(kind: np.ndarray, pred: FileResidues, rows: np.ndarray) -> bool:
    there = rows >= 0
    return bool(there.any()) and float(_same(kind[there], pred.kind[rows[there]]).mean()) >= _MIN_AGREEMENT


def _chains_of_file(table: ResidueTable, true_file: FileResidues) -> list[str]:
    """Chain ids as the file has them: later segments under one id are called ``A.2`` in the table."""
    known = set(true_file.chain)
    return [c.strip() if c.strip() in known else c.rpartition(".")[0].strip() for c in table.chain]


def _by_key(base: list[str], table: ResidueTable, pred: FileResidues) -> np.ndarray:
    """An unused residue under the same label, one of the same type before others: [N], -1 for none."""
    pool: dict[tuple[str, int, str], list[int]] = defaultdict(list)
    for i, key in enumerate(zip(pred.chain, pred.number.tolist(), pred.insertion, strict=True)):
        pool[key].append(i)
    rows = np.full(len(base), -1)
    kinds = table.aatype.tolist()
    for row, key in enumerate(zip(base, table.number.tolist(), table.insertion, strict=True)):
        under = pool.get(key)
        if under:
            same = [i for i in under if pred.kind[i] == kinds[row]] or under
            rows[row] = same[0] if len(same) == 1 else _nearest(table.xyz[row, aa.SLOT_CA], pred, same)
            under.remove(rows[row])
    return rows


def _nearest(point: np.ndarray, pred: FileResidues, candidates: list[int]) -> int:
    """The residue in the place of a true CA; the first where none is, as in another coordinate frame."""
    distance = np.linalg.norm(pred.xyz[candidates, aa.SLOT_CA] - point, axis=-1)
    return candidates[int(distance.argmin()) if distance.min() < _SAME_PLACE_ANGSTROM else 0]


def _in_order(base: list[str], table: ResidueTable, true_file: FileResidues, pred: FileResidues) -> np.ndarray | None:
    """Rows in order of the files where the sequences agree, with or without what cleaning left out of the truth."""
    if len(pred) == len(table) and _same(table.aatype.astype(np.int64), pred.kind).all():
        return np.arange(len(table))
    if len(pred) == len(true_file) and _same(true_file.kind, pred.kind).all():
        return _by_key(base, table, true_file)
    return None


def _by_chain(
    table: ResidueTable,
    pred: FileResidues,
    rows: np.ndarray,
    relabelled: list[np.ndarray],
    pred_name: str,
    true_name: str,
) -> tuple[np.ndarray, list[str]]:
    """Chains of the prediction for those of the truth that are not there under their own labels."""
    kind = table.aatype.astype(np.int64)
    rows, notes = rows.copy(), []
    claimed = {id(s): bool((rows[s] >= 0).any()) for s in relabelled}
    for s in relabelled:
        rows[s] = -1
    linked = peptide_bonds(pred.xyz, np.array(pred.chain), _BOND_ANGSTROM)
    _, index, _ = name_segments(pred.chain, pred.number, pred.insertion, linked)
    free = [np.flatnonzero(index == k) for k in range(int(index.max()) + 1)]
    free = [f for f in free if not np.isin(f, rows).any()]
    for s in relabelled:
        fits = [(f, found) for f in free if (found := _chain_rows(table, s, pred, f)) is not None]
        name = table.chain[s[0]] or "(blank)"
        if fits:
            # Of equal chains the one in the same place, as long as both stand in one coordinate frame; else the first.
            distances = [_ca_distance(table, s, pred, found) for _, found in fits]
            best = int(np.argmin(distances)) if min(distances) < _SAME_PLACE_ANGSTROM else 0
            chosen, rows[s] = fits[best]
            free = [f for f in free if f is not chosen]
            notes.append(f"chain {pred.chain[chosen[0]] or '(blank)'} is taken for chain {name} of the truth")
        elif claimed[id(s)]:
            raise BindraeError(
                f"{pred_name}: under the labels of chain {name} of {true_name} stand residues of other types",
                "the prediction is numbered otherwise or of another protein; keep the numbers of the true file",
            )
        else:
            notes.append(f"chain {name} of the truth is not in the prediction: {len(s)} misses")
    if not (rows >= 0).any():
        raise BindraeError(
            f"{pred_name}: none of its {len(pred)} residues is one of the {len(kind)} of {true_name}, by chain and "
            "number or by the sequence of a chain",
            "keep chain ids and numbers of the true file, or all its residues in their order",
        )
    return rows, notes


def _chain_rows(table: ResidueTable, s: np.ndarray, pred: FileResidues, f: np.ndarray) -> np.ndarray | None:
    """Rows for one chain of the truth from one of the prediction, by number, or by the sequence; None if neither."""
    kind = table.aatype.astype(np.int64)[s]
    of_key = {(int(pred.number[i]), pred.insertion[i]): int(i) for i in f[::-1]}
    rows = np.array([of_key.get((int(table.number[i]), table.insertion[i]), -1) for i in s])
    if _agrees(kind, pred, rows) and (rows >= 0).mean() >= _MIN_AGREEMENT:
        return rows
    return f if len(f) == len(s) and _same(kind, pred.kind[f]).all() else None


def _ca_distance(table: ResidueTable, s: np.ndarray, pred: FileResidues, rows: np.ndarray) -> float:
    both = (rows >= 0) & pred.mask[rows, aa.SLOT_CA]
    if not both.any():
        return float("inf")
    return float(np.linalg.norm(table.xyz[s[both], aa.SLOT_CA] - pred.xyz[rows[both], aa.SLOT_CA], axis=-1).mean())
