"""The snippets of docs/python.md run, one after another, as they stand."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from kg.sample import write_sample

ROOT = Path(__file__).parents[1]
SNIPPET = re.compile(r"```python\n(.*?)```", re.DOTALL)
PACKAGES = (
    "schema",
    "kg",
    "kg.export",
    "kg.ingest",
    "kg.stores",
    "encoders",
    "fusion",
    "training",
    "serving",
    "evaluation",
)


def test_the_snippets_run(tmp_path, monkeypatch):
    write_sample(tmp_path / "shop", 80, seed=0)
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    snippets = SNIPPET.findall(text)
    assert len(snippets) >= 6
    names: dict[str, Any] = {}
    for number, snippet in enumerate(snippets):
        exec(compile(snippet, f"docs/python.md, snippet {number + 1}", "exec"), names)
    assert names["report"].stored > 0
    assert names["completion"].candidates


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_has_what_it_lists(name):
    package = importlib.import_module(name)
    assert package.__all__
    assert package.__doc__
    for each in package.__all__:
        assert getattr(package, each) is not None
