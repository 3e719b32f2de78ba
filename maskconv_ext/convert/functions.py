"""Operations in a forward and how each treats a mask: by name, shared by functions of torch and methods of tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import fx
from torch.fx.node import _get_qualified_name

from .. import nn as masked
from . import maps, moving, operations
from .report import Unconvertible
from .values import Value, replace_values, values_in

if TYPE_CHECKING:
    from .lowering import Lowering

Handler = Callable[["Lowering", fx.Node, str, tuple[Any, ...], dict[str, Any]], Any]

# Of one masked tensor, and any numbers and plain tensors. 0 stays 0 where the others are finite:
KEEP_ZERO = frozenset(
    "relu relu6 leaky_relu rrelu prelu elu selu celu gelu silu mish hardswish tanh softsign softshrink hardshrink "
    "tanhshrink abs neg square sign round floor ceil sin sinh atan mul dropout dropout1d dropout2d dropout3d "
    "feature_dropout clone contiguous detach to type type_as float double half bfloat16 positive".split()
)
OTHER_ELEMENTWISE = frozenset(
    "sigmoid hardsigmoid logsigmoid softplus threshold hardtanh clamp clip clamp_min clamp_max exp cos cosh add sub "
    "rsub addcmul lerp maximum minimum alpha_dropout feature_alpha_dropout gt ge lt le eq ne erf".split()
)
# No derivative at 0, so their holes are 1 before.
FILLED_WITH_ONE = frozenset("sqrt rsqrt log log2 log10 log1p reciprocal pow div truediv".split())
MOVING = frozenset(
    "permute transpose movedim reshape reshape_as view view_as flatten unflatten squeeze unsqueeze chunk split narrow "
    "roll flip expand expand_as repeat tile pixel_shuffle pixel_unshuffle channel_shuffle getitem".split()
)
# Tell of a tensor's shape and type, not of its values.
METADATA = frozenset(
    "size dim ndimension numel getattr is_floating_point is_contiguous stride new_zeros new_ones new_empty new_full "
    "zeros_like ones_like empty_like full_like rand_like randn_like get_device".split()
)
LIKE_ANOTHER = frozenset("expand_as view_as reshape_as type_as to".split())  # whose values are not read
ATTRIBUTES = frozenset("shape dtype device ndim requires_grad is_cuda layout".split())
ALIASES = {
    "iadd": "add", "isub": "sub", "imul": "mul", "itruediv": "truediv", "subtract": "sub", "concat": "cat",
    "concatenate": "cat", "swapdims": "transpose", "swapaxes": "transpose", "divide": "div", "multiply": "mul",
    "upsample": "interpolate", "absolute": "abs", "negative": "neg", "ipow": "pow",
}  # fmt: skip
MODULES = ("torch.", "_operator.", "math.")


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
    kwargs = {key: value for key, value in kwargs.items() if key != "inplace"}
    if name in LIKE_ANOTHER:
        args = (args[0], *replace_values(args[1:], lambda value: value.x))
    values = values_in(args, kwargs)
    if name == "getattr" and args[1] not in ATTRIBUTES:
        raise Unconvertible(f"no masked form of the attribute {args[1]} is known")
    if name in METADATA or not values:
        return lowering.plain_call(node, args, kwargs)
    result: Any = None
    if name in HANDLERS:
        result = HANDLERS[name](lowering, node, name, args, kwargs)
    elif len(values) == 1 and name in KEEP_ZERO | OTHER_ELEMENTWISE | FILLED_WITH_ONE:
        result = elementwise(lowering, node, name, args, kwargs)
    elif len(values) == 2 and not kwargs and name in ("mul", "div", "truediv", "maximum", "minimum", "pow"):
        result = product(lowering, node, name, args)
    elif name in MOVING and len(values) == 1 and args and args[0] is values[0]:
        result = moving.move(lowering, name, args, kwargs)
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
    return lowering.operation(node, name, operations.BroadcastingAdd(lowering.options.sums), (first, second))


def _spread(function: Callable[..., Value]) -> Handler:
    """A handler of a function that takes its arguments by their names."""
    return lambda lowering, node, name, args, kwargs: function(lowering, node, name, *args, **kwargs)


HANDLERS: dict[str, Handler] = {
    "add": add,
    "sub": add,
    "cat": _spread(moving.cat),
    "stack": _spread(moving.stack),
    **maps.HANDLERS,
}
