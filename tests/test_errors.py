"""Wrong calls: each raises one exact message before anything is computed."""

from __future__ import annotations

import pytest
import torch
from configurations import FUNCTIONS
from torch.utils._python_dispatch import TorchDispatchMode

import maskconv_ext
from maskconv_ext import MaskPlan

X, M, W, B = torch.zeros(2, 4, 6, 5), torch.ones(2, 1, 6, 5, dtype=torch.bool), torch.zeros(6, 4, 3, 3), torch.zeros(6)
NORMALIZATIONS = "'ratio', 'mean', 'weight', 'sqrt', 'none'"
UPDATES = "'any', 'all', 'center', 'fraction', 'confidence'"
MODES = "'zeros', 'reflect', 'replicate', 'circular'"
PADDING = "needs 'valid', 'same', an int >= 0, or a sequence of 2 ints >= 0 or (before, after) pairs"
MASK_DTYPES = (
    "needs bool, uint8 or a floating dtype; write mask != 0 for a mask of 0 and 1, mask.float() for a soft mask"
)
PARTS = "needs a sequence of ints >= 1, or None"

# Changes to masked_conv2d(X, M, W, B), or the whole call of another rank; what is raised, without the op's name.
ROWS = [
    (dict(input=None), TypeError, "input: got NoneType, needs a Tensor"),
    (dict(mask=[[1]]), TypeError, "mask: got list, needs a Tensor or None"),
    (dict(weight=3.0), TypeError, "weight: got float, needs a Tensor"),
    (dict(bias=True), TypeError, "bias: got bool, needs a Tensor or None"),
    # rank
    (dict(input=X[0]), ValueError, "input: got shape (4, 6, 5), needs 4 dimensions (N, C, H, W)"),
    (dict(rank=1), ValueError, "input: got shape (2, 4, 6, 5), needs 3 dimensions (N, C, L)"),
    (dict(rank=3), ValueError, "input: got shape (2, 4, 6, 5), needs 5 dimensions (N, C, D, H, W)"),
    (dict(weight=W[0]), ValueError,
     "weight: got shape (4, 3, 3), needs 4 dimensions (K, C/groups, *kernel), none empty"),
    (dict(weight=W[..., :0]), ValueError,
     "weight: got shape (6, 4, 3, 0), needs 4 dimensions (K, C/groups, *kernel), none empty"),
    (dict(bias=B[:5]), ValueError, "bias: got shape (5,), needs (6,), one a filter of weight"),
    # dtypes
    (dict(input=X.int()), TypeError, "input: got torch.int32, needs float16, bfloat16, float32 or float64"),
    (dict(input=X.to(torch.complex64)), TypeError,
     "input: got torch.complex64, needs float16, bfloat16, float32 or float64"),
    (dict(weight=W.double()), TypeError, "weight: got torch.float64, needs torch.float32, the dtype of input"),
    (dict(bias=B.half()), TypeError, "bias: got torch.float16, needs torch.float32, the dtype of input"),
    (dict(mask=M.int()), TypeError, f"mask: got torch.int32, {MASK_DTYPES}"),
    (dict(mask=M.to(torch.int8)), TypeError, f"mask: got torch.int8, {MASK_DTYPES}"),
    # devices
    (dict(mask=M.to("meta")), ValueError, "mask: got device meta, needs cpu, the device of input"),
    (dict(weight=W.to("meta")), ValueError, "weight: got device meta, needs cpu, the device of input"),
    (dict(bias=B.to("meta")), ValueError, "bias: got device meta, needs cpu, the device of input"),
    # groups and channels
    (dict(groups=0), ValueError, "groups: got 0, needs an int >= 1"),
    (dict(groups=True), ValueError, "groups: got True, needs an int >= 1"),
    (dict(groups=2.0), ValueError, "groups: got 2.0, needs an int >= 1"),
    (dict(groups=3), ValueError,
     "groups: got 3, needs a divisor of the 4 channels of input and of the 6 filters of weight"),
    (dict(groups=4), ValueError,
     "groups: got 4, needs a divisor of the 4 channels of input and of the 6 filters of weight"),
    (dict(groups=2), ValueError,
     "weight: got shape (6, 4, 3, 3), needs 2 in dimension 1 (4 channels of input in 2 groups)"),
    (dict(weight=W[:, :3]), ValueError,
     "weight: got shape (6, 3, 3, 3), needs 4 in dimension 1 (4 channels of input in 1 group)"),
    # stride, dilation, padding
    (dict(stride=-1), ValueError, "stride: got -1, needs an int >= 1 or a sequence of 2 of them"),
    (dict(stride=0), ValueError, "stride: got 0, needs an int >= 1 or a sequence of 2 of them"),
    (dict(stride=(1, 2, 1)), ValueError, "stride: got (1, 2, 1), needs an int >= 1 or a sequence of 2 of them"),
    (dict(stride=1.5), ValueError, "stride: got 1.5, needs an int >= 1 or a sequence of 2 of them"),
    (dict(dilation=(1, 0)), ValueError, "dilation: got (1, 0), needs an int >= 1 or a sequence of 2 of them"),
    (dict(padding=-1), ValueError, f"padding: got -1, {PADDING}"),
    (dict(padding="full"), ValueError, f"padding: got 'full', {PADDING}"),
    (dict(padding=((1, 2), (1, 2, 3))), ValueError, f"padding: got ((1, 2), (1, 2, 3)), {PADDING}"),
    (dict(padding=((0, -1), 0)), ValueError, f"padding: got ((0, -1), 0), {PADDING}"),
    (dict(dilation=3), ValueError,
     "weight: got a window of 7 (kernel 3, dilation 3) on axis 0, needs at most the padded input size 6 + 0 + 0"),
    (dict(dilation=(1, 3), padding=((0, 0), (1, 0))), ValueError,
     "weight: got a window of 7 (kernel 3, dilation 3) on axis 1, needs at most the padded input size 5 + 1 + 0"),
    (dict(padding_mode="constant"), ValueError,
     f"padding_mode: got 'constant', needs one of {MODES}, or a sequence of 2 of them"),
    (dict(padding_mode=["zeros"]), ValueError,
     f"padding_mode: got ['zeros'], needs one of {MODES}, or a sequence of 2 of them"),
    (dict(padding_mode=None), ValueError,
     f"padding_mode: got None, needs one of {MODES}, or a sequence of 2 of them"),
    (dict(padding=5, padding_mode="reflect"), ValueError,
     "padding: got (5, 5) on axis 1, needs at most 4 a side for padding_mode 'reflect' and input size 5"),
    (dict(padding=(0, 6), padding_mode="circular"), ValueError,
     "padding: got (6, 6) on axis 1, needs at most 5 a side for padding_mode 'circular' and input size 5"),
    (dict(input=X[..., :0], mask=None, padding=2), ValueError, "input: got size 0 on axis 1, needs at least 1"),
    # mask
    (dict(mask=M[0]), ValueError, "mask: got shape (1, 6, 5) for input (2, 4, 6, 5), needs (1 or 2, 1 or 4, 6, 5)"),
    (dict(mask=M[..., :4]), ValueError,
     "mask: got shape (2, 1, 6, 4) for input (2, 4, 6, 5), needs (1 or 2, 1 or 4, 6, 5)"),
    (dict(mask=M.expand(2, 3, 6, 5)), ValueError,
     "mask: got shape (2, 3, 6, 5) for input (2, 4, 6, 5), needs (1 or 2, 1 or 4, 6, 5)"),
    (dict(mask=M.repeat(2, 1, 1, 1)), ValueError,
     "mask: got shape (4, 1, 6, 5) for input (2, 4, 6, 5), needs (1 or 2, 1 or 4, 6, 5)"),
    (dict(mask=M.expand(2, 3, 6, 5), mask_channels=(1, 3)), ValueError,
     "mask: got shape (2, 3, 6, 5) for input (2, 4, 6, 5), needs (1 or 2, 1 or 2, 6, 5)"),
    (dict(mask_channels=(1, 2)), ValueError,
     "mask_channels: got (1, 2), which add up to 3, needs a sum of 4, the channels of input"),
    (dict(mask=None, mask_channels=(5,)), ValueError,
     "mask_channels: got (5,), which add up to 5, needs a sum of 4, the channels of input"),
    (dict(mask_channels=4), ValueError, f"mask_channels: got 4, {PARTS}"),
    (dict(mask_channels=()), ValueError, f"mask_channels: got (), {PARTS}"),
    (dict(mask_channels=(4, 0)), ValueError, f"mask_channels: got (4, 0), {PARTS}"),
    # options
    (dict(normalization="batch"), ValueError, f"normalization: got 'batch', needs one of {NORMALIZATIONS}"),
    (dict(normalization=None), ValueError, f"normalization: got None, needs one of {NORMALIZATIONS}"),
    (dict(mask_update="most"), ValueError, f"mask_update: got 'most', needs one of {UPDATES}, or a float in (0, 1]"),
    (dict(mask_update=0.0), ValueError, f"mask_update: got 0.0, needs one of {UPDATES}, or a float in (0, 1]"),
    (dict(mask_update=1.5), ValueError, f"mask_update: got 1.5, needs one of {UPDATES}, or a float in (0, 1]"),
    (dict(mask_update=True), ValueError, f"mask_update: got True, needs one of {UPDATES}, or a float in (0, 1]"),
    (dict(mask_update=float("nan")), ValueError,
     f"mask_update: got nan, needs one of {UPDATES}, or a float in (0, 1]"),
    (dict(fill="mean"), ValueError, "fill: got 'mean', needs a number or 'bias'"),
    (dict(fill=1e39), ValueError,
     "fill: got 1e+39, needs a number within torch.float32, whose largest is 3.40282e+38"),
    (dict(input=X.to_sparse()), TypeError,
     "input: got layout torch.sparse_coo, needs torch.strided; write input.to_dense()"),
    (dict(fill=None), ValueError, "fill: got None, needs a number or 'bias'"),
    (dict(fill=False), ValueError, "fill: got False, needs a number or 'bias'"),
    (dict(pad_is_valid=1), TypeError, "pad_is_valid: got 1, needs True or False"),
    # plan
    (dict(plan=M), TypeError, "plan: got Tensor, needs a MaskPlan or None"),
    (dict(plan=MaskPlan(M, 2)), ValueError, "plan: got one for kernel_size (2, 2), needs (3, 3), as of the call"),
    (dict(plan=MaskPlan(M, 3), stride=2), ValueError,
     "plan: got one for stride (1, 1), needs (2, 2), as of the call"),
    (dict(plan=MaskPlan(M, 3), padding=(1, 2)), ValueError,
     "plan: got one for padding ((0, 0), (0, 0)), needs ((1, 1), (2, 2)), as of the call"),
    (dict(plan=MaskPlan(M, 3), dilation=(2, 1)), ValueError,
     "plan: got one for dilation (1, 1), needs (2, 1), as of the call"),
    (dict(plan=MaskPlan(M, 3, padding=1), padding=1, padding_mode="circular"), ValueError,
     "plan: got one for padding_mode ('zeros', 'zeros'), needs ('circular', 'circular'), as of the call"),
    (dict(plan=MaskPlan(M[:1], 3)), ValueError,
     "plan: got one for a batch of 1 and size (6, 5), needs 2 and (6, 5), as of input"),
    (dict(plan=MaskPlan(M.movedim(2, 3), 3)), ValueError,
     "plan: got one for a batch of 2 and size (5, 6), needs 2 and (6, 5), as of input"),
    (dict(plan=MaskPlan(M.to("meta"), 3)), ValueError,
     "plan: got one on device meta, needs cpu, the device of input"),
]  # fmt: skip


class OpRecorder(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.ops = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.ops.append(func)
        return func(*args, **(kwargs or {}))


def describe(value) -> str:
    return f"{value.dtype}{tuple(value.shape)}" if isinstance(value, torch.Tensor) else repr(value)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    ROWS,
    ids=[" ".join(f"{name}={describe(value)}" for name, value in row[0].items()) for row in ROWS],
)
def test_wrong_call(changes, error, message):
    changes = dict(changes)
    rank = changes.pop("rank", 2)
    arguments = dict(input=X, mask=M, weight=W, bias=B) | changes
    rng_state = torch.get_rng_state()
    with OpRecorder() as recorder, pytest.raises(Exception) as caught:
        FUNCTIONS[rank](**arguments)
    assert (caught.type, str(caught.value)) == (error, f"masked_conv{rank}d: {message}")
    assert recorder.ops == [], "something was computed before the checks had passed"
    versions = {value._version for value in arguments.values() if isinstance(value, torch.Tensor)}
    assert versions <= {0}, "an argument was written to"
    assert torch.equal(rng_state, torch.get_rng_state())


# Changes to MaskPlan(M, 3).
PLAN_ROWS = [
    (dict(mask=None), TypeError, "mask: got NoneType, needs a Tensor"),
    (dict(mask=M[0, 0]), ValueError, "mask: got shape (6, 5), needs 3, 4 or 5 dimensions (N or 1, M, *S)"),
    (dict(mask=M.int()), TypeError, f"mask: got torch.int32, {MASK_DTYPES}"),
    (dict(mask=M[..., :0], padding=2), ValueError, "mask: got size 0 on axis 1, needs at least 1"),
    (dict(kernel_size=0), ValueError, "kernel_size: got 0, needs an int >= 1 or a sequence of 2 of them"),
    (dict(kernel_size=(3, 3, 3)), ValueError,
     "kernel_size: got (3, 3, 3), needs an int >= 1 or a sequence of 2 of them"),
    (dict(kernel_size=7), ValueError,
     "kernel_size: got a window of 7 (kernel 7, dilation 1) on axis 0, needs at most the padded input size 6 + 0 + 0"),
    (dict(stride=0), ValueError, "stride: got 0, needs an int >= 1 or a sequence of 2 of them"),
    (dict(padding="full"), ValueError, f"padding: got 'full', {PADDING}"),
    (dict(padding_mode="constant"), ValueError,
     f"padding_mode: got 'constant', needs one of {MODES}, or a sequence of 2 of them"),
    (dict(batch=-1), ValueError, "batch: got -1, needs an int >= 0, or None for the batch size of mask"),
    (dict(batch=True), ValueError, "batch: got True, needs an int >= 0, or None for the batch size of mask"),
    (dict(batch=3), ValueError, "batch: got 3, needs 2, the batch size of mask"),
    (dict(mask_update="most"), ValueError, f"mask_update: got 'most', needs one of {UPDATES}, or a float in (0, 1]"),
    (dict(pad_is_valid=1), TypeError, "pad_is_valid: got 1, needs True or False"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    PLAN_ROWS,
    ids=[" ".join(f"{name}={describe(value)}" for name, value in row[0].items()) for row in PLAN_ROWS],
)
def test_wrong_plan(changes, error, message):
    with OpRecorder() as recorder, pytest.raises(error) as caught:
        MaskPlan(**(dict(mask=M, kernel_size=3) | changes))
    assert str(caught.value) == f"MaskPlan: {message}"
    assert recorder.ops == []


@pytest.fixture
def mask_checking():
    maskconv_ext.set_mask_checking(True)
    yield
    maskconv_ext.set_mask_checking(False)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1.25, "got values from 0.5 to 1.25"),
        (-0.125, "got values from -0.125 to 0.5"),
        (float("nan"), "got values from nan to nan"),
        (float("inf"), "got values from 0.5 to inf"),
    ],
)
def test_soft_mask_outside_0_1(mask_checking, value, message):
    mask = torch.full((1, 1, 6, 5), 0.5)
    mask[0, 0, 3, 3] = value
    with OpRecorder() as recorder, pytest.raises(ValueError) as caught:
        maskconv_ext.masked_conv2d(X, mask, W, B)
    assert str(caught.value) == f"masked_conv2d: mask: {message}, needs a float mask within [0, 1]"
    assert {op.overloadpacket.__name__ for op in recorder.ops} <= {"aminmax", "_local_scalar_dense", "detach"}


def test_the_check_of_soft_masks_passes_right_ones_and_is_off_by_default(mask_checking):
    right, wrong = torch.rand(2, 1, 6, 5), torch.full((2, 1, 6, 5), 2.0)
    for mask in (None, M, M.byte() * 255, right, right[:0].expand(0, 1, 6, 5)):
        x = X if mask is None or len(mask) else X[:0]
        maskconv_ext.masked_conv2d(x, mask, W, B)
    maskconv_ext.set_mask_checking(False)
    maskconv_ext.masked_conv2d(X, wrong, W, B)
