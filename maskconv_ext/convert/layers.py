"""Layers and their masked forms: which module of maskconv_ext.nn stands for which of torch.nn, torchvision and timm."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.instancenorm import _InstanceNorm

from .. import nn as masked
from ..nn.containers import _keeps_zero
from .report import Unconvertible
from .structure import adopt, has_own_forward


@dataclasses.dataclass(frozen=True)
class Options:
    """How the masked layers of a model deal with masks: as the options of `convert`."""

    normalization: str
    mask_update: str | float
    pad_is_valid: bool
    residual: str

    @property
    def inside(self) -> bool:
        return self.mask_update == "inside"

    @property
    def sums(self) -> str:
        """mask_update of sums."""
        return "all" if self.inside else self.residual

    @property
    def resampling(self) -> str:
        """mask_update of pools and interpolation."""
        return "inside" if self.inside else "any"


# Why a layer cannot give each image of a padded batch what it has alone.
OF_THE_BATCH = "depends on the size of the whole batch, not of each image, which mask_update='inside' asks for"
Rule = Callable[[Any, Options], nn.Module]


def _rank(module: nn.Module) -> int:
    return int(next(base.__name__ for base in type(module).__mro__ if base.__name__[-2:] in ("1d", "2d", "3d"))[-2])


def _class(name: str, module: nn.Module) -> Any:
    return getattr(masked, f"Masked{name}{_rank(module)}d")


def conv_options(options: Options, transposed: bool) -> dict[str, Any]:
    """Those of a convolution, plain or transposed."""
    rules: dict[str, Any] = dict(normalization=options.normalization, mask_update=options.mask_update)
    if not transposed:
        return rules | {"pad_is_valid": options.pad_is_valid}
    if options.normalization == "weight":
        raise Unconvertible("transposed convolutions have no normalization 'weight'")
    # It knows no centre, no fraction and no confidence, and no padding that could be valid.
    if options.mask_update not in ("any", "all", "inside") and not isinstance(options.mask_update, float):
        rules["mask_update"] = "any"
    return rules


def _conv(conv: Any, options: Options) -> nn.Module:
    mask_options = conv_options(options, conv.transposed)
    name = "ConvTranspose" if conv.transposed else "Conv"
    if options.inside and conv.padding_mode != "zeros":
        raise Unconvertible(f"padding_mode {conv.padding_mode!r} {OF_THE_BATCH}")
    try:
        return adopt(_class(name, conv).from_conv(conv, **mask_options), conv)
    except ValueError as error:
        raise Unconvertible(str(error)) from None


def _conv_same(conv: Any, options: Options) -> nn.Module:
    """Padded by TensorFlow's rule."""
    if options.inside and any(step > 1 for step in conv.stride):
        raise Unconvertible(f"its padding {OF_THE_BATCH}")
    layer: Any = _conv(conv, options)
    layer.padding = "same"
    return layer


def _batch_norm(norm: Any, options: Options) -> nn.Module:
    sync = isinstance(norm, nn.SyncBatchNorm)
    cls = masked.MaskedBatchNorm2d if sync else _class("BatchNorm", norm)
    layer = cls(
        norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats, device="meta",
        sync=sync, process_group=norm.process_group if sync else None,
    )  # fmt: skip
    return adopt(layer, norm)


def _instance_norm(norm: Any, options: Options) -> nn.Module:
    return adopt(
        _class("InstanceNorm", norm)(
            norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats, device="meta"
        ),
        norm,
    )


def _group_norm(norm: Any, options: Options) -> nn.Module:
    return adopt(masked.MaskedGroupNorm(norm.num_groups, norm.num_channels, norm.eps, norm.affine, device="meta"), norm)


def _layer_norm(norm: Any, options: Options, channels_first: bool = False) -> nn.Module:
    return adopt(
        masked.MaskedLayerNorm(
            norm.normalized_shape, norm.eps, norm.elementwise_affine, device="meta", channels_first=channels_first
        ),
        norm,
    )


def _layer_norm_2d(norm: Any, options: Options) -> nn.Module:
    return _layer_norm(norm, options, channels_first=True)


def _linear(linear: Any, options: Options) -> nn.Module:
    return adopt(masked.MaskedLinear(linear.in_features, linear.out_features, device="meta"), linear)


def _max_pool(pool: Any, options: Options) -> nn.Module:
    if pool.return_indices:
        raise Unconvertible("return_indices=True: indices have no masked form")
    arguments = (pool.kernel_size, pool.stride, pool.padding, pool.dilation)
    return adopt(_class("MaxPool", pool)(*arguments, ceil_mode=pool.ceil_mode, mask_update=options.resampling), pool)


def _avg_pool(pool: Any, options: Options) -> nn.Module:
    divisor = average_divisor(pool, options)
    return adopt(
        _class("AvgPool", pool)(
            pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode, pool.count_include_pad, divisor,
            mask_update=options.resampling,
        ),
        pool,
    )  # fmt: skip


def average_divisor(pool: Any, options: Options) -> int | None:
    """What an average pool divides by, where holes count like the padding around an image alone."""
    divisor = getattr(pool, "divisor_override", None)
    sides = (pool.padding,) if isinstance(pool.padding, int) else pool.padding
    if divisor is not None or not (options.inside and pool.count_include_pad and any(sides)):
        return divisor
    if pool.ceil_mode or isinstance(pool, nn.AvgPool1d):
        raise Unconvertible(f"the divisor of windows with padding {OF_THE_BATCH}")
    size = pool.kernel_size
    taps = (size,) * _rank(pool) if isinstance(size, int) else tuple(size)
    divisor = 1
    for tap in taps:
        divisor *= tap
    return divisor


def _adaptive_avg_pool(pool: Any, options: Options) -> nn.Module:
    check_output_size(pool.output_size, options)
    return adopt(_class("AdaptiveAvgPool", pool)(pool.output_size), pool)


def _adaptive_max_pool(pool: Any, options: Options) -> nn.Module:
    if pool.return_indices:
        raise Unconvertible("return_indices=True: indices have no masked form")
    check_output_size(pool.output_size, options)
    return adopt(_class("AdaptiveMaxPool", pool)(pool.output_size), pool)


def _upsample(layer: Any, options: Options) -> nn.Module:
    check_interpolation(layer.mode, layer.align_corners, options)
    return adopt(
        masked.MaskedUpsample(
            layer.size, layer.scale_factor, layer.mode, layer.align_corners, layer.recompute_scale_factor,
            mask_update=options.resampling,
        ),
        layer,
    )  # fmt: skip


def check_interpolation(mode: str, align_corners: bool | None, options: Options, antialias: bool = False) -> None:
    if mode in ("bicubic", "area") or antialias:
        what = "antialias=True" if antialias else f"mode {mode!r}"
        raise Unconvertible(f"{what} has no masked form; use nearest, or linear, bilinear or trilinear")
    if options.inside and align_corners:
        raise Unconvertible(f"align_corners=True {OF_THE_BATCH}")


def check_output_size(output_size: Any, options: Options) -> None:
    sizes = output_size if isinstance(output_size, list | tuple) else (output_size,)
    if options.inside and any(size != 1 for size in sizes):
        raise Unconvertible(f"the windows of output size {output_size} {OF_THE_BATCH}")


# The masked form is known for the forward of these classes, and for subclasses that leave it alone.
RULES: dict[type[nn.Module], Rule] = {
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), _conv),
    **dict.fromkeys((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), _conv),
    **dict.fromkeys((_BatchNorm, nn.SyncBatchNorm), _batch_norm),
    _InstanceNorm: _instance_norm,
    nn.GroupNorm: _group_norm,
    nn.LayerNorm: _layer_norm,
    nn.Linear: _linear,
    **dict.fromkeys((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d), _max_pool),
    **dict.fromkeys((nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), _avg_pool),
    **dict.fromkeys((nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d), _adaptive_avg_pool),
    **dict.fromkeys((nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d), _adaptive_max_pool),
    nn.Upsample: _upsample,
}
# Classes of libraries that need not be installed, by name.
NAMED_RULES: dict[str, Rule] = {
    "timm.layers.conv2d_same.Conv2dSame": _conv_same,
    "timm.layers.norm.GroupNorm": _group_norm,
    "timm.layers.norm.GroupNorm1": _group_norm,
    "timm.layers.norm.LayerNorm": _layer_norm,
    "timm.layers.norm.LayerNorm2d": _layer_norm_2d,
    "timm.layers.norm_act.BatchNormAct2d": _batch_norm,
    "timm.layers.norm_act.SyncBatchNormAct": _batch_norm,
    "timm.layers.norm_act.GroupNormAct": _group_norm,
    "timm.layers.norm_act.GroupNorm1Act": _group_norm,
    "timm.layers.norm_act.LayerNormAct": _layer_norm,
    "timm.layers.norm_act.LayerNormAct2d": _layer_norm_2d,
    "torchvision.models.convnext.LayerNorm2d": _layer_norm_2d,
}
# Elementwise modules of theirs that map 0 to 0; the forwards of the first draw numbers of a size told by the input.
NAMED_ELEMENTWISE = frozenset(
    {"timm.layers.drop.DropPath", "torchvision.ops.stochastic_depth.StochasticDepth"}
)  # fmt: skip


def rule_of(module: nn.Module) -> Rule | None:
    """The rule for this module's forward; None where there is none, or it was overridden."""
    if has_own_forward(module):
        return None
    for base in type(module).__mro__:
        if base in RULES or _full_name(base) in NAMED_RULES:
            if _same_computation(type(module), base):
                return RULES.get(base) or NAMED_RULES[_full_name(base)]
            return None
    return None


def is_masked(module: nn.Module) -> bool:
    return type(module).__module__.startswith("maskconv_ext.")


def is_layer(module: nn.Module) -> bool:
    """Whether the module is converted as it is, and not what its forward does."""
    return rule_of(module) is not None or elementwise(module) is not None or is_masked(module)


def children_after(module: nn.Module) -> list[str]:
    """Elementwise children that a normalisation of timm calls on its output."""
    if _full_name(type(module)).startswith("timm.layers.norm_act."):
        return [name for name in ("drop", "act") if getattr(module, name, None) is not None]
    return []


def elementwise(module: nn.Module) -> bool | None:
    """Whether an elementwise module maps 0 to 0; None for one that is not known to be elementwise."""
    if has_own_forward(module):
        return None
    if any(_full_name(base) in NAMED_ELEMENTWISE for base in type(module).__mro__):
        return True
    return _keeps_zero(module)


def _same_computation(cls: Any, base: Any) -> bool:
    names = ("forward", "_conv_forward") if issubclass(base, _ConvNd | _ConvTransposeNd) else ("forward",)
    return all(getattr(cls, name) is getattr(base, name) for name in names if hasattr(base, name))


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
