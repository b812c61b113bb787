from __future__ import annotations

import pickle
import shutil
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from bindrae.chem import residues as aa
from bindrae.data.dataset import (
    IPABatch,
    Sample,
    SeededCrop,
    ShardDataset,
    budget_batches,
    collate_ipa_batch,
    create_ipa_dataloader,
    crop_sample,
    epoch_order,
    even_part,
)
from bindrae.data.layout import SIDES, DataLayout
from bindrae.data.schema import iterate_rows
from bindrae.data.storage import read_table
from bindrae.errors import BindraeError
from tests.batches import random_sample


def test_shards_read_back_what_the_stages_wrote(demo_layout: DataLayout) -> None:
    rows: dict[str, dict] = {}
    for stage in ("clean", "pocket", "torsions", "tokens"):
        for row in iterate_rows(read_table(demo_layout.batch(stage, 0))):
            rows.setdefault(row["id"], {}).update(row)
    seen = {}
    for side in SIDES:
        dataset = ShardDataset(demo_layout, side)
        for i in range(len(dataset)):
            name, sample = dataset[i]
            seen[name] = side
            pairs = {
                "torsion_angles": "angles",
                "torsion_mask": "defined",
                "lig_points": "xyz",
                "lig_types": "types",
                "lig_context": "is_context",
            }
            for key in ("aatype", "atom14", "atom14_mask", "linked", "w_res", "contact", "ligand_xyz", *pairs):
                expected = rows[name][pairs.get(key, key)]
                np.testing.assert_array_equal(sample[key].numpy(), expected.astype(sample[key].numpy().dtype))
            assert sample["plm"].shape == (len(sample["aatype"]), 0)
    assert seen == {row["id"]: row["split"] for row in read_table(demo_layout.split).to_pylist()}


def test_crops_are_whole_neighbourhoods_in_order() -> None:
    sample = random_sample(90, 1)
    for seed in range(5):
        crop = crop_sample(sample, 30, torch.Generator().manual_seed(seed))
        rows = crop["residue_index"]
        assert len(rows) == 30
        assert (rows[1:] > rows[:-1]).all()
        assert torch.equal(crop["atom14"], sample["atom14"][rows])
        ca = sample["atom14"][:, aa.SLOT_CA]
        ranks = torch.argsort(torch.argsort(torch.cdist(ca, ca[rows]), dim=0), dim=0)
        assert (ranks[rows].amax(0) == 29).any()  # some residue has exactly these thirty nearest
        joined = crop["linked"][:-1]
        assert torch.equal(joined, sample["linked"][rows[:-1]] & (rows[1:] == rows[:-1] + 1))
    assert crop_sample(sample, 90, torch.Generator()) is sample


def test_collation_pads_with_sound_frames_and_masks() -> None:
    batch = collate_ipa_batch([("a", random_sample(5, 1, 3)), ("b", random_sample(8, 2, 0))])
    assert batch.node_mask.sum(1).tolist() == batch.n_residues == [5, 8]
    assert batch.lig_mask.sum(1).tolist() == [3, 0]
    for mask in (batch.torsion_mask[0], batch.atom14_mask[0], batch.linked[0]):
        assert not mask[5:].any()
    assert (batch.aatype[0, 5:] == aa.UNKNOWN).all()
    cross = torch.linalg.cross(batch.N - batch.Ca, batch.C - batch.Ca)
    assert cross.norm(dim=-1).min() > 0.5


def test_every_complex_comes_once_an_epoch_with_others_of_its_length() -> None:
    lengths = np.random.default_rng(0).integers(50, 1000, 203)
    batches = epoch_order(lengths, 4, seed=1, epoch=2)
    assert sorted(i for batch in batches for i in batch) == list(range(203))
    assert batches == epoch_order(lengths, 4, seed=1, epoch=2)
    assert batches != epoch_order(lengths, 4, seed=1, epoch=3)
    spread = np.mean([np.ptp(lengths[b]) for b in batches])
    random_spread = np.mean([np.ptp(np.random.default_rng(i).choice(lengths, 4)) for i in range(50)])
    assert spread < 0.4 * random_spread


def test_loading_leaves_torchs_random_numbers_alone(demo_layout: DataLayout) -> None:
    dataset = ShardDataset(demo_layout, "train")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    assert [b.pdb_ids for b in create_ipa_dataloader(dataset, [[0]])] == [dataset.ids]
    assert torch.equal(torch.rand(3), expected)


def test_an_empty_side_is_named(demo_layout: DataLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DataLayout, "batch_numbers", lambda self: [])
    with pytest.raises(BindraeError, match="val side"):
        ShardDataset(demo_layout, "val")


@pytest.mark.parametrize("max_tokens", [300, 2048, 8192])
def test_budget_batches_hold_every_complex_once_within_the_budget(max_tokens: int) -> None:
    lengths = np.random.default_rng(0).integers(50, 1000, 503)
    batches = budget_batches(lengths, max_tokens, seed=1, epoch=2)
    assert sorted(i for batch in batches for i in batch) == list(range(503))
    sizes = [len(batch) * max(lengths[batch]) for batch in batches]
    # Only a complex that no batch could hold exceeds the budget, and it comes alone.
    assert all(size <= max_tokens or len(batch) == 1 for size, batch in zip(sizes, batches, strict=True))
    assert {i for batch in batches if len(batch) == 1 for i in batch} >= set(np.flatnonzero(lengths > max_tokens))
    assert batches == budget_batches(lengths, max_tokens, seed=1, epoch=2)
    assert batches != budget_batches(lengths, max_tokens, seed=1, epoch=3)
    assert batches != budget_batches(lengths, max_tokens, seed=2, epoch=2)
    if max_tokens > 1000:
        assert 1 - lengths.sum() / sum(sizes) < 0.15  # padding
        assert np.mean(sizes) > 0.75 * max_tokens


def test_budget_batches_of_few_and_of_equal_complexes() -> None:
    assert budget_batches(np.array([], dtype=int), 100, 0, 0) == []
    assert budget_batches(np.array([500]), 100, 0, 0) == [[0]]
    assert sorted(map(len, budget_batches(np.full(10, 100), 400, 0, 0))) == [2, 4, 4]


def test_epoch_order_is_what_it_was() -> None:
    # A resumed training relies on the order of earlier versions.
    lengths = np.random.default_rng(7).integers(30, 900, 11)
    assert epoch_order(lengths, 4, seed=3, epoch=5) == [[4, 1, 2, 5], [6, 3, 0], [8, 7, 10, 9]]


def batches_equal(a: IPABatch, b: IPABatch) -> bool:
    pairs = ((getattr(a, f.name), getattr(b, f.name)) for f in fields(IPABatch))
    return all(torch.equal(x, y) and x.dtype == y.dtype if isinstance(x, torch.Tensor) else x == y for x, y in pairs)


def test_two_workers_give_the_same_batches_in_the_same_order(overfit_layout: DataLayout) -> None:
    dataset = ShardDataset(overfit_layout, "train")
    batches = budget_batches(dataset.lengths, 3 * int(dataset.lengths[0]), 0, 0)
    crop = SeededCrop(60, seed=1, epoch=2)
    torch.manual_seed(5)
    expected = torch.rand(3)
    alone, shared = (list(create_ipa_dataloader(dataset, batches, crop, num_workers=n)) for n in (0, 2))
    torch.manual_seed(5)
    list(create_ipa_dataloader(dataset, batches[:2], crop, num_workers=2))
    assert torch.equal(torch.rand(3), expected)
    assert [b.pdb_ids for b in alone] == [[dataset.ids[i] for i in batch] for batch in batches]
    assert len(alone) == len(shared) == 14
    assert all(map(batches_equal, alone, shared))
    # The copies of one complex are cropped each in its own way, and differently in the next epoch.
    first = alone[0].residue_index
    assert not torch.equal(first[0], first[1])
    other = next(create_ipa_dataloader(dataset, batches, SeededCrop(60, seed=1, epoch=3)))
    assert not torch.equal(other.residue_index, first)


def test_a_pickled_dataset_reads_its_files_again(demo_layout: DataLayout) -> None:
    dataset = ShardDataset(demo_layout, "train")
    pickled = pickle.dumps(dataset)
    assert len(pickled) < 20_000  # no tensor travels
    name, sample = pickle.loads(pickled)[0]
    expected_name, expected = dataset[0]
    assert name == expected_name
    assert sample.keys() == expected.keys()
    assert all(torch.equal(sample[key], expected[key]) for key in expected)


def test_pinning_without_cuda_changes_nothing(demo_layout: DataLayout) -> None:
    dataset = ShardDataset(demo_layout, "train")
    plain, pinned = (next(create_ipa_dataloader(dataset, [[0]], pin_memory=flag)) for flag in (False, True))
    assert batches_equal(plain, pinned)
    assert batches_equal(plain, plain.to(torch.device("cpu")))


def test_embeddings_are_padded_and_converted() -> None:
    samples: list[tuple[str, Sample]] = []
    for n in (3, 5):
        samples.append((str(n), {**random_sample(n, n), "plm": torch.randn(n, 4).half()}))
    esm = collate_ipa_batch(samples).esm
    assert esm.dtype == torch.float32
    assert torch.equal(esm[0, :3], samples[0][1]["plm"].float())
    assert torch.equal(esm[1], samples[1][1]["plm"].float())
    assert not esm[0, 3:].any()


def test_shards_with_embeddings_of_two_models_are_refused(demo_layout: DataLayout, tmp_path: Path) -> None:
    assert ShardDataset(demo_layout, "train").plm_width == 0
    layout = DataLayout(tmp_path / "data")
    shutil.copytree(demo_layout.root, layout.root, ignore=shutil.ignore_patterns("pockets"))
    layout.batches.write_text('{"0": "x", "1": "y"}')
    for suffix in (".parquet", ".pt"):
        first, second = (layout.shard("train", n).with_suffix(suffix) for n in (0, 1))
        shutil.copy(first, second)
    tensors = torch.load(second, weights_only=True)
    torch.save({**tensors, "plm": torch.zeros(len(tensors["plm"]), 320)}, second)
    with pytest.raises(BindraeError, match=r"different width: 0 in .*train-0000.pt, 320 in .*train-0001.pt"):
        ShardDataset(layout, "train")


@pytest.mark.parametrize("together", [2, 3])
def test_batches_of_one_step_are_of_about_the_same_size(together: int) -> None:
    lengths = np.random.default_rng(0).integers(50, 700, 500)
    batches = budget_batches(lengths, 700, 1, 2, together)
    assert sorted(i for batch in batches for i in batch) == list(range(500))
    sizes = np.array([len(batch) * max(lengths[batch]) for batch in batches])
    steps = sizes[: len(sizes) // together * together].reshape(-1, together)
    alone = np.array([len(batch) * max(lengths[batch]) for batch in budget_batches(lengths, 700, 1, 2)])
    shuffled = alone[: len(steps) * together].reshape(-1, together)
    # Processes that share a step wait for the largest of its batches.
    assert steps.max(1).sum() < 0.97 * shuffled.max(1).sum()
    assert np.ptp(steps, axis=1).mean() < 0.85 * np.ptp(shuffled, axis=1).mean()


def test_an_even_part_reaches_from_end_to_end(demo_layout: DataLayout) -> None:
    whole = ShardDataset(demo_layout, "all")
    part = even_part(whole, 3)
    assert part.ids == [whole.ids[0], whole.ids[len(whole) // 2], whole.ids[-1]]
    assert even_part(whole, None).ids == even_part(whole, 100).ids == whole.ids
    assert torch.equal(part[2][1]["aatype"], whole[len(whole) - 1][1]["aatype"])
