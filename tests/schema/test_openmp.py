"""OpenMP's spin limit reaches the library itself, which reads it when PyTorch is loaded."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from schema.openmp import SPIN_COUNT

ROOT = Path(__file__).parents[2]
SCRIPT = "import sys; from cli import main; main(['--help']); import torch"


def openmp_settings(**environment: str) -> str:
    """What libgomp says of its settings when a command has loaded PyTorch."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    }
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
def test_the_users_own_setting_stands(name):
    value = {"GOMP_SPINCOUNT": "77", "OMP_WAIT_POLICY": "ACTIVE"}[name]
    settings = openmp_settings(**{name: value})
    assert f"{name} = '{value}'" in settings
    assert f"GOMP_SPINCOUNT = '{SPIN_COUNT}'" not in settings
