"""Which process runs which files: those of one server go together, and the longest come first."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from xdist.remote import Producer

from tests.conftest import pytest_xdist_make_scheduler
from tests.scheduling import LongestFirst, fixtures_of

FILES = {
    "test_few.py": "def test_0(): ...",
    "test_graph.py": "def test_0(tmp_path, neo4j): ...",
    "test_many.py": "\n".join(f"def test_{number}(): ..." for number in range(9)),
    "test_asked.py": "def test_0(request): request.getfixturevalue({'rdf': 'fuseki'}['rdf'])",
    "test_long.py": "@pytest.mark.slow\ndef test_0(): ...",
}


class Process:
    """Stands in for one of the processes: keeps what it is told to run."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.told: list[int] = []
        self.ran: list[str] = []
        self.shutting_down = False

    def send_runtest_some(self, tests: list[int]) -> None:
        """Be told to run these tests."""
        self.told += tests

    def shutdown(self) -> None:
        """Be told that nothing follows."""
        self.shutting_down = True


class Config(SimpleNamespace):
    """Stands in for the settings of a run of two processes."""

    def getvalue(self, name: str) -> list[str]:
        """Return the processes to start."""
        return ["popen", "popen"]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """The settings of a run on the files."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    option = SimpleNamespace(dist="loadfile", loadscopereorder=True, debug=False)
    return Config(rootpath=tmp_path, option=option)


def test_files_of_a_server_go_to_one_process_and_long_ones_come_first(config: Config) -> None:
    scheduler = pytest_xdist_make_scheduler(config, Producer("tests"))
    assert isinstance(scheduler, LongestFirst)
    tests = [
        f"{name}::test_{at}" for name, text in FILES.items() for at in range(text.count("def "))
    ]
    processes = (Process("first"), Process("second"))
    for process in processes:
        scheduler.add_node(process)
        scheduler.add_node_collection(process, tests)
    scheduler.schedule()
    while waiting := [process for process in processes if len(process.ran) < len(process.told)]:
        for process in waiting:
            test = process.told[len(process.ran)]
            process.ran.append(tests[test])
            scheduler.mark_test_complete(process, test)
    first, second = ([each.split("::")[0] for each in process.ran] for process in processes)
    assert len(first) + len(second) == len(set(processes[0].ran + processes[1].ran)) == len(tests)
    # More work is given out as soon as no more than two tests are left.
    assert first == ["test_graph.py", "test_asked.py", *["test_many.py"] * 9]
    assert second == ["test_long.py", "test_few.py"]
    assert all(process.shutting_down for process in processes)


def test_another_distribution_is_left_to_xdist(config: Config) -> None:
    config.option.dist = "load"
    assert pytest_xdist_make_scheduler(config, None) is None


def test_what_a_test_only_mentions_is_no_server() -> None:
    assert fixtures_of("def test_0(store):\n    assert store.url == 'neo4j'") == set()
    assert fixtures_of("class TestA:\n    def test_0(self, *, fuseki): ...") == {"fuseki"}
