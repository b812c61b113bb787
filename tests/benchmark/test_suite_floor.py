"""The floor of a program's operations, the parts they belong to, and part `train` of the benchmark."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bindrae.benchmark.suite import train
from bindrae.benchmark.suite.floor import Cost, Floor
from bindrae.benchmark.suite.options import Options
from bindrae.benchmark.suite.sections import Sections
from bindrae.config import ModelSettings, TrainingSettings
from bindrae.model.blockwise import attend
from bindrae.model.messages import Messages
from bindrae.model.radial import RadialLinear

SMALL = ModelSettings(c_s=16, c_z=8, c_hidden=4, heads=2, depth=2, local_hidden=16, d_lig=8, ligand_heads=2)
FLOAT = 4


def cost_of(*operations: Any, rate: float = 1e30) -> Cost:
    """What the operations cost together; bytes take a second each."""
    with Floor(lambda dtype: rate, 1.0) as floor:
        for operation in operations:
            operation()
    total = Cost()
    for cost in floor.parts.values():
        total.seconds += cost.seconds
        total.flops += cost.flops
        total.bytes += cost.bytes
        total.operations += cost.operations
    return total


def test_a_product_takes_the_longer_of_multiplying_and_moving() -> None:
    a, b, out = torch.randn(30, 20), torch.randn(20, 50), torch.empty(30, 50)
    bias = torch.randn(50)
    moved = FLOAT * (30 * 20 + 20 * 50 + 30 * 50)
    assert cost_of(lambda: a @ b) == Cost(moved, 0.0, 2 * 30 * 20 * 50, moved, 1)
    assert cost_of(lambda: a @ b, rate=1.0).seconds == 2 * 30 * 20 * 50
    assert cost_of(lambda: torch.mm(a, b, out=out)).bytes == moved
    assert cost_of(lambda: out.addmm_(a, b)) == Cost(moved + FLOAT * 30 * 50, 0.0, 2 * 30 * 20 * 50,
                                                      moved + FLOAT * 30 * 50, 1)  # fmt: skip
    assert cost_of(lambda: nn.functional.linear(a, b.T, bias)).bytes == moved + FLOAT * 50
    assert cost_of(lambda: torch.bmm(a.expand(3, -1, -1), b.expand(3, -1, -1))).flops == 3 * 2 * 30 * 20 * 50


def test_each_dtype_has_its_rate() -> None:
    a = torch.randn(8, 8)
    with Floor(lambda dtype: {torch.float32: 1.0, torch.bfloat16: 4.0}[dtype], 1e30) as floor:
        a @ a
        single = floor.seconds
        a.bfloat16() @ a.bfloat16()
    assert (single, floor.seconds) == (1024.0, 1280.0)
    assert floor.parts[""].arithmetic == 1280.0


def test_views_and_allocations_are_free_and_each_element_is_read_once() -> None:
    x = torch.randn(10, 6)
    free = (
        lambda: x.T[2:].unsqueeze(0).expand(5, -1, -1),
        lambda: x.view(6, 10).detach(),
        lambda: torch.empty_like(x),
        lambda: x.new_empty(100),
    )
    assert cost_of(*free) == Cost()
    assert cost_of(lambda: x[:, :2] + 1).bytes == 2 * FLOAT * 20
    assert cost_of(lambda: x * x).bytes == 2 * FLOAT * 60
    assert cost_of(lambda: x.unsqueeze(0).expand(7, -1, -1) + 1).bytes == FLOAT * (60 + 7 * 60)
    assert cost_of(lambda: x[:0].expand(0, 6) * 2).bytes == 0


def test_what_is_written_in_place_is_read_unless_it_is_overwritten() -> None:
    x, y = torch.randn(60), torch.randn(60)
    assert cost_of(lambda: x.add_(y)).bytes == 3 * FLOAT * 60
    assert cost_of(lambda: x.copy_(y)).bytes == 2 * FLOAT * 60
    assert cost_of(lambda: x.zero_()).bytes == FLOAT * 60
    assert cost_of(lambda: torch.add(x, 1, out=y)).bytes == 2 * FLOAT * 60
    assert cost_of(lambda: torch._foreach_add_([x, y], 1.0)).bytes == 4 * FLOAT * 60
    assert cost_of(lambda: x[10:20].mul_(2)).bytes == 2 * FLOAT * 10


def test_picking_reads_what_it_picks() -> None:
    table, index, rows = torch.zeros(1000, 4), torch.tensor([3, 5, 5]), torch.ones(3, 4)
    picked = FLOAT * 12
    assert cost_of(lambda: table[index]).bytes == 2 * picked + 8 * 3
    assert cost_of(lambda: table.index_select(0, index)).bytes == 2 * picked + 8 * 3
    assert cost_of(lambda: nn.functional.embedding(index, table)).bytes == 2 * picked + 8 * 3
    assert cost_of(lambda: table.index_add_(0, index, rows)).bytes == 3 * picked + 8 * 3
    table[index] = 0.0
    assert cost_of(lambda: table.index_put_((index,), rows)).bytes == 3 * picked + 8 * 3


def test_fused_attention_counts_two_products_forward_and_five_backward() -> None:
    q, k, v = (torch.randn(1, 2, 40, 8, requires_grad=True) for _ in range(3))
    product = 2 * 2 * 40 * 40 * 8
    out: list[Tensor] = []
    assert cost_of(lambda: out.append(nn.functional.scaled_dot_product_attention(q, k, v))).flops == 2 * product
    assert cost_of(lambda: out[0].backward(torch.ones_like(q))).flops == 5 * product


@pytest.mark.parametrize("n", [40, 600])
def test_attention_in_blocks_counts_what_it_multiplies_twice(n: int) -> None:
    width, value_width = 8, 24
    q, k, v = (torch.randn(1, 2, n, w, requires_grad=True) for w in (width, width, value_width))
    column = 2 * 2 * n * n
    out: list[Tensor] = []
    assert cost_of(lambda: out.append(attend(q, k, v))).flops == column * (width + value_width)
    assert cost_of(lambda: out[0].sum().backward()).flops == column * (3 * width + 2 * value_width)


@pytest.mark.parametrize("updates", [False, True])
def test_what_chunks_do_inside_is_seen(updates: bool) -> None:
    n, k, width = 700, 3, 16  # several chunks
    torch.manual_seed(0)
    messages = Messages(8, width, True, 0.0, updates)
    s, edge = torch.randn(1, n, 8, requires_grad=True), torch.randn(1, n, k, width, requires_grad=True)
    weight, index = torch.rand(1, n, k), torch.randint(0, n, (1, n, k))
    outside = 2 * n * 8 * width * 3  # receiver, sender, out
    layer, layers, pooling = 2 * n * k * width * width, 3 if updates else 2, 2 * n * k * width
    out: list[tuple[Tensor, Tensor]] = []
    forward = cost_of(lambda: out.append(messages(s, edge, weight, index)))
    assert forward.flops == outside + layers * layer + pooling
    total = out[0][0].sum() + out[0][1].sum()
    # Two products for each of the forward pass, and two layers that are computed once more.
    assert cost_of(total.backward).flops == 2 * outside + (2 * layers + 2) * layer


def test_chunks_of_radial_functions_are_seen() -> None:
    radial, distance = RadialLinear(100, 16, 8), torch.rand(500, 100) * 20
    product = 2 * 500 * 100 * 16 * 8
    out: list[Tensor] = []
    assert cost_of(lambda: out.append(radial(distance))).flops == product
    assert cost_of(lambda: out[0].sum().backward()).flops == product


class Slow(torch.autograd.Function):
    """Takes its time in both directions."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, forth: float, back: float) -> Tensor:
        ctx.back = back
        time.sleep(forth)
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        time.sleep(ctx.back)
        return gradients[0], None, None


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(Slow.apply(x, 0.03, 0.06))


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.ModuleList([Inner(), Inner()])
        self.last = nn.Linear(6, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        for inner in self.inner:
            x = inner(x)
        x = Slow.apply(x, 0.02, 0.01)
        return self.last(x)


def test_operations_are_told_apart_by_part_in_both_directions() -> None:
    model = Outer()
    sections = Sections(model, {"": "model", "inner": "inner", "last": "last"}, "outside", "gathering")
    x = torch.randn(5, 6, requires_grad=True)

    def step() -> None:
        with sections.section("loss"):
            loss = model(x) @ torch.ones(3, 1)
            loss.sum().backward()

    for _ in range(2):  # the second time gradients are added up
        with Floor(lambda dtype: 1.0, 1e30, sections.current) as floor:
            step()
        found = {part: cost.flops for part, cost in floor.parts.items() if cost.flops}
        assert found == {"inner": 3 * 2 * 2 * 5 * 6 * 6, "last": 3 * 2 * 5 * 6 * 3, "loss": 2 * 2 * 5 * 3}
    assert floor.parts["gathering"].operations == 4
    forward, backward = sections.seconds(step)
    # 0.06 s and more would be that of another part.
    assert forward["inner"] >= 0.06
    assert 0.02 <= forward["model"] < 0.06
    assert backward["inner"] >= 0.12
    assert 0.01 <= backward["model"] < 0.06
    assert forward["loss"] + forward["last"] + backward["loss"] + backward["last"] < 0.06
    sections.close()
    marks = len(sections.marks)
    model(x)
    assert len(sections.marks) == marks


def test_the_models_of_the_repository_are_measured() -> None:
    found = train.recipes()
    assert {name: model.c_s for name, (model, _) in found.items()} == {"default": 128, "baseline": 384, "shipped": 192}
    assert found["shipped"][1].max_batch_residues == 768


def test_part_train_says_where_a_step_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "recipes", lambda: {"small": (SMALL, TrainingSettings(batch_size=1))})
    part = train.run(Options(quick=True))
    steps, *shares = part.tables
    assert [row[0] for row in steps.rows] == ["small, fp32", "small, bf16"]
    assert set(part.ratios) == set(part.words)
    for row, table in zip(steps.rows, shares, strict=True):
        parts = {str(line[0]): line[1:] for line in table.rows}
        assert set(parts) == {*train._PARTS.values(), *train._PARTS_OF_LAYER.values(), train._LOSSES, train._OPTIMISER}
        assert sum(line[0] for line in parts.values()) == pytest.approx(100)  # type: ignore[misc]
        milliseconds, floor = (sum(line[place] for line in parts.values()) for place in (3, 4))  # type: ignore[misc]
        assert milliseconds / floor == pytest.approx(part.ratios["step_vs_floor"][row[0]])
        assert parts["messages"][2] > 0  # type: ignore[operator]
        assert parts[train._OPTIMISER][1] > 0  # type: ignore[operator]
