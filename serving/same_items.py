"""Values that another item states which is the same product, by a trusted ``same as`` statement.

An item is its place in a snapshot.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from kg.snapshot import GraphSnapshot
from schema.ontology import Ontology, PropertySpec
from schema.terms import SAME_AS
from serving.cells import Cell
from serving.completion import CompletionOptions
from serving.proof import precision_bound
from serving.results import Candidate, Completion, Source
from serving.withheld import Withheld

PRIOR_PAIRS = 4.0
"""Pairs of items that all properties together count for, where one has few of its own."""


@dataclass(frozen=True)
class Agreement:
    """How often two items that are the same product agree about a property they both state."""

    pairs: int = 0
    equal: int = 0


@dataclass(frozen=True)
class SameItems:
    """Groups of items that are the same product, and what each of these states.

    Attributes:
        groups: by item, the others that are the same product
        values: by item and property, what is stated of it
        agreement: by property
        ontology: by which values are the same
        ids: of all items
    """

    groups: Mapping[int, tuple[int, ...]]
    values: Mapping[int, Mapping[str, tuple[str, ...]]]
    agreement: Mapping[str, Agreement]
    ontology: Ontology
    ids: Sequence[str]

    @classmethod
    def of(cls, snapshot: GraphSnapshot, ontology: Ontology) -> SameItems:
        """Find the groups that the trusted statements of a snapshot make."""
        groups = _groups(snapshot)
        values = {item: _values(snapshot, item) for item in groups}
        counts: dict[str, Counter[bool]] = defaultdict(Counter)
        for one, others in groups.items():
            for other in others:
                if one < other:
                    for name in values[one].keys() & values[other].keys():
                        key = ontology.properties.get(name, PropertySpec(name)).key
                        ours, theirs = (set(map(key, values[each][name])) for each in (one, other))
                        counts[name][bool(ours & theirs)] += 1
        agreement = {name: Agreement(found.total(), found[True]) for name, found in counts.items()}
        return cls(groups, values, agreement, ontology, snapshot.items)

    @cached_property
    def places(self) -> dict[str, int]:
        """The index of each item by its id."""
        return {id: place for place, id in enumerate(self.ids)}

    def complete(
        self, completions: Iterable[Completion], options: CompletionOptions
    ) -> Iterator[Completion]:
        """Yield completions, with what the same product states in place of what a model tells.

        A value's probability is the share of pairs that agree about the property. A cell is filled
        if the target precision is proven by these pairs, and all that is stated is one value.
        """
        if not self.groups:
            yield from completions
            return
        for each in completions:
            cell = Cell(self.places[each.item], each.property)
            found = self._candidates(cell, options.withheld)
            if each.reason is not None or not found:
                yield each
                continue
            agreement = self.agreement.get(each.property, Agreement())
            proven = precision_bound(agreement.pairs, agreement.pairs - agreement.equal)
            is_proven = proven >= options.limits_of(cell).target_precision
            fills = is_proven and len(found) == 1 and cell not in options.not_filled
            yield replace(
                each,
                candidates=found[: options.top_k],
                decision="fill" if fills else "review",
                evidence=replace(each.evidence, same_as=self._stating(cell)),
                proven=proven if fills else None,
                another_value=None,
                estimate=None,
                several=None,
            )

    def _candidates(self, cell: Cell, withheld: Withheld) -> tuple[Candidate, ...]:
        """Return what the same product states, the value that most of its items have first."""
        spec = self.ontology.properties.get(cell.property)
        if spec is None:
            return ()
        stated: Counter[str] = Counter()
        for other in self.groups.get(cell.item, ()):
            values = self.values[other].get(cell.property, ())
            stated.update({spec.shown(value) for value in values})
        offered = withheld.offered(self.ids[cell.item], spec, tuple(stated))[len(spec.values) :]
        left = [
            pair for pair, is_offered in zip(stated.items(), offered, strict=True) if is_offered
        ]
        total = sum(count for _, count in left)
        chance = self._chance(cell.property)
        return tuple(
            Candidate(value, chance * count / total, Source.SAME_PRODUCT)
            for value, count in sorted(left, key=lambda pair: (-pair[1], pair[0]))
        )

    def _chance(self, property: str) -> float:
        """Return how probable it is that a product's items agree, drawn to that of all properties.

        Where no pair states anything, it is one half.
        """
        every = self.agreement.values()
        pairs, equal = sum(each.pairs for each in every), sum(each.equal for each in every)
        overall = (equal + 1) / (pairs + 2)
        own = self.agreement.get(property, Agreement())
        return (own.equal + PRIOR_PAIRS * overall) / (own.pairs + PRIOR_PAIRS)

    def _stating(self, cell: Cell) -> tuple[str, ...]:
        return tuple(
            self.ids[other]
            for other in self.groups[cell.item]
            if self.values[other].get(cell.property)
        )


def _groups(snapshot: GraphSnapshot) -> dict[int, tuple[int, ...]]:
    """Return by item the others that statements join it with, directly or through others."""
    if SAME_AS not in snapshot.properties:
        return {}
    import networkx as nx

    property = snapshot.properties.index(SAME_AS)
    index = {id: place for place, id in enumerate(snapshot.items)}
    graph = nx.Graph()
    for item, _, value in snapshot.triples[snapshot.triples[:, 1] == property].tolist():
        other = index.get(snapshot.values[value])
        if other is not None and other != item:
            graph.add_edge(item, other)
    groups = {}
    for members in nx.connected_components(graph):
        for item in members:
            groups[item] = tuple(sorted(members - {item}))
    return groups


def _values(snapshot: GraphSnapshot, item: int) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for property, value in snapshot.statements_of(item):
        if property != SAME_AS:
            found[property] = (*found.get(property, ()), value)
    return found
