"""Every file, heading and name that the documents, docstrings and comments refer to exists."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

from cli import PACKAGES

ROOT = Path(__file__).parents[1]
FOLDERS = (*PACKAGES, "tests", "benchmarks", "docs")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
MODULES = sorted(
    [ROOT / "cli.py", *(path for folder in FOLDERS for path in ROOT.glob(f"{folder}/**/*.py"))]
)
NAMES = {path.name for path in MODULES}

FENCED_CODE = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
PATH = re.compile(rf"(?<![\w/.-])(?:{'|'.join(FOLDERS)})/[\w./-]*\w/?|(?<![\w/.*-])\w+\.py\b")
ROLE = re.compile(r":(?:mod|class|func|meth|data|attr):`~?([\w.]+)`")
DOTTED_NAME = re.compile(rf"``((?:{'|'.join(PACKAGES)})(?:\.[a-zA-Z_]\w*)+)``")


def missing_paths(text: str) -> list[str]:
    """Return the paths of the repository's files that a text mentions and that do not exist.

    A file may also be named without its folder, and a test without ``tests/``.
    """
    return [
        path
        for path in PATH.findall(text)
        if not ((ROOT / path).exists() or (ROOT / "tests" / path).exists() or path in NAMES)
    ]


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = HEADING.findall(FENCED_CODE.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@cache
def module_file(name: str) -> Path | None:
    """Return the file of a module or package, or None if there is none."""
    path = ROOT / name.replace(".", "/")
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file
    return None


def defined_names(nodes: list[ast.stmt]) -> Iterator[str]:
    """Yield the names that statements define or import, and ``Class.member`` for members."""
    for node in nodes:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name
        if isinstance(node, ast.ClassDef):
            yield from (f"{node.name}.{member}" for member in defined_names(node.body))
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.If):
            yield from defined_names(node.body)


@cache
def names_of(file: Path) -> frozenset[str]:
    """Return the names in a module, those of members with and without their class."""
    names = set(defined_names(ast.parse(file.read_text(encoding="utf-8")).body))
    return frozenset(names | {name.rpartition(".")[2] for name in names})


def is_defined(name: str, file: Path) -> bool:
    """Return whether a name exists, seen from a file: absolutely, or in the file itself."""
    parts = name.split(".")
    if parts[0] not in PACKAGES:
        return name in names_of(file)
    for end in range(len(parts), 0, -1):
        module = module_file(".".join(parts[:end]))
        if module is not None:
            return end == len(parts) or ".".join(parts[end:]) in names_of(module)
    return False


def statements(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Return statements with those inside them; not the expressions, which are far more."""
    for node in nodes:
        yield node
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            yield from statements(getattr(node, part, ()))


def prose(file: Path) -> str:
    """Return the docstrings and comments of a file."""
    source = file.read_text(encoding="utf-8")
    texts = [
        node.value.value
        for node in statements(ast.parse(source).body)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    texts += [token.string for token in tokens if token.type == tokenize.COMMENT]
    return "\n".join(texts)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_names_files_and_headings_that_exist(page: Path) -> None:
    # Fenced code may create files, as in CONTRIBUTING.md.
    text = FENCED_CODE.sub("", page.read_text(encoding="utf-8"))
    assert missing_paths(text) == []
    for target, anchor in LINK.findall(text):
        if "://" not in target:
            linked = page.parent / target if target else page
            assert linked.exists(), target
            assert not anchor or anchor in anchors(linked), f"{target}#{anchor}"


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_docstring_names_files_and_objects_that_exist(file: Path) -> None:
    text = prose(file)
    assert missing_paths(text) == []
    names = ROLE.findall(text) + DOTTED_NAME.findall(text)
    assert [name for name in names if not is_defined(name, file)] == []


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("see `kg/home.py`, `home.py` and docs/rdf.md.", []),
        ("see `kg/nothing.py`", ["kg/nothing.py"]),
        ("nothing.py is gone", ["nothing.py"]),
        ("schema/mappings/ and https://example.org/docs/x.py", []),
    ],
)
def test_a_missing_file_is_found(text: str, missing: list[str]) -> None:
    assert missing_paths(text) == missing


@pytest.mark.parametrize(
    ("name", "exists"),
    [
        ("kg.home", True),
        ("kg.home.Home.open", True),
        ("kg.Home", True),
        ("anchors", True),
        ("kg.home.Nothing", False),
        ("kg.nothing", False),
    ],
)
def test_a_missing_name_is_found(name: str, exists: bool) -> None:
    assert is_defined(name, Path(__file__)) is exists
