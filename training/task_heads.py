"""Heads of tasks in a model folder: two files for each beside those of the network itself.

The model's manifest names them, so that they are checked, copied and deleted with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from fusion.checkpoint import (
    load_weights,
    read_manifest,
    read_required_files,
    reporting_damage,
    without_shared,
    write_files,
)
from fusion.inference.item_encoder import NetworkEncoder, TextReading
from fusion.inference.scorer import CellScorer
from fusion.task_head import TaskHead
from schema.documents import parse_json_object
from schema.errors import ModelError
from training.finetuning import Tuned

HEAD = "head."
NETWORK = "network."
COMMANDS = {"classification": "classify", "alignment": "align", "matching": "match"}
"""The names that tasks have as verbs; the others are called what they are."""


@dataclass(frozen=True)
class SavedHead:
    """A head, and what it was trained with.

    Attributes:
        task: the task's name
        head: the head
        tuned: what fine-tuning changed; of a whole network its changed weights are kept as well
        reading: how texts are read
        threshold: the logit from which on an answer is yes
        about: what the task needs to ask the same questions again, and what training took
        network: the weights of the tuned network; empty if it is as the folder has it
    """

    task: str
    head: TaskHead
    tuned: Tuned
    reading: TextReading
    threshold: float
    about: Mapping[str, Any] = field(default_factory=dict)
    network: Mapping[str, Tensor] = field(default_factory=dict)

    def encoder(self, scorer: CellScorer) -> NetworkEncoder:
        """Return the encoder that the head was trained on; changes the network if it was tuned."""
        if self.network:
            load_weights(scorer.model, dict(self.network))
        return NetworkEncoder(scorer, reading=self.reading)


def save_head(folder: Path, saved: SavedHead) -> None:
    """Add a head to a model folder, or replace the one of the same task."""
    weights = {
        **{HEAD + name: each.contiguous() for name, each in saved.head.state_dict().items()},
        **{NETWORK + name: each for name, each in without_shared(dict(saved.network)).items()},
    }
    config = {
        "task": saved.task,
        "width": saved.head.width,
        "sides": saved.head.sides,
        "outputs": saved.head.outputs,
        "tuned": saved.tuned.value,
        "reading": saved.reading.value,
        "threshold": saved.threshold,
        "about": dict(saved.about),
    }
    files = {
        _weights(saved.task): save(weights),
        _config(saved.task): json.dumps(config, ensure_ascii=False, sort_keys=True).encode(),
    }
    write_files(folder, files)


def load_head(folder: Path, task: str) -> SavedHead:
    """Open the head of a task; raises ModelError if the folder has none, or if it is damaged."""
    if _weights(task) not in read_manifest(folder):
        raise ModelError(
            f"model {folder.resolve().name} has no head for {task}: train one with "
            f"`catalograph finetune {COMMANDS.get(task, task)} --model {folder.resolve().name}"
            f"{' --network' if task in ('classification', 'alignment') else ''}`"
        )
    files = read_required_files(folder, (_weights(task), _config(task)))
    with reporting_damage(folder):
        config = parse_json_object(files[_config(task)])
        weights = load(files[_weights(task)])
        head = TaskHead(int(config["width"]), int(config["sides"]), int(config["outputs"]))
        head.load_state_dict(_part(weights, HEAD))
        return SavedHead(
            task=str(config["task"]),
            head=head.eval(),
            tuned=Tuned(config["tuned"]),
            reading=TextReading(config["reading"]),
            threshold=float(config["threshold"]),
            about=dict(config["about"]),
            network=_part(weights, NETWORK),
        )


def _part(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): each for name, each in weights.items() if name.startswith(prefix)
    }


def _weights(task: str) -> str:
    return f"head_{task}.safetensors"


def _config(task: str) -> str:
    return f"head_{task}.json"
