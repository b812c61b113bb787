"""What all tests share: repeatable hypothesis runs, the complexes of the demo packages, a small untrained model."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from hypothesis import settings

from bindrae.config import (
    CleanSettings,
    EmbedSettings,
    IndexSettings,
    ModelSettings,
    PocketSettings,
    ShardSettings,
    SplitSettings,
    TokenSettings,
    TorsionSettings,
)
from bindrae.data.dataset import ShardDataset
from bindrae.data.index import DEMO_COMPLEXES, run_index
from bindrae.data.layout import SIDES, DataLayout
from bindrae.data.plm import run_embed
from bindrae.data.shards import SHARD, run_shards
from bindrae.data.split import run_split
from bindrae.data.stages import run_clean, run_pocket, run_tokens, run_torsions
from bindrae.data.storage import read_table, write_table
from bindrae.model.model_file import save_model
from bindrae.model.stage1 import Stage1

settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("repeatable")


FIRST = ("workflow", "documentation", "reporting")
"""Folders that take longest: in several processes each begins at once."""
TOGETHER = ("workflow", "reporting")
"""Folders whose tests share what takes long to make: one process runs them all."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Share the tests out among processes (``pytest -n 2 --dist loadgroup``)."""
    if config.getoption("dist", "no") != "loadgroup":
        return
    root = Path(__file__).parent

    def folder(item: pytest.Item) -> str:
        return item.path.relative_to(root).parts[0]

    for item in items:
        item.add_marker(pytest.mark.xdist_group(folder(item) if folder(item) in TOGETHER else str(item.path)))
    items.sort(key=lambda item: FIRST.index(folder(item)) if folder(item) in FIRST else len(FIRST))


@pytest.fixture(scope="session")
def demo() -> dict[str, dict[str, Any]]:
    """Entries of the demo complexes whose package is installed, by id; skips where there is none."""
    found: dict[str, dict[str, Any]] = {}
    for package, identifier, protein, ligand in DEMO_COMPLEXES:
        try:
            distribution = importlib.metadata.distribution(package)
        except importlib.metadata.PackageNotFoundError:
            continue
        paths = [Path(str(distribution.locate_file(name))) for name in (protein, ligand)]
        found[identifier] = {"id": identifier, "protein": str(paths[0]), "ligand": [str(paths[1])]}
    if "1s3v" not in found:
        pytest.skip("the package posebusters (the `demo` extra) is not installed")
    return found


def _run_data_stages(layout: DataLayout, sheet: Path) -> None:
    run_index(layout, sheet, IndexSettings(layout="sheet", n_batches=1))
    clean = layout.batch("clean", 0)
    run_clean(layout.entries, 0, clean, CleanSettings(chains_within_angstrom=8.0))
    run_pocket(clean, layout.batch("pocket", 0), PocketSettings())
    run_torsions(clean, layout.batch("torsions", 0), TorsionSettings())
    run_tokens(clean, layout.batch("pocket", 0), layout.batch("tokens", 0), TokenSettings())
    run_embed(clean, layout.batch("embed", 0), EmbedSettings())
    run_split(layout, SplitSettings(), 0.0)
    run_shards(layout, 0, ShardSettings())


def _sheet(folder: Path, entries: list[dict[str, Any]]) -> Path:
    rows = [f"{e['id']},{e['protein']},{e['ligand'][0]}" for e in entries]
    path = folder / "sheet.csv"
    path.write_text("\n".join(["id,protein,ligand", *rows]) + "\n")
    return path


@pytest.fixture(scope="session")
def demo_layout(demo: dict[str, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> DataLayout:
    """Shards of three demo complexes of different families, one on each side of the split."""
    if "1s2g" not in demo:
        pytest.skip("the package prolif (the `demo` extra) is not installed")
    folder = tmp_path_factory.mktemp("demo")
    layout = DataLayout(folder / "data")
    _run_data_stages(layout, _sheet(folder, [demo[name] for name in ("1s3v", "1s2g", "1uou")]))
    return layout


@pytest.fixture(scope="session")
def overfit_layout(
    demo_layout: DataLayout, demo: dict[str, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> DataLayout:
    """Shards whose train side is 1s3v forty times over, so that few epochs are many steps; the val side is 1s3v."""
    folder = tmp_path_factory.mktemp("overfit")
    layout = DataLayout(folder / "data")
    copies = [{**demo["1s3v"], "id": f"copy{i:02d}"} for i in range(41)]
    run_index(layout, _sheet(folder, copies), IndexSettings(layout="sheet", n_batches=1))
    source = ShardDataset(demo_layout, next(s for s in SIDES if "1s3v" in _ids(demo_layout, s)))
    shard = source.files[0]
    for side, count in (("train", 40), ("val", 1), ("test", 0)):
        target = layout.shard(side, 0)
        facts = [{**read_table(shard).to_pylist()[0], "id": f"copy{i:02d}"} for i in range(count)]
        write_table(pa.Table.from_pylist(facts, schema=SHARD), target)
        tensors = torch.load(shard.with_suffix(".pt"), weights_only=True)
        copied = {}
        for name, value in tensors.items():
            if name.endswith("_offsets"):
                copied[name] = torch.arange(count + 1) * value[-1]
            else:
                copied[name] = torch.cat([value[:0], *[value] * count])
        torch.save(copied, target.with_suffix(".pt"))
    return layout


def _ids(layout: DataLayout, side: str) -> list[str]:
    return read_table(layout.shard(side, 0), ["id"])["id"].to_pylist()


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file with random weights, whose chi distributions are peaked enough to have modes."""
    torch.manual_seed(3)
    sizes = {"c_s": 32, "c_z": 16, "depth": 1, "heads": 2, "local_hidden": 16, "d_lig": 16, "ligand_heads": 2}
    model = Stage1(ModelSettings(**sizes, qk_points=2, v_points=2, local_neighbours=8, edge_neighbours=4))
    with torch.no_grad():
        for output in model.head.output:  # type: ignore[union-attr]
            output[-1].weight *= 20.0
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(model, path, {})
    return path
