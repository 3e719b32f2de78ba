"""`maskconv-ext`, whatever the command: wrong calls, and readers that go away."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from maskconv_ext.cli import main

COMMAND = [sys.executable, "-m", "maskconv_ext.cli"]
ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["nothing"], "argument COMMAND: invalid choice: 'nothing'"),
        (["info", "--nothing"], "unrecognized arguments: --nothing"),
        (["demo", "--seed", "-1"], "argument --seed: needs a whole number, 0 at least, got '-1'"),
        (["demo", "--repetitions", "two"], "argument --repetitions: needs a whole number, 1 at least, got 'two'"),
        (["bench", "--threads", "0"], "argument --threads: needs a whole number, 1 at least, got '0'"),
        (["bench", "--seed", str(2**64)], "argument --seed: needs a whole number"),
        (["bench", "--seconds", "nan"], "argument --seconds: needs a number above 0, got 'nan'"),
        (["bench", "--dtype", "int8"], "argument --dtype: invalid choice: 'int8'"),
        (["bench", "--device", "abacus"], "argument --device: invalid choice: 'abacus'"),
        (["bench", "compare"], "the following arguments are required: A.json, B.json"),
        (["bench", "compare", "a", "b", "--threshold", "x"], "argument --threshold: needs a number above 0, got 'x'"),
    ],
)
def test_wrong_calls_get_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    (line,) = capsys.readouterr().err.splitlines()
    assert stopped.value.code == 2 and line.startswith(f"maskconv-ext: error: {message}")


@pytest.mark.parametrize("arguments", [["info"], ["bench", "--dry-run"]], ids=" ".join)
def test_a_reader_that_goes_away_is_no_error(arguments: list[str]) -> None:
    """As `| head` does: the status is that of SIGPIPE, and nothing is said."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as pipe:
        done = subprocess.run([*COMMAND, *arguments], cwd=ROOT, stdout=pipe, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (141, "")
