"""complete --engine ray: the results of one machine, also if a node is lost on the way."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from cli import main
from kg import ray_cluster
from kg.home import Home
from kg.ray_cluster import RayCluster, Requirement
from schema.errors import EngineError
from schema.ledger_proposals import ProposalRecords
from schema.proposals import RunKind
from serving import ray_completion
from serving.completion import complete_cells
from serving.ray_completion import RayCompletion
from serving.results import Completion
from tests.commands.conftest import Call, assert_fails
from tests.commands.drawn_catalogue import draw_catalogue
from tests.ray_cluster import TwoNodes
from tests.serving.ray_workers import HELD, HeldWorker

ITEMS = 130


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with experts, beside a file of all cells and the completions of one machine."""
    folder = tmp_path_factory.mktemp("fitted")
    home = str(folder / "home")
    cells = [f"{item},{name}" for item in range(ITEMS) for name in ("colour", "shape")]
    (folder / "cells.csv").write_text("\n".join(["item,property", *cells]) + "\n")
    assert main(["--home", home, "ingest", str(draw_catalogue(folder, ITEMS))]) == 0
    assert main(["--home", home, "train", "--preset", "experts"]) == 0
    words = ("complete", "--cells", str(folder / "cells.csv"), "--out", str(folder / "local.jsonl"))
    assert main(["--home", home, *words]) == 0
    return folder


def _lines(folder: Path, fitted: Path) -> tuple[Path, Path]:
    """Return the files of a run and of one machine."""
    return folder / "ray.jsonl", fitted / "local.jsonl"


def _runs(fitted: Path) -> int:
    """Return how many runs of completion the home knows."""
    with Home.open(fitted / "home").ledger() as ledger:
        return len(ProposalRecords(ledger).runs(RunKind.COMPLETE))


@pytest.fixture
def run(call: Call, fitted: Path) -> Call:
    """Call a command in the home with the experts."""
    return lambda *args: call("--home", fitted / "home", *args)


@pytest.mark.slow
# On a busy machine, three processes that load PyTorch take their time.
@pytest.mark.timeout(900)
def test_blocks_of_a_killed_node_are_completed_by_the_other(
    run: Call, fitted: Path, ray_nodes: TwoNodes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(ray_completion, "_Worker", HeldWorker)
    held = fitted / "home" / HELD
    with ray_nodes.second_killed_when(held.exists) as killed:
        result = run(
            "complete",
            *("--cells", fitted / "cells.csv", "--out", "ray.jsonl"),
            *("--engine", "ray", "--workers", 2, "--json"),
        )
    assert result.code == 0, result.err
    assert killed.is_set()
    counts = result.json
    assert counts["cells"] == 2 * ITEMS
    lost = json.loads(held.read_text())
    held.unlink()
    # To the last bit, since the blocks are those of one machine.
    found, expected = (path.read_bytes() for path in _lines(tmp_path, fitted))
    assert found == expected
    # The lost block was not empty, and what it had is there.
    items = {json.loads(line)["item"] for line in found.decode().splitlines()}
    assert {str(item) for batch in lost for item, _ in batch} & items


def test_a_run_whose_cluster_is_lost_can_go_on(
    run: Call, fitted: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cluster = RayCluster(Requirement("", fitted, ""), nodes=2, processors=2, is_own=False)

    def begin(
        completion: RayCompletion, scorer: Any, items: Any, cells: Any, options: Any, **_: Any
    ) -> Iterator[Completion]:
        yield from itertools.islice(complete_cells(scorer, items, cells, options), 100)
        raise EngineError("the Ray cluster does not go on")

    monkeypatch.setattr(ray_cluster, "ray_cluster", lambda folder: nullcontext(cluster))
    monkeypatch.setattr(RayCompletion, "complete_cells", begin)
    out = ("--cells", fitted / "cells.csv", "--out", "ray.jsonl")
    result = run("complete", *out, "--engine", "ray")
    assert_fails(result, 1, "does not go on")
    assert "what is scored is kept" in result.err
    assert not (tmp_path / "ray.jsonl").exists()
    rest = run("complete", "--resume", "--json").json
    assert rest["cells"] == 2 * ITEMS
    found, expected = (path.read_text().splitlines() for path in _lines(tmp_path, fitted))
    assert len(found) == len(expected)
    for line, other in zip(map(json.loads, found), map(json.loads, expected), strict=True):
        assert (line["item"], line["decision"]) == (other["item"], other["decision"])


def test_more_workers_than_processors_are_refused(
    run: Call, fitted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = RayCluster(Requirement("", fitted, ""), nodes=2, processors=2, is_own=False)
    monkeypatch.setattr(ray_cluster, "ray_cluster", lambda folder: nullcontext(cluster))
    result = run("complete", "--engine", "ray", "--workers", 3)
    assert_fails(result, 2, "3 workers", "2 processors", "--workers")


def test_workers_are_those_of_a_cluster(run: Call, fitted: Path) -> None:
    assert_fails(run("complete", "--workers", 2), 2, "--workers 2", "--engine ray")


def test_a_language_model_is_asked_from_one_machine(run: Call, tmp_path: Path) -> None:
    assert_fails(run("complete", "--engine", "ray", "--llm", "llm.toml"), 2, "--llm", "leave it")


def test_a_cluster_that_does_not_answer_begins_no_run(
    run: Call, fitted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _runs(fitted)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("CATALOGRAPH_ENGINE", "ray")
    assert_fails(run("complete"), 1, "no Ray cluster answers at RAY_ADDRESS=127.0.0.1:1")
    assert _runs(fitted) == before
