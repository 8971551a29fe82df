"""Sort the left-out cells of a property by what is known of their items.

Shapes: N items, C cells, V values, E experts.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from experts.compared_items import ComparedItems
from experts.ensemble import Part, answering
from experts.hidden_values import HiddenGroup, shortlists_without
from experts.labels import MAX_HELD_OUT, Labels
from experts.situations import CategoryState, Situation, TitleState
from experts.stacker import Examples, Shortlists
from experts.stacking import GatheredCells
from experts.variants import VARIANTS, CategoryVariant, TitleVariant, Variant, hides_values
from schema.arrays import BoolArray, IntArray
from schema.ontology import Ontology


@dataclass(frozen=True)
class HiddenCells:
    """What experts say of C items with a hidden value, and the titles shown."""

    group: HiddenGroup
    shortlists: Shortlists
    items: IntArray
    titles: Sequence[str | None]


@dataclass(frozen=True)
class Gathering:
    """Gathers the cells of the items, property by property.

    Attributes:
        ontology: the properties
        compared: the items
        rng: draws which cells are kept where there are many
        cells: those gathered so far
        hidden: those with a hidden value
    """

    ontology: Ontology
    compared: ComparedItems
    rng: np.random.Generator
    cells: dict[tuple[Situation, str], GatheredCells] = field(
        default_factory=lambda: defaultdict(GatheredCells)
    )
    hidden: dict[tuple[Situation, str], list[HiddenCells]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def add(self, own: Labels) -> None:
        """Add a property's labelled cells in all variants, as the experts have scored them."""
        asked = np.zeros(len(own.true), bool)
        asked[own.asked] = True
        for variant in VARIANTS:
            is_decided = own.true.any(1) | own.refused.any(1)
            chosen = asked & is_decided & self._is_whole(variant, own)
            if not chosen.any():
                continue
            for state, category in itertools.product(TitleState, CategoryState):
                situation = Situation(
                    state, variant.image, variant.shows_known, variant.shows_description, category
                )
                is_so = self.compared.texts.has_state(variant, own.property, state)
                is_so &= own.has_category_state(variant, category)
                rows = np.flatnonzero(chosen & own.visible & is_so)
                if len(rows) and answering(situation):
                    self._add_cells(own, variant, situation, self._sample(rows))
            if hides_values(variant):
                for number in range(len(own.groups)):
                    self._add_hidden(own, variant, number, chosen)

    def _is_whole(self, variant: Variant, own: Labels) -> BoolArray:
        """Return which items [N] have the image and all else that a variant shows.

        One that lacks them is the same in another variant.
        """
        whole = np.ones(len(own.true), bool)
        if variant.image:
            whole &= own.present[Part.IMAGE]
        if variant.shows_known:
            features = self.compared.features[variant.known]
            whole &= self.compared.kernels.statements.has_others(features, own.property)
        if variant.shows_description:
            whole &= own.present[Part.DESCRIPTION]
        if variant.category is CategoryVariant.HIDDEN:
            whole &= own.present[Part.CATEGORY]
        elif variant.category is CategoryVariant.WHOLE:
            # Where nothing is hidden, the whole category is the same.
            hidden = own.levels[CategoryVariant.HIDDEN]
            whole &= own.levels[CategoryVariant.WHOLE].getnnz(1) > hidden.getnnz(1)
        return whole

    def _add_cells(
        self, own: Labels, variant: Variant, situation: Situation, rows: IntArray
    ) -> None:
        """Add the cells of the items at ``rows``, as the experts score them in a variant."""
        scores = own.stacked(own.scores, variant, situation, np.searchsorted(own.asked, rows))
        cells = self.cells[situation, own.property]
        true = own.true[rows]
        refused = own.refused[rows]
        # Any value may be the true one of a cell but those that were refused.
        is_refused: BoolArray = np.asarray(refused.any(1))
        possible = np.where(is_refused[:, None], ~refused, true)
        cells.examples.append(
            Examples.of(Shortlists.of(scores), possible, ~is_refused, own.weight[rows])
        )
        cells.true.append(true)
        cells.item.append(rows)
        cells.variant.append(np.full(len(rows), VARIANTS.index(variant)))

    def _add_hidden(self, own: Labels, variant: Variant, number: int, whole: BoolArray) -> None:
        """Add the cells of a group of hidden values, of items that a variant shows ``whole``."""
        group = own.groups[number]
        spec = self.ontology[own.property]
        hidden = {spec.values[position] for position in group.values}
        words = self.compared.texts.words.without(own.property, hidden)
        titles = [
            None if variant.title is TitleVariant.NONE else self.compared.items.titles[item]
            for item in group.items.tolist()
        ]
        states = [words.states(title, [own.property])[0] for title in titles]
        for state in TitleState:
            situation = Situation(state, variant.image, variant.shows_known)
            chosen = np.array([each is state for each in states], bool) & whole[group.items]
            places = np.flatnonzero(chosen)
            if len(places) and answering(situation):
                scores = own.stacked(own.hidden[number], variant, situation, places)
                self.hidden[situation, own.property].append(
                    HiddenCells(
                        group,
                        shortlists_without(scores, group.values),
                        group.items[places],
                        [titles[place] for place in places.tolist()],
                    )
                )

    def _sample(self, rows: IntArray) -> IntArray:
        if len(rows) <= MAX_HELD_OUT:
            return rows
        return np.sort(self.rng.permutation(rows)[:MAX_HELD_OUT])
