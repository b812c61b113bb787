from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from bindrae.geometry.rigid import apply, axis_angle_to_matrix
from bindrae.model.attention import InvariantPointAttention
from bindrae.model.edges import EdgeEmbedder, create_edge_embedder

GOLDEN = Path(__file__).parents[1] / "golden" / "flash_ipa_fp32.npz"
BACKENDS = ("reference", "sdpa")


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """Threads of torch: with one `sdpa` goes block by block, with more through torch's kernels."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    with np.load(GOLDEN) as file:
        return {name: torch.as_tensor(file[name]) for name in file.files}


def golden_layer(golden: dict[str, torch.Tensor], backend: str) -> InvariantPointAttention:
    layer = InvariantPointAttention(32, 16, 16, 4, 4, 6, 2, backend)
    layer.load_state_dict({k.removeprefix("ipa."): v for k, v in golden.items() if k.startswith("ipa.")})
    return layer


def random_layer(backend: str, c_hidden: int = 16, rank: int = 2) -> InvariantPointAttention:
    torch.manual_seed(0)
    layer = InvariantPointAttention(32, 16, c_hidden, 4, 4, 6, rank, backend)
    torch.nn.init.normal_(layer.linear_out.weight, std=0.1)
    return layer


def inputs(n: int, rank: int = 2, offset: float = 0.0) -> tuple:
    g = torch.Generator().manual_seed(1)
    frames = (axis_angle_to_matrix(torch.randn(2, n, 3, generator=g)), torch.randn(2, n, 3, generator=g) + offset)
    s, z1, z2 = (torch.randn(2, n, *shape, generator=g) for shape in ((32,), (rank, 16), (rank, 16)))
    mask = torch.ones(2, n, dtype=torch.bool)
    mask[1, n // 2 :] = False
    return s, z1, z2, frames, mask


@pytest.mark.parametrize("backend", BACKENDS)
def test_flash_ipa_weights_give_flash_ipa_output(golden: dict[str, torch.Tensor], backend: str, threads: int) -> None:
    mask = golden["mask"].bool()
    frames = (golden["rots"], golden["trans_nm"])
    out = golden_layer(golden, backend)(golden["s"], golden["z_f1"], golden["z_f2"], frames, mask)
    torch.testing.assert_close(out * mask.unsqueeze(-1), golden["out"], atol=1e-5, rtol=0)


def test_flash_ipa_edge_weights_give_its_factors(golden: dict[str, torch.Tensor]) -> None:
    edges = EdgeEmbedder(32, 16, 2, 22, 10, 16, flash_ipa_features=True)
    edges.load_state_dict({k.removeprefix("edge."): v for k, v in golden.items() if k.startswith("edge.")})
    xyz = golden["trans_nm"] * 10
    index = torch.arange(24).expand(2, 24)
    z1, z2, _ = edges(golden["s"], xyz, torch.zeros_like(xyz), golden["mask"].bool(), index)
    torch.testing.assert_close(z1[0], golden["z_f1"][0], atol=1e-5, rtol=0)
    torch.testing.assert_close(z2[0], golden["z_f2"][0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("n", [20, 260])
@pytest.mark.parametrize(("c_hidden", "rank"), [(16, 2), (8, 5), (256, 2)])
def test_backends_agree_forward_and_backward(c_hidden: int, rank: int, n: int, threads: int) -> None:
    gradients = []
    outputs = []
    for backend in BACKENDS:
        layer = random_layer(backend, c_hidden, rank)
        s, z1, z2, frames, mask = inputs(n, rank)
        s.requires_grad_()
        out = layer(s, z1, z2, frames, mask)[mask]
        out.square().mean().backward()
        outputs.append(out.detach())
        gradients.append([s.grad, *(p.grad for p in layer.parameters())])
    torch.testing.assert_close(*outputs, atol=1e-5, rtol=1e-5)
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5 * float(a.abs().max()), rtol=1e-3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_rigid_motion_changes_nothing(backend: str) -> None:
    layer = random_layer(backend)
    s, z1, z2, (R, t), mask = inputs(20)
    turn = axis_angle_to_matrix(torch.tensor([0.4, 1.1, -2.0]))
    moved = (turn @ R, apply((turn, torch.tensor([0.3, -0.2, 0.5])), t))
    torch.testing.assert_close(
        layer(s, z1, z2, (R, t), mask)[mask], layer(s, z1, z2, moved, mask)[mask], atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_padding_is_invisible(backend: str) -> None:
    layer = random_layer(backend)
    s, z1, z2, (R, t), mask = inputs(20)
    half = 10
    alone = layer(s[1:, :half], z1[1:, :half], z2[1:, :half], (R[1:, :half], t[1:, :half]), mask[1:, :half])
    padded = layer(s, z1, z2, (R, t), mask)
    torch.testing.assert_close(alone[0], padded[1, :half], atol=1e-5, rtol=1e-4)


def test_edges_ignore_padding_and_cropping_far_away() -> None:
    torch.manual_seed(0)
    edges = create_edge_embedder(32, 16)
    s, xyz = torch.randn(1, 40, 32), torch.cumsum(torch.randn(1, 40, 3), 1) * 4
    xyz[:, 20:] += 500.0  # a far half that cannot be among the near half's ten neighbours
    index, mask = torch.arange(40).unsqueeze(0), torch.ones(1, 40, dtype=torch.bool)
    whole = edges(s, xyz, xyz, mask, index)
    half = edges(s[:, :20], xyz[:, :20], xyz[:, :20], mask[:, :20], index[:, :20])
    mask[:, 20:] = False
    padded = edges(s, xyz, xyz, mask, index)
    for a, b, c in zip(whole[:2], half[:2], padded[:2], strict=True):
        torch.testing.assert_close(a[:, :20], b)
        torch.testing.assert_close(c[:, :20], b)


def test_edge_mask_is_a_view_not_a_matrix() -> None:
    edges = create_edge_embedder(32, 16)
    mask = torch.ones(1, 3000, dtype=torch.bool)
    xyz = torch.randn(1, 3000, 3)
    _, _, edge_mask = edges(torch.zeros(1, 3000, 32), xyz, xyz, mask, torch.arange(3000).unsqueeze(0))
    assert edge_mask.shape == (1, 3000, 3000)
    assert edge_mask.untyped_storage().nbytes() == 3000


def test_unknown_backend_is_refused() -> None:
    with pytest.raises(ValueError, match="known: reference, sdpa, flash_ipa"):
        InvariantPointAttention(32, 16, 16, 4, 4, 6, 2, "fast")
