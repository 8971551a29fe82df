"""A model that tells how probable it is that two items are the same product.

Boosted trees read the features of a pair, and a logistic calibration turns their score into a
probability. A model folder of this kind has no network and no experts, and completes nothing.

Shapes: M pairs, F features.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from fusion.checkpoint import read_required_files, reporting_damage, write_files
from schema.arrays import FloatArray, IntArray
from schema.documents import parse_json_object
from schema.errors import ModelError, UsageError
from schema.manifests import ALIGNMENT_FILE, ALIGNMENT_TREES, CONFIG, MANIFEST, ONTOLOGY
from schema.ontology import Ontology
from schema.progress import ProgressCallback, no_progress
from serving.alignment.corpus import Corpus
from serving.alignment.features import feature_parts
from serving.alignment.records import Side
from serving.proof import Proven, lowest_threshold

if TYPE_CHECKING:
    from xgboost import Booster

DEFAULT_TARGET = 0.95
"""The share of `match` decisions that shall be right, and of matches that shall not be lost."""
_VERSION = 1


class AlignmentDecision(StrEnum):
    """What is decided of a pair; ``review`` where neither is proven."""

    MATCH = "match"
    REVIEW = "review"
    DISTINCT = "distinct"


@dataclass(frozen=True)
class Calibration:
    """The probability of a score s is 1 / (1 + exp(-(``slope`` s + ``intercept``)))."""

    slope: float
    intercept: float

    def probabilities(self, scores: FloatArray) -> FloatArray:
        """Return the probabilities [M] of scores [M]."""
        return np.asarray(expit(self.slope * scores + self.intercept))


@dataclass(frozen=True)
class Thresholds:
    """A pair is a match from the one probability on, and distinct below the other.

    Infinite where nothing is proven, so that every pair is reviewed.
    """

    match: float
    distinct: float

    def decide(self, probabilities: FloatArray) -> list[AlignmentDecision]:
        """Return the decision of each of M pairs."""
        return [
            AlignmentDecision.MATCH
            if probability >= self.match
            else AlignmentDecision.DISTINCT
            if probability < self.distinct
            else AlignmentDecision.REVIEW
            for probability in probabilities.tolist()
        ]


@dataclass(frozen=True)
class AlignmentModel:
    """Boosted trees over the features of pairs, with what is proven of their probabilities.

    Attributes:
        trees: of a pair's features ``names`` [F]
        properties: those with features of their own
        calibration: of the trees' scores
        matches: from which probability on a share of right matches is proven
        lost: by the share of matches that is not lost, the probability below which it is not
        sides: of the items that the model was trained on, by id
        best_f1: the probability from which on the expected F1 of pairs left out is greatest
        about: how the model was trained
        ontology: of the home that it was trained on
    """

    trees: Booster
    names: tuple[str, ...]
    properties: tuple[str, ...]
    calibration: Calibration
    matches: tuple[Proven, ...]
    lost: Mapping[float, float]
    sides: Mapping[str, Side]
    best_f1: float
    about: Mapping[str, Any]
    ontology: Ontology
    path: Path = field(default=Path())

    @property
    def name(self) -> str:
        """The name of the model's folder."""
        return self.path.resolve().name

    def probabilities(
        self,
        corpus: Corpus,
        left: IntArray,
        right: IntArray,
        progress: ProgressCallback = no_progress,
    ) -> FloatArray:
        """Return how probable it is that the pairs of rows are the same product [M]."""
        if not len(left):
            return np.zeros(0)
        parts = feature_parts(corpus, left, right, self.properties, progress)
        scores = [scores_of(self.trees, self.names, part.values) for part in parts]
        return self.calibration.probabilities(np.concatenate(scores))

    def thresholds(self, target: float = DEFAULT_TARGET) -> Thresholds:
        """Return the thresholds for a share of right matches, and of matches that are not lost.

        Raises UsageError if the share is not between 0 and 1.
        """
        if not 0 < target < 1:
            raise UsageError(
                f"a target precision of {target:g} is out of range: "
                "give one between 0 and 1, such as 0.95"
            )
        match = lowest_threshold(self.matches, target)
        lost = [threshold for kept, threshold in self.lost.items() if kept >= target]
        distinct = max(lost, default=-math.inf)
        return Thresholds(math.inf if match is None else match, distinct)

    def save(self, folder: Path) -> None:
        """Write a model folder."""
        document = {
            "version": _VERSION,
            "features": self.names,
            "properties": self.properties,
            "calibration": [self.calibration.slope, self.calibration.intercept],
            "matches": [[each.precision, each.probability, each.share] for each in self.matches],
            "lost": list(self.lost.items()),
            "best_f1": self.best_f1,
            "left": sorted(id for id, side in self.sides.items() if side is Side.LEFT),
            "right": sorted(id for id, side in self.sides.items() if side is Side.RIGHT),
        }
        write_files(
            folder,
            {
                CONFIG: json.dumps(dict(self.about), indent=1, sort_keys=True).encode(),
                ONTOLOGY: self.ontology.to_toml().encode(),
                ALIGNMENT_FILE: json.dumps(document, ensure_ascii=False, indent=1).encode(),
                ALIGNMENT_TREES: bytes(self.trees.save_raw("json")),
            },
        )

    @classmethod
    def load(cls, folder: Path) -> AlignmentModel:
        """Open a model folder; raises ModelError if it is missing, damaged or of another kind."""
        files = read_required_files(folder, (CONFIG, ONTOLOGY, ALIGNMENT_FILE, ALIGNMENT_TREES))
        with reporting_damage(folder):
            document = parse_json_object(files[ALIGNMENT_FILE])
            if document["version"] != _VERSION:
                raise ModelError(
                    f"{folder} has an alignment model of version {document['version']}, "
                    f"and {_VERSION} is read: train it again with `catalograph finetune align`"
                )
            slope, intercept = map(float, document["calibration"])
            sides = dict.fromkeys(map(str, document["left"]), Side.LEFT)
            sides |= dict.fromkeys(map(str, document["right"]), Side.RIGHT)
            return cls(
                _trees(files[ALIGNMENT_TREES]),
                tuple(map(str, document["features"])),
                tuple(map(str, document["properties"])),
                Calibration(slope, intercept),
                tuple(Proven(*map(float, each)) for each in document["matches"]),
                {float(kept): float(threshold) for kept, threshold in document["lost"]},
                sides,
                float(document["best_f1"]),
                parse_json_object(files[CONFIG]),
                Ontology.from_toml(files[ONTOLOGY].decode(), str(folder / ONTOLOGY)),
                folder,
            )


def scores_of(
    trees: Booster, names: Sequence[str], features: NDArray[np.float32], rounds: int = 0
) -> FloatArray:
    """Return the log-odds [M] that boosted trees give; of the first ``rounds`` only, or of all."""
    from xgboost import DMatrix

    matrix = DMatrix(features, feature_names=_plain_names(len(names)))
    scores = trees.predict(matrix, output_margin=True, iteration_range=(0, rounds))
    return np.asarray(scores, np.float64)


def _plain_names(count: int) -> list[str]:
    # Properties may have names that xgboost does not take, with brackets or "<".
    return [f"f{number}" for number in range(count)]


def _trees(data: bytes) -> Booster:
    from xgboost import Booster
    from xgboost.core import XGBoostError

    trees = Booster()
    try:
        trees.load_model(bytearray(data))
    except XGBoostError as error:
        raise ValueError(str(error).splitlines()[0]) from None
    return trees


def find_alignment_model(models: Path, name: str | None) -> Path:
    """Find a model folder for alignment by its path, its name, or the newest of a home's models.

    Raises UsageError if there is none.
    """
    of_home = sorted(models.glob(f"*/{ALIGNMENT_FILE}"), key=lambda path: path.stat().st_mtime)
    if name is None:
        if not of_home:
            raise UsageError(
                f"no model in {models} that aligns items: label some pairs as 0 or 1 in a CSV "
                "file with the columns left,right,label, and run `catalograph finetune align "
                "--pairs FILE`; or name a model folder with --model"
            )
        return of_home[-1].parent
    for folder in (Path(name), models / name):
        if (folder / ALIGNMENT_FILE).is_file():
            return folder
        if (folder / MANIFEST).is_file():
            raise UsageError(
                f"model {name!r} does not align items: name one that `catalograph finetune align` "
                "trained"
            )
    available = ", ".join(path.parent.name for path in of_home) or "none yet"
    raise UsageError(f"no model {name!r} that aligns items (this home has {available})")
