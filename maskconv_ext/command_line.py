"""What the commands of `maskconv-ext` share: refusals of one line, types of arguments, and how they end early."""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

REFUSED = 2
MOST = 2**63 - 1  # of what takes an int64


def died_of(number: int) -> int:
    """The exit status that a shell reports of a process that a signal ended."""
    return 128 + number


class Parser(argparse.ArgumentParser):
    """One that says what is wrong in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(refuse(f"{message} (options: {self.prog} --help)"))


def refuse(reason: object) -> int:
    """The exit status of a wrong call, once it is said what is wrong with it."""
    print(f"maskconv-ext: error: {reason}", file=sys.stderr)
    return REFUSED


def whole_number(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= MOST:
            raise argparse.ArgumentTypeError(f"needs a whole number, {least} at least, got {text!r}")
        return number

    return parse


def positive_number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"needs a number above 0, got {text!r}")
    return number


def run(command: Callable[[], int]) -> int:
    """`command`, ended as by SIGPIPE where nobody reads on (`| head`), and without a traceback by Ctrl-C."""
    try:
        try:
            return command()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # What is still in the buffer would fail once more at exit.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())
        return died_of(signal.SIGPIPE)
    except KeyboardInterrupt:
        return died_of(signal.SIGINT)
