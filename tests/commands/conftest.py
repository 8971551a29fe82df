"""A small catalogue, and the command line called in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cli import main

ITEMS = """id,title,category,image,colour,material
1,Red clay mug,Mugs,images/1.png,red,clay
2,Blue mug,Mugs,,blue,
3,,Mugs,,blue,clay
4,Oak chair,Chairs,,,oak
"""


@dataclass
class Result:
    """The exit code and the output of a call."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Call = Callable[..., Result]


def assert_fails(result: Result, code: int, *words: str) -> None:
    """Assert that a call failed with this code and one error line that contains the words."""
    assert result.code == code
    assert "Traceback" not in result.err
    lines = result.err.splitlines()
    assert lines
    assert lines[-1].startswith("error: ")
    assert all(word in lines[-1] for word in words), lines[-1]


@pytest.fixture
def call(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Call:
    """Call a command in an empty folder: ``call("stats", "--json")``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CATALOGRAPH_HOME", raising=False)

    def run(*args: object) -> Result:
        capfd.readouterr()
        code = main([str(arg) for arg in args])
        return Result(code, *capfd.readouterr())

    return run


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of four items, one of them with an image."""
    from PIL import Image

    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8), "red").save(tmp_path / "images" / "1.png")
    (tmp_path / "items.csv").write_text(ITEMS)
    return tmp_path / "items.csv"


@pytest.fixture
def ingested(call: Call, table: Path) -> Call:
    """Call a command in a folder whose ``./catalog`` holds the table."""
    assert call("ingest", table).code == 0
    return call
