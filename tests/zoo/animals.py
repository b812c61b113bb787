"""One small complex, and what the zoo does to its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rdkit import Chem

from bindrae.config import CleanSettings
from bindrae.data.stages import clean_complex
from complexes import Atom, embedded, pdb_text, peptide

SEQUENCE = "AFKDSWLEGH"
Row = dict[str, Any]
COLUMNS = (
    "chain", "number", "insertion", "name", "aatype", "chain_index", "linked", "atom14", "atom14_mask", "bfactor",
)  # fmt: skip


def whole() -> list[Atom]:
    """The protein as it should be."""
    return peptide(SEQUENCE)


def ligand_at(atoms: list[Atom], height: float = 0.0) -> Chem.Mol:
    """Benzamide above the middle of some atoms, as near as 3 A (and `height`) allow."""
    points = np.array([a.xyz for a in atoms])
    mol = embedded("NC(=O)c1ccccc1", hydrogens=True)
    shape = mol.GetConformer().GetPositions()
    lift = 3.0
    while np.linalg.norm((shape + points.mean(axis=0) + (0, 0, lift))[:, None] - points[None], axis=-1).min() < 3.0:
        lift += 0.25
    mol.GetConformer().SetPositions(shape + points.mean(axis=0) + (0, 0, lift + height))
    return mol


def clean_file(
    folder: Path, name: str, content: bytes | str | list[Atom], mol: Chem.Mol | None = None, **settings: Any
) -> Row:
    """Write a protein file and a ligand and clean them, as the stage does."""
    if isinstance(content, list):
        content = pdb_text(content) + "END\n"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content.encode("latin-1") if isinstance(content, str) else content)
    (folder / "ligand.sdf").write_text(Chem.MolToMolBlock(mol or ligand_at(whole())) + "$$$$\n")
    entry = {"id": "animal", "protein": str(folder / name), "ligand": [str(folder / "ligand.sdf")]}
    row = clean_complex(entry, CleanSettings(**settings))
    check(row)
    return row


def check(row: Row) -> None:
    """What holds of every accepted complex."""
    n = row["n_residues"]
    assert n == sum(map(len, row["sequences"])) == len(row["atom14"]) == len(row["linked"]) == len(row["chain_index"])
    assert len(set(keys(row))) == n, "no two residues share a key"
    for column in ("atom14", "bfactor", "context_xyz"):
        assert np.isfinite(row[column]).all(), column
    assert not row["atom14"][~row["atom14_mask"]].any()
    assert not row["bfactor"][~row["atom14_mask"]].any()
    assert row["atom14_mask"][:, :3].all()
    assert len(row["context_element"]) == len(row["context_charge"]) == len(row["context_name"])
    for text in (*row["chain"], *row["insertion"], *row["name"], *row["context_name"]):
        text.encode()


def keys(row: Row) -> list[tuple[str, int, str]]:
    return list(zip(row["chain"], row["number"].tolist(), row["insertion"], strict=True))


def same_residues(one: Row, other: Row) -> bool:
    """Whether two cleaned complexes hold the same residue table."""
    columns = (
        "chain",
        "number",
        "insertion",
        "name",
        "aatype",
        "chain_index",
        "linked",
        "atom14",
        "atom14_mask",
        "bfactor",
    )
    return all(np.array_equal(one[c], other[c]) for c in columns)
