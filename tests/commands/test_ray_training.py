"""Training on a Ray cluster: as torchrun's processes do, also if a node is lost midway."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks import processes as together
from cli import main
from kg.home import Home
from tests.commands.conftest import Call, assert_fails
from tests.commands.drawn_catalogue import draw_catalogue
from tests.ray_cluster import TwoNodes
from tests.threads import torch_threads
from tests.training.conftest import made_home

STEPS = 24
SETTINGS = (
    *together.SETTINGS,
    "keep_every=4",
    "validate_every=8",
    "image_size=32",
    "stem_channels=4,8,8,8",
    "max_ngrams=128",
)
ON_RAY = ("--engine", "ray", "--workers")


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let Ray look at the workers often, and all train with one thread."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")
    # One process less to start.
    monkeypatch.setenv("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    with torch_threads(1):
        yield


def words(home: Path, name: str) -> list[str]:
    return together.words_of(home, name, "joint", STEPS, SETTINGS)


def as_process(arguments: list[str], environment: dict[str, str]) -> None:
    """Be one of the processes that torchrun would start."""
    os.environ.update(environment)
    raise SystemExit(main(arguments))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a network that two processes have trained without Ray."""
    path = made_home(tmp_path_factory.mktemp("ray")).path
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    base = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    both = [
        together._servers().Process(
            target=as_process, args=(words(path, "undisturbed"), {**base, "RANK": str(rank)})
        )
        for rank in range(2)
    ]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert [each.exitcode for each in both] == [0, 0]
    return path


@contextmanager
def when(event: Callable[[], bool], act: Callable[[], None]) -> Iterator[None]:
    """Act as soon as an event has happened, unless the ``with`` block has ended before."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            if event():
                act()
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def kept(folder: Path) -> Callable[[], bool]:
    """Return whether a run has written a checkpoint since now."""
    before = set((folder / "checkpoints").glob("step-*"))
    return lambda: not before.issuperset((folder / "checkpoints").glob("step-*"))


def losses(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{name: line[name] for name in ("step", "epoch", "lr", "loss")} for line in lines]


def entries(home: Path, name: str) -> list[dict[str, Any]]:
    with Home.open(home).ledger() as ledger:
        return [each for each in ledger.trainings() if Path(each["model"]).name == name]


def assert_same(home: Path, name: str) -> None:
    """Assert that a run has ended as the undisturbed one."""
    models = home / "models"
    assert together.digest(home, name) == together.digest(home, "undisturbed")
    for file in ("model.safetensors", "calibration.json"):
        assert (models / name / file).read_bytes() == (models / "undisturbed" / file).read_bytes()
    assert losses(models / name) == losses(models / "undisturbed")


@pytest.mark.slow
def test_a_run_whose_nodes_are_lost_goes_on_and_ends_as_two_processes_do(
    call: Call, home: Path, ray_nodes: TwoNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "1")
    folder = home / "models" / "on-ray"
    with ray_nodes.second_killed_when(kept(folder)):
        lost = call(*words(home, "on-ray"), *ON_RAY, "2", "--max-restarts", "0")
        again = f"catalograph --home {home} train --engine ray --workers 2 --resume --name"
        assert_fails(lost, 1, f"{again} on-ray")
    assert entries(home, "on-ray") == []
    # As a command would leave it that was killed.
    (folder / "checkpoint_manager_snapshot.json").write_text("{}")
    monkeypatch.delenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S")
    # The second node is started again meanwhile, and stays in this folder.
    monkeypatch.chdir(ray_nodes.folder)
    with (
        ray_nodes.second_killed_when(kept(folder)) as killed,
        when(killed.is_set, ray_nodes.add_second),
    ):
        train = ("--home", home, "train", "--resume", "--name", "on-ray", *ON_RAY, "2")
        resumed = call(*train, "--json")
    assert resumed.code == 0, resumed.err
    assert resumed.err.count("a worker was lost (") == 1
    assert f"step {STEPS} · validation" in resumed.err
    assert_same(home, "on-ray")
    [entry] = entries(home, "on-ray")
    document = resumed.json
    assert {name: entry[name] for name in document} == document
    [expected] = entries(home, "undisturbed")
    assert (entry["steps"], entry["metrics"]) == (STEPS, expected["metrics"])
    assert not [path for path in folder.iterdir() if "marker" in path.name or "ray" in path.name]
    assert not (folder / "checkpoint_manager_snapshot.json").exists()


@pytest.mark.slow
def test_ctrl_c_saves_the_run_and_this_machine_continues_it(
    call: Call, tmp_path: Path, ray_nodes: TwoNodes
) -> None:
    shop = draw_catalogue(tmp_path)
    settings = ("precision=fp32", "log_every=1", "keep_every=2", "validate_every=4")
    train = ("train", "--size", "tiny", "--steps", "24", *(f"--set={each}" for each in settings))
    assert call("--home", "home", "ingest", shop).code == 0
    shutil.copytree("home", "other")
    folder = tmp_path / "home" / "models" / "joint"
    with when(kept(folder), lambda: os.kill(os.getpid(), signal.SIGINT)):
        stopped = call("--home", "home", *train, "--name", "joint", *ON_RAY, "1", "--json")
    assert stopped.code == 130, stopped.err
    assert 2 <= stopped.json["steps"] < 24
    assert "train --engine ray --workers 1 --resume --name joint" in stopped.err
    resumed = call("--home", "home", "train", "--resume", "--name", "joint", "--json")
    whole = call("--home", "other", *train, "--name", "joint", "--json")
    assert resumed.json["second_stage"] == whole.json["second_stage"]
    assert resumed.json["experts"] == whole.json["experts"]
    for file in ("network/model.safetensors", "joint.json"):
        ours, theirs = (Path(each) / "models" / "joint" / file for each in ("home", "other"))
        assert ours.read_bytes() == theirs.read_bytes()
    assert [each["preset"] for each in entries(Path("home"), "joint")[:2]] == ["experts", "joint"]


@pytest.mark.slow
def test_what_a_worker_refuses_is_refused_at_once(
    call: Call, home: Path, ray_nodes: TwoNodes
) -> None:
    small = call(*words(home, "small"), "--set", "batch_size=2", *ON_RAY, "2")
    assert_fails(small, 2, "batch_size=2 is too small for 2 processes")
    assert "started again" not in small.err


def test_workers_that_a_cluster_has_no_room_for_are_refused(
    call: Call, home: Path, ray_nodes: TwoNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    much = call(*words(home, "much"), *ON_RAY, "3")
    assert_fails(much, 2, "--workers 3", "room for 2", "a processor of one node", "2 nodes with 2")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    none = call(*words(home, "much"), *ON_RAY, "1")
    assert_fails(none, 2, "room for 0", "2 processors", "OMP_NUM_THREADS")
    assert not (home / "models" / "much").exists()


def test_options_that_do_not_fit(
    call: Call, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_fails(call(*words(home, "no"), "--workers", "2"), 2, "--workers 2", "--engine ray")
    (tmp_path / "llm.toml").write_text('model = "m"\nurl = "http://127.0.0.1:9/v1"\n')
    llm = call("--home", home, "train", *ON_RAY, "2", "--llm", "llm.toml")
    assert_fails(llm, 2, "--llm does not fit --engine ray")
    restarts = call(*words(home, "no"), "--max-restarts", "1")
    assert_fails(restarts, 2, "--max-restarts 1", "--engine ray")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert_fails(call(*words(home, "no"), *ON_RAY, "2"), 2, "--engine ray", "torchrun")
