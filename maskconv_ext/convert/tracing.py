"""Forwards as graphs: torch.fx, which goes round what it cannot trace instead of giving up the whole model."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import fx, nn

from .structure import has_own_forward


class Tracer(fx.Tracer):
    """Modules for which `is_layer` holds are nodes; so are those whose forward cannot be traced, with the reason."""

    proxy_buffer_attributes = True

    def __init__(self, is_layer: Callable[[nn.Module], bool]) -> None:
        super().__init__()
        self.is_layer = is_layer
        self.opaque: dict[str, str] = {}  # paths of what cannot be traced, and why
        self.traced: set[str] = set()  # paths of the modules whose forwards are in the graph

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if module_qualified_name in self.opaque or self.is_layer(m) or has_hooks(m):
            return True
        return not has_own_forward(m) and super().is_leaf_module(m, module_qualified_name)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        path = self.path_of_module(m)
        nodes, depth = len(self.graph.nodes), len(self.module_stack)
        try:
            result = super().call_module(m, forward, args, kwargs)
        except Exception as error:
            for node in reversed(list(self.graph.nodes)[nodes:]):
                self.graph.erase_node(node)
            while len(self.module_stack) > depth:
                self.module_stack.popitem()
            self.opaque[path] = f"its forward cannot be traced: {reason(error)}"
            return super().call_module(m, forward, args, kwargs)
        if not self.is_leaf_module(m, path):
            self.traced.add(path)
        return result

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        # Without the cache, which would keep nodes that were erased.
        return super().getattr(attr, attr_val, {})


def has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def trace(tracer: Tracer, root: nn.Module) -> fx.Graph:
    """The graph of `root.forward`; arguments with a default are left at it."""
    original = type(root)
    names = required_inputs(root)
    # Tracing reads the signature of the class.
    scope: dict[str, Any] = {"forward": root.forward}
    exec(f"def traced({', '.join(['self', *names])}):\n    return forward({', '.join(names)})", scope)
    root.__class__ = type(original.__name__, (original,), {"forward": scope["traced"], "__module__": __name__})
    try:
        return tracer.trace(root)
    finally:
        root.__class__ = original


def required_inputs(root: nn.Module) -> list[str]:
    parameters = inspect.signature(root.forward).parameters.values()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in parameters if p.default is inspect.Parameter.empty and p.kind in positional]


def module_path(node: fx.Node) -> str:
    """Path of the module whose forward made this node; "" for the model's own."""
    stack = node.meta.get("nn_module_stack") or {}
    return next(reversed(stack.values()))[0] if stack else ""


def reason(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
