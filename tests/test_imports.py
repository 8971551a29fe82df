"""What the commands import: nothing heavy where people wait, and never another's package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli import PACKAGES

ROOT = Path(__file__).parents[1]
HEAVY = {
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
}
CATALOGUE = "id,title,colour\n1,Red mug,red\n2,Blue mug,blue\n"


def modules_after(*args: str) -> set[str]:
    """Return the modules and packages that are loaded after a command."""
    script = (
        "import sys, json; from cli import main; code = main(sys.argv[1:]); "
        "names = sorted({*sys.modules, *(name.split('.')[0] for name in sys.modules)}); "
        "print(json.dumps([code, names]), file=sys.stderr)"
    )
    process = subprocess.run(
        [sys.executable, "-c", script, *args],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    code, names = json.loads(process.stderr.splitlines()[-1])
    assert code == 0, process.stderr
    return set(names)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("light")
    (folder / "items.csv").write_text(CATALOGUE)
    return folder


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["train"],
        ["complete"],
        ["evaluate", "completion"],
        ["report"],
        ["model", "show"],
        ["models", "list"],
        ["models", "compare"],
        ["export"],
    ],
)
def test_help_is_light(command: list[str]) -> None:
    too_heavy = {*HEAVY, "pandas", "pyarrow", "duckdb", "sqlalchemy", "rich"}
    assert not modules_after(*command, "--help") & too_heavy


def test_ingest_and_show_are_light(folder: Path) -> None:
    home = str(folder / "home")
    assert not modules_after("--home", home, "ingest", str(folder / "items.csv")) & HEAVY
    too_heavy = {*HEAVY, "pandas", "duckdb", "sqlalchemy"}
    assert not modules_after("--home", home, "show", "1") & too_heavy
    assert not modules_after("--home", home, "models", "list") & too_heavy
    assert not modules_after("--home", home, "models", "promote", "--none") & HEAVY
    # Which is called again and again, one cell after the other.
    too_heavy = {*HEAVY, "pandas", "pyarrow", "duckdb", "rich", "schema.ontology", "schema.units"}
    assert not modules_after("--home", home, "review", "list") & too_heavy


def test_a_search_without_vectors_is_light(folder: Path) -> None:
    home = str(folder / "searched")
    modules_after("--home", home, "ingest", str(folder / "items.csv"))
    for words in (["index"], ["search", "mug"], ["similar", "1"]):
        assert not modules_after("--home", home, *words) & {"torch", "transformers", "faiss"}


def test_help_loads_no_command_module() -> None:
    script = (
        "import sys; from cli import main; main(['--help']); "
        "print(*(name for name in sys.modules if name.startswith('commands.')))"
    )
    process = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert process.stdout.splitlines()[-1] == "commands.base"


def test_the_list_of_packages_is_complete() -> None:
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert set(PACKAGES) == folders - {"tests"}


@pytest.mark.parametrize("name", ["schema", "kg", "commands"])
@pytest.mark.parametrize("start", ["cli.py", "the console script"])
def test_foreign_package_of_the_same_name_is_one_line(
    tmp_path: Path, name: str, start: str
) -> None:
    foreign = tmp_path / name / "__init__.py"
    foreign.parent.mkdir()
    foreign.write_text("raise RuntimeError('the foreign package was imported')")
    # -P keeps the folder of cli.py from coming first on sys.path.
    console_script = ["-c", "import sys; from cli import main; sys.exit(main())"]
    command = ["-P", str(ROOT / "cli.py")] if start == "cli.py" else console_script
    process = subprocess.run(
        [sys.executable, *command, "--help"],
        cwd=tmp_path.parent,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (process.returncode, process.stdout) == (1, "")
    (line,) = process.stderr.splitlines()
    assert line.startswith("error: ")
    assert all(word in line for word in (repr(name), str(foreign), "environment of its own"))
