"""The data commands from end to end, as the Snakemake rules call them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import bindrae
from bindrae.cli import app
from bindrae.data.layout import DataLayout
from bindrae.data.stages import VERSIONS
from bindrae.data.storage import read_json, read_table, rejected_path, sidecar_path, write_json
from bindrae.errors import BindraeError
from complexes import write_complex

STAGES = ("clean", "pocket", "torsions", "tokens")
LAYOUT = '{"layout": "casf2016", "n_batches": 2}'


def call(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two sound complexes and one whose ligand is torn."""
    folder = tmp_path / "set"
    write_complex(folder, "one")
    write_complex(folder, "two", "GWSTYHKRACMNPQVI", "CC(=O)NCc1ccncc1")
    write_complex(folder, "torn")
    (folder / "torn" / "torn_ligand.sdf").write_text("torn")
    return folder


def run_all(root: Path, data: Path, *, processes: int = 1, tokens: str = "{}") -> DataLayout:
    call("index", "--data", str(data), "--root", str(root), "--settings", LAYOUT)
    layout = DataLayout(data)
    for number in layout.batch_numbers():
        for stage in STAGES:
            extra = ["--settings", tokens] if stage == "tokens" else []
            call(stage, "--data", str(data), "--batch", str(number), "--processes", str(processes), *extra)
    return layout


def digests(layout: DataLayout) -> dict[str, str]:
    paths = [layout.batch(stage, n) for stage in STAGES for n in layout.batch_numbers()]
    return {
        str(path.relative_to(layout.root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for output in [layout.entries, *paths]
        for path in (output, rejected_path(output))
    }


def test_the_data_stages_run_from_files_to_tokens(root: Path, tmp_path: Path) -> None:
    layout = run_all(root, tmp_path / "data")
    kept: dict[str, list[str]] = {stage: [] for stage in STAGES}
    rejected = []
    for stage in STAGES:
        for number in layout.batch_numbers():
            output = layout.batch(stage, number)
            record = read_json(sidecar_path(output))
            kept[stage] += read_table(output, ["id"])["id"].to_pylist()
            rejected += read_table(rejected_path(output)).to_pylist()
            assert (record["stage"], record["version"]) == (stage, VERSIONS[stage])
            for name, digest in record["inputs"].items():
                assert digest == hashlib.sha256(layout.batch(name, number).read_bytes()).hexdigest()
    assert [sorted(ids) for ids in kept.values()] == [["one", "two"]] * 4
    assert [(row["id"], row["stage"], row["code"]) for row in rejected] == [("torn", "clean", "ligand_unreadable")]
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"index", *STAGES}
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_second_run_gives_the_same_bytes(root: Path, tmp_path: Path) -> None:
    first = digests(run_all(root, tmp_path / "a"))
    assert digests(run_all(root, tmp_path / "b")) == first
    few = digests(run_all(root, tmp_path / "c", tokens='{"tokens": "atoms", "context": false}'))
    changed = {name for name, digest in few.items() if digest != first[name]}
    assert changed
    assert all(name.startswith("tokens/") for name in changed), "a setting of one stage touches no other"


def test_settings_may_come_from_a_file(root: Path, tmp_path: Path) -> None:
    settings = tmp_path / "pocket.yaml"
    settings.write_text("contact_angstrom: 9.0\nhops: 0\n")
    layout = run_all(root, tmp_path / "data")
    for number in layout.batch_numbers():
        output = layout.batch("pocket", number)
        before = [sum(row) for row in read_table(output)["contact"].to_pylist()]
        call("pocket", "--data", str(layout.root), "--batch", str(number), "--settings", str(settings))
        after = [sum(row) for row in read_table(output)["contact"].to_pylist()]
        assert all(a > b for a, b in zip(after, before, strict=True))
        assert read_json(sidecar_path(output))["settings"] == {
            "contact_angstrom": 9.0,
            "hops": 0,
            "sigma_angstrom": 2.0,
        }


def test_a_stage_out_of_turn_says_which_file_is_missing(tmp_path: Path) -> None:
    for stage in STAGES:
        with pytest.raises(BindraeError, match=r"batches\.json does not exist") as caught:
            call(stage, "--data", str(tmp_path), "--batch", "0")
        assert "run the stage" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stage", STAGES)
def test_an_unknown_setting_is_refused_before_anything_is_read(tmp_path: Path, stage: str) -> None:
    with pytest.raises(BindraeError, match="unknown key 'tolerance'"):
        call(stage, "--data", str(tmp_path), "--batch", "0", "--settings", '{"tolerance": 1}')


def test_a_batch_that_the_index_did_not_make_is_refused(tmp_path: Path) -> None:
    write_json({"0": "x", "1": "y"}, DataLayout(tmp_path).batches)
    with pytest.raises(BindraeError, match="no batch 2") as caught:
        call("clean", "--data", str(tmp_path), "--batch", "2")
    assert "0 to 1" in caught.value.hint


def test_the_schema_command_prints_the_schema(tmp_path: Path) -> None:
    printed = json.loads(call("schema"))
    call("schema", "--output", str(tmp_path / "s.json"))
    assert json.loads((tmp_path / "s.json").read_text()) == printed
    assert printed["additionalProperties"] is False
    assert {"dataset", "clean", "training"} <= set(printed["properties"])


def test_an_error_of_the_user_ends_with_its_message_and_code_2(tmp_path: Path) -> None:
    """The one test of the real process: no traceback, what to do, and the exit code that Snakemake sees."""
    command = [sys.executable, "-c", "from bindrae.cli import main; main()", "index", "--settings", LAYOUT]
    environment = {**os.environ, "PYTHONPATH": str(Path(bindrae.__file__).parents[1])}
    done = subprocess.run(
        [*command, "--data", str(tmp_path / "data"), "--root", str(tmp_path / "nowhere")],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "nowhere is not a folder" in done.stderr
    assert "what to do: " in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()
