"""Masks: constructors, random holes and operations, against loops over the definition."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from maskconv_ext import masks
from maskconv_ext.masks.strokes import brush_strokes

NAN, INF = math.nan, math.inf
SIZES = {1: (11,), 2: (7, 10), 3: (5, 4, 6)}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_mask(size, dtype=torch.bool, seed=0):
    rng = seeded(seed)
    mask = torch.rand(2, 2, *size, generator=rng, dtype=torch.float64) < 0.6
    if dtype == torch.uint8:
        return mask.byte() * 255
    return (
        mask if dtype == torch.bool else (mask * torch.rand(mask.shape, generator=rng, dtype=torch.float64)).to(dtype)
    )


# ------------------------------------------------------------------------------------------------ constructors


def test_from_probability():
    p = torch.tensor([0.0, 0.3, 0.30001, 1.0, NAN], requires_grad=True)
    mask = masks.from_probability(p, 0.3)
    assert mask.dtype == torch.bool and not mask.requires_grad
    assert mask.tolist() == [False, False, True, True, False]
    assert masks.from_probability(p.detach().bfloat16(), 0).tolist() == [False, True, True, True, False]


@pytest.mark.parametrize("value", [-9999.0, NAN, 0, INF])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_from_sentinel(rank, value):
    x = torch.randn(2, 3, *SIZES[rank], generator=seeded(rank))
    where = torch.rand(x.shape, generator=seeded(5)) < 0.5
    x[where] = float(value)
    assert torch.equal(masks.from_sentinel(x, value, "each"), ~where)
    assert torch.equal(masks.from_sentinel(x, value), ~where.any(1, keepdim=True))
    assert torch.equal(masks.from_sentinel(x, value, "all"), ~where.all(1, keepdim=True))
    if not math.isfinite(value):
        for holes in ("any", "all", "each"):
            assert torch.equal(masks.from_finite(x, holes), masks.from_sentinel(x, value, holes))


def test_integers_have_sentinels_too():
    labels = torch.tensor([[[3, 255, 0]]], dtype=torch.uint8)
    assert masks.from_sentinel(labels, 255).tolist() == [[[True, False, True]]]
    assert masks.from_finite(labels).all()


def test_from_lengths():
    lengths = torch.tensor([0, 2, 5])
    mask = masks.from_lengths(lengths, 5)
    assert mask.shape == (3, 1, 5) and mask.dtype == torch.bool
    assert mask[:, 0].tolist() == [[i < n for i in range(5)] for n in (0, 2, 5)]
    assert torch.equal(masks.from_lengths([0, 2, 5]), mask)
    assert torch.equal(masks.from_lengths(np.array([0, 2, 5], np.int32), 7)[..., :5], mask)
    assert masks.from_lengths([], 4).shape == (0, 1, 4)


@pytest.mark.parametrize("size", [(4,), (3, 5), (2, 3, 4)])
def test_from_sizes(size):
    sizes = list(itertools.product(*[range(side + 1) for side in size]))
    mask = masks.from_sizes(sizes, size)
    assert mask.shape == (len(sizes), 1, *size)
    for image, sides in zip(mask[:, 0], sizes):
        expected = torch.zeros(size, dtype=torch.bool)
        expected[tuple(slice(side) for side in sides)] = True
        assert torch.equal(image, expected)


def test_sizes_compile():
    compiled = torch.compile(lambda n: masks.from_lengths(n, 6), fullgraph=True, backend="aot_eager")
    lengths = torch.tensor([1, 6])
    assert torch.equal(compiled(lengths), masks.from_lengths(lengths, 6))


# ------------------------------------------------------------------------------------------------ random holes

RANDOM = {
    "strokes": lambda rng: masks.random_strokes((3, 2, 40, 56), 0.3, rng),
    "blocks": lambda rng: masks.random_blocks((3, 2, 40, 56), 8, 0.4, rng),
    "rectangles": lambda rng: masks.random_rectangles((3, 2, 40, 56), 2, (0.1, 0.5), rng),
}


@pytest.mark.parametrize("draw", RANDOM.values(), ids=RANDOM)
def test_the_generator_decides(draw):
    mask = draw(seeded(1))
    assert mask.shape == (3, 2, 40, 56) and mask.dtype == torch.bool
    assert torch.equal(mask, draw(seeded(1)))
    assert not torch.equal(mask, draw(seeded(2)))
    images = mask.flatten(0, 1)
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(images, 2)), "two images are the same"
    rng = seeded(1)
    assert not torch.equal(draw(rng), draw(rng)), "the generator stood still"
    torch.manual_seed(3)
    from_global = draw(None)
    torch.manual_seed(3)
    assert torch.equal(from_global, draw(None))


@pytest.mark.parametrize("coverage", [0.0, 0.1, 0.6])
def test_strokes_cover_what_is_asked(coverage):
    holes = (~masks.random_strokes((4, 1, 90, 120), coverage, seeded())).float().mean((1, 2, 3))
    assert (holes >= coverage).all() and (holes <= coverage + 0.1).all()


def test_brush_strokes_repeat():
    covered = brush_strokes((90, 120), 0.25, seed=4)
    assert 0.25 <= covered.mean() < 0.35
    np.testing.assert_array_equal(covered, brush_strokes((90, 120), 0.25, seed=4))
    assert (covered != brush_strokes((90, 120), 0.25, seed=5)).any()


@pytest.mark.parametrize(
    ("size", "patch"), [((24,), 4), ((24, 40), 8), ((24, 40), (6, 20)), ((4, 6, 8), (2, 3, 2)), ((5, 7), 1)]
)
@pytest.mark.parametrize("hidden", [0.0, 0.3, 0.6, 1.0])
def test_blocks_hide_whole_patches_the_same_number_everywhere(size, patch, hidden):
    mask = masks.random_blocks((5, 2, *size), patch, hidden, seeded())
    sides = (patch,) * len(size) if isinstance(patch, int) else patch
    grid = mask[(..., *[slice(None, None, side) for side in sides])]
    whole = grid
    for axis, side in enumerate(sides):
        whole = whole.repeat_interleave(side, axis + 2)
    assert torch.equal(mask, whole), "a patch is hidden in part"
    patches = math.prod(grid.shape[2:])
    assert ((~grid).flatten(2).sum(2) == round(hidden * patches)).all()


def test_every_patch_is_hidden_as_often():
    grid = masks.random_blocks((2000, 1, 3, 3), 1, 4 / 9, seeded())
    share = (~grid).float().mean((0, 1))
    assert (share - 4 / 9).abs().max() < 5 * math.sqrt(0.25 / 2000)


@pytest.mark.parametrize("size", [(30,), (30, 20), (10, 12, 14)])
def test_a_rectangle_is_one(size):
    shortest, longest = 0.2, 0.7
    mask = masks.random_rectangles((60, 1, *size), 1, (shortest, longest), seeded())
    sides, touches = [], set()
    for image in ~mask[:, 0]:
        index = image.nonzero()
        first, last = index.min(0).values, index.max(0).values
        assert image.sum() == (last - first + 1).prod(), "not a box"
        sides.append((last - first + 1).tolist())
        touches |= {(axis, "first") for axis in range(len(size)) if first[axis] == 0}
        touches |= {(axis, "last") for axis in range(len(size)) if last[axis] == size[axis] - 1}
    assert len(touches) == 2 * len(size), "rectangles never reach the border"
    for axis, side in enumerate(size):
        lengths = {row[axis] for row in sides}
        assert round(shortest * side) <= min(lengths) < max(lengths) <= round(longest * side)


def test_rectangles_at_the_ends_of_their_ranges():
    assert masks.random_rectangles((2, 1, 8, 8), 0).all()
    assert not masks.random_rectangles((2, 1, 8, 8), 1, (1.0, 1.0)).any()
    assert ((~masks.random_rectangles((9, 1, 8, 8), 1, (0.0, 0.0))).sum((1, 2, 3)) == 1).all()


# ------------------------------------------------------------------------------------------------ operations


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float32])
@pytest.mark.parametrize("channels", [1, 2])
def test_apply_selects(dtype, channels):
    mask = some_mask((5, 4), dtype)[:, :channels]
    x = torch.randn(2, 2, 5, 4, generator=seeded(1))
    x[(mask == 0).expand_as(x)] = torch.tensor([NAN, INF])[torch.randint(2, (int((mask == 0).expand_as(x).sum()),))]
    x.requires_grad_()
    for fill in (0.0, -1.5, torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)):
        y = masks.apply(x, mask, fill)
        holes = (mask == 0).expand_as(x)
        assert torch.equal(y[~holes], x[~holes])
        assert torch.equal(y[holes], torch.as_tensor(fill).expand_as(y)[holes])
        (grad,) = torch.autograd.grad((y * y).sum(), x)
        assert torch.equal(grad, torch.where(holes, 0.0, 2 * y.detach()))
    assert masks.apply(x.detach().half(), mask, NAN).dtype == torch.float16
    assert masks.apply(torch.ones(2, 2, 5, 4, dtype=torch.long), mask, -100).dtype == torch.long


def cells(old: int, new: int) -> list[slice]:
    """The old pixels that each new one touches."""
    return [slice(i * old // new, -(-(i + 1) * old // new)) for i in range(new)]


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("old", "new"),
    [((11,), (4,)), ((7, 10), (3, 4)), ((7, 10), (14, 13)), ((7, 10), (7, 1)), ((5, 4, 6), (2, 8, 4))],
)
def test_resize(dtype, old, new):
    mask = some_mask(old, dtype)
    results = {mode: masks.resize(mask, new, mode) for mode in ("nearest", "any", "all")}
    for result in results.values():
        assert result.shape == (2, 2, *new) and result.dtype == dtype
    for index in itertools.product(*[range(side) for side in new]):
        window = mask[(..., *[cells(a, b)[i] for a, b, i in zip(old, new, index)])].flatten(2)
        one = 1 if dtype == torch.uint8 else None
        assert torch.equal(results["any"][(..., *index)], window.amax(2).clamp(max=one) if one else window.amax(2))
        assert torch.equal(results["all"][(..., *index)], window.amin(2).clamp(max=one) if one else window.amin(2))
        centre = [math.floor((i + 0.5) * a / b) for a, b, i in zip(old, new, index)]
        assert torch.equal(results["nearest"][(..., *index)], mask[(..., *centre)])


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_linear_resize_is_soft(rank):
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[rank]
    hard = some_mask(SIZES[rank])
    new = tuple(2 * side - 1 for side in SIZES[rank])
    soft = masks.resize(hard, new, mode)
    expected = torch.nn.functional.interpolate(hard.float(), new, mode=mode)
    assert soft.dtype == torch.float32 and torch.equal(soft, expected)
    assert torch.equal(soft, masks.resize(hard.byte() * 255, new, mode))
    assert masks.resize(hard.bfloat16(), new, mode).dtype == torch.bfloat16


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "any", "all"])
def test_resize_has_gradients_for_soft_masks(mode):
    mask = torch.rand(1, 1, 5, 6, generator=seeded(), dtype=torch.float64).requires_grad_()
    torch.autograd.gradcheck(lambda m: masks.resize(m, (3, 4), mode), mask)


def reached(mask, kernel, extreme, sign):
    """The extreme over the kernel's offsets, pixel by pixel, of what lies within the image."""
    size, result = mask.shape[2:], torch.empty_like(mask)
    offsets = [[i - side // 2 for i, side in zip(index, kernel.shape)] for index in kernel.nonzero().tolist()]
    for position in itertools.product(*[range(side) for side in size]):
        found = []
        for offset in offsets:
            at = [p + sign * o for p, o in zip(position, offset)]
            if all(0 <= a < side for a, side in zip(at, size)):
                found.append(mask[(..., *at)])
        outside = mask.new_full((2, 2), 0 if extreme is torch.amax else (255 if mask.dtype == torch.uint8 else 1))
        result[(..., *position)] = extreme(torch.stack(found), 0) if found else outside
    return result


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float32])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_erode_and_dilate(rank, dtype):
    mask = some_mask(SIZES[rank], dtype)
    lopsided = torch.rand([(3, 5, 1)[axis] for axis in range(rank)], generator=seeded(rank)) < 0.5
    lopsided.view(-1)[0] = True
    for kernel in (lopsided, torch.ones((3,) * rank, dtype=torch.bool)):
        assert torch.equal(masks.dilate(mask, kernel=kernel), reached(mask, kernel, torch.amax, -1))
        assert torch.equal(masks.erode(mask, kernel=kernel), reached(mask, kernel, torch.amin, 1))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_as_scipy(rank):
    ndimage = pytest.importorskip("scipy.ndimage", reason="scipy, the oracle, is not installed")
    mask = some_mask(SIZES[rank])[:1, :1]
    kernel = torch.rand((3,) * rank, generator=seeded(rank)) < 0.5
    kernel[(1,) * rank] = True
    dilated = ndimage.binary_dilation(mask[0, 0].numpy(), kernel.numpy())
    eroded = ndimage.binary_erosion(mask[0, 0].numpy(), kernel.numpy(), border_value=1)
    assert np.array_equal(masks.dilate(mask, kernel=kernel)[0, 0].numpy(), dilated)
    assert np.array_equal(masks.erode(mask, kernel=kernel)[0, 0].numpy(), eroded)


@pytest.mark.parametrize("radius", [0, 1, 1.5, 2.9])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_radius_is_a_ball(rank, radius):
    size = (9,) * rank
    point = torch.zeros(1, 1, *size, dtype=torch.bool)
    point[(0, 0, *[4] * rank)] = True
    distance = sum((torch.arange(9.0) - 4).pow(2).view([-1 if i == a else 1 for i in range(rank)]) for a in range(rank))
    assert torch.equal(masks.dilate(point, radius)[0, 0], distance <= radius**2)
    assert torch.equal(masks.erode(~point, radius), ~masks.dilate(point, radius))


def test_soft_morphology_has_gradients():
    mask = torch.rand(1, 1, 5, 4, generator=seeded(), dtype=torch.float64).requires_grad_()
    torch.autograd.gradcheck(lambda m: masks.dilate(m, 1), mask)
    torch.autograd.gradcheck(lambda m: masks.erode(m, 1.5), mask)


def test_operations_compile():
    def pipeline(x, m):
        m = masks.erode(masks.resize(m, x.shape[2:], "any"), 1)
        return masks.apply(x, m)

    x, m = torch.randn(2, 2, 8, 6), some_mask((3, 4))
    compiled = torch.compile(pipeline, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x, m), pipeline(x, m))


# ------------------------------------------------------------------------------------------------ wrong calls

X, M = torch.zeros(2, 3, 6, 5), torch.ones(2, 1, 6, 5, dtype=torch.bool)
MASK_DTYPES = (
    "needs bool, uint8 or a floating dtype; write mask != 0 for a mask of 0 and 1, mask.float() for a soft mask"
)
DRAWN = "needs (N, M, *S), such as x[:, :1].shape"
ROWS = [
    (masks.from_probability, (X.int(),), TypeError, "p: got torch.int32, needs a floating dtype"),
    (masks.from_probability, (X, 1.0), ValueError, "threshold: got 1.0, needs a number in [0, 1)"),
    (masks.from_probability, ([0.5],), TypeError, "p: got list, needs a Tensor"),
    (masks.from_sentinel, (X, None), TypeError, "value: got None, needs a number"),
    (masks.from_sentinel, (X.byte(), -1), ValueError,
     "value: got -1, needs a number that torch.uint8 holds, the dtype of x"),
    (masks.from_sentinel, (X.long(), NAN), ValueError,
     "value: got nan, needs a number that torch.int64 holds, the dtype of x"),
    (masks.from_sentinel, (X.half(), -99999.0), ValueError,
     "value: got -99999.0, needs a number that torch.float16 holds, the dtype of x"),
    (masks.apply, (X.byte(), M, -100), ValueError,
     "fill: got -100, needs a number that torch.uint8 holds, the dtype of x"),
    (masks.apply, (X.long(), M, 0.5), ValueError,
     "fill: got 0.5, needs a number that torch.int64 holds, the dtype of x"),
    (masks.apply, (X, M, "mean"), TypeError, "fill: got 'mean', needs a number"),
    (masks.from_sentinel, (X, 0, "some"), ValueError, "holes: got 'some', needs one of 'any', 'all', 'each'"),
    (masks.from_sentinel, (X[0, 0], 0), ValueError, "x: got shape (6, 5), needs (N, C, *S)"),
    (masks.from_finite, (None,), TypeError, "x: got NoneType, needs a Tensor"),
    (masks.from_lengths, ([1.5],), TypeError, "lengths: got torch.float32, needs ints"),
    (masks.from_lengths, ("abc",), TypeError, "lengths: got 'abc', needs ints"),
    (masks.from_lengths, ([[1]], 3), ValueError, "lengths: got shape (1, 1), needs (N,)"),
    (masks.from_lengths, ([],), ValueError, "lengths: got none, needs at least one, or max_length"),
    (masks.from_lengths, ([1], 2.0), ValueError, "max_length: got 2.0, needs an int >= 0"),
    (masks.from_lengths, ([1, 4], 3), ValueError, "lengths: got [4] for sample 1, needs 0 to [3]"),
    (masks.from_sizes, ([(1, 2), (-1, 2)], (3, 3)), ValueError, "sizes: got [-1, 2] for sample 1, needs 0 to [3, 3]"),
    (masks.from_sizes, ([1, 2], (3, 3)), ValueError, "sizes: got shape (2,), needs (N, rank)"),
    (masks.from_sizes, ([(1, 2)], (3, 3, 3)), ValueError,
     "size: got (3, 3, 3), needs an int >= 1 or a sequence of 2 of them"),
    (masks.random_strokes, ((1, 1, 8),), ValueError,
     "shape: got (1, 1, 8), needs (N, M, H, W), such as x[:, :1].shape"),
    (masks.random_strokes, ((1, 1, 8, 8), 1.0), ValueError, "coverage: got 1.0, needs a number in [0, 1)"),
    (masks.random_strokes, ((1, 1, 8, 8), 0.5, 7), TypeError, "generator: got int, needs a torch.Generator or None"),
    (masks.random_blocks, (8, 2), ValueError, f"shape: got 8, {DRAWN}"),
    (masks.random_blocks, ((1, 1, 8, 0), 2), ValueError, f"shape: got (1, 1, 8, 0), {DRAWN}"),
    (masks.random_blocks, ((1, 1, 8, 9), 2), ValueError, "patch: got 2, needs divisors of the sizes (8, 9)"),
    (masks.random_blocks, ((1, 1, 8, 8), 2, 1.5), ValueError, "hidden_fraction: got 1.5, needs a number in [0, 1]"),
    (masks.random_rectangles, ((1, 1, 8), -1), ValueError, "count: got -1, needs an int >= 0"),
    (masks.random_rectangles, ((1, 1, 8), 1, 0.5), ValueError,
     "side: got 0.5, needs two numbers, the shortest and the longest"),
    (masks.random_rectangles, ((1, 1, 8), 1, (0.5, 0.1)), ValueError,
     "side: got (0.5, 0.1), needs shares in [0, 1], the shortest first"),
    (masks.apply, (X, None), TypeError, "mask: got NoneType, needs a Tensor"),
    (masks.apply, (X, M.int()), TypeError, f"mask: got torch.int32, {MASK_DTYPES}"),
    (masks.apply, (X, M[..., :4]), ValueError,
     "mask: got shape (2, 1, 6, 4) for input (2, 3, 6, 5), needs (1 or 2, 1 or 3, 6, 5)"),
    (masks.apply, (X, M.to("meta")), ValueError, "mask: got device meta, needs cpu, the device of x"),
    (masks.resize, (M, 0), ValueError, "size: got 0, needs an int >= 1 or a sequence of 2 of them"),
    (masks.resize, (M, 3, "linear"), ValueError,
     "mode: got 'linear', needs one of 'nearest', 'bilinear', 'any', 'all'"),
    (masks.resize, (M[:, :, None, None], 3), ValueError,
     "mask: got shape (2, 1, 1, 1, 6, 5), needs 1 to 3 spatial axes"),
    (masks.resize, (M[..., :0], 3), ValueError, "mask: got shape (2, 1, 6, 0), needs spatial axes of 1 or more"),
    (masks.dilate, (M,), ValueError, "radius, kernel: got neither, needs one of them"),
    (masks.dilate, (M, -1), ValueError, "radius: got -1, needs a number >= 0"),
    (masks.erode, (M, NAN), ValueError, "radius: got nan, needs a number >= 0"),
    (masks.erode, (M.int(), 1), TypeError, f"mask: got torch.int32, {MASK_DTYPES}"),
]  # fmt: skip


@pytest.mark.parametrize(("function", "arguments", "error", "message"), ROWS)
def test_wrong_call(function, arguments, error, message):
    with pytest.raises(error) as caught:
        function(*arguments)
    assert str(caught.value) == f"{function.__name__}: {message}"


def test_wrong_kernels():
    with pytest.raises(TypeError, match=r"^erode: kernel: got torch.float32, needs a bool tensor"):
        masks.erode(M, kernel=torch.ones(3, 3))
    even = r"^dilate: kernel: got shape \(2, 3\), needs 2 axes of odd size, and one True or more"
    with pytest.raises(ValueError, match=even):
        masks.dilate(M, kernel=torch.ones(2, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match="one True or more"):
        masks.dilate(M, kernel=torch.zeros(3, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match="got both"):
        masks.dilate(M, 1, kernel=torch.ones(3, 3, dtype=torch.bool))
