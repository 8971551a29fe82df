"""Keep a person's edits to the ontology when it is inferred again.

This is a three-way merge: ``base`` is the ontology as it was last inferred, ``edited`` is the file
that a person may have changed since, and ``inferred`` is what the data show now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from schema.ontology import Ontology, PropertySpec

MERGED_BY_ENTRY = ("values", "counts", "applies_to", "spellings", "synonyms")
"""Fields of a property that are merged entry by entry; every other field is taken whole."""


def merge_edits(base: Ontology, edited: Ontology, inferred: Ontology) -> Ontology:
    """Return ``inferred`` with the changes from ``base`` to ``edited``, which win in a conflict."""
    specs = []
    for name in {*edited.properties, *inferred.properties}:
        before = base.properties.get(name)
        after = edited.properties.get(name)
        current = inferred.properties.get(name)
        if after is not None and current is not None:
            specs.append(_merge_property(before or as_added(current), after, current))
        elif current is not None and before is None:
            # New in the data. One that is in the base as well was removed by hand and stays out.
            specs.append(current)
        elif after is not None and after != before:
            # Added or edited by hand. An unedited one has disappeared from the data, and goes.
            specs.append(after)

    threshold_edited = edited.threshold != base.threshold
    threshold = edited.threshold if threshold_edited else inferred.threshold
    return Ontology(
        specs,
        categories=inferred.categories,
        described=inferred.described,
        threshold=threshold,
        decisions=edited.decisions,
    )


def as_added(current: PropertySpec) -> PropertySpec:
    """Return the base of a property that a person added by hand before the data had it.

    It has what the file says where nothing is written. A datatype and a cardinality are always
    taken for written.
    """
    return PropertySpec(current.name, datatype=current.datatype, cardinality=current.cardinality)


def edited_settings(
    base: PropertySpec | None, edited: PropertySpec, current: PropertySpec
) -> PropertySpec:
    """Return ``current`` with what a person says about how its texts are read and compared.

    Whatever differs from ``base``, the property as it was last inferred, is a person's. There is no
    base of a property that was added by hand.
    """
    base = base or as_added(current)
    changed = {
        name: getattr(edited, name)
        for name in ("datatype", "unit", "decimal_mark", "date_order", "case_sensitive", "learn")
        if getattr(edited, name) != getattr(base, name)
    }
    return replace(current, synonyms=edited.synonyms, **changed)


def _merge_property(
    before: PropertySpec, after: PropertySpec, current: PropertySpec
) -> PropertySpec:
    changed: dict[str, Any] = {}
    for entry in fields(PropertySpec):
        value = getattr(after, entry.name)
        if entry.name not in MERGED_BY_ENTRY and value != getattr(before, entry.name):
            changed[entry.name] = value

    counts = _merge_entries(_value_counts(before), _value_counts(after), _value_counts(current))
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return replace(
        current,
        **changed,
        applies_to=_merge_entries(before.applies_to, after.applies_to, current.applies_to),
        spellings=_merge_entries(before.spellings, after.spellings, current.spellings),
        synonyms=_merge_entries(before.synonyms, after.synonyms, current.synonyms),
        values=tuple(value for value, _ in ordered),
        counts=tuple(int(count) for _, count in ordered),
    )


def _value_counts(spec: PropertySpec) -> dict[str, int]:
    return dict(zip(spec.values, spec.counts, strict=True))


def _merge_entries(
    before: Mapping[str, Any], after: Mapping[str, Any], current: Mapping[str, Any]
) -> dict[str, Any]:
    """Return ``current`` without the entries removed by hand, and with those added or changed."""
    removed = before.keys() - after.keys()
    merged = {key: value for key, value in current.items() if key not in removed}
    for key, value in after.items():
        if key not in before or before[key] != value:
            merged[key] = value
    return merged
