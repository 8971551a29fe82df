"""Checkpoints are read only as far as they are what a run wrote."""

import hashlib
import json
import os

import pytest
import torch
from safetensors.torch import save

from schema.errors import TrainingError
from training.checkpoints import CopiedState, load_checkpoint, write_checkpoint
from training.state import RunProgress

TENSORS = {"a": torch.ones(2)}


@pytest.fixture
def folder(tmp_path):
    """Checkpoints of steps 1 and 2."""
    for step in (1, 2):
        state = CopiedState(
            progress=vars(RunProgress(step=step)).copy(),
            tensors={
                f"{name}.safetensors": dict(TENSORS) for name in ("weights", "average", "optimizer")
            },
            optimizer="adamw",
        )
        write_checkpoint(tmp_path / "checkpoints", state)
    return tmp_path / "checkpoints"


def rewrite(path, name, data):
    """Replace a file of a checkpoint, with the digest that it should have."""
    digests = json.loads((path / "manifest.json").read_text())
    digests[name] = hashlib.sha256(data).hexdigest()
    (path / name).write_bytes(data)
    (path / "manifest.json").write_text(json.dumps(digests))


def step_of(folder):
    checkpoint = load_checkpoint(folder)
    assert checkpoint is not None
    return checkpoint.progress.step


def test_the_newest_is_read(folder):
    assert step_of(folder) == 2


@pytest.mark.parametrize("name", ["/etc/passwd", "../step-00000001/progress.json", "/dev/zero"])
def test_a_manifest_that_names_other_files_is_damaged(folder, name):
    manifest = folder / "step-00000002" / "manifest.json"
    digests = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(digests | {name: "0" * 64}))
    assert step_of(folder) == 1


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"a": 1}', "[" * 100_000, "\udcff"])
def test_a_manifest_of_anything_is_damaged(folder, text):
    manifest = folder / "step-00000002" / "manifest.json"
    manifest.write_bytes(text.encode(errors="surrogateescape"))
    assert step_of(folder) == 1


def test_a_pipe_or_a_link_is_damaged(folder):
    progress = folder / "step-00000002" / "progress.json"
    progress.unlink()
    progress.symlink_to(folder / "step-00000001" / "progress.json")
    assert step_of(folder) == 1
    progress.unlink()
    os.mkfifo(progress)
    assert step_of(folder) == 1


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '{"stop": 1}',
        '{"step": "1"}',
        '{"step": null}',
        '{"step": -1}',
        '{"step": 1.5}',
        '{"best": "x"}',
        '{"metrics": {"a": []}}',
        '{"metrics": []}',
        '{"step": ' + "9" * 30 + "}",
        '{"step": 1, "step": 2}',
    ],
)
def test_progress_of_anything_is_damaged(folder, text):
    rewrite(folder / "step-00000002", "progress.json", text.encode())
    assert step_of(folder) == 1


@pytest.mark.parametrize("data", [b"", b"\x80\x04K\x01.", (1 << 40).to_bytes(8, "little") + b"{}"])
@pytest.mark.parametrize("name", ["weights", "average", "optimizer"])
def test_tensors_of_anything_are_damaged(folder, name, data):
    rewrite(folder / "step-00000002", f"{name}.safetensors", data)
    assert step_of(folder) == 1


def test_if_all_are_damaged_this_is_said(folder):
    for path in folder.iterdir():
        rewrite(path, "weights.safetensors", b"")
    with pytest.raises(TrainingError, match=r"every checkpoint in .* is damaged"):
        load_checkpoint(folder)


def test_moments_without_a_name_of_their_optimizer_are_those_of_adamw(folder):
    rewrite(folder / "step-00000002", "optimizer.safetensors", save(TENSORS))
    checkpoint = load_checkpoint(folder)
    assert checkpoint is not None
    assert checkpoint.optimizer == "adamw"
