"""What is known of a property: its values of the labelled items, and who is asked for them.

Shapes: N items, A items that are asked, V values, E experts, C cells, L levels of categories.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from experts.compared_items import ComparedItems
from experts.ensemble import Expert, Part, answering
from experts.hidden_values import HiddenGroup, hidden_groups
from experts.labelled_items import LabelledItems
from experts.situations import CategoryState, Situation
from experts.variants import VARIANTS, CategoryVariant, KnownVariant, Variant
from schema.arrays import BoolArray, FloatArray, IntArray
from schema.ontology import Ontology, PropertySpec

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

MAX_HELD_OUT = 6_000
"""Cells of a property in a variant that are kept at most: the more, the more can be proven.

Beside those of hidden values, no other items are scored as if left out.
"""
MAX_LEFT_OUT = 70_000_000
"""Left-out scores of a property at most: items times values times variants that are shown."""
MAX_REFUSED = 1_000
"""Items without a value, of which one was refused, that are scored beside them at most."""
LEAST_ASKED = 400
"""Items that are scored as if left out however many values there are."""

Seen: TypeAlias = tuple[Expert, Variant]
"""An expert, and what it sees of a variant."""
Scores: TypeAlias = dict[Seen, NDArray[np.float16]]
"""What each expert says of some items [A, V]."""


@dataclass
class Labels:
    """A property's values of the N items, and how experts score them when they are left out.

    Attributes:
        property: its name
        targets: the values as shares [N, V]; several share one
        true: which they are [N, V]
        present: which items have which part [N]
        levels: those of the categories, as ones [N, L]
        said: the values that the categories of the asked items say [A, V]
        groups: values that are hidden together
        asked: the items that are scored, in order [A]
        visible: which items [N] are asked for their own values; the others that are asked have a
            hidden one
        refused: the values [N, V] that people said items do not have, of those without any value
        weight: how much the cell of each item counts [N]
        scores: what each expert says of them
        hidden: what each says of the items of each group, whose values are hidden
    """

    property: str
    targets: Tensor
    true: BoolArray
    present: Mapping[Part, BoolArray]
    levels: Mapping[CategoryVariant, csr_matrix]
    said: Mapping[CategoryVariant, NDArray[np.float32]]
    groups: Sequence[HiddenGroup]
    asked: IntArray
    visible: BoolArray
    refused: BoolArray
    weight: FloatArray
    scores: Scores = field(default_factory=dict)
    hidden: list[Scores] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.hidden = [{} for _ in self.groups]

    def stacked(
        self, scores: Scores, variant: Variant, situation: Situation, places: IntArray
    ) -> NDArray[np.float16]:
        """Return what the experts that answer say of the items at some places, [E, C, V].

        One that has learned nothing says how frequent the values are.
        """
        frequencies = self.true.mean(0).astype(np.float16)
        unlearned = np.broadcast_to(frequencies, (len(places), len(frequencies)))
        found = [scores.get((expert, variant.seen_by(expert))) for expert in answering(situation)]
        return np.stack([unlearned if each is None else each[places] for each in found])

    def has_category_state(self, variant: Variant, state: CategoryState) -> BoolArray:
        """Return which asked items' categories [N], as a variant shows them, tell this much."""
        if not variant.shows_category:
            return np.full(len(self.true), state is CategoryState.ABSENT)
        if state is CategoryState.ABSENT or variant.category not in self.said:
            return np.zeros(len(self.true), bool)
        says = np.asarray(self.said[variant.category].any(1))
        is_so = np.zeros(len(self.true), bool)
        is_so[self.asked] = says if state is CategoryState.SAYS else ~says
        return is_so


def labels_of(
    property: str,
    ontology: Ontology,
    compared: ComparedItems,
    order: IntArray,
    rng: np.random.Generator,
) -> Labels:
    """Return a property's labels, none of them scored; draw what is hidden.

    Where not all N items can be asked, the first ones in their ``order`` [N] are. It is the same
    for all properties, so that fewer items have to be compared in other forms.
    """
    items = compared.items
    targets, true = _targets(ontology[property], items)
    category = compared.kernels.category
    levels = {
        CategoryVariant.HIDDEN: category.without_values(compared.levels, property, true),
        CategoryVariant.WHOLE: compared.levels,
    }
    has_title = np.array([bool(title) for title in items.titles])
    present = {
        Part.TITLE: has_title,
        Part.BLIND_TITLE: has_title,
        Part.IMAGE: items.images.present,
        Part.STATEMENTS: compared.kernels.statements.has_others(
            compared.features[KnownVariant.ALL], property
        ),
        Part.DESCRIPTION: np.array([bool(text) for text in items.descriptions]),
        Part.CATEGORY: levels[CategoryVariant.HIDDEN].getnnz(1) > 0,
    }
    groups = hidden_groups(true, rng)
    refused, weight = _decided(ontology[property], items, true)
    visible = _visible(true, refused, order, _count_shown(compared))
    asked = np.unique(np.concatenate([visible, *(group.items for group in groups)]))
    return Labels(
        property,
        targets,
        true,
        present,
        levels,
        _said(property, compared, true, asked),
        groups,
        asked,
        np.isin(np.arange(len(items)), visible),
        refused,
        weight,
    )


def _targets(spec: PropertySpec, items: LabelledItems) -> tuple[Tensor, BoolArray]:
    """Return the items' values as shares of one, and which they are, both [N, V]."""
    true = np.zeros((len(items), len(spec.values)), dtype=bool)
    for number, known in enumerate(items.known):
        for name, value in known:
            position = spec.position(value) if name == spec.name else None
            if position is not None:
                true[number, position] = True
    shares = true.astype(np.float32)
    shares /= np.maximum(true.sum(1, keepdims=True), 1)
    return torch.from_numpy(shares), true


def _decided(
    spec: PropertySpec, items: LabelledItems, true: BoolArray
) -> tuple[BoolArray, FloatArray]:
    """Return the values that were refused [N, V], and the weights of the items' cells [N].

    What was refused of an item that has a value tells nothing more than the value does.
    """
    refused = np.zeros_like(true)
    weight = np.ones(len(items))
    for number, decisions in enumerate(items.decisions):
        decision = decisions.get(spec.name)
        if decision is None:
            continue
        weight[number] = decision.weight
        if not true[number].any():
            places = [spec.position(value) for value in decision.refused]
            refused[number, [place for place in places if place is not None]] = True
    return refused, weight


def _said(
    property: str, compared: ComparedItems, true: BoolArray, asked: IntArray
) -> dict[CategoryVariant, NDArray[np.float32]]:
    """Return the values that categories say [A, V], all and without the items' own."""
    kernel = compared.kernels.category
    if kernel.is_empty:
        return {}
    said = kernel.said([compared.items.categories[item] for item in asked.tolist()], property)
    others = np.where(true[asked], 0, said)
    others /= np.maximum(others.sum(1, keepdims=True), np.finfo(np.float32).tiny)
    return {CategoryVariant.HIDDEN: others, CategoryVariant.WHOLE: said}


def _count_shown(compared: ComparedItems) -> int:
    """Return how many variants show nothing that no item has."""
    has_image = bool(compared.items.images.present.any())
    has_description = not compared.kernels.description.is_empty
    has_category = not compared.kernels.category.is_empty
    return sum(
        (has_image or not variant.image)
        and (has_description or not variant.shows_description)
        and (has_category or not variant.shows_category)
        for variant in VARIANTS
    )


def _visible(true: BoolArray, refused: BoolArray, order: IntArray, variants: int) -> IntArray:
    """Return the items that are scored as if left out.

    Given is which have which value, and of which one was refused, both [N, V].
    """
    fitting = MAX_LEFT_OUT // (true.shape[1] * variants)
    most = min(MAX_HELD_OUT, max(LEAST_ASKED, fitting))
    kept = []
    for every, at_most in ((true, most), (refused, min(most, MAX_REFUSED))):
        has_any: BoolArray = np.asarray(every.any(1))
        kept.append(order[has_any[order]][:at_most])
    return np.concatenate(kept)
