"""Fit what offers values that no item has, on the left-out cells of visible and of hidden values.

Shapes: C cells, V values of a property.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from experts.compared_items import ComparedItems
from experts.gathering import HiddenCells
from experts.hidden_values import (
    SHORTENED_WEIGHT,
    OpenExamples,
    OpenFitting,
    ScoredTitles,
    logits_without,
)
from experts.labelled_items import HeldOutCells
from experts.open_values import OpenValues, add_unknown
from experts.situations import Situation
from experts.stacking import FittedStacker
from experts.variants import SHORTENED, VARIANTS, Shown
from schema.frequencies import value_frequencies
from schema.ontology import Ontology


@dataclass(frozen=True)
class FittedOpenValues:
    """What offers new values, and the held-out cells with their probability beside the others.

    Their logits [C, V + 1] have that of a value that the model does not know at the end.
    """

    open_values: OpenValues
    held_out: dict[tuple[Situation, str], HeldOutCells]


def fit_open_values(
    ontology: Ontology,
    compared: ComparedItems,
    stacked: FittedStacker,
    hidden: Mapping[tuple[Situation, str], Sequence[HiddenCells]],
    seed: int,
    not_learned: Mapping[str, float] | None = None,
) -> FittedOpenValues:
    """Fit ranker and gate of each property, and add the logit of a new value to its cells.

    A share of a property's statements may have values that are ``not_learned``.
    """
    scored = {
        (situation, property): _scored_titles(situation, cells, compared.shown)
        for (situation, property), cells in sorted(stacked.held_out.items())
    }
    examples: dict[str, OpenExamples] = defaultdict(OpenExamples)
    for (_, property), titles in scored.items():
        examples[property].visible.append(titles)
    for (situation, property), every in sorted(hidden.items()):
        frequencies = value_frequencies(ontology[property])
        weights = stacked.stacker.weights(situation, property, frequencies)
        for own in every:
            logits = logits_without(own.shortlists, own.group.values, weights)
            titles = ScoredTitles(
                logits, situation.title, own.items, own.titles, np.ones(len(own.items))
            )
            examples[property].hidden.append((own.group, titles))
    items = compared.items
    fitting = OpenFitting(ontology, items.titles, items.known, seed, not_learned)
    fitted = fitting.fit(examples)
    examples.clear()
    held_out = {}
    for situation, property in list(stacked.held_out):
        # They are large, and taken out so that there is only one copy of most.
        cells = stacked.held_out.pop((situation, property))
        opened = fitted.properties[property]
        titles_asked = scored.pop((situation, property))
        evidence = fitting.evidence(property, opened.ranker, titles_asked)
        said = fitting.said(property, titles_asked)
        logits = add_unknown(opened.gate, cells.logits, situation.title, evidence, said)
        held_out[situation, property] = replace(cells, logits=logits)
    return FittedOpenValues(fitted, held_out)


def _scored_titles(situation: Situation, cells: HeldOutCells, shown: Shown) -> ScoredTitles:
    """Return held-out cells with the titles that were shown of their items."""
    titles = [
        shown.title(item, VARIANTS[variant])
        for item, variant in zip(cells.item.tolist(), cells.variant.tolist(), strict=True)
    ]
    weights = np.where(np.isin(cells.variant, SHORTENED), SHORTENED_WEIGHT, 1.0)
    return ScoredTitles(cells.logits, situation.title, cells.item, titles, weights)
