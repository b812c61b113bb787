"""The same bytes for any number of processes and on a rerun; a killed run leaves nothing that is taken."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bindrae.config import CleanSettings, IndexSettings, PocketSettings, TokenSettings, TorsionSettings
from bindrae.data.index import run_index
from bindrae.data.layout import DataLayout
from bindrae.data.stages import run_clean, run_pocket, run_tokens, run_torsions
from bindrae.data.storage import read_json, read_table, rejected_path, sidecar_path
from complexes import hetero, peptide, write_complex, write_pdb

STAGES = ("clean", "pocket", "torsions", "tokens")


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> DataLayout:
    """An index of a dozen complexes in one batch, sound, odd and torn."""
    folder = tmp_path_factory.mktemp("kill")
    for i, sequence in enumerate(("AFKDSWLEGH", "GWSTYHKRAC", "MNPQVILFYW", "DDEEKKRRHH", "AAAAAAAAAAAA")):
        atoms = write_complex(folder / "set", f"sound{i}", sequence)
        write_complex(folder / "set", f"metal{i}", sequence)
        metal = hetero("ZN", 900, {"ZN": (0.0, 0.0, max(a.xyz[2] for a in atoms) + 2.5)})
        protein = folder / "set" / f"metal{i}" / f"metal{i}_protein.pdb"
        write_pdb(protein, [replace(a, chain="") for a in atoms + metal])
    write_complex(folder / "set", "torn")
    (folder / "set" / "torn" / "torn_ligand.sdf").write_text("torn")
    write_complex(folder / "set", "far")
    write_pdb(folder / "set" / "far" / "far_protein.pdb", peptide("AKG", origin=(300.0, 0.0, 0.0)))
    made = DataLayout(folder / "data")
    run_index(made, folder / "set", IndexSettings(layout="casf2016", n_batches=1))
    return made


def run_all(layout: DataLayout, data: DataLayout, processes: int) -> None:
    clean, pocket = data.batch("clean", 0), data.batch("pocket", 0)
    run_clean(layout.entries, 0, clean, CleanSettings(), processes)
    run_pocket(clean, pocket, PocketSettings(), processes)
    run_torsions(clean, data.batch("torsions", 0), TorsionSettings(), processes)
    run_tokens(clean, pocket, data.batch("tokens", 0), TokenSettings(), processes)


def contents(data: DataLayout) -> dict[str, str]:
    """Digest of every file there is, temporary ones too; the seconds are left out of the sidecars."""
    found = {}
    for path in sorted(p for p in data.root.rglob("*") if p.is_file()):
        if path.suffix == ".json":
            content = repr({key: value for key, value in read_json(path).items() if key != "seconds"}).encode()
        else:
            content = path.read_bytes()
        found[str(path.relative_to(data.root))] = hashlib.sha256(content).hexdigest()
    return found


@pytest.fixture(scope="module")
def wanted(layout: DataLayout, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    data = DataLayout(tmp_path_factory.mktemp("wanted"))
    run_all(layout, data, 1)
    assert read_table(data.batch("clean", 0)).num_rows == 10
    assert read_table(rejected_path(data.batch("clean", 0)))["id"].to_pylist() == ["far", "torn"]
    return contents(data)


def test_processes_and_reruns_change_no_byte(layout: DataLayout, wanted: dict[str, str], tmp_path: Path) -> None:
    assert len(wanted) == 3 * len(STAGES)
    data = DataLayout(tmp_path)
    for processes in (2, 1):
        run_all(layout, data, processes)
        assert contents(data) == wanted


def start(layout: DataLayout, output: Path, processes: int, die_at_write: int = 0) -> subprocess.Popen[bytes]:
    """`run_clean` in an interpreter of its own, which may kill itself in the middle of a write."""
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from bindrae.config import CleanSettings\n"
        "from bindrae.data.stages import run_clean\n"
        "if __name__ == '__main__':\n"
        "    writes, fsync = [], os.fsync\n"
        "    def count(handle):\n"
        "        writes.append(handle)\n"
        "        if len(writes) == int(sys.argv[4]):\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        fsync(handle)\n"
        "    os.fsync = count\n"
        "    print('ready', flush=True)\n"
        "    run_clean(Path(sys.argv[1]), 0, Path(sys.argv[2]), CleanSettings(), int(sys.argv[3]))\n"
    )
    path = output.parent.parent / "run.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script)
    arguments = [sys.executable, str(path), str(layout.entries), str(output), str(processes), str(die_at_write)]
    process = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def assert_nothing_partial(output: Path, wanted: dict[str, str]) -> None:
    """What bears a final name is whole, and where the table is, all that belongs to it is."""
    mine = {Path(name).name: digest for name, digest in wanted.items() if name.startswith("clean/")}
    there = contents(DataLayout(output.parent))
    for name, digest in there.items():
        if not name.startswith("."):
            assert digest == mine[name], name
    if output.is_file():
        assert set(mine) <= set(there)


def finish(layout: DataLayout, output: Path, wanted: dict[str, str]) -> None:
    run_clean(layout.entries, 0, output, CleanSettings())
    mine = {Path(name).name: digest for name, digest in wanted.items() if name.startswith("clean/")}
    assert contents(DataLayout(output.parent)) == mine, "no temporary file is left either"


@pytest.mark.parametrize("write", [1, 2, 3])
def test_killed_in_the_middle_of_each_write(
    layout: DataLayout, wanted: dict[str, str], tmp_path: Path, write: int
) -> None:
    output = tmp_path / "clean" / "0000.parquet"
    process = start(layout, output, 1, write)
    assert process.wait(60) == -signal.SIGKILL
    assert not output.is_file(), "the table is written last"
    assert any(path.suffix == ".tmp" for path in output.parent.iterdir())
    assert_nothing_partial(output, wanted)
    finish(layout, output, wanted)


def test_a_rerun_that_is_killed_leaves_no_table_of_the_run_before(
    layout: DataLayout, wanted: dict[str, str], tmp_path: Path
) -> None:
    output = tmp_path / "clean" / "0000.parquet"
    run_clean(layout.entries, 0, output, CleanSettings(max_residues=11))
    assert start(layout, output, 1, 2).wait(60) == -signal.SIGKILL
    assert not output.is_file()
    assert sidecar_path(output).is_file()
    finish(layout, output, wanted)


@pytest.mark.parametrize(("processes", "delay"), [(1, 0.0), (1, 0.05), (1, 0.15), (2, 0.2), (2, 1.0), (2, 1.6)])
def test_killed_at_any_moment(
    layout: DataLayout, wanted: dict[str, str], tmp_path: Path, processes: int, delay: float
) -> None:
    output = tmp_path / "clean" / "0000.parquet"
    process = start(layout, output, processes)
    time.sleep(delay)
    workers = children(process.pid)
    process.kill()
    process.wait(60)
    deadline = time.monotonic() + 20
    while any(is_alive(pid) for pid in workers):
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.05)
    assert_nothing_partial(output, wanted)
    finish(layout, output, wanted)


def children(pid: int) -> list[int]:
    listing = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listing.read_text().split()] if listing.is_file() else []


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
