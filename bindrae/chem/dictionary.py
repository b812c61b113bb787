"""The chemical component dictionary: atoms, bonds and charges of everything that occurs in the PDB, by residue name.

It is the copy that biotite ships, a BinaryCIF file of 63 MB (https://github.com/molstar/BinaryCIF). It is read once a
process, when the first ligand needs it, and only the columns that are used: 0.3 s and 150 MB; biotite's own functions
take ten times as long and 880 MB.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from bindrae.errors import BindraeError


@dataclass(frozen=True)
class Component:
    """Heavy atoms of one entry of the dictionary."""

    code: str
    names: tuple[str, ...]  # [T] atom names
    alternative_names: tuple[str, ...]  # [T] those of older files
    elements: tuple[str, ...]  # [T] symbols
    charges: tuple[int, ...]  # [T] formal charges
    hydrogens: tuple[int, ...]  # [T] hydrogens bound to each
    bonds: tuple[tuple[int, int, str], ...]  # two atoms and SING, DOUB, TRIP, QUAD or AROM


@dataclass(frozen=True)
class _Text:
    """A column of strings as numbers into a list of the different ones."""

    number: np.ndarray
    strings: list[str]

    def part(self, rows: slice) -> list[str]:
        return [self.strings[i] if i >= 0 else "" for i in self.number[rows].tolist()]

    def runs(self) -> dict[str, slice]:
        """Rows of each string; equal ones stand together."""
        starts = np.flatnonzero(np.diff(self.number, prepend=-2))
        stops = np.append(starts[1:], len(self.number))
        return {
            self.strings[i]: slice(a, b)
            for i, a, b in zip(self.number[starts].tolist(), starts.tolist(), stops.tolist(), strict=True)
        }


@dataclass(frozen=True)
class _Dictionary:
    atoms_of: dict[str, slice]
    bonds_of: dict[str, slice]
    name: _Text
    alternative_name: _Text
    element: _Text
    charge: np.ndarray
    bond_from: _Text
    bond_to: _Text
    order: _Text


_ARRAY_TYPES = {1: "<i1", 2: "<i2", 3: "<i4", 4: "<u1", 5: "<u2", 6: "<u4"}


def decode(data: Any, steps: list[dict[str, Any]]) -> np.ndarray:
    """Integers of a BinaryCIF array.

    Parameters
    ----------
    data : bytes
        The packed array.
    steps : list of dict
        Its encodings in the order in which they were applied: Delta, RunLength, IntegerPacking, ByteArray.

    Returns
    -------
    numpy.ndarray
        int32.
    """
    array = np.frombuffer(data, dtype=_ARRAY_TYPES[steps[-1]["type"]])
    for step in reversed(steps[:-1]):
        if step["kind"] == "IntegerPacking":
            limits = np.iinfo(array.dtype)  # a value at the limit goes on in the next
            goes_on = (array == limits.max) | ((array == limits.min) & (not step["isUnsigned"]))
            starts = np.flatnonzero(~np.append(False, goes_on[:-1]))
            array = (
                array.astype(np.int32) if len(starts) == len(array) else np.add.reduceat(array, starts, dtype=np.int32)
            )
        elif step["kind"] == "RunLength":
            array = np.repeat(array[::2], array[1::2])
        elif step["kind"] == "Delta":
            array = np.cumsum(array, dtype=np.int32) + np.int32(step["origin"])
        else:
            raise BindraeError(
                f"the dictionary of biotite is packed in a way this version cannot read: {step['kind']}",
                "install the version of biotite that constraints.txt names",
            )
    return array.astype(np.int32, copy=False)


def _text(column: dict[str, Any]) -> _Text:
    (step,) = column["data"]["encoding"]
    offsets = decode(step["offsets"], step["offsetEncoding"]).tolist()
    number = decode(column["data"]["data"], step["dataEncoding"])
    small = next(t for t in (np.int8, np.int16, np.int32) if len(offsets) <= np.iinfo(t).max)
    return _Text(number.astype(small), [step["stringData"][a:b] for a, b in pairwise(offsets)])


@cache
def _dictionary() -> _Dictionary:
    try:
        import msgpack

        package = importlib.util.find_spec("biotite")
        if package is None or not package.submodule_search_locations:
            raise ImportError("biotite is not installed")
        folder = Path(package.submodule_search_locations[0])
        packed = (folder / "structure" / "info" / "components.bcif").read_bytes()
    except (ImportError, FileNotFoundError) as error:
        raise BindraeError(
            f"the chemical component dictionary of biotite cannot be read: {error}",
            "install biotite again (pip install --force-reinstall biotite), or run `python -m biotite.setup_ccd`",
        ) from None
    block = msgpack.unpackb(packed, use_list=True, raw=False)["dataBlocks"][0]
    del packed
    tables = {c["name"]: {column["name"]: column for column in c["columns"]} for c in block["categories"]}
    atom, bond = tables["_chem_comp_atom"], tables["_chem_comp_bond"]
    return _Dictionary(
        atoms_of=_text(atom["comp_id"]).runs(),
        bonds_of=_text(bond["comp_id"]).runs(),
        name=_text(atom["atom_id"]),
        alternative_name=_text(atom["alt_atom_id"]),
        element=_text(atom["type_symbol"]),
        charge=decode(atom["charge"]["data"]["data"], atom["charge"]["data"]["encoding"]).astype(np.int8),
        bond_from=_text(bond["atom_id_1"]),
        bond_to=_text(bond["atom_id_2"]),
        order=_text(bond["value_order"]),
    )


@cache
def component(code: str) -> Component | None:
    """The entry of the dictionary with this residue name, or None.

    Raises
    ------
    BindraeError
        When biotite or its dictionary is missing.
    """
    dictionary = _dictionary()
    rows = dictionary.atoms_of.get(code)
    if rows is None:
        return None
    symbols = [symbol.capitalize() for symbol in dictionary.element.part(rows)]
    heavy = [i for i, symbol in enumerate(symbols) if symbol not in ("H", "D")]
    names = dictionary.name.part(rows)
    others = dictionary.alternative_name.part(rows)
    charges = dictionary.charge[rows].tolist()
    place = {names[i]: k for k, i in enumerate(heavy)}
    hydrogens = [0] * len(heavy)
    bonds = []
    if code in dictionary.bonds_of:
        rows = dictionary.bonds_of[code]
        for a, b, order in zip(
            dictionary.bond_from.part(rows), dictionary.bond_to.part(rows), dictionary.order.part(rows), strict=True
        ):
            if a in place and b in place:
                bonds.append((place[a], place[b], order))
            elif a in place or b in place:
                hydrogens[place[a] if a in place else place[b]] += 1
    return Component(
        code=code,
        names=tuple(names[i] for i in heavy),
        alternative_names=tuple(others[i] or names[i] for i in heavy),
        elements=tuple(symbols[i] for i in heavy),
        charges=tuple(charges[i] for i in heavy),
        hydrogens=tuple(hydrogens),
        bonds=tuple(bonds),
    )
