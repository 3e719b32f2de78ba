"""The command `maskconv-ext`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from . import command_line
from .bench.cli import add_parser as add_bench_parser
from .command_line import Parser, refuse, whole_number

DEMO = """\
Fill the holes of pictures by a pyramid of masked convolutions, and compare with plain convolution on zeros, and with
nearest and linear interpolation.

Without IMAGE: a measured disparity map (7 % of it Inf) and photographs, all shipped with scikit-image, with pixels
held back at random and under brush strokes.

With IMAGE (PNG, JPEG, TIFF, .npy; grey or RGB, with alpha or without; 8 or 16 bits or float): its holes are filled.
A pixel is a hole where it is NaN or Inf, where its alpha is 0, or where the mask file is 0 (any other value: valid).
"""


def parser() -> argparse.ArgumentParser:
    root = Parser(prog="maskconv-ext", description="Masked convolution for PyTorch.")
    commands = root.add_subparsers(metavar="COMMAND", required=True)
    demo = commands.add_parser(
        "demo",
        help="fill holes in pictures, compared with other methods",
        description=DEMO,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    demo.add_argument("image", nargs="?", type=Path, metavar="IMAGE", help="a picture of your own")
    demo.add_argument("--mask", type=Path, metavar="PNG", help="valid pixels of IMAGE: non-zero (white) is valid")
    demo.add_argument("--out", type=Path, default=Path("out/demo"), metavar="DIR", help="default: %(default)s")
    demo.add_argument("--seed", type=whole_number(0), default=0, help="of everything random; default: %(default)s")
    demo.add_argument(
        "--repetitions", type=whole_number(1), default=7, metavar="N", help="of each timing; default: %(default)s"
    )
    demo.set_defaults(run=_demo)
    add_bench_parser(commands)
    info = commands.add_parser(
        "info", help="versions, devices, what is compiled, and which engine runs what: for bug reports"
    )
    info.add_argument("--json", action="store_true", help="the same for programs")
    info.set_defaults(run=_info)
    return root


def _demo(arguments: argparse.Namespace) -> int:
    # Imported here: other commands need none of the demo's packages.
    from .demo import DemoError, require_packages

    try:
        require_packages()
        from .demo.run import run_default, run_own

        if arguments.image is not None:
            run_own(arguments.image, arguments.mask, arguments.out, arguments.seed, arguments.repetitions)
        elif arguments.mask is not None:
            raise DemoError("--mask goes with a picture of your own: maskconv-ext demo IMAGE --mask PNG")
        else:
            run_default(arguments.out, arguments.seed, arguments.repetitions)
    except DemoError as error:
        return refuse(error)
    return 0


def _info(arguments: argparse.Namespace) -> int:
    from . import info

    found = info.collect()
    print(json.dumps(found, indent=1) if arguments.json else "\n".join(info.lines(found)))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    def command() -> int:
        arguments = parser().parse_args(argv)
        return arguments.run(arguments)

    return command_line.run(command)


if __name__ == "__main__":
    sys.exit(main())
