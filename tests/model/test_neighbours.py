"""Radial basis and gathering of neighbours against plain formulas."""

from __future__ import annotations

import torch

from bindrae.model.neighbours import gather_rows
from bindrae.model.radial import RadialBasis


def test_bumps_are_gaussians_that_end_at_twice_their_width() -> None:
    basis = RadialBasis(16)
    distance = torch.linspace(0.0, 25.0, 501)
    x = (distance[:, None] - basis.centres) / basis.width
    bump = basis(distance)
    assert (bump - torch.exp(-(x**2))).abs().max() < 0.08
    assert (bump[x.abs() >= 2] == 0).all()
    assert (bump[x.abs() < 1.99] > 0).all()


def test_bumps_are_the_same_with_a_gradient_and_the_gradient_is_right() -> None:
    basis = RadialBasis(8).double()
    distance = torch.linspace(0.1, 19.0, 40, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(basis(distance), basis(distance.detach()))
    assert torch.autograd.gradcheck(basis, distance)


def test_the_argument_is_not_written_over() -> None:
    distance = torch.linspace(0.1, 19.0, 40)
    before = distance.clone()
    RadialBasis(8)(distance)
    assert torch.equal(distance, before)


def test_rows_are_those_of_the_own_complex() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 6, 2, 4, generator=generator, requires_grad=True)
    index = torch.randint(6, (3, 5, 2), generator=generator)
    rows = gather_rows(x, index)
    expected = torch.stack([x[b][index[b]] for b in range(3)])
    assert torch.equal(rows, expected)
    rows.square().sum().backward()
    gradient, x.grad = x.grad, None
    expected.square().sum().backward()
    assert gradient is not None
    torch.testing.assert_close(gradient, x.grad)
