"""Fit experts and their stacker on the labelled items of a catalogue.

Every expert is fitted on all labelled items. What it would say of each of them without having
learned from it follows in closed form (:mod:`experts.ridge`), also with the title blinded, with
some of its words dropped, without an image, or with some of the other statements alone. These
left-out scores are what the stacker is fitted on. The stacker's own predictions for the cells are
cross-fitted by items, so that the cells can serve to calibrate, like those of held-out items.

The steps, in order, each with a module of its own:

- :mod:`experts.compared_items` chooses the landmarks and fits the kernels, and
  :mod:`experts.text_forms` gives the texts their forms;
- :mod:`experts.labels` tells a property's values of the items, and which of these are asked;
- :mod:`experts.part_rows` compares the items with the landmarks, part by part;
- this module fits the experts, and has them score the items that are left out;
- :mod:`experts.gathering` sorts these cells by what is known of their items;
- :mod:`experts.stacking` fits the stacker, and :mod:`experts.open_fitting` what offers new values.

Shapes: N items, M landmarks, A items that are asked, V values.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from experts.compared_items import compare
from experts.ensemble import (
    EXPERTS,
    VALUE_IN_CATEGORY,
    Expert,
    ExpertEnsemble,
    LinearScores,
    Part,
)
from experts.gathering import Gathering
from experts.labelled_items import HeldOutCells, LabelledItems
from experts.labels import Labels, Seen, labels_of
from experts.left_out import LearnedItems
from experts.open_fitting import fit_open_values
from experts.part_rows import PartRows, Ridge, rows_of_content, rows_of_property
from experts.ridge import FittedRidge
from experts.situations import Situation
from experts.stacking import fit_stacker
from experts.variants import VARIANTS, KnownVariant, Shown, TitleVariant, Variant, hides_values
from schema.arrays import BoolArray
from schema.errors import TrainingError
from schema.memory import return_freed_memory
from schema.ontology import Ontology
from schema.progress import ProgressCallback, no_progress

MAX_COEFFICIENTS = 10_000_000
"""Coefficients of an expert, landmarks times values, up to which all experts learn a property.
Beyond, only the ``FEW_EXPERTS`` do, so that it takes a third of the time, memory and disk."""
FEW_EXPERTS = frozenset(
    Expert(parts)
    for parts in (
        (Part.TITLE,),
        (Part.IMAGE,),
        (Part.STATEMENTS,),
        (Part.DESCRIPTION,),
        (Part.CATEGORY,),
        (Part.TITLE, Part.IMAGE, Part.STATEMENTS),
    )
)


@dataclass(frozen=True)
class FittedExperts:
    """Fitted experts, and how they score what they learned from when it is left out."""

    ensemble: ExpertEnsemble
    held_out: dict[tuple[Situation, str], HeldOutCells]
    items: LabelledItems
    shown: Shown
    left_out: LearnedItems


def fit_experts(
    name: str,
    ontology: Ontology,
    items: LabelledItems,
    *,
    properties: Collection[str] | None = None,
    not_learned: Mapping[str, float] | None = None,
    seed: int = 0,
    progress: ProgressCallback = no_progress,
) -> FittedExperts:
    """Fit all experts on labelled items, and the stacker on what they say of items left out.

    ``properties`` are those to predict, by default all that are learned; the others of these are
    read alone. Of a property with very many values, a share of the catalogue's statements may have
    values that the ontology lacks and that are ``not_learned``. Raises TrainingError if no item
    has a value of one to predict.
    """
    learned = set(ontology.learned()).intersection(properties or ontology.learned())
    if not any(name in learned for known in items.known for name, _ in known):
        raise TrainingError(
            f"none of the {len(items):,} items has a value to learn from: ingest items with "
            "properties"
        )
    fitting = ExpertFitting(ontology, items, seed, learned)
    gathering = fitting.fit(progress)
    stacked = fit_stacker(gathering.cells, fitting.compared.items.ids, ontology, seed)
    opened = fit_open_values(
        ontology, fitting.compared, stacked, gathering.hidden, seed, not_learned
    )
    progress(fitting.steps, fitting.steps)
    kernels = fitting.compared.kernels
    ensemble = ExpertEnsemble(name, ontology, kernels, fitting.learned, stacked.stacker)
    ensemble.open_values = opened.open_values
    compared = fitting.compared
    return FittedExperts(
        ensemble, opened.held_out, compared.items, compared.shown, fitting.left_out
    )


class ExpertFitting:
    """Fits the experts of all properties, and has them score the items that are left out.

    Attributes:
        compared: the items and the kernels that compare them
        learned: what each expert has learned of each property, after :meth:`fit`
        left_out: what leaving an item out takes, after :meth:`fit`
        steps: the number that progress is counted up to, the stacker's step being the last
    """

    def __init__(
        self,
        ontology: Ontology,
        items: LabelledItems,
        seed: int = 0,
        properties: Collection[str] | None = None,
    ) -> None:
        predicted = ontology.learned() if properties is None else properties
        self.properties = [
            each for each in ontology.learned() if each in predicted and ontology.values_of(each)
        ]
        rng = np.random.default_rng(seed)
        self.compared = compare(ontology, items, self.properties, rng, seed)
        self.experts = [expert for expert in EXPERTS if self._may_learn(expert)]
        self.of_content = [expert for expert in self.experts if expert.reads_content_alone]
        # Drawn by itself: what else is drawn does not depend on how many items there are.
        order = np.random.default_rng([seed, 1]).permutation(len(self.compared.items))
        self.labels = {
            each: labels_of(each, ontology, self.compared, order, rng) for each in self.properties
        }
        self.asked = np.unique(np.concatenate([own.asked for own in self.labels.values()]))
        self.gathering = Gathering(ontology, self.compared, rng)
        self.learned: dict[tuple[Expert, str], LinearScores] = {}
        self.left_out = LearnedItems.of(
            self.compared.items,
            self.compared.kernels.statements.one_hot(self.compared.items.known),
            is_exact=self.compared.is_exact,
        )
        self.steps = len(self.of_content) + len(self.properties) + 1

    def fit(self, progress: ProgressCallback = no_progress) -> Gathering:
        """Fit all experts; return how they score the items that they are fitted without.

        The labels are let go one after the other, because what is said of them is large.
        """
        progress(0, self.steps)
        content = rows_of_content(self.compared, self.asked)
        for done, _ in enumerate(self._fit_content(content), 1):
            progress(done, self.steps)
        for done, property in enumerate(self.properties, len(self.of_content) + 1):
            own = self.labels.pop(property)
            self._fit_property(own, content)
            self.gathering.add(own)
            progress(done, self.steps)
        return self.gathering

    def _may_learn(self, expert: Expert) -> bool:
        """Return whether any item has the descriptions or categories that an expert reads."""
        kernels = self.compared.kernels
        if Part.DESCRIPTION in expert.parts and kernels.description.is_empty:
            return False
        return not (expert.reads_category and kernels.category.is_empty)

    def _fit_content(self, content: PartRows) -> Iterator[Expert]:
        """Fit the experts that read texts and images alone: one system for all properties."""
        for expert in self.of_content:
            if any(self._labelled(expert, own).any() for own in self.labels.values()):
                system = content.system(expert)
                for own in self.labels.values():
                    self._fit_expert(expert, system, own, content)
            yield expert

    def _fit_property(self, own: Labels, content: PartRows) -> None:
        """Fit the experts of a property that read other statements, or levels of the category."""
        rows = content.beside(rows_of_property(self.compared, own, self.asked))
        for expert in self.experts:
            if expert is VALUE_IN_CATEGORY:
                for variant, said in own.said.items():
                    nothing = Variant(TitleVariant.NONE, KnownVariant.NONE, False)
                    seen = replace(nothing, category=variant)
                    own.scores[expert, seen] = said.astype(np.float16)
            elif not expert.reads_content_alone and self._labelled(expert, own).any():
                system = rows.system(expert, is_shared=False)
                self._fit_expert(expert, system, own, rows)

    def _fit_expert(self, expert: Expert, system: Ridge, own: Labels, rows: PartRows) -> None:
        """Fit an expert of a property, and score the labelled items as if left out."""
        labelled = self._labelled(expert, own)
        if not labelled.any():
            return
        asked = np.zeros(len(labelled), bool)
        asked[own.asked] = True
        # Of these the experts learn no value, so that there is nothing to leave out.
        unlabelled = np.flatnonzero(own.refused.any(1) & own.visible & self._has_parts(expert, own))
        fitted = system.fit(own.targets, labelled, asked)
        self.learned[expert, own.property] = LinearScores(
            fitted.coefficients.numpy(), fitted.mean.numpy()
        )
        self.left_out.add(expert, own.property, fitted)
        for seen in _seen(expert):
            kernel = rows.of(expert, seen, fitted.rows)
            shape = (len(own.asked), len(fitted.mean))
            left_out = np.broadcast_to(fitted.mean.numpy(), shape).astype(np.float16)
            left_out[np.searchsorted(own.asked, fitted.rows)] = fitted.left_out(kernel).numpy()
            if len(unlabelled):
                scores = fitted.predict(rows.of(expert, seen, unlabelled))
                left_out[np.searchsorted(own.asked, unlabelled)] = scores.numpy()
            own.scores[expert, seen] = left_out
            if hides_values(seen):
                _score_hidden(own, fitted, (expert, seen), kernel)
        if not self.compared.is_exact:
            # The matrices of all sizes that are let go here would add up to gigabytes.
            return_freed_memory()

    def _labelled(self, expert: Expert, own: Labels) -> BoolArray:
        """Return which items [N] an expert learns a property from."""
        coefficients = self.compared.kernels.landmarks * own.true.shape[1]
        if coefficients > MAX_COEFFICIENTS and expert not in FEW_EXPERTS:
            return np.zeros(len(own.true), bool)
        return np.asarray(own.true.any(1) & self._has_parts(expert, own))

    def _has_parts(self, expert: Expert, own: Labels) -> BoolArray:
        """Return which items [N] have all parts that an expert reads."""
        return np.logical_and.reduce([own.present[part] for part in expert.parts])


def _seen(expert: Expert) -> list[Variant]:
    """Return what an expert sees of the variants that show all of its parts."""
    seen = {variant.seen_by(expert) for variant in VARIANTS}
    return sorted(each for each in seen if each.shows_all_of(expert))


def _score_hidden(own: Labels, fitted: FittedRidge, seen: Seen, rows: Tensor) -> None:
    """Score the items of each group of values as if nobody had these values.

    ``rows`` [B, M] are the kernel rows of the B labelled items that are asked.
    """
    for group, scores in zip(own.groups, own.hidden, strict=True):
        places = np.flatnonzero(np.isin(fitted.rows, group.items))
        found = np.broadcast_to(fitted.mean.numpy(), (len(group.items), len(fitted.mean)))
        found = found.astype(np.float16)
        if len(places):
            coefficients = fitted.coefficients_without(places)
            of_items = rows[places] @ coefficients + fitted.mean
            found[np.isin(group.items, fitted.rows)] = of_items.numpy()
        scores[seen] = found
