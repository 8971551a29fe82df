"""What new data change in an ontology, and what of a person's edits they contradict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from schema.currencies import parse_price
from schema.dates import DAY_FIRST, infer_date_order
from schema.literals import UNPARSED, number_votes
from schema.numbers import MarkVotes
from schema.ontology import Ontology, PropertySpec
from schema.quantities import Context, parse_quantity
from schema.units import find_unit

if TYPE_CHECKING:
    from schema.ontology_counts import CatalogueCounts

CHANGING = ("datatype", "unit", "decimal_mark", "date_order", "cardinality")
SMALL_VOCABULARY = 100
"""The most values of a vocabulary to which each new one is worth a look."""
EXAMPLES = 5
MAX_NEW_VALUES = 100
"""New values of a property that are listed; all are counted."""

Values = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class NewProperty:
    """A property that the catalogue does not have yet, as the new data have it."""

    property: str
    datatype: str
    unit: str | None
    decimal_mark: str
    cardinality: str
    items: int
    values: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """A field of a property that would change, with the counts that make it so.

    ``stored`` and ``new`` are counts of what the catalogue has and of what the sources have, by
    what the field depends on: units, decimal marks, or how many values are read.
    """

    property: str
    field: str
    before: str | None
    after: str | None
    stored: dict[str, int]
    new: dict[str, int]
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NewValues:
    """New values of a small vocabulary, or of one that a person has edited.

    ``known`` is the number of its values, ``count`` that of the new ones, of which ``values`` has
    the commonest with the number of their items.
    """

    property: str
    known: int
    is_edited: bool
    count: int
    values: dict[str, int]


@dataclass(frozen=True, slots=True)
class EditContradicted:
    """Something that a person has set, and that ``statements`` of ``of`` new ones contradict."""

    property: str
    field: str
    value: str
    statements: int
    of: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OntologyDiff:
    """What new data would change in an ontology."""

    new_properties: list[NewProperty] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    new_values: list[NewValues] = field(default_factory=list)
    new_categories: dict[str, int] = field(default_factory=dict)
    contradictions: list[EditContradicted] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields of the command's JSON."""
        return {
            "new_properties": [asdict(each) for each in self.new_properties],
            "changes": [asdict(each) for each in self.changes],
            "new_values": [asdict(each) for each in self.new_values],
            "new_categories": [
                {"category": name, "items": items} for name, items in self.new_categories.items()
            ],
            "contradictions": [asdict(each) for each in self.contradictions],
        }


@dataclass(frozen=True, slots=True)
class Compared:
    """The ontologies before and after new data, and the counts from which each comes.

    Attributes:
        before, after: with a person's edits
        stored, together, new: counts of the catalogue, of both, and of the sources alone
        base, edited: the ontology as it was inferred, and as a person has edited it
    """

    before: Ontology
    after: Ontology
    stored: CatalogueCounts
    together: CatalogueCounts
    new: CatalogueCounts
    base: Ontology | None = None
    edited: Ontology | None = None


def ontology_diff(compared: Compared) -> OntologyDiff:
    """Return what is new in the ontology, what would change, and what contradicts a person."""
    diff = OntologyDiff()
    before = compared.before.properties
    for name, values in compared.new.values.items():
        after = compared.after.properties.get(name)
        if after is None:
            # A person has removed the property.
            continue
        if name not in before:
            diff.new_properties.append(_new_property(after, compared, values))
            continue
        diff.changes.extend(_changes(before[name], after, compared))
        new_values = _new_values(before[name], values, compared)
        if new_values is not None:
            diff.new_values.append(new_values)
    known = compared.before.categories
    for name in compared.new.categories:
        if name not in known:
            diff.new_categories[name] = compared.new.categories[name]
    diff.contradictions.extend(_contradicted(compared))
    return diff


def _new_property(spec: PropertySpec, compared: Compared, values: Values) -> NewProperty:
    return NewProperty(
        spec.name,
        spec.datatype,
        spec.unit,
        spec.decimal_mark,
        spec.cardinality,
        compared.new.holders.get(spec.name, 0),
        len(values),
        tuple(list(values)[:EXAMPLES]),
    )


def _changes(before: PropertySpec, after: PropertySpec, compared: Compared) -> Iterator[Change]:
    name = before.name
    stored = compared.stored.values.get(name, {})
    new = compared.new.values[name]
    for field_ in CHANGING:
        old = vars(before)[field_]
        now = vars(after)[field_]
        if old == now:
            continue
        if field_ == "cardinality":
            counts = [
                {"items": each.holders.get(name, 0), "with_several": each.multivalued.get(name, 0)}
                for each in (compared.stored, compared.new)
            ]
            yield Change(name, field_, old, now, counts[0], counts[1])
            continue
        count, examples = _evidence(field_, before, after)
        yield Change(
            name,
            field_,
            old or None,
            now or None,
            count(stored),
            count(new),
            tuple([text for text in new if examples(text)][:EXAMPLES]),
        )


def _evidence(
    field_: str, before: PropertySpec, after: PropertySpec
) -> tuple[Callable[[Values], dict[str, int]], Callable[[str], bool]]:
    """Return how values are counted for a field that changes, and which of them are examples."""
    match field_:
        case "unit":
            return (
                lambda values: dict(_by(values, lambda text: _unit_of(after, text) or "none")),
                lambda text: _unit_of(after, text) != before.unit,
            )
        case "decimal_mark":
            return (
                lambda values: _mark_counts(number_votes(values)),
                lambda text: number_votes({text: 1}) != MarkVotes(),
            )
        case "date_order":
            return (
                lambda values: dict(_by(values, _order_of)),
                lambda text: _order_of(text) in ("dmy", "mdy"),
            )
    # A text is read as any string, which says nothing.
    readings = {
        f"read_as_{spec.datatype}": spec
        for spec in (before, after)
        if spec.datatype not in UNPARSED
    }

    def count(values: Values) -> dict[str, int]:
        counts = {"statements": sum(values.values())}
        for label, spec in readings.items():
            counts[label] = sum(n for text, n in values.items() if spec.parse(text) is not None)
        return counts

    return count, lambda text: not is_read(before, text) or not readings


def is_read(spec: PropertySpec, text: str) -> bool:
    """Return whether a text can be read as its property's datatype; any can be as a string."""
    return spec.datatype in UNPARSED or spec.parse(text) is not None


def _by(values: Values, key: Callable[[str], str]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for text, count in values.items():
        counts[key(text)] += count
    return counts


def _unit_of(spec: PropertySpec, text: str) -> str | None:
    """Return the unit or the currency that a text has itself."""
    unit = find_unit(spec.unit) if spec.unit else None
    context = Context(unit.dimension if unit else None, None, spec.decimal_mark)
    quantity = parse_quantity(text.strip(), context)
    if quantity is not None and quantity.has_unit:
        return quantity.unit.symbol
    price = parse_price(text.strip(), spec.decimal_mark)
    return price.currency if price is not None else None


def _mark_counts(votes: MarkVotes) -> dict[str, int]:
    return {"point": votes.point, "comma": votes.comma, "either": votes.either}


def _order_of(text: str) -> str:
    return infer_date_order([text]) or "either"


def _new_values(spec: PropertySpec, values: Values, compared: Compared) -> NewValues | None:
    """Return the new values of a property whose vocabulary is small or edited, if any."""
    if spec.datatype not in ("string", "boolean") or not spec.values:
        return None
    is_edited = _has_edited_values(spec.name, compared)
    # Where nearly every item has a value of its own, a new one is nothing special.
    is_small = len(spec.values) <= SMALL_VOCABULARY and sum(spec.counts) >= 2 * len(spec.values)
    if not is_edited and not is_small:
        return None
    new = {text: count for text, count in values.items() if spec.position(text) is None}
    if not new:
        return None
    listed = dict(list(new.items())[:MAX_NEW_VALUES])
    return NewValues(spec.name, len(spec.values), is_edited, len(new), listed)


def _has_edited_values(name: str, compared: Compared) -> bool:
    if compared.edited is None or compared.base is None:
        return False
    edited = compared.edited.properties.get(name)
    base = compared.base.properties.get(name)
    return edited is not None and base is not None and set(edited.values) != set(base.values)


def _contradicted(compared: Compared) -> Iterator[EditContradicted]:
    """Yield what a person has set and the new data contradict."""
    if compared.edited is None or compared.base is None:
        return
    for name, values in compared.new.values.items():
        edited = compared.edited.properties.get(name)
        base = compared.base.properties.get(name)
        total = sum(values.values())
        if edited is None:
            if base is not None:
                examples = tuple(list(values)[:EXAMPLES])
                yield EditContradicted(name, "property", "removed", total, total, examples)
            continue
        yield from _settings_contradicted(edited, base, values)
        is_one = edited.cardinality == "one" and (base is None or base.cardinality != "one")
        several = compared.together.multivalued.get(name, 0)
        several -= compared.stored.multivalued.get(name, 0)
        if is_one and several > 0:
            items = compared.new.holders.get(name, 0)
            yield EditContradicted(name, "cardinality", "one", several, items, ())
        if base is not None:
            removed = set(base.values) - set(edited.values)
            back = {text: n for text, n in values.items() if text in removed}
            back = {text: n for text, n in back.items() if edited.position(text) is None}
            if back:
                examples = tuple(list(back)[:EXAMPLES])
                statements = sum(back.values())
                yield EditContradicted(name, "values", "removed", statements, total, examples)


def _settings_contradicted(
    edited: PropertySpec, base: PropertySpec | None, values: Values
) -> Iterator[EditContradicted]:
    """Yield what contradicts how a person has a property read."""
    total = sum(values.values())

    def is_set(field_: str) -> bool:
        return base is None or vars(edited)[field_] != vars(base)[field_]

    def found(field_: str, wrong: dict[str, int]) -> Iterator[EditContradicted]:
        if wrong:
            kind = vars(edited)[field_]
            if field_ == "datatype" and edited.unit:
                kind = f"{kind} in {edited.unit}"
            examples = tuple(list(wrong)[:EXAMPLES])
            yield EditContradicted(edited.name, field_, kind, sum(wrong.values()), total, examples)

    named = next((each for each in ("datatype", "unit") if is_set(each)), None)
    if named is not None:
        unread = {text: n for text, n in values.items() if not is_read(edited, text)}
        yield from found(named, unread)
    if is_set("decimal_mark") and edited.decimal_mark in (".", ","):
        wrong = {}
        for text, count in values.items():
            votes = number_votes({text: count})
            if (votes.point if edited.decimal_mark == "," else votes.comma) > 0:
                wrong[text] = count
        yield from found("decimal_mark", wrong)
    if is_set("date_order") and edited.date_order:
        other = "mdy" if edited.date_order == DAY_FIRST else "dmy"
        wrong = {text: n for text, n in values.items() if _order_of(text) == other}
        yield from found("date_order", wrong)
