"""One case: data, live fractions, and each candidate built, checked, timed, and asked for its memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import TypeVar

from . import report
from .candidates import CANDIDATES, OP, Candidate, NotApplicable
from .check import Verdict, check
from .device import Peaks
from .live import live_fraction
from .measure import DeviceLost, error_text, peak_bytes, race
from .problem import CHECK_FLOPS, Answer, Problem, Truth, case_mask, make_problem, regions, solve, valid_fraction
from .report import Record, candidate_record
from .suite import Case

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the command line asks for; it goes into the JSON as it is."""

    suite: tuple[str, ...]
    device: str
    dtypes: tuple[str, ...]
    masks: tuple[str, ...]
    mask_update: str | float | None
    candidates: tuple[str, ...]
    direction: str
    cpu_scale: bool
    seconds: float
    max_samples: int
    threads: int | None
    seed: int
    ceilings: bool
    peaks: str | None
    sweep: str | None


def run_case(case: Case, settings: Settings, peaks: Peaks | None) -> tuple[Record, bool]:
    """The record, and whether the device was lost on the way."""
    mask = case_mask(case, settings.seed)
    live = live_fraction(mask, case.layer, case.mask_update)
    record = report.case_record(case, settings.direction, valid_fraction(mask, case.layer), live, peaks)
    wanted = [name for name in CANDIDATES if any(fnmatchcase(name, p) for p in settings.candidates)]
    runs = _CaseRun(settings, record["candidates"])
    lost = False
    try:
        # Without data nothing runs; this op stands for all.
        problem = runs.attempt(OP, lambda: make_problem(case, mask, settings.device, settings.seed, settings.direction))
        if problem is not None:
            runs.measure(problem, wanted)
    except DeviceLost as error:
        lost = True
        for name in wanted:
            runs.results.setdefault(name, candidate_record("error", f"not measured: the device was lost ({error})"))
    report.add_rates(record)
    return record, lost


class _CaseRun:
    """Takes candidates through the steps; what raises is out, with its error, and the others go on."""

    def __init__(self, settings: Settings, results: Record) -> None:
        self.settings = settings
        self.results = results

    def attempt(self, name: str, step: Callable[[], T]) -> T | None:
        try:
            return step()
        except DeviceLost:
            raise
        except NotApplicable as reason:
            self.results[name] = candidate_record("skipped", str(reason))
        except Exception as error:
            self.results[name] = candidate_record("error", error_text(error, self.settings.device))
        return None

    def measure(self, problem: Problem, wanted: list[str]) -> None:
        device = self.settings.device
        answers: dict[Truth, Answer] = {}
        checked: dict[str, tuple[Candidate, Verdict]] = {}
        for name in wanted:
            candidate = self.attempt(name, lambda name=name: CANDIDATES[name](problem))  # type: ignore[misc]
            if candidate is None:
                continue
            candidate.backward_alone = problem.backward_alone
            verdict = self.attempt(name, lambda c=candidate: _verdict(c, problem, answers, device))  # type: ignore[misc]
            if verdict is None:
                continue
            if verdict.ok:
                checked[name] = candidate, verdict
            else:
                self.results[name] = candidate_record("wrong", verdict.detail, verdict)
        answers.clear()
        runs = {name: candidate.run for name, (candidate, _) in checked.items()}
        timings = race(runs, device, self.settings.seconds, self.settings.max_samples)
        for name, (candidate, verdict) in checked.items():
            timing = timings[name]
            if timing.error:
                self.results[name] = candidate_record("error", timing.error, verdict)
                continue
            self.results[name] = candidate_record("ok", candidate.note, verdict, timing)
            peak = self.attempt(name, lambda c=candidate: peak_bytes(c.run, device))  # type: ignore[misc]
            if self.results[name]["status"] == "ok":
                self.results[name]["peak_bytes"] = peak


def _verdict(candidate: Candidate, problem: Problem, answers: dict[Truth, Answer], device: str) -> Verdict:
    if candidate.truth not in answers:
        where = regions(problem.layer, CHECK_FLOPS[device])
        answers[candidate.truth] = solve(problem, candidate.truth, where)
    return check(candidate, problem, answers[candidate.truth])
