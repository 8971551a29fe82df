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
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from schema.documents import parse_json_object
from schema.errors import TrainingError
from schema.files import digest_named, write_together
from training.sharding import sharded_like, whole_on_cpu
from training.state import RunProgress

KEPT_CHECKPOINTS = 2
FILES = {"weights.safetensors", "average.safetensors", "optimizer.safetensors", "progress.json"}
"""The files that the manifest of a checkpoint names."""
FORMER_STEP = "step"
"""The name of the one count of steps that an earlier version's LAMB had for all parameters."""
OPTIMIZER = "optimizer"
"""The key of the optimizer's name in the metadata of its file."""


@dataclass(frozen=True)
class Checkpoint:
    """A saved state: ``weights`` and averaged weights by name, the optimizer's ``moments`` by the
    name of their parameter, and the name of the ``optimizer``."""

    progress: RunProgress
    weights: dict[str, Tensor]
    average: dict[str, Tensor]
    moments: dict[str, Tensor]
    optimizer: str


@dataclass(frozen=True)
class CopiedState:
    """Copies of a run's state on the CPU: tensors by name, by file, its progress, and the
    name of its optimizer."""

    progress: dict[str, Any]
    tensors: dict[str, dict[str, Tensor]]
    optimizer: str


def copy_state(
    progress: RunProgress,
    objective: nn.Module,
    average: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
    writes: bool = True,
) -> CopiedState | None:
    """Copy a run's state, which may change while it is written.

    The tensors of a sharded model are gathered, by all processes together, of which one ``writes``;
    the others get None. What is copied does not depend on the number of processes.
    """
    parts = {
        "weights.safetensors": objective.state_dict(),
        "average.safetensors": average,
        "optimizer.safetensors": _moments(optimizer, objective),
    }
    gathered = {name: whole_on_cpu(tensors, writes) for name, tensors in parts.items()}
    return CopiedState(asdict(progress), gathered, optimizer_name(optimizer)) if writes else None


def write_checkpoint(folder: Path, state: CopiedState) -> None:
    """Write ``folder/step-N`` completely or not at all; then delete all but the last two.

    The tensors of ``state`` are given up file by file as they are written, so that memory need not
    hold all of them twice.
    """
    # Zeros in front, so that the order of the names is that of the steps. The hidden name is not
    # among the checkpoints until all files are on the disk.
    name = f"step-{state.progress['step']:08d}"
    target = folder / name
    temporary = folder / f".{name}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    metadata = {"optimizer.safetensors": {OPTIMIZER: state.optimizer}}
    digests: dict[str, str] = {}

    def write(name: str, data: bytes) -> None:
        digests[name] = hashlib.sha256(data).hexdigest()
        write_together(temporary, {name: data})

    try:
        for name in list(state.tensors):
            write(name, save(state.tensors.pop(name), metadata.get(name)))
        write("progress.json", json.dumps(state.progress).encode())
        write_together(temporary, {"manifest.json": json.dumps(digests).encode()})
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
    return {
        f"{names[number]}.{key}": value
        for number, entry in optimizer.state_dict()["state"].items()
        for key, value in entry.items()
    }


def optimizer_name(optimizer: torch.optim.Optimizer) -> str:
    """Return the name that an optimizer has in a recipe: ``adamw`` or ``lamb``."""
    return type(optimizer).__name__.lower()


def _parameter_names(optimizer: torch.optim.Optimizer, objective: nn.Module) -> list[str]:
    """Name the parameters in the order in which the optimizer numbers them."""
    names = {id(parameter): name for name, parameter in objective.named_parameters()}
    groups = optimizer.param_groups
    return [names[id(parameter)] for group in groups for parameter in group["params"]]


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """Read the newest complete checkpoint; None if there is none.

    Raises TrainingError if there are some and all of them are damaged.
    """
    found = sorted(folder.glob("step-*"), reverse=True)
    for path in found:
        if _is_complete(path):
            try:
                return _read_checkpoint(path)
            except (OSError, ValueError, TypeError, SafetensorError):
                # Complete, but not what this program writes.
                continue
    if found:
        raise TrainingError(
            f"every checkpoint in {folder} is damaged: remove the folder and train from the start"
        )
    return None


def _read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; raises ValueError, TypeError or SafetensorError if it is none."""
    progress = RunProgress(**parse_json_object((path / "progress.json").read_bytes()))
    progress.check()
    moments = load_file(path / "optimizer.safetensors")
    with safe_open(path / "optimizer.safetensors", framework="pt") as file:
        optimizer = (file.metadata() or {}).get(OPTIMIZER)
    if optimizer is None:
        optimizer = "lamb" if FORMER_STEP in moments else "adamw"
    return Checkpoint(
        progress=progress,
        weights=load_file(path / "weights.safetensors"),
        average=load_file(path / "average.safetensors"),
        moments=current_moments(moments, progress.step - progress.stage_began),
        optimizer=optimizer,
    )


def current_moments(moments: dict[str, Tensor], stage_steps: int) -> dict[str, Tensor]:
    """Convert the moments of an earlier version's LAMB; return all others unchanged.

    It had one count of steps for all parameters, which did not begin again with a stage, while the
    moments did; ``stage_steps`` is the number of the stage's steps. It also saved norms, which are
    left out.
    """
    if FORMER_STEP not in moments:
        return moments
    steps = min(int(moments[FORMER_STEP]), stage_steps)
    converted = {}
    for name, tensor in moments.items():
        parameter, _, key = name.rpartition(".")
        if key in ("exp_avg", "exp_avg_sq"):
            converted[name] = tensor
            converted[f"{parameter}.step"] = torch.tensor(float(steps))
    return converted


def restore_optimizer(
    optimizer: torch.optim.Optimizer,
    objective: nn.Module,
    moments: dict[str, Tensor],
) -> None:
    """Restore saved moments; the parameter groups remain those of this run.

    AdamW and LAMB have the same moments, so each can take up the other's. Moments of parameters
    that ``objective`` does not have are left out.
    """
    names = _parameter_names(optimizer, objective)
    numbers = {name: number for number, name in enumerate(names)}
    parameters = dict(objective.named_parameters())
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in moments.items():
        parameter, _, key = name.rpartition(".")
        if parameter in numbers:
            sliced = sharded_like(tensor, parameters[parameter])
            state.setdefault(numbers[parameter], {})[key] = sliced
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _is_complete(path: Path) -> bool:
    """Return whether a checkpoint has all of its files, each with the digest of the manifest."""
    try:
        digests = parse_json_object((path / "manifest.json").read_bytes())
        return digests.keys() == FILES and all(
            digest_named(path, name) == digest for name, digest in digests.items()
        )
    except (OSError, ValueError):
        return False
