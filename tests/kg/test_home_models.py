"""A home's models: what their folders say, the champion, and deletion; the lock of a training."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pytest

from kg import model_lock as model_lock_module
from kg.home import Home
from kg.home_models import (
    Kind,
    State,
    champion_or,
    delete_model,
    list_models,
    promote,
    read_champion,
)
from kg.model_lock import (
    LOCK,
    WRITER,
    is_vacant,
    locked_by_starter,
    model_lock,
    trained_by,
)
from schema.errors import HomeNotFoundError, UsageError
from schema.manifests import CONFIG, EXPERT_FILE, MANIFEST, NETWORK, ONTOLOGY, write_manifest
from schema.ontology import Ontology, PropertySpec

COLOUR = PropertySpec("colour", values=("red", "blue"), counts=(3, 2), coverage=1.0)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home.open(tmp_path / "home", create=True)
    home.ontology_path.write_text(Ontology([COLOUR]).to_toml())
    return home


def write_model(folder: Path, *names: str, ontology: str | None = None) -> Path:
    """Write a folder whose manifest names a model's files, and these others."""
    about = {"items": 7, "validation": {"hits@1": 0.5}}
    files = {
        CONFIG: json.dumps(about).encode(),
        ONTOLOGY: (Ontology([COLOUR]).to_toml() if ontology is None else ontology).encode(),
        **dict.fromkeys(names, b"weights"),
    }
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    write_manifest(folder, {name: hashlib.sha256(data).hexdigest() for name, data in files.items()})
    return folder


@contextmanager
def trained_elsewhere(folder: Path) -> Iterator[int]:
    """Hold a model's lock in another process; yields its id."""
    here, there = multiprocessing.Pipe()
    # The lock of one process is not another's.
    process = multiprocessing.get_context("spawn").Process(target=_hold, args=(folder, there))
    process.start()
    assert here.poll(60)
    here.recv()
    try:
        yield process.pid or 0
    finally:
        process.kill()
        process.join()


def _hold(folder: Path, pipe: Connection) -> None:
    with model_lock(folder):
        pipe.send(os.getpid())
        pipe.recv()


def test_folders_say_what_they_hold(home: Home) -> None:
    write_model(home.models / "a", EXPERT_FILE)
    write_model(home.models / "b", EXPERT_FILE)
    write_model(home.models / "b" / NETWORK)
    write_model(home.models / "c")
    found = {each.name: each for each in list_models(home)}
    kinds = {name: each.kind for name, each in found.items()}
    assert kinds == {"a": Kind.EXPERTS, "b": Kind.BOTH, "c": Kind.NETWORK}
    entry = found["a"]
    assert (entry.state, entry.items, entry.properties) == (State.WHOLE, 7, 1)
    assert entry.held_out == {"hits@1": 0.5}
    assert entry.size == sum(path.stat().st_size for path in entry.path.iterdir())
    assert entry.answers is not None
    assert entry.answers.word == "the same"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (MANIFEST, b"{"),
        (MANIFEST, b'{"sha256": {"../x": "0"}}'),
        (MANIFEST, b"{}"),
        (CONFIG, b"{}"),
        (ONTOLOGY, b"= 1"),
        (EXPERT_FILE, None),
    ],
)
def test_a_damaged_folder_is_listed_with_what_is_wrong(
    home: Home, name: str, content: bytes | None
) -> None:
    folder = write_model(home.models / "a", EXPERT_FILE)
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    (entry,) = list_models(home)
    assert (entry.state, entry.kind) == (State.DAMAGED, None)
    assert entry.problem is not None
    assert str(folder / name) in entry.problem


def test_a_folder_without_a_manifest_is_no_model(home: Home) -> None:
    (home.models / "a").mkdir()
    (home.models / "a" / "log.jsonl").touch()
    write_model(home.models / "b" / "checkpoints" / "start")
    assert [each.state for each in list_models(home)] == [State.DAMAGED, State.UNFINISHED]


def test_the_champion_is_used_where_none_is_named(home: Home) -> None:
    assert champion_or(home, None) is None
    write_model(home.models / "a")
    made = promote(home, "a", "ann")
    assert read_champion(Home.open(home.path)) == made
    assert made is not None
    assert (made.name, made.by) == ("a", "ann")
    assert champion_or(home, None) == str(home.models / "a")
    assert champion_or(home, "b") == "b"
    promote(home, None, "ann")
    assert read_champion(home) is None


def test_a_champion_that_is_gone_is_no_reason_to_use_another(home: Home) -> None:
    promote(home, "a", "ann")
    with pytest.raises(UsageError, match=r"'a' is no model .* models promote NAME"):
        champion_or(home, None)


@pytest.mark.parametrize("champion", ["a", {"name": "a"}, {"name": "../a", "time": "", "by": ""}])
def test_a_champion_that_makes_no_sense_is_refused(home: Home, champion: object) -> None:
    with home.settings.changing() as settings:
        settings["champion"] = champion
    with pytest.raises(HomeNotFoundError, match="models promote"):
        read_champion(home)


def test_the_champion_is_deleted_only_by_force(home: Home) -> None:
    write_model(home.models / "a", EXPERT_FILE)
    promote(home, "a", "ann")
    with pytest.raises(UsageError, match="a is the champion"):
        delete_model(home, "a")
    assert (home.models / "a" / EXPERT_FILE).exists()
    delete_model(home, "a", force=True)
    assert not (home.models / "a").exists()
    assert read_champion(home) is None


@pytest.mark.parametrize("name", ["..", "../home", "", ".", "b", "a/network"])
def test_only_a_model_of_the_home_is_deleted(home: Home, name: str) -> None:
    write_model(home.models / "a" / NETWORK)
    with pytest.raises(UsageError, match="no model"):
        delete_model(home, name)
    assert (home.models / "a" / NETWORK / MANIFEST).exists()


def test_what_a_link_leads_to_is_not_deleted(home: Home, tmp_path: Path) -> None:
    kept = write_model(tmp_path / "kept")
    (home.models / "a").symlink_to(kept)
    delete_model(home, "a")
    assert not (home.models / "a").exists()
    assert (kept / MANIFEST).exists()


def test_a_model_that_is_trained_is_not_deleted(home: Home) -> None:
    folder = write_model(home.models / "a")
    with trained_elsewhere(folder) as process:
        (entry,) = list_models(home)
        assert entry.state == State.TRAINING
        with pytest.raises(UsageError, match=f"being trained .*{process}"):
            delete_model(home, "a")
        with pytest.raises(UsageError, match=f"by process {process}"), model_lock(folder):
            pass
    # It was killed, and left its file.
    assert (folder / LOCK).exists()
    assert trained_by(folder) is None
    delete_model(home, "a")
    assert not folder.exists()


def test_a_lock_is_held_several_times_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "a"
    with model_lock(folder):
        with model_lock(folder):
            assert trained_by(folder) == f"by process {os.getpid()}"
        assert trained_by(folder) is not None
        assert is_vacant(folder)
    assert not folder.exists()


def test_two_processes_never_write_a_model_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a"
    monkeypatch.setattr(model_lock_module, "WRITER_SECONDS", 0.0)
    with model_lock(folder, by_worker=True):
        with locked_by_starter(folder, writes=True):
            assert trained_by(folder) == f"by process {os.getpid()}"
            with (
                pytest.raises(UsageError, match=f"'a' is still written by process {os.getpid()} "),
                locked_by_starter(folder, writes=True),
            ):
                pass
            # One that reads alone.
            with locked_by_starter(folder, writes=False):
                pass
        # The next one, such as a worker that takes the place of one that is lost.
        with locked_by_starter(folder, writes=True):
            pass
    assert not folder.exists()


@pytest.mark.parametrize("by_worker", [False, True])
def test_a_worker_that_outlives_its_training_is_waited_for(
    home: Home, by_worker: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_model(home.models / "a")
    with outliving_worker(folder) as worker, warnings.catch_warnings():
        warnings.simplefilter("always")
        told = []

        def end_worker(message: Warning | str, *_: object) -> None:
            told.append(str(message))
            worker.kill()

        monkeypatch.setattr(warnings, "showwarning", end_worker)
        with model_lock(folder, by_worker=by_worker):
            assert not worker.is_alive()
    (line,) = told
    assert line.startswith(f"model 'a' is still written by process {worker.pid} of ")
    assert not (folder / WRITER).exists()
    assert not is_vacant(folder)


@contextmanager
def outliving_worker(folder: Path) -> Iterator[SpawnProcess]:
    """Let another process write into a folder that nobody has locked."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_write, args=(folder, there))
    process.start()
    assert here.poll(60)
    here.recv()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def _write(folder: Path, pipe: Connection) -> None:
    with locked_by_starter(folder, writes=True):
        pipe.send(os.getpid())
        pipe.recv()
