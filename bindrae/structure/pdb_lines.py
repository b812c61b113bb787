"""Lines of PDB files, looked at as bytes before gemmi reads them."""

from __future__ import annotations

import numpy as np

_DIGITS = np.frombuffer(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", np.uint8)
_ATOM, _HETATM, _END_OF_MODEL, _ANISOU = np.frombuffer(b"ATOMHETAENDMANIS", dtype=np.uint32)
_HYDROGEN = np.frombuffer(b" H", dtype=np.uint16)[0]
_POINTS = (34, 42, 50)  # of the three coordinates as every program writes them, which so are numbers below 10,000
_NUMBER_OR_BLANK = np.zeros(256, dtype=bool)
_NUMBER_OR_BLANK[list(b" 0123456789")] = True


class PdbLines:
    """The lines of the first model's atoms.

    Parameters
    ----------
    data : bytes
        A PDB file.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._text = np.frombuffer(data, dtype=np.uint8)
        starts = np.append(0, np.flatnonzero(self._text == ord("\n")) + 1)
        ends = np.append(starts[1:], len(data))
        complete = np.searchsorted(starts, len(data) - 27)  # enough for chain, number and insertion code
        starts, ends = starts[:complete], ends[:complete]
        records = _integers(data, np.uint32)[starts] & 0xDFDFDFDF if complete else np.zeros(0, np.uint32)  # upper case
        self._anisotropic = bool((records == _ANISOU).any())
        models = np.flatnonzero(records == _END_OF_MODEL)[:1]
        last = models[0] if len(models) else complete
        atoms = np.flatnonzero((records[:last] == _ATOM) | (records[:last] == _HETATM))
        self._starts, self._ends = starts[atoms], ends[atoms]

    def numbered(self) -> bytes | None:
        """Serial numbers in file order for a file that writes one residue's label in several places.

        gemmi puts all atoms under one chain, number, insertion code and name into one residue, wherever they stand:
        two chains without ids become one, atom upon atom. Sorted by these serial numbers they come apart again.

        Returns
        -------
        bytes or None
            The file with other serial numbers; None where each residue stands in one place (nearly every file).
        """
        starts = self._starts
        if not len(starts):
            return None
        # Chain, number, insertion code and the last letter of the name, as one integer.
        keys = _integers(self._data, np.uint64)[starts + 19]
        runs = np.sort(keys[np.append(True, keys[1:] != keys[:-1])])
        if (runs[1:] != runs[:-1]).all():
            return None
        # Hybrid-36: decimal below 100,000, then A0000 and on, base 36.
        order = np.arange(len(starts))[:, None]
        powers = np.arange(4, -1, -1)
        digits = np.where(order < 100_000, order // 10**powers % 10, (order - 100_000 + 10 * 36**4) // 36**powers % 36)
        changed = self._text.copy()
        changed[starts[:, None] + np.arange(6, 11)] = _DIGITS[digits]
        return changed.tobytes()

    def without_hydrogens(self) -> bytes | None:
        """The file without the lines of hydrogens, which are half of many files and most of gemmi's work.

        Only lines that element and name both call a hydrogen's, with coordinates in their columns: those that cleaning
        drops without a word.

        Returns
        -------
        bytes or None
            None where no line goes: in a file without hydrogens, of hydrogens alone, or with ANISOU records, which
            belong to the line before.
        """
        whole = self._ends - self._starts > 78
        starts, ends = self._starts[whole], self._ends[whole]
        if self._anisotropic or not len(starts):
            return None
        first, second = self._text[starts + 12], self._text[starts + 13]
        gone = (first == ord("H")) | (_NUMBER_OR_BLANK[first] & (second == ord("H")))
        gone &= _integers(self._data, np.uint16)[starts + 76] == _HYDROGEN
        for point in _POINTS:
            gone &= self._text[starts + point] == ord(".")
        starts, ends = starts[gone], ends[gone]
        if not 0 < len(starts) < len(self._starts):
            return None
        apart = ends[:-1] != starts[1:]
        kept_to = starts[np.append(True, apart)].tolist()
        kept_from = ends[np.append(apart, True)].tolist()
        data = self._data
        return b"".join([data[a:b] for a, b in zip([0, *kept_from], [*kept_to, len(data)], strict=True)])


def _integers(data: bytes, kind: type[np.unsignedinteger]) -> np.ndarray:
    """The bytes from each place on as one integer; a view, as long as the data but for the last few."""
    size = np.dtype(kind).itemsize
    return np.ndarray((len(data) - size + 1,), kind, buffer=data, strides=(1,))
