"""The arguments of `maskconv-ext bench`."""

from __future__ import annotations

import argparse
import importlib.util
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ..command_line import positive_number, refuse, whole_number
from . import BenchError

BENCH = """\
Time this op beside plain convolution (which does no masking), and beside the masked convolution composed of framework
operations, eager and compiled: on the same data, taking turns, every answer checked against float64 first.

The exit status is 1 where an answer was wrong or this op failed, 2 for a wrong call, 130 after Ctrl-C and 143 after
SIGTERM (what was measured until then is kept).
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
        "--mask",
        nargs="+",
        default=[],
        metavar="NAME[@VALID]",
        help="instead of the layers' own and ones, where they have as many dimensions",
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
        "--seconds", type=positive_number, help=f"of timing a case; default: {SECONDS}, quick {QUICK_SECONDS}"
    )
    how.add_argument(
        "--samples", type=whole_number(1), help=f"a candidate, at most; default: {SAMPLES}, quick {QUICK_SAMPLES}"
    )
    how.add_argument("--threads", type=whole_number(1), help="on the CPU; default: torch's")
    how.add_argument("--seed", type=whole_number(0), default=0, help="of data and masks; default: %(default)s")
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
        "--threshold", type=positive_number, default=0.05, metavar="SHARE", help="default: %(default)s"
    )
    compare.add_argument("--force", action="store_true", help="compare what the two share, whatever else differs")
    compare.set_defaults(run=_compare)


def _compare(arguments: argparse.Namespace) -> int:
    from .compare import compare

    try:
        lines, slower = compare(arguments.a, arguments.b, arguments.threshold, arguments.force)
    except BenchError as error:
        return refuse(error)
    print("\n".join(lines))
    return int(slower)


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
        return refuse(error)
    return 0


def _settings(arguments: argparse.Namespace) -> Any:
    import torch

    from .candidates import BARE, CANDIDATES, PACKAGES
    from .case import Settings
    from .suite import QUICK

    if arguments.quick and (arguments.suite or arguments.sweep):
        raise BenchError("--quick is a choice of cases by itself; --suite and --sweep are others")
    if arguments.sweep and len(set(arguments.dtype)) > 1:
        raise BenchError("--sweep draws one curve: it takes one --dtype")
    if arguments.ceilings and arguments.peaks:
        raise BenchError("--ceilings measures what --peaks names: needs one of the two")
    chosen = _chosen(arguments.candidates, CANDIDATES, PACKAGES)
    if arguments.plots and not chosen & set(BARE):
        raise BenchError(f"--plots draws time over the bare convolution: --candidates needs {' or '.join(BARE)}")
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


def _chosen(patterns: list[str], candidates: Any, packages: dict[str, str]) -> set[str]:
    """What the patterns name; each has to name something that can run."""
    chosen: set[str] = set()
    for pattern in patterns:
        named = {name for name in candidates if fnmatchcase(name, pattern)}
        if not named:
            raise BenchError(f"--candidates {pattern}: needs patterns of {', '.join(candidates)}")
        missing = [packages[n] for n in packages if n in named and importlib.util.find_spec(packages[n]) is None]
        if len(missing) == len(named):
            needed = " or ".join(missing)
            raise BenchError(f"--candidates {pattern}: needs the package {needed}, which is not installed")
        chosen |= named
    return chosen


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
