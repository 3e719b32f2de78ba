"""The examples in the documentation run: the blocks of a page one after the other, in one namespace."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Block:
    page: Path
    line: int  # of the first line of code
    code: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    blocks = [
        Block(page, text.count("\n", 0, match.start("code")) + 1, match["code"]) for match in BLOCK.finditer(text)
    ]
    assert len(blocks) == text.count("```python"), f"{page}: a block does not begin and end at the start of a line"
    return blocks


PAGES = {page: blocks_of(page) for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]}


# What only some pages need; their examples are skipped where it is not installed.
OPTIONAL = ("torchvision", "timm")


class Session:
    """A reader who has run a page up to some line."""

    def __init__(self, page: Path):
        self.namespace = {"__name__": page.stem}
        self.line = 0
        torch.manual_seed(0)

    def run(self, block: Block) -> None:
        # Empty lines in front, so that a traceback names the line of the page.
        exec(compile("\n" * (block.line - 1) + block.code, str(block.page), "exec"), self.namespace)
        self.line = block.line


@pytest.fixture(scope="module")
def sessions() -> dict[Path, Session]:
    return {}


@pytest.mark.parametrize("block", [block for blocks in PAGES.values() for block in blocks], ids=str)
def test_example(block, sessions):
    if block.page not in sessions:
        sessions[block.page] = Session(block.page)
    session = sessions[block.page]
    for earlier in PAGES[block.page]:
        if session.line < earlier.line <= block.line:
            try:
                session.run(earlier)
            except ModuleNotFoundError as error:
                if error.name not in OPTIONAL:
                    raise
                pytest.skip(f"needs {error.name}, which is not installed")
