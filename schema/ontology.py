"""The ontology: a catalogue's properties, their values, and the categories to which they apply.

It is inferred from the data, kept as TOML that a person can edit, and stored whole in every model
folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schema.applicability import drawn_share, shares_digest
from schema.dates import DATE_ORDERS
from schema.decisions import Decisions
from schema.documents import parse_toml
from schema.equality import Equality, equality_of, find_merges, is_case_sensitive, synonym_keys
from schema.errors import DataError, PropertyNotFoundError, SourceNotFoundError
from schema.files import write_atomically
from schema.given_readings import infer_reading
from schema.literals import (
    DATATYPES,
    NOTHING_GIVEN,
    Given,
    Inference,
    Literal,
    Reading,
    parse_literal,
)
from schema.numbers import DECIMAL_MARKS, usual_decimal_mark
from schema.settings import shown
from schema.terms import path_prefixes
from schema.toml_tables import number_table
from schema.unasked import NUMBER_CLASSES, Unasked, why_no_classes

if TYPE_CHECKING:
    from schema.ontology_counts import ArrowRows, CatalogueCounts

CARDINALITIES = ("one", "many")

APPLIES_THRESHOLD = 0.5
"""The default share of a category's items from which on a property applies to the category."""

MAX_COUNT = 1 << 62

MULTIVALUED_SHARE = 0.01
"""A property has cardinality "many" if more than this share of its holders have several values."""


@dataclass(frozen=True)
class PropertySpec:
    """A property: its datatype, unit, cardinality, vocabulary, and the categories it applies to.

    Values that differ only in case, space or in how a number is written are one: the vocabulary has
    the commonest of them.
    """

    name: str
    datatype: str = "string"
    unit: str | None = None
    cardinality: str = "one"
    values: tuple[str, ...] = ()
    """The vocabulary, most frequent first."""
    counts: tuple[int, ...] = ()
    """How many items have each of ``values``."""
    applies_to: dict[str, float] = field(default_factory=dict)
    """By category: of its items with any statement, the share that have the property."""
    coverage: float = 0.0
    """The share of all items that have the property."""
    described_share: float | None = None
    """Of all items with any statement, the share that have the property; None: the coverage."""
    inferred_shares: str = ""
    """The digest of ``applies_to`` as it was inferred; another one shows that a person edited it.

    An ontology of an earlier version has none.
    """
    learn: bool | None = None
    """Whether models learn its values as classes; None: as its datatype and its values suggest."""
    complete: bool = True
    """Whether its cells are completed."""
    decimal_mark: str = "."
    """How numbers like 1,250 are read; see :mod:`schema.numbers`."""
    date_order: str = ""
    """How dates like 03/04/2024 are read; see :mod:`schema.dates`."""
    case_sensitive: bool = False
    """Whether texts that differ only in case are different values."""
    spellings: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By value: how it is written as well."""
    synonyms: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By value: others that are the same. Only a person adds them."""
    remark: str = ""
    """What a person should know or decide."""

    def __post_init__(self) -> None:
        if self.decimal_mark not in DECIMAL_MARKS or self.date_order not in DATE_ORDERS:
            raise DataError(
                f"property {self.name!r} has decimal_mark {self.decimal_mark!r} and date_order "
                f'{self.date_order!r}: use ".", "," or "unclear", and "dmy" or "mdy"'
            )
        if self.datatype not in DATATYPES:
            raise DataError(
                f"property {self.name!r} has datatype {self.datatype!r}: "
                f"use one of {', '.join(DATATYPES)}"
            )
        if self.cardinality not in CARDINALITIES:
            raise DataError(
                f"property {self.name!r} has cardinality {self.cardinality!r}: use one or many"
            )

    @property
    def reading(self) -> Reading:
        """How the property's texts are read."""
        return Reading(self.datatype, self.unit, self.decimal_mark, self.date_order, self.remark)

    def parse(self, text: str) -> Literal | None:
        """Return the literal that a text stands for; None if it does not parse as the datatype."""
        return parse_literal(text, self.datatype, self.unit, self.decimal_mark, self.date_order)

    @cached_property
    def not_learned(self) -> Unasked | None:
        """Why its values are no classes, which models learn and complete; None if they are."""
        if self.learn is not None:
            return None if self.learn else Unasked.NO_LEARNING
        return why_no_classes(self.name, self.datatype, self.unit, self.counts)

    @property
    def is_learned(self) -> bool:
        """Whether its values are classes, which models learn and complete."""
        return self.not_learned is None

    @property
    def not_completed(self) -> Unasked | None:
        """Why none of its cells is completed; None if they are."""
        return self.not_learned if self.complete else Unasked.NO_COMPLETION

    @cached_property
    def has_inferred_shares(self) -> bool:
        """Whether its shares by category are as they were inferred, and not edited."""
        return self.inferred_shares == shares_digest(self.applies_to)

    @cached_property
    def equality(self) -> Equality:
        """How the property's texts are compared."""
        return equality_of(self.name, self.reading, self.case_sensitive)

    @cached_property
    def _leaders(self) -> dict[str, str]:
        """The key of the value that each key of a synonym stands for."""
        return synonym_keys(self.synonyms, self.equality.key)

    @cached_property
    def _heads(self) -> dict[str, str]:
        """By key: the value that a person wants to see for its synonyms."""
        return {self.key(shown): shown for shown in self.synonyms}

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {value: position for position, value in enumerate(self.values)}

    @cached_property
    def _positions_of_keys(self) -> dict[str, int]:
        # The commonest of several: in an older ontology equal values have not been merged.
        positions: dict[str, int] = {}
        for position, value in enumerate(self.values):
            key = self.key(value)
            if key not in positions or self._heads.get(key) == value:
                positions[key] = position
        return positions

    def key(self, text: str) -> str:
        """Return the key of a text; texts of one key are one value, synonyms included."""
        key = self.equality.key(text)
        return self._leaders.get(key, key)

    def position(self, text: str) -> int | None:
        """Return the position of a text's value in the vocabulary; None if it is not in it."""
        if not self.synonyms:
            # Also where an older ontology has several equal values, each is itself.
            position = self._positions.get(text)
            if position is not None:
                return position
        return self._positions_of_keys.get(self.key(text))

    def shown(self, text: str) -> str:
        """Return the value of the vocabulary that a text stands for; itself if there is none."""
        if self._heads:
            head = self._heads.get(self.key(text))
            if head is not None:
                return head
        position = self.position(text)
        return text if position is None else self.values[position]

    def texts_of(self, value: str) -> tuple[str, ...]:
        """Return a value of the vocabulary with its spellings and synonyms."""
        return (value, *self.spellings.get(value, ()), *self.synonyms.get(value, ()))

    def texts(self) -> Iterator[str]:
        """Yield the values, with all their spellings and synonyms."""
        yield from self.values
        for others in (*self.spellings.values(), *self.synonyms.values()):
            yield from others


class Ontology:
    """Properties by name, and the categories of a catalogue.

    A property applies to a category if at least ``threshold`` of the category's items have it, of
    those with any statement of a property that is learned. A category of few such items takes
    mostly the share of its parent (:mod:`schema.applicability`).
    """

    def __init__(
        self,
        properties: Iterable[PropertySpec] = (),
        *,
        categories: Mapping[str, int] | None = None,
        described: Mapping[str, int] | None = None,
        threshold: float = APPLIES_THRESHOLD,
        decisions: Decisions | None = None,
    ) -> None:
        # Sorted, because equal ontologies must have the same TOML, and with it the same hash.
        self.properties = {
            spec.name: spec for spec in sorted(properties, key=lambda spec: spec.name)
        }
        self.categories = dict(sorted((categories or {}).items()))
        """How many items each category has, those of its subcategories included."""
        self.described = {
            category: count
            for category, count in sorted((described or {}).items())
            if count != self.categories.get(category)
        }
        """How many of these items have any statement, where it is not all of them."""
        self._known_levels: dict[str, list[str]] = {}
        self.threshold = threshold
        self.decisions = decisions or Decisions()
        """How cells are decided. Only a person sets it."""

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Ontology) and self.to_toml() == other.to_toml()

    __hash__ = None  # type: ignore[assignment]  # compared by content, which can be edited

    @classmethod
    def infer(
        cls,
        items: ArrowRows,
        statements: ArrowRows,
        *,
        threshold: float = APPLIES_THRESHOLD,
        given: Mapping[str, Given] | None = None,
        edit: Callable[[PropertySpec], PropertySpec] | None = None,
    ) -> Ontology:
        """Infer the ontology of a catalogue.

        The items have the columns id and category; the statements item, property, value and
        optionally rank, in which case only those of trusted ranks count. ``given`` says by property
        what mappings say of how it is read. ``edit`` returns a property with a person's settings:
        they decide which values are equal, and how what the person leaves open is read. The
        ontology itself has, in place of each of these settings, what is inferred without them.
        """
        ontology, _ = cls.infer_counted(
            items, statements, threshold=threshold, given=given, edit=edit
        )
        return ontology

    @classmethod
    def infer_counted(
        cls,
        items: ArrowRows,
        statements: ArrowRows,
        *,
        threshold: float = APPLIES_THRESHOLD,
        given: Mapping[str, Given] | None = None,
        edit: Callable[[PropertySpec], PropertySpec] | None = None,
        repeated_items: bool = False,
    ) -> tuple[Ontology, CatalogueCounts]:
        """Infer the ontology as :meth:`infer` does, and return the counts that it comes from.

        With ``repeated_items`` an item may come several times, of which the last category holds.
        """
        from schema.ontology_counts import ValueCounts, count_catalogue

        specs: dict[str, PropertySpec] = {}
        as_edited: dict[str, PropertySpec] = {}

        def merging(values: ValueCounts) -> Iterator[tuple[str, str, str]]:
            """Infer how the properties are read, and yield the values that are one."""
            for spec, edited in _infer_readings(values, given or {}, edit):
                counts = values[spec.name]
                as_edited[spec.name] = edited
                equality = edited.equality
                merges = find_merges(
                    tuple(counts),
                    tuple(counts.values()),
                    equality.key,
                    edited.synonyms,
                    equality.coarse_keys,
                )
                spellings = {each.shown: each.others for each in merges}
                specs[spec.name] = replace(spec, spellings=dict(sorted(spellings.items())))
                for each in merges:
                    yield from ((spec.name, other, each.shown) for other in each.others)

        def learned(values: ValueCounts) -> list[str]:
            """Return the properties that describe an item: a price or a GTIN alone does not."""
            return [
                name
                for name, spec in as_edited.items()
                if replace(spec, counts=tuple(values[name].values())).is_learned
            ]

        counts = count_catalogue(
            items, statements, merging, learned=learned, repeated_items=repeated_items
        )
        for name, value_counts in counts.values.items():
            holders = counts.holders[name]
            multivalued = counts.multivalued[name] > MULTIVALUED_SHARE * holders
            shares = {
                category: round(min(1.0, count / counts.described_of(category)), 4)
                for category, count in counts.holders_by_category[name].items()
            }
            # Statements may be about items that have no row, so the share can exceed 1.
            coverage = min(1.0, round(holders / max(counts.items, 1), 4))
            described_share = min(1.0, round(holders / max(counts.described_items, 1), 4))
            specs[name] = replace(
                specs[name],
                cardinality="many" if multivalued else "one",
                values=tuple(value_counts),
                counts=tuple(value_counts.values()),
                applies_to=shares,
                coverage=coverage,
                described_share=described_share if described_share != coverage else None,
                inferred_shares=shares_digest(shares),
            )
        ontology = cls(
            specs.values(),
            categories=counts.categories,
            described=counts.described,
            threshold=threshold,
        )
        return ontology, counts

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

    def shown(self, property: str, text: str) -> str:
        """Return the value of the vocabulary that a property's text stands for, or else itself."""
        spec = self.properties.get(property)
        return text if spec is None else spec.shown(text)

    def position(self, property: str, text: str) -> int | None:
        """Return where a property's vocabulary has the value of a text; None if it has not."""
        spec = self.properties.get(property)
        return None if spec is None else spec.position(text)

    def learned(self) -> list[str]:
        """Return the names of the properties whose values are classes."""
        return [name for name, spec in self.properties.items() if spec.is_learned]

    def share(self, property: str, category: str | None) -> float:
        """Return the share of the category's items that should have the property.

        A category of few items takes mostly the share of its parent, and one that the ontology does
        not know that of its nearest known parent; None stands for all items. Shares that a person
        has edited, or that an earlier version inferred, are taken as they are.
        """
        spec = self[property]
        of_all = spec.coverage if spec.described_share is None else spec.described_share
        if not spec.has_inferred_shares:
            return self.stated_share(property, category)
        return drawn_share(
            of_all,
            [
                (self.described_in(level), spec.applies_to.get(level, 0.0))
                for level in self._levels(category)
            ],
        )

    def stated_share(self, property: str, category: str | None) -> float:
        """Return the share that the ontology states, however few the category's items are.

        A category that it does not know takes that of its nearest known parent.
        """
        spec = self[property]
        for prefix in reversed(path_prefixes(category) if category else []):
            if prefix in spec.applies_to or self.described_in(prefix):
                # A category without an entry has items, but none with the property.
                return spec.applies_to.get(prefix, 0.0)
        return spec.coverage if spec.described_share is None else spec.described_share

    def may_have(self, property: str, category: str | None) -> bool:
        """Return whether a category's items may have the property.

        It applies to the category, or it would by the category's own items alone.
        """
        stated = self.stated_share(property, category)
        return stated >= self.threshold or self.applies(property, category)

    def _levels(self, category: str | None) -> list[str]:
        """Return a category's path and its parents as far as they are known, the broadest first."""
        if not category:
            return []
        known = self._known_levels.get(category)
        if known is None:
            known = [each for each in path_prefixes(category) if each in self.categories]
            self._known_levels[category] = known
        return known

    def described_in(self, category: str) -> int:
        """Return how many items of a category have any statement; 0 if it is not known."""
        return self.described.get(category, self.categories.get(category, 0))

    def knows(self, category: str | None) -> bool:
        """Return whether a category, or a parent of it, has items with any statement.

        None stands for all items.
        """
        return category is None or any(map(self.described_in, self._levels(category)))

    def described_items(self, category: str | None) -> int:
        """Return how many items with any statement tell about a category.

        They are those of the category itself, or else of its nearest known parent; if there is
        none, or for None, all of them, going by the property that most items have.
        """
        levels = self._levels(category)
        if levels:
            return self.described_in(levels[-1])
        return max((sum(spec.counts) for spec in self.properties.values()), default=0)

    def applies(self, property: str, category: str | None) -> bool:
        """Return whether the property applies to the category; None stands for all items."""
        return self.share(property, category) >= self.threshold

    def applicable(self, category: str | None) -> list[str]:
        """Return the names of the properties that apply to the category."""
        return [name for name in self.properties if self.applies(name, category)]

    def to_toml(self) -> str:
        """Return the ontology as TOML; equal ontologies have the same text."""
        import tomli_w

        head = tomli_w.dumps({"version": 1, "threshold": self.threshold})
        sections = [head]
        decisions = self.decisions.as_document()
        if decisions:
            sections.append(tomli_w.dumps({"decisions": decisions}))
        sections.append(number_table(("categories",), self.categories))
        if self.described:
            sections.append(number_table(("described",), self.described))
        if not self.properties:
            sections.append(number_table(("property",), {}))
        for spec in self.properties.values():
            entry: dict[str, Any] = {
                "datatype": spec.datatype,
                "cardinality": spec.cardinality,
                "coverage": spec.coverage,
            }
            if spec.unit:
                entry["unit"] = spec.unit
            entry |= _settings_document(spec)
            path = ("property", spec.name)
            counts = dict(zip(spec.values, spec.counts, strict=True))
            sections += [
                _property_toml(spec.name, entry),
                number_table((*path, "applies_to"), dict(sorted(spec.applies_to.items()))),
                number_table((*path, "values"), counts),
            ]
            for table in ("spellings", "synonyms"):
                others: dict[str, tuple[str, ...]] = getattr(spec, table)
                if others:
                    lists = {shown: list(others[shown]) for shown in sorted(others)}
                    sections.append(_property_toml(spec.name, {table: lists}))
        return "\n".join(sections)

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
            described = {
                str(key): _count(count) for key, count in document.get("described", {}).items()
            }
            threshold = _share(document.get("threshold", APPLIES_THRESHOLD))
            decisions = Decisions.from_document(document.get("decisions", {}))
        except (AttributeError, TypeError, ValueError) as error:
            raise DataError(
                f"{name} is not a readable ontology ({error}): "
                "correct the file, or remove it and run `catalograph schema infer`"
            ) from None
        return cls(
            specs,
            categories=categories,
            described=described,
            threshold=threshold,
            decisions=decisions,
        )

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
        return hash_of_toml(self.to_toml())


def hash_of_toml(text: str) -> str:
    """Return the :meth:`Ontology.content_hash` of an ontology, given its TOML."""
    return hashlib.sha256(text.encode()).hexdigest()


def _property_toml(name: str, entry: dict[str, Any]) -> str:
    import tomli_w

    return tomli_w.dumps({"property": {name: entry}})


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
        decimal_mark=_text(name, entry, "decimal_mark", "."),
        date_order=_text(name, entry, "date_order", ""),
        case_sensitive=_truth(name, entry, "case_sensitive"),
        spellings=_texts(name, entry, "spellings"),
        synonyms=_texts(name, entry, "synonyms"),
        remark=_text(name, entry, "remark", ""),
        described_share=_optional_share(entry, "described_share"),
        inferred_shares=_text(name, entry, "inferred_shares", ""),
        learn=_truth(name, entry, "learn") if "learn" in entry else None,
        complete=_truth(name, entry, "complete", default=True),
    )


def _settings_document(spec: PropertySpec) -> dict[str, Any]:
    """Return what a property has beside the defaults, so that an older ontology stays as it is."""
    settings: dict[str, Any] = {}
    if spec.described_share is not None:
        settings["described_share"] = spec.described_share
    if spec.inferred_shares:
        settings["inferred_shares"] = spec.inferred_shares
    if spec.learn is not None:
        settings["learn"] = spec.learn
    if not spec.complete:
        settings["complete"] = False
    if spec.decimal_mark != ".":
        settings["decimal_mark"] = spec.decimal_mark
    if spec.date_order:
        settings["date_order"] = spec.date_order
    if spec.case_sensitive:
        settings["case_sensitive"] = True
    if spec.remark:
        settings["remark"] = spec.remark
    return settings


def _text(name: str, entry: Mapping[str, Any], key: str, default: str) -> str:
    value = entry.get(key, default)
    if not isinstance(value, str):
        raise ValueError(f"property {shown(name)} has {key} = {shown(value)}")
    return value


def _optional_share(entry: Mapping[str, Any], key: str) -> float | None:
    return _share(entry[key]) if key in entry else None


def _truth(name: str, entry: Mapping[str, Any], key: str, default: bool = False) -> bool:
    value = entry.get(key, default)
    if not isinstance(value, bool):
        raise ValueError(f"property {shown(name)} has {key} = {shown(value)}")
    return value


def _texts(name: str, entry: Mapping[str, Any], key: str) -> dict[str, tuple[str, ...]]:
    """Return lists of texts by text; a single text may stand for a list."""
    found = {}
    for value, others in entry.get(key, {}).items():
        listed = [others] if isinstance(others, str) else others
        if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
            raise ValueError(f"property {shown(name)} has {key} of {shown(value)}: {shown(others)}")
        found[str(value)] = tuple(listed)
    return found


def _infer_readings(
    values: Mapping[str, Mapping[str, int]],
    given: Mapping[str, Given],
    edit: Callable[[PropertySpec], PropertySpec] | None,
) -> Iterator[tuple[PropertySpec, PropertySpec]]:
    """Yield each property with how it is read, as inferred and as edited.

    Its own values decide, and those of the other properties. What a person has set is given where
    the rest is inferred: the decimal mark of quantities is that of their numbers, also if without
    the person they would be mere texts.
    """
    readings = _Readings(values, given)
    specs = readings.specs()
    if edit is None:
        yield from ((spec, spec) for spec in specs.values())
        return
    edited = {name: edit(spec) for name, spec in specs.items()}
    said = {name: _said(spec, edited[name]) for name, spec in specs.items()}
    for name, settings in said.items():
        if settings:
            readings.give(name, settings)
    if any(said.values()):
        specs, formerly = readings.specs(), specs
    else:
        formerly = specs
    for name, spec in specs.items():
        # Without what the person has set the property is the base to which the next edited form
        # of the file is compared.
        without: dict[str, Any] = {field: vars(formerly[name])[field] for field in said[name]}
        yield (
            replace(spec, **without),
            replace(
                spec,
                **said[name],
                synonyms=edited[name].synonyms,
                case_sensitive=edited[name].case_sensitive,
                learn=edited[name].learn,
            ),
        )


class _Readings:
    """How the properties are read by their values and by what is given."""

    def __init__(self, values: Mapping[str, Mapping[str, int]], given: Mapping[str, Given]) -> None:
        self._values = values
        self._given = dict(given)
        self._inferences = {name: self._infer(name) for name in values}
        self._case_sensitive = {
            name: is_case_sensitive(name, tuple(values[name])) for name in values
        }

    def give(self, name: str, settings: Mapping[str, Any]) -> None:
        """Infer a property again with what a person has set."""
        given = self._given.get(name, NOTHING_GIVEN)
        remarks = tuple(remark for remark in given.remarks if remark[0] not in settings)
        self._given[name] = replace(given, **settings, remarks=remarks)
        self._inferences[name] = self._infer(name)

    def specs(self) -> dict[str, PropertySpec]:
        """Return the properties; what a property's own numbers leave open the others decide."""
        elsewhere = usual_decimal_mark([each.votes for each in self._inferences.values()])
        specs = {}
        for name, inference in self._inferences.items():
            reading = inference.reading
            if inference.depends_on_others and elsewhere != ".":
                reading = self._infer(name, elsewhere).reading
            specs[name] = PropertySpec(
                name,
                datatype=reading.datatype,
                unit=reading.unit,
                decimal_mark=reading.decimal_mark,
                date_order=reading.date_order,
                case_sensitive=self._case_sensitive[name],
                remark=reading.remark,
                learn=False if self._is_unread(name, reading) else None,
            )
        return specs

    def _is_unread(self, name: str, reading: Reading) -> bool:
        """Return whether values would be classes only because a person has to say what they are."""
        is_many = len(self._values[name]) > NUMBER_CLASSES
        return reading.unread == "dates" or (reading.unread == "numbers" and is_many)

    def _infer(self, name: str, elsewhere: str = ".") -> Inference:
        counts = self._values[name]
        given = self._given.get(name, NOTHING_GIVEN)
        return infer_reading(name, tuple(counts), tuple(counts.values()), elsewhere, given)


def _said(spec: PropertySpec, edited: PropertySpec) -> dict[str, Any]:
    """Return what a person has set of how a property is read."""
    fields = ("datatype", "unit", "decimal_mark", "date_order")
    return {name: vars(edited)[name] for name in fields if vars(edited)[name] != vars(spec)[name]}


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
