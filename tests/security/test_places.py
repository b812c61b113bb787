"""Nothing is written outside the folder of results, whatever complexes are called and wherever links point."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import gemmi
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from bindrae.cli import app
from bindrae.config import IndexSettings
from bindrae.data.fetch import place_of
from bindrae.data.ids import MAX_ID_LENGTH, check_ids, is_safe_id
from bindrae.data.index import run_index
from bindrae.data.layout import DataLayout
from bindrae.data.pocket_pdb import pocket_file
from bindrae.data.sheets import read_ids
from bindrae.errors import BindraeError
from bindrae.prediction.keep import parse_places
from bindrae.prediction.run import find_jobs
from complexes import write_complex

NASTY = (
    "../x", "..", ".", "/etc/x", "a/b", "a\\b", "..\\x", "C:\\x", "c:x", "a\0b", "\0", "", " ", "a b", "-o", "--help",
    "~", "~root", "$HOME", "`touch x`", "$(touch x)", "a;b", "a|b", "a\nb", "a\tb", "a\x1b[2J", "con", "NUL", "com1",
    "aux.pdb", "LPT9.x", "a.", "a" * 101, "a" * 300, "a" * 5000, ".hidden", "a:stream", "a*", "a?", "<a>", '"a"', "é",
    "а", "\u202eabc", "\ud800", "{batch}", "%2e%2e%2fx", "1abc/../../x",
)  # fmt: skip
FINE = ("1abc", "1ABC-2", "pdb_00001iep", "a.b", "x+y_z", "a" * MAX_ID_LENGTH, "console", "com10", "0")
names = st.one_of(st.sampled_from(NASTY), st.text(max_size=12), st.text(alphabet="./\\~a:\0 -", max_size=8))


@pytest.mark.parametrize("identifier", NASTY)
def test_what_can_be_no_name_of_a_file_is_refused(identifier: str) -> None:
    assert not is_safe_id(identifier)
    with pytest.raises(BindraeError, match="cannot be file names") as caught:
        check_ids(["fine", identifier], "sheet.csv")
    assert "sheet.csv" in caught.value.message
    assert len(caught.value.message) < 1500


@pytest.mark.parametrize("identifier", FINE)
def test_what_can_be_one_is_taken(identifier: str) -> None:
    check_ids([identifier], "sheet.csv")


def test_ids_that_are_one_file_on_some_systems_are_refused() -> None:
    with pytest.raises(BindraeError, match="more than once: 1abc"):
        check_ids(["1abc", "2abc", "1ABC"], "x")


@given(st.text(max_size=120))
@settings(max_examples=300)
def test_a_safe_id_stays_in_its_folder_as_a_name_of_one_part(identifier: str) -> None:
    if is_safe_id(identifier):
        path = Path("results", f"{identifier}.rejected.parquet")
        assert path.parent == Path("results")
        assert os.path.normpath(path) == str(path)
        assert len(os.fsencode(path.name)) < 200


@given(names)
def test_pockets_take_any_id_and_stay_in_their_folder(identifier: str) -> None:
    with contextlib.suppress(UnicodeEncodeError):  # half of a surrogate pair is no text, and in no parquet file
        path = pocket_file(identifier)
        assert not path.is_absolute()
        assert len(path.parts) == 2
        assert ".." not in path.parts
        assert path.name.isprintable()
        assert len(path.name) < 120


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One real complex, to be called by any name."""
    folder = tmp_path_factory.mktemp("source")
    write_complex(folder, "one")
    return folder / "one"


@contextlib.contextmanager
def sandbox() -> Iterator[Path]:
    """A folder ``in/deep`` inside one that must stay as it is."""
    with tempfile.TemporaryDirectory() as root:
        (Path(root) / "in" / "deep").mkdir(parents=True)
        (Path(root) / "in" / "precious").write_text("mine")
        yield Path(root) / "in" / "deep"


def assert_untouched_but(folder: Path, *allowed: Path) -> None:
    """Nothing outside the allowed folders came into being, and what was there is as it was."""
    root = folder.parent.parent
    assert (root / "in" / "precious").read_text() == "mine"
    for path in root.rglob("*"):
        if path.is_file() and path != root / "in" / "precious":
            assert any(path.is_relative_to(place) for place in allowed), path


@given(st.lists(names, min_size=1, max_size=3), st.lists(names, min_size=3, max_size=3))
@example(["../../x"], ["a", "b", "c"])
@example(["fine"], ["a" * 5000, "\0", "../one_protein.pdb"])
def test_a_sheet_of_any_names_writes_only_the_index(ids: list[str], files: list[str]) -> None:
    with sandbox() as folder:
        sheet = folder / "set" / "sheet.csv"
        sheet.parent.mkdir()
        table = pd.DataFrame({"id": ids, "protein": (files * 2)[: len(ids)], "ligand": files[-1]})
        with contextlib.suppress(UnicodeEncodeError):
            table.to_csv(sheet, index=False)
            with contextlib.suppress(BindraeError):
                run_index(DataLayout(folder / "out"), sheet, IndexSettings(layout="sheet", n_batches=2))
            with contextlib.suppress(BindraeError):
                for job in find_jobs(sheet, folder / "out"):
                    assert job.output.parent == folder / "out"
        assert_untouched_but(folder, folder / "set", folder / "out")


@given(names)
def test_folders_and_files_of_any_name_write_only_the_index(name: str) -> None:
    with sandbox() as folder:
        root = folder / "set"
        root.mkdir()
        for layout in ("casf2016", "pairs"):
            with contextlib.suppress(OSError, ValueError):  # names that this system does not have
                place = root / name if layout == "casf2016" else root
                if place.parent in (root, folder):
                    place.mkdir(exist_ok=True)
                    for ending in ("_protein.pdb", "_ligand.sdf"):
                        (place / f"{Path(name).name}{ending}").touch()
            with contextlib.suppress(BindraeError):
                run_index(DataLayout(folder / "out"), root, IndexSettings(layout=layout, n_batches=2))
            with contextlib.suppress(BindraeError):
                assert all(job.output.parent == folder / "out" for job in find_jobs(root, folder / "out"))
        assert_untouched_but(folder, root, folder / "out")


@given(names)
def test_ids_to_fetch_stay_among_the_downloads(name: str) -> None:
    with sandbox() as folder:
        listed = folder / "ids.txt"
        with contextlib.suppress(UnicodeEncodeError):
            listed.write_text(name)
            with contextlib.suppress(BindraeError):
                for entry in read_ids(listed):
                    place = place_of(folder / "downloads", "https://x/<id>.cif.gz", entry.id)
                    assert place.parent.parent == folder / "downloads"
                    assert ".." not in place.parts


def predict(*arguments: object) -> tuple[int, str]:
    """Exit code and message; any other exception than a user's error is a bug and raised."""
    result = CliRunner().invoke(app, ["predict", *map(str, arguments)])
    if isinstance(result.exception, BindraeError):
        return 2, result.exception.message
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@settings(max_examples=20)
@given(st.lists(st.one_of(st.just("fine"), names), min_size=1, max_size=2), names, names)
@example(["fine"], "../../../etc/passwd", "a" * 5000)
@example(["../../escaped"], "one_protein.pdb", "one_ligand.sdf")
def test_predict_writes_only_into_its_output(
    source: Path, model_path: Path, ids: list[str], protein: str, ligand: str
) -> None:
    with sandbox() as folder:
        for path in source.iterdir():
            shutil.copy(path, folder)
        sheet, out = folder / "sheet.csv", folder / "out"
        before = {path: path.read_bytes() for path in folder.iterdir()}
        with contextlib.suppress(UnicodeEncodeError):
            rows = {"id": [*ids, "good"], "protein": "one_protein.pdb", "ligand": "one_ligand.sdf"}
            table = pd.DataFrame(rows)
            table.loc[0, ["protein", "ligand"]] = [protein, ligand]
            table.to_csv(sheet, index=False)
            before[sheet] = sheet.read_bytes()
            code, _ = predict(sheet, "-o", out, "--model", model_path, "--no-refine")
            assert code in (0, 1, 2)
            assert {path: path.read_bytes() for path in before} == before
            if code != 2:
                assert (out / "good.pdb").is_file()
        assert_untouched_but(folder, out, sheet, *before)


def test_a_link_in_the_place_of_a_result_is_replaced_and_not_followed(
    source: Path, model_path: Path, tmp_path: Path
) -> None:
    outside, out = tmp_path / "outside.pdb", tmp_path / "out"
    outside.write_text("precious")
    out.mkdir()
    (out / "one.pdb").symlink_to(outside)
    (out / "summary.json").symlink_to(outside)
    assert predict(source, "-o", out, "--model", model_path, "--no-refine")[0] == 0
    assert outside.read_text() == "precious"
    assert not (out / "one.pdb").is_symlink()
    assert json.loads((out / "summary.json").read_text())["failed"] == 0


@pytest.mark.parametrize("kind", ["sheet", "link", "flat folder", "one", "json over protein", "json over ligand"])
def test_an_input_is_never_written_over(source: Path, model_path: Path, tmp_path: Path, kind: str) -> None:
    protein, ligand = tmp_path / "one.pdb", tmp_path / "one.sdf"
    shutil.copy(source / "one_protein.pdb", protein)
    shutil.copy(source / "one_ligand.sdf", ligand)
    arguments: list[object] = [protein, ligand, "-o", tmp_path / "out.pdb"]
    if kind == "sheet":
        (tmp_path / "sheet.csv").write_text("id,protein,ligand\none,one.pdb,one.sdf\n")
        arguments = [tmp_path / "sheet.csv", "-o", tmp_path]
    elif kind == "link":
        (tmp_path / "linked").symlink_to(tmp_path)
        arguments = [protein, ligand, "-o", tmp_path / "linked" / "one.pdb"]
    elif kind == "flat folder":
        (tmp_path / "sheet.csv").write_text("id,protein,ligand\none,one.pdb,one.sdf\n")
        (tmp_path / "linked").symlink_to(tmp_path)
        arguments = [tmp_path / "sheet.csv", "-o", tmp_path / "linked"]
    elif kind == "one":
        arguments = [protein, ligand, "-o", protein]
    else:
        arguments += ["--json", protein if kind == "json over protein" else ligand]
    before = protein.read_bytes(), ligand.read_bytes()
    code, message = predict(*arguments, "--model", model_path, "--no-refine")
    assert (code, "is the input itself" in message) == (2, True)
    assert (protein.read_bytes(), ligand.read_bytes()) == before


def test_structure_and_summary_are_not_the_same_file(source: Path, model_path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.pdb"
    code, message = predict(source / "one_protein.pdb", "-o", out, "--json", out, "--model", model_path)
    assert (code, "the structure's own file" in message) == (2, True)
    assert not out.exists()


def test_a_folder_in_the_place_of_a_result_is_told(source: Path, model_path: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "one.pdb" / "inside").mkdir(parents=True)
    code, message = predict(source, "-o", tmp_path / "out", "--model", model_path, "--no-refine")
    assert code in (1, 2)
    assert "one.pdb" in message
    assert (tmp_path / "out" / "one.pdb" / "inside").is_dir()


def test_a_long_list_of_residues_is_no_name_of_a_file() -> None:
    named = [f"A:{i}" for i in range(2000)]
    assert parse_places(",".join(named)) == named


@pytest.mark.parametrize("name", ["../../escaped", "/etc/x", "a\\b", "$(touch_x)", "x" * 3000])
def test_the_data_name_of_an_mmcif_file_is_no_place(source: Path, model_path: Path, tmp_path: Path, name: str) -> None:
    work = tmp_path / "in" / "work"
    work.mkdir(parents=True)
    structure = gemmi.read_structure(str(source / "one_protein.pdb"))
    structure.setup_entities()
    document = structure.make_mmcif_document()
    document.sole_block().name = name
    (work / "p.cif").write_text(document.as_string())
    code, message = predict(
        work / "p.cif", source / "one_ligand.sdf", "-o", work / "out.cif", "--model", model_path, "--no-refine"
    )
    assert code == 0, message
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["out.cif", "p.cif"]
    assert len(gemmi.read_structure(str(work / "out.cif"))[0]) == 1
