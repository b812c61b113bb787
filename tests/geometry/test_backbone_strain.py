"""Bonds, angles and planarity of a backbone, against gemmi and where something is missing."""

from __future__ import annotations

import math

import gemmi
import pytest
import torch
from torch import Tensor

from bindrae.chem import residues as aa
from bindrae.geometry.backbone_strain import _UNIT, _USUAL, NAMES, BackboneStrain, backbone_strain
from complexes import peptide

COUNT = 9


def chain(seed: int = 0) -> Tensor:
    """[9, 4, 3] a peptide whose atoms are off by a few hundredths of an angstrom."""
    atoms = [a for a in peptide("AKSPTLEGF") if a.name in aa.ATOM14_NAMES[0][:4]]
    xyz = torch.tensor([a.xyz for a in atoms], dtype=torch.float64).view(COUNT, 4, 3)
    generator = torch.Generator().manual_seed(seed)
    return xyz + 0.02 * torch.randn(xyz.shape, generator=generator, dtype=torch.float64)


def measured(xyz: Tensor, linked: Tensor | None = None, there: Tensor | None = None) -> BackboneStrain:
    linked = torch.ones(len(xyz), dtype=torch.bool) if linked is None else linked
    there = torch.ones(len(xyz), 4, dtype=torch.bool) if there is None else there
    return backbone_strain(xyz, there, linked)


def test_values_are_those_of_gemmi() -> None:
    xyz = chain()
    found = measured(xyz)
    p = [[gemmi.Position(*atom) for atom in residue] for residue in xyz.tolist()]
    for i in range(1, COUNT - 1):
        (_, _, last_c, _), (n, ca, c, o), (next_n, next_ca, _, _) = p[i - 1], p[i], p[i + 1]
        plane = gemmi.calculate_dihedral(n, ca, c, o) - gemmi.calculate_dihedral(n, ca, c, next_n)
        degrees = [
            gemmi.calculate_angle(n, ca, c), gemmi.calculate_angle(last_c, n, ca), gemmi.calculate_angle(ca, c, next_n),
            gemmi.calculate_angle(ca, c, o), gemmi.calculate_angle(o, c, next_n),
        ]  # fmt: skip
        lengths = [n.dist(ca), ca.dist(c), c.dist(o), c.dist(next_n)]
        omega = math.degrees(gemmi.calculate_dihedral(ca, c, next_n, next_ca)) % 360 - 180
        expected = [
            *map(math.degrees, degrees), *lengths, omega, math.degrees(plane) % 360 - 180,
        ]  # fmt: skip
        units = (torch.tensor(expected, dtype=torch.float64) - _USUAL) / _UNIT
        assert torch.allclose(found.values[i], units.clamp(-5, 5), atol=1e-3), dict(zip(NAMES, units, strict=True))
        torsions = [(last_c, n, ca, c), (n, ca, c, next_n), (ca, c, next_n, next_ca)]
        for k, atoms in enumerate(torsions):
            angle = gemmi.calculate_dihedral(*atoms)
            assert found.torsions[i, k].tolist() == pytest.approx([math.sin(angle), math.cos(angle)], abs=1e-5)


def test_cis_and_trans_are_as_flat() -> None:
    """omega says how far a peptide bond is from its plane; which of the two it is stands among the torsions."""
    xyz = chain()
    axis = xyz[4, 0] - xyz[3, 2]
    k = axis / axis.norm()
    turned = xyz.clone()
    away = xyz[4:] - xyz[3, 2]
    turned[4:] = xyz[3, 2] + 2 * (away @ k).unsqueeze(-1) * k - away  # by half a turn about C-N
    a, b = measured(xyz), measured(turned)
    assert a.values[3, NAMES.index("omega")] == pytest.approx(b.values[3, NAMES.index("omega")].item(), abs=1e-4)
    assert torch.allclose(a.torsions[3, 2], -b.torsions[3, 2], atol=1e-6)


def test_it_does_not_depend_on_where_the_chain_is() -> None:
    xyz = chain()
    q, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    moved = measured(xyz @ (q * torch.det(q)) + 80.0)
    found = measured(xyz)
    assert torch.allclose(found.values, moved.values, atol=1e-6)
    assert torch.allclose(found.torsions, moved.torsions, atol=1e-6)


def test_what_is_missing_is_unknown_and_0() -> None:
    xyz = chain()
    linked = torch.ones(COUNT, dtype=torch.bool)
    linked[3] = False
    there = torch.ones(COUNT, 4, dtype=torch.bool)
    there[6, 3] = False
    found = measured(xyz, linked, there)
    unknown = {i: {n for n, k in zip(NAMES, row.tolist(), strict=True) if not k} for i, row in enumerate(found.known)}
    to_next = {"CA-C-N", "O-C-N", "C-N", "omega", "O out of plane"}
    assert unknown == {i: set() for i in range(COUNT)} | {
        0: {"C-N-CA"}, 3: to_next, 4: {"C-N-CA"}, 6: {"CA-C-O", "O-C-N", "C-O", "O out of plane"}, 8: to_next,
    }  # fmt: skip
    assert (found.values[~found.known] == 0).all()
    assert (found.torsions[4, 0] == 0).all()
    assert (found.torsions[3, 1:] == 0).all()
    far = xyz.clone()
    far[4:] += 30.0  # another chain elsewhere: nothing of this one changes
    assert torch.allclose(measured(far, linked, there).values[:4], found.values[:4])


def test_broken_geometry_is_bounded() -> None:
    xyz = chain()
    xyz[4] = xyz[5]  # atom upon atom
    found = measured(xyz)
    assert torch.isfinite(found.values).all()
    assert found.values.abs().max() == 5
