"""A classifier in a model folder: three files beside those of the model itself.

The model's manifest names them, so that they are checked, copied and deleted with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.numpy import load, save

from experts.category_tree import CategoryTree
from experts.classification import Classifier, Restated
from experts.folder import from_arrays, keep_encoders, to_arrays
from fusion.checkpoint import read_manifest, read_required_files, reporting_damage, write_files
from fusion.inference.featurizer import PixelReader
from schema.documents import parse_json_object
from schema.manifests import MANIFEST
from schema.memory import keep_freed_memory
from schema.ontology import Ontology
from schema.terms import CATEGORY

CLASSIFIER = "classifier.safetensors"
CLASSIFIER_ONTOLOGY = "classifier.toml"
CLASSIFIER_CONFIG = "classifier.json"


def has_classifier(folder: Path) -> bool:
    """Return whether a folder has a classifier; raises ModelError if its manifest is damaged."""
    return (folder / MANIFEST).is_file() and CLASSIFIER in read_manifest(folder)


def save_classifier(folder: Path, classifier: Classifier, about: Mapping[str, Any]) -> None:
    """Add a classifier to a model folder, or replace the one that it has.

    ``about`` says what it has learned from.
    """
    keep_encoders(folder, classifier.ensemble)
    config = {
        "about": dict(about),
        "restated": dict(classifier.restated.wrong),
        "calibration": classifier.calibration,
    }
    files = {
        CLASSIFIER: save(to_arrays(classifier.ensemble)),
        CLASSIFIER_ONTOLOGY: classifier.ontology.to_toml().encode(),
        CLASSIFIER_CONFIG: json.dumps(config, ensure_ascii=False, sort_keys=True).encode(),
    }
    write_files(folder, files)


def load_classifier(folder: Path, read_pixels: PixelReader | None = None) -> Classifier | None:
    """Open the classifier of a model folder; None if it has none.

    Raises ModelError if it is damaged.
    """
    if not has_classifier(folder):
        return None
    keep_freed_memory()
    files = read_required_files(folder, (CLASSIFIER, CLASSIFIER_ONTOLOGY, CLASSIFIER_CONFIG))
    with reporting_damage(folder):
        config = parse_json_object(files[CLASSIFIER_CONFIG])
        ontology = Ontology.from_toml(files[CLASSIFIER_ONTOLOGY].decode())
        ensemble = from_arrays(folder, ontology, load(files[CLASSIFIER]))
        ensemble.read_pixels = read_pixels
        wrong = {str(name): _share(value) for name, value in config["restated"].items()}
        restated = Restated(CategoryTree(ontology.values_of(CATEGORY)), wrong)
        classifier = Classifier(ensemble, restated, config["calibration"])
        classifier.about = dict(config["about"])
    classifier.path = folder
    return classifier


def _share(value: object) -> float:
    if isinstance(value, float) and 0 < value < 1:
        return value
    raise ValueError(f"{value!r} is no share between 0 and 1")
