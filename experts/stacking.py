"""Fit the stacker on what experts say of items that they were fitted without.

Shapes: N items, C cells, V values, E experts.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from experts.ensemble import Stacker
from experts.labelled_items import HeldOutCells
from experts.situations import Situation
from experts.stacker import Examples, Shortlists, Weights, fit_own, fit_shared
from schema.arrays import BoolArray, FloatArray, IntArray
from schema.frequencies import value_frequencies
from schema.ontology import Ontology

MAX_STACKED = 3_000
"""Cells of a property in a situation that the stacker is fitted on at most."""
SHARED_CELLS = 700
"""Cells of each property that the shared weights of a situation are fitted on."""
LEAST_CELLS = 30
"""Cells that a property needs in a situation to have weights of its own."""
FOLDS = 2


@dataclass
class GatheredCells:
    """Cells of one property in one situation, gathered from several variants."""

    examples: list[Examples] = field(default_factory=list)
    true: list[BoolArray] = field(default_factory=list)
    item: list[IntArray] = field(default_factory=list)
    variant: list[IntArray] = field(default_factory=list)

    def joined(self) -> _Joined:
        """Return the cells of all variants together."""
        return _Joined(
            Examples(
                Shortlists(
                    np.concatenate([each.shortlists.scores for each in self.examples]),
                    np.concatenate([each.shortlists.values for each in self.examples]),
                ),
                np.concatenate([each.true for each in self.examples]),
                np.concatenate([each.has_value for each in self.examples]),
                np.concatenate([each.weight for each in self.examples]),
            ),
            np.concatenate(self.true),
            np.concatenate(self.item),
            np.concatenate(self.variant),
        )


@dataclass(frozen=True)
class _Joined:
    examples: Examples
    true: BoolArray
    item: IntArray
    variant: IntArray


@dataclass(frozen=True)
class FittedStacker:
    """A stacker, and its logits [C, V] of the cells, each without the cell's own fold."""

    stacker: Stacker
    held_out: dict[tuple[Situation, str], HeldOutCells]


def fit_stacker(
    cells: dict[tuple[Situation, str], GatheredCells],
    ids: Sequence[str],
    ontology: Ontology,
    seed: int = 0,
) -> FittedStacker:
    """Fit the stacker on all cells, and once without each fold for the cells of the fold.

    ``cells`` are taken out as they are used, since they are large. ``ids`` [N] are the items'.
    """
    # By a hash of the id, so that all cells of an item share a fold.
    fold_of = np.array([zlib.crc32(b"stacker " + each.encode()) % FOLDS for each in ids])
    weighing = _Weighing(ontology, seed)
    whole = Stacker({}, {})
    held_out = {}
    situations: dict[Situation, list[str]] = defaultdict(list)
    for situation, property in cells:
        situations[situation].append(property)
    for situation, properties in sorted(situations.items()):
        gathered = {name: cells.pop((situation, name)).joined() for name in properties}
        # Where everything was refused there is no value to learn.
        gathered = {name: each for name, each in gathered.items() if each.examples.has_value.any()}
        if not gathered:
            continue
        shared = weighing.shared([each.examples for each in gathered.values()])
        whole.shared[situation] = shared
        logits = weighing.cross_fitted(gathered, fold_of, shared)
        for name, each in gathered.items():
            if len(each.examples) >= LEAST_CELLS:
                whole.own[situation, name] = weighing.own(each.examples, shared, name)
            weight = each.examples.weight
            # Of what was refused nobody knows the value.
            held_out[situation, name] = HeldOutCells(
                logits[name],
                each.true,
                each.item,
                fold_of[each.item],
                each.variant,
                weight if (weight < 1).any() else None,
            ).select(np.asarray(each.true.any(1)))
    return FittedStacker(whole, held_out)


@dataclass(frozen=True)
class _Weighing:
    """Fits weights on samples of cells."""

    ontology: Ontology
    seed: int

    def shared(self, examples: Sequence[Examples]) -> FloatArray:
        """Fit the weights that the properties share."""
        rng = np.random.default_rng(self.seed)
        sampled = [
            each.select(np.sort(rng.permutation(len(each))[:SHARED_CELLS])) for each in examples
        ]
        return fit_shared(sampled)

    def own(self, examples: Examples, shared: FloatArray, property: str) -> Weights:
        """Fit those of one property."""
        chosen = examples
        if len(examples) > MAX_STACKED:
            rng = np.random.default_rng(self.seed)
            chosen = examples.select(np.sort(rng.permutation(len(examples))[:MAX_STACKED]))
        return fit_own(chosen, shared, value_frequencies(self.ontology[property]))

    def cross_fitted(
        self, gathered: Mapping[str, _Joined], fold_of: IntArray, of_all: FloatArray
    ) -> dict[str, NDArray[np.float32]]:
        """Return the logits [C, V] of each property's cells by weights that did not see their fold.

        ``of_all`` are the shared weights of all folds, for properties without any value in others.
        """
        logits = {
            name: np.zeros((len(each.examples), each.true.shape[1]), np.float32)
            for name, each in gathered.items()
        }
        for fold in range(FOLDS):
            others = {name: fold_of[each.item] != fold for name, each in gathered.items()}
            parts = {name: each.examples.select(others[name]) for name, each in gathered.items()}
            usable = [part for part in parts.values() if part.has_value.any()]
            shared = self.shared(usable) if usable else of_all
            for name, each in gathered.items():
                weights = self.own(parts[name], shared, name)
                own = ~others[name]
                logits[name][own] = weights.logits(each.examples.shortlists.select(own))
        return logits
