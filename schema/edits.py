"""A person's edits to an ontology outlive the next inference: a three-way merge of inferred, edited and inferred anew."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from schema.ontology import Ontology, PropertySpec


def merge_edits(base: Ontology, edited: Ontology, fresh: Ontology) -> Ontology:
    """``fresh`` with the changes that lead from ``base`` to ``edited``; where both changed, the person's stand."""
    specs = []
    for name in {*edited.properties, *fresh.properties}:
        before = base.properties.get(name)
        now = fresh.properties.get(name)
        given = edited.properties.get(name)
        if given is None:
            if (
                before is None and now is not None
            ):  # new in the data; a property that the person removed stays away
                specs.append(now)
        elif now is None:
            if given != before:  # added or edited by hand; otherwise it has left the data
                specs.append(given)
        else:
            specs.append(_merge(before or now, given, now))
    threshold = fresh.threshold if edited.threshold == base.threshold else edited.threshold
    return Ontology(specs, categories=fresh.categories, threshold=threshold)


def _merge(before: PropertySpec, given: PropertySpec, now: PropertySpec) -> PropertySpec:
    changed: dict[str, Any] = {
        entry.name: getattr(given, entry.name)
        for entry in fields(PropertySpec)
        if entry.name not in ("values", "counts", "applies_to")
        and getattr(given, entry.name) != getattr(before, entry.name)
    }
    applies = _merge_entries(before.applies_to, given.applies_to, now.applies_to)
    counts = _merge_entries(_counts(before), _counts(given), _counts(now))
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    values = tuple(value for value, _ in ordered)
    numbers = tuple(int(count) for _, count in ordered)
    return replace(now, **changed, applies_to=applies, values=values, counts=numbers)


def _counts(spec: PropertySpec) -> dict[str, int]:
    return dict(zip(spec.values, spec.counts, strict=True))


def _merge_entries(
    before: dict[str, Any], given: dict[str, Any], now: dict[str, Any]
) -> dict[str, Any]:
    """``now`` without the entries that were removed by hand, with those that were added or changed."""
    merged = {key: value for key, value in now.items() if key in given or key not in before}
    merged.update(
        {key: value for key, value in given.items() if key not in before or before[key] != value}
    )
    return merged
