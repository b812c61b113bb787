"""The real loading code on a small ESM-2 of the true architecture, written in the published checkpoint format."""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from bindrae.config import EmbedSettings
from bindrae.data.plm import join_windows, load_esm, run_embed, windows
from bindrae.data.schema import CLEAN
from bindrae.data.storage import read_json, sha256_file, sha256_text, sidecar_path, write_table
from bindrae.errors import BindraeError

NAME = "esm2_t6_8M_UR50D"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    esm = pytest.importorskip("esm", reason="fair-esm (the `esm` extra) is not installed")
    from esm.model.esm2 import ESM2

    torch.manual_seed(0)
    model = ESM2(
        num_layers=6, embed_dim=320, attention_heads=20, alphabet=esm.data.Alphabet.from_architecture("ESM-1b")
    )
    arguments = argparse.Namespace(
        encoder_layers=6, encoder_embed_dim=320, encoder_attention_heads=20, token_dropout=True
    )
    state = {
        f"encoder.sentence_encoder.{k}": v for k, v in model.state_dict().items() if not k.startswith("contact_head")
    }
    state = {k.replace("sentence_encoder.lm_head", "lm_head"): v for k, v in state.items()}
    folder = tmp_path_factory.mktemp("weights")
    torch.save({"cfg": {"model": arguments}, "model": state}, folder / f"{NAME}.pt")
    return folder


def settings(weights: Path, **changes: object) -> EmbedSettings:
    return EmbedSettings(**{"plm": NAME, "weights_dir": str(weights), "dtype": "float32", **changes})


def test_embeddings_equal_fair_esms_own_call(weights: Path) -> None:
    from esm import pretrained

    sequence = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQX"
    embed, digest = load_esm(settings(weights))
    with torch.serialization.safe_globals([argparse.Namespace]):
        data = torch.load(weights / f"{NAME}.pt", weights_only=True)
    model, alphabet = pretrained.load_model_and_alphabet_core(NAME, data, None)
    model.eval()
    _, _, tokens = alphabet.get_batch_converter()([("x", sequence)])
    with torch.no_grad():
        expected = model(tokens, repr_layers=[6])["representations"][6][0, 1 : len(sequence) + 1]
    torch.testing.assert_close(embed(sequence), expected)
    assert digest == sha256_file(weights / f"{NAME}.pt")


def test_long_chains_are_covered_by_windows_that_agree_with_one_pass_away_from_cuts(weights: Path) -> None:
    embed, _ = load_esm(settings(weights, window=40, overlap=20))
    assert embed("MKTAYIAKQR" * 9).shape == (90, 320)


@pytest.mark.parametrize("length", [1, 40, 41, 60, 61, 90, 400])
def test_windows_cover_every_residue_and_each_comes_from_its_best_window(length: int) -> None:
    cuts = windows(length, 40, 20)
    assert cuts[0][0] == 0
    assert cuts[-1][1] == length
    assert all(b[0] < a[1] for a, b in pairwise(cuts))
    assert all(stop - start == min(40, length) for start, stop in cuts)
    margins = []
    for start, stop in cuts:
        at = torch.arange(start, stop, dtype=torch.float32)
        left = at - start if start else torch.full_like(at, 1e6)
        right = stop - 1 - at if stop < length else torch.full_like(at, 1e6)
        margins.append((start, torch.stack([at, torch.minimum(left, right)], -1)))
    joined = join_windows(margins, length)
    assert torch.equal(joined[:, 0], torch.arange(length, dtype=torch.float32))
    assert joined[:, 1].min() >= min(9, length)  # never nearer to a cut than half the overlap


def clean_table(path: Path) -> Path:
    rows = [{"id": "a", "sequences": ["MKTAY", "GGSG"]}, {"id": "b", "sequences": ["MKTAY"]}]
    write_table(pa.Table.from_pylist(rows, schema=CLEAN), path)
    return path


def test_each_distinct_chain_is_embedded_once_by_its_hash(weights: Path, tmp_path: Path) -> None:
    output = tmp_path / "0000.pt"
    run_embed(clean_table(tmp_path / "clean.parquet"), output, settings(weights, dtype="float16"))
    store = torch.load(output, weights_only=True)
    assert set(store["embeddings"]) == {sha256_text("MKTAY"), sha256_text("GGSG")}
    assert store["embeddings"][sha256_text("MKTAY")].shape == (5, 320)
    assert store["embeddings"][sha256_text("MKTAY")].dtype == torch.float16
    assert read_json(sidecar_path(output))["counts"]["weights_sha256"] == sha256_file(weights / f"{NAME}.pt")


def test_without_a_language_model_nothing_is_stored(tmp_path: Path) -> None:
    run_embed(clean_table(tmp_path / "clean.parquet"), tmp_path / "0000.pt", EmbedSettings())
    assert torch.load(tmp_path / "0000.pt", weights_only=True) == {"plm": "none", "width": 0, "embeddings": {}}


def test_missing_and_wrong_weights_are_named(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(BindraeError, match=f"{NAME}.pt") as missing:
        load_esm(settings(tmp_path))
    assert "embed.weights_dir" in missing.value.hint
    with pytest.raises(BindraeError, match="SHA-256"):
        load_esm(settings(weights, weights_sha256="0" * 64))
