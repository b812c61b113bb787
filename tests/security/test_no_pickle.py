"""No file of a user runs code: a pickle with a command in it, in the place of each file that is read."""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import torch

from bindrae.config import EmbedSettings, read_yaml
from bindrae.data.dataset import ShardDataset
from bindrae.data.embeddings import EmbeddingCache, identity_of, read_store
from bindrae.data.layout import DataLayout
from bindrae.data.plm import load_esm
from bindrae.data.shards import SHARD
from bindrae.data.sheets import read_sheet
from bindrae.data.storage import read_json, read_table, write_json, write_table
from bindrae.data.tensors import read_tensors
from bindrae.errors import BindraeError
from bindrae.model.model_file import load_model
from bindrae.prediction.predict import Predictor
from bindrae.training.checkpoint import load_checkpoint
from bindrae.training.replay import replay

PLM = "esm2_t6_8M_UR50D"


class Command:
    """Unpickled, it makes a file."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self._mark,)


def zipped(path: Path, mark: Path) -> None:
    """As torch writes it: a ZIP archive with a pickle inside."""
    torch.save({"model": {"weight": torch.zeros(2)}, "cfg": Command(mark)}, path)


def legacy(path: Path, mark: Path) -> None:
    """As torch wrote it before 1.6: pickles one after the other."""
    torch.save({"model": Command(mark)}, path, _use_new_zipfile_serialization=False)


def plain(path: Path, mark: Path) -> None:
    path.write_bytes(pickle.dumps({"model": Command(mark)}))


def checkpoint(path: Path) -> None:
    path.rename(path.with_name("last.pt"))
    load_checkpoint(path.parent)


def esm_weights(path: Path) -> None:
    pytest.importorskip("esm", reason="fair-esm (the `esm` extra) is not installed")
    path.rename(path.with_name(f"{PLM}.pt"))
    load_esm(EmbedSettings(plm=PLM, weights_dir=str(path.parent)))


def cache(path: Path) -> None:
    identity = identity_of(EmbedSettings(plm=PLM), "0" * 64)
    kept = EmbeddingCache(str(path.parent / "cache"), identity)
    kept.write("ab" * 32, torch.zeros(1))
    (file,) = (path.parent / "cache").rglob("*.pt")
    path.rename(file)
    kept.read("ab" * 32)


def shard(path: Path) -> None:
    layout = DataLayout(path.parent / "data")
    write_json({"0": "x"}, layout.batches)
    facts = {field.name: ["a" if field.type == "string" else 1] for field in SHARD}
    write_table(pa.table(facts, schema=SHARD), layout.shard("train", 0))
    path.rename(layout.shard("train", 0).with_suffix(".pt"))
    ShardDataset(layout, "train")


READERS: dict[str, Callable[[Path], Any]] = {
    "checkpoint": checkpoint,
    "replay": replay,
    "model": load_model,
    "model of predict": Predictor.load,
    "ESM-2 weights": esm_weights,
    "embeddings of a batch": read_store,
    "embedding cache": cache,
    "shard": shard,
    "tensors": lambda path: read_tensors(path, "no"),
    "table": read_table,
    "JSON": read_json,
    "YAML": read_yaml,
    "sheet": lambda path: read_sheet(path.rename(path.with_suffix(".csv"))),
    "parquet sheet": lambda path: read_sheet(path.rename(path.with_suffix(".parquet"))),
}


@pytest.mark.parametrize("write", [zipped, legacy, plain])
@pytest.mark.parametrize("reader", READERS)
def test_a_pickle_with_a_command_is_refused_and_not_run(
    tmp_path: Path, reader: str, write: Callable[[Path, Path], None]
) -> None:
    mark, path = tmp_path / "mark", tmp_path / "file"
    write(path, mark)
    with pytest.raises(BindraeError) as caught:
        READERS[reader](path)
    assert caught.value.hint
    assert not mark.exists(), "the command inside was run"


def test_the_command_is_a_real_one(tmp_path: Path) -> None:
    """What the tests above are worth: the same files, read by a program that trusts them."""
    for write in (zipped, legacy):
        write(tmp_path / "file", tmp_path / write.__name__)
        torch.load(tmp_path / "file", weights_only=False)
        assert (tmp_path / write.__name__).exists()
    plain(tmp_path / "file", tmp_path / "plain")
    pd.read_pickle(tmp_path / "file")
    assert (tmp_path / "plain").exists()


def test_published_weights_may_hold_their_settings_and_nothing_else(tmp_path: Path) -> None:
    torch.save({"cfg": argparse.Namespace(layers=6)}, tmp_path / "a.pt")
    assert read_tensors(tmp_path / "a.pt", "no", namespaces=True)["cfg"].layers == 6
    with pytest.raises(BindraeError, match=r"a\.pt is damaged"):
        read_tensors(tmp_path / "a.pt", "no")  # what was let in once is not let in for ever
    zipped(tmp_path / "b.pt", tmp_path / "mark")
    with pytest.raises(BindraeError, match=r"b\.pt is damaged"):
        read_tensors(tmp_path / "b.pt", "no", namespaces=True)
    assert not (tmp_path / "mark").exists()
    torch.save(torch.zeros(1), tmp_path / "c.pt")
    with pytest.raises(BindraeError, match="holds Tensor, not a mapping"):
        read_tensors(tmp_path / "c.pt", "no")
