"""Imports go left only: schema < kg < encoders < fusion < {training, serving} < evaluation < commands < cli."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BELOW = {
    "schema": set(),
    "kg": {"schema"},
    "encoders": {"schema", "kg"},
    "fusion": {"schema", "kg", "encoders"},
    "training": {"schema", "kg", "encoders", "fusion"},
    "serving": {"schema", "kg", "encoders", "fusion"},
    "evaluation": {"schema", "kg", "encoders", "fusion", "training", "serving"},
    "commands": {"schema", "kg", "encoders", "fusion", "training", "serving", "evaluation"},
    "cli": {"schema", "commands"},
}
FILES = sorted(
    path.relative_to(ROOT)
    for layer in BELOW
    for path in [*ROOT.glob(f"{layer}/**/*.py"), *ROOT.glob(f"{layer}.py")]
)


def imported(tree: ast.AST) -> Iterator[str]:
    """The full names of all modules that a file imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def breaks(file: Path, source: str) -> list[str]:
    """What a file at this place may not import but does."""
    layer = file.parts[0].removesuffix(".py")
    names = set(imported(ast.parse(source)))
    own = {name for name in names if name.split(".")[0] in BELOW}
    found = {name for name in own if name.split(".")[0] not in BELOW[layer] | {layer}}
    if layer in ("encoders", "fusion"):
        found |= {
            name
            for name in own
            if name.startswith("kg.") and not name.startswith("kg.message_flow")
        }
    if file != Path("kg/sampling/dgl_compat.py"):
        found |= {name for name in names if name.split(".")[0] == "dgl"}
    return sorted(found)


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_file_imports_only_what_lies_to_its_left(file: Path) -> None:
    assert breaks(file, (ROOT / file).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("schema/a.py", "import kg.stores.open"),
        ("training/a.py", "from serving.completion import complete"),
        ("serving/a.py", "import training"),
        ("fusion/a.py", "from kg.stores.open import open_store"),
        ("encoders/a.py", "from kg import snapshot"),
        ("kg/sampling/sampler.py", "import dgl.function"),
        ("cli.py", "import torch, kg.home"),
        ("evaluation/a.py", "def f():\n    import commands.common"),
    ],
)
def test_a_break_is_found(file: str, line: str) -> None:
    assert breaks(Path(file), line)


def test_the_message_flow_is_open_to_the_model() -> None:
    assert breaks(Path("fusion/a.py"), "from kg.message_flow import MessageFlow") == []


def test_every_layer_is_looked_at() -> None:
    assert {file.parts[0].removesuffix(".py") for file in FILES} == set(BELOW)


def test_relative_imports_are_not_used() -> None:
    trees = (ast.parse((ROOT / file).read_text(encoding="utf-8")) for file in FILES)
    assert not [
        node
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
    ]
