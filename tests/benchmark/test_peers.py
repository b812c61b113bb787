"""The comparison with other packers, with a packer that copies structures."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest

from bindrae.benchmark.peers import benchmark
from bindrae.benchmark.peers.benchmark import BenchmarkOptions, make_peers, run_benchmark
from bindrae.benchmark.peers.faspr import _relabelled, _renumbered
from bindrae.benchmark.peers.given import Entry, Given, write_given
from bindrae.benchmark.peers.peer import Cost, Launch, PackFailure, Worker, run_once
from bindrae.chem import residues as aa
from bindrae.errors import BindraeError
from tests.complexes import Atom, hetero, peptide, rename, write_complex, write_pdb

SEQUENCE = "AFKDSWLEGHYPRNMCTVIQ"


class Copies:
    """A packer that gives back the structures of a folder: the truth, or something else."""

    given = "everything"

    def __init__(self, name: str, source: Path, fails: tuple[str, ...] = (), version: str = "1") -> None:
        self.name, self.source, self.fails, self.version = name, source, fails, version
        self.packed: list[str] = []
        self.seen: dict[str, str] = {}
        self.folder: Path | None = None

    def prepare(self, folder: Path, threads: int) -> str:
        self.folder = folder
        return self.version

    def pack(self, given: Given, output: Path, limit: float) -> Cost:
        self.packed.append(given.id)
        self.seen[given.id] = given.path.read_text()
        if given.id in self.fails:
            raise PackFailure("out of luck")
        output.write_text((self.source / given.id / f"{given.id}_protein.pdb").read_text())
        return Cost(2.0, 1.0)

    def close(self) -> None:
        pass


class Absent(Copies):
    """A packer that cannot be installed."""

    def prepare(self, folder: Path, threads: int) -> str:
        raise BindraeError("no compiler", "install one")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Three complexes, each with a ligand."""
    for identifier in ("one", "two", "six"):
        write_complex(tmp_path / "set", identifier, SEQUENCE)
    return tmp_path / "set"


@pytest.fixture
def bare(dataset: Path, tmp_path: Path) -> Path:
    """The same complexes without the side chains of every other residue: worse predictions."""
    for folder in dataset.iterdir():
        atoms = [a for a in peptide(SEQUENCE) if a.name in aa.BACKBONE or a.number % 2]
        write_pdb(tmp_path / "bare" / folder.name / f"{folder.name}_protein.pdb", atoms)
    return tmp_path / "bare"


def compare(root: Path, output: Path, *peers: Any, **options: Any) -> dict[str, Any]:
    return run_benchmark(root, output, BenchmarkOptions(**options), list(peers))


def value(record: dict[str, Any], name: str, key: str, part: str = "overall") -> Any:
    return record["columns"][name]["figures"][part][key]["value"]


def test_failures_are_misses_and_are_listed(dataset: Path, tmp_path: Path) -> None:
    record = compare(dataset, tmp_path / "out", Copies("lucky", dataset), Copies("unlucky", dataset, fails=("two",)))
    assert value(record, "lucky", "chi1_acc20") == 100.0
    assert value(record, "unlucky", "chi1_acc20") == pytest.approx(200.0 / 3.0)
    assert value(record, "unlucky", "chi1_acc20", "pocket") == pytest.approx(200.0 / 3.0)
    assert value(record, "unlucky", "sidechain_rmsd") == 0.0  # of what is there
    free = value(record, "lucky", "no_ligand_clash_pct", "complex")
    assert free == 100.0
    assert value(record, "unlucky", "no_ligand_clash_pct", "complex") == pytest.approx(200.0 / 3.0)
    assert [value(record, "unlucky", key, "complex") for key in ("seconds", "cpu_seconds")] == [2.0, 1.0]
    assert record["columns"]["unlucky"]["counts"]["failed"] == [{"id": "two", "message": "out of luck"}]
    page = (tmp_path / "out" / "peers.md").read_text()
    assert "unlucky failed on two (out of luck)" in page
    assert json.loads((tmp_path / "out" / "peers.json").read_text()) == record


def test_no_packer_is_given_a_side_chain(dataset: Path, tmp_path: Path) -> None:
    peer = Copies("peer", dataset)
    compare(dataset, tmp_path / "out", peer)
    assert sorted(peer.seen) == ["one", "six", "two"]
    for text in peer.seen.values():
        chains = gemmi.read_pdb_string(text)[0]
        assert gemmi.one_letter_code([r.name for r in chains["A"]]) == SEQUENCE
        assert {a.name for r in chains["A"] for a in r} == set(aa.BACKBONE)
        ligand = chains["_"][0]
        assert ligand.name == "UNL"
        assert sorted(a.element.name for a in ligand) == ["C"] * 7 + ["N"] + ["O"] * 2  # no hydrogens
        records = [line for line in text.splitlines() if line.strip() != "END"]
        assert {line[:6] for line in records} == {"ATOM  ", "HETATM"}
        assert {line[54:66] for line in records} == {"  1.00  0.00"}


def test_what_is_given_does_not_depend_on_side_chains(tmp_path: Path) -> None:
    atoms = write_complex(tmp_path, "one", SEQUENCE)
    protein, ligand = tmp_path / "one" / "one_protein.pdb", str(tmp_path / "one" / "one_ligand.sdf")
    first = write_given(Entry("one", protein, [ligand]), tmp_path / "a.pdb")
    moved = [a if a.name in aa.BACKBONE else replace(a, xyz=(a.xyz[0] + 9, *a.xyz[1:]), bfactor=80.0) for a in atoms]
    write_pdb(protein, moved)
    second = write_given(Entry("one", protein, [ligand]), tmp_path / "b.pdb")
    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.digest == second.digest


def test_noise_moves_each_backbone_atom_and_nothing_else(tmp_path: Path) -> None:
    write_complex(tmp_path, "one", 40 * "SEK")
    entry = Entry("one", tmp_path / "one" / "one_protein.pdb", [str(tmp_path / "one" / "one_ligand.sdf")])

    def given(noise: float) -> tuple[np.ndarray, list[str]]:
        made = write_given(entry, tmp_path / f"{noise}.pdb", noise)
        model = gemmi.read_pdb(str(made.path))[0]
        ligand = [line for line in made.path.read_text().splitlines() if line.startswith("HETATM")]
        return np.array([atom.pos.tolist() for residue in model["A"] for atom in residue]), ligand

    crystal, ligand = given(0.0)
    moved = {noise: given(noise)[0] - crystal for noise in (0.05, 0.2)}
    assert len(crystal) == 4 * 120
    for noise, shift in moved.items():
        assert shift.std(axis=0) == pytest.approx(3 * [noise], rel=0.15)
        assert abs(np.corrcoef(shift[:-1].ravel(), shift[1:].ravel())[0, 1]) < 0.15  # each atom by itself
    assert moved[0.2] == pytest.approx(4 * moved[0.05], abs=3e-3)  # three decimals are written
    assert given(0.2)[1] == ligand
    other = write_given(replace(entry, id="two"), tmp_path / "two.pdb", 0.05)
    assert other.path.read_bytes() != (tmp_path / "0.05.pdb").read_bytes()


def test_noise_has_a_folder_of_its_own_and_is_told(dataset: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    compare(dataset, output, Copies("peer", dataset))
    kept = {path: path.read_bytes() for path in output.rglob("*") if path.is_file() and "index" not in path.parts}
    peer = Copies("peer", dataset)
    record = compare(dataset, output, peer, noise=0.1)
    assert sorted(peer.packed) == ["one", "six", "two"]
    assert {path: path.read_bytes() for path in kept} == kept
    assert peer.folder == output / "environments" / "peer"  # which may hold gigabytes, is made once
    assert json.loads((output / "noise-0.1" / "peers.json").read_text()) == record
    assert "Noise of 0.1 A" in (output / "noise-0.1" / "peers.md").read_text()
    assert "Noise of" not in (output / "peers.md").read_text()


def test_modified_residues_and_molecules(tmp_path: Path) -> None:
    atoms = write_complex(tmp_path, "one", SEQUENCE)
    protein, ligand = tmp_path / "one" / "one_protein.pdb", str(tmp_path / "one" / "one_ligand.sdf")
    modified: list[Atom] = [replace(a, hetero=a.number == 5) for a in rename(atoms, 5, "SEP")]
    modified += hetero("SEP", 5, {"P": (0.0, 30.0, 0.0)})  # beyond CB too
    zinc = hetero("ZN", 301, {"ZN": (3.0, 2.0, 9.0)})
    free = hetero("GLY", 302, {"N": (0, 40, 0), "CA": (1.458, 40, 0), "C": (2.0, 41.4, 0), "O": (3.2, 41.6, 0)})
    water = hetero("HOH", 401, {"O": (9.0, 9.0, 9.0)})
    write_pdb(protein, modified + zinc + free + water)
    given = write_given(Entry("one", protein, [ligand]), tmp_path / "given.pdb")
    model = gemmi.read_pdb(str(given.path))[0]
    assert model["A"][4].name == "SER"
    assert [a.name for a in model["A"][4]] == list(aa.BACKBONE)
    # A free amino acid goes by another name, or a packer would pack it.
    assert [(r.name, len(r)) for r in model["_"]][1:] == [("ZN", 1), ("UNL", 4)]


def test_a_ligand_of_the_protein_file_keeps_its_name(tmp_path: Path) -> None:
    atoms = peptide(SEQUENCE) + hetero("ACT", 900, {"C": (3, 6, 6), "O": (4, 6, 6), "OXT": (2, 6, 6), "CH3": (3, 7, 7)})
    protein = write_pdb(tmp_path / "one.pdb", atoms)
    given = write_given(Entry("one", protein, ["hetatm:ACT/A/900"]), tmp_path / "given.pdb")
    assert given.ligand == "hetatm:ACT/_/1"
    ligand = gemmi.read_pdb(str(given.path))[0]["_"]
    assert [(r.name, [a.name for a in r]) for r in ligand] == [("ACT", ["C", "O", "OXT", "CH3"])]


def test_an_interrupted_run_goes_on(dataset: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    compare(dataset, output, Copies("peer", dataset, fails=("two",)), only="one,two")
    second = Copies("peer", dataset)
    record = compare(dataset, output, second)
    assert second.packed == ["six"]  # failures are kept too
    assert value(record, "peer", "chi1_acc20") == pytest.approx(200.0 / 3.0)
    third = Copies("peer", dataset)
    record = compare(dataset, output, third, retry=True)
    assert third.packed == ["two"]
    assert value(record, "peer", "chi1_acc20") == 100.0
    (output / "peer" / "one.json").unlink()  # as if the run had been killed while it wrote
    fourth = Copies("peer", dataset)
    compare(dataset, output, fourth)
    assert fourth.packed == ["one"]
    fifth = Copies("peer", dataset, version="2")
    compare(dataset, output, fifth)
    assert sorted(fifth.packed) == ["one", "six", "two"]
    write_complex(dataset, "two", SEQUENCE[::-1])
    sixth = Copies("peer", dataset, version="2")
    compare(dataset, output, sixth)
    assert sixth.packed == ["two"]


def test_differences_are_ours_minus_the_peer(dataset: Path, bare: Path, tmp_path: Path) -> None:
    record = compare(
        dataset, tmp_path / "out", Copies("bindrae", dataset), Copies("worse", bare), Copies("same", dataset)
    )
    chi1 = record["differences"]["worse"]["overall"]["chi1_acc20"]
    assert chi1["value"] == pytest.approx(100.0 - value(record, "worse", "chi1_acc20"))
    assert chi1["value"] > 0.0
    assert chi1["low"] <= chi1["value"] <= chi1["high"]
    assert record["differences"]["same"]["overall"]["chi1_acc20"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert "bindrae" not in record["differences"]
    page = (tmp_path / "out" / "peers.md").read_text()
    row = next(line for line in page.splitlines()[::-1] if line.startswith("| chi1 within 20"))
    assert row.split("|")[2].strip().startswith(f"+{chi1['value']:.1f} [+")
    assert row.split("|")[2].strip().endswith("*")
    assert row.split("|")[3].strip() == "+0.0 [+0.0, +0.0]"


def test_clusters_are_what_is_drawn(dataset: Path, tmp_path: Path) -> None:
    import pandas as pd

    (tmp_path / "data").mkdir()
    table = pd.DataFrame({"id": ["one", "two", "six"], "cluster": ["a", "a", "b"]})
    table.to_parquet(tmp_path / "data" / "split.parquet")
    record = compare(dataset, tmp_path / "out", Copies("peer", dataset, fails=("six",)), data=tmp_path / "data")
    assert record["bootstrap"]["n"] == 2
    found = record["columns"]["peer"]["figures"]["overall"]["chi1_acc20"]
    assert (found["low"], found["high"]) == (0.0, 100.0)


def test_a_program_that_is_not_there_is_told_and_passed_over(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = compare(dataset, tmp_path / "out", Absent("absent", dataset), Copies("peer", dataset))
    assert list(record["columns"]) == ["peer"]
    assert "no compiler" in record["absent"]["absent"]
    assert "absent was not run: no compiler" in capsys.readouterr().out
    with pytest.raises(BindraeError, match="none of the programs can be run"):
        compare(dataset, tmp_path / "other", Absent("absent", dataset))


def test_a_true_complex_that_cannot_be_read_is_left_out_for_all(dataset: Path, tmp_path: Path) -> None:
    (dataset / "two" / "two_protein.pdb").write_text("REMARK empty\n")
    record = compare(dataset, tmp_path / "out", Copies("peer", dataset))
    assert [entry["id"] for entry in record["left_out"]] == ["two"]
    assert record["columns"]["peer"]["counts"]["complexes"] == 2


def test_user_errors(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(BindraeError, match="scwrl is no program") as raised:
        make_peers(("faspr", "scwrl"), None)
    assert all(name in raised.value.hint for name in benchmark.PEERS)
    with pytest.raises(BindraeError, match="holds no complex nine"):
        compare(dataset, tmp_path / "out", Copies("peer", dataset), only="one,nine")
    assert [peer.name for peer in make_peers(("bindrae", "faspr"), None)] == ["bindrae", "bindrae-unrefined", "faspr"]


def test_faspr_sees_no_two_neighbours_of_one_number() -> None:
    def line(chain: str, number: str, name: str) -> str:
        return f"ATOM      1  {name:<4}GLY {chain}{number}       0.000   0.000   0.000  1.00  0.00\n"

    labels = [("A", "   7 "), ("A", "   7B"), ("B", "   7B"), ("B", "  -1 ")]
    text = "".join(line(c, n, a) for c, n in labels for a in ("N", "CA")) + "HETATM\n"
    keys, given = _renumbered(text)
    assert [x[22:27] for x in given.splitlines()] == [f"{n:4d} " for n in (1, 1, 2, 2, 3, 3, 4, 4)]
    assert [x[21:27] for x in _relabelled(given, keys).splitlines()[:-1:2]] == [c + n for c, n in labels]
    with pytest.raises(PackFailure, match="wrote 3 of 4 residues"):
        _relabelled("".join(given.splitlines(keepends=True)[:-2]), keys)


SCRIPT = """
import json, sys, time
print(json.dumps({"ready": "v7"}), flush=True)
for line in sys.stdin:
    job = json.loads(line)["input"]
    if job == "die":
        sys.stderr.write("the reason")
        sys.exit(3)
    if job == "sleep":
        time.sleep(60)
    print(json.dumps({"error": "bad"} if job == "bad" else {"seconds": 1.5, "cpu_seconds": 0.5}), flush=True)
"""


def test_a_worker_fails_on_one_job_and_goes_on(tmp_path: Path) -> None:
    worker = Worker(Launch([sys.executable, "-c", SCRIPT], 1, tmp_path / "log", {}))
    try:
        assert worker.start(60.0) == "v7"
        assert worker.ask({"input": "good"}, 60.0, 60.0) == Cost(1.5, 0.5)
        for job, what, limit in (
            ("bad", "bad", 60.0),
            ("die", "code 3; its log ends: the reason", 60.0),
            ("sleep", "no answer within 1 s", 1.0),
        ):
            with pytest.raises(PackFailure, match=what):
                worker.ask({"input": job}, 60.0, limit)
            assert worker.ask({"input": "good"}, 60.0, 60.0).seconds == 1.5
    finally:
        worker.close()


def test_a_program_of_one_job(tmp_path: Path) -> None:
    busy = "sum(range(3_000_000))"
    cost = run_once(Launch([sys.executable, "-c", busy], 1, tmp_path / "log", {}), 60.0)
    assert cost.cpu_seconds > 0.0
    with pytest.raises(PackFailure, match=r"ended with code 4; its log ends: no"):
        run_once(Launch([sys.executable, "-c", "print('no'); exit(4)"], 1, tmp_path / "log", {}), 60.0)
    with pytest.raises(PackFailure, match="no result within 1 s"):
        run_once(Launch([sys.executable, "-c", "import time; time.sleep(60)"], 1, tmp_path / "log", {}), 1.0)
    with pytest.raises(PackFailure, match="cannot be run"):
        run_once(Launch([str(tmp_path / "nothing")], 1, tmp_path / "log", {}), 1.0)


def test_the_environment_of_a_program_has_its_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/ours")
    variables = Launch(["x"], 3, tmp_path, {"OST_ROOT": "/usr"}).environment()
    assert variables["OMP_NUM_THREADS"] == "3"
    assert variables["OST_ROOT"] == "/usr"
    assert "PYTHONPATH" not in variables
