"""What a model card says that is not in the model itself: its data, and what was measured of it.

``card.toml`` in a model folder keeps it. People may add their licence and a text of their own;
:mod:`kg.model_card` writes the page.
"""

from __future__ import annotations

import hashlib
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import tomli_w

from kg.home import Home
from schema.documents import parse_toml
from schema.errors import ModelError
from schema.files import open_named
from schema.manifests import CARD_FACTS
from schema.settings import shown
from schema.stamps import write_stamped
from schema.terms import now

LEFT_OUT = "left out"
"""The part of items that were learned from and scored as if each had been left out."""
_MAX_BYTES = 1 << 24
_PACKAGES = ("catalograph", "torch", "numpy", "scipy", "scikit-learn", "transformers")
_HEAD = (
    "# The facts of the model card README.md, which `catalograph model card` writes from them.\n"
    '# You may set: licence = "...", about = "..." (a text of your own).\n'
)

Numbers = tuple[float, float, float]
"""A figure, and the two ends of its 95% interval."""


@dataclass(frozen=True)
class TrainedOn:
    """The catalogue that a model was trained on.

    Attributes:
        time: when, in ISO 8601 and UTC
        items, statements: how many the catalogue had
        digest: the SHA-256 of both, as in its data card
        split: how it was split
        sources: its sources by name, and how many items each describes
        versions: of Python and of the packages
    """

    time: str
    items: int
    statements: int
    digest: str
    split: str
    sources: Mapping[str, int]
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Measured:
    """What was measured of a model, in one task and one setting.

    Attributes:
        task: the name of the command below ``evaluate``
        setting: what the model saw of the items
        part: the part of the split, or ``LEFT_OUT``
        split: how the catalogue was split
        digest: the SHA-256 of the catalogue's data, see :class:`TrainedOn`
        count: how many items, questions or pairs were measured
        time: when
        figures: by what they are about ("macro", "pooled", a property or a setting), by metric
    """

    task: str
    setting: str
    part: str
    split: str
    digest: str
    count: int
    time: str
    figures: Mapping[str, Mapping[str, Numbers]]

    @property
    def key(self) -> tuple[str, str, str]:
        """A newer measurement with the same key takes this one's place."""
        return self.task, self.setting, self.part


@dataclass(frozen=True)
class ModelFacts:
    """What ``card.toml`` says."""

    licence: str | None = None
    about: str | None = None
    trained_on: TrainedOn | None = None
    measured: tuple[Measured, ...] = field(default=())

    @classmethod
    def read(cls, folder: Path) -> ModelFacts:
        """Read the facts of a model folder, none if there are none yet.

        Raises ModelError if the file cannot be read.
        """
        path = folder / CARD_FACTS
        try:
            with open_named(folder, CARD_FACTS) as stream:
                document = parse_toml(stream.read(_MAX_BYTES))
            trained_on = document.get("trained_on")
            return cls(
                _text(document, "licence"),
                _text(document, "about"),
                None if trained_on is None else _trained_on(trained_on),
                tuple(map(_measured, document.get("measured", ()))),
            )
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(
                f"{path} cannot be read ({error}): correct it, or remove it and evaluate again"
            ) from None

    def write(self, folder: Path) -> None:
        """Write the facts into a model folder."""
        document: dict[str, Any] = {
            name: value
            for name, value in (("licence", self.licence), ("about", self.about))
            if value is not None
        }
        if self.trained_on is not None:
            trained_on = vars(self.trained_on)
            mappings = ("sources", "versions")
            document["trained_on"] = trained_on | {
                name: dict(trained_on[name]) for name in mappings
            }
        document["measured"] = [
            vars(each)
            | {
                "figures": {
                    about: {metric: list(numbers) for metric, numbers in metrics.items()}
                    for about, metrics in each.figures.items()
                }
            }
            for each in self.measured
        ]
        write_stamped(folder / CARD_FACTS, _HEAD + tomli_w.dumps(document))

    def plus(self, measured: Sequence[Measured]) -> ModelFacts:
        """Return the facts with newer measurements in the place of older ones."""
        newer = {each.key for each in measured}
        kept = [each for each in self.measured if each.key not in newer]
        return replace(self, measured=(*kept, *measured))


def read_trained_on(home: Home, split_file: Path | None) -> TrainedOn:
    """Read the facts of the catalogue that a model is about to be trained on."""
    from kg.data_card import data_digest
    from kg.source_order import source_counts

    with home.store(read_only=True) as store:
        sources = {each.source: each.items for each in source_counts(store)}
    snapshot = home.snapshot(details=True)
    return TrainedOn(
        now(),
        len(snapshot.items),
        len(snapshot.triples),
        data_digest(snapshot),
        told_split(split_file),
        sources,
        _versions(),
    )


def told_split(split_file: Path | None) -> str:
    """Return how a catalogue is split: by a file, of which it gives the name and the digest."""
    if split_file is None:
        return "by SHA-1 of the items' ids, 90/5/5"
    digest = hashlib.sha256(split_file.read_bytes()).hexdigest()
    return f"{split_file.name} (SHA-256 {digest[:12]}…)"


def figures_of(metrics: Mapping[str, Any]) -> dict[str, Numbers]:
    """Return those of some metrics that have a value and an interval.

    Each metric is ``{"value", "low", "high"}``, or is left out.
    """
    found = {}
    for name, metric in metrics.items():
        if not isinstance(metric, Mapping):
            continue
        numbers = [metric.get(key) for key in ("value", "low", "high")]
        if all(isinstance(each, int | float) and math.isfinite(each) for each in numbers):
            value, low, high = (float(each) for each in numbers if each is not None)
            found[str(name)] = (value, low, high)
    return found


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def _text(document: Mapping[str, Any], name: str) -> str | None:
    found = document.get(name)
    if found is None or isinstance(found, str):
        return found
    raise ValueError(f"{name} is {shown(found)} and no text")


def _texts(document: Mapping[str, Any], *names: str) -> list[str]:
    for name in names:
        if not isinstance(document[name], str):
            raise ValueError(f"{name} is {shown(document[name])} and no text")
    return [document[name] for name in names]


def _count(found: Any) -> int:
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        raise ValueError(f"{shown(found)} is no count")
    return found


def _trained_on(document: Mapping[str, Any]) -> TrainedOn:
    time, digest, split = _texts(document, "time", "digest", "split")
    return TrainedOn(
        time,
        _count(document["items"]),
        _count(document["statements"]),
        digest,
        split,
        {str(name): _count(count) for name, count in document["sources"].items()},
        {str(name): str(each) for name, each in document["versions"].items()},
    )


def _measured(document: Mapping[str, Any]) -> Measured:
    task, setting, part, split, digest, time = _texts(
        document, "task", "setting", "part", "split", "digest", "time"
    )
    figures = {
        str(about): {str(metric): _numbers(numbers) for metric, numbers in metrics.items()}
        for about, metrics in document["figures"].items()
    }
    return Measured(task, setting, part, split, digest, _count(document["count"]), time, figures)


def _numbers(found: Any) -> Numbers:
    value, low, high = (float(each) for each in found)
    if not all(map(math.isfinite, (value, low, high))):
        raise ValueError(f"{shown(found)} is no figure with an interval")
    return value, low, high
