"""The forward tests notice planted bugs: each mutant of the kernels fails, and the kernels as they are pass."""

from __future__ import annotations

import shutil

import mutants
import pytest


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    assert shutil.which("g++"), "building mutants needs g++"
    return mutants.emulator_objects(tmp_path_factory.mktemp("emulator"))


def test_unmutated_kernels_pass(objects, tmp_path):
    assert mutants.outcome(mutants.build(None, objects, tmp_path)) == "passed"


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "_"))
def test_mutant_is_caught(mutant, objects, tmp_path):
    found = mutants.outcome(mutants.build(mutant, objects, tmp_path))
    assert found.startswith(mutant.caught_as), found
