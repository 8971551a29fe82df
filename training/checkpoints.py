"""Checkpoints of a training run.

A checkpoint is written completely or not at all. The last two are kept, and a damaged one is
skipped when a run is resumed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from schema.errors import TrainingError
from schema.files import write_together
from training.state import RunProgress

KEPT_CHECKPOINTS = 2
STEP = "step"
"""The name under which the steps of an optimizer that counts them itself (LAMB) are saved."""


@dataclass(frozen=True)
class Checkpoint:
    """A saved state: ``weights`` and averaged weights by name, the optimizer's ``moments`` by the
    name of their parameter."""

    progress: RunProgress
    weights: dict[str, Tensor]
    average: dict[str, Tensor]
    moments: dict[str, Tensor]


def save_checkpoint(
    folder: Path,
    progress: RunProgress,
    objective: nn.Module,
    average: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write ``folder/step-N`` completely or not at all; then delete all but the last two."""
    # Zeros in front, so that the order of the names is that of the steps. The hidden name is not
    # among the checkpoints until all files are on the disk.
    target = folder / f"step-{progress.step:08d}"
    temporary = folder / f".step-{progress.step:08d}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    files = {
        "weights.safetensors": _serialized(objective.state_dict()),
        "average.safetensors": _serialized(average),
        "optimizer.safetensors": _serialized(_moments(optimizer, objective)),
        "progress.json": json.dumps(asdict(progress)).encode(),
    }
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    try:
        write_together(temporary, {**files, "manifest.json": json.dumps(digests).encode()})
    except OSError:
        # On a full disk half a checkpoint would only take more of the space.
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)
    for old in sorted(folder.glob("step-*"))[:-KEPT_CHECKPOINTS]:
        shutil.rmtree(old)


def _moments(optimizer: torch.optim.Optimizer, objective: nn.Module) -> dict[str, Tensor]:
    names = _parameter_names(optimizer, objective)
    moments = {
        f"{names[number]}.{key}": value
        for number, entry in optimizer.state_dict()["state"].items()
        for key, value in entry.items()
    }
    steps = [group[STEP] for group in optimizer.param_groups if STEP in group]
    return {**moments, STEP: torch.tensor(steps[0])} if steps else moments


def _parameter_names(optimizer: torch.optim.Optimizer, objective: nn.Module) -> list[str]:
    """Name the parameters in the order in which the optimizer numbers them."""
    names = {id(parameter): name for name, parameter in objective.named_parameters()}
    groups = optimizer.param_groups
    return [names[id(parameter)] for group in groups for parameter in group["params"]]


def _serialized(tensors: dict[str, Tensor]) -> bytes:
    # safetensors refuses tensors that share memory, as tied weights do, so each is copied.
    copies = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    data: bytes = save(copies)
    return data


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """Read the newest complete checkpoint; None if there is none.

    Raises TrainingError if there are some and all of them are damaged.
    """
    found = sorted(folder.glob("step-*"), reverse=True)
    for path in found:
        if _is_complete(path):
            return Checkpoint(
                progress=RunProgress(**json.loads((path / "progress.json").read_text())),
                weights=load_file(path / "weights.safetensors"),
                average=load_file(path / "average.safetensors"),
                moments=load_file(path / "optimizer.safetensors"),
            )
    if found:
        raise TrainingError(
            f"every checkpoint in {folder} is damaged: remove the folder and train from the start"
        )
    return None


def restore_optimizer(
    optimizer: torch.optim.Optimizer,
    objective: nn.Module,
    moments: dict[str, Tensor],
) -> None:
    """Restore saved moments; the parameter groups remain those of this run.

    Moments of parameters that ``objective`` does not have are left out.
    """
    names = _parameter_names(optimizer, objective)
    numbers = {name: number for number, name in enumerate(names)}
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in moments.items():
        parameter, _, key = name.rpartition(".")
        if parameter in numbers:
            state.setdefault(numbers[parameter], {})[key] = tensor
    groups = optimizer.state_dict()["param_groups"]
    if STEP in moments:
        groups = [{**group, STEP: int(moments[STEP])} for group in groups]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _is_complete(path: Path) -> bool:
    try:
        digests = json.loads((path / "manifest.json").read_text())
        return all(
            hashlib.sha256((path / name).read_bytes()).hexdigest() == digest
            for name, digest in digests.items()
        )
    except (OSError, ValueError):
        return False
