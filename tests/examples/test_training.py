"""Training: killed and resumed, and on two ranks, with the loss curve of one uninterrupted process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import inpainting
import pytest
import torch
import torch.distributed as dist

HERE = Path(__file__).parent
EXAMPLE = HERE.parents[1] / "examples" / "inpainting.py"
KILLED = HERE / "killed_run.py"
# Six steps of four images, a checkpoint every two.
ARGUMENTS = ["--smoke", "--kinds", "masked", "--device", "cpu"]


def run(*command: object) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    environment |= {"OMP_NUM_THREADS": "1"}
    words = [sys.executable, *map(str, command)]
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300)


def torchrun(*command: object) -> subprocess.CompletedProcess[str]:
    return run("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2, *command)


def checkpoint_in(folder: Path):
    return torch.load(folder / "masked.pt", weights_only=True)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The last checkpoint of one process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("uninterrupted")
    assert inpainting.main([*ARGUMENTS, "--out", str(folder)]) == 0
    torch.set_num_threads(threads)
    return checkpoint_in(folder)


def test_killed_and_resumed(tmp_path, uninterrupted):
    killed = run(KILLED, 3, *ARGUMENTS, "--out", tmp_path)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (tmp_path / "masked.pt.unfinished").exists() and not (tmp_path / "results.json").exists()
    assert len(checkpoint_in(tmp_path)["losses"]) == 4

    torch.manual_seed(99)  # a new process has other random numbers
    assert inpainting.main([*ARGUMENTS, "--out", str(tmp_path)]) == 0
    resumed = checkpoint_in(tmp_path)
    assert resumed["losses"] == uninterrupted["losses"] and len(resumed["losses"]) == 6
    for part in ("model", "optimizer", "schedule"):
        torch.testing.assert_close(resumed[part], uninterrupted[part], rtol=0, atol=0)
    (got,), (wanted,) = resumed["random"], uninterrupted["random"]
    assert torch.equal(got["torch"], wanted["torch"])
    assert got["python"] == wanted["python"] and got["numpy"] == wanted["numpy"]


@pytest.mark.skipif(not dist.is_available(), reason="torch was built without torch.distributed")
def test_two_ranks_killed_and_resumed(tmp_path, uninterrupted):
    killed = torchrun(KILLED, 2, *ARGUMENTS, "--out", tmp_path)
    assert killed.returncode != 0 and "SIGKILL" in killed.stderr, killed.stderr
    assert len(checkpoint_in(tmp_path)["losses"]) == 2

    resumed = torchrun(EXAMPLE, *ARGUMENTS, "--out", tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.count("written to") == 1, "results of one rank only"
    state = checkpoint_in(tmp_path)
    assert len(state["random"]) == 2
    # The same sums in another order, from which six steps of Adam depart a little.
    torch.testing.assert_close(state["losses"], uninterrupted["losses"], rtol=1e-4, atol=0)
    statistics = {name: value for name, value in uninterrupted["model"].items() if "running" in name}
    assert statistics
    torch.testing.assert_close({name: state["model"][name] for name in statistics}, statistics, rtol=1e-3, atol=1e-5)


def test_bfloat16(tmp_path, uninterrupted):
    assert inpainting.main([*ARGUMENTS, "--precision", "bf16", "--out", str(tmp_path)]) == 0
    losses = checkpoint_in(tmp_path)["losses"]
    assert losses != uninterrupted["losses"]
    torch.testing.assert_close(losses, uninterrupted["losses"], rtol=0.03, atol=0)


def test_workers_change_nothing(tmp_path, uninterrupted):
    assert inpainting.main([*ARGUMENTS, "--workers", "1", "--steps", "6", "--out", str(tmp_path)]) == 0
    assert checkpoint_in(tmp_path)["losses"] == uninterrupted["losses"]
