"""A home's catalogue and a model, opened once to complete any of its cells, or those of new items.

`complete` completes by it and ends; the server keeps one for as long as catalogue and model stay as
they are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from experts.classification import Classifier
from fusion.inference.featurizer import ItemInput
from kg.home import Home
from kg.home_ontology import VocabularyEdits
from kg.snapshot import GraphSnapshot
from schema.errors import UsageError
from schema.ontology import Ontology
from schema.progress import ProgressCallback, no_progress
from schema.property_maps import PropertyMap, propose_map, unknown_properties
from schema.terms import CATEGORY, CATEGORY_SEPARATOR
from serving.asking import Asking, CellPlan, plan_missing, plan_named
from serving.asking_categories import with_missing_categories, with_named_categories
from serving.categorizing import CategorizingScorer
from serving.cells import Cell, Scorer
from serving.completion import CompletesCells, CompletionOptions, complete_cells
from serving.dependencies import Dependencies, without_contradictions
from serving.home_scorer import HomeScorer, HomeWords
from serving.items import CatalogItems
from serving.limits import (
    ItemSources,
    delays_of_cells,
    limits_of_cells,
    read_item_sources,
    without_effect,
)
from serving.loading import ModelScorer, load_classifier, load_regions, load_scorer
from serving.results import Completion
from serving.same_items import SameItems
from serving.several_values import SeveralValues
from serving.withheld import Withheld
from serving.writeback import rejected_values

NAMED = 5
"""Properties or values that a note names."""


@dataclass(frozen=True)
class AskedCells:
    """Which cells are to be completed: all that are missing, or those that are named.

    Attributes:
        cells: items and properties; None stands for the missing ones
        items, properties: restrict the missing ones; nothing stands for all
    """

    cells: Sequence[tuple[str, str]] | None = None
    items: tuple[str, ...] = ()
    properties: tuple[str, ...] = ()


@dataclass(frozen=True)
class Catalogue:
    """The home that is completed, as it was when it was read.

    Attributes:
        home: the home
        ontology: its ontology
        snapshot: its items and statements
        items: the same as a model reads them
        sources: the sources of each item, where a decision depends on them
        rejected: by item and property, the values that a person has rejected
        revision: the store's revision
    """

    home: Home
    ontology: Ontology
    snapshot: GraphSnapshot
    items: CatalogItems
    sources: ItemSources
    rejected: dict[tuple[str, str], set[str]]
    revision: str

    @classmethod
    def read(cls, home: Home, scorer: ModelScorer, classifier: Classifier | None) -> Catalogue:
        """Read what a model needs of a home."""
        details = scorer.reads_details or (classifier is not None and classifier.reads_details)
        ontology = home.ontology()
        with home.store(read_only=True) as store:
            revision = store.revision()
            sources = read_item_sources(store) if ontology.decisions.sources else {}
            rejected = rejected_values(store)
        snapshot = home.snapshot(details=details)
        items = CatalogItems(snapshot, home.image_files(), load_regions(home, scorer))
        return cls(home, ontology, snapshot, items, sources, rejected, revision)

    @cached_property
    def dependencies(self) -> Dependencies:
        """Which values determine others."""
        return Dependencies.find(self.snapshot, self.ontology.learned())

    @cached_property
    def same_items(self) -> SameItems:
        """What items state that are the same product."""
        return SameItems.of(self.snapshot, self.ontology)

    def delay_of_cells(self) -> Callable[[str, str], float]:
        """Return the function that gives the days by which a cell's proposal is applied later."""
        return delays_of_cells(self.snapshot, self.ontology.decisions, self.sources)

    def decisions_without_effect(self) -> list[str]:
        """Return the tables of ``[decisions]`` that are about nothing in this catalogue."""
        return without_effect(self.ontology.decisions, self.snapshot, self.ontology, self.sources)


@dataclass(frozen=True)
class ItemRequest:
    """An item as it is given, perhaps not as the catalogue has it, and what of it is asked.

    Attributes:
        item: the item
        properties: those to complete; without any, those that apply to its category and that it
            lacks
        top_k: how many candidates of a cell are told
        target_precision: takes the place of the general one of the ontology
        rejected: by item and property, the values that a person has rejected of it
        is_stored: whether items count that are the same product
    """

    item: ItemInput
    properties: tuple[str, ...] = ()
    top_k: int = 5
    target_precision: float | None = None
    rejected: Mapping[tuple[str, str], Collection[str]] = field(default_factory=dict)
    is_stored: bool = False


@dataclass(frozen=True)
class PlannedItem:
    """An item with the cells of it that are completed, which are those of a snapshot of its own."""

    request: ItemRequest
    snapshot: GraphSnapshot
    plan: CellPlan


@dataclass(frozen=True)
class HomeCompletion:
    """A catalogue, and a model that completes it.

    Attributes:
        catalogue: what is completed
        scorer: the model, perhaps with a language model
        words: those of the home
        adapted: the model in the words of the home
        asking: what may be asked of the home
        classifier: tells the items' categories, if the model has one
        notes: what a user should know of how the two fit, a line each
    """

    catalogue: Catalogue
    scorer: ModelScorer
    words: HomeWords
    adapted: HomeScorer
    asking: Asking
    classifier: Classifier | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def open(cls, home: Home, model: str | None = None) -> HomeCompletion:
        """Load a model, by default the champion, and read the home.

        Raises UsageError if there is no such model, and ModelError if it is damaged.
        """
        scorer = load_scorer(home, model)
        return cls.of(home, scorer, load_classifier(scorer, home.ontology()))

    @classmethod
    def of(
        cls,
        home: Home,
        scorer: ModelScorer,
        classifier: Classifier | None = None,
        map_file: Path | None = None,
    ) -> HomeCompletion:
        """Read a home for a model that is loaded; ``map_file`` maps its properties to the home's.

        Raises UsageError if the file cannot be used.
        """
        catalogue = Catalogue.read(home, scorer, classifier)
        ontology = catalogue.ontology
        property_map = PropertyMap()
        if map_file is not None:
            property_map = PropertyMap.read(map_file, ontology, scorer.ontology)
        words = HomeWords(
            ontology,
            property_map,
            VocabularyEdits.of(home),
            own=is_own_model(home, scorer),
        )
        adapted = words.of(scorer)
        unknown = note_on_unknown(adapted.name, ontology, adapted.ontology)
        # What statements are about without being in the ontology was taken out of it.
        stated = catalogue.snapshot.properties
        removed = {name for name in stated if name not in ontology.properties}
        asking = Asking(
            ontology,
            adapted.ontology,
            removed | adapted.removed_properties,
            new_properties=unknown is None,
            several=SeveralValues(adapted.calibration).properties,
        )
        notes = (*_notes_on(adapted, ontology), *([] if unknown is None else [unknown]))
        return cls(catalogue, scorer, words, adapted, asking, classifier, notes)

    def reread(self) -> HomeCompletion:
        """Return the same model with the catalogue as it is now."""
        return HomeCompletion.of(self.catalogue.home, self.scorer, self.classifier)

    @property
    def scorer_of_cells(self) -> Scorer:
        """What scores the cells, those of categories as well."""
        return scorer_of_cells(self.adapted, self.classifier, self.catalogue.ontology)

    def plan(self, asked: AskedCells) -> CellPlan:
        """Return which cells are asked: those of properties, and the categories of items.

        Raises ItemNotFoundError or PropertyNotFoundError if a name is unknown, and UsageError if
        categories are named that the model cannot tell.
        """
        return plan_cells(asked, self.catalogue.snapshot, self.asking, self.classifier)

    def options(
        self,
        plan: CellPlan,
        *,
        top_k: int,
        target_precision: float | None = None,
        snapshot: GraphSnapshot | None = None,
        rejected: Mapping[tuple[str, str], Collection[str]] | None = None,
    ) -> CompletionOptions:
        """Return how cells are completed: their limits, and what a person has excluded.

        ``snapshot`` is that of the items, and ``rejected`` the values that a person has rejected,
        by default those of the catalogue.
        """
        catalogue = self.catalogue
        limits_of = limits_of_cells(
            snapshot or catalogue.snapshot,
            catalogue.ontology.decisions,
            target_precision=target_precision,
            sources=catalogue.sources,
        )
        of_cells = catalogue.rejected if rejected is None else rejected
        withheld = Withheld(self.adapted.removed, of_cells)
        return CompletionOptions(top_k, limits_of, withheld, plan.not_applying)

    def complete(
        self,
        plan: CellPlan,
        *,
        top_k: int,
        target_precision: float | None = None,
        progress: ProgressCallback = no_progress,
        elsewhere: CompletesCells | None = None,
    ) -> Iterator[Completion]:
        """Yield a completion of every planned cell, none against another of its item.

        A value that another item states which is the same product comes first. The cells are
        scored in this process, or ``elsewhere``.
        """
        catalogue = self.catalogue
        options = self.options(plan, top_k=top_k, target_precision=target_precision)
        complete = elsewhere or complete_cells
        completions = complete(
            self.scorer_of_cells, catalogue.items, plan.cells, options, progress=progress
        )
        yield from without_contradictions(
            catalogue.same_items.complete(completions, options),
            catalogue.snapshot,
            catalogue.dependencies,
        )

    def plan_item(self, request: ItemRequest) -> PlannedItem:
        """Plan which cells of an item are completed.

        Raises PropertyNotFoundError if a property is unknown, and UsageError if its category is
        asked for and the model cannot tell it.
        """
        snapshot = snapshot_of(request.item)
        items = (request.item.id,) if request.properties else ()
        asked = AskedCells(items=items, properties=request.properties)
        plan = plan_cells(asked, snapshot, self.asking, self.classifier)
        return PlannedItem(request, snapshot, plan)

    def complete_item(self, request: ItemRequest) -> tuple[list[Completion], CellPlan]:
        """Complete one item as it is given; return what was asked as well.

        Raises what :meth:`plan_item` does.
        """
        planned = self.plan_item(request)
        (found,) = self.complete_planned([planned])
        return found, planned.plan

    def complete_planned(self, planned: Sequence[PlannedItem]) -> list[list[Completion]]:
        """Complete items of different ids, which takes less time together than one by one.

        ``top_k`` of the first one counts for all.
        """
        if not planned:
            return []
        options = [self._options_of(each) for each in planned]
        together = CompletionOptions(
            planned[0].request.top_k,
            limits_of=lambda cell: options[cell.item].limits_of(Cell(0, cell.property)),
            withheld=Withheld(
                self.adapted.removed,
                {
                    cell: values
                    for each in planned
                    for cell, values in each.request.rejected.items()
                },
            ),
            not_filled={
                Cell(place, cell.property)
                for place, each in enumerate(planned)
                for cell in each.plan.not_applying
            },
        )
        cells = [
            Cell(place, cell.property)
            for place, each in enumerate(planned)
            for cell in each.plan.cells
        ]
        items = [each.request.item for each in planned]
        by_item: dict[str, list[Completion]] = {item.id: [] for item in items}
        for completion in complete_cells(self.scorer_of_cells, items, cells, together):
            by_item[completion.item].append(completion)
        return [
            self._settled(each, by_item[each.request.item.id], own)
            for each, own in zip(planned, options, strict=True)
        ]

    def _options_of(self, planned: PlannedItem) -> CompletionOptions:
        return self.options(
            planned.plan,
            top_k=planned.request.top_k,
            target_precision=planned.request.target_precision,
            snapshot=planned.snapshot,
            rejected=planned.request.rejected,
        )

    def _settled(
        self, planned: PlannedItem, found: Iterable[Completion], options: CompletionOptions
    ) -> list[Completion]:
        """Return an item's completions, some by the same product, none against another."""
        request = planned.request
        place = self.catalogue.same_items.places.get(request.item.id) if request.is_stored else None
        if place is not None:
            found = self._of_same_items(found, options, place)
        dependencies = self.catalogue.dependencies
        return list(without_contradictions(found, planned.snapshot, dependencies))

    def _of_same_items(
        self, completions: Iterable[Completion], options: CompletionOptions, place: int
    ) -> Iterator[Completion]:
        """Yield what the same product states in the place of what the model tells of an item.

        The cells of the ``options`` are those of the item alone, which is at a ``place`` of the
        catalogue.
        """
        limits_of = options.limits_of
        there = replace(
            options,
            limits_of=lambda cell: limits_of(Cell(0, cell.property)),
            not_filled={Cell(place, each.property) for each in options.not_filled},
        )
        return self.catalogue.same_items.complete(completions, there)


def scorer_of_cells(adapted: HomeScorer, classifier: Classifier | None, home: Ontology) -> Scorer:
    """Return what scores the cells of a home, those of categories as well if there is a classifier.

    ``adapted`` is the model in the words of the ``home``.
    """
    return adapted if classifier is None else CategorizingScorer(adapted, classifier, home)


def plan_cells(
    asked: AskedCells, snapshot: GraphSnapshot, asking: Asking, classifier: Classifier | None
) -> CellPlan:
    """Return which cells are asked: those of properties, and the categories of items.

    Raises UsageError if categories are named that the model cannot tell.
    """
    named = asked.cells
    is_property = CATEGORY in asking.properties
    is_named = not is_property and (
        CATEGORY in asked.properties or any(name == CATEGORY for _, name in named or ())
    )
    if is_named and classifier is None:
        raise UsageError(
            f"the model has no classifier for --property {CATEGORY}: `catalograph finetune "
            "classify` adds one where items have categories"
        )
    if named is not None:
        return _plan_named(named, snapshot, asking, is_property=is_property, is_named=is_named)
    items = asked.items or None
    names = [each for each in asked.properties if is_property or each != CATEGORY]
    plan = CellPlan()
    if names or not asked.properties:
        plan = plan_missing(snapshot, asking, items=items, properties=names or None)
    if is_property or (asked.properties and not is_named) or classifier is None:
        return plan
    return with_missing_categories(plan, snapshot, items=items, are_named=is_named)


def _plan_named(
    named: Sequence[tuple[str, str]],
    snapshot: GraphSnapshot,
    asking: Asking,
    *,
    is_property: bool,
    is_named: bool,
) -> CellPlan:
    """Return a plan of named cells; ``is_named`` says that some are categories of items."""
    pairs = named if is_property else [each for each in named if each[1] != CATEGORY]
    plan = plan_named(snapshot, asking, pairs)
    if not is_named:
        return plan
    return with_named_categories(plan, snapshot, [item for item, name in named if name == CATEGORY])


def snapshot_of(item: ItemInput) -> GraphSnapshot:
    """Return a snapshot of an item alone, by which its cells are planned; images are left out."""
    known = sorted(set(item.known))
    properties = sorted({name for name, _ in known})
    values = sorted({value for _, value in known})
    triples = sorted((0, properties.index(name), values.index(value)) for name, value in known)
    return GraphSnapshot(
        items=[item.id],
        titles=[item.title],
        categories=[CATEGORY_SEPARATOR.join(item.category) or None],
        images=[None],
        properties=properties,
        values=values,
        triples=np.array(triples, np.int64).reshape(-1, 3),
        indptr=np.array([0, len(triples)], np.int64),
    )


def is_own_model(home: Home, scorer: ModelScorer) -> bool:
    """Return whether a model is one of the home's."""
    return scorer.path.resolve().is_relative_to(home.models.resolve())


def _notes_on(adapted: HomeScorer, ontology: Ontology) -> Iterator[str]:
    """Yield what a model cannot score of a home, and whether properties are asked too often."""
    for name, values in adapted.unscored.items():
        listed = ", ".join(values[:NAMED])
        yield f"{name}: values added to ontology.toml that the model cannot score: {listed}"
    if any(spec.applies_to and not spec.inferred_shares for spec in ontology.properties.values()):
        yield (
            "ontology.toml is of an earlier version, which counted items without any statement: "
            "run `catalograph schema infer` to have properties asked by the others alone"
        )


def note_on_unknown(name: str, home: Ontology, model: Ontology) -> str | None:
    """Return which of a home's properties a model does not know; None if it knows them all."""
    unknown = unknown_properties(home, model)
    if not unknown:
        return None
    listed = ", ".join(unknown[:NAMED]) + (", …" if len(unknown) > NAMED else "")
    of = sum(spec.not_completed is None for spec in home.properties.values())
    text = (
        f"model {name} does not know {len(unknown):,} of this home's {of:,} properties "
        f"that could be asked ({listed})"
    )
    proposals = propose_map(home, model)
    if proposals:
        alike = ", ".join(f"{each.property} = {each.model_property}" for each in proposals[:NAMED])
        text += (
            f"; some may be its own ({alike}): `catalograph complete --write-map FILE` writes down "
            "which, for you to correct, and --map-properties FILE uses it"
        )
    return text
