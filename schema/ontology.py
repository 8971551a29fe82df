"""The ontology: a catalogue's properties, their values, and the categories to which they apply.

It is inferred from the data, kept as TOML that a person can edit, and stored whole in every model
folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schema.documents import parse_toml
from schema.errors import DataError, PropertyNotFoundError, SourceNotFoundError
from schema.files import write_atomically
from schema.literals import DATATYPES, infer_datatype
from schema.settings import shown
from schema.terms import CATEGORY_SEPARATOR

if TYPE_CHECKING:
    from schema.ontology_counts import ArrowRows

CARDINALITIES = ("one", "many")

APPLIES_THRESHOLD = 0.5
"""The default share of a category's items from which on a property applies to the category."""

MAX_COUNT = 1 << 62

MULTIVALUED_SHARE = 0.01
"""A property has cardinality "many" if more than this share of its holders have several values."""


@dataclass(frozen=True)
class PropertySpec:
    """A property: its datatype, unit, cardinality, vocabulary, and the categories it applies to."""

    name: str
    datatype: str = "string"
    unit: str | None = None
    cardinality: str = "one"
    values: tuple[str, ...] = ()
    """The vocabulary, most frequent first."""
    counts: tuple[int, ...] = ()
    """How many items have each of ``values``."""
    applies_to: dict[str, float] = field(default_factory=dict)
    """By category: the share of its items that have the property."""
    coverage: float = 0.0
    """The share of all items that have the property."""

    def __post_init__(self) -> None:
        if self.datatype not in DATATYPES:
            raise DataError(
                f"property {self.name!r} has datatype {self.datatype!r}: "
                f"use one of {', '.join(DATATYPES)}"
            )
        if self.cardinality not in CARDINALITIES:
            raise DataError(
                f"property {self.name!r} has cardinality {self.cardinality!r}: use one or many"
            )


class Ontology:
    """Properties by name, and the categories of a catalogue.

    A property applies to a category if at least ``threshold`` of the category's items have it.
    """

    def __init__(
        self,
        properties: Iterable[PropertySpec] = (),
        *,
        categories: Mapping[str, int] | None = None,
        threshold: float = APPLIES_THRESHOLD,
    ) -> None:
        # Sorted, because equal ontologies must have the same TOML, and with it the same hash.
        self.properties = {
            spec.name: spec for spec in sorted(properties, key=lambda spec: spec.name)
        }
        self.categories = dict(sorted((categories or {}).items()))
        """How many items each category has, those of its subcategories included."""
        self.threshold = threshold

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ontology) and self.to_toml() == other.to_toml()

    __hash__ = None  # type: ignore[assignment]  # compared by content, which can be edited

    @classmethod
    def infer(
        cls, items: ArrowRows, statements: ArrowRows, *, threshold: float = APPLIES_THRESHOLD
    ) -> Ontology:
        """Infer the ontology of a catalogue.

        The items have the columns id and category; the statements item, property, value and
        optionally rank, in which case only those of trusted ranks count.
        """
        from schema.ontology_counts import count_catalogue

        counts = count_catalogue(items, statements)
        specs = []
        for name, value_counts in counts.values.items():
            values = tuple(value_counts)
            occurrences = tuple(value_counts.values())
            datatype, unit = infer_datatype(values, occurrences)
            holders = counts.holders[name]
            multivalued = counts.multivalued[name] > MULTIVALUED_SHARE * holders
            shares = {
                category: round(count / counts.categories[category], 4)
                for category, count in counts.holders_by_category[name].items()
            }
            spec = PropertySpec(
                name,
                datatype=datatype,
                unit=unit,
                cardinality="many" if multivalued else "one",
                values=values,
                counts=occurrences,
                applies_to=shares,
                # Statements may be about items that have no row, so the share can exceed 1.
                coverage=min(1.0, round(holders / max(counts.items, 1), 4)),
            )
            specs.append(spec)
        return cls(specs, categories=counts.categories, threshold=threshold)

    def __getitem__(self, name: str) -> PropertySpec:
        """Return the property of that name; raise PropertyNotFoundError if there is none."""
        try:
            return self.properties[name]
        except KeyError:
            names = ", ".join(list(self.properties)[:12]) or "none: ingest a source first"
            raise PropertyNotFoundError(
                f"no property {name!r} in the ontology: it has {names}"
            ) from None

    def values_of(self, property: str) -> tuple[str, ...]:
        """Return the property's vocabulary, most frequent first."""
        return self[property].values

    def share(self, property: str, category: str | None) -> float:
        """Return the share of the category's items that have the property.

        A category that the ontology does not know takes the share of its nearest known parent; None
        stands for all items.
        """
        spec = self[property]
        levels = category.split(CATEGORY_SEPARATOR) if category else []
        for end in range(len(levels), 0, -1):
            prefix = CATEGORY_SEPARATOR.join(levels[:end])
            if prefix in spec.applies_to or prefix in self.categories:
                # A category without an entry has items, but none with the property.
                return spec.applies_to.get(prefix, 0.0)
        return spec.coverage

    def applies(self, property: str, category: str | None) -> bool:
        """Return whether the property applies to the category; None stands for all items."""
        return self.share(property, category) >= self.threshold

    def applicable(self, category: str | None) -> list[str]:
        """Return the names of the properties that apply to the category."""
        return [name for name in self.properties if self.applies(name, category)]

    def to_toml(self) -> str:
        """Return the ontology as TOML; equal ontologies have the same text."""
        import tomli_w

        document: dict[str, Any] = {
            "version": 1,
            "threshold": self.threshold,
            "categories": self.categories,
            "property": {},
        }
        for spec in self.properties.values():
            entry: dict[str, Any] = {
                "datatype": spec.datatype,
                "cardinality": spec.cardinality,
                "coverage": spec.coverage,
            }
            if spec.unit:
                entry["unit"] = spec.unit
            entry["applies_to"] = dict(sorted(spec.applies_to.items()))
            entry["values"] = dict(zip(spec.values, spec.counts, strict=True))
            document["property"][spec.name] = entry
        return tomli_w.dumps(document)

    @classmethod
    def from_toml(cls, text: str, name: str = "the ontology") -> Ontology:
        """Read an ontology from TOML; ``name`` is what the error message calls it."""
        try:
            # A person may have edited the text, so anything can be in it.
            document = parse_toml(text)
            specs = [_parse_spec(key, entry) for key, entry in document.get("property", {}).items()]
            categories = {
                str(key): _count(count) for key, count in document.get("categories", {}).items()
            }
            threshold = _share(document.get("threshold", APPLIES_THRESHOLD))
        except (AttributeError, TypeError, ValueError) as error:
            raise DataError(
                f"{name} is not a readable ontology ({error}): "
                "correct the file, or remove it and run `catalograph schema infer`"
            ) from None
        return cls(specs, categories=categories, threshold=threshold)

    def save(self, path: Path) -> None:
        """Write the ontology to a file, completely or not at all."""
        write_atomically(path, self.to_toml())

    @classmethod
    def load(cls, path: Path) -> Ontology:
        """Read an ontology from a file."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            raise SourceNotFoundError(
                f"no ontology at {path}: "
                "`catalograph ingest` or `catalograph schema infer` creates one"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"{path} cannot be read ({error}): remove it and run `catalograph schema infer`"
            ) from None
        return cls.from_toml(text, str(path))

    def content_hash(self) -> str:
        """Return a SHA-256 of the whole content."""
        return hashlib.sha256(self.to_toml().encode()).hexdigest()


def _parse_spec(name: str, entry: Mapping[str, Any]) -> PropertySpec:
    counts = {str(value): _count(count) for value, count in entry.get("values", {}).items()}
    # The vocabulary's order is part of a model, so an edited file is brought back into order.
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    shares = {
        str(category): _share(share) for category, share in entry.get("applies_to", {}).items()
    }
    unit = entry.get("unit")
    if unit is not None and not isinstance(unit, str):
        raise ValueError(f"property {shown(name)} has the unit {shown(unit)}")
    return PropertySpec(
        name,
        datatype=entry.get("datatype", "string"),
        unit=unit,
        cardinality=entry.get("cardinality", "one"),
        values=tuple(value for value, _ in ordered),
        counts=tuple(count for _, count in ordered),
        applies_to=shares,
        coverage=_share(entry.get("coverage", 0.0)),
    )


def _count(value: object) -> int:
    """Return a number of items; raises ValueError if it is none."""
    if type(value) is not int or not 0 <= value <= MAX_COUNT:
        raise ValueError(f"{shown(value)} is not a number of items")
    return value


def _share(value: object) -> float:
    """Return a share, which may exceed 1; raises ValueError if it is none."""
    is_truth = isinstance(value, bool)
    # Written so that it refuses NaN, too.
    if isinstance(value, int | float) and not is_truth and -MAX_COUNT <= value <= MAX_COUNT:
        return float(value)
    raise ValueError(f"{shown(value)} is not a share")
