"""Timing candidates: which are tried, and that it happens once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from maskconv_ext import tuning

LINES = "a\t10\tL2\nb\t20\tarithmetic\nslow\t61\tarithmetic\nother\t\tneeds something\n"
TIMES = {"a": 9.0, "b": 7.0}


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    tuning.forget()
    yield
    tuning.forget()


def test_the_fastest_is_taken_and_remembered() -> None:
    ran: list[str] = []

    def timer(run) -> float:
        run()
        return TIMES[ran[-1]]

    assert tuning.fastest("key", LINES, ran.append, timer) == "b"
    assert ran == ["a", "b"], "neither what cannot run nor what is expected to be far behind"
    assert tuning.fastest("key", LINES, ran.append, timer) == "b"
    assert len(ran) == 2
    tuning.fastest("other key", LINES, ran.append, timer)
    assert len(ran) == 4


def test_it_is_off_unless_asked_for() -> None:
    assert not tuning.is_on()
    with torch.backends.cudnn.flags(benchmark=True):
        torch.use_deterministic_algorithms(True)
        try:
            assert not tuning.is_on()
        finally:
            torch.use_deterministic_algorithms(False)
