"""What the command lines of the examples have in common."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import maskconv_ext
from maskconv_ext import native

from . import ranks
from .errors import PACKAGES, ExampleError, require_packages
from .training import Settings

FORMAT = 1  # of results.json
RESULTS = "results.json"


def integer(minimum: int, multiple: int = 1) -> Callable[[str], int]:
    def parse(text: str) -> int:
        needs = f"a whole number >= {minimum}" + (f", a multiple of {multiple}" if multiple > 1 else "")
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"got {text!r}, needs {needs}") from None
        if number < minimum or number % multiple:
            raise argparse.ArgumentTypeError(f"got {text!r}, needs {needs}")
        return number

    return parse


def number(low: float, high: float) -> Callable[[str], float]:
    """Above `low`, up to `high`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low < value <= high:
            raise argparse.ArgumentTypeError(f"got {text!r}, needs a number above {low:g}, up to {high:g}")
        return value

    return parse


def folder(text: str) -> Path:
    path = Path(text)
    if path.exists() and not path.is_dir():
        raise argparse.ArgumentTypeError(f"got {text!r}, a file, needs a folder, which need not exist")
    return path


def make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExampleError(f"--out: {path} cannot be made: {error.strerror}") from None


def parser(name: str, description: str | None, **defaults: Any) -> argparse.ArgumentParser:
    """With the options of all examples; `defaults` of theirs."""
    root = argparse.ArgumentParser(
        prog=f"{name}.py", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    root.add_argument("--out", type=folder, default=Path("out") / name, metavar="DIR", help="default: %(default)s")
    root.add_argument("--seed", type=integer(0), default=0, help="of everything random; default: %(default)s")
    root.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is one")
    root.add_argument("--smoke", action="store_true", help="sizes so small that it ends in seconds, and means nothing")
    root.set_defaults(**defaults)
    return root


def add_training(root: argparse.ArgumentParser) -> None:
    add = root.add_argument_group("training").add_argument
    add("--steps", type=integer(1), metavar="N", help="of each network; default: %(default)s")
    add("--batch", type=integer(1), metavar="N", help="of all processes together; default: %(default)s")
    add("--learning-rate", type=number(0, 1), metavar="X", help="of Adam, at its highest; default: %(default)s")
    add("--precision", choices=("fp32", "bf16"), default="fp32", help="bf16: under autocast; default: %(default)s")
    add("--workers", type=integer(0), default=0, metavar="N", help="processes that load data; default: %(default)s")
    add("--checkpoint-every", type=integer(1), default=50, metavar="N", help="steps; default: %(default)s")
    add("--restart", action="store_true", help="ignore checkpoints in --out, from which training goes on otherwise")


def settings_of(arguments: argparse.Namespace, seed: int) -> Settings:
    return Settings(arguments.steps, arguments.batch, arguments.learning_rate, seed, arguments.precision)


def training_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """What `train` takes besides, on which nothing depends."""
    return {name: getattr(arguments, name) for name in ("checkpoint_every", "restart", "workers")}


def main(
    root: argparse.ArgumentParser,
    smoke: dict[str, Any],
    run: Callable[[argparse.Namespace, ranks.Ranks], None],
    argv: Sequence[str] | None,
) -> int:
    """Parse, run, and turn errors into a line and status 2. `smoke`: other defaults with --smoke."""
    if root.parse_args(argv).smoke:
        root.set_defaults(**smoke)
    arguments = root.parse_args(argv)
    try:
        require_packages()
        device = arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
        if device == "cuda" and not torch.cuda.is_available():
            raise ExampleError("--device cuda: torch finds no CUDA device")
        with ranks.join(device) as here:
            make_folder(arguments.out)
            run(arguments, here)
    except ExampleError as error:
        if os.environ.get("RANK", "0") == "0":  # all ranks say the same
            print(f"{root.prog}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\n{root.prog}: interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    return 0


def write_results(arguments: argparse.Namespace, ranks_: ranks.Ranks, figures: dict[str, Any]) -> None:
    """`figures`, with the settings and versions they come from, as results.json."""
    ignored = ("out", "trained", "restart", "checkpoint_every", "workers")
    results = {
        "format": FORMAT,
        "settings": {name: value for name, value in vars(arguments).items() if name not in ignored},
        "device": ranks_.device.type,
        "processes": ranks_.count,
        "threads": torch.get_num_threads(),
        "engine": "native" if native.is_loaded else "reference",
        "versions": {
            "maskconv_ext": maskconv_ext.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            **{name: version(name) for name in ("numpy", *PACKAGES.values())},
        },
        **figures,
    }
    (arguments.out / RESULTS).write_text(json.dumps(results, indent=1) + "\n")
