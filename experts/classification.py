"""Classify items into the category tree, by experts that learn the category like a property.

Many catalogues say a level of the category once more, in a property: ``articleType`` is "Shirts"
where the category is ``Apparel > Topwear > Shirts``. Whoever predicts the category from it predicts
nothing, and an item that lacks one often lacks both. So the experts read no property that restates
the category, and no statement of another property that names a level of its own item's category.
Where an item has such a statement all the same, it counts by itself: paths without the level that
it names are as improbable as such statements are wrong (:class:`Restated`), and the situation is
one of its own.

Shapes: N items, C cells, V paths.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experts.category_tree import CategoryTree, category_text, level_key, levels_of
from experts.ensemble import EncodedItems, ExpertEnsemble
from experts.fitting import fit_experts
from experts.labelled_items import HeldOutCells, LabelledItems
from experts.open_values import OpenValue
from fusion.inference.featurizer import ItemInput, PropertyValue
from fusion.inference.scorer import CellQuery
from schema.errors import TrainingError
from schema.modalities import Modality
from schema.ontology import Ontology, PropertySpec
from schema.progress import ProgressCallback, no_progress
from schema.terms import CATEGORY

RESTATES = 0.2
"""The share of a property's statements that name a level of their item's category from which on
the property restates it."""
LEAST_ITEMS = 10
"""Items with a category that classification takes at least."""


def restating_properties(
    known: Sequence[Sequence[PropertyValue]], categories: Sequence[Sequence[str]]
) -> frozenset[str]:
    """Return the properties that restate the category, given the statements of N items."""
    stated: Counter[str] = Counter()
    restated: Counter[str] = Counter()
    for statements, levels in zip(known, categories, strict=True):
        own = set(map(level_key, levels))
        if own:
            stated.update(name for name, _ in statements)
            restated.update(name for name, value in statements if level_key(value) in own)
    return frozenset(name for name, count in restated.items() if count >= RESTATES * stated[name])


def without_restating(
    known: Sequence[PropertyValue], restating: Collection[str], category: str | None
) -> tuple[PropertyValue, ...]:
    """Return the statements of an item that say nothing of its category's levels."""
    own = levels_of(category) if category else set()
    return tuple(
        each for each in known if each[0] not in restating and level_key(each[1]) not in own
    )


def why_no_classes(ontology: Ontology, categories: Sequence[Sequence[str]]) -> str | None:
    """Return why nothing can be learned of the categories of N items; None if it can."""
    if CATEGORY in ontology.properties:
        return f"the catalogue has a property {CATEGORY!r} of its own"
    paths = [category_text(levels) for levels in categories if levels]
    if len(paths) < LEAST_ITEMS:
        return f"{len(paths):,} items have a category, and {LEAST_ITEMS} are needed"
    return None if len(set(paths)) > 1 else "all items have the same category"


def classification_ontology(
    ontology: Ontology, restating: Collection[str], paths: Sequence[str]
) -> Ontology:
    """Return an ontology that has the category as a property, and learns none that restates it.

    ``paths`` [N] are those of the items.
    """
    # In the order in which an ontology that is read has them, equally frequent ones by name.
    counts = sorted(Counter(paths).items(), key=lambda pair: (-pair[1], pair[0]))
    spec = PropertySpec(
        CATEGORY,
        values=tuple(path for path, _ in counts),
        counts=tuple(count for _, count in counts),
        coverage=1.0,
        learn=True,
        case_sensitive=True,
    )
    others = [
        replace(each, learn=False) if each.name in restating else each
        for each in ontology.properties.values()
    ]
    return Ontology([*others, spec], threshold=ontology.threshold)


@dataclass(frozen=True)
class Restated:
    """What statements that name a level of the category say of it.

    ``wrong`` is by property the share of its statements that name a level which their item's
    category does not have.
    """

    tree: CategoryTree
    wrong: Mapping[str, float]

    @classmethod
    def learn(
        cls,
        tree: CategoryTree,
        restating: Collection[str],
        known: Sequence[Sequence[PropertyValue]],
        paths: Sequence[str],
    ) -> Restated:
        """Count how often the statements of N items are wrong, with add-one smoothing."""
        stated = dict.fromkeys(sorted(restating), 2)
        wrong = dict.fromkeys(stated, 1)
        for statements, path in zip(known, paths, strict=True):
            own = levels_of(path)
            for name, value in statements:
                if name in stated and tree.with_level(value) is not None:
                    stated[name] += 1
                    wrong[name] += level_key(value) not in own
        return cls(tree, {name: wrong[name] / count for name, count in stated.items()})

    def statements(self, known: Sequence[PropertyValue]) -> list[PropertyValue]:
        """Return the statements that name a level."""
        return [
            each
            for each in known
            if each[0] in self.wrong and self.tree.with_level(each[1]) is not None
        ]

    def log_likelihood(self, known: Sequence[PropertyValue]) -> NDArray[np.float32]:
        """Return how probable statements are for each path [V], as logarithms, up to a constant."""
        total = np.zeros(len(self.tree.paths), np.float32)
        for name, value in self.statements(known):
            named = self.tree.with_level(value)
            if named is not None:
                wrong = self.wrong[name]
                total += np.where(named, np.log1p(-wrong), np.log(wrong))
        return total

    def state(self, known: Sequence[PropertyValue]) -> str:
        """Return how much of the path statements leave open: the end of a situation's name."""
        statements = self.statements(known)
        if not statements:
            return ""
        named = [self.tree.with_level(value) for _, value in statements]
        left = np.logical_and.reduce([each for each in named if each is not None])
        return "+restated" if left.sum() == 1 else "+partly restated"


class Classifier:
    """Scores the category of items as the cell of a property; a scorer of that property alone.

    Args:
        ensemble: the experts; their ontology has the category as a property
        restated: what statements that name a level say
        calibration: of all situations, also where something is restated; None if there is none
    """

    def __init__(
        self,
        ensemble: ExpertEnsemble,
        restated: Restated,
        calibration: dict[str, Any] | None = None,
    ) -> None:
        self.ensemble = ensemble
        self.restated = restated
        self.calibration = calibration
        self.about: dict[str, Any] = {}
        self.path = Path(ensemble.name)

    @property
    def name(self) -> str:
        """The model name that predictions carry."""
        return self.ensemble.name

    @property
    def ontology(self) -> Ontology:
        """The properties that it reads, and the category."""
        return self.ensemble.ontology

    @property
    def tree(self) -> CategoryTree:
        """The paths that it knows."""
        return self.restated.tree

    @property
    def modalities(self) -> frozenset[Modality]:
        """The modalities that it reads."""
        return self.ensemble.modalities

    @property
    def reads_details(self) -> bool:
        """Whether it reads descriptions or more than one image of an item."""
        return self.ensemble.reads_details

    @cached_property
    def read_properties(self) -> frozenset[str]:
        """The properties whose statements the experts read."""
        return frozenset(self.ontology.learned()) - {CATEGORY}

    def situation(self, item: ItemInput, cell: CellQuery) -> str:
        """Name what is known of an item when its category is scored."""
        return self.ensemble.situation(item, self._read(cell)) + self.restated.state(cell.known)

    def encode(self, items: Sequence[ItemInput]) -> list[EncodedItems]:
        """Compare texts and images with the landmarks, the expensive part."""
        return self.ensemble.encode(items)

    def score(
        self, encoded: list[EncodedItems], cells: Sequence[CellQuery]
    ) -> list[NDArray[np.float32]]:
        """Return logits over the V paths, and over "another one" at the end."""
        scores = self.ensemble.score(encoded, [self._read(cell) for cell in cells])
        return [
            with_restated(row, self.restated, cell.known)
            for row, cell in zip(scores, cells, strict=True)
        ]

    def unknown_values(self, item: ItemInput, property: str) -> Sequence[OpenValue]:
        """Return nothing: no title says a path that nobody has seen."""
        return ()

    def _read(self, cell: CellQuery) -> CellQuery:
        """Return a cell with the statements that the experts read."""
        known = tuple(each for each in cell.known if each[0] in self.read_properties)
        return CellQuery(cell.item, CATEGORY, known, ())


def with_restated(
    logits: NDArray[np.float32], restated: Restated, known: Sequence[PropertyValue]
) -> NDArray[np.float32]:
    """Return logits [V + K] as statements that name a level change those of the V paths.

    How probable another path is stays what it was.
    """
    change = restated.log_likelihood(known)
    if not change.any():
        return logits
    paths = len(change)
    before = np.logaddexp.reduce(logits[:paths])
    changed = logits[:paths] + change
    changed += before - np.logaddexp.reduce(changed)
    return np.append(changed, logits[paths:]).astype(np.float32)


@dataclass(frozen=True)
class FittedClassifier:
    """A fitted classifier, and how it scores what it learned from when it is left out.

    ``held_out`` are the cells by the names of their situations; ``ids`` [N] are the items.
    """

    classifier: Classifier
    held_out: Mapping[str, HeldOutCells]
    ids: Sequence[str]


def fit_classifier(
    name: str,
    ontology: Ontology,
    items: LabelledItems,
    *,
    seed: int = 0,
    progress: ProgressCallback = no_progress,
) -> FittedClassifier:
    """Fit experts on the items that have a category.

    ``ontology`` says which properties are read. Raises TrainingError if the categories are too few.
    """
    items = items.with_every_part()
    reason = why_no_classes(ontology, items.categories)
    if reason is not None:
        raise TrainingError(f"categories cannot be learned: {reason}")
    restating = restating_properties(items.known, items.categories)
    items = items.select(np.flatnonzero([bool(levels) for levels in items.categories]))
    paths = [category_text(levels) or "" for levels in items.categories]
    with_category = classification_ontology(ontology, restating, paths)
    labelled = replace(
        items,
        known=[
            (*without_restating(known, restating, path), (CATEGORY, path))
            for known, path in zip(items.known, paths, strict=True)
        ],
        categories=(),
    )
    fitted = fit_experts(
        name, with_category, labelled, properties=[CATEGORY], seed=seed, progress=progress
    )
    tree = CategoryTree(with_category.values_of(CATEGORY))
    restated = Restated.learn(tree, restating, items.known, paths)
    ids = fitted.items.ids
    known_of = dict(zip(items.ids, items.known, strict=True))
    held_out: dict[str, list[HeldOutCells]] = {}
    rng = np.random.default_rng([seed, 2])
    known = [restated.statements(known_of[id]) for id in ids]
    for (situation, _), cells in fitted.held_out.items():
        held_out.setdefault(situation.name, []).append(cells)
        for state, some in _with_statements(cells, restated, known, rng).items():
            held_out.setdefault(situation.name + state, []).append(some)
    return FittedClassifier(
        Classifier(fitted.ensemble, restated),
        {situation: _joined(parts) for situation, parts in held_out.items()},
        ids,
    )


def _with_statements(
    cells: HeldOutCells,
    restated: Restated,
    known: Sequence[Sequence[PropertyValue]],
    rng: np.random.Generator,
) -> dict[str, HeldOutCells]:
    """Return cells with some of their items' statements that name a level, by what these tell.

    ``known`` [N] are all of these; those that are shown are drawn, at least one.
    """
    chosen: dict[str, list[int]] = {}
    logits = cells.logits.copy()
    for place, item in enumerate(cells.item.tolist()):
        every = known[item]
        if every:
            order = rng.permutation(len(every))[: rng.integers(1, len(every) + 1)]
            shown = [every[number] for number in order]
            logits[place] = with_restated(cells.logits[place], restated, shown)
            chosen.setdefault(restated.state(shown), []).append(place)
    found = {}
    for state, places in chosen.items():
        mask = np.zeros(len(logits), bool)
        mask[places] = True
        found[state] = replace(cells, logits=logits).select(mask)
    return found


def _joined(parts: Sequence[HeldOutCells]) -> HeldOutCells:
    if len(parts) == 1:
        return parts[0]
    return HeldOutCells(
        np.concatenate([each.logits for each in parts]),
        np.concatenate([each.true for each in parts]),
        np.concatenate([each.item for each in parts]),
        np.concatenate([each.fold for each in parts]),
        np.concatenate([each.variant for each in parts]),
    )
