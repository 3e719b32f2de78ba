"""The whole test suite, one pytest process a test file, several at once; outcomes read from JUnit XML.

Also a pytest plugin (-p gpu_suite) that notes in the XML which tests ran on the GPU.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from native_build import ROOT
from subprocess_limit import run_limited

# Enough for a file's own threads; more processes than this would only share the GPU.
CPUS_PER_FILE = 2
# Failures written in full; a broken build fails every test alike.
MAX_FAILURES = 20


def pytest_collection_modifyitems(items: list[Any]) -> None:
    for item in items:
        parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
        if item.get_closest_marker("gpu") or any(str(p).startswith("cuda") for p in parameters):
            item.user_properties.append(("gpu", "yes"))


@dataclass(frozen=True)
class Case:
    test: str
    outcome: str  # passed, failed, skipped
    message: str
    gpu: bool


def read_junit(path: Path) -> list[Case]:
    cases = []
    for element in ElementTree.parse(path).iter("testcase"):
        bad = [child for child in element if child.tag in ("failure", "error")]
        skipped = element.find("skipped")
        outcome = "failed" if bad else "skipped" if skipped is not None else "passed"
        detail = bad[0] if bad else skipped
        message = detail.get("message", "") if detail is not None else ""
        gpu = any(p.get("name") == "gpu" for p in element.iter("property"))
        cases.append(Case(f"{element.get('classname')}::{element.get('name')}", outcome, message, gpu))
    return cases


def run_file(path: Path, junit: Path, deadline: float, threads: int) -> tuple[list[Case], str | None]:
    """The cases of one test file, and what went wrong beside them."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "gpu_suite", f"--junitxml={junit}", str(path)]
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'tools'}:{ROOT}", "OMP_NUM_THREADS": str(threads)}
    # Cases are written when pytest ends, so a file that runs out of time leaves none.
    status, output, _ = run_limited(command, max(1.0, deadline - time.monotonic()), ROOT, env)
    if status is None:
        return [], f"{path.name}: ran out of time\n{output[-1000:]}"
    # 0: passed, 1: some failed, 5: no test was collected. Anything else is pytest's own failure.
    if status not in (0, 1, 5) or not junit.exists():
        return [], f"{path.name}: pytest ended with status {status}\n{output[-2000:]}"
    return read_junit(junit), None


def count(cases: list[Case]) -> dict[str, int]:
    counts = Counter(case.outcome for case in cases)
    return {outcome: counts[outcome] for outcome in ("passed", "failed", "skipped")}


def summarize(cases: list[Case], broken: list[str]) -> dict[str, Any]:
    """One step of gpu_check's report; it passes only if tests ran on the GPU, PTX wrappers' among them."""
    on_gpu = [case for case in cases if case.gpu]
    ptx = [case for case in on_gpu if "ptx" in case.test.lower()]
    problems = list(broken)
    for name, group in (("on the GPU", on_gpu), ("of a PTX wrapper against its host twin", ptx)):
        if not any(case.outcome == "passed" for case in group):
            problems.append(f"no test {name} passed")
    failed = [case for case in cases if case.outcome == "failed"]
    return {
        "outcome": "failed" if problems or failed else "passed",
        "all": count(cases),
        "on_gpu": count(on_gpu),
        "ptx": count(ptx),
        "skip_reasons": dict(Counter(case.message for case in cases if case.outcome == "skipped").most_common()),
        "gpu_skipped": [case.test for case in on_gpu if case.outcome == "skipped"],
        "problems": problems,
        "failures": [{"test": c.test, "message": c.message[:500]} for c in failed[:MAX_FAILURES]],
    }


def run_suite(limit: float) -> dict[str, Any]:
    start = time.monotonic()
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    cpus = os.cpu_count() or 1
    workers = max(1, min(len(files), cpus // CPUS_PER_FILE))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(workers) as pool:
        junits = [Path(folder) / f"{index}.xml" for index in range(len(files))]
        runs = [
            pool.submit(run_file, file, junit, start + limit, max(1, cpus // workers))
            for file, junit in zip(files, junits)
        ]
        results = [run.result() for run in runs]
    cases = [case for found, _ in results for case in found]
    broken = [problem for _, problem in results if problem is not None]
    return summarize(cases, broken) | {"seconds": round(time.monotonic() - start, 1)}
