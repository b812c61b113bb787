"""The no-learning row: the most frequent rotamer given residue type, phi and psi, counted on the training side."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

import numpy as np

from bindrae.chem import residues as aa

_CELL_DEG = 20
_MIN_COUNT = 20
# chis about a bond to a flat group spread over the whole circle: finer wells than the three of an sp3 bond.
_FLAT = {("ASN", 2), ("ASP", 2), ("GLN", 3), ("GLU", 3), ("HIS", 2), ("PHE", 2), ("TRP", 2), ("TYR", 2)}
Key = tuple[int, ...]


class RotamerTable:
    """Most frequent rotamer by type and backbone cell, backing off to wider neighbourhoods where data are few.

    A rotamer is a combination of wells (120 degrees wide, 60 for chis about flat groups); its angles are the circular
    means of the members' chis.
    """

    def __init__(self) -> None:
        self._sums: dict[Key, dict[Key, np.ndarray]] = defaultdict(lambda: defaultdict(lambda: np.zeros((4, 2))))
        self._counts: dict[Key, Counter[Key]] = defaultdict(Counter)
        self._chosen: dict[Key, np.ndarray] = {}

    def add(self, angles: np.ndarray, defined: np.ndarray, aatype: np.ndarray) -> None:
        """Count the residues of a complex: [N, 7] radians, [N, 7] bool, [N]."""
        wanted = aa.CHI_MASK[aatype]
        whole = wanted.any(1) & (defined[:, 3:] | ~wanted).all(1)
        for i in np.flatnonzero(whole):
            kind = int(aatype[i])
            chi = angles[i, 3:].astype(np.float64)
            chi = np.where(aa.CHI_PI_PERIODIC[kind], np.mod(chi, np.pi), chi)
            # Doubled angles make the mean of a pi-periodic chi right.
            scale = np.where(aa.CHI_PI_PERIODIC[kind], 2.0, 1.0)
            vector = np.stack([np.sin(scale * chi), np.cos(scale * chi)], -1)
            wells = self._wells(kind, chi)
            for key in self._keys(kind, angles[i], defined[i]):
                self._counts[key][wells] += 1
                self._sums[key][wells] += vector
        self._chosen.clear()

    def predict(self, angles: np.ndarray, defined: np.ndarray, aatype: np.ndarray) -> np.ndarray:
        """[N, 4] chis (radians) from the backbone torsions among [N, 7] `angles`; chis among them are not read."""
        chi = np.zeros((len(aatype), 4), dtype=np.float32)
        for i in np.flatnonzero(aa.CHI_MASK[aatype].any(1)):
            for key in self._keys(int(aatype[i]), angles[i], defined[i]):
                count = self._counts.get(key)
                if count and (len(key) == 1 or sum(count.values()) >= _MIN_COUNT):
                    chi[i] = self._best(key)
                    break
        return chi

    def _best(self, key: Key) -> np.ndarray:
        if key not in self._chosen:
            count = self._counts[key]
            wells = min(count, key=lambda w: (-count[w], w))
            vector = self._sums[key][wells]
            scale = np.where(aa.CHI_PI_PERIODIC[key[0]], 2.0, 1.0)
            self._chosen[key] = np.arctan2(vector[:, 0], vector[:, 1]) / scale
        return self._chosen[key]

    @staticmethod
    def _wells(kind: int, chi: np.ndarray) -> Key:
        wells = []
        for k in range(4):
            if aa.CHI_MASK[kind, k]:
                width = 60.0 if (aa.RESIDUE_NAMES[kind], k + 1) in _FLAT else 120.0
                wells.append(int(np.degrees(chi[k]) % 360.0 // width))
        return tuple(wells)

    @staticmethod
    def _keys(kind: int, angles: np.ndarray, defined: np.ndarray) -> list[Key]:
        """Cells from the finest to the type alone."""
        if not defined[:2].all():
            return [(kind,)]
        phi, psi = np.degrees(angles[:2]) % 360.0
        return [(kind, w, int(phi // w), int(psi // w)) for w in (_CELL_DEG, 3 * _CELL_DEG)] + [(kind,)]


def count_rotamers(complexes: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> RotamerTable:
    """A table from (angles [N, 7], defined [N, 7], aatype [N]) of the training side."""
    table = RotamerTable()
    for angles, defined, aatype in complexes:
        table.add(angles, defined, aatype)
    return table
