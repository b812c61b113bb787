"""The points by which side chains are shown, against forward kinematics type by type."""

from __future__ import annotations

import numpy as np
import torch

from bindrae.chem import residues as aa
from bindrae.geometry.kinematics import angles_to_circle, torsions_to_atoms
from bindrae.model.context import can_be_shown, sidechain_points
from bindrae.model.features import Backbone, backbone_features
from tests.batches import random_batch


def all_types() -> tuple[torch.Tensor, torch.Tensor, Backbone]:
    """A chain of all types with random chis: types, chis and backbone."""
    batch = random_batch(aa.N_TYPES)
    aatype = torch.arange(aa.N_TYPES).unsqueeze(0)
    chi = torch.rand(1, aa.N_TYPES, 4, generator=torch.Generator().manual_seed(0)) * 6 - 3
    return aatype, chi, backbone_features(batch.N, batch.Ca, batch.C, batch.linked, aatype)


def test_points_are_the_second_the_last_and_the_mean_atom_of_each_type() -> None:
    aatype, chi, backbone = all_types()
    points = sidechain_points(angles_to_circle(chi), backbone, aatype)[0]
    torsions = torch.cat([torch.zeros(1, aa.N_TYPES, 3), chi], dim=-1)
    atoms = torsions_to_atoms(backbone.frames, angles_to_circle(torsions), aatype)[0][0]
    for kind in range(aa.N_TYPES):
        names = [name for name in aa.ATOM14_NAMES[kind] if name]
        beyond = [i for i, name in enumerate(names) if i >= aa.SLOT_CB]
        where = {name: atoms[kind, i] for i, name in enumerate(names)}
        second = next((where[n] for n in ("CG", "CG1", "OG", "OG1", "SG") if n in where), where.get("CB", where["CA"]))
        torch.testing.assert_close(points[kind, 0], second)
        torch.testing.assert_close(points[kind, 1], atoms[kind, beyond[-1]] if beyond else where["CA"])
        mean = torch.stack([atoms[kind, i] for i in beyond]).mean(0) if beyond else where["CA"]
        torch.testing.assert_close(points[kind, 2], mean)


def test_staggered_places_are_those_of_a_leucine() -> None:
    _, _, backbone = all_types()
    leucine = torch.full((1, aa.N_TYPES), aa.TYPE_OF_NAME["LEU"])
    for k, degrees in enumerate((-60.0, 60.0, 180.0)):
        torsions = torch.zeros(1, aa.N_TYPES, 7)
        torsions[..., 3] = np.radians(degrees)
        atoms, _ = torsions_to_atoms(backbone.frames, angles_to_circle(torsions), leucine)
        cg = aa.ATOM14_NAMES[aa.TYPE_OF_NAME["LEU"]].index("CG")
        torch.testing.assert_close(backbone.gammas[:, :, k], atoms[:, :, cg], atol=1e-4, rtol=0)


def test_what_prediction_keeps_serves_a_gradient_later() -> None:
    with torch.inference_mode():
        all_types()
    batch = random_batch(8)
    N = batch.N.clone().requires_grad_()
    backbone = backbone_features(N, batch.Ca, batch.C, batch.linked, batch.aatype)
    (gradient,) = torch.autograd.grad(backbone.gammas.sum(), N)
    assert torch.isfinite(gradient).all()


def test_types_without_a_chi_are_not_shown() -> None:
    aatype, _, _ = all_types()
    hidden = {aa.RESIDUE_NAMES[k] for k in torch.nonzero(~can_be_shown(aatype)[0]).flatten().tolist() if k < 20}
    assert hidden == {"ALA", "GLY"}
