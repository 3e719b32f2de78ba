"""The demonstration behind `maskconv-ext demo`: holes of real pictures filled by a pyramid of masked convolutions."""

from __future__ import annotations

import importlib.util

# Import name and the name pip knows.
PACKAGES = {"skimage": "scikit-image", "scipy": "scipy", "matplotlib": "matplotlib", "PIL": "pillow"}


class DemoError(Exception):
    """What the user can put right, in one line."""


def require_packages() -> None:
    """Raise DemoError, naming the remedy, where one of the demo's own dependencies is not installed."""
    missing = [name for module, name in PACKAGES.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise DemoError(f"the demo needs {', '.join(missing)}: pip install maskconv_ext[demo]")
