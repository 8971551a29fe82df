"""The limits of each cell's decision, from what a person set in ``ontology.toml``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from kg.snapshot import GraphSnapshot
from kg.stores.protocol import GraphStore
from kg.stores.references import item_references
from schema.decisions import Decisions
from schema.ontology import Ontology
from schema.terms import path_prefixes
from serving.calibration import TARGET_PRECISION
from serving.cells import Cell
from serving.deciding import MIN_PROBABILITY, CellLimits, LimitsOf

ItemSources = Mapping[str, tuple[str, ...]]
"""By item: the sources that describe it."""


def read_item_sources(store: GraphStore) -> dict[str, tuple[str, ...]]:
    """Read which sources describe each item; one without a source is left out."""
    sources: dict[str, tuple[str, ...]] = {}
    for batch in store.items():
        for row in batch.to_pylist():
            names = dict.fromkeys(each["source"] for each in item_references(row))
            if any(names):
                sources[row["id"]] = tuple(name for name in names if name)
    return sources


def general_target(decisions: Decisions, target_precision: float | None = None) -> float:
    """Return the target precision of cells for which none is set: an option's, or the general one.

    By default, that of :mod:`serving.calibration`.
    """
    if target_precision is not None:
        return target_precision
    general = decisions.general.target_precision
    return TARGET_PRECISION if general is None else general


def limits_of_cells(
    snapshot: GraphSnapshot,
    decisions: Decisions,
    *,
    target_precision: float | None = None,
    sources: ItemSources | None = None,
) -> LimitsOf:
    """Return the function that gives the limits of the snapshot's cells.

    ``target_precision`` takes the place of the general one of ``decisions``, but not of those that
    were set for a property, a category or a source.
    """
    special = Decisions(
        properties=decisions.properties,
        categories=decisions.categories,
        sources=decisions.sources,
    )
    review_above = decisions.general.review_above
    usual = CellLimits(
        general_target(decisions, target_precision),
        MIN_PROBABILITY if review_above is None else review_above,
    )
    # A catalogue has far fewer kinds of cells than cells.
    found: dict[tuple[str, str | None, tuple[str, ...]], CellLimits] = {}

    def limits_of(cell: Cell) -> CellLimits:
        names = (sources or {}).get(snapshot.items[cell.item], ())
        kind = cell.property, snapshot.categories[cell.item], names
        if kind not in found:
            limits = special.of(*kind)
            precision = limits.target_precision
            probability = limits.review_above
            found[kind] = CellLimits(
                usual.target_precision if precision is None else precision,
                usual.review_above if probability is None else probability,
            )
        return found[kind]

    return limits_of


def delays_of_cells(
    snapshot: GraphSnapshot, decisions: Decisions, sources: ItemSources | None = None
) -> Callable[[str, str], float]:
    """Return the function that gives the delay in days of a cell, by an item's id and a property.

    Without anything that is set it is 0.
    """
    places = {id: place for place, id in enumerate(snapshot.items)}

    def delay_of(item: str, property: str) -> float:
        place = places.get(item)
        category = None if place is None else snapshot.categories[place]
        days = decisions.of(property, category, (sources or {}).get(item, ())).apply_after
        return 0.0 if days is None else days

    return delay_of


def without_effect(
    decisions: Decisions, snapshot: GraphSnapshot, ontology: Ontology, sources: ItemSources
) -> list[str]:
    """Return the tables of ``[decisions]`` whose name the catalogue does not have."""
    categories = {
        prefix
        for category in set(snapshot.categories)
        if category
        for prefix in path_prefixes(category)
    }
    named = {name for names in sources.values() for name in names}
    return [
        *_unknown("property", decisions.properties, ontology.properties),
        *_unknown("category", decisions.categories, categories),
        *_unknown("source", decisions.sources, named),
    ]


def _unknown(kind: str, table: Iterable[str], known: Iterable[str]) -> list[str]:
    every = set(known)
    return [f"decisions.{kind}.{name!r}" for name in table if name not in every]
