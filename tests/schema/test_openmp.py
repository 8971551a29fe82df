"""OpenMP's settings reach the library itself, which reads them when PyTorch is loaded."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from schema import openmp
from schema.openmp import (
    SPIN_COUNT,
    busy_threads,
    fair_threads,
    share_processor,
    usable_cores,
    user_set_threads,
)

ROOT = Path(__file__).parents[2]
SCRIPT = "import sys; from cli import main; main(['--help']); import torch"
SETTINGS = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS")


def openmp_settings(**environment: str) -> str:
    """What libgomp says of its settings when a command has loaded PyTorch."""
    kept = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        env={**kept, "OMP_DISPLAY_ENV": "VERBOSE", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    if "GOMP_SPINCOUNT" not in done.stderr:
        pytest.skip("this PyTorch does not use GNU's OpenMP")
    return done.stderr


def test_a_command_bounds_the_spinning():
    assert f"GOMP_SPINCOUNT = '{SPIN_COUNT}'" in openmp_settings()


@pytest.mark.parametrize("name", ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY"])
def test_the_users_own_setting_is_kept(name):
    value = {"GOMP_SPINCOUNT": "77", "OMP_WAIT_POLICY": "ACTIVE"}[name]
    settings = openmp_settings(**{name: value})
    assert f"{name} = '{value}'" in settings
    assert f"GOMP_SPINCOUNT = '{SPIN_COUNT}'" not in settings


@pytest.mark.parametrize(
    ("cores", "others", "threads"),
    [(2, 0, 2), (2, 1, 1), (2, 2, 1), (16, 0, 16), (16, 2, 14), (16, 64, 3), (1, 5, 1)],
)
def test_threads_fit_into_a_fair_share_of_the_cores(cores, others, threads):
    assert fair_threads(cores, others) == threads


@pytest.mark.parametrize(
    ("text", "others"),
    [
        ("2.04 1.80 1.75 3/512 4711\n", 2),
        ("0.10 1.80 1.75 6/512 4711\n", 0),  # busy for a moment
        ("4.00 1.80 1.75 1/512 4711\n", 0),  # busy until now
        ("nonsense", 0),
    ],
)
def test_other_programs_count_if_they_are_and_were_running(tmp_path, text, others):
    (tmp_path / "loadavg").write_text(text)
    assert busy_threads(tmp_path / "loadavg") == others


def test_a_system_that_does_not_say_is_taken_to_be_idle(tmp_path):
    assert busy_threads(tmp_path / "missing") == 0


@pytest.fixture
def environment(monkeypatch):
    """The environment without the user's settings, restored afterwards."""
    for name in SETTINGS:
        # Set and deleted, so that what the test sets is taken back.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    monkeypatch.setattr(openmp, "_chosen", openmp._Chosen())
    return monkeypatch


def test_on_a_busy_machine_there_are_fewer_threads(environment):
    environment.setattr(openmp, "busy_threads", lambda: 2)
    assert share_processor() == 1
    assert os.environ["OMP_NUM_THREADS"] == "1"
    # It is not the user who has set this.
    assert not user_set_threads()


def test_on_an_idle_machine_there_is_a_thread_per_core(environment):
    environment.setattr(openmp, "busy_threads", lambda: 0)
    assert share_processor() is None
    assert "OMP_NUM_THREADS" not in os.environ
    assert not user_set_threads()


def test_the_users_own_number_of_threads_is_kept(environment):
    environment.setattr(openmp, "busy_threads", lambda: 2)
    environment.setenv("OMP_NUM_THREADS", "2")
    assert share_processor() is None
    assert os.environ["OMP_NUM_THREADS"] == "2"
    assert user_set_threads()


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 4),
        ({"cpu.max": "max 100000"}, 4),
        ({"cpu.max": "250000 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "800000 100000"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 4),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ({"cpu.max": "broken"}, 4),
    ],
)
def test_usable_cores_are_limited_by_a_containers_quota(tmp_path, monkeypatch, files, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3})
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text + "\n")
    assert usable_cores(tmp_path) == cores
