"""A plan changes no result, and is refused where it cannot be of the call."""

from __future__ import annotations

import pytest
import torch
from configurations import FUNCTIONS
from native_library import require_native
from operator_calls import OperatorCalls
from torch._subclasses.fake_tensor import FakeTensorMode

from maskconv_ext import MaskPlan, masked_conv2d, native

ON_CUDA = pytest.mark.parametrize("device", [pytest.param("cuda", marks=pytest.mark.gpu)], indirect=True)
SIZES = {1: (33,), 2: (13, 12), 3: (6, 7, 5)}
GEOMETRY = ("stride", "padding", "dilation", "mask_update", "pad_is_valid", "padding_mode")
CALLS = {
    "1-D": (1, {"padding": 1}),
    "2-D": (2, {"padding": "same", "mask_update": "center"}),
    "2-D strided": (2, {"stride": (2, 3), "padding": 1, "mask_update": 0.5, "pad_is_valid": True}),
    "2-D reflect": (2, {"padding": 2, "padding_mode": ("reflect", "zeros"), "mask_update": "all"}),
    "2-D 7x7": (2, {"padding": 3, "stride": 2}),
    "2-D fraction": (2, {"dilation": 2, "mask_update": "fraction"}),
    "2-D weight": (2, {"padding": 1, "normalization": "weight", "mask_update": "confidence"}),
    "3-D": (3, {"padding": 1, "groups": 2}),
}
MASKS = {
    "bool": lambda size: torch.rand(2, 1, *size) < 0.4,
    "uint8 for the batch": lambda size: (torch.rand(1, 1, *size) < 0.4).byte(),
    "soft": lambda size: torch.rand(2, 1, *size),
    "a channel each": lambda size: torch.rand(2, 8, *size) < 0.4,
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("call", CALLS)
def test_results_do_not_depend_on_a_plan(engine, device, call, mask, dtype):
    rank, options = CALLS[call]
    torch.manual_seed(0)
    m = MASKS[mask](SIZES[rank]).to(device)
    x = torch.randn(2, 8, *SIZES[rank]).to(device, dtype)
    kernel = 7 if "7x7" in call else 3
    w = torch.randn(8, 8 // options.get("groups", 1), *[kernel] * rank).to(device, dtype)
    of_plan = {name: value for name, value in options.items() if name in GEOMETRY}
    plan = MaskPlan(m, kernel, batch=2, **of_plan)

    def results(plan):
        leaves = [tensor.clone().requires_grad_() for tensor in (x, w)]
        output, out_mask = FUNCTIONS[rank](leaves[0], m, leaves[1], plan=plan, **options)
        output.float().square().sum().backward()
        return [output.detach(), out_mask, *(leaf.grad for leaf in leaves)]

    # The kernels add in the same order, whatever the rows'; on CUDA the reference's backward may not, run by run.
    fused = engine == "native" and mask in ("bool", "uint8 for the batch") and "weight" not in call
    tolerance = {"rtol": 0.0, "atol": 0.0} if device == "cpu" or fused else {}
    for with_plan, without in zip(results(plan), results(None), strict=True):
        torch.testing.assert_close(with_plan, without, **tolerance)


def test_a_plan_of_another_mask_is_only_slower(engine, device):
    torch.manual_seed(0)
    masks = [torch.rand(2, 1, 20, 20, device=device) < fraction for fraction in (0.2, 0.7)]
    x, w = torch.randn(2, 8, 20, 20, device=device), torch.randn(8, 8, 3, 3, device=device)
    plan = MaskPlan(masks[0], 3)
    expected = masked_conv2d(x, masks[1], w)
    for got, wanted in zip(masked_conv2d(x, masks[1], w, plan=plan), expected, strict=True):
        assert torch.equal(got, wanted)
    for got, wanted in zip(masked_conv2d(x, None, w, plan=plan), masked_conv2d(x, None, w), strict=True):
        assert torch.equal(got, wanted)
    masks[0].copy_(masks[1])  # in place, after the plan was made
    assert torch.equal(masked_conv2d(x, masks[0], w, plan=plan)[0], expected[0])


def test_a_compiled_call_takes_a_plan(device):
    require_native()
    mask = torch.rand(2, 1, 9, 9, device=device) < 0.5
    x, w = torch.randn(2, 8, 9, 9, device=device), torch.randn(8, 8, 3, 3, device=device, requires_grad=True)
    plan = MaskPlan(mask, 3, padding=1)

    def step(x, mask, w):
        return masked_conv2d(x, mask, w, padding=1, plan=plan)[0]

    assert torch.equal(torch.compile(step, backend="aot_eager", fullgraph=True)(x, mask, w), step(x, mask, w))


@pytest.mark.parametrize("mask_update", ["center", "fraction"])
def test_orders_reach_the_operators_forward_and_backward(monkeypatch, mask_update):
    """Without a CUDA device: on fake tensors, which know shapes alone."""
    require_native()
    monkeypatch.setattr(native, "takes_row_orders", lambda *args: True)
    with FakeTensorMode(), OperatorCalls() as calls:
        mask, padded = torch.ones(1, 1, 8, 9, dtype=torch.bool), 3 * 8 * 10  # a column is copied beforehand
        geometry = {"stride": (2, 1), "padding": ((1, 1), (0, 1)), "padding_mode": ("zeros", "reflect")}
        plan = MaskPlan(mask, (3, 2), batch=3, mask_update=mask_update, **geometry)
        assert [order.shape for order in plan.row_orders] == [(3 * 4 * 9,), (padded,)]
        assert calls.of["forward_row_order"][-1][1] == calls.of["grad_input_row_order"][-1][2] == 3
        assert calls.of["grad_input_row_order"][-1][0].shape == (1, 1, 4, 9)
        assert calls.of["grad_input_row_order"][-1][0].dtype == torch.bool
        x, w = torch.randn(3, 8, 8, 9, requires_grad=True), torch.randn(4, 8, 3, 2, requires_grad=True)
        output, _ = masked_conv2d(x, mask, w, mask_update=mask_update, plan=plan, **geometry)
        assert all(given is order for given, order in zip(calls.of["forward"][-1][-2:], plan.row_orders, strict=True))
        (grad,) = torch.autograd.grad(output.sum(), x, create_graph=True)
        assert calls.of["grad_input"][-1][-1] is plan.row_orders[1]
        grad.sum().backward()
        assert (x.grad is None, w.grad.shape) == (True, w.shape)
        with torch.no_grad():
            forward, backward = MaskPlan(mask, 3).row_orders
        assert forward.shape == (6 * 7,) and backward is None


def test_an_empty_batch_has_a_plan_too(device):
    mask = torch.ones(1, 1, 6, 6, dtype=torch.bool, device=device)
    x, w = torch.zeros(0, 4, 6, 6, device=device), torch.zeros(2, 4, 3, 3, device=device)
    assert masked_conv2d(x, mask, w, plan=MaskPlan(mask, 3, batch=0))[0].shape == (0, 2, 4, 4)
    assert masked_conv2d(x, mask[:0], w, plan=MaskPlan(mask[:0], 3))[0].shape == (0, 2, 4, 4)


def test_on_the_cpu_a_plan_holds_nothing():
    assert MaskPlan(torch.ones(1, 1, 8, 8, dtype=torch.bool), 3).row_orders == (None, None)


def test_the_cpu_operators_refuse_an_order():
    require_native()
    x, w, order = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 1, 1), torch.arange(16, dtype=torch.int32)
    geometry = ([1, 1], [0] * 4, [1, 1], 1, [])
    message = "maskconv_ext: row_order: got a tensor, needs None on the CPU"
    for orders in ((order, None), (None, order)):
        with pytest.raises(RuntimeError, match=message):
            torch.ops.maskconv_ext.forward(
                x, None, w, None, *geometry, "none", "any", 0.0, 0.0, False, False, False, *orders
            )
    with pytest.raises(RuntimeError, match=message):
        torch.ops.maskconv_ext.grad_input(x, None, None, w, x.shape, *geometry, False, False, order)


@ON_CUDA
@pytest.mark.parametrize("mask_update", ["any", "center"])
def test_orders_are_permutations_by_descending_taps(device, mask_update):
    require_native()
    mask = torch.rand(3, 1, 50, 40, device=device) < 0.2
    plan = MaskPlan(mask, 3, padding=1, mask_update=mask_update)
    for order in plan.row_orders:
        assert torch.equal(order.sort().values, torch.arange(mask.numel(), device=device, dtype=torch.int32))
    padded = torch.nn.functional.pad(mask, (1, 1, 1, 1))[:, 0]
    taps = [padded[:, h : h + 50, w : w + 40].int() << (3 * h + w) for h in range(3) for w in range(3)]
    keys = torch.stack(taps).sum(0)
    if mask_update == "center":
        keys = torch.where(mask[:, 0], keys, 0)
    assert torch.equal(plan.row_orders[0].long(), keys.flatten().sort(descending=True, stable=True).indices)


@ON_CUDA
def test_a_plan_is_made_and_used_in_a_captured_graph(device):
    require_native()
    torch.manual_seed(0)
    mask = torch.rand(2, 1, 64, 64, device=device) < 0.3
    x, w = torch.randn(2, 16, 64, 64, device=device), torch.randn(16, 16, 3, 3, device=device)

    def step():
        return masked_conv2d(x, mask, w, padding=1, plan=MaskPlan(mask, 3, padding=1))[0]

    step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = step()
    mask.copy_(torch.rand_like(mask, dtype=torch.float32) < 0.6)
    graph.replay()
    assert torch.equal(output, masked_conv2d(x, mask, w, padding=1)[0])


@ON_CUDA
def test_without_gradients_no_order_is_made_for_them(device):
    require_native()
    mask = torch.rand(2, 1, 16, 16, device=device) < 0.3
    with torch.no_grad():
        forward, backward = MaskPlan(mask, 3).row_orders
    assert forward is not None and backward is None
    assert native.has_cuda


@ON_CUDA
def test_an_order_must_fit_the_call(device):
    require_native()
    x, w = torch.zeros(1, 1, 4, 4, device=device), torch.zeros(1, 1, 1, 1, device=device)
    rest = ([1, 1], [0] * 4, [1, 1], 1, [], "none", "any", 0.0, 0.0, False, False)
    for order, message in (
        (torch.arange(15, dtype=torch.int32, device=device), "row_order: got 15 rows, needs 16"),
        (torch.arange(16, device=device), "row_order: needs a contiguous vector of int32"),
        (torch.arange(16, dtype=torch.int32), "row_order: is on another device"),
    ):
        with pytest.raises(RuntimeError, match=message):
            torch.ops.maskconv_ext.forward(x, None, w, None, *rest, order, None)
