"""Errors that the user can put right, and the examples' own dependencies, which are imported where they are used."""

from __future__ import annotations

import importlib.util

# Import name and the name pip knows.
PACKAGES = {"skimage": "scikit-image", "scipy": "scipy", "matplotlib": "matplotlib", "tqdm": "tqdm"}


class ExampleError(Exception):
    """What the user can put right, in one line."""


def require_packages() -> None:
    missing = [name for module, name in PACKAGES.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise ExampleError(f"the examples need {', '.join(missing)}: pip install maskconv_ext[examples]")
