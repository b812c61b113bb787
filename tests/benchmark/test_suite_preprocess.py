"""The part `preprocess`: an honest floor, and a profile whose parts are the whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from bindrae.benchmark.suite import preprocess
from bindrae.benchmark.suite.functions import own_seconds, share_out
from bindrae.benchmark.suite.options import Options
from bindrae.benchmark.suite.preprocess import ALL, DOCUMENTED, FEATURES, FLOOR, LIGANDS, PROTEINS, STAGES, Work
from bindrae.data.layout import DataLayout
from bindrae.data.storage import sha256_text


@pytest.fixture
def work(tmp_path: Path) -> Work:
    layout = DataLayout(tmp_path)
    assert preprocess.make_index(Options(), layout) == "demo"
    return Work(layout)


def test_time_of_foreign_functions_goes_to_who_called_them() -> None:
    ours, other, between, slow = (
        ("/x/bindrae/a.py", 1, "f"),
        ("/x/bindrae/b.py", 1, "g"),
        ("/y.py", 1, "h"),
        ("~", 0, "s"),
    )
    stats = {
        ours: (1, 1, 1.0, 9.0, {}),
        other: (1, 1, 2.0, 6.0, {ours: (1, 1, 2.0, 6.0)}),
        between: (2, 2, 0.0, 4.0, {ours: (1, 1, 0.0, 1.0), other: (1, 1, 0.0, 3.0)}),
        slow: (2, 2, 6.0, 6.0, {between: (1, 1, 4.0, 4.0), other: (1, 1, 2.0, 2.0)}),
    }
    assert share_out(stats, Path("/x/bindrae")) == pytest.approx({"b.g": 7.0, "a.f": 2.0})


def test_functions_that_call_each_other_outside_end() -> None:
    ours, one, two = ("/x/bindrae/a.py", 1, "f"), ("/y.py", 1, "one"), ("/y.py", 2, "two")
    stats = {
        ours: (1, 1, 0.0, 3.0, {}),
        one: (2, 2, 1.0, 3.0, {ours: (1, 1, 0.5, 3.0), two: (1, 1, 0.5, 1.0)}),
        two: (1, 1, 2.0, 2.5, {one: (1, 1, 2.0, 2.5)}),
    }
    assert share_out(stats, Path("/x/bindrae")) == pytest.approx({"a.f": 3.0}, abs=1e-4)


def test_a_hash_is_the_time_of_who_asked_for_it() -> None:
    text = "x" * 20_000_000
    found = own_seconds(lambda: sha256_text(text))
    assert next(iter(found)) == "data.storage.sha256_text"


def test_features_once_are_those_of_the_documented_call(work: Work) -> None:
    assert len(work.mols) == 5
    for mol in work.mols:
        documented = [(f.GetFamily(), f.GetType(), f.GetAtomIds()) for f in work.factory.GetFeaturesForMol(mol)]
        once = [
            work.factory.GetMolFeature(mol, i, recompute=i == 0) for i in range(work.factory.GetNumMolFeatures(mol))
        ]
        assert [(f.GetFamily(), f.GetType(), f.GetAtomIds()) for f in once] == documented


def test_every_file_is_read_once_by_the_floor(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(preprocess.gemmi, "read_structure", read.append)
    monkeypatch.setattr(preprocess, "read_ligand_file", read.append)
    work.proteins()
    work.ligands()
    assert sorted(read) == sorted(path for files in work.files for path in (files["protein"], *files["ligand"]))


def test_stages_and_functions_add_up() -> None:
    part = preprocess.run(Options(quick=True))
    rows = {str(row[0]): row for row in part.tables[0].rows}
    assert set(rows) == {PROTEINS, LIGANDS, FEATURES, DOCUMENTED, *STAGES, ALL, FLOOR}
    assert part.settings == {"dataset": "demo", "complexes": 5, "accepted": 5, "batches": 1}
    assert part.ratios["complexes_per_second"] == pytest.approx(rows[ALL][3])
    assert set(part.ratios) == set(part.words)
    profile = part.tables[1].rows
    for stage in STAGES:
        assert sum(float(row[2] or 0) for row in profile if row[0] == stage) == pytest.approx(rows[stage][2])
    assert any(row[1] == "structure.atoms.parse_structure" for row in profile)
