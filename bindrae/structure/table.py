"""The table itself: its columns, the links between its rows and the names of its chains."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bindrae.chem import residues as aa


@dataclass
class ResidueTable:
    """N residues in file order, chain by chain; no two share (chain, number, insertion).

    ``xyz`` is zero where ``mask`` is False; missing atoms are never invented.
    """

    chain: list[str]  # as in the file; ".2", ".3" behind it for later segments under the same id
    number: np.ndarray  # [N] int32, author numbering
    insertion: list[str]
    name: list[str]  # as in the file, before mapping to the parent
    aatype: np.ndarray  # [N] int8, 0-20
    chain_index: np.ndarray  # [N] int16
    linked: np.ndarray  # [N] bool, peptide bond to the next row
    xyz: np.ndarray  # [N, 14, 3] float32, angstrom
    mask: np.ndarray  # [N, 14] bool
    bfactor: np.ndarray  # [N, 14] float32

    def __len__(self) -> int:
        return len(self.aatype)

    def select(self, index: np.ndarray) -> ResidueTable:
        """The same table for some rows, in their order; links to rows left out are cut."""
        rows = np.arange(len(self))[index]
        following = np.append(rows[1:], -1)
        return ResidueTable(
            chain=[self.chain[i] for i in rows],
            number=self.number[rows],
            insertion=[self.insertion[i] for i in rows],
            name=[self.name[i] for i in rows],
            aatype=self.aatype[rows],
            chain_index=np.unique(self.chain_index[rows], return_inverse=True)[1].astype(np.int16),
            linked=self.linked[rows] & (following == rows + 1),
            xyz=self.xyz[rows],
            mask=self.mask[rows],
            bfactor=self.bfactor[rows],
        )

    def sequences(self) -> list[str]:
        """One-letter sequence of each chain, in order of ``chain_index``."""
        letters = np.array(list(aa.ONE_LETTER))[self.aatype]
        return ["".join(letters[self.chain_index == k]) for k in range(int(self.chain_index.max(initial=-1)) + 1)]


def peptide_bonds(xyz: np.ndarray, chain: np.ndarray, longest: float) -> np.ndarray:
    """Which rows are bonded to the next.

    Parameters
    ----------
    xyz : numpy.ndarray
        [N, 14, 3] heavy atoms (A).
    chain : numpy.ndarray
        [N] chain ids; chains are never linked to one another.
    longest : float
        Longest C-N distance of a bond (A).

    Returns
    -------
    numpy.ndarray
        [N] bool.
    """
    linked = np.zeros(len(xyz), dtype=bool)
    distance = np.linalg.norm(xyz[:-1, aa.SLOT_C] - xyz[1:, aa.SLOT_N], axis=-1)
    linked[:-1] = (chain[:-1] == chain[1:]) & (distance < longest)
    return linked


def name_segments(
    chain: list[str], number: np.ndarray, insertion: list[str], linked: np.ndarray
) -> tuple[list[str], np.ndarray, int]:
    """Chain ids that make (chain, number, insertion) unique.

    A segment ends where the id changes, where the numbers fall without a peptide bond, and before a key that the
    segment holds already. The first segment under an id keeps it; the next is called ``A.2``, then ``A.3``; a blank id
    gives ``.2``.

    Parameters
    ----------
    chain, insertion : list of str
    number : numpy.ndarray
        [N]
    linked : numpy.ndarray
        [N] peptide bond to the next row.

    Returns
    -------
    chain : list of str
        The unique ids.
    chain_index : numpy.ndarray
        [N] int16, counted from 0.
    renamed : int
        Segments that got another id.
    """
    parts = _segments(chain, number, insertion, linked)
    taken = set(chain)
    used: dict[str, int] = {}
    labels: list[str] = []
    renamed = 0
    for start, end in pairwise([*parts, len(chain)]):
        name = label = chain[start]
        used[name] = used.get(name, 0) + 1
        if used[name] > 1:
            renamed += 1
            while (label := f"{name}.{used[name]}") in taken:
                used[name] += 1
        labels += [label] * (end - start)
    index = np.repeat(np.arange(len(parts)), np.diff([*parts, len(chain)]))
    return labels, index.astype(np.int16), renamed


def _segments(chain: list[str], number: np.ndarray, insertion: list[str], linked: np.ndarray) -> list[int]:
    """First row of each segment."""
    ids = np.array(chain, dtype=object)
    begins = np.append(True, (ids[1:] != ids[:-1]) | ((number[1:] < number[:-1]) & ~linked[:-1]))[: len(chain)]
    starts: list[int] = np.flatnonzero(begins).tolist()
    parts: list[int] = []
    for start, end in pairwise([*starts, len(chain)]):
        parts.append(start)
        keys = list(zip(number[start:end].tolist(), insertion[start:end], strict=True))
        if len(set(keys)) == len(keys):
            continue
        seen: set[tuple[int, str]] = set()
        for i, key in enumerate(keys, start):
            if key in seen:
                parts.append(i)
                seen = set()
            seen.add(key)
    return parts
