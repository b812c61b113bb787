from __future__ import annotations

import numpy as np
import pytest
import torch

from bindrae.chem import residues as aa
from bindrae.data.dataset import ShardDataset, collate_ipa_batch, create_ipa_dataloader, crop_sample, epoch_order
from bindrae.data.layout import SIDES, DataLayout
from bindrae.data.schema import iterate_rows
from bindrae.data.storage import read_table
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
            pairs = {"torsion_angles": "angles", "torsion_mask": "defined", "lig_points": "xyz", "lig_types": "types"}
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
    from bindrae.errors import BindraeError

    monkeypatch.setattr(DataLayout, "batch_numbers", lambda self: [])
    with pytest.raises(BindraeError, match="val side"):
        ShardDataset(demo_layout, "val")
