"""Residues whose side chain stays as the file has it: by request, far from the ligand, or because none can be built."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import torch

from bindrae.chem import residues as aa
from bindrae.errors import BindraeError
from bindrae.geometry.kinematics import angles_to_circle
from bindrae.model.context import KnownSidechains
from bindrae.prediction.backbone import OTHER_MOLECULES
from bindrae.prediction.inputs import Complex, near_ligand
from bindrae.prediction.source import one_location
from bindrae.structure.atoms import text
from bindrae.structure.torsions import CHI1, residue_torsions

_FIXED, _OUTSIDE = "fixed", "outside the pocket"
_PLACE = re.compile(r"(?P<chain>[^:\s,]*):(?P<number>-?\d+)(?P<insertion>[A-Za-z]?)")


def parse_places(given: str) -> list[str]:
    """Residues named as ``CHAIN:NUMBER[INSERTION]``, separated by commas or white space, or a file of them.

    Raises
    ------
    BindraeError
        When a name has another form.
    """
    words = given
    if ":" not in given or os.path.isfile(given):  # a long list is no name of a file
        try:
            lines = Path(given).read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise BindraeError(
                f"--fix: {given!r} is neither a residue nor a readable list of residues ({error})",
                "write residues as A:45,B:12A, or name a text file that holds them",
            ) from None
        words = " ".join(line.partition("#")[0] for line in lines)
    places = re.split(r"[,\s]+", words.strip().strip(","))
    wrong = [name for name in places if not _PLACE.fullmatch(name)]
    if wrong:
        raise BindraeError(
            f"--fix: {wrong[0]!r} does not name a residue",
            "write chain, colon, number and insertion code: A:45 or B:12A",
        )
    return list(dict.fromkeys(places))


def keep_unbuildable(complex_: Complex) -> None:
    """Keep residues of other types than the 20 (and MSE, SEC) as they are in the file."""
    _keep(complex_, np.flatnonzero(~complex_.builds), "no side chain of this type can be built")


def keep_named(complex_: Complex, places: list[str]) -> None:
    """Keep the named residues as they are in the file.

    Raises
    ------
    BindraeError
        When a residue is not in the protein.
    """
    rows_at: dict[str, list[int]] = {}
    for row in range(len(complex_.table)):
        rows_at.setdefault(complex_.place(row), []).append(row)
    known = set(rows_at) | {name for name, _ in complex_.outside}
    missing = [name for name in places if name not in known]
    if missing:
        raise BindraeError(
            f"{complex_.protein} holds no residue {', '.join(missing[:5])}",
            "give chain and number as the file has them (of mmCIF, those of the author)",
        )
    complex_.copied.update(places)
    rows = np.array(sorted(row for name in places for row in rows_at.get(name, [])), dtype=np.int64)
    _keep(complex_, rows, _FIXED)
    incomplete = [complex_.place(row) for row in rows.tolist() if not _is_complete(complex_, row)]
    if incomplete:
        complex_.notes.append(f"fixed although atoms of it are missing: {', '.join(incomplete[:10])}")


def keep_far(complex_: Complex, radius: float) -> None:
    """Keep the side chains that the file has in full of residues farther than `radius` (A) from the ligand.

    Raises
    ------
    BindraeError
        Without a ligand.
    """
    if complex_.ligand is None:
        raise BindraeError(f"{complex_.id}: --only-pocket needs a ligand", "name one, or leave --only-pocket out")
    complex_.copied.update(name for name, _ in complex_.outside)
    far = [row for row in np.flatnonzero(~near_ligand(complex_, radius)).tolist() if row not in complex_.kept]
    complete = np.array([row for row in far if _is_complete(complex_, row)], dtype=np.int64)
    _keep(complex_, complete, _OUTSIDE)
    if len(complete) < len(far):
        complex_.notes.append(
            f"{len(far) - len(complete)} residues outside the pocket lack atoms of their side chain and are rebuilt too"
        )


def kept_sidechains(complex_: Complex) -> KnownSidechains | None:
    """The side chains that are kept by request, as the network is shown them; None where there are none.

    Those with all their chis are shown: what is built must fit them. Residues that are kept because none can be built
    are not asked for, and not shown.
    """
    rows = [row for row, why in complex_.kept.items() if why in (_FIXED, _OUTSIDE)]
    if not rows:
        return None
    kind = complex_.table.aatype.astype(np.int64)
    angles, defined = residue_torsions(complex_.kept_xyz, complex_.kept_mask, kind, complex_.table.linked)
    has_chi = aa.CHI_MASK[kind]
    whole = (defined[:, CHI1:] | ~has_chi).all(1) & has_chi[:, 0]
    shown = np.zeros(len(kind), dtype=bool)
    shown[rows] = whole[rows]
    if not shown.any():
        return None
    chi = angles_to_circle(torch.as_tensor(angles[:, CHI1:]))
    return KnownSidechains(chi.unsqueeze(0), torch.as_tensor(shown).unsqueeze(0))


def _keep(complex_: Complex, rows: np.ndarray, why: str) -> None:
    for row in rows.tolist():
        complex_.kept[row] = why
        for atom, slot in _slots_of(complex_, row).items():
            if slot >= aa.SLOT_CB:
                complex_.kept_xyz[row, slot] = complex_.source.xyz[atom]
                complex_.kept_mask[row, slot] = True
            elif slot < 0:
                complex_.kept_beyond.append((int(complex_.source.element[atom]), complex_.source.xyz[atom]))
        # Backbone atoms are those of the table, whichever location the labels of the side chain tell of.
        complex_.kept_xyz[row, : aa.SLOT_CB] = complex_.table.xyz[row, : aa.SLOT_CB]
        complex_.kept_mask[row, : aa.SLOT_CB] = complex_.table.mask[row, : aa.SLOT_CB]


def _slots_of(complex_: Complex, row: int) -> dict[int, int]:
    """Slot of each heavy atom of a row in the source; -1 where its type has none."""
    source = complex_.source
    names = aa.ATOM14_NAMES[int(complex_.table.aatype[row])]
    alias = aa.ATOM_ALIASES.get(complex_.table.name[row], {})
    found: dict[int, int] = {}
    for atom in kept_atoms(complex_, row).tolist():
        if source.is_heavy[atom] and np.isfinite(source.xyz[atom]).all():
            name = text(source.name[atom])
            name = alias.get(name, name)
            found[atom] = names.index(name) if name in names else -1
    return found


def kept_atoms(complex_: Complex, row: int) -> np.ndarray:
    """Indices in the source of a row's atoms, in the location that its CA has in the table."""
    source = complex_.source
    index = source.atoms_of(int(complex_.run[row]))
    return one_location(source, index, bytes(source.altloc[complex_.ca[row]]))


def _is_complete(complex_: Complex, row: int) -> bool:
    wanted = set(np.flatnonzero(aa.ATOM14_MASK[complex_.table.aatype[row], aa.SLOT_CB :]) + aa.SLOT_CB)
    return wanted <= set(_slots_of(complex_, row).values())


def left_as_they_are(complex_: Complex) -> list[dict[str, str]]:
    """Amino acids that are written as they stand, with the reason: rows that are kept and residues that are no rows."""
    kept = [{"residue": complex_.place(row), "why": why} for row, why in sorted(complex_.kept.items())]
    return kept + [{"residue": name, "why": why} for name, why in complex_.outside if why not in OTHER_MOLECULES]
