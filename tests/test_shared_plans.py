"""Within share_plans a plan is made once for a mask and a geometry, found by these alone, and dropped with the mask."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest
import torch
from native_library import require_native
from operator_calls import OperatorCalls
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint

import maskconv_ext.nn as mnn
from maskconv_ext import MaskPlan, mask_plan, masked_conv2d, native, share_plans

# Places among the arguments of the operator `forward`.
ROW_ORDER, GRAD_INPUT_ROW_ORDER = 16, 17


@pytest.fixture
def calls(monkeypatch):
    """Calls of the operators as on CUDA, without a device: on fake tensors, which know shapes alone."""
    require_native()
    monkeypatch.setattr(native, "takes_row_orders", lambda *args: True)
    with FakeTensorMode(), OperatorCalls() as calls:
        yield calls


def center(channels: int = 4, kernel: int = 3, **options) -> mnn.MaskedConv2d:
    return mnn.MaskedConv2d(channels, channels, kernel, padding=kernel // 2, mask_update="center", **options)


def orders(calls: OperatorCalls) -> list[int]:
    """Which order each forward was given, numbered as they first came; -1 for none."""
    known: list[torch.Tensor] = []
    numbers = []
    for args in calls.of["forward"]:
        if args[0].shape[1] == 1:  # one of those that make a plan, on the mask itself
            continue
        order = args[ROW_ORDER] if len(args) > ROW_ORDER else None  # defaults are left out
        if order is not None and not any(order is other for other in known):
            known.append(order)
        numbers.append(next((i for i, other in enumerate(known) if order is other), -1))
    return numbers


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.branch = mnn.MaskedSequential(center(), mnn.MaskedBatchNorm2d(4), nn.ReLU(), center())
        self.add = mnn.MaskedAdd()

    def forward(self, x, mask=None):
        return self.add((x, mask), self.branch(x, mask))


def test_a_stage_shares_one_plan_and_its_backward_needs_no_context(calls) -> None:
    x, mask = torch.rand(2, 4, 8, 8, requires_grad=True), torch.ones(1, 1, 8, 8, dtype=torch.bool)
    stage = mnn.MaskedSequential(center(), nn.GELU(), Residual(), Residual())
    with share_plans():
        y, out_mask = stage(x, mask)
    assert out_mask is mask
    assert orders(calls) == [0] * 5 and len(calls.of["forward_row_order"]) == 1
    y.sum().backward()
    assert len(calls.of["grad_input_row_order"]) == 1
    assert {id(args[-1]) for args in calls.of["grad_input"]} == {id(calls.of["forward"][-1][GRAD_INPUT_ROW_ORDER])}
    assert len(calls.of["grad_input"]) == 5 and calls.of["forward"][-1][GRAD_INPUT_ROW_ORDER] is not None


def test_each_layer_of_a_mask_that_grows_has_its_own(calls) -> None:
    x, mask = torch.rand(1, 4, 8, 8), torch.ones(1, 1, 8, 8, dtype=torch.bool)
    grow = mnn.MaskedSequential(*[mnn.MaskedConv2d(4, 4, 3, padding=1) for _ in range(3)])
    with share_plans():
        grow(x, mask)
    assert orders(calls) == [0, 1, 2]


def test_outside_nothing_is_shared(calls) -> None:
    x, mask = torch.rand(1, 4, 8, 8), torch.ones(1, 1, 8, 8, dtype=torch.bool)
    with share_plans():
        pass
    center()(x, mask)
    assert orders(calls) == [-1] and not calls.of["forward_row_order"]


def test_a_plan_is_found_by_the_mask_itself_and_all_that_it_depends_on(calls) -> None:
    x, mask = torch.rand(1, 4, 8, 8), torch.ones(1, 1, 8, 8, dtype=torch.bool)
    w = torch.rand(4, 4, 3, 3)
    with share_plans():
        for options in (
            {}, {"padding": 2}, {"stride": 2}, {"dilation": 2}, {"mask_update": "all"}, {"mask_update": 0.5},
            {"pad_is_valid": True}, {"padding_mode": "reflect"},
        ):  # fmt: skip
            masked_conv2d(x, mask, w, **({"padding": 1} | options))
        masked_conv2d(x, mask, w[:, :, :1, :1], padding=1)
        masked_conv2d(torch.cat([x, x]), mask, w, padding=1)
        masked_conv2d(x, mask.clone(), w, padding=1)
        with torch.no_grad():
            masked_conv2d(x, mask, w, padding=1)
        masked_conv2d(x, mask, w, padding=1, mask_update=0.25)
        assert orders(calls) == list(range(13))
        # What it does not depend on.
        masked_conv2d(x.double(), mask, w[:2].double(), padding=1, normalization="mean", fill=1.0)
        masked_conv2d(x, mask, w[:, :2], padding=1, groups=2)
        assert orders(calls)[13:] == [0, 0]


def test_a_mask_that_was_changed_in_place_has_a_new_plan(calls) -> None:
    x, mask = torch.rand(1, 4, 8, 8), torch.ones(1, 1, 8, 8, dtype=torch.bool)
    conv = center()
    with share_plans():
        conv(x, mask)
        mask.logical_not_()
        conv(x, mask)
        conv(x, mask)
    assert orders(calls) == [0, 1, 1]


def test_a_plan_given_is_the_one_taken(calls) -> None:
    x, mask = torch.rand(1, 4, 8, 8), torch.ones(1, 1, 8, 8, dtype=torch.bool)
    conv, plan = center(), MaskPlan(mask, 3, padding=1, mask_update="center")
    conv(x, mask, plan=plan)
    with share_plans():
        conv(x, mask, plan)
    assert all(args[ROW_ORDER] is plan.row_orders[0] for args in calls.of["forward"][-2:])
    assert len(calls.of["forward_row_order"]) == 1
    conv(x, plan=plan)  # a plan of any mask is right for none, too
    with pytest.raises(TypeError, match="plan: got int, needs a MaskPlan or None"):
        conv(x, None, 3)


def test_plans_are_gone_with_their_masks_and_with_the_context(calls) -> None:
    conv, masks = center(), [torch.ones(1, 1, 8, 8, dtype=torch.bool) for _ in range(2)]

    def order_of(mask):
        conv(torch.rand(1, 4, 8, 8), mask)
        order = weakref.ref(calls.of["forward"][-1][ROW_ORDER])
        calls.of.clear()
        return order

    with torch.no_grad():
        with share_plans():
            first, second = (order_of(mask) for mask in masks)
            gc.collect()
            assert first() is not None and second() is not None
            del masks[0]
            gc.collect()
            assert first() is None and second() is not None
        gc.collect()
        assert second() is None
        with pytest.raises(ZeroDivisionError), share_plans():
            order_of(masks[0])
            raise ZeroDivisionError
        assert mask_plan._shared.get() is None


def test_contexts_within_a_context_share_with_it_and_decorators_begin_anew(calls) -> None:
    x, mask, conv = torch.rand(1, 4, 8, 8), torch.ones(1, 1, 8, 8, dtype=torch.bool), center()

    @share_plans()
    def step():
        conv(x, mask)
        conv(x, mask)

    with share_plans():
        conv(x, mask)
        step()
        conv(x, mask)
    assert orders(calls) == [0] * 4
    step()
    step()
    assert orders(calls)[4:] == [1, 1, 2, 2]


def test_other_threads_have_plans_of_their_own(calls) -> None:
    seen = []
    with share_plans():
        thread = threading.Thread(target=lambda: seen.append(mask_plan._shared.get()))
        thread.start()
        thread.join()
    assert seen == [None]


def test_activation_checkpointing_recomputes_without_the_context(calls) -> None:
    x, mask = torch.rand(1, 4, 8, 8, requires_grad=True), torch.ones(1, 1, 8, 8, dtype=torch.bool)
    first, second = center(), center()
    with share_plans():
        y, m = checkpoint(first, x, mask, use_reentrant=False, preserve_rng_state=False)
        y, _ = checkpoint(second, y, m, use_reentrant=False, preserve_rng_state=False)
    y.sum().backward()
    assert orders(calls)[:2] == [0, 0] and set(orders(calls)[2:]) == {-1}
    assert all(args[-1] is not None for args in calls.of["grad_input"]) and len(calls.of["grad_input"]) == 2


def test_inference_tensors_have_no_version_and_share(calls) -> None:
    with torch.inference_mode(), share_plans():
        x, mask, conv = torch.rand(1, 4, 8, 8), torch.ones(1, 1, 8, 8, dtype=torch.bool), center()
        conv(x, mask)
        conv(x, mask)
    assert orders(calls) == [0, 0]


@pytest.mark.parametrize("inside", [False, True])
def test_compiled_code_takes_no_part_and_stays_one_graph(device, inside) -> None:
    require_native()
    stage = mnn.MaskedSequential(center(), nn.ReLU(), Residual()).to(device)
    x, mask = torch.rand(2, 4, 9, 9, device=device, requires_grad=True), torch.rand(2, 1, 9, 9, device=device) < 0.5

    def step(x, mask):
        if not inside:
            return stage(x, mask)[0]
        with share_plans():
            return stage(x, mask)[0]

    compiled = torch.compile(step, backend="aot_eager", fullgraph=True)
    with share_plans():
        expected = step(x, mask)
        torch.testing.assert_close(compiled(x, mask), expected)
        compiled(x, mask).sum().backward()


def test_results_do_not_depend_on_sharing(engine, device) -> None:
    torch.manual_seed(0)
    convs = [center(8).to(device) for _ in range(3)]
    stage = mnn.MaskedSequential(*convs)
    mask = torch.rand(2, 1, 20, 20, device=device) < 0.3

    def results():
        x = torch.randn(2, 8, 20, 20, generator=torch.Generator().manual_seed(1)).to(device).requires_grad_()
        y, out_mask = stage(x, mask)
        return y, out_mask, *torch.autograd.grad(y.square().sum(), [x, *stage.parameters()])

    def assert_same():
        expected = results()
        with share_plans():
            results()  # which makes a plan of the mask as it is
            for got, wanted in zip(results(), expected, strict=True):
                torch.testing.assert_close(got, wanted)

    assert_same()
    with share_plans():
        results()
        mask.logical_not_()  # which the shared plan does not outlive
        got = results()
    for one, other in zip(got, results(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("padding, stride", [(0, 1), (1, 1), (2, 1), ("same", 1), (1, 2), (2, 2)])
def test_a_layer_returns_the_mask_itself_only_where_both_are_equal(kernel, dilation, padding, stride) -> None:
    mask = torch.rand(2, 1, 9, 9, generator=torch.Generator().manual_seed(0)) < 0.5
    x, geometry = torch.rand(2, 4, 9, 9), dict(stride=stride, padding=padding, dilation=dilation)
    for rule in ("center", "any"):
        conv = mnn.MaskedConv2d(4, 4, kernel, **geometry, mask_update=rule)
        expected = masked_conv2d(x, mask, conv.weight, conv.bias, **geometry, mask_update=rule)[1]
        out_mask = conv(x, mask)[1]
        assert torch.equal(out_mask, expected)
        is_kept = rule == "center" and stride == 1 and kernel % 2 and expected.shape == mask.shape
        assert (out_mask is mask) == bool(is_kept)


def test_masks_that_are_not_bool_and_shared_are_computed() -> None:
    x = torch.rand(2, 4, 6, 6)
    for mask in (torch.full((1, 1, 6, 6), 7, dtype=torch.uint8), torch.rand(2, 1, 6, 6), x > 0.5):
        conv = center()
        out_mask = conv(x, mask)[1]
        assert out_mask is not mask
        assert torch.equal(out_mask, masked_conv2d(x, mask, conv.weight, padding=1, mask_update="center")[1])


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=pytest.mark.gpu)], indirect=True)
def test_streams_and_captured_graphs_share_nothing_with_others(device) -> None:
    require_native()
    conv, x = center(16).to(device), torch.randn(2, 16, 32, 32, device=device)
    mask, side = torch.rand(2, 1, 32, 32, device=device) < 0.3, torch.cuda.Stream()

    def plans() -> int:
        return len(mask_plan._shared.get().of_masks[mask][1])

    with torch.no_grad(), share_plans():
        expected, _ = conv(x, mask)
        conv(x, mask)
        assert plans() == 1
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            conv(x, mask)
        torch.cuda.current_stream().wait_stream(side)
        assert plans() == 2
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            output, _ = conv(x, mask)
        assert plans() == 2
    graph.replay()
    assert torch.equal(output, expected)
