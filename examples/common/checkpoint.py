"""Checkpoints: written at once or not at all, and complete, so that a resumed run goes on as if never interrupted."""

from __future__ import annotations

import os
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .errors import ExampleError


def save(path: Path, state: dict[str, Any]) -> None:
    """A new file takes the old one's place when all of it is on the disk; who is killed before leaves the old one."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    with unfinished.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)


def load(path: Path, settings: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """What `save` wrote, None without a file; with `settings`, an error where it belongs to a run with others."""
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        saved = state["settings"]
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
        advice = "" if settings is None else "; --restart ignores it"
        raise ExampleError(f"{path}: no checkpoint of this example ({type(error).__name__}){advice}") from None
    if settings is None:
        return state
    for name in saved | settings:
        if saved.get(name) != settings.get(name):
            raise ExampleError(
                f"{path}: of a run with {name} {saved.get(name)!r}, this one has {settings.get(name)!r}; "
                f"--restart begins anew, --out elsewhere keeps both"
            )
    return state


def seed_all(seed: int) -> None:
    """All global generators of this process."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_state() -> dict[str, Any]:
    """Of all global generators of this process."""
    numpy_state: Any = np.random.get_state(legacy=False)
    return {
        "python": random.getstate(),
        "numpy": numpy_state
        | {"state": {"key": numpy_state["state"]["key"].tolist(), "pos": numpy_state["state"]["pos"]}},
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def restore_random_state(state: dict[str, Any]) -> None:
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
