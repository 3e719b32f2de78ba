"""Functions of maps: pooling, convolution with a computed weight, interpolation, statistics."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import fx

from .. import nn as masked
from ..nn.conv import conv_by_rule
from ..nn.linear import linear_over_positions
from . import operations
from .layers import OF_THE_BATCH, check_interpolation, check_output_size, conv_options
from .report import Unconvertible
from .values import Value, values_in

if TYPE_CHECKING:
    from .lowering import Lowering

Handler = Callable[["Lowering", fx.Node, str, tuple[Any, ...], dict[str, Any]], Any]
POOLS: dict[str, Callable[..., Any]] = {"max_pool": masked.masked_max_pool, "avg_pool": masked.masked_avg_pool}
ADAPTIVE = {
    "adaptive_max_pool": masked.masked_adaptive_max_pool,
    "adaptive_avg_pool": masked.masked_adaptive_avg_pool,
}


def reduce(lowering: Lowering, node: fx.Node, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if not args or not isinstance(args[0], Value):
        raise Unconvertible(f"{name} of what is not its first argument has no masked form")
    value = args[0]
    names = ("p", "dim", "keepdim", "dtype") if name == "norm" else ("dim", "keepdim")
    given = {**dict(zip(names, args[1:])), **kwargs}
    if "axis" in given:
        given["dim"] = given.pop("axis")
    dim = given.get("dim")
    if dim is not None and not isinstance(dim, int) and not all(isinstance(d, int) for d in dim):
        raise Unconvertible(f"{name} along computed dimensions has no masked form")
    if name == "norm" and (dim is None or given.get("p", 2) not in (2, "fro")):
        raise Unconvertible("only the 2-norm along given dimensions has a masked form")
    given.pop("p", None)
    result = lowering.pair(operations.reduce, name, value.x, value.mask, **given)
    rank = value.rank
    if rank is not None and not given.get("keepdim", False):
        rank = 0 if dim is None else rank - (1 if isinstance(dim, int) else len(dim))
    if rank is not None and rank <= 2:
        lowering.leaves(name)
        return result[0]
    return lowering.value(result, like=value, rank=rank, channel=value.channel if rank == value.rank else 1)


def convolve(lowering: Lowering, node: fx.Node, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """F.conv2d and its like, transposed ones too, with a weight that the forward computes."""
    transposed = name.startswith("conv_transpose")
    names = ["input", "weight", "bias", "stride", "padding", "dilation", "groups"]
    if transposed:
        names[5:] = ["output_padding", "groups", "dilation"]
    given = {"bias": None, **dict(zip(names, args)), **kwargs}
    value, weight = given.pop("input"), given.pop("weight")
    if not isinstance(weight, fx.Node) or values_in(given):
        raise Unconvertible(f"{name} with a masked weight or bias has no masked form")
    result = lowering.pair(
        masked.masked_conv_transpose if transposed else conv_by_rule, value.x, value.mask, weight, **given,
        fill=0.0, **conv_options(lowering.options, transposed),
    )  # fmt: skip
    mask = lowering.call(operations.spread_like, result[1], result[0])
    return lowering.value((result[0], mask), like=value)


def pool(lowering: Lowering, node: fx.Node, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    function = POOLS[name[:-2]]
    signature = list(inspect.signature(function).parameters)
    names = ["input", *signature[2 : signature.index("mask_update")]]
    given = {**dict(zip(names, args)), **kwargs}
    if given.pop("return_indices", False):
        raise Unconvertible("return_indices=True: indices have no masked form")
    value = given.pop("input")
    if function is masked.masked_avg_pool:
        given.setdefault("count_include_pad", True)
        if lowering.options.inside and given["count_include_pad"] and given.get("padding", 0) not in (0, (0, 0)):
            raise Unconvertible(f"the divisor of windows with padding {OF_THE_BATCH}")
    result = lowering.pair(function, value.x, value.mask, **given, mask_update=lowering.options.resampling)
    return lowering.value(result, like=value)


def adaptive_pool(lowering: Lowering, node: fx.Node, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    given = {**dict(zip(("input", "output_size", "return_indices"), args)), **kwargs}
    if given.pop("return_indices", False):
        raise Unconvertible("return_indices=True: indices have no masked form")
    value = given.pop("input")
    check_output_size(given["output_size"], lowering.options)
    return lowering.value(lowering.pair(ADAPTIVE[name[:-2]], value.x, value.mask, **given), like=value)


def interpolate(lowering: Lowering, node: fx.Node, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    names = ("input", "size", "scale_factor", "mode", "align_corners", "recompute_scale_factor", "antialias")
    given = {**dict(zip(names, args)), **kwargs}
    check_interpolation(
        given.get("mode", "nearest"), given.get("align_corners"), lowering.options, bool(given.pop("antialias", False))
    )
    value = given.pop("input")
    result = lowering.pair(
        masked.masked_upsample, value.x, value.mask, **given, mask_update=lowering.options.resampling
    )
    return lowering.value(result, like=value)


def pad(lowering: Lowering, node: fx.Node, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    given = {**dict(zip(("input", "pad", "mode", "value"), args)), **kwargs}
    value = given.pop("input")
    inside = lowering.options.inside
    if inside and given.get("mode", "constant") != "constant":
        raise Unconvertible(f"padding by copies {OF_THE_BATCH}")
    if inside and given.get("value"):
        raise Unconvertible(f"padding with {given['value']!r} {OF_THE_BATCH}")
    result = lowering.pair(
        operations.pad, value.x, value.mask, **given, pad_is_valid=lowering.options.pad_is_valid, inside=inside
    )
    return lowering.value(result, like=value)


def linear(lowering: Lowering, node: fx.Node, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    given = {**dict(zip(("input", "weight", "bias"), args)), **kwargs}
    value = given.pop("input")
    if not isinstance(value, Value) or values_in(given):
        raise Unconvertible("linear with a masked weight has no masked form")
    return lowering.value(lowering.pair(linear_over_positions, value.x, value.mask, **given), like=value)


def softmax(lowering: Lowering, node: fx.Node, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    given = {**dict(zip(("input", "dim"), args)), **kwargs}
    value = given.pop("input")
    given.pop("_stacklevel", None)
    if given.get("dim") is None:
        raise Unconvertible(f"{name} along no given dimension has no masked form")
    return lowering.value(lowering.pair(operations.softmax, name, value.x, value.mask, **given), like=value)


def _norm(function: Callable[..., Any], *names: str) -> Handler:
    def handler(lowering: Lowering, node: fx.Node, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = {**dict(zip(names, args)), **kwargs}
        value = given.pop("input")
        given = {key: given[key] for key in given if key in names}
        return lowering.value(lowering.pair(function, value.x, value.mask, **given), like=value)

    return handler


def instance_norm(lowering: Lowering, node: fx.Node, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    names = ("input", "running_mean", "running_var", "weight", "bias", "use_input_stats", "momentum", "eps")
    given = {**dict(zip(names, args)), **kwargs}
    if given.get("running_mean") is not None or given.get("use_input_stats", True) is not True:
        raise Unconvertible("instance_norm with running statistics has a masked form as a layer only")
    value = given["input"]
    given = {key: given[key] for key in given if key in ("weight", "bias", "eps")}
    return lowering.value(lowering.pair(operations.instance_norm, value.x, value.mask, **given), like=value)


HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(("mean", "sum", "amax", "amin", "norm"), reduce),
    **{f"{name}{rank}d": convolve for name in ("conv", "conv_transpose") for rank in (1, 2, 3)},
    **{f"{kind}{rank}d": pool for kind in POOLS for rank in (1, 2, 3)},
    **{f"{kind}{rank}d": adaptive_pool for kind in ADAPTIVE for rank in (1, 2, 3)},
    "interpolate": interpolate,
    "pad": pad,
    "linear": linear,
    "softmax": softmax,
    "log_softmax": softmax,
    "layer_norm": _norm(operations.layer_norm, "input", "normalized_shape", "weight", "bias", "eps"),
    "group_norm": _norm(operations.group_norm, "input", "num_groups", "weight", "bias", "eps"),
    "instance_norm": instance_norm,
    "batch_norm": _norm(
        operations.batch_norm, "input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"
    ),
}
