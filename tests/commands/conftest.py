"""A small home, and the command line called in-process."""

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
class Said:
    """What a call said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Call = Callable[..., Said]


@pytest.fixture
def call(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Call:
    """Calls a command in an empty folder; ``call("stats", "--json")``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CATALOGRAPH_HOME", raising=False)

    def run(*args: object) -> Said:
        capfd.readouterr()
        code = main([str(arg) for arg in args])
        return Said(code, *capfd.readouterr())

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
def shop(call: Call, table: Path) -> Call:
    """The calls, after the table was ingested into ./catalog."""
    assert call("ingest", table).code == 0
    return call
