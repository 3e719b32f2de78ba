"""A run: case by case, checked, timed and written down."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
import torch._functorch.config as functorch_config

from ..command_line import died_of
from . import BenchError, device, report
from .candidates import OP
from .case import Settings, run_case
from .masks import fractions_of
from .measure import sampler_name
from .plots import require_matplotlib, save_plots
from .report import Record
from .suite import HALF_PRECISION, QUICK, SUITE, Case, Layer, plan

SWEEP_FRACTIONS = (0.9, 0.75, 0.5, 0.25, 0.1, 0.05)
SWEEP_MASK = "spark"
TITLES = {"forward": "forward", "backward": "backward", "both": "forward + backward"}
COMMAND = [sys.executable, "-m", "maskconv_ext.cli", "bench"]


def cases_of(settings: Settings) -> list[Case]:
    layers: tuple[Layer, ...] = SUITE
    # A CPU computes what the suite has in half precision in float32.
    if settings.device == "cpu":
        layers = tuple(dataclasses.replace(x, dtype="float32") if x.dtype in HALF_PRECISION else x for x in SUITE)
    chosen = (settings.dtypes, settings.mask_update, settings.cpu_scale)
    if settings.sweep is None:
        # The quick cases are of the layers' own masks; of others they are those that fit.
        return plan(layers, settings.suite, settings.masks, *chosen, every_pattern=settings.suite != QUICK)
    layer = next((layer for layer in layers if layer.id == settings.sweep), None)
    if layer is None:
        raise BenchError(f"--sweep {settings.sweep}: needs one of {', '.join(layer.id for layer in SUITE)}")
    kind, *more = settings.masks or (SWEEP_MASK,)
    if more or kind not in fractions_of(layer.rank):
        names = ", ".join(fractions_of(layer.rank))
        raise BenchError(f"--sweep {layer.id} --mask {' '.join(settings.masks)}: needs one of {names}")
    masks = ["ones", *(f"{kind}@{valid}" for valid in SWEEP_FRACTIONS), "zeros"]
    # Under the same rule all along, so that the ends of the curve belong to it.
    return plan([layer], settings.suite, masks, *chosen, rule_of=kind)


class Progress:
    """Lines on stderr, each with the time since the start."""

    def __init__(self) -> None:
        self.start = time.perf_counter()

    def __call__(self, message: str) -> None:
        print(f"[{time.perf_counter() - self.start:6.1f} s] {message}", file=sys.stderr, flush=True)


class Stopped(KeyboardInterrupt):
    """SIGTERM, which schedulers send: it ends a run as Ctrl-C does."""


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise Stopped

    if threading.current_thread() is not threading.main_thread():  # others get no signals
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Output:
    """The file of a run. A disk that is full for a while costs nothing: each case writes everything anew."""

    def __init__(self, path: Path | None, progress: Progress) -> None:
        self.path, self.progress = path, progress
        self.error = ""

    def save(self, figures: dict[str, Any]) -> None:
        if self.path is None:
            return
        try:
            report.save(self.path, figures)
            self.error = ""
        except OSError as error:
            self.error = f"--out {self.path}: not up to date: {error.strerror}"
            self.progress(self.error)


def run(settings: Settings, out: Path | None, plots: Path | None) -> int:
    """Measure, print and write; the exit status is not 0 where an answer was wrong or this op failed."""
    cases = cases_of(settings)
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise BenchError("--device cuda: torch sees no CUDA device; --device cpu, or --dry-run for the plan alone")
    if plots is not None:
        require_matplotlib()
        _require_writable("--plots", plots)
    if out is not None:
        if out.exists() and not out.is_file():
            raise BenchError(f"--out {out}: needs a plain file")
        _require_writable("--out", out.parent)
    progress = Progress()
    output = Output(out, progress)
    with _torch_settings(settings):
        figures, stopped_by = _measure(settings, cases, output, progress)
    records = figures["cases"]
    # Of a sweep's different fractions a mean says nothing.
    means = [] if settings.sweep is not None else report.mean_lines(figures["geomeans"])
    for lines in (report.case_lines(records), means, report.problem_lines(records)):
        print("\n".join(lines), end="\n\n" if lines else "")
    if plots is not None:
        title = f"{figures['environment']['device_name']}, {TITLES[settings.direction]}"
        if settings.sweep is not None:
            title += f"\n{settings.sweep}: {cases[0].layer.describe()}, {cases[0].dtype}, {cases[1].mask.kind}"
        try:
            for path in save_plots(records, plots, settings.sweep is not None, title):
                print(f"written: {path}")
        except OSError as error:
            raise BenchError(f"--plots {plots}: {error.strerror}") from error
    if output.error:
        raise BenchError(output.error)
    if out is not None:
        print(f"written: {out}")
    if stopped_by is not None:
        return died_of(stopped_by)
    return 1 if _failed(records) or len(records) < len(cases) else 0


def _require_writable(option: str, folder: Path) -> None:
    """Now: what cannot be written is worth no hour of measuring."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (FileExistsError, NotADirectoryError) as error:
        raise BenchError(f"{option}: {error.filename} is not a folder") from error
    except OSError as error:
        raise BenchError(f"{option}: nothing can be written to {folder}: {error.strerror}") from error


class _torch_settings:
    """Strict float32, cuDNN's fastest algorithm, the threads asked for; as they were, afterwards."""

    def __init__(self, settings: Settings) -> None:
        self.threads = settings.threads
        self.before = torch.get_num_threads()
        self.cudnn = torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=False, allow_tf32=False)
        # What is compiled gives its buffers away at the first backward, and there is no second one to time.
        keeps_buffers = settings.direction == "backward"
        self.compiler = functorch_config.patch({"donated_buffer": False} if keeps_buffers else {})
        self.matmul_tf32 = torch.backends.cuda.matmul.allow_tf32

    def __enter__(self) -> None:
        self.cudnn.__enter__()
        self.compiler.__enter__()
        torch.backends.cuda.matmul.allow_tf32 = False
        if self.threads is not None:
            torch.set_num_threads(self.threads)

    def __exit__(self, *error: Any) -> None:
        torch.set_num_threads(self.before)
        torch.backends.cuda.matmul.allow_tf32 = self.matmul_tf32
        self.compiler.__exit__(*error)
        self.cudnn.__exit__(*error)


def _measure(
    settings: Settings, cases: list[Case], output: Output, progress: Progress
) -> tuple[dict[str, Any], signal.Signals | None]:
    """The figures, and the signal that stopped the run."""
    figures: dict[str, Any] = {
        "format": report.FORMAT,
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "planned": len(cases),
        "settings": dataclasses.asdict(settings),
        "sampler": sampler_name(settings.device),
        "environment": device.environment(settings.device),
        "ceilings": None,
        "interrupted": False,
        "geomeans": {},
        "cases": [],
    }
    records: list[Record] = figures["cases"]

    def keep() -> None:
        figures["geomeans"] = report.geometric_means(records)
        output.save(figures)

    stopped_by = None
    try:
        with _sigterm_as_ctrl_c():
            peaks = _peaks(settings, cases, figures, progress)
            for number, case in enumerate(cases, 1):
                progress(f"{number}/{len(cases)} {case.name}: {case.layer.describe()}, {case.dtype}")
                record, lost = run_case(case, settings, peaks)
                records.append(record)
                keep()
                if lost:
                    # Only a new process can go on with the device.
                    progress(f"{case.name}: the device is lost; {len(cases) - number} cases left go to a new process")
                    if cases[number:]:
                        _run_elsewhere(settings, cases[number:], records)
                    break
    except KeyboardInterrupt as stop:
        stopped_by = signal.SIGTERM if isinstance(stop, Stopped) else signal.SIGINT
        progress(f"stopped after {len(records)} of {len(cases)} cases; what was measured is kept")
        figures["interrupted"] = True
    keep()
    return figures, stopped_by


def _peaks(settings: Settings, cases: list[Case], figures: dict[str, Any], progress: Progress) -> device.Peaks | None:
    """Measured, or named, or known by the device's name."""
    if settings.ceilings:
        progress("ceilings: matrix product and copy")
        figures["ceilings"] = device.measure_ceilings(settings.device, sorted({case.dtype for case in cases}))
        measured = device.ceilings_as_peaks(figures["ceilings"])
        if measured is not None:
            return measured
    return known_peaks(settings)


def known_peaks(settings: Settings) -> device.Peaks | None:
    if settings.peaks is not None:
        return device.named_peaks(settings.peaks)
    return device.known_peaks(device.device_name(settings.device))


def _run_elsewhere(settings: Settings, cases: list[Case], records: list[Record]) -> None:
    """Measure these cases in a process of their own, and add its records, as far as it came."""
    with tempfile.TemporaryDirectory() as folder:
        # A case's name does not tell its dtype.
        for dtype, of_dtype in groupby(cases, key=lambda case: case.dtype):
            out = Path(folder) / f"{dtype}.json"
            try:
                arguments = as_arguments(settings, list(of_dtype), dtype)
                subprocess.run([*COMMAND, *arguments, "--out", str(out)], stdout=sys.stderr)
            finally:
                if out.exists():
                    records += json.loads(out.read_text())["cases"]


def as_arguments(settings: Settings, cases: list[Case], dtype: str) -> list[str]:
    """The command line that measures these cases, all of this dtype, under these settings."""
    arguments = ["--suite", *(case.name for case in cases), "--device", settings.device]
    for flag, value in (
        ("--dtype", dtype), ("--direction", settings.direction), ("--update", settings.mask_update),
        ("--seconds", settings.seconds), ("--samples", settings.max_samples), ("--threads", settings.threads),
        ("--seed", settings.seed), ("--peaks", settings.peaks), ("--sweep", settings.sweep),
    ):  # fmt: skip
        arguments += [] if value is None else [flag, str(value)]
    arguments += ["--mask", *settings.masks] if settings.masks else []
    arguments += ["--candidates", *settings.candidates]
    arguments += ["--ceilings"] if settings.ceilings else []
    return [*arguments, "--cpu-scale" if settings.cpu_scale else "--no-cpu-scale"]


def _failed(records: list[Record]) -> bool:
    """A wrong answer of anyone, or no answer of this op where it was asked for."""
    statuses = [(name, c["status"]) for record in records for name, c in record["candidates"].items()]
    return any(status == "wrong" or (name == OP and status == "error") for name, status in statuses)
