"""Imports only go left, and never in a circle.

schema < kg < encoders < fusion < experts < {training, serving} < evaluation < commands < cli
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import networkx as nx
import pytest

import cli
from kg import ray_cluster

ROOT = Path(__file__).parents[1]
ALLOWED_LAYERS = {
    "schema": set(),
    "kg": {"schema"},
    "encoders": {"schema", "kg"},
    "fusion": {"schema", "kg", "encoders"},
    "experts": {"schema", "kg", "encoders", "fusion"},
    "training": {"schema", "kg", "encoders", "fusion", "experts"},
    "serving": {"schema", "kg", "encoders", "fusion", "experts"},
    "evaluation": {"schema", "kg", "encoders", "fusion", "experts", "training", "serving"},
    "commands": {
        "schema",
        "kg",
        "encoders",
        "fusion",
        "experts",
        "training",
        "serving",
        "evaluation",
    },
    "cli": {"schema", "commands"},
}
FILES = sorted(
    path.relative_to(ROOT)
    for layer in ALLOWED_LAYERS
    for path in [*ROOT.glob(f"{layer}/**/*.py"), *ROOT.glob(f"{layer}.py")]
)


def read(file: Path) -> str:
    return (ROOT / file).read_text(encoding="utf-8")


def layer_of(file: Path) -> str:
    return file.parts[0].removesuffix(".py")


def module_of(file: Path) -> str:
    """Return the dotted name of the module in a file."""
    return ".".join(file.with_suffix("").parts).removesuffix(".__init__")


def imported_names(nodes: Iterator[ast.AST]) -> Iterator[str]:
    """Yield the full name of everything that the import statements among ``nodes`` import."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def forbidden_imports(file: Path, source: str) -> list[str]:
    """Return what the source of a file imports although its layer may not."""
    layer = layer_of(file)
    names = set(imported_names(ast.walk(ast.parse(source))))
    project_names = {name for name in names if name.split(".")[0] in ALLOWED_LAYERS}
    allowed = ALLOWED_LAYERS[layer] | {layer}

    forbidden = {name for name in project_names if name.split(".")[0] not in allowed}
    if layer in ("encoders", "fusion"):
        forbidden |= {
            name
            for name in project_names
            if name.startswith("kg.") and not name.startswith("kg.message_flow")
        }
    if file != Path("kg/sampling/dgl_compat.py"):
        forbidden |= {name for name in names if name.split(".")[0] == "dgl"}
    return sorted(forbidden)


def walk_runtime(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and all its descendants, without the bodies of ``if TYPE_CHECKING``."""
    yield node
    children: Iterator[ast.AST] = ast.iter_child_nodes(node)
    if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        children = iter(node.orelse)
    for child in children:
        yield from walk_runtime(child)


def import_circles(sources: Mapping[str, str]) -> list[list[str]]:
    """Return the groups of modules that import each other, given each module's source by name.

    An import inside a function counts: it only hides the circle, and the modules still cannot be
    understood or tested one without the other.
    """
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(sources)
    for module, source in sources.items():
        for name in imported_names(walk_runtime(ast.parse(source))):
            if name in sources and name != module:
                graph.add_edge(module, name)
    components = nx.strongly_connected_components(graph)
    return sorted(sorted(component) for component in components if len(component) > 1)


def test_cli_and_ray_cluster_name_all_packages() -> None:
    """They cannot share the list: cli.py needs it before it imports any of the packages."""
    packages = ALLOWED_LAYERS.keys() - {"cli"}
    assert set(cli.PACKAGES) == packages
    assert set(ray_cluster.PACKAGES) == packages


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_file_imports_only_from_layers_to_its_left(file: Path) -> None:
    assert forbidden_imports(file, read(file)) == []


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
def test_a_forbidden_import_is_found(file: str, line: str) -> None:
    assert forbidden_imports(Path(file), line)


def test_the_model_may_import_the_message_flow() -> None:
    line = "from kg.message_flow import MessageFlow"
    assert forbidden_imports(Path("fusion/a.py"), line) == []


def test_every_layer_is_checked() -> None:
    assert {layer_of(file) for file in FILES} == set(ALLOWED_LAYERS)


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    assert import_circles({module_of(file): read(file) for file in FILES}) == []


@pytest.mark.parametrize(
    "last_import",
    [
        "import kg.a",
        "from kg.a import thing",
        "from kg import a",
        "def late():\n    from kg.a import thing",
        "if TYPE_CHECKING:\n    pass\nelse:\n    import kg.a",
    ],
)
def test_an_import_circle_is_found(last_import: str) -> None:
    sources = {
        "kg": "",
        "kg.a": "import kg.b",
        "kg.b": "from kg.c import thing",
        "kg.c": last_import,
        "kg.d": "import kg.a",
    }
    assert import_circles(sources) == [["kg.a", "kg.b", "kg.c"]]


@pytest.mark.parametrize(
    "back_import",
    [
        "import kg.c",
        "if TYPE_CHECKING:\n    from kg.a import Thing",
        "if typing.TYPE_CHECKING:\n    import kg.a",
    ],
)
def test_an_import_for_types_alone_makes_no_circle(back_import: str) -> None:
    assert import_circles({"kg.a": "import kg.b", "kg.b": back_import, "kg.c": ""}) == []


def test_relative_imports_are_not_used() -> None:
    nodes = (node for file in FILES for node in ast.walk(ast.parse(read(file))))
    assert not [node for node in nodes if isinstance(node, ast.ImportFrom) and node.level]
