"""The real loading code on a small ESM-2 of the true architecture, written in the published checkpoint format."""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from bindrae.config import PLM_WIDTH, EmbedSettings, ModelSettings
from bindrae.data.embeddings import layer_of, read_store
from bindrae.data.plm import join_windows, load_esm, run_embed, windows
from bindrae.data.schema import CLEAN
from bindrae.data.storage import read_json, sha256_file, sha256_text, sidecar_path, write_table
from bindrae.errors import BindraeError
from bindrae.model.stage1 import Stage1
from tests.batches import random_batch

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
    digest = sha256_file(weights / f"{NAME}.pt")
    assert read_json(sidecar_path(output))["counts"]["weights_sha256"] == digest
    identity = {key: value for key, value in store.items() if key != "embeddings"}
    assert identity == {
        "plm": NAME, "width": 320, "layer": 6, "dtype": "float16", "weights_sha256": digest, "window": 1022,
        "overlap": 256,
    }  # fmt: skip


def test_without_a_language_model_nothing_is_stored(tmp_path: Path) -> None:
    run_embed(clean_table(tmp_path / "clean.parquet"), tmp_path / "0000.pt", EmbedSettings())
    store = read_store(tmp_path / "0000.pt")
    assert (store["plm"], store["width"], store["layer"], store["embeddings"]) == ("none", 0, 0, {})


def test_missing_and_wrong_weights_are_named(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(BindraeError, match=f"{NAME}.pt") as missing:
        load_esm(settings(tmp_path))
    assert "embed.weights_dir" in missing.value.hint
    with pytest.raises(BindraeError, match="SHA-256"):
        load_esm(settings(weights, weights_sha256="0" * 64))


def test_a_window_in_the_middle_is_fair_esms_own_pass(weights: Path) -> None:
    sequence = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQDEFGHWY"
    whole, _ = load_esm(settings(weights))
    embed, _ = load_esm(settings(weights, window=20, overlap=10))
    found = embed(sequence)
    # Windows begin at 0, 10, 20; the middle one gives what lies farther from its cuts than from its neighbours'.
    torch.testing.assert_close(found[16:24], whole(sequence[10:30])[6:14])
    torch.testing.assert_close(found[:14], whole(sequence[:20])[:14])
    torch.testing.assert_close(found[26:], whole(sequence[20:])[6:])


def test_unknown_and_foreign_letters_keep_the_length_and_count_as_x(weights: Path) -> None:
    embed, _ = load_esm(settings(weights))
    expected = embed("MKXXAXX")
    assert expected.shape == (7, 320)
    for odd in ("MKX-AX.", "MKJXA*X", "MKx1A X", "MK<>A\n\u00e9"):
        assert torch.equal(embed(odd), expected)
    assert not torch.equal(embed("MKUXAXX"), expected)  # the alphabet knows selenocysteine
    assert embed("").shape == (0, 320)


def test_the_language_model_is_frozen_and_out_of_reach_of_stage1s_optimiser(weights: Path) -> None:
    embed, _ = load_esm(settings(weights))
    parameters = dict(embed.model.named_parameters())
    assert len(parameters) > 100
    assert not any(p.requires_grad for p in parameters.values())
    assert not any(module.training for module in embed.model.modules())
    before = {name: p.clone() for name, p in parameters.items()}

    embedding = embed("MKTAYIAK")
    assert not embedding.requires_grad
    assert embedding.grad_fn is None
    stage1 = Stage1(ModelSettings(d_plm=320))
    own = {p.untyped_storage().data_ptr() for p in stage1.parameters()}
    assert not own & {p.untyped_storage().data_ptr() for p in parameters.values()}
    optimiser = torch.optim.AdamW(stage1.parameters(), lr=0.1)
    held = {id(p) for group in optimiser.param_groups for p in group["params"]}
    assert not held & {id(p) for p in parameters.values()}

    batch = random_batch(8)
    batch.esm = embedding.unsqueeze(0)
    stage1(batch).atom14.sum().backward()
    optimiser.step()
    assert stage1.adapter.linear.weight.grad is not None  # the embedding was used
    assert all(p.grad is None for p in parameters.values())
    assert all(torch.equal(parameters[name], value) for name, value in before.items())


def test_an_empty_batch_needs_no_weights(tmp_path: Path) -> None:
    clean = tmp_path / "clean.parquet"
    write_table(pa.Table.from_pylist([], schema=CLEAN), clean)
    run_embed(clean, tmp_path / "0000.pt", settings(tmp_path / "nowhere"))
    store = read_store(tmp_path / "0000.pt")
    assert (store["width"], store["layer"], store["weights_sha256"], store["embeddings"]) == (320, 6, None, {})


def test_the_cache_serves_other_batches_and_only_the_same_model(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean, cache = clean_table(tmp_path / "clean.parquet"), tmp_path / "cache"
    cached = settings(weights, cache_dir=str(cache))
    run_embed(clean, tmp_path / "0000.pt", cached)
    run_embed(clean, tmp_path / "plain.pt", settings(weights))
    first = torch.load(tmp_path / "0000.pt", weights_only=True)["embeddings"]
    plain = torch.load(tmp_path / "plain.pt", weights_only=True)["embeddings"]
    assert all(torch.equal(first[key], plain[key]) for key in plain)
    files = sorted(cache.glob("*/*/*.pt"))
    assert [f.stem for f in files] == sorted(first, key=lambda key: (key[:2], key))

    def fail(self: object, sequence: str) -> torch.Tensor:
        raise AssertionError(f"{sequence} was embedded again")

    with monkeypatch.context() as patch:
        patch.setattr("bindrae.data.plm.Embedder.__call__", fail)
        run_embed(clean, tmp_path / "0001.pt", cached)
        for other in ({"dtype": "float16"}, {"window": 16, "overlap": 4}):
            with pytest.raises(AssertionError, match="embedded again"):
                run_embed(clean, tmp_path / "0002.pt", cached.model_copy(update=other))
    assert (tmp_path / "0001.pt").read_bytes() == (tmp_path / "0000.pt").read_bytes()
    sidecars = [read_json(sidecar_path(tmp_path / f"{n}.pt")) | {"seconds": 0} for n in ("0000", "0001")]
    assert sidecars[0] == sidecars[1]

    files[0].write_bytes(files[1].read_bytes())
    with pytest.raises(BindraeError, match="another sequence's"):
        run_embed(clean, tmp_path / "0003.pt", cached)
    files[0].write_bytes(b"PK damaged")
    with pytest.raises(BindraeError, match="is damaged") as damaged:
        run_embed(clean, tmp_path / "0003.pt", cached)
    assert "delete this file" in damaged.value.hint


def test_a_store_that_does_not_hold_what_it_says_is_refused(weights: Path, tmp_path: Path) -> None:
    output = tmp_path / "0000.pt"
    run_embed(clean_table(tmp_path / "clean.parquet"), output, settings(weights))
    store = read_store(output)
    key = next(iter(store["embeddings"]))
    for wrong in (torch.zeros(5, 640), torch.zeros(5, 320, dtype=torch.float16)):
        torch.save({**store, "embeddings": {**store["embeddings"], key: wrong}}, output)
        with pytest.raises(BindraeError, match=NAME):
            read_store(output)
    output.write_bytes(output.read_bytes()[:1000])
    with pytest.raises(BindraeError, match="damaged"):
        read_store(output)
    with pytest.raises(BindraeError, match="does not exist"):
        read_store(tmp_path / "0001.pt")


def test_weights_of_another_size_under_the_same_name_are_refused(weights: Path, tmp_path: Path) -> None:
    other = "esm2_t12_35M_UR50D"
    (tmp_path / f"{other}.pt").write_bytes((weights / f"{NAME}.pt").read_bytes())
    with pytest.raises(BindraeError, match=r"\(320, 6\), not \(480, 12\)"):
        load_esm(settings(tmp_path, plm=other))


def test_the_layer_is_the_last_of_each_model() -> None:
    assert [layer_of(name) for name in PLM_WIDTH] == [0, 6, 12, 30, 33, 36, 48]
