"""Trees of modules: copied around the same tensors, and put back together."""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import nn

# What every module has: registered tensors and modules, hooks, and its mode.
OF_EVERY_MODULE = frozenset(vars(nn.Module()))


def copy_tree(module: nn.Module, copies: dict[nn.Module, nn.Module] | None = None) -> nn.Module:
    """The same tree of modules anew, around the same Parameters and buffers. What is shared in it stays shared."""
    copies = {} if copies is None else copies
    if module in copies:
        return copies[module]
    if isinstance(module, torch.jit.ScriptModule):  # has no attributes of Python to copy
        return copies.setdefault(module, module)
    copied = copies[module] = _copy_one(module)
    for name, child in module._modules.items():
        copied._modules[name] = None if child is None else copy_tree(child, copies)
    return copied


def _copy_one(module: nn.Module) -> nn.Module:
    # Not copy.copy, which modules may forbid that cannot be pickled, such as parametrized ones.
    copied = type(module).__new__(type(module))
    copied.__dict__.update(module.__dict__)
    for name, value in vars(module).items():
        if isinstance(value, MethodType) and value.__self__ is module:  # such as a forward that an option chose
            copied.__dict__[name] = MethodType(value.__func__, copied)
    for name in OF_EVERY_MODULE:
        value = copied.__dict__.get(name)
        if isinstance(value, dict | set):
            copied.__dict__[name] = value.copy()
    return copied


def has_own_forward(module: nn.Module) -> bool:
    """Whether its forward is not that of its class."""
    return "forward" in vars(module)


def rebuild(module: nn.Module, replaced: dict[nn.Module, nn.Module], done: set[nn.Module] | None = None) -> nn.Module:
    """The tree with `replaced[m]` in the place of each `m`, below which stands what stood below `m`."""
    done = set() if done is None else done
    new = replaced.get(module, module)
    if new not in done:
        done.add(new)
        for name, child in module._modules.items():
            new._modules[name] = None if child is None else rebuild(child, replaced, done)
    return new


def adopt(module: nn.Module, original: nn.Module) -> Any:
    """`module` with the tensors, children, hooks and mode of `original`."""
    for name in OF_EVERY_MODULE:
        value = original.__dict__[name]
        module.__dict__[name] = value.copy() if isinstance(value, dict | set) else value
    return module


class Skeleton:
    """A tree of modules without its tensors, for `unconvert`: not a Module, so that no state_dict finds it."""

    def __init__(self, root: nn.Module, converted: nn.Module) -> None:
        self.root = copy_tree(root)
        for module in self.root.modules():
            module._parameters.update(dict.fromkeys(module._parameters))
            module._buffers.update(dict.fromkeys(module._buffers))
        # What a conversion put where: anything else found there later was put by someone else, and stays.
        self.classes = {path: type(module) for path, module in converted.named_modules(remove_duplicate=False)}

    def restore(self, converted: nn.Module) -> nn.Module:
        """The tree with the tensors and modes of `converted`."""
        return self._restored(converted, self.root, "", {})

    def _restored(
        self, current: nn.Module, original: nn.Module | None, path: str, done: dict[nn.Module, nn.Module]
    ) -> nn.Module:
        if current in done:
            return done[current]
        if original is None or type(current) is not self.classes[path]:
            return copy_tree(current, done)
        stayed = type(current) is type(original)
        module = done[current] = _copy_one(current if stayed else original)
        if stayed and hasattr(original, "inplace"):  # activations do not write their input in a converted model
            module.inplace = original.inplace
        for kind in ("_parameters", "_buffers"):
            tensors, found = module.__dict__[kind], current.__dict__[kind]
            tensors.update({name: found.get(name) for name in tensors})
        module.training = current.training
        prefix = f"{path}." if path else ""
        for name in module._modules:
            child = current._modules.get(name)
            module._modules[name] = (
                None if child is None else self._restored(child, original._modules.get(name), prefix + name, done)
            )
        return module
