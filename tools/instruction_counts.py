"""Compares what is executed with the committed baselines: counts, which a busy machine does not change.

    cpu       instructions of small layers on the CPU engine, under valgrind (about a minute)
    kernels   emulated CUDA kernels: MMAs, sectors, bank conflicts, barriers, shared-memory bytes (seconds)

The exit status is 1 where a count is off by more than its tolerance, up or down; --update REASON then writes the new
counts. Where the CPU's cannot be compared, without valgrind or with other versions than the baseline's, that is said,
and it is no failure.
"""

from __future__ import annotations

import argparse
import sys

import baselines
import callgrind
import kernel_counts

# From run to run the library's own instructions vary by a few in a million, those of the whole call by half a percent.
TOLERANCE = {"library": 0.01, "call": 0.05}
NAMES = {"cpu": "instructions", "kernels": "counters"}  # files in benchmarks/baselines


def check_cpu(update: str | None) -> list[str]:
    """Differences; none where nothing can be compared."""
    try:
        versions = callgrind.versions()
        if update is None:
            baseline = baselines.load(NAMES["cpu"])
            unlike = [f"{name} {versions[name]}, not {was}" for name, was in baseline["versions"].items()
                      if versions[name] != was]  # fmt: skip
            if unlike:
                raise callgrind.CannotCount(f"the baseline is of another machine: {'; '.join(unlike)}")
        counts = callgrind.count()
    except callgrind.CannotCount as reason:
        if update is not None:
            sys.exit(f"not updated: instruction counts of the CPU engine, since {reason}")
        print(f"NOT CHECKED: instruction counts of the CPU engine, since {reason}")
        return []
    for name, of_name in counts.items():
        print(f"{name:16}{of_name['library']:12,} in the library{of_name['call']:14,} of the call")
    if update is not None:
        baselines.save(NAMES["cpu"], update, counts, versions=versions)
        return []
    return baselines.differences(baseline["counts"], counts, TOLERANCE)


def check_kernels(update: str | None) -> list[str]:
    if update is not None:
        baselines.save(NAMES["kernels"], update, kernel_counts.count(kernel_counts.chosen()))
        return []
    expected = baselines.load(NAMES["kernels"])["counts"]
    counts = kernel_counts.count(list(expected))
    print(f"{len(counts)} emulated kernels counted")
    return baselines.differences(expected, counts, {})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=tuple(NAMES), help="default: both")
    parser.add_argument("--update", metavar="REASON", help="write the baselines anew, and why")
    arguments = parser.parse_args()
    if arguments.update is not None and not arguments.update.strip():
        parser.error("--update needs a reason")
    differences = []
    for name, check in (("cpu", check_cpu), ("kernels", check_kernels)):
        if arguments.only in (None, name):
            differences += check(arguments.update)
    if differences:
        print("\n".join(differences))
        print(f"{len(differences)} counts differ; where that is meant: {sys.argv[0]} --update REASON")
    return int(bool(differences))


if __name__ == "__main__":
    sys.exit(main())
