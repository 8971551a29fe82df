"""The commands that people wait for start without the heavy libraries."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = (
    "torch",
    "dgl",
    "transformers",
    "pykeen",
    "sklearn",
    "scipy",
    "matplotlib",
    "networkx",
    "rdflib",
    "pyshacl",
)
CATALOGUE = "id,title,colour\n1,Red mug,red\n2,Blue mug,blue\n"


def modules_after(*args: str, expect: int = 0) -> set[str]:
    """The top-level modules that a command leaves loaded."""
    script = (
        "import sys, json; from cli import main; code = main(sys.argv[1:]); "
        "print(json.dumps([code, sorted({name.split('.')[0] for name in sys.modules})]), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *args],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    code, names = json.loads(done.stderr.splitlines()[-1])
    assert code == expect, done.stderr
    return set(names)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("light")
    (folder / "items.csv").write_text(CATALOGUE)
    return folder


@pytest.mark.parametrize(
    "command",
    [[], ["train"], ["complete"], ["evaluate", "completion"], ["report"], ["model", "show"]],
)
def test_help_is_light(command: list[str]) -> None:
    assert not modules_after(*command, "--help") & {
        *HEAVY,
        "pandas",
        "pyarrow",
        "duckdb",
        "sqlalchemy",
        "rich",
    }


def test_ingest_and_show_are_light(home: Path) -> None:
    assert not modules_after("--home", str(home / "c"), "ingest", str(home / "items.csv")) & set(
        HEAVY
    )
    assert not modules_after("--home", str(home / "c"), "show", "1") & {
        *HEAVY,
        "pandas",
        "duckdb",
        "sqlalchemy",
    }


def test_the_help_of_all_loads_no_command_module() -> None:
    script = "import sys; from cli import main; main(['--help']); print(*(n for n in sys.modules if n.startswith('commands.')))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "commands.base"
