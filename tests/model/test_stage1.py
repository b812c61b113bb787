from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bindrae.chem import residues as aa
from bindrae.config import ModelSettings, read_yaml
from bindrae.data.dataset import IPABatch, collate_ipa_batch
from bindrae.errors import BindraeError
from bindrae.model.context import GROUPS, KnownSidechains, can_be_shown
from bindrae.model.model_file import load_model, save_model
from bindrae.model.stage1 import Stage1, Stage1Output, count_parameters
from tests.batches import random_batch, random_rotation, random_sample

PRESETS = Path(__file__).parents[2] / "config" / "model"
TINY = {"c_s": 32, "c_z": 16, "c_hidden": 8, "heads": 4, "depth": 2, "qk_points": 2, "v_points": 3, "d_lig": 16,
        "ligand_heads": 4, "local_neighbours": 8, "local_hidden": 32, "ligand_neighbours": 5, "edge_neighbours": 6,
        "dropout": 0.0, "ligand_warmup_steps": 0}  # fmt: skip
BASELINE_LIKE = {
    "local_neighbours": 0,
    "ligand_neighbours": 0,
    "ligand_shared": True,
    "chi_head": "sincos",
    "recycles": 0,
}
VARIANTS = [{}, BASELINE_LIKE, {"attention": "reference"}, {"recycles": 0}, {"recycles": 2}]


def build(**changes: object) -> Stage1:
    """A small model whose zero-initialised branches have been given weights, so that all of it speaks."""
    torch.manual_seed(0)
    model = Stage1(ModelSettings(**{**TINY, **changes})).eval()
    g = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1 and parameter.abs().max() == 0:
            scale = 0.02 if ".update." in name else 0.2
            parameter.data = scale * torch.randn(parameter.shape, generator=g) / parameter.shape[1] ** 0.5
    return model


def move(batch: IPABatch, R: torch.Tensor, t: torch.Tensor) -> IPABatch:
    names = ("N", "Ca", "C", "oxygen", "lig_points", "atom14", "ligand_xyz")
    return replace(batch, **{name: getattr(batch, name) @ R.T + t for name in names})


@torch.no_grad()
def run(model: Stage1, batch: IPABatch) -> Stage1Output:
    return model(batch)


def continuous(out: Stage1Output) -> torch.Tensor:
    """What varies smoothly: logits where there are any, else directions."""
    return out.torsions.raw if out.torsions.chi_logits is None else out.torsions.chi_logits


@pytest.mark.parametrize("changes", VARIANTS)
@pytest.mark.parametrize("offset", [0.0, 10.0, 100.0])
def test_rigid_motion_moves_the_atoms_and_leaves_the_torsions(changes: dict, offset: float) -> None:
    model, batch = build(**changes), random_batch(30, 24)
    R, t = random_rotation(5), torch.tensor([offset, -offset, 0.5 * offset])
    still, moved = run(model, batch), run(model, move(batch, R, t))
    mask = batch.node_mask
    torch.testing.assert_close(continuous(moved)[mask], continuous(still)[mask], atol=1e-4, rtol=0)
    torch.testing.assert_close(moved.frames[1][mask], (still.frames[1] @ R.T + t)[mask], atol=1e-3, rtol=0)
    same_mode = (moved.torsions.circle - still.torsions.circle).abs().amax((-1, -2)) < 1e-2
    assert same_mode[mask].float().mean() > 0.95  # a tie of two modes may fall either way
    chosen = mask & same_mode
    torch.testing.assert_close(moved.atom14[chosen], (still.atom14 @ R.T + t)[chosen], atol=5e-2, rtol=0)


@pytest.mark.parametrize("changes", VARIANTS)
def test_a_mirror_image_is_told_apart(changes: dict) -> None:
    model, batch = build(**changes), random_batch(30)
    mirrored = move(batch, torch.diag(torch.tensor([1.0, 1.0, -1.0])), torch.zeros(3))
    difference = (continuous(run(model, mirrored)) - continuous(run(model, batch))).abs().mean()
    assert difference > 1e-2


@pytest.mark.parametrize("changes", VARIANTS)
def test_padding_is_invisible(changes: dict) -> None:
    model = build(**changes)
    samples = [("a", random_sample(18, 1, 4)), ("b", random_sample(33, 2, 11))]
    alone, together = run(model, collate_ipa_batch(samples[:1])), run(model, collate_ipa_batch(samples))
    torch.testing.assert_close(continuous(together)[0, :18], continuous(alone)[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(together.frames[1][0, :18], alone.frames[1][0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("changes", VARIANTS)
def test_residues_cropped_away_and_residues_masked_are_the_same(changes: dict) -> None:
    model, sample = build(**changes), random_sample(40, 3)
    rows = torch.cat([torch.arange(12), torch.arange(22, 40)])
    sample["linked"][[11, 21]] = False
    cut = {k: v[rows] if len(v) == 40 else v for k, v in sample.items()}
    masked = collate_ipa_batch([("whole", sample)])
    masked.node_mask[0, 12:22] = False
    cropped = run(model, collate_ipa_batch([("cut", cut)]))
    whole = run(model, masked)
    torch.testing.assert_close(continuous(cropped)[0], continuous(whole)[0, rows], atol=1e-4, rtol=0)
    torch.testing.assert_close(cropped.frames[1][0], whole.frames[1][0, rows], atol=1e-4, rtol=0)


def test_batch_order_does_not_matter() -> None:
    model = build()
    samples = [(str(i), random_sample(n, i, 5)) for i, n in enumerate((12, 30, 21))]
    forth = run(model, collate_ipa_batch(samples))
    back = run(model, collate_ipa_batch(samples[::-1]))
    torch.testing.assert_close(continuous(forth), continuous(back).flip(0), atol=1e-5, rtol=0)


def test_side_chains_are_never_read() -> None:
    model, batch = build(), random_batch(30)
    expected = run(model, batch)
    scrambled = batch.atom14.clone()
    scrambled[:, :, 4:] = torch.randn_like(scrambled[:, :, 4:]) * 50
    truth = {
        "atom14": scrambled, "atom14_mask": batch.atom14_mask & (torch.arange(14) < 4),
        "torsion_angles": torch.zeros_like(batch.torsion_angles), "torsion_mask": torch.zeros_like(batch.torsion_mask),
        "w_res": torch.zeros_like(batch.w_res), "bfactor": torch.zeros_like(batch.bfactor),
        "contact": ~batch.contact, "ligand_xyz": batch.ligand_xyz + 9.0,
    }  # fmt: skip
    got = run(model, replace(batch, **truth))
    assert torch.equal(got.atom14, expected.atom14)


def test_the_ligand_and_the_backbone_are_read() -> None:
    model, batch = build(), random_batch(30)
    expected = continuous(run(model, batch))
    for name in ("lig_points", "N", "lig_types", "lig_context", "aatype"):
        value = getattr(batch, name)
        changed = (value + 1) % 20 if name == "aatype" else ~value if name == "lig_context" else value.flip(1)
        assert not torch.allclose(continuous(run(model, replace(batch, **{name: changed}))), expected, atol=1e-3), name


def test_tokens_that_an_ablation_leaves_out_are_not_read() -> None:
    batch = random_batch(30)
    probe = torch.nn.functional.one_hot(torch.tensor(7), 12).float()
    types = batch.lig_types.clone()
    types[:, ::2] = probe
    batch = replace(batch, lig_types=types)
    moved = batch.lig_points.clone()
    moved[:, ::2] += 3.0
    for kind, unread in (("none", batch.lig_points + 3.0), ("atoms", moved)):
        model = build(ligand_tokens=kind)
        expected = run(model, batch)
        assert torch.equal(run(model, replace(batch, lig_points=unread)).atom14, expected.atom14)
    everything = run(build(), batch)
    assert not torch.equal(run(build(), replace(batch, lig_points=moved)).atom14, everything.atom14)
    assert not build(ligand_film=False).conditioners


@pytest.mark.parametrize("n_tokens", [0, 1, 128])
@pytest.mark.parametrize("lengths", [(1,), (2, 30)])
def test_small_and_bare_complexes_have_finite_gradients(n_tokens: int, lengths: tuple[int, ...]) -> None:
    model = build().train()
    out = model(random_batch(*lengths, n_tokens=n_tokens), teacher_forcing=True)
    (out.atom14.square().mean() + continuous(out).square().mean()).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_a_complex_without_ligand_in_a_batch_is_as_it_is_alone() -> None:
    model = build()
    samples = [("a", random_sample(15, 1, 0)), ("b", random_sample(20, 2, 7))]
    alone, together = run(model, collate_ipa_batch(samples[:1])), run(model, collate_ipa_batch(samples))
    torch.testing.assert_close(continuous(together)[0, :15], continuous(alone)[0], atol=1e-4, rtol=1e-4)


def test_covalent_pairs_can_be_marked_by_a_hook_on_the_edges() -> None:
    model, batch = build(), random_batch(30)
    before = continuous(run(model, batch))
    mark = torch.ones(model.settings.local_hidden)

    def bonded(module: object, given: object, edges: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        edge, index, weight = edges
        own = torch.arange(30).view(1, -1, 1)
        pair = ((own == 3) & (index == index[0, 3, 1])) | ((own == index[0, 3, 1]) & (index == 3))
        return edge + pair.unsqueeze(-1) * mark, index, weight

    assert model.residue_edges is not None
    handle = model.residue_edges.register_forward_hook(bonded)
    assert not torch.allclose(continuous(run(model, batch)), before, atol=1e-4)
    handle.remove()
    assert torch.equal(continuous(run(model, batch)), before)


def test_input_that_is_not_a_number_is_refused_by_id() -> None:
    batch = random_batch(10, 12)
    batch.Ca[1, 3, 0] = torch.nan
    with pytest.raises(ValueError, match="Ca of c1 holds values that are not finite"):
        build()(batch)


def test_backends_give_the_same_model() -> None:
    batch = random_batch(40, 25)
    a, b = run(build(attention="sdpa"), batch), run(build(attention="reference"), batch)
    torch.testing.assert_close(continuous(a)[batch.node_mask], continuous(b)[batch.node_mask], atol=1e-4, rtol=1e-3)


def test_saved_models_load_with_their_architecture(tmp_path: Path) -> None:
    model, batch = build(depth=1), random_batch(12)
    model.step += 7
    save_model(model, tmp_path / "m.safetensors", {"note": "x"})
    loaded = load_model(tmp_path / "m.safetensors")
    assert loaded.settings == model.settings
    assert int(loaded.step) == 7
    assert torch.equal(run(loaded, batch).atom14, run(model, batch).atom14)


def test_files_that_are_no_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BindraeError, match="does not exist"):
        load_model(tmp_path / "none.safetensors")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(BindraeError, match="not a safetensors file"):
        load_model(tmp_path / "text")
    save_file({"x": torch.zeros(1)}, tmp_path / "other")
    with pytest.raises(BindraeError, match="not a BINDRAE Stage-1 model"):
        load_model(tmp_path / "other")


def chis(batch: IPABatch) -> torch.Tensor:
    angles = batch.torsion_angles[..., 3:]
    return torch.stack([angles.sin(), angles.cos()], dim=-1)


@torch.no_grad()
def shown(model: Stage1, batch: IPABatch, chi: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return continuous(model(batch, recycles=0, known=KnownSidechains(chi, mask)))


def test_side_chains_that_are_shown_change_their_neighbours_and_hidden_ones_do_not() -> None:
    model, batch = build(recycles=1), random_batch(30)
    mask = batch.residue_index % 2 == 0
    base = shown(model, batch, chis(batch), mask)
    turned = chis(batch).flip(-1)
    # Not an angle of a hidden residue is read.
    hidden_turned = torch.where(mask[..., None, None], chis(batch), turned)
    assert torch.equal(shown(model, batch, hidden_turned, mask), base)
    shown_turned = torch.where(mask[..., None, None], turned, chis(batch))
    assert (shown(model, batch, shown_turned, mask) - base)[~mask].abs().max() > 1e-3
    assert not torch.allclose(shown(model, batch, chis(batch), torch.zeros_like(mask)), base, atol=1e-3)


def test_an_untrained_context_says_nothing() -> None:
    batch = random_batch(30, 18)
    torch.manual_seed(0)
    fresh = Stage1(ModelSettings(**TINY, recycles=1)).eval()
    bare = Stage1(ModelSettings(**TINY, recycles=0)).eval()
    bare.load_state_dict(fresh.state_dict(), strict=False)
    torch.testing.assert_close(run(fresh, batch).atom14, run(bare, batch).atom14)
    with pytest.raises(ValueError, match=r"settings\.recycles"):
        bare(batch, known=KnownSidechains(chis(batch), batch.node_mask))


def test_a_sweep_asks_each_group_with_the_side_chains_of_the_others() -> None:
    """The sweep written out: pass by pass through `known`."""
    model, batch = build(recycles=1), random_batch(30)
    with torch.no_grad():
        circle = model(batch, recycles=0).torsions.circle.clone()
        logits = torch.zeros_like(model(batch, recycles=0).torsions.chi_logits)
        for turn in range(GROUPS):
            asked = (batch.residue_index + turn) % GROUPS == 0
            shown_now = ~asked & batch.node_mask & can_be_shown(batch.aatype)
            out = model(batch, recycles=0, known=KnownSidechains(circle[..., 3:, :], shown_now))
            circle = torch.where(asked[..., None, None], out.torsions.circle, circle)
            logits = torch.where(asked[..., None, None], out.torsions.chi_logits, logits)
        whole = model(batch)
    torch.testing.assert_close(whole.torsions.circle, circle, atol=1e-4, rtol=0)
    torch.testing.assert_close(whole.torsions.chi_logits, logits, atol=1e-4, rtol=1e-4)


def test_side_chains_that_are_known_stay_shown_through_the_sweeps() -> None:
    model, batch = build(recycles=1), random_batch(30)
    known = KnownSidechains(chis(batch), (batch.residue_index < 15) & can_be_shown(batch.aatype))
    with torch.no_grad():
        circle = model(batch, recycles=0, known=known).torsions.circle.clone()
        for turn in range(GROUPS):
            asked = (batch.residue_index + turn) % GROUPS == 0
            chi = torch.where(known.shown[..., None, None], known.chi, circle[..., 3:, :])
            shown_now = known.shown | (~asked & can_be_shown(batch.aatype))
            out = model(batch, recycles=0, known=KnownSidechains(chi, shown_now))
            circle = torch.where(asked[..., None, None], out.torsions.circle, circle)
        whole = model(batch, known=known)
    hidden = ~known.shown
    torch.testing.assert_close(whole.torsions.circle[hidden], circle[hidden], atol=1e-4, rtol=0)


def test_half_turns_that_change_nothing_are_shown_alike() -> None:
    model, batch = build(recycles=1), random_batch(40)
    mask = batch.residue_index % 2 == 0
    periodic = torch.as_tensor(aa.CHI_PI_PERIODIC)[batch.aatype].unsqueeze(-1)
    assert (periodic.squeeze(-1).any(-1) & mask).any()
    turned = torch.where(periodic, -chis(batch), chis(batch))
    torch.testing.assert_close(shown(model, batch, turned, mask), shown(model, batch, chis(batch), mask))


def test_sweeps_need_a_model_that_can_be_shown_something() -> None:
    with pytest.raises(ValueError, match=r"settings\.recycles"):
        build(recycles=0)(random_batch(10), recycles=1)


def test_training_mode_makes_no_sweeps() -> None:
    model, batch = build(recycles=1), random_batch(20)
    with torch.no_grad():
        once = continuous(model.eval()(batch, recycles=0))
        assert torch.equal(continuous(model.train()(batch)), once)
        assert not torch.equal(continuous(model.eval()(batch)), once)


def test_language_model_embeddings_are_used_and_their_width_checked() -> None:
    model, batch = build(d_plm=12), random_batch(10)
    wide = replace(batch, esm=torch.randn(1, 10, 12, generator=torch.Generator().manual_seed(0)))
    assert not torch.allclose(continuous(run(model, wide)), continuous(run(model, replace(wide, esm=wide.esm * 2 + 1))))
    with pytest.raises(ValueError, match="width 12"):
        run(model, batch)


def test_baseline_has_the_published_size_with_the_language_model() -> None:
    settings = ModelSettings(**read_yaml(PRESETS / "baseline.yaml"), d_plm=1280)
    assert count_parameters(Stage1(settings)) == pytest.approx(11.4e6, rel=0.02)


def test_default_preset_is_the_documented_default() -> None:
    assert ModelSettings(**read_yaml(PRESETS / "default.yaml")) == ModelSettings()


def test_batches_move_whole_between_devices() -> None:
    batch = random_batch(5)
    moved = batch.to(torch.device("meta"))
    tensors = [f.name for f in fields(batch) if isinstance(getattr(batch, f.name), torch.Tensor)]
    assert all(getattr(moved, name).device.type == "meta" for name in tensors)
    assert moved.pdb_ids == batch.pdb_ids
