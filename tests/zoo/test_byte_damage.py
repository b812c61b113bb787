"""Files with damaged bytes: no crash, no hang; only the damaged record changes, and it is sound or flagged."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import gemmi
import numpy as np
import pytest
from animals import COLUMNS, Row, check, keys, ligand_at
from rdkit import Chem

from bindrae.chem import residues as aa
from bindrae.config import CleanSettings
from bindrae.data.stages import clean_complex
from bindrae.errors import REJECTION_CODES, RejectedComplex
from complexes import Atom, hetero, pdb_text, peptide

LONGEST_SECONDS = 5.0


def rich_atoms() -> list[Atom]:
    """Two chains of all types with alternate locations, insertion codes, hydrogens, a metal and a cofactor."""
    chain = []
    for a in peptide("ACDEFGHIKLMNPQRSTVWY", "A", -2):
        if a.number == 6 and a.name not in aa.BACKBONE:
            x, y, z = a.xyz
            chain.append(replace(a, altloc="A", occupancy=0.6))
            chain.append(replace(a, altloc="B", occupancy=0.4, xyz=(x, y, round(z + 0.1, 3))))
        else:
            chain.append(replace(a, number=9, insertion="A") if a.number == 10 else a)
        if a.name == "CA":
            chain.append(replace(chain[-1], name="HA", element="H", xyz=tuple(np.add(a.xyz, (0.0, 0.0, 1.0)).tolist())))
    second = peptide("GSAKLV", "B", 1, (0.0, 18.0, 0.0))
    top = max(a.xyz[2] for a in chain)
    beside = [
        *hetero("ZN", 101, {"ZN": (30.0, 0.0, top + 4.0)}),
        *hetero("GOL", 102, {"C1": (30, 5, top + 4), "O1": (31.4, 5, top + 4)}),
    ]
    return [*chain, *second, *beside]


def rich_pdb() -> str:
    return (
        "HEADER    ZOO\nREMARK   2 RESOLUTION.    1.90 ANGSTROMS.\nMODEL        1\n"
        + pdb_text(rich_atoms())
        + "TER\nENDMDL\nEND\n"
    )


def rich_cif() -> str:
    structure = gemmi.read_pdb_string(rich_pdb())
    structure.setup_entities()
    return structure.make_mmcif_document().as_string()


class Subject:
    """A sound complex on disk, and what becomes of a copy with other bytes."""

    def __init__(self, folder: Path, name: str, text: str) -> None:
        self.path = folder / name
        self.data = text.encode()
        self.entry = {"id": "rich", "protein": str(self.path), "ligand": [str(folder / "ligand.sdf")]}
        mol = ligand_at([a for a in rich_atoms() if not a.hetero])
        self.ligand = folder / "ligand.sdf"
        self.ligand.write_text(Chem.MolToMolBlock(mol) + "$$$$\n")
        self.sound = self.clean(self.data)
        assert isinstance(self.sound, dict)

    def clean(self, data: bytes) -> Row | RejectedComplex:
        self.path.write_bytes(data)
        start = time.process_time()
        try:
            row = clean_complex(self.entry, CleanSettings(max_ligand_distance_angstrom=12.0))
        except RejectedComplex as rejection:
            return rejection
        assert time.process_time() - start < LONGEST_SECONDS
        check(row)
        return row

    def touched(self, positions: np.ndarray) -> list[str] | None:
        """The atom lines that damage at these bytes can reach; None where it can reach all (a header)."""
        lines = self.data.decode().splitlines(keepends=True)
        ends = np.cumsum([len(line.encode()) for line in lines])
        numbers = set(np.searchsorted(ends, positions, side="right").tolist())
        numbers |= {
            n + 1 for p, n in ((p, int(np.searchsorted(ends, p, side="right"))) for p in positions) if p == ends[n] - 1
        }
        hit = [lines[n] for n in sorted(numbers) if n < len(lines)]
        return hit if all(line.startswith(("ATOM", "HETATM")) for line in hit) else None


def key_of(line: str) -> tuple[str, int, str]:
    """(chain, number, insertion) of an atom line of either format."""
    if line[21:22].strip() and line[30:38].strip() and len(line.rstrip("\n")) == 78:
        return line[21].strip(), int(line[22:26]), line[26].strip()
    words = line.split()
    columns = CIF_COLUMNS
    insertion = words[columns.index("pdbx_PDB_ins_code")].strip("?.")
    return words[columns.index("auth_asym_id")], int(words[columns.index("auth_seq_id")]), insertion


CIF_COLUMNS = [tag.split(".")[1] for tag in rich_cif().split() if tag.startswith("_atom_site.")]


def damage(data: bytes, rng: np.random.Generator, lines_only: bool) -> tuple[bytes, np.ndarray]:
    """Other bytes in one place, or a few in a row; anywhere, or within the atom records."""
    low = data.find(b"\nATOM") + 1 if lines_only else 0
    start = int(rng.integers(low, len(data)))
    count = int(rng.choice([1, 1, 1, 2, 5]))
    positions = np.arange(start, min(start + count, len(data)))
    spoilt = bytearray(data)
    for p in positions:
        kind = rng.integers(4)
        if kind == 0:
            spoilt[p] = int(rng.integers(256))
        elif kind == 1:
            spoilt[p] ^= 1 << int(rng.integers(8))
        else:  # most damage that survives reading is a character of the same kind
            spoilt[p] = int(rng.choice(list(b"0123456789 .-ABCDEHNOSXZ")))
    return bytes(spoilt), positions


def assert_only_the_record_changed(subject: Subject, row: Row, positions: np.ndarray) -> None:
    sound = subject.sound
    hit = subject.touched(positions)
    flagged = row["notes"] != sound["notes"]
    if hit is None:  # a header says something of every atom: the change must at least be told
        assert flagged or all(np.array_equal(row[c], sound[c]) for c in COLUMNS)
        return
    spoilt = {key_of(line) for line in hit}
    here = {key: i for i, key in enumerate(keys(row))}
    there = {key: i for i, key in enumerate(keys(sound))}
    for key, i in there.items():
        if key in spoilt:
            continue
        assert key in here, f"{key} is gone"
        for column in ("name", "aatype", "chain_index", "atom14", "atom14_mask", "bfactor"):
            assert np.array_equal(row[column][here[key]], sound[column][i]), (key, column)
        following = keys(sound)[i + 1] if i + 1 < len(there) else None
        if following not in spoilt:
            assert row["linked"][here[key]] == sound["linked"][i], (key, "linked")
    assert set(here) - set(there) <= spoilt, "no residue comes from nowhere"
    order = [key for key in keys(row) if key not in spoilt]
    assert order == [key for key in keys(sound) if key not in spoilt]
    if not flagged:
        assert set(here) == set(there), "a residue that goes or comes is noted"
        assert np.array_equal(row["atom14_mask"], sound["atom14_mask"])
        kind = row["aatype"]
        for i in (here[key] for key in spoilt if key in here):
            for a, b in aa.BONDS[kind[i]]:
                if row["atom14_mask"][i, [a, b]].all():
                    length = np.linalg.norm(row["atom14"][i, a] - row["atom14"][i, b])
                    whole = np.linalg.norm(sound["atom14"][i, a] - sound["atom14"][i, b])
                    assert abs(length - whole) < 0.35, "a bond that is off must be flagged"


def run_damage(subject: Subject, n: int, seed: int) -> dict[str, int]:
    rng = np.random.default_rng(seed)
    outcomes: dict[str, int] = {}
    for i in range(n):
        data, positions = damage(subject.data, rng, lines_only=i % 4 > 0)
        result = subject.clean(data)
        code = result.code if isinstance(result, RejectedComplex) else "accepted"
        assert code in {*REJECTION_CODES, "accepted"}
        outcomes[code] = outcomes.get(code, 0) + 1
        if isinstance(result, dict):
            try:
                assert_only_the_record_changed(subject, result, positions)
            except AssertionError as fault:
                was, now = (d[positions[0] - 60 : positions[-1] + 60] for d in (subject.data, data))
                fault.add_note(f"seed {seed}, file {i}:\n{was!r}\n{now!r}\n{result['notes']}")
                raise
    return outcomes


FORMATS = {"p.pdb": rich_pdb, "p.cif": rich_cif}


@pytest.mark.parametrize(("name", "n", "seed"), [("p.pdb", 400, 0), ("p.cif", 150, 1)])
def test_a_damaged_protein_file_changes_its_record_or_is_rejected(tmp_path: Path, name: str, n: int, seed: int) -> None:
    outcomes = run_damage(Subject(tmp_path, name, FORMATS[name]()), n, seed)
    # mmCIF is read strictly: what breaks a loop's count or a quote breaks the file.
    assert outcomes["accepted"] > (0.7 if name == "p.pdb" else 0.25) * n, outcomes


@pytest.mark.slow
@pytest.mark.parametrize(("name", "seed"), [("p.pdb", 10), ("p.pdb", 11), ("p.cif", 12)])
def test_a_thousand_damaged_protein_files(tmp_path: Path, name: str, seed: int) -> None:
    outcomes = run_damage(Subject(tmp_path, name, FORMATS[name]()), 1000, seed)
    assert outcomes["accepted"] > (700 if name == "p.pdb" else 250), outcomes


def run_blows(subject: Subject, n: int, seed: int) -> None:
    """Bytes changed, cut out or doubled all over both files: any outcome but a crash."""
    rng = np.random.default_rng(seed)
    ligand = subject.ligand.read_bytes()
    for i in range(n):
        spoilt = []
        for data in (subject.data, ligand):
            raw = bytearray(data)
            for _ in range(int(rng.integers(1, 30))):
                raw[int(rng.integers(len(raw)))] = int(rng.integers(256))
            a, b = sorted(rng.integers(0, len(raw), 2).tolist())
            spoilt.append(bytes(raw[:a] + raw[b:] if i % 5 == 1 else raw[:b] + raw[a:] if i % 5 == 2 else raw))
        subject.ligand.write_bytes(spoilt[1] if i % 2 else ligand)
        subject.clean(spoilt[0] if i % 3 else subject.data)


@pytest.mark.parametrize("name", FORMATS)
def test_many_blows_never_crash(tmp_path: Path, name: str) -> None:
    run_blows(Subject(tmp_path, name, FORMATS[name]()), 100, 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_a_thousand_blows_never_crash(tmp_path: Path, name: str) -> None:
    run_blows(Subject(tmp_path, name, FORMATS[name]()), 1000, 4)
