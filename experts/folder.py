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

from experts.categories import CategoryKernel
from experts.ensemble import (
    EXPERTS,
    Expert,
    ExpertEnsemble,
    Kernels,
    LinearScores,
    Stacker,
    answering,
)
from experts.image_kernel import ImageKernel
from experts.kernels import (
    Arrays,
    StatementKernel,
    TitleKernel,
    text_array,
    texts_of_array,
)
from experts.left_out import LearnedItems, LeftOutEnsemble
from experts.open_values import GATE_FEATURES, OpenProperty, OpenValues, Writing, checked_case
from experts.pretrained import keep_encoder
from experts.said_values import SaidValues
from experts.situations import CategoryState, Situation, every_situation
from experts.stacker import Weights
from experts.title_spans import FEATURES as SPAN_FEATURES
from experts.title_spans import PLACES, SpanStatistics, SpanVocabulary, known_words
from fusion.checkpoint import (
    ModelDescription,
    read_manifest,
    read_required_files,
    reporting_damage,
    write_files,
)
from fusion.inference.featurizer import PixelReader
from schema.arrays import FloatArray, IntArray
from schema.documents import parse_json_object
from schema.manifests import CALIBRATION, CONFIG, EXPERT_FILE, MANIFEST, NETWORK, ONTOLOGY
from schema.memory import keep_freed_memory
from schema.ontology import Ontology

LEFT_OUT_FILE = "left_out.safetensors"
"""What leaving an item out takes (:mod:`experts.left_out`)."""
JOINT = "joint.json"
"""What joins a network to the experts of a folder, written by :mod:`serving.joining`."""


def has_experts(folder: Path) -> bool:
    """Return whether a model folder has experts; raises ModelError if it is no model folder."""
    return EXPERT_FILE in read_manifest(folder)


def holds_experts(folder: Path) -> bool:
    """Return whether a folder has experts, which may be no model folder yet."""
    return (folder / MANIFEST).is_file() and has_experts(folder)


def network_folder(folder: Path) -> Path | None:
    """Return the folder of the network beside the experts of a folder; None if there is none."""
    network = folder / NETWORK
    return network if (network / MANIFEST).is_file() else None


def save_experts(
    folder: Path,
    ensemble: ExpertEnsemble,
    about: Mapping[str, Any],
    calibration: Mapping[str, Any] | None = None,
    left_out: LearnedItems | None = None,
) -> None:
    """Write a model folder of experts alone; ``about`` becomes its ``config.json``.

    Their pretrained encoders are copied into it.
    """
    keep_encoders(folder, ensemble)
    ontology = ensemble.ontology
    described = {**about, "ontology_sha256": ontology.content_hash()}
    files = {
        CONFIG: json.dumps(described, indent=1, sort_keys=True).encode(),
        ONTOLOGY: ontology.to_toml().encode(),
        EXPERT_FILE: save(to_arrays(ensemble)),
    }
    if left_out is not None:
        files[LEFT_OUT_FILE] = save(left_out.arrays(list(ontology.learned())))
    if calibration is not None:
        files[CALIBRATION] = json.dumps(calibration, ensure_ascii=False).encode()
    write_files(folder, files)


def keep_encoders(folder: Path, ensemble: ExpertEnsemble) -> None:
    """Copy the pretrained encoders of experts into a model folder; raises ModelError."""
    keep_encoder(ensemble.kernels.title.encoder, folder)
    keep_encoder(ensemble.kernels.image.encoder, folder)


def load_experts(folder: Path, read_pixels: PixelReader | None = None) -> ExpertEnsemble:
    """Open a model folder of experts; raises ModelError if it is missing or damaged."""
    # Kernel rows are made and dropped all the time.
    keep_freed_memory()
    files = read_required_files(folder, (CONFIG, ONTOLOGY, EXPERT_FILE))
    with reporting_damage(folder):
        description = ModelDescription.read(folder, files)
        arrays = load(files.pop(EXPERT_FILE))
        ensemble = from_arrays(folder, description.ontology, arrays)
        ensemble.joint = parse_json_object(files[JOINT]) if JOINT in files else None
    ensemble.path = folder
    ensemble.about = description.about
    ensemble.calibration = description.calibration
    ensemble.read_pixels = read_pixels
    return ensemble


def load_left_out(ensemble: ExpertEnsemble) -> LeftOutEnsemble | None:
    """Return experts of a folder that score the items they know as if they did not.

    None if the folder is of an earlier version, which does not keep what that takes. Raises
    ModelError if it is damaged.
    """
    files = read_required_files(ensemble.path, (EXPERT_FILE,))
    if LEFT_OUT_FILE not in files:
        return None
    with reporting_damage(ensemble.path):
        arrays = load(files[LEFT_OUT_FILE])
        return LeftOutEnsemble(ensemble, LearnedItems.from_arrays(ensemble, arrays))


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
            ("description", kernels.description.arrays()),
            ("category", kernels.category.arrays()),
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
    if ensemble.open_values is not None:
        arrays |= _open_arrays(ensemble.open_values, numbers)
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _open_arrays(open_values: OpenValues, numbers: Mapping[str, int]) -> Arrays:
    vocabulary = open_values.vocabulary
    arrays: Arrays = {
        "open.spans": text_array([" ".join(words) for words in vocabulary.numbers]),
        "open.titles": vocabulary.titles,
        "open.common": text_array(vocabulary.common),
    }
    for property, own in open_values.properties.items():
        key = f"open.{numbers[property]}"
        arrays[f"{key}.elsewhere"] = own.statistics.elsewhere
        arrays[f"{key}.before"] = own.statistics.before
        arrays[f"{key}.after"] = own.statistics.after
        arrays[f"{key}.place"] = own.statistics.place
        arrays[f"{key}.ranker"] = own.ranker
        arrays[f"{key}.gate"] = own.gate
        arrays[f"{key}.said.whole"] = own.said.whole
        arrays[f"{key}.said.head"] = own.said.head
        arrays[f"{key}.writing"] = text_array(
            [own.writing.case, str(own.writing.adds_plural), str(own.writing.drops_plural)]
        )
    return arrays


def _open_values(
    ontology: Ontology, arrays: Mapping[str, NDArray[np.generic]]
) -> OpenValues | None:
    if "open.spans" not in arrays:
        return None
    spans = [tuple(text.split(" ")) for text in texts_of_array(arrays["open.spans"])]
    titles = _counts(arrays, "open.titles", len(spans))
    vocabulary = SpanVocabulary.of(spans, titles, texts_of_array(arrays["open.common"]), ontology)
    tags = len(vocabulary.tags)
    properties = {}
    for number, property in enumerate(ontology.learned()):
        key = f"open.{number}"
        if f"{key}.ranker" not in arrays:
            continue
        spec = ontology[property]
        case, adds, drops = texts_of_array(arrays[f"{key}.writing"])
        properties[property] = OpenProperty(
            statistics=SpanStatistics(
                property=property,
                titles=titles,
                unlabelled=np.zeros_like(titles),
                elsewhere=_counts(arrays, f"{key}.elsewhere", len(spans)),
                before=_vector(arrays, f"{key}.before", tags),
                after=_vector(arrays, f"{key}.after", tags),
                place=_vector(arrays, f"{key}.place", PLACES),
                known=known_words(spec),
            ),
            ranker=_vector(arrays, f"{key}.ranker", len(SPAN_FEATURES)),
            gate=_vector(arrays, f"{key}.gate", GATE_FEATURES),
            writing=Writing(checked_case(case), adds == "True", drops == "True"),
            said=SaidValues.of(
                spec,
                _vector(arrays, f"{key}.said.whole", len(spec.values)),
                _vector(arrays, f"{key}.said.head", len(spec.values)),
            ),
        )
    return OpenValues(vocabulary, properties)


def from_arrays(
    folder: Path, ontology: Ontology, arrays: Mapping[str, NDArray[np.generic]]
) -> ExpertEnsemble:
    """Make the ensemble of a model folder from arrays, and from the encoders in the folder.

    Raises ValueError or KeyError if they do not fit, and ModelError if an encoder does not.
    """
    statements = StatementKernel.from_arrays(ontology, _below(arrays, "kernels.statements."))
    description = _below(arrays, "kernels.description.")
    kernels = Kernels(
        title=TitleKernel.from_arrays(_below(arrays, "kernels.title."), folder),
        blind=TitleKernel.from_arrays(_below(arrays, "kernels.blind."), folder),
        image=ImageKernel.from_arrays(_below(arrays, "kernels.image."), folder),
        statements=statements,
        # Folders from before descriptions and categories were read have none.
        description=(
            TitleKernel.from_arrays(description, folder)
            if description
            else TitleKernel([], [], statements.landmarks)
        ),
        category=CategoryKernel.from_arrays(statements, _below(arrays, "kernels.category.")),
    )
    ensemble = ExpertEnsemble(folder.resolve().name, ontology, kernels, {}, Stacker({}, {}))
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
        for situation in every_situation():
            key = f"stacker.{_key(situation)}.{number}"
            if f"{key}.features" in arrays:
                width = 2 * len(answering(situation))
                ensemble.stacker.own[situation, property] = Weights(
                    features=_vector(arrays, f"{key}.features", width),
                    biases=_vector(arrays, f"{key}.biases", size),
                    missed=float(_vector(arrays, f"{key}.missed", 1).clip(1e-9, 1 - 1e-9)[0]),
                    rest=ensemble.frequencies(property),
                )
    for situation in every_situation():
        key = f"shared.{_key(situation)}"
        if key in arrays:
            width = 2 * len(answering(situation))
            ensemble.stacker.shared[situation] = _vector(arrays, key, width)
    ensemble.learned = learned
    ensemble.open_values = _open_values(ontology, arrays)
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


def _counts(arrays: Mapping[str, NDArray[np.generic]], name: str, length: int) -> IntArray:
    return _vector(arrays, name, length).astype(np.int64)


def _key(situation: Situation) -> str:
    key = f"{situation.title}-{int(situation.image)}-{int(situation.known)}"
    if situation.description:
        key += "-description"
    if situation.category is not CategoryState.ABSENT:
        key += f"-category-{situation.category}"
    return key
