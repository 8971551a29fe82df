"""Checkpoints of a running training: whole, durable, two kept, a damaged one passed over."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from schema.errors import TrainingError
from schema.files import write_together

KEPT = 2


@dataclass
class RunProgress:
    """Where a run stands: ``step`` done, ``seconds`` spent, items seen, the best validation so far and how long ago it was.

    ``stage`` is the plan's, which began at the step ``stage_began``.
    """

    step: int = 0
    seconds: float = 0.0
    items: int = 0
    stage: int = 0
    stage_began: int = 0
    best: float = -math.inf
    stale: int = 0
    metrics: dict[str, float] = field(default_factory=dict)


def save_state(
    folder: Path,
    progress: RunProgress,
    tensors: dict[str, dict[str, Tensor]],
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write ``folder/step-N``: named tensor sets, the optimizer's and the progress; then drop all but the last two."""
    target = folder / f"step-{progress.step:08d}"
    temporary = folder / f".step-{progress.step:08d}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    state = optimizer.state_dict()
    moments = {
        f"{index}.{name}": value
        for index, entry in state["state"].items()
        for name, value in entry.items()
    }
    files = {
        f"{name}.safetensors": save(
            {k: t.detach().cpu().clone().contiguous() for k, t in part.items()}
        )
        for name, part in tensors.items()
    }
    files["optimizer.safetensors"] = save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in moments.items()}
    )
    files["progress.json"] = json.dumps(asdict(progress)).encode()
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    try:
        write_together(temporary, {**files, "manifest.json": json.dumps(digests).encode()})
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)
    for old in sorted(folder.glob("step-*"))[:-KEPT]:
        shutil.rmtree(old)


def load_state(
    folder: Path,
) -> tuple[RunProgress, dict[str, dict[str, Tensor]], dict[str, Tensor]] | None:
    """The newest whole checkpoint: progress, tensor sets, optimizer moments; None where there is none.

    Raises TrainingError where there are some and all are damaged.
    """
    found = sorted(folder.glob("step-*"), reverse=True)
    for path in found:
        if _is_whole(path):
            progress = RunProgress(**json.loads((path / "progress.json").read_text()))
            sets = {part.stem: load_file(part) for part in path.glob("*.safetensors")}
            return progress, sets, sets.pop("optimizer")
    if found:
        raise TrainingError(
            f"every checkpoint in {folder} is damaged: remove the folder and train from the start"
        )
    return None


def restore_optimizer(optimizer: torch.optim.Optimizer, moments: dict[str, Tensor]) -> None:
    """Put saved moments back; the parameter groups stay those of this run."""
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in moments.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )


def _is_whole(path: Path) -> bool:
    try:
        digests = json.loads((path / "manifest.json").read_text())
        return all(
            hashlib.sha256((path / name).read_bytes()).hexdigest() == digest
            for name, digest in digests.items()
        )
    except (OSError, ValueError):
        return False
