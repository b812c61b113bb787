"""What the backbone's own geometry tells of chi1: what is read, what it adds to a model, when it says nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from batches import random_batch, random_sample
from torch import Tensor

from bindrae.chem import residues as aa
from bindrae.config import ModelSettings
from bindrae.data.batch import IPABatch, collate_ipa_batch
from bindrae.geometry.backbone_strain import NAMES, BackboneStrain, backbone_strain
from bindrae.model.ensemble import Ensemble
from bindrae.model.model_file import load_model, save_model
from bindrae.model.stage1 import Stage1, Stage1Output
from bindrae.model.strain import BINS, BackboneGeometry, Strained, StrainNetwork, between_bins
from bindrae.prediction.rotamers import density_around, propose_rotamers, run_model

SER = aa.TYPE_OF_NAME["SER"]
SETTINGS = ModelSettings(
    c_s=32, c_z=16, depth=1, heads=2, local_hidden=16, qk_points=2, v_points=2, local_neighbours=8, edge_neighbours=4,
    ligand_film=False,
)  # fmt: skip


def residues(count: int, seed: int = 0) -> Strained:
    """One chain of serines."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(count, len(NAMES), generator=generator)
    known = torch.ones(count, len(NAMES), dtype=torch.bool)
    strain = BackboneStrain(values, known, torch.zeros(count, 3, 2))
    return Strained.of(strain, torch.full((count,), SER), torch.ones(count, dtype=torch.bool))


def speaking(seed: int = 0, settings: ModelSettings = SETTINGS) -> Stage1:
    """A model whose network of geometry says much."""
    torch.manual_seed(seed)
    model = Stage1(settings)
    assert model.geometry is not None
    for network in (model.geometry.network, model.geometry.to_residue):
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


def untold(batch: IPABatch) -> IPABatch:
    return replace(batch, geometry=torch.zeros_like(batch.geometry))


def run(model: Stage1 | Ensemble, batch: IPABatch) -> Stage1Output:
    with torch.no_grad():
        return model(batch)


def logits(output: Stage1Output) -> Tensor:
    assert output.torsions.chi_logits is not None
    return output.torsions.chi_logits


def test_neighbours_are_those_of_the_chain() -> None:
    strain = BackboneStrain(
        torch.arange(7.0).unsqueeze(-1).repeat(1, len(NAMES)), torch.ones(7, len(NAMES), dtype=torch.bool),
        torch.ones(7, 3, 2),
    )  # fmt: skip
    linked = torch.tensor([True, True, False, True, True, True, True])  # the last one links to nothing
    found = Strained.of(strain, torch.arange(7), linked)
    none = aa.N_TYPES
    assert found.kinds.tolist() == [
        [none, none, 0, 1, 2], [none, 0, 1, 2, none], [0, 1, 2, none, none],
        [none, none, 3, 4, 5], [none, 3, 4, 5, 6], [3, 4, 5, 6, none], [4, 5, 6, none, none],
    ]  # fmt: skip
    values = found.values.view(7, 5, len(NAMES))[:, :, 0]
    assert values[2].tolist() == [0, 1, 2, 0, 0]
    assert values[4].tolist() == [0, 3, 4, 5, 6]
    assert (found.torsions.view(7, 5, -1)[2, 3:] == 0).all()
    assert found.usual[0, 0] == pytest.approx(math.sqrt(sum(x * x for x in range(7)) / 7))


def test_several_structures_are_measured_as_each_alone() -> None:
    batch = random_batch(30, 17)
    there = torch.stack([*[batch.node_mask] * 3, batch.has_oxygen], -1)
    backbone = torch.stack([batch.N, batch.Ca, batch.C, batch.oxygen], -2)
    together = Strained.of(backbone_strain(backbone, there, batch.linked), batch.aatype, batch.linked)
    for b, n in enumerate(batch.n_residues):
        linked, aatype = batch.linked[b, :n], batch.aatype[b, :n]
        alone = Strained.of(backbone_strain(backbone[b, :n], there[b, :n], linked), aatype, linked)
        for name in Strained.__dataclass_fields__:
            pair = getattr(together, name)[b, :n], getattr(alone, name)
            torch.testing.assert_close(*pair, atol=5e-3, rtol=0.0, msg=lambda text, name=name: f"{name}: {text}")


def test_without_geometry_nothing_of_it_is_read() -> None:
    network, some = speaking().geometry.network, residues(12)  # type: ignore[union-attr]
    other = replace(some, values=some.values + 1, known=~some.known, usual=some.usual * 3)
    no, yes = torch.zeros(12, dtype=torch.bool), torch.ones(12, dtype=torch.bool)
    assert torch.equal(network(some, no), network(other, no))
    assert not torch.allclose(network(some, yes), network(other, yes), atol=1e-3)
    assert torch.allclose(network(some, yes).exp().sum(1), torch.ones(12))
    network.from_strain.weight.zero_()
    assert torch.allclose(network.gain(some), torch.zeros(12, BINS), atol=1e-6)


def test_between_the_centres_of_bins_it_is_linear_and_goes_round() -> None:
    values = torch.arange(float(BINS)).repeat(2, 1)
    degrees = torch.tensor([[5.0, 10.0, 15.0, 0.0], [355.0, -5.0, 178.0, -182.0]])
    found = between_bins(values, torch.deg2rad(degrees))
    assert found[0].tolist() == pytest.approx([0.0, 0.5, 1.0, 17.5], abs=1e-4)
    assert found[1].tolist() == pytest.approx([35.0, 35.0, 17.3, 17.3], abs=1e-4)


def test_a_network_that_is_not_fitted_says_nothing() -> None:
    torch.manual_seed(0)
    model, batch = Stage1(SETTINGS).eval(), random_batch(30)
    assert model.geometry is not None
    assert not model.geometry.fitted
    assert speaking().geometry.fitted  # type: ignore[union-attr]
    assert torch.equal(run(model, batch).atom14, run(model, untold(batch)).atom14)


def test_the_distribution_of_chi1_is_multiplied_and_the_rest_is_told() -> None:
    model, batch = speaking(), random_batch(30)
    assert model.geometry is not None

    def both() -> tuple[Stage1Output, Stage1Output]:
        return run(model, batch), run(model, untold(batch))

    def offsets(output: Stage1Output) -> Tensor:  # of chi1; the other chis depend on what it is
        assert output.torsions.chi_offsets is not None
        return output.torsions.chi_offsets[0, :, 0]

    assert (offsets(both()[0]) - offsets(both()[1])).abs().max() > 1e-4, "by what the rest of the model reads"
    for parameter in model.geometry.to_residue.parameters():
        parameter.data.zero_()
    told, without = both()
    assert torch.equal(offsets(told), offsets(without))
    there = torch.stack([*[batch.node_mask] * 3, batch.has_oxygen], -1)
    strain = backbone_strain(torch.stack([batch.N, batch.Ca, batch.C, batch.oxygen], -2), there, batch.linked)
    gain = model.geometry.network.gain(Strained.of(strain, batch.aatype, batch.linked))
    centres = model.head.centres
    expected = between_bins(gain[0], centres.expand(30, -1))
    with_chi1 = torch.as_tensor(aa.CHI_MASK)[batch.aatype[0], 0]
    added = (logits(told) - logits(without))[0, :, 0]
    torch.testing.assert_close(added[with_chi1], expected[with_chi1], atol=2e-3, rtol=1e-3)
    assert with_chi1.any()
    assert (added[~with_chi1] == 0).all()


def test_padding_is_invisible() -> None:
    model = speaking()
    samples = [("a", random_sample(20, 1)), ("b", random_sample(31, 2))]
    alone, together = run(model, collate_ipa_batch(samples[:1])), run(model, collate_ipa_batch(samples))
    torch.testing.assert_close(logits(together)[0, :20], logits(alone)[0], atol=1e-4, rtol=1e-4)


def test_an_oxygen_that_is_missing_is_not_read() -> None:
    model, batch = speaking(), random_batch(30)
    missing = replace(batch, has_oxygen=batch.has_oxygen & (torch.arange(30) != 9))
    elsewhere = replace(missing, oxygen=batch.oxygen + 5.0 * (torch.arange(30) == 9)[:, None])
    assert torch.equal(logits(run(model, missing)), logits(run(model, elsewhere)))
    assert not torch.equal(logits(run(model, missing)), logits(run(model, batch)))


def test_what_is_asked_anew_of_an_ensemble_knows_of_it() -> None:
    """Candidates and densities come from the head alone: what it is given must carry the geometry."""
    ensemble, batch = Ensemble([speaking(0), speaking(1)]).eval(), random_batch(30)
    output, inputs = run_model(ensemble, batch)
    rows, chi = torch.arange(30), torch.atan2(*output.torsions.circle[0, :, 3:].unbind(-1))
    torch.testing.assert_close(inputs.ask_one(rows, chi, 0)[0], logits(output)[0, :, 0])
    movable = torch.as_tensor(aa.CHI_MASK)[batch.aatype[0], 0]
    told = propose_rotamers(output, inputs, movable).log_p
    quiet, quiet_inputs = run_model(ensemble, batch, geometry=False)
    assert torch.equal(logits(quiet), logits(run(ensemble, untold(batch))))
    assert not torch.allclose(told[movable, 0], propose_rotamers(quiet, quiet_inputs, movable).log_p[movable, 0])
    there, gone = (density_around(x, rows, chi).p[:, 0] for x in (inputs, quiet_inputs))
    assert not torch.allclose(there[movable], gone[movable], atol=1e-3)


def test_a_single_direction_reads_it_too() -> None:
    model, batch = speaking(0, SETTINGS.model_copy(update={"chi_head": "sincos"})), random_batch(30)
    assert not torch.equal(run(model, batch).atom14, run(model, untold(batch)).atom14)


def test_a_model_file_carries_it(tmp_path: Path) -> None:
    model, batch, path = speaking(), random_batch(30), tmp_path / "m.safetensors"
    save_model(model, path, {})
    assert torch.equal(run(load_model(path), batch).atom14, run(model, batch).atom14)  # type: ignore[arg-type]


def test_the_network_is_not_trained_with_the_model() -> None:
    geometry = BackboneGeometry(16).train()
    assert not any(p.requires_grad for p in geometry.network.parameters())
    assert all(p.requires_grad for p in (*geometry.to_residue.parameters(), geometry.scale))
    assert geometry.to_residue.training
    assert not geometry.network.training, "it drops nothing"
    assert isinstance(geometry.network, StrainNetwork)
