"""Connecting to a Ray cluster: what is said where it is missing, silent, or does not fit."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import cli
from kg import ray_cluster
from kg.ray_cluster import CODE, PACKAGES, Requirement, code_digest
from schema.errors import EngineError, ItemNotFoundError, UsageError


def test_missing_ray_says_what_to_install(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "ray" else find(name)
    )
    with (
        pytest.raises(UsageError, match=r"pip install 'catalograph\[ray\]'"),
        ray_cluster.ray_cluster(tmp_path),
    ):
        pass


@pytest.mark.parametrize("address", ["ray://127.0.0.1:10001", "somewhere", "host:", "host:port"])
def test_an_address_of_another_form_is_refused(tmp_path, monkeypatch, address):
    monkeypatch.setenv("RAY_ADDRESS", address)
    with (
        pytest.raises(UsageError, match=r"no HOST:PORT such as 10\.0\.0\.1:6379"),
        ray_cluster.ray_cluster(tmp_path),
    ):
        pass


def test_a_cluster_that_does_not_answer_is_one_line(tmp_path, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        with (
            pytest.raises(EngineError, match=f"no Ray cluster answers at RAY_ADDRESS={address}"),
            ray_cluster.ray_cluster(tmp_path),
        ):
            pass


def test_all_packages_belong_to_the_version():
    assert set(PACKAGES) == set(cli.PACKAGES)


def test_a_worker_with_other_code_or_without_the_folder_says_so(tmp_path):
    (tmp_path / "token").write_text("token")
    Requirement(code_digest(), tmp_path, "token").check()
    with pytest.raises(EngineError, match="another version of Catalograph"):
        Requirement("0" * 64, tmp_path, "token").check()
    with pytest.raises(EngineError, match=f"does not see the folder {tmp_path}"):
        Requirement(code_digest(), tmp_path, "other").check()


def look_around(module: str) -> tuple[str, str]:
    """Return the folder of a package in a worker, and its interpreter."""
    return str(importlib.import_module(module).__file__), sys.executable


def fail(path: str) -> None:
    """Raise an error of ours in a worker."""
    raise ItemNotFoundError(f"no item at {path}")


def test_workers_of_both_nodes_run_the_same_code(ray_nodes, tmp_path, monkeypatch):
    import ray

    # A user's folder may have packages of the names of ours.
    (tmp_path / "kg").mkdir()
    (tmp_path / "kg" / "__init__.py").write_text("raise RuntimeError('of the user')")
    monkeypatch.chdir(tmp_path)
    with ray_cluster.ray_cluster(tmp_path) as cluster:
        assert (cluster.nodes, cluster.processors, cluster.is_own) == (2, 2, False)
        seen = ray.get([ray.remote(num_cpus=1)(look_around).remote("kg") for _ in range(4)])
        assert {place for place, _ in seen} == {str(CODE / "kg" / "__init__.py")}
        token = tmp_path / cluster.requirement.token
        assert token.exists()
        with (
            pytest.raises(ItemNotFoundError, match=r"^no item at x$"),
            ray_cluster.errors_of_workers(),
        ):
            ray.get(ray.remote(fail).remote("x"))
    assert not token.exists()
    assert not ray.is_initialized()


def test_a_node_of_another_version_is_one_line(ray_nodes, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_cluster, "code_digest", lambda: "0" * 64)
    with (
        pytest.raises(EngineError, match=f"another version of Catalograph in {CODE}"),
        ray_cluster.ray_cluster(tmp_path),
    ):
        pass


OWN_CLUSTER = """
import os
import signal
import sys
import time
from pathlib import Path
from kg.ray_cluster import ray_cluster


def end_group(number):
    # As a terminal does that is closed.
    try:
        os.killpg(0, number)
        while True:
            time.sleep(0.1)
    except KeyboardInterrupt:
        return number.name


with ray_cluster(Path(sys.argv[1])) as cluster:
    import ray

    folder = Path(ray.nodes()[0]["ObjectStoreSocketName"]).parents[2]
    ended = [end_group(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    works = ray.get(ray.remote(num_cpus=0)(lambda: os.getpid()).remote(), timeout=60) != os.getpid()
    print(cluster.is_own, folder.is_dir(), works, *ended, folder)
handlers = {signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
assert handlers == {signal.SIG_DFL}, handlers
"""


def test_a_cluster_is_started_for_the_run_and_ended_by_it_alone(tmp_path):
    # In a process of its own: Ray cannot change from one cluster to another and back.
    environment = {name: text for name, text in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run(
        [sys.executable, "-c", OWN_CLUSTER, str(tmp_path)],
        cwd=CODE,
        env=environment,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
        start_new_session=True,
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    *found, folder = line.split()
    assert found == ["True", "True", "True", "SIGTERM", "SIGHUP"]
    assert not Path(folder).exists()
    assert list(tmp_path.iterdir()) == []
