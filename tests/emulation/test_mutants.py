"""The tests of the kernels notice planted bugs: each mutant of the kernels fails, and the kernels as they are pass."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from mutant_driver import WORKERS, build, emulator_objects, outcome
from mutants import MUTANTS, PASSES, Mutant


@pytest.fixture(scope="module")
def outcomes(request, tmp_path_factory):
    """Of the selected mutants, built and run in the background: compiling takes most of the time."""
    assert shutil.which("g++"), "building mutants needs g++"
    objects = emulator_objects(tmp_path_factory.mktemp("emulator"))

    def run(mutant: Mutant | str) -> str:
        changed, of = (None, mutant) if isinstance(mutant, str) else (mutant, mutant.of)
        return outcome(build(changed, of, objects, tmp_path_factory.mktemp("mutant")), of)

    here = [item for item in request.session.items if item.path == request.path]
    selected = [item.callspec.params["mutant"] for item in here]
    with ThreadPoolExecutor(WORKERS) as pool:
        yield {mutant: pool.submit(run, mutant) for mutant in selected}


@pytest.mark.parametrize("mutant", PASSES)
def test_unmutated_kernels_pass(mutant, outcomes):
    assert outcomes[mutant].result() == "passed"


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "_"))
def test_mutant_is_caught(mutant, outcomes):
    found = outcomes[mutant].result()
    assert found.startswith(mutant.caught_as), found
