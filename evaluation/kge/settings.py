"""The settings of an embedding, as a search found them, and the file that keeps them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from fusion.inference.featurizer import ItemInput
from schema.documents import parse_json_object, read_limited
from schema.errors import DataError, SourceNotFoundError, UsageError
from schema.files import write_atomically
from schema.settings import Limits, check_limits, check_type

INTERACTIONS = {"transe": "TransE", "rotate": "RotatE", "complex": "ComplEx"}
"""The embeddings by their names in options, with those that they have in print."""

_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class EmbeddingSettings:
    """How an embedding is trained, and how items are folded in.

    Attributes:
        interaction: one of :data:`INTERACTIONS`
        loss: PyKEEN's name of the loss
        width: the numbers of a vector, complex ones of RotatE and ComplEx
        norm: the norm of TransE's distance; 0 of others
        margin: the margin of the loss ``nssa``; 0 of others
        temperature: its adversarial temperature; 0 of others
        learning_rate: Adam's
        batch_size: the statements of a step
        negatives: the corrupted statements of each
        epochs: the passes over the statements
        steps: the steps of an item's own vector
    """

    interaction: str = "transe"
    loss: str = "nssa"
    width: int = 32
    norm: int = 0
    margin: float = 0.0
    temperature: float = 0.0
    learning_rate: float = 0.01
    batch_size: int = 1024
    negatives: int = 16
    epochs: int = 20
    steps: int = 40


_LIMITS = {
    "width": Limits(1, 4096),
    "norm": Limits(0, 2),
    "learning_rate": Limits(1e-9, 100),
    "batch_size": Limits(1, 1 << 20),
    "negatives": Limits(1, 10_000),
    "epochs": Limits(1, 100_000),
    "steps": Limits(0, 100_000),
}


@dataclass(frozen=True)
class TunedEmbedding:
    """What a search found: the settings, and how good they are on validation.

    ``validation_mrr`` is PyKEEN's of statements whose items it had trained on with their others,
    and ``fold_in_mrr`` that of the same statements, their items folded in. ``items`` tells on which
    train items the settings were chosen (:func:`items_digest`).
    """

    settings: EmbeddingSettings
    trials: int
    seconds: float
    cells: int
    validation_mrr: float
    fold_in_mrr: float
    items: str

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


def items_digest(items: Sequence[ItemInput]) -> str:
    """Return a SHA-256 that tells train splits apart, of the ids of their items."""
    return hashlib.sha256("\n".join(sorted(item.id for item in items)).encode()).hexdigest()


def write_tuned(folder: Path, tuned: TunedEmbedding) -> Path:
    """Write ``NAME.json`` into a folder, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{tuned.settings.interaction}.json"
    write_atomically(path, json.dumps(tuned.as_dict(), indent=1))
    return path


def read_tuned(folder: Path, name: str, train: Sequence[ItemInput]) -> TunedEmbedding:
    """Read what the search for ``name`` found.

    Raises SourceNotFoundError if there was none, and DataError if the settings were chosen with
    other train items, or if the file is damaged.
    """
    path = folder / f"{name}.json"
    again = f"run `catalograph baseline kge --only {name}`"
    if not path.is_file():
        raise SourceNotFoundError(f"{INTERACTIONS[name]} has not been tuned for this home: {again}")
    try:
        tuned = _tuned(parse_json_object(read_limited(path, _MAX_BYTES)))
    except (ValueError, TypeError, KeyError, UsageError) as error:
        raise DataError(f"{path} is damaged ({error}): {again}") from None
    if tuned.items != items_digest(train):
        raise DataError(
            f"{INTERACTIONS[name]} was tuned with other train items than these {len(train):,}: "
            f"{again}, with the same --split"
        )
    return tuned


def _tuned(document: dict[str, Any]) -> TunedEmbedding:
    """Make the result of a search from plain data; raises UsageError on a setting that is none."""
    default = EmbeddingSettings()
    given = document["settings"]
    settings = EmbeddingSettings(**given)
    for name in (each.name for each in fields(EmbeddingSettings)):
        check_type(name, getattr(settings, name), getattr(default, name))
        if name in _LIMITS:
            check_limits(name, getattr(settings, name), _LIMITS[name])
    return TunedEmbedding(**{**document, "settings": settings})
