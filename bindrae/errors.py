"""Errors a user can act on: every one says what is wrong, where, and what to do."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class BindraeError(Exception):
    """Input or settings that a user has to mend; shown without a traceback, exit code 2.

    Parameters
    ----------
    message : str
        What is wrong, and where.
    hint : str
        What to do about it.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  what to do: {self.hint}" if self.hint else self.message


@contextmanager
def exit_on_error() -> Iterator[None]:
    """End a program at a user's error, with its message and exit code 2; a bug keeps its traceback."""
    try:
        yield
    except BindraeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


class RejectedComplex(BindraeError):
    """One complex cannot be used; the run goes on and the complex is written to the rejected table.

    Parameters
    ----------
    code : str
        Short stable name of the reason, for counting (see ``REJECTION_CODES``).
    message, hint : str
        As for `BindraeError`; an empty hint is filled from ``REJECTION_CODES``.
    """

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint or REJECTION_CODES[code])
        self.code = code

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        # Exceptions cross process boundaries by their constructor's arguments.
        return type(self), (self.code, self.message, self.hint)


REJECTION_CODES: dict[str, str] = {
    "protein_missing": "put the protein file in place, or leave the complex out of the dataset",
    "protein_unreadable": "check that the file is a complete PDB or mmCIF file",
    "protein_empty": "the file must hold amino-acid residues with N, CA and C",
    "protein_without_backbone": "rebuild the backbone first: a CA trace or single atoms give no frames",
    "protein_distorted": "check the coordinate columns of the file, or raise clean.max_distorted_fraction",
    "protein_too_large": "raise clean.max_residues, or set clean.chains_within_angstrom",
    "resolution": "leave the structure out, or raise clean.max_resolution_angstrom",
    "ligand_missing": "put the ligand file (SDF or MOL2) in place, or leave the complex out",
    "ligand_unreadable": "write the ligand anew from a chemistry program as SDF or MOL2 with 3-D coordinates",
    "ligand_empty": "the ligand file must hold at least one heavy atom with coordinates",
    "ligand_not_3d": "the ligand needs the coordinates of its bound pose",
    "ligand_far": "protein and ligand must share one coordinate frame; check that they belong together",
    "ligand_clash": "check that pose and protein belong together, or raise clean.max_clash_fraction",
    "ligand_too_large": "raise clean.max_ligand_atoms, or check that the file holds one ligand",
    "ligand_dummy_atoms": "replace R groups, attachment points and dummy atoms by the atoms they stand for",
    "ligand_distorted": "a bond of the ligand is impossibly long or short; mend its coordinates",
    "ligand_timeout": "raise clean.max_ligand_seconds, or write a smaller or simpler ligand",
    "ligand_not_in_file": "name a HETATM group of the protein file by residue name, chain and number: hetatm:STI/A/201",
    "ligand_no_template": "write the ligand as SDF or MOL2, or rename its atoms as the component dictionary does",
    "download_failed": "check index.structure_url and the id, then run the index again: what is there is kept",
}
"""Code of each rejection and the hint shown with it."""
