"""The emulated machine is hostile on purpose: small kernels, wrong in one way each, show that every check fires and
names the right lines, and right ones that the counters are exact (csrc/emulation/faulty_kernels.cpp)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from maskconv_ext import _emulation

SOURCE = Path(__file__).parents[2] / "csrc" / "emulation" / "faulty_kernels.cpp"
SEEDS = range(8)


def marked_lines() -> dict[str, int]:
    """Line numbers by the markers in the kernels' comments: "kernel: what"."""
    lines = enumerate(SOURCE.read_text().splitlines(), start=1)
    return {match[1]: number for number, line in lines for match in re.finditer(r"// \[(\w+: \w+)\]", line)}


LINES = marked_lines()

# Kernel, kinds of error it may raise, and the marked lines the report must name, all of them.
FAULTY: list[tuple[str, set[str], list[str]]] = [
    ("missing_barrier", {"race"}, ["write", "read"]),
    ("missing_syncwarp", {"race"}, ["write", "read"]),
    ("write_after_read", {"race"}, ["read", "write"]),
    ("wait_off_by_one", {"async"}, ["issue", "read"]),
    ("wait_before_commit", {"async"}, ["issue", "read"]),
    # Which of the two depends on whether the other warp had waited when this one read.
    ("wait_without_barrier", {"race", "async"}, ["issue", "read"]),
    ("copy_over_unread", {"race", "async"}, ["issue", "read"]),
    ("unwaited_copy", {"async"}, ["issue"]),
    ("missed_barrier", {"deadlock"}, ["warp", "block"]),
    ("divergent_barrier", {"divergence"}, ["a", "b"]),
    ("divergent_collective", {"divergence"}, ["a", "b"]),
    ("absent_lanes", {"deadlock"}, ["ballot"]),
    ("inactive_shuffle_source", {"divergence"}, ["shuffle"]),
    ("shared_out_of_bounds", {"out_of_bounds"}, ["store"]),
    ("global_out_of_bounds", {"out_of_bounds"}, ["load"]),
    ("global_before_begin", {"out_of_bounds"}, ["store"]),
    ("copy_source_out_of_bounds", {"out_of_bounds"}, ["issue"]),
    ("copy_destination_out_of_bounds", {"out_of_bounds"}, ["issue"]),
    ("misaligned_copy_destination", {"misaligned"}, ["issue"]),
    ("misaligned_copy_source", {"misaligned"}, ["issue"]),
    ("misaligned_load", {"misaligned"}, ["load"]),
    ("input_written", {"read_only"}, ["store"]),
    ("two_threads_store", {"race"}, ["store"]),
    ("two_blocks_store", {"race"}, ["store"]),
    ("load_after_foreign_store", {"race"}, ["store", "load"]),
    ("matrix_out_of_bounds", {"out_of_bounds"}, ["load"]),
    ("matrix_without_syncwarp", {"race"}, ["write", "load"]),
    ("atomic_and_read", {"race"}, ["atomic", "read"]),
    ("atomic_and_own_read", {"race"}, ["atomic", "read"]),
]


def caught(name: str, seed: int = 0, preempt: bool = False) -> _emulation.EmulationError:
    with pytest.raises(_emulation.EmulationError) as info:
        _emulation.run_example(name, seed=seed, preempt=preempt, blocks=2)
    return info.value


def counters(name: str, **options: int) -> dict[str, int]:
    return _emulation.run_example(name, **options)[1]


@pytest.mark.parametrize("preempt", [False, True])
@pytest.mark.parametrize(("name", "kinds", "markers"), FAULTY, ids=[row[0] for row in FAULTY])
def test_a_wrong_kernel_is_caught_whatever_the_order(
    name: str, kinds: set[str], markers: list[str], preempt: bool
) -> None:
    expected = {LINES[f"{name}: {marker}"] for marker in markers}
    for seed in SEEDS:
        error = caught(name, seed, preempt)
        assert error.kind in kinds, error
        assert {line for _, line in error.sites} == expected, error
        assert all(file.endswith(SOURCE.name) for file, _ in error.sites)
        assert all(f"{SOURCE.name}:{line}" in str(error) for line in expected)
        assert error.block in {(0, 0, 0), (1, 0, 0)}


def test_every_marked_kernel_is_in_the_table() -> None:
    assert {marker.split(":")[0] for marker in LINES} == {name for name, _, _ in FAULTY}


def test_the_thread_at_fault_is_named() -> None:
    assert caught("copy_source_out_of_bounds").thread == (7, 0, 0)
    assert caught("shared_out_of_bounds").thread == (63, 0, 0)
    error = caught("matrix_out_of_bounds")  # the lane that gave the row, not the one that came last
    assert error.thread in {(9, 0, 0), (41, 0, 0)}
    assert f"[thread {error.thread} of block {error.block}]" in str(error)


def test_a_deadlock_says_where_each_thread_waits() -> None:
    message = str(caught("missed_barrier"))
    assert f"63 threads (the first 0) wait in __syncthreads at {SOURCE.name}" in message
    assert f"1 threads (the first 5) wait in __syncwarp at {SOURCE.name}" in message
    assert "32 have exited" in str(caught("absent_lanes"))


def test_an_access_out_of_bounds_names_the_buffer() -> None:
    assert "byte 16384 of input, which has 16384 bytes" in str(caught("global_out_of_bounds"))
    assert "byte -4 of output" in str(caught("global_before_begin"))
    assert "byte 8192 of 8192 bytes of shared memory" in str(caught("shared_out_of_bounds"))


def test_the_machine_runs_on_after_an_error() -> None:
    clean = counters("barrier_after_exits")
    for name, _, _ in FAULTY:
        caught(name)
    assert counters("barrier_after_exits") == clean


def test_the_seed_decides_the_order_and_nothing_else() -> None:
    victims = [caught("missing_barrier", seed).thread for seed in range(20)]
    assert len(set(victims)) > 5
    assert victims == [caught("missing_barrier", seed).thread for seed in range(20)]


def test_unwritten_shared_memory_reads_as_nan() -> None:
    output, counts = _emulation.run_example("uninitialized", blocks=2)
    assert np.isnan(output[:128].view(np.float32)).all()
    assert np.isnan(output[:128].view(np.float16)).all()
    assert counts["uninitialized_shared_bytes_read"] == 2 * 64 * 4


@pytest.mark.parametrize("seed", SEEDS)
def test_exited_threads_count_at_barriers(seed: int) -> None:
    output, counts = _emulation.run_example("barrier_after_exits", seed=seed, blocks=3)
    thread = np.arange(64)
    expected = np.where((thread % 3 != 0) & ((thread + 32) % 64 % 3 != 0), 7, 0)
    np.testing.assert_array_equal(output[: 3 * 64], np.tile(expected, 3))
    assert counts["barriers"] == 3


@pytest.mark.parametrize("seed", SEEDS)
def test_a_barrier_orders_global_memory_too(seed: int) -> None:
    output, _ = _emulation.run_example("global_exchange", seed=seed, preempt=True)
    np.testing.assert_array_equal(output[:64], 63 - np.arange(64))


@pytest.mark.parametrize("seed", SEEDS)
def test_parts_of_a_warp_meet_apart(seed: int) -> None:
    output, _ = _emulation.run_example("half_warps_meet_apart", seed=seed)
    np.testing.assert_array_equal(output[:64], (np.arange(64) ^ 15) + 1)


@pytest.mark.parametrize(("row_bytes", "conflicts"), [(16, 0), (144, 0), (128, 4 * 7)])
def test_ldmatrix_bank_conflicts(row_bytes: int, conflicts: int) -> None:
    counts = counters(f"matrix_rows<{row_bytes}>")
    assert (counts["ldmatrix"], counts["ldmatrix_bank_conflicts"]) == (1, conflicts)


@pytest.mark.parametrize(("spacing", "conflicts"), [(16, 0), (128, 4 * 7)])
def test_cp_async_counts(spacing: int, conflicts: int) -> None:
    counts = counters(f"copies<{spacing}>")
    assert counts["cp_async_requests"] == 1
    assert counts["cp_async_bytes"] == 24 * 16  # a quarter of the lanes is predicated off
    assert counts["cp_async_zero_filled_bytes"] == 8 * 16
    assert counts["cp_async_sectors"] == 16  # two lanes share a sector, and one of them is always on
    assert counts["cp_async_bank_conflicts"] == conflicts


@pytest.mark.parametrize("preempt", [0, 1])
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("stride", "load_sectors", "store_sectors"), [(1, 4, 4), (8, 32, 16)])
def test_global_sectors(stride: int, load_sectors: int, store_sectors: int, seed: int, preempt: int) -> None:
    counts = counters(f"global_stride<{stride}>", seed=seed, preempt=preempt)
    assert counts["global_load_requests"] == 2
    assert counts["global_load_bytes"] == 2 * 32 * 4
    assert counts["global_load_sectors"] == 2 * load_sectors
    assert counts["global_store_requests"] == 2
    assert counts["global_store_bytes"] == 2 * 16 * 4  # the even lanes'
    assert counts["global_store_sectors"] == 2 * store_sectors
    assert counts["visits"] == 2 * 32  # ptx::count


@pytest.mark.parametrize(("stride", "conflicts"), [(1, 0), (2, 1), (32, 31)])
def test_shared_store_bank_conflicts(stride: int, conflicts: int) -> None:
    counts = counters(f"shared_stride<{stride}>")
    assert counts["shared_store_requests"] == 1
    assert counts["shared_store_bytes"] == 32 * 4
    assert counts["shared_store_bank_conflicts"] == conflicts


def test_counters_do_not_depend_on_the_order_of_threads() -> None:
    reference = counters("global_stride<8>", blocks=4)
    assert all(counters("global_stride<8>", blocks=4, seed=seed, preempt=1) == reference for seed in SEEDS)
