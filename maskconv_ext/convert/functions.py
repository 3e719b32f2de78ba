"""Operations in a forward and how each treats a mask: by name, shared by functions of torch and methods of tensors."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import fx
from torch.fx.node import _get_qualified_name

from .. import nn as masked
from ..nn.conv import conv_by_rule
from . import operations
from .layers import OF_THE_BATCH, check_interpolation, check_output_size
from .report import Unconvertible
from .values import Value, replace_values, values_in

if TYPE_CHECKING:
    from .lowering import Lowering

Handler = Callable[["Lowering", fx.Node, str, tuple[Any, ...], dict[str, Any]], Any]

# Of one masked tensor, and any numbers and plain tensors. 0 stays 0 where the others are finite:
KEEP_ZERO = frozenset(
    "relu relu6 leaky_relu rrelu prelu elu selu celu gelu silu mish hardswish tanh softsign softshrink hardshrink "
    "tanhshrink abs neg square sign round floor ceil sin sinh atan mul multiply dropout dropout1d dropout2d dropout3d "
    "feature_dropout clone contiguous detach to type type_as float double half bfloat16 positive".split()
)
OTHER_ELEMENTWISE = frozenset(
    "sigmoid hardsigmoid logsigmoid softplus threshold hardtanh clamp clip clamp_min clamp_max exp cos cosh add sub "
    "rsub addcmul lerp maximum minimum alpha_dropout feature_alpha_dropout sigmoid_ gt ge lt le eq ne erf".split()
)
# No derivative at 0, so their holes are 1 before.
FILLED_WITH_ONE = frozenset("sqrt rsqrt log log2 log10 log1p reciprocal pow div truediv divide".split())
MOVING = frozenset(
    "permute transpose swapaxes swapdims movedim reshape view flatten unflatten squeeze unsqueeze chunk split narrow "
    "roll flip expand repeat tile pixel_shuffle pixel_unshuffle channel_shuffle getitem".split()
)
# Tell of a tensor's shape and type, not of its values.
METADATA = frozenset(
    "size dim ndimension numel getattr is_floating_point is_contiguous stride new_zeros new_ones new_empty new_full "
    "zeros_like ones_like empty_like full_like rand_like randn_like get_device".split()
)
OF_ITS_SIZE = frozenset("expand_as view_as reshape_as".split())  # of the second argument's, which may have a mask
ATTRIBUTES = frozenset("shape dtype device ndim requires_grad is_cuda layout".split())
ALIASES = {
    "iadd": "add", "isub": "sub", "imul": "mul", "itruediv": "truediv", "subtract": "sub", "concat": "cat",
    "concatenate": "cat", "swapdims": "transpose", "swapaxes": "transpose", "divide": "div", "multiply": "mul",
    "upsample": "interpolate", "absolute": "abs", "negative": "neg", "ipow": "pow",
}  # fmt: skip
MODULES = ("torch.", "_operator.", "math.")
POOLS: dict[str, Callable[..., Any]] = {"max_pool": masked.masked_max_pool, "avg_pool": masked.masked_avg_pool}
ADAPTIVE = {
    "adaptive_max_pool": masked.masked_adaptive_max_pool,
    "adaptive_avg_pool": masked.masked_adaptive_avg_pool,
}


def operation_of(node: fx.Node) -> tuple[str, bool]:
    """The name of a function or method, and whether it writes its first argument."""
    if node.op == "call_method":
        name = str(node.target)
    else:
        qualified = _get_qualified_name(node.target)  # type: ignore[arg-type]
        if "." in qualified and not qualified.startswith(MODULES):
            raise Unconvertible(f"no masked form of {qualified} is known")
        name = node.target.__name__  # type: ignore[union-attr]
    writes = name in ("iadd", "isub", "imul", "itruediv", "ipow") or bool(node.kwargs.get("inplace"))
    if name.endswith("_") and not name.endswith("__"):
        name, writes = name[:-1], True
    name = name.lstrip("_") if name.startswith("_") else name
    return ALIASES.get(name, name), writes


def lower(lowering: Lowering, node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The masked form of a call; raises Unconvertible."""
    name, writes = operation_of(node)
    values = values_in(args, kwargs)
    kwargs = {key: value for key, value in kwargs.items() if key != "inplace"}
    if name == "getattr" and args[1] not in ATTRIBUTES:
        raise Unconvertible(f"no masked form of the attribute {args[1]} is known")
    if name in METADATA or (name in OF_ITS_SIZE and args[0] not in values):
        return lowering.plain_call(node, args, kwargs)
    result: Any = None
    if name in HANDLERS:
        result = HANDLERS[name](lowering, node, name, args, kwargs)
    elif len(values) == 1 and name in KEEP_ZERO | OTHER_ELEMENTWISE | FILLED_WITH_ONE:
        result = elementwise(lowering, node, name, args, kwargs)
    elif len(values) == 2 and not kwargs and name in ("mul", "div", "truediv", "maximum", "minimum", "pow"):
        result = product(lowering, node, name, args)
    elif name in MOVING and len(values) == 1 and args and args[0] is values[0]:
        result = move(lowering, name, args, kwargs)
    if result is None:
        raise Unconvertible(f"no masked form of {name} is known")
    if writes:
        lowering.written(node, result)
    return result


def elementwise(lowering: Lowering, node: fx.Node, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Value:
    (value,) = values_in(args, kwargs)
    # A masked numerator stays 0, a denominator is 1 in the holes.
    keeps = name in KEEP_ZERO or (name in ("div", "truediv") and args[0] is value)
    fill_one = name in FILLED_WITH_ONE and not keeps
    x = lowering.call(operations.select_or_one, value.x, value.mask) if fill_one else lowering.clean(value).x
    y = lowering.again(node, name, *replace_values((args, kwargs), lambda _: x))
    if not keeps:
        y = lowering.call(operations.select, y, value.mask)
    return lowering.changed(value, y)


def product(lowering: Lowering, node: fx.Node, name: str, args: tuple[Any, ...]) -> Value:
    name = "div" if name == "truediv" else name
    module = masked.MaskedMul() if name == "mul" else operations.Pairwise(name)
    return lowering.operation(node, name, module, args)


def add(lowering: Lowering, node: fx.Node, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    values = values_in(args, kwargs)
    if len(values) == 1:
        return elementwise(lowering, node, name, args, kwargs)
    if len(args) != 2 or len(values) != 2 or not set(kwargs) <= {"alpha"}:
        raise Unconvertible(f"{name} of {len(args)} tensors with {sorted(kwargs)} has no masked form")
    first, second = args
    factor = kwargs.get("alpha", 1)
    if name == "sub" or factor != 1:
        factor = -factor if name == "sub" else factor
        second = lowering.clean(second)
        second = lowering.changed(second, lowering.call(torch.mul, second.x, factor))
    return lowering.operation(node, name, operations.Add(lowering.options.residual), (first, second))


def cat(lowering: Lowering, node: fx.Node, name: str, tensors: Any, dim: Any = 0) -> Value:
    values = values_in(tensors)
    if not isinstance(tensors, list | tuple) or not isinstance(dim, int):
        raise Unconvertible("cat of what is no list, or along a dimension that is computed, has no masked form")
    xs = [tensor.x if isinstance(tensor, Value) else tensor for tensor in tensors]
    masks = [tensor.mask if isinstance(tensor, Value) else None for tensor in tensors]
    result = lowering.pair(operations.concatenate, xs, masks, dim)
    return lowering.value(result, like=values[0], clean=all(value.clean for value in values))


def stack(lowering: Lowering, node: fx.Node, name: str, tensors: Any, dim: Any = 0) -> Value:
    if len(values_in(tensors)) != len(tensors):
        raise Unconvertible("stack of tensors some of which have no mask has no masked form")
    moved = [lowering.pair(operations.follow, "unsqueeze", value.x, value.mask, dim) for value in tensors]
    result = lowering.pair(operations.concatenate, [x for x, _ in moved], [mask for _, mask in moved], dim)
    rank = None if tensors[0].rank is None else tensors[0].rank + 1
    return lowering.value(result, like=tensors[0], rank=rank, channel=1, clean=all(value.clean for value in tensors))


def _move_rank(name: str, value: Value, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int | None, int]:
    """Dimensions after the operation, and where the channels are."""
    rank, channel = value.rank, value.channel
    if rank is None:
        return None, channel
    sizes = args[0] if len(args) == 1 and isinstance(args[0], list | tuple) else args
    if name == "permute" and all(isinstance(d, int) for d in sizes) and len(sizes) == rank:
        return rank, [d % rank for d in sizes].index(channel % rank)
    if name == "transpose":
        pair = [d % rank for d in (*args, *kwargs.values())]
        at = channel % rank
        return rank, pair[1 - pair.index(at)] if at in pair else at
    if name == "movedim" and all(isinstance(d, int) for d in args) and len(args) == 2:
        order = [d for d in range(rank) if d != args[0] % rank]
        order.insert(args[1] % rank, args[0] % rank)
        return rank, order.index(channel % rank)
    if name in ("reshape", "view"):
        return (len(sizes), 1) if len(sizes) > 1 or isinstance(sizes, list | tuple) else (None, 1)
    if name == "flatten":
        given = {"start_dim": 0, "end_dim": -1, **dict(zip(("start_dim", "end_dim"), args)), **kwargs}
        start, end = given["start_dim"], given["end_dim"]
        after = rank - (end % rank - start % rank)
        return after, channel if start % rank > channel else 1
    if name == "unflatten":
        size = kwargs.get("sizes", args[1] if len(args) > 1 else ())
        return (rank + len(size) - 1, 1) if isinstance(size, list | tuple) else (None, 1)
    if name == "unsqueeze":
        return rank + 1, 1
    if name == "squeeze":
        dims = args[0] if args else kwargs.get("dim")
        return (None, 1) if dims is None else (rank - (1 if isinstance(dims, int) else len(dims)), 1)
    if name == "getitem":
        index = args[0] if isinstance(args[0], tuple) else (args[0],)
        return rank - sum(isinstance(i, int | fx.Node) for i in index) + sum(i is None for i in index), channel
    return rank, channel


def move(lowering: Lowering, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    value, *rest = args
    if value.many:
        if name != "getitem":
            raise Unconvertible(f"{name} of a list of tensors has no masked form")
        x, mask = (lowering.call(operator.getitem, part, rest[0]) for part in (value.x, value.mask))
        return lowering.value((x, mask), like=value, many=not isinstance(rest[0], int | fx.Node))
    rank, channel = _move_rank(name, value, tuple(rest), kwargs)
    if rank is not None and rank <= 2:
        # What has a row a sample and no positions is features: there is nothing left to be missing.
        x = lowering.clean(value).x
        lowering.leaves(name)
        if name in ("getitem", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle"):
            return lowering.call(operations.plain_move, name, x, *rest, **kwargs)
        return lowering.method(name, x, *rest, **kwargs)
    result = lowering.pair(operations.follow, name, value.x, value.mask, *rest, **kwargs)
    return lowering.value(
        result, like=value, rank=rank, channel=channel, many=name in ("chunk", "split"), clean=value.clean
    )


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
    """F.conv2d with a weight that the forward computes."""
    names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    given = {"bias": None, **dict(zip(names, args)), **kwargs}
    value, weight = given.pop("input"), given.pop("weight")
    if not isinstance(weight, fx.Node) or values_in(given):
        raise Unconvertible(f"{name} with a masked weight or bias has no masked form")
    options = lowering.options
    result = lowering.pair(
        conv_by_rule, value.x, value.mask, weight, **given,
        normalization=options.normalization, mask_update=options.mask_update, fill=options.fill,
        pad_is_valid=options.pad_is_valid,
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
    result = lowering.pair(
        operations.pad, value.x, value.mask, **given, pad_is_valid=lowering.options.pad_is_valid, inside=inside
    )
    return lowering.value(result, like=value)


def linear(lowering: Lowering, node: fx.Node, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    given = {**dict(zip(("input", "weight", "bias"), args)), **kwargs}
    value = given.pop("input")
    if not isinstance(value, Value) or values_in(given):
        raise Unconvertible("linear with a masked weight has no masked form")
    return lowering.value(lowering.pair(operations.linear, value.x, value.mask, **given), like=value)


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


def _spread(function: Callable[..., Value]) -> Handler:
    """A handler of a function that takes its arguments by their names."""
    return lambda lowering, node, name, args, kwargs: function(lowering, node, name, *args, **kwargs)


HANDLERS: dict[str, Handler] = {
    "add": add,
    "sub": add,
    "cat": _spread(cat),
    "stack": _spread(stack),
    **dict.fromkeys(("mean", "sum", "amax", "amin", "norm"), reduce),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), convolve),
    **{f"{kind}{rank}d": pool for kind in POOLS for rank in (1, 2, 3)},
    **{f"{kind}{rank}d": adaptive_pool for kind in ADAPTIVE for rank in (1, 2, 3)},
    "interpolate": interpolate,
    "pad": pad,
    "linear": linear,
    "softmax": softmax,
    "log_softmax": softmax,
    "layer_norm": _norm(operations.layer_norm, "input", "normalized_shape", "weight", "bias", "eps"),
    "group_norm": _norm(operations.group_norm, "input", "num_groups", "weight", "bias", "eps"),
    "batch_norm": _norm(
        operations.batch_norm, "input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"
    ),
}
