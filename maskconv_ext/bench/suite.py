"""The layers that are measured, and the cases, layer by mask, that a run is made of."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from fnmatch import fnmatchcase

from . import BenchError
from .masks import Mask, parse_mask, takes

# What is timed, in matrix products of the forward's size.
PRODUCTS = {"forward": 1, "backward": 2, "both": 3}
BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}
R50_CPU_BATCH = 8  # on a CPU; every other layer runs one image
HALVED_ON_CPU = ("det_pad",)
HALF_PRECISION = ("float16", "bfloat16")
# Cases that show every kernel family once or twice; patterns over case names.
QUICK = (
    "pconv_enc1/*", "pconv_enc3/ones", "pconv_dec4/strokes25", "r50_56/*", "r50_1x1/ones", "sic_2/*", "convnext_dw/*",
    "asr_pw/lengths", "vol_96/blob", "anchor/ones",
)  # fmt: skip
# normalization and mask_update of the method a mask is known from; the others: partial convolution.
SUBMANIFOLD = ("none", "center")
SPARSITY_INVARIANT = ("mean", "any")
NORMALIZED = ("weight", "any")
RULES = {
    "spark": SUBMANIFOLD,
    "blob": SUBMANIFOLD,
    "bad_pixels": NORMALIZED,
    "lidar": SPARSITY_INVARIANT,
    "after_sic_1": SPARSITY_INVARIANT,
}
PARTIAL = ("ratio", "any")


@dataclasses.dataclass(frozen=True)
class Layer:
    """A convolution of odd kernel with padding R // 2, and the masks it meets in practice."""

    id: str
    batch: int
    channels: int
    filters: int
    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: int = 1
    masks: tuple[str, ...] = ("ones",)
    groups: int = 1
    parts: tuple[int, ...] = ()  # channels under each mask where inputs with masks of their own are concatenated
    dtype: str = "bfloat16"

    @property
    def rank(self) -> int:
        return len(self.size)

    @property
    def padding(self) -> tuple[int, ...]:
        return tuple(kernel // 2 for kernel in self.kernel)

    @property
    def output_size(self) -> tuple[int, ...]:
        return tuple((size - 1) // self.stride + 1 for size in self.size)

    @property
    def taps(self) -> int:
        return math.prod(self.kernel)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        return (self.filters, self.channels // self.groups, *self.kernel)

    def flops(self, direction: str = "forward") -> int:
        """Of the dense convolution; each of both gradients costs what the forward pass costs."""
        rows = self.batch * math.prod(self.output_size)
        return 2 * rows * math.prod(self.weight_shape) * PRODUCTS[direction]

    def bytes(self, dtype: str, direction: str = "forward") -> int:
        """Each tensor moved once, masks at a byte a position; backward reads x, w, grad_y, writes grad_x, grad_w."""
        positions, rows = self.batch * math.prod(self.size), self.batch * math.prod(self.output_size)
        x, y, w = positions * self.channels, rows * self.filters, math.prod(self.weight_shape)
        forward = (x + y + w) * BYTES[dtype] + positions + rows
        backward = (2 * x + y + 2 * w) * BYTES[dtype] + positions + rows
        return {"forward": forward, "backward": backward, "both": forward + backward}[direction]

    def cpu_scaled(self) -> Layer:
        batch = min(self.batch, R50_CPU_BATCH) if self.id.startswith("r50_") else 1
        size = tuple(s // 2 for s in self.size) if self.id in HALVED_ON_CPU else self.size
        return dataclasses.replace(self, batch=batch, size=size)

    def describe(self) -> str:
        """N, C→K, H×W, R×S, stride: as the table of the suite writes it."""
        text = f"{self.batch}, {self.channels}→{self.filters}, {'×'.join(map(str, self.size))}, "
        text += "×".join(map(str, self.kernel))
        text += f" s{self.stride}" if self.stride > 1 else ""
        return text + (f" groups {self.groups}" if self.groups > 1 else "")


def _square(id: str, n: int, c: int, k: int, size: int, r: int, *masks: str, **more: object) -> Layer:
    return Layer(id, n, c, k, (size, size), (r, r), masks=masks, **more)  # type: ignore[arg-type]


KITTI = (352, 1216)  # depth maps completed from LiDAR

SUITE = (
    # A partial-convolution U-Net; holes shrink from layer to layer.
    _square("pconv_enc1", 8, 3, 64, 512, 7, "strokes50", stride=2),
    _square("pconv_enc2", 8, 64, 128, 256, 5, "strokes25", stride=2),
    _square("pconv_enc3", 8, 128, 256, 128, 5, "strokes25", stride=2),
    _square("pconv_enc4", 8, 256, 512, 64, 3, "strokes25", stride=2),
    _square("pconv_enc8", 8, 512, 512, 4, 3, stride=2),
    _square("pconv_dec6", 8, 192, 64, 256, 3, "strokes25", parts=(128, 64)),
    _square("pconv_dec4", 8, 768, 256, 64, 3, "strokes25", parts=(512, 256)),
    _square("pconv_dec1", 8, 67, 3, 512, 3, "strokes25", parts=(64, 3)),
    # ResNet-50: batches of padded images, and masked image modelling.
    _square("r50_stem", 256, 3, 64, 224, 7, "rectangles", stride=2),
    _square("r50_56", 256, 64, 64, 56, 3, "rectangles", "spark"),
    _square("r50_28s2", 256, 128, 128, 56, 3, "rectangles", "spark", stride=2),
    _square("r50_14", 256, 256, 256, 14, 3, "spark"),
    _square("r50_7", 256, 512, 512, 7, 3, "spark"),
    _square("r50_1x1", 256, 256, 64, 56, 1, "spark"),
    # Sparsity-invariant depth completion.
    Layer("sic_1", 8, 1, 16, KITTI, (11, 11), masks=("lidar",), dtype="float32"),
    Layer("sic_2", 8, 16, 16, KITTI, (7, 7), masks=("after_sic_1",), dtype="float32"),
    _square("convnext_dw", 128, 96, 96, 56, 7, "spark", groups=96),
    Layer("det_pad", 16, 256, 256, (200, 304), (3, 3), masks=("rectangles",)),
    # Speech, in batches of unequal lengths.
    Layer("asr_dw33", 32, 256, 256, (1000,), (33,), masks=("lengths",), groups=256),
    Layer("asr_dw87", 32, 512, 512, (1000,), (87,), masks=("lengths",), groups=512),
    Layer("asr_pw", 32, 512, 512, (1000,), (1,), masks=("lengths",)),
    # An image with bad pixels, smoothed or matched with a point-spread function: what astropy does on one core.
    _square("astro_psf", 1, 1, 1, 1024, 15, "bad_pixels", dtype="float64"),
    Layer("vol_96", 2, 32, 32, (96, 96, 96), (3, 3, 3), masks=("blob",)),
    _square("anchor", 1, 256, 512, 112, 3, dtype="float16"),
)


@dataclasses.dataclass(frozen=True)
class Case:
    """One line of the report: a layer under a mask."""

    layer: Layer
    mask: Mask
    dtype: str
    normalization: str
    mask_update: str | float

    @property
    def name(self) -> str:
        return f"{self.layer.id}/{self.mask.name}"


def plan(
    layers: Sequence[Layer],
    patterns: Sequence[str],
    masks: Sequence[str] = (),
    dtypes: Sequence[str] = (),
    mask_update: str | float | None = None,
    cpu_scale: bool = False,
    rule_of: str | None = None,
    every_pattern: bool = True,
) -> list[Case]:
    """Every layer with all-ones and with its own masks, or with `masks` alone, where id or case name fits a pattern.

    In each of `dtypes`, one after the other; without, in the layer's. `rule_of` is the kind of mask whose rule all
    cases take, instead of each its own's. A pattern that no case fits is refused; without `every_pattern` only where
    none fits any.
    """
    cases = []
    for dtype, full in itertools.product(dtypes or (None,), layers):
        layer = full.cpu_scaled() if cpu_scale else full
        for mask in map(parse_mask, dict.fromkeys(masks or ("ones", *layer.masks))):
            normalization, rule = RULES.get(rule_of or mask.kind, PARTIAL)
            rule_used = rule if mask_update is None else mask_update
            if takes(mask, layer.rank):
                cases.append(Case(layer, mask, dtype or layer.dtype, normalization, rule_used))
    chosen = [case for case in cases if any(_fits(case, pattern) for pattern in patterns)]
    unknown = [pattern for pattern in patterns if not any(_fits(case, pattern) for case in chosen)]
    if not chosen or (every_pattern and unknown):
        under = f" under --mask {' '.join(masks)}, on layers of as many dimensions" if masks else ""
        known = ", ".join(layer.id for layer in layers)
        raise BenchError(f"--suite {' '.join(unknown)}: no such case{under}; layers: {known}")
    return chosen


def _fits(case: Case, pattern: str) -> bool:
    return any(fnmatchcase(text, pattern) for text in (case.layer.id, case.name))
