"""Ask a language model about labelled cells that experts have left out, to learn its weight.

The model has not learned from any item, so every cell that the experts were scored on without its
item will do. A sample is asked: as many cells of each property as of the others, in each group of
situations that a second stage tells apart.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from experts.fitting import FittedExperts
from experts.labelled_items import HeldOutCells
from experts.language_model.asking import LanguageModel
from experts.language_model.report import AskingReport
from experts.second_stage import (
    FittedSecondStage,
    Key,
    SecondStage,
    SourcedCells,
    fit_second_stage,
    group_of,
)
from experts.situations import CategoryState, Situation, every_situation
from experts.variants import CategoryVariant, KnownVariant, TitleVariant, Variant, variants
from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery
from schema.arrays import BoolArray, FloatArray, IntArray
from schema.category_levels import without_values
from schema.progress import ProgressCallback, no_progress

SOURCE = "language model"
"""The name of the source in a second stage, and in the names of situations."""
CONTROL = "control"
"""The name of a source that finds all values alike.

It shows what a second stage gains from any source, since its weights may also correct how sure the
experts are. A language model has to add to that.
"""
LEAST_WEIGHT = 0.01
"""The weight of an answer, or of its logarithm, below which it is not worth asking for."""


@dataclass(frozen=True)
class SampledCells:
    """Left-out cells to ask about, and their numbers in the order of asking."""

    held_out: dict[Key, HeldOutCells]
    order: Sequence[tuple[Key, int]]


def sample_left_out(fitted: FittedExperts, most: int, seed: int = 0) -> SampledCells:
    """Draw ``most`` left-out cells, evenly from groups of situations and properties.

    Every second one is of an item of which all is shown that is known, as it mostly is when a model
    is asked. The order is such that any beginning of it is drawn alike, since a budget may end it.
    """
    rng = np.random.default_rng(seed)
    strata: dict[tuple[str, str, bool], list[tuple[Key, IntArray]]] = defaultdict(list)
    for key, cells in sorted(fitted.held_out.items()):
        whole = _is_whole(fitted, cells)
        for is_whole in (True, False):
            rows = np.flatnonzero(whole == is_whole)
            strata[group_of(_coarse(key[0])), key[1], is_whole].append((key, rows))
    drawn: dict[bool, list[tuple[int, float, tuple[Key, int]]]] = {True: [], False: []}
    for (_, _, is_whole), members in strata.items():
        # There are millions of cells in a catalogue, of which few are drawn.
        row = np.concatenate([rows for _, rows in members])
        member = np.repeat(np.arange(len(members)), [len(rows) for _, rows in members])
        for rank, place in enumerate(rng.permutation(len(row))[:most].tolist()):
            found = (members[int(member[place])][0], int(row[place]))
            drawn[is_whole].append((rank, float(rng.random()), found))
    ordered = [
        [place for _, _, place in sorted(each, key=lambda found: found[:2])]
        for each in drawn.values()
    ]
    pairs = itertools.zip_longest(*ordered)
    chosen = [each for pair in pairs for each in pair if each is not None][:most]
    rows_of: dict[Key, list[int]] = defaultdict(list)
    for key, number in chosen:
        rows_of[key].append(number)
    sampled: dict[Key, HeldOutCells] = {}
    place_of: dict[tuple[Key, int], int] = {}
    for key, own in sorted(rows_of.items()):
        mask = np.zeros(len(fitted.held_out[key].item), bool)
        mask[own] = True
        sampled[key] = fitted.held_out[key].select(mask)
        place_of |= {(key, each): place for place, each in enumerate(np.flatnonzero(mask).tolist())}
    return SampledCells(sampled, [(key, place_of[key, number]) for key, number in chosen])


def _is_whole(fitted: FittedExperts, cells: HeldOutCells) -> BoolArray:
    """Return which of C cells show all that is known of their items [C]."""
    items = fitted.items
    count = len(items)
    every = list(variants())

    def shows(tells: Callable[[Variant], bool], there: Iterable[object]) -> BoolArray:
        """Return whether a cell's variant shows a part of its item, or that lacks it."""
        shown = np.array([tells(each) for each in every], bool)[cells.variant]
        return np.asarray(shown | ~np.fromiter(map(bool, there), bool, count)[cells.item])

    return np.asarray(
        shows(lambda each: each.title is TitleVariant.WHOLE, items.titles)
        & shows(lambda each: each.image, items.images.present.tolist())
        & shows(
            lambda each: each.description is TitleVariant.WHOLE,
            items.descriptions or [None] * count,
        )
        & shows(lambda each: each.shows_category, items.categories or [None] * count)
        & shows(lambda each: each.known is KnownVariant.ALL, [True] * count)
    )


def _coarse(situation: Situation) -> Situation:
    """Return a situation without what an answer's weight is not learned apart for.

    Descriptions and categories multiply the situations, and every cell costs money.
    """
    return replace(situation, description=False, category=CategoryState.ABSENT)


@dataclass(frozen=True)
class AnsweredCells:
    """The sampled cells for which the model named a value of the vocabulary.

    ``sourced`` and ``held_out`` have the same cells, and the report counts all that were asked.
    """

    sourced: dict[Key, SourcedCells]
    held_out: dict[Key, HeldOutCells]
    report: AskingReport


def ask_left_out(
    model: LanguageModel,
    fitted: FittedExperts,
    sample: SampledCells,
    items: Mapping[str, ItemInput],
    progress: ProgressCallback = no_progress,
) -> AnsweredCells:
    """Ask about left-out cells in the forms in which the experts saw them.

    ``items`` are those of the cells, by id, with their images and texts.
    """
    ontology = fitted.ensemble.ontology
    every_variant = list(variants())
    inputs: list[ItemInput] = []
    number_of: dict[tuple[int, int], int] = {}
    queries: list[CellQuery] = []
    for key, row in sample.order:
        cells = sample.held_out[key]
        number = int(cells.item[row])
        shown_as = int(cells.variant[row])
        variant = every_variant[shown_as]
        item = items[fitted.items.ids[number]]
        if (number, shown_as) not in number_of:
            number_of[number, shown_as] = len(inputs)
            inputs.append(
                ItemInput(
                    item.id,
                    title=fitted.shown.title(number, variant),
                    image=item.image if variant.image else None,
                    description=_shown_description(fitted, item.description, variant),
                )
            )
        category = item.category if variant.shows_category else ()
        if variant.category is CategoryVariant.HIDDEN:
            spec = ontology[key[1]]
            true = [spec.values[place] for place in np.flatnonzero(cells.true[row]).tolist()]
            category = without_values(spec, category, true)
        queries.append(
            CellQuery(
                number_of[number, shown_as],
                key[1],
                tuple(fitted.shown.statements(number, variant, key[1])),
                category,
            )
        )
    logits = [sample.held_out[key].logits[row] for key, row in sample.order]
    answers = model.ask(ontology, inputs, queries, logits=logits, progress=progress)
    masks = {key: np.zeros(len(cells.item), bool) for key, cells in sample.held_out.items()}
    scores = {key: np.zeros(cells.true.shape, np.float32) for key, cells in sample.held_out.items()}
    for (key, row), answer in zip(sample.order, answers.cells, strict=True):
        found = None if answer is None else answer.scores(len(ontology[key[1]].values))
        if found is not None:
            masks[key][row] = True
            scores[key][row] = found
    sourced = {}
    held_out = {}
    for key, mask in masks.items():
        if mask.any():
            cells = sample.held_out[key].select(mask)
            held_out[key] = cells
            sourced[key] = SourcedCells(
                logits=cells.logits,
                probabilities=np.expand_dims(scores[key][mask], 0),
                true=cells.true,
                item=cells.item,
                fold=cells.fold,
            )
    return AnsweredCells(sourced, held_out, answers.report)


def _shown_description(fitted: FittedExperts, text: str | None, variant: Variant) -> str | None:
    match variant.description:
        case TitleVariant.WHOLE:
            return text
        case TitleVariant.BLIND:
            return fitted.ensemble.words.blind(text)
    return None


def with_control(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what both sources say [2, N, V], given the ``scores`` [N, V] of N answered cells."""
    return np.stack([np.full_like(scores, 1 / scores.shape[1]), scores])


def fit_answers(sourced: Mapping[Key, SourcedCells]) -> FittedSecondStage:
    """Fit where the answers join the experts, and with which weights.

    They join where they add something that the control does not. Its weights stay beside theirs.
    """
    coarse: dict[Key, list[Key]] = defaultdict(list)
    for situation, property in sorted(sourced):
        coarse[_coarse(situation), property].append((situation, property))
    joined = {
        key: SourcedCells(
            logits=np.concatenate([sourced[each].logits for each in members]),
            probabilities=with_control(
                np.concatenate([sourced[each].probabilities[0] for each in members])
            ),
            true=np.concatenate([sourced[each].true for each in members]),
            item=np.concatenate([sourced[each].item for each in members]),
            fold=np.concatenate([sourced[each].fold for each in members]),
        )
        for key, members in coarse.items()
    }
    fitted = fit_second_stage([CONTROL, SOURCE], joined)
    held_out: dict[Key, NDArray[np.float32]] = {}
    for key, members in coarse.items():
        ends = np.cumsum([len(sourced[each].item) for each in members])[:-1]
        held_out |= dict(zip(members, np.split(fitted.held_out[key], ends), strict=True))
    return FittedSecondStage(_for_every_situation(fitted.stage), held_out)


def _for_every_situation(stage: SecondStage) -> SecondStage:
    """Return a stage of coarse situations as one of all, without groups where no answer joins."""
    shared: dict[str, FloatArray] = {}
    own: dict[tuple[str, str], FloatArray] = {}
    for situation in every_situation():
        group = group_of(_coarse(situation))
        weights = stage.shared.get(group)
        # The first weight is that of the experts' own scores.
        if weights is None or weights[1, 1:].max() <= LEAST_WEIGHT:
            continue
        fine = group_of(situation)
        shared[fine] = weights
        own |= {(fine, name): each for (of, name), each in stage.own.items() if of == group}
    gains = tuple(each for each in stage.gains if each.source == SOURCE)
    return SecondStage(stage.sources, shared, own, gains)
