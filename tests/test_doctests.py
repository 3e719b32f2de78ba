"""The examples in the docstrings run as printed."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import maskconv_ext

MODULES = ["maskconv_ext"] + [
    module.name
    for module in pkgutil.walk_packages(maskconv_ext.__path__, "maskconv_ext.")
    if not any(part.startswith("_") for part in module.name.split("."))
]


@pytest.mark.parametrize("name", MODULES)
def test_doctests(name):
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("maskconv_ext"):
            raise
        pytest.skip(f"{name} needs {error.name}, which is not installed")
    assert doctest.testmod(module).failed == 0


def test_the_examples_of_the_readme():
    text = (Path(__file__).parents[1] / "README.md").read_text()
    examples = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert examples
    exec("\n".join(examples), {})


def test_the_public_functions_have_examples():
    finder = doctest.DocTestFinder()
    assert any(test.examples for test in finder.find(maskconv_ext.masked_conv2d))
