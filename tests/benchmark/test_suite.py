"""The benchmark suite: timing, records, pages, and the parts that need no other program."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections import Counter
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bindrae.benchmark.peers.given import Given
from bindrae.benchmark.peers.peer import Cost
from bindrae.benchmark.suite import fk, loader, machine, page, predict
from bindrae.benchmark.suite.__main__ import bench
from bindrae.benchmark.suite.nerf import nerf, nerf_numbers
from bindrae.benchmark.suite.options import Options
from bindrae.benchmark.suite.part import Part, Plot, Table, read_part, write_part
from bindrae.benchmark.suite.parts import PARTS
from bindrae.benchmark.suite.steps import Steps, dataset_steps, synthetic_steps
from bindrae.benchmark.suite.timing import alternate, ratio
from bindrae.benchmark.suite.words import number
from bindrae.config import ModelSettings, TrainingSettings
from bindrae.data.dataset import ShardDataset
from bindrae.data.layout import DataLayout
from bindrae.errors import BindraeError
from bindrae.geometry.chain import chain_to_atoms
from bindrae.geometry.kinematics import angles_to_circle
from tests.complexes import write_complex

ROOT = Path(__file__).parents[2]
SMALL = ModelSettings(c_s=16, c_z=8, c_hidden=4, heads=2, depth=1, local_hidden=16, d_lig=8, ligand_heads=2)


def test_tasks_take_turns_and_the_warm_up_does_not_count() -> None:
    called: list[str] = []
    ticks = iter([0.0, 9.0, 9.0, 99.0, 0, 1, 0, 10, 0, 2, 0, 20, 0, 4, 0, 60])
    found = alternate(
        {name: lambda name=name: called.append(name) for name in "ab"},
        runs=3,
        clock=lambda: next(ticks),
    )
    assert called == list("abababab")
    assert (found["a"].median, found["a"].low, found["a"].high, found["a"].runs) == (2.0, 1.5, 3.0, 3)
    assert ratio(found["b"], found["a"]) == 10.0


def test_a_part_is_kept_with_five_digits_and_without_nan(tmp_path: Path) -> None:
    part = Part("fk", "about", ratios={"x": np.float32(1 / 3), "y": {"128": float("nan"), "64": 123456.789}})
    part.tables = [Table("t", ["a"], [[1.23456789], [None], [12345678]])]
    found = read_part(write_part(part, tmp_path))
    assert found["ratios"] == {"x": 0.33333, "y": {"128": None, "64": 123460.0}}
    assert found["tables"][0]["rows"] == [[1.2346], [None], [12345678]]
    assert found["hardware"]["cores"] >= 1
    assert found["versions"]["torch"] == torch.__version__
    text = (tmp_path / "fk.json").read_text()
    assert text == json.dumps(json.loads(text), indent=1, sort_keys=True) + "\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"), (1234567, "1,234,567"), (1234.5, "1,234"), (0.20312, "0.203"), (1300.0, "1,300"), (0.0, "0"),
        ({"512": 2.0, "64": 16.71, "2048": 0.051}, "64: 16.7, 512: 2.00, 2048: 0.0510"),
        ({"value": 1.19, "low": -0.5, "high": 2.0}, "+1.19 [-0.500, +2.00]"),
    ],
)  # fmt: skip
def test_numbers_in_words(value: Any, text: str) -> None:
    assert number(value) == text


def test_the_machines_rates_are_those_of_one_thread() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    rate = machine.matmul_rate(torch.float32, 0.05)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)
    assert 1e8 < rate < 1e13


def test_the_rate_is_that_of_the_faster_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_SIZES", (8,))

    def slow(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        end = time.process_time() + 0.001
        while time.process_time() < end:
            pass
        return x @ weight.T

    for place in ("torch.nn.functional.linear", "bindrae.benchmark.suite.machine.product"):
        with monkeypatch.context() as patch:
            patch.setattr(place, slow)
            assert machine.matmul_rate.__wrapped__(torch.float32, 0.05) > 2 * 8**3 / 0.001


def chain(n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Angles of any size, all 21 types, and the atoms of chain mode: all float64."""
    g = torch.Generator().manual_seed(0)
    angles = (2 * torch.rand(n, 7, generator=g, dtype=torch.float64) - 1) * torch.pi
    kinds = torch.cat([torch.arange(21), torch.randint(0, 21, (n - 21,), generator=g)])
    return angles.requires_grad_(), kinds, chain_atoms(angles, kinds)


def chain_atoms(angles: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
    n = len(kinds)
    first = torch.eye(3, dtype=torch.float64).expand(n, 3, 3), torch.zeros(n, 3, dtype=torch.float64)
    return chain_to_atoms(angles_to_circle(angles), kinds, torch.arange(n) < n - 1, first)[0]


def test_nerf_places_what_chain_mode_places_with_the_same_gradient() -> None:
    angles, kinds, expected = chain(60)
    built = nerf(angles, kinds, expected[0, :3].detach())
    assert (built - expected).abs().max() < 1e-8
    assert (nerf_numbers(angles.detach(), kinds, expected[0, :3].detach()) - expected).abs().max() < 1e-8
    weight = torch.randn(60, 14, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ours, theirs = (torch.autograd.grad((xyz * weight).sum(), angles)[0] for xyz in (expected, built))
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_fk_measures_every_way_at_every_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # without data
    part = fk.run(Options(quick=True))
    forward, backward = part.tables
    assert forward.columns == ["residues", fk.FRAMES, fk.CHAIN, fk.NERF, fk.NUMBERS]
    assert backward.columns == ["residues", fk.FRAMES, fk.CHAIN, fk.NERF]
    assert [row[0] for row in forward.rows] == [32, 64]
    own, recorded = part.ratios["frames_us_per_residue"], part.ratios["frames_speedup_vs_openfold_recorded"]
    assert own["64"] * recorded["64"] == pytest.approx(16.7)
    assert set(part.ratios) == set(part.words) - {"frames_speedup_vs_openfold"}
    assert any("make demo" in remark for remark in part.remarks)


def test_real_structures_stand_beside_the_recorded_figure(demo_layout: DataLayout) -> None:
    part = fk.run(Options(quick=True, data=demo_layout.root))
    ours, recorded = part.tables[2].rows
    assert ours[2] < 0.3
    assert "not of this run" in str(recorded[0])
    assert recorded[2:] == [0.225, 0.361, None, "16.7"]


def test_a_checkout_that_cannot_be_imported_is_named(tmp_path: Path) -> None:
    with pytest.raises(BindraeError, match="is no checkout of OpenFold"):
        fk.openfold(tmp_path)
    for name in ("np", "utils"):
        (tmp_path / "openfold" / name).mkdir(parents=True)
    (tmp_path / "openfold" / "__init__.py").write_text("raise RuntimeError('the whole model')")
    (tmp_path / "openfold" / "np" / "residue_constants.py").write_text("import no_such_package_anywhere")
    (tmp_path / "openfold" / "utils" / "feats.py").write_text("")
    with pytest.raises(BindraeError, match="no_such_package_anywhere"):
        fk.openfold(tmp_path)


def test_steps_train_and_show_the_share_of_the_settings() -> None:
    recipe = TrainingSettings(batch_size=2, accumulate=2, shown_fraction=0.5, structure_fraction=0.25, lr=1e-3)
    task = Steps(SMALL, recipe, synthetic_steps(recipe, 4, 16))
    assert task.residues == 4 * 2 * 2 * 16
    assert (sum(plan.shows for plan in task.plans), sum(plan.structure for plan in task.plans)) == (2, 1)
    before = {name: p.detach().clone() for name, p in task.state.model.named_parameters()}
    started = int(task.state.model.step)
    task()
    assert int(task.state.model.step) == started + 4
    assert sum(bool((p != before[name]).any()) for name, p in task.state.model.named_parameters()) > 0.9 * len(before)


def test_step_rate_counts_residues_of_a_dataset_after_its_crop(overfit_layout: DataLayout) -> None:
    dataset = ShardDataset(overfit_layout, "train")
    recipe = TrainingSettings(batch_size=2, max_residues=20)
    made = dataset_steps(dataset, recipe, 3)
    assert [batch.n_residues for step in made for batch in step] == [[20, 20]] * 3
    task = Steps(SMALL, recipe, dataset_steps(dataset, recipe, 2))
    seconds = alternate({"steps": task}, runs=1)["steps"]
    assert (task.residues, len(task.steps)) == (80, 2)
    assert task.rate(seconds) == pytest.approx(80 / seconds.median)


def test_the_loader_is_compared_residue_for_residue(overfit_layout: DataLayout, monkeypatch: Any) -> None:
    monkeypatch.setattr(loader, "ModelSettings", lambda d_plm: SMALL.model_copy(update={"d_plm": d_plm}))
    part = loader.run(Options(quick=True, data=overfit_layout.root))
    rows = {row[0]: row for row in part.tables[0].rows}
    dataset = ShardDataset(overfit_layout, "train")
    assert rows["loader"][1] == int(np.minimum(dataset.lengths, TrainingSettings().max_residues).sum())
    assert rows["step, fp32"][1] == rows["step, bf16"][1]
    assert part.ratios["loader_vs_cpu_step"] == rows["loader"][3] / rows["step, fp32"][3]


def test_without_data_the_loader_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BindraeError, match="make demo"):
        loader.run(Options())


class Packer:
    """Gives back the true structures, a set time each."""

    given = "everything"

    def __init__(self, name: str, source: Path, log: list[tuple[str, str]], seconds: float = 1.0) -> None:
        self.name, self.source, self.log, self.seconds = name, source, log, seconds
        self.calls: Counter[str] = Counter()

    def prepare(self, folder: Path, threads: int) -> str:
        self.calls["prepare"] += 1
        if self.seconds < 0:
            raise BindraeError("no compiler", "install one")
        return "1"

    def pack(self, given: Given, output: Path, limit: float) -> Cost:
        self.log.append((self.name, given.id))
        shutil.copyfile(self.source / given.id / f"{given.id}_protein.pdb", output)
        return Cost(3 * self.seconds, self.seconds)

    def close(self) -> None:
        self.calls["close"] += 1


def test_packers_take_turns_and_the_absent_are_named(tmp_path: Path) -> None:
    source, log = tmp_path / "set", []
    for identifier in ("one", "two"):
        write_complex(source, identifier, "AFKDSWLEGHYPRNMCTVIQ")
    peers = [Packer("bindrae", source, log), Packer("promod3", source, log, 2.5), Packer("faspr", source, log, -1.0)]
    part = predict.run(Options(output=tmp_path / "out", root=source), list(peers))
    assert log == [(name, i) for i in ("one", "two") for name in ("bindrae", "promod3")]
    assert [dict(peer.calls) for peer in peers] == [{"prepare": 1, "close": 1}] * 3
    assert part.ratios["throughput_vs_promod3"] == 2.5
    assert part.ratios["chi1_vs_promod3"]["value"] == 0.0
    assert "faspr was not run: no compiler what to do: install one" in part.remarks
    table = {str(row[0]): row[1:] for row in part.tables[0].rows}
    assert part.tables[0].columns == ["", "bindrae", "promod3", "crystal"]
    assert str(table["chi1 within 20 degrees, %"][0]).startswith("100.0")
    assert str(table["processor seconds a complex"][1]).startswith("2.50")
    assert set(part.ratios) == set(part.words)


def site(folder: Path) -> Path:
    """A repository with a README and the results of two parts beside it."""
    (folder / "docs").mkdir()
    (folder / "README.md").write_text(f"before\n{page.BEGIN}\nold 99.9\n{page.END}\nafter\n")
    plot = Plot("curve", "Title", "residues", "us", {"ours": [(1.0, 2.0), (10.0, 3.0)]})
    one = Part("fk", "About fk.", {"runs": 5}, {"speed": {"128": 2.5}}, words={"speed": "faster, times"})
    one.tables, one.plots, one.remarks = [Table("Times", ["n", "us"], [[128, 12.3456]], "A note.")], [plot], ["Mind."]
    two = Part(
        "predict",
        "About.",
        {"dataset": "set"},
        {"throughput_vs_x": 1.5, "chi1_vs_x": {"value": 1.2, "low": 0.8, "high": 1.6}},
    )
    two.tables = [Table("Accuracy", ["", "ours | theirs"], [["chi1", "83.2 [82.3, 84.1]"]])]
    for part in (one, two):
        write_part(part, folder / "results")
    return folder


def test_pages_hold_the_numbers_and_nothing_else_of_the_readme_changes(tmp_path: Path) -> None:
    root = site(tmp_path)
    page.publish(root / "results", PARTS, root)
    readme = (root / "README.md").read_text()
    assert readme.startswith(f"before\n{page.BEGIN}\n")
    assert readme.endswith(f"{page.END}\nafter\n")
    assert "old 99.9" not in readme
    for line in (
        "| chi1 | 83.2 [82.3, 84.1] |",
        "- `speed`, faster, times: 128: 2.50",
        "- Ours minus x, paired: chi1 +1.20 [+0.800, +1.60]; complexes a processor second: 1.50 times as many.",
    ):
        assert line in readme.splitlines()
    text = (root / page.PAGE).read_text()
    places = [
        text.index(word) for word in ("## Hardware and versions", "## How to repeat", *(f"## {n}\n" for n in PARTS))
    ]
    assert all(a < b for a, b in pairwise(places))
    assert "make bench-loader" in text  # has not been run
    assert "make bench-fk`" not in text
    for line in (
        "| 128 | 12.3 |",
        "A note.",
        "![Title](benchmarks/curve.svg)",
        "- Mind.",
        "Settings: runs 5.",
        "|  | ours / theirs |",
    ):
        assert line in text.splitlines()
    assert (root / "docs/benchmarks/fk.json").read_bytes() == (root / "results/fk.json").read_bytes()


def test_pages_written_twice_are_the_same_and_old_figures_go(tmp_path: Path) -> None:
    root = site(tmp_path)
    page.publish(root / "results", PARTS, root)
    (root / "docs/benchmarks/gone.svg").write_text("old")
    files = sorted(path for path in (root / "docs").rglob("*") if path.is_file() and path.name != "gone.svg")
    first = {path: path.read_bytes() for path in [*files, root / "README.md"]}
    (root / "results/fk.json").unlink()  # what is published stays
    page.publish(root / "results", PARTS, root)
    assert {path: path.read_bytes() for path in first} == first
    assert not (root / "docs/benchmarks/gone.svg").exists()
    drawing = (root / "docs/benchmarks/curve.svg").read_text()
    assert all(f">{text}</text>" in drawing for text in ("residues", "us", "ours", "10"))
    assert "math" not in drawing
    assert "<dc:date>" not in drawing


def test_a_readme_without_the_marks_is_refused(tmp_path: Path) -> None:
    root = site(tmp_path)
    (root / "README.md").write_text("no marks")
    with pytest.raises(BindraeError, match="lacks the marks"):
        page.publish(root / "results", PARTS, root)


def test_committed_pages_are_those_of_the_committed_results() -> None:
    for path, text in page.texts(ROOT).items():
        assert (ROOT / path).read_text() == text, f"{path}: run `python -m bindrae.benchmark.suite page`"
    wanted = {plot["name"] for record in page.published(ROOT).values() for plot in record["plots"]}
    assert {path.stem for path in (ROOT / page.FOLDER).glob("*.svg")} == wanted


def test_one_part_that_cannot_run_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # no data for the loader
    root = site(tmp_path)
    calls = count()
    monkeypatch.setattr(fk, "run", lambda options: Part("fk", "Anew.", ratios={"speed": float(next(calls))}))
    with pytest.raises(SystemExit) as stop:
        bench(parts=["loader", "fk"], output=root / "results", site=root)
    assert stop.value.code == 2
    assert "loader is left out: no prepared data" in capsys.readouterr().err
    assert "Anew." in (root / page.PAGE).read_text()
    assert "83.2" not in (root / page.PAGE).read_text()  # results of a part that was not run are not taken over
    bench(parts=["fk"], output=root / "results", site=root, quick=True)
    assert "| `speed` |  | 0 |" in (root / page.PAGE).read_text()
    assert read_part(root / "results/quick/fk.json")["ratios"] == {"speed": 1.0}
    with pytest.raises(BindraeError, match="atention: no part"):
        bench(parts=["atention"], output=root / "results", site=root)


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("bench", "bindrae.benchmark.suite --quick"),
        ("bench-loader", "bindrae.benchmark.suite loader --quick"),
        ("bench-peers", "bindrae.benchmark.peers --quick"),
    ],
)
def test_make_targets(target: str, command: str) -> None:
    # Under `make test` this is a make within a make, which would say last which folder it leaves.
    dry = ["make", "-n", "--no-print-directory", target, "ARGS=--quick"]
    ran = subprocess.run(dry, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1].endswith(command)
