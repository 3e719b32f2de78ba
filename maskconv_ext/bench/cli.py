"""The arguments of `maskconv-ext bench`."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from typing import Any

from . import BenchError

BENCH = """\
Time this op beside plain convolution (which does no masking), and beside the masked convolution composed of framework
operations, eager and compiled: on the same data, taking turns, every answer checked against float64 first.

The exit status is 1 where an answer was wrong or this op failed, 2 for a wrong call, 130 after Ctrl-C (what was
measured until then is kept).
"""
COMPARE = """\
The medians of run B over those of run A. A candidate is slower, or faster, where that is more than the threshold and
the quartiles do not overlap. The exit status is 1 where this op became slower, or lost its time, in any case; 2 for
files that cannot be compared. Other candidates count for nothing: they show what the machine did.
"""
SECONDS, QUICK_SECONDS = 10.0, 2.0  # a case
SAMPLES, QUICK_SAMPLES = 100, 30  # a candidate, at most
DTYPES = ("float16", "bfloat16", "float32", "float64")
DIRECTIONS = ("forward", "backward", "both")
UPDATES = ("any", "all", "center")


def add_parser(commands: Any) -> None:
    """Register the command with the subparsers of `maskconv-ext`."""
    bench = commands.add_parser(
        "bench",
        help="measure speed and memory against plain and composed convolution",
        description=BENCH,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = bench.add_argument_group("what is measured")
    what.add_argument("--suite", nargs="+", metavar="GLOB", help="ids (r50_*) or cases (*/ones); default: all")
    what.add_argument("--quick", action="store_true", help="a few cases and fewer samples")
    what.add_argument("--sweep", metavar="ID", help="one layer over the valid fraction of --mask (default: spark)")
    what.add_argument(
        "--mask", nargs="+", default=[], metavar="NAME[@VALID]", help="instead of the layers' own and ones"
    )
    what.add_argument("--update", type=_update, metavar="RULE", help="any, all, center or a threshold, for every case")
    what.add_argument(
        "--dtype", nargs="+", choices=DTYPES, default=[], metavar="DTYPE",
        help=f"of {', '.join(DTYPES)}; default: each layer's, on the CPU float32 for half precision",
    )  # fmt: skip
    what.add_argument(
        "--direction", choices=tuple(DIRECTIONS), default="forward", help="both: forward and backward together"
    )
    what.add_argument("--candidates", nargs="+", default=["*"], metavar="GLOB", help="such as op conv_*; default: all")
    what.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is one")
    what.add_argument(
        "--cpu-scale",
        action=argparse.BooleanOptionalAction,
        help="one image of each layer, eight of ResNet-50's, det_pad at half size; default: on the CPU",
    )
    how = bench.add_argument_group("how")
    how.add_argument(
        "--seconds", type=_positive_float, help=f"of timing a case; default: {SECONDS}, quick {QUICK_SECONDS}"
    )
    how.add_argument(
        "--samples", type=_positive_int, help=f"a candidate, at most; default: {SAMPLES}, quick {QUICK_SAMPLES}"
    )
    how.add_argument("--threads", type=_positive_int, help="on the CPU; default: torch's")
    how.add_argument("--seed", type=int, default=0, help="of data and masks; default: %(default)s")
    how.add_argument("--ceilings", action="store_true", help="measure a matrix product and a copy, for the floors")
    how.add_argument("--peaks", metavar="NAME", help="take the floors of this device (H200); default: by its name")
    where = bench.add_argument_group("where to")
    where.add_argument(
        "--dry-run", action="store_true", help="print the cases with FLOPs, bytes and floors; run nothing"
    )
    where.add_argument("--out", type=Path, metavar="JSON", help="everything, raw samples included; kept up to date")
    where.add_argument("--plots", type=Path, metavar="DIR", help="bars over the suite, or lines of a sweep")
    bench.set_defaults(run=_bench)
    _add_compare(bench.add_subparsers(metavar="[compare A.json B.json]"))


def _add_compare(commands: Any) -> None:
    compare = commands.add_parser(
        "compare",
        help="two runs, case by case",
        description=COMPARE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    compare.add_argument("a", type=Path, metavar="A.json", help="of `maskconv-ext bench --out`: before")
    compare.add_argument("b", type=Path, metavar="B.json", help="after")
    compare.add_argument(
        "--threshold", type=_positive_float, default=0.05, metavar="SHARE", help="default: %(default)s"
    )
    compare.add_argument("--force", action="store_true", help="compare what the two share, whatever else differs")
    compare.set_defaults(run=_compare)


def _compare(arguments: argparse.Namespace) -> int:
    from .compare import compare

    try:
        lines, slower = compare(arguments.a, arguments.b, arguments.threshold, arguments.force)
    except BenchError as error:
        return _refuse(error)
    print("\n".join(lines))
    return int(slower)


def _refuse(error: BenchError) -> int:
    print(f"maskconv-ext: error: {error}", file=sys.stderr)
    return 2


def _bench(arguments: argparse.Namespace) -> int:
    # Imported here: the parser alone is made for every other command too.
    from . import report
    from .run import cases_of, known_peaks, run

    try:
        settings = _settings(arguments)
        if not arguments.dry_run:
            return run(settings, arguments.out, arguments.plots)
        print("\n".join(report.plan_lines(cases_of(settings), settings.direction, known_peaks(settings))))
    except BenchError as error:
        return _refuse(error)
    return 0


def _settings(arguments: argparse.Namespace) -> Any:
    import torch

    from .candidates import CANDIDATES, PACKAGES
    from .case import Settings
    from .suite import QUICK

    if arguments.quick and (arguments.suite or arguments.sweep):
        raise BenchError("--quick is a choice of cases by itself; --suite and --sweep are others")
    if arguments.sweep and len(set(arguments.dtype)) > 1:
        raise BenchError("--sweep draws one curve: it takes one --dtype")
    unknown = [p for p in arguments.candidates if not _matches(p, CANDIDATES)]
    if unknown:
        raise BenchError(f"--candidates {' '.join(unknown)}: needs patterns of {', '.join(CANDIDATES)}")
    for name in PACKAGES.keys() & set(arguments.candidates):
        if importlib.util.find_spec(PACKAGES[name]) is None:
            raise BenchError(f"--candidates {name}: needs the package {PACKAGES[name]}, which is not installed")
    device = arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
    return Settings(
        suite=QUICK if arguments.quick else tuple(arguments.suite or ("*",)),
        device=device,
        dtypes=tuple(dict.fromkeys(arguments.dtype)),
        masks=tuple(arguments.mask),
        mask_update=arguments.update,
        candidates=tuple(arguments.candidates),
        direction=arguments.direction,
        cpu_scale=device == "cpu" if arguments.cpu_scale is None else arguments.cpu_scale,
        seconds=arguments.seconds or (QUICK_SECONDS if arguments.quick else SECONDS),
        max_samples=arguments.samples or (QUICK_SAMPLES if arguments.quick else SAMPLES),
        threads=arguments.threads,
        seed=arguments.seed,
        ceilings=arguments.ceilings,
        peaks=arguments.peaks,
        sweep=arguments.sweep,
    )


def _matches(pattern: str, names: Any) -> bool:
    from fnmatch import fnmatchcase

    return any(fnmatchcase(name, pattern) for name in names)


def _update(text: str) -> str | float:
    if text in UPDATES:
        return text
    try:
        threshold = float(text)
    except ValueError:
        threshold = 0.0
    if not 0 < threshold <= 1:
        raise argparse.ArgumentTypeError(f"needs {', '.join(UPDATES)} or a number in (0, 1], got {text!r}")
    return threshold


def _positive_int(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"needs 1 at least, got {number}")
    return number


def _positive_float(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"needs more than 0, got {text}")
    return number
