"""From the graph of a model to that of its masked form."""

from __future__ import annotations

import inspect
import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from . import functions, moving, operations
from .layers import Options, children_after, elementwise, is_layer, is_masked, rule_of
from .report import Conversion, ConversionError, ConversionReport, Problem, Unconvertible
from .tracing import Tracer, has_hooks, module_path
from .values import Value, leaves_of, replace_values, values_in

MASK = "mask"
RANKS = {nn.Conv1d: 3, nn.Conv2d: 4, nn.Conv3d: 5}
OUT_OF_PLACE = {
    "iadd": operator.add, "isub": operator.sub, "imul": operator.mul, "itruediv": operator.truediv, "ipow": operator.pow
}  # fmt: skip
# Modules whose forward is a function of a name that functions.py knows.
AS_FUNCTIONS: dict[type[nn.Module], Any] = {
    nn.Flatten: lambda m: ("flatten", (m.start_dim, m.end_dim)),
    nn.Unflatten: lambda m: ("unflatten", (m.dim, m.unflattened_size)),
    nn.PixelShuffle: lambda m: ("pixel_shuffle", (m.upscale_factor,)),
    nn.PixelUnshuffle: lambda m: ("pixel_unshuffle", (m.downscale_factor,)),
    nn.ChannelShuffle: lambda m: ("channel_shuffle", (m.groups,)),
    nn.Softmax: lambda m: ("softmax", (m.dim,)),
    nn.LogSoftmax: lambda m: ("log_softmax", (m.dim,)),
    nn.Softmax2d: lambda m: ("softmax", (-3,)),
    **{
        getattr(nn, f"{kind}Pad{rank}d"): lambda m, mode=mode: ("pad", (m.padding, mode, getattr(m, "value", None)))
        for kind, mode in (
            ("Zero", "constant"), ("Constant", "constant"), ("Reflection", "reflect"), ("Replication", "replicate"),
            ("Circular", "circular"),
        )
        for rank in (1, 2, 3)
    },
}  # fmt: skip


class Lowering:
    """One forward. Both modes collect `layers`, the masked ones by what they replace, `operations`, the modules of sums
    and products by path, and `inplace`, the elementwise modules that wrote their input.
    """

    def __init__(
        self,
        root: nn.Module,
        tracer: Tracer,
        options: Options,
        report: ConversionReport,
        layers: dict[nn.Module, nn.Module],
        operations: dict[str, nn.Module],
        inplace: set[nn.Module],
    ) -> None:
        self.root, self.tracer, self.options, self.report = root, tracer, options, report
        self.layers, self.operations, self.inplace = layers, operations, inplace
        self.graph = fx.Graph()
        self.env: dict[fx.Node, Any] = {}
        self.name = ""  # of the layer or operation at hand
        self.plain_layers: list[tuple[fx.Node, nn.Module]] = []
        self.taken: set[str] = set()
        self.modules = dict(root.named_modules(remove_duplicate=False))

    def run(self, graph: fx.Graph) -> fx.Graph:
        inputs = [node for node in graph.nodes if node.op == "placeholder"]
        for node in inputs:
            self.env[node] = self.graph.placeholder(node.target)
        mask = self.graph.placeholder(MASK, default_value=None)
        self.env[inputs[0]] = Value(self.env[inputs[0]], mask, self._input_rank(), 1, clean=False)
        for node in graph.nodes:
            if node.op == "output":
                self._output(node)
            elif node.op != "placeholder":
                self.env[node] = self._node(node)
        self._finish_plain_layers()
        return self.graph

    # What rules emit.

    def call(self, function: Any, *args: Any, **kwargs: Any) -> fx.Node:
        return self.graph.call_function(function, args, kwargs)

    def method(self, name: str, *args: Any, **kwargs: Any) -> fx.Node:
        return self.graph.call_method(name, args, kwargs)

    def pair(self, function: Any, *args: Any, **kwargs: Any) -> tuple[fx.Node, fx.Node]:
        """The two results of a function that returns (y, mask)."""
        return self._both(self.call(function, *args, **kwargs))

    def again(self, node: fx.Node, name: str, args: Any, kwargs: Any) -> fx.Node:
        """The call of `node` with other arguments, which it does not write."""
        target: Any = node.target
        if node.op == "call_method":
            return self.graph.call_method(target if target.endswith("__") else target.rstrip("_"), args, kwargs)
        own = target.__name__
        if own in OUT_OF_PLACE:
            target = OUT_OF_PLACE[own]
        elif own.endswith("_"):
            target = getattr(torch, name, None) or getattr(F, name)
        return self.graph.call_function(target, args, kwargs)

    def value(
        self,
        result: tuple[fx.Node, fx.Node],
        like: Value,
        rank: Any = ...,
        channel: int | None = None,
        clean: bool = True,
        many: bool = False,
    ) -> Value:
        return Value(
            *result, like.rank if rank is ... else rank, like.channel if channel is None else channel, clean, many
        )

    def changed(self, value: Value, x: fx.Node) -> Value:
        """Another x beside the same mask, with 0 in its holes."""
        return Value(x, value.mask, value.rank, value.channel, clean=True)

    def clean(self, value: Value) -> Value:
        """With 0 in its holes."""
        if value.clean:
            return value
        if value.many:
            raise Unconvertible("a list of tensors with masks can only be indexed or concatenated")
        return self.changed(value, self.call(operations.select, value.x, value.mask))

    def operation(self, node: fx.Node, name: str, module: nn.Module, values: tuple[Value, ...]) -> Value:
        """A module that takes pairs, registered where the forward is that has this operation."""
        channel = next((value.channel for value in values if value.channel != 1), 1)
        if channel != 1:
            values = tuple(self._channels(value, value.channel, 1) for value in values)
        path = self._register(node, name, module)
        self.report_once(self.name, name, type(module).__name__)
        result = self.graph.call_module(path, tuple((value.x, value.mask) for value in values))
        ranks = [value.rank for value in values if value.rank is not None]
        output = self.value(self._both(result), like=values[0], rank=max(ranks, default=None))
        return self._channels(output, 1, channel) if channel != 1 else output

    def leaves(self, name: str) -> None:
        self.report.leaves.append(self.name) if self.name not in self.report.leaves else None

    def written(self, node: fx.Node, result: Any) -> None:
        """An operation wrote its first argument: who reads that later gets the result."""
        if node.args and isinstance(node.args[0], fx.Node):
            self.env[node.args[0]] = result

    def plain_call(self, node: fx.Node, args: Any, kwargs: Any) -> fx.Node:
        """The call as it is, with the x of each value."""
        args, kwargs = replace_values((args, kwargs), lambda value: value.x)
        return self.graph.create_node(node.op, node.target, args, kwargs, name=node.name)

    def report_once(self, name: str, before: str, after: str) -> None:
        conversion = Conversion(name, before, after)
        if conversion not in self.report.converted:
            self.report.converted.append(conversion)

    # Nodes.

    def _node(self, node: fx.Node) -> Any:
        args, kwargs = self._known((node.args, node.kwargs))
        if kwargs and not args and (first := self._first_parameter(node)) in kwargs:
            args, kwargs = (kwargs[first],), {name: kwargs[name] for name in kwargs if name != first}
        values = values_in(args, kwargs)
        if node.op == "call_module":
            return self._module(node, args, kwargs, values)
        if not values:
            return self.plain_call(node, args, kwargs)
        path = module_path(node)
        try:
            name, _ = functions.operation_of(node)
        except Unconvertible:
            name = getattr(node.target, "__name__", str(node.target))
        self.name = f"{path}.{name}" if path else name
        try:
            result = functions.lower(self, node, args, kwargs)
            if name in functions.HANDLERS and self.name not in (done.name for done in self.report.converted):
                self.report_once(self.name, name, "masked")
            return result
        except Unconvertible as error:
            return self._stays_plain(node, name, str(error), args, kwargs, values)

    def _first_parameter(self, node: fx.Node) -> str:
        called: Any = self.modules[str(node.target)].forward if node.op == "call_module" else node.target
        try:
            first = next(iter(inspect.signature(called).parameters.values()))
        except (TypeError, ValueError, StopIteration):  # a function of torch that is written in C++
            return "input"
        return first.name if first.kind is first.POSITIONAL_OR_KEYWORD else "input"

    def _module(self, node: fx.Node, args: Any, kwargs: Any, values: list[Value]) -> Any:
        self.name = path = str(node.target)
        module = self.modules[path]
        if not values:
            call = self.plain_call(node, args, kwargs)
            self.plain_layers.append((call, module))
            return call
        try:
            if path in self.tracer.opaque:
                raise Unconvertible(self.tracer.opaque[path])
            if any(nn.parameter.is_lazy(parameter) for parameter in module.parameters(recurse=False)):
                raise Unconvertible("it is lazy and has seen no input; call the model once before")
            if has_hooks(module):
                raise Unconvertible("it has forward hooks, which would be handed (x, mask)")
            if len(values) != 1 or not args or args[0] is not values[0] or values[0].many:
                if type(module) not in AS_FUNCTIONS and not is_layer(module):
                    raise Unconvertible(f"no masked form of {type(module).__name__} is known")
                raise Unconvertible("it is called with several tensors that have masks, or not with one first")
            return self._layer(node, module, values[0], args[1:], kwargs)
        except Unconvertible as error:
            return self._stays_plain(node, type(module).__name__, str(error), args, kwargs, values)

    def _layer(self, node: fx.Node, module: nn.Module, value: Value, rest: Any, kwargs: Any) -> Any:
        path = str(node.target)
        if type(module) in AS_FUNCTIONS:
            name, arguments = AS_FUNCTIONS[type(module)](module)
            self.report_once(path, type(module).__name__, name)
            handler = functions.HANDLERS.get(name)
            if handler is not None:
                return handler(self, node, name, (value, *arguments), {})
            return moving.move(self, name, (value, *arguments), {})
        keeps_zero = elementwise(module)
        if keeps_zero is not None:
            x = self.graph.call_module(path, (self.clean(value).x, *rest), kwargs)
            result = self.changed(value, x if keeps_zero else self.call(operations.select, x, value.mask))
            self.report_once(path, type(module).__name__, "elementwise")
            if getattr(module, "inplace", False):
                self.inplace.add(module)
                self.written(node, result)
            return result
        layer = self._masked(module)
        self.report_once(path, type(module).__name__, type(layer).__name__)
        call = self.graph.call_module(path, (value.x, value.mask, *rest), kwargs)
        output = self.value(self.pair(operations.checked, path, call), like=value, rank=self._rank_after(module, value))
        groups = getattr(module, "groups", 1)
        if 1 < groups < getattr(module, "out_channels", 1):
            spread = self.call(operations.spread_like, output.mask, output.x)
            output = self.value((output.x, spread), like=output)
        for child in children_after(module):
            x = self.graph.call_module(f"{path}.{child}", (output.x,))
            output = self.changed(output, self.call(operations.select, x, output.mask))
        return output

    def _masked(self, module: nn.Module) -> nn.Module:
        if module not in self.layers:
            rule = rule_of(module)
            if is_masked(module):
                raise Unconvertible("it takes a mask already; convert the model without it, and put it in afterwards")
            if rule is None:
                raise Unconvertible(f"no masked form of {type(module).__name__} is known")
            self.layers[module] = rule(module, self.options)
        return self.layers[module]

    def _stays_plain(self, node: fx.Node, kind: str, reason: str, args: Any, kwargs: Any, values: list[Value]) -> Value:
        problem = Problem(self.name, kind, reason)
        if problem not in self.report.problems:
            self.report.problems.append(problem)
        if any(value.many for value in values):
            raise ConversionError(f"convert: {problem}; it cannot stay plain, since it is given a list", self.report)
        y = self.plain_call(node, *replace_values((args, kwargs), lambda value: self.clean(value)))
        if node.op == "call_module":
            self.plain_layers.append((y, self.modules[str(node.target)]))
        return self.value(self.pair(operations.carried, self.name, y, values[0].mask), like=values[0])

    def _output(self, node: fx.Node) -> None:
        outputs = self._known(node.args[0])
        self.report.outputs = [isinstance(item, Value) for item in leaves_of(outputs)]
        self.graph.output(replace_values(outputs, lambda value: (self.clean(value).x, value.mask)))

    def _known(self, arguments: Any) -> Any:
        """What stands for the nodes in `arguments`."""
        return fx.node.map_arg(arguments, lambda node: self.env[node])

    def _finish_plain_layers(self) -> None:
        """Layers with a masked form that are called with plain tensors too: without a mask."""
        for node, module in self.plain_layers:
            if module not in self.layers:
                continue
            users = list(node.users)
            with self.graph.inserting_after(node):
                first = self.graph.call_function(operator.getitem, (node, 0))
            for user in users:
                user.replace_input_with(node, first)

    def _both(self, result: fx.Node) -> tuple[fx.Node, fx.Node]:
        return self.call(operator.getitem, result, 0), self.call(operator.getitem, result, 1)

    def _channels(self, value: Value, source: int, to: int) -> Value:
        moved = self.pair(operations.follow, "movedim", value.x, value.mask, source, to)
        return self.value(moved, like=value, channel=to, clean=value.clean)

    def _register(self, node: fx.Node, name: str, module: nn.Module) -> str:
        """The path of `module`, the same in both modes where both have this operation."""
        parent = module_path(node)
        prefix = f"{parent}." if parent else ""
        number = 0
        while True:
            path = f"{prefix}{name}" + (f"_{number}" if number else "")
            known = self.operations.get(path)
            if path not in self.taken and path not in self.modules and (known is None or repr(known) == repr(module)):
                break
            number += 1
        self.taken.add(path)
        self.operations.setdefault(path, module)
        self.name = path
        return path

    def _rank_after(self, module: nn.Module, value: Value) -> int | None:
        return next((rank for kind, rank in RANKS.items() if isinstance(module, kind)), value.rank)

    def _input_rank(self) -> int | None:
        ranks = {rank for module in self.modules.values() for kind, rank in RANKS.items() if isinstance(module, kind)}
        return ranks.pop() if len(ranks) == 1 else None
