"""Runs examples/inpainting.py until it is killed: `killed_run.py N ARGUMENTS` dies while it writes checkpoint N.

The new file is written by then, and has not yet taken the old one's place.
"""

import os
import signal
import sys
import types
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

import inpainting
from common import checkpoint

written = 0


def replace_or_die(source, target):
    global written
    written += 1
    if written == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    os.replace(source, target)


checkpoint.os = types.SimpleNamespace(fsync=os.fsync, replace=replace_or_die)
sys.exit(inpainting.main(sys.argv[2:]))
