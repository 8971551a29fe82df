"""Experts in a model folder: one file of arrays, read without trusting any size that it states.

``EXPERT_FILE`` has the kernels' landmarks, each expert's coefficients by property, and the
stacker's weights by situation and property. Properties are numbered in the order of the folder's
ontology. The coefficients have half precision.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from experts.ensemble import (
    EXPERTS,
    Expert,
    ExpertEnsemble,
    Kernels,
    LinearScores,
    Stacker,
    answering,
)
from experts.kernels import Arrays, ImageKernel, StatementKernel, TitleKernel
from experts.situations import Situation, TitleState
from experts.stacker import Weights
from fusion.checkpoint import (
    CALIBRATION,
    CONFIG,
    ONTOLOGY,
    ModelDescription,
    read_manifest,
    read_required_files,
    reporting_damage,
    write_files,
)
from fusion.inference.featurizer import PixelReader
from schema.arrays import FloatArray
from schema.memory import keep_freed_memory
from schema.ontology import Ontology

EXPERT_FILE = "experts.safetensors"


def has_experts(folder: Path) -> bool:
    """Return whether a model folder has experts."""
    return EXPERT_FILE in read_manifest(folder)


def save_experts(
    folder: Path,
    ensemble: ExpertEnsemble,
    about: Mapping[str, Any],
    calibration: Mapping[str, Any] | None = None,
) -> None:
    """Write a model folder of experts alone; ``about`` becomes its ``config.json``."""
    ontology = ensemble.ontology
    described = {**about, "ontology_sha256": ontology.content_hash()}
    files = {
        CONFIG: json.dumps(described, indent=1, sort_keys=True).encode(),
        ONTOLOGY: ontology.to_toml().encode(),
        EXPERT_FILE: save(to_arrays(ensemble)),
    }
    if calibration is not None:
        files[CALIBRATION] = json.dumps(calibration, ensure_ascii=False).encode()
    write_files(folder, files)


def load_experts(folder: Path, read_pixels: PixelReader | None = None) -> ExpertEnsemble:
    """Open a model folder of experts; raises ModelError if it is missing or damaged."""
    # Kernel rows are made and dropped all the time.
    keep_freed_memory()
    files = read_required_files(folder, (CONFIG, ONTOLOGY, EXPERT_FILE))
    with reporting_damage(folder):
        description = ModelDescription.read(folder, files)
        arrays = load(files.pop(EXPERT_FILE))
        ensemble = from_arrays(folder.resolve().name, description.ontology, arrays)
    ensemble.path = folder
    ensemble.about = description.about
    ensemble.calibration = description.calibration
    ensemble.read_pixels = read_pixels
    return ensemble


def to_arrays(ensemble: ExpertEnsemble) -> Arrays:
    """Return the arrays by which :func:`from_arrays` makes the ensemble again."""
    kernels = ensemble.kernels
    arrays = {
        f"kernels.{part}.{name}": array
        for part, found in (
            ("title", kernels.title.arrays()),
            ("blind", kernels.blind.arrays()),
            ("image", kernels.image.arrays()),
            ("statements", kernels.statements.arrays()),
        )
        for name, array in found.items()
    }
    numbers = {name: number for number, name in enumerate(ensemble.ontology.learned())}
    for (expert, property), learned in ensemble.learned.items():
        key = f"experts.{expert.name}.{numbers[property]}"
        arrays[f"{key}.coefficients"] = learned.coefficients.astype(np.float16)
        arrays[f"{key}.mean"] = learned.mean.astype(np.float32)
    for (situation, property), weights in ensemble.stacker.own.items():
        key = f"stacker.{_key(situation)}.{numbers[property]}"
        arrays[f"{key}.features"] = weights.features
        arrays[f"{key}.biases"] = weights.biases
        arrays[f"{key}.missed"] = np.array([weights.missed])
    for situation, shared in ensemble.stacker.shared.items():
        arrays[f"shared.{_key(situation)}"] = shared
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def from_arrays(
    name: str, ontology: Ontology, arrays: Mapping[str, NDArray[np.generic]]
) -> ExpertEnsemble:
    """Make an ensemble from arrays; raises ValueError or KeyError if they do not fit."""
    kernels = Kernels(
        title=TitleKernel.from_arrays(_below(arrays, "kernels.title.")),
        blind=TitleKernel.from_arrays(_below(arrays, "kernels.blind.")),
        image=ImageKernel.from_arrays(_below(arrays, "kernels.image.")),
        statements=StatementKernel.from_arrays(ontology, _below(arrays, "kernels.statements.")),
    )
    ensemble = ExpertEnsemble(name, ontology, kernels, {}, Stacker({}, {}))
    learned: dict[tuple[Expert, str], LinearScores] = {}
    for number, property in enumerate(ontology.learned()):
        size = len(ontology.values_of(property))
        for expert in EXPERTS:
            key = f"experts.{expert.name}.{number}"
            if f"{key}.mean" not in arrays:
                continue
            coefficients = arrays[f"{key}.coefficients"].astype(np.float32)
            mean = arrays[f"{key}.mean"].astype(np.float32)
            if coefficients.shape != (kernels.landmarks, size) or mean.shape != (size,):
                raise ValueError(f"{key} has the shapes {coefficients.shape} and {mean.shape}")
            learned[expert, property] = LinearScores(coefficients, mean)
        for situation in _situations():
            key = f"stacker.{_key(situation)}.{number}"
            if f"{key}.features" in arrays:
                width = 2 * len(answering(situation))
                ensemble.stacker.own[situation, property] = Weights(
                    features=_vector(arrays, f"{key}.features", width),
                    biases=_vector(arrays, f"{key}.biases", size),
                    missed=float(_vector(arrays, f"{key}.missed", 1).clip(1e-9, 1 - 1e-9)[0]),
                    rest=ensemble.frequencies(property),
                )
    for situation in _situations():
        key = f"shared.{_key(situation)}"
        if key in arrays:
            width = 2 * len(answering(situation))
            ensemble.stacker.shared[situation] = _vector(arrays, key, width)
    ensemble.learned = learned
    return ensemble


def _below(
    arrays: Mapping[str, NDArray[np.generic]], prefix: str
) -> dict[str, NDArray[np.generic]]:
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


def _vector(arrays: Mapping[str, NDArray[np.generic]], name: str, length: int) -> FloatArray:
    vector = arrays[name].astype(np.float64)
    if vector.shape != (length,) or not np.isfinite(vector).all():
        raise ValueError(f"{name} is no list of {length} numbers")
    return vector


def _situations() -> list[Situation]:
    return [
        Situation(state, image, known)
        for state in TitleState
        for image in (True, False)
        for known in (True, False)
    ]


def _key(situation: Situation) -> str:
    return f"{situation.title}-{int(situation.image)}-{int(situation.known)}"
