"""Which property of a model a property of a home is, where they have other names.

A map is a CSV file with the columns ``property,model_property,value,model_value``. A row without
values says that a property of the home is one of the model; a row with values that one of its
values is one of the model's, where they are written in different ways. Further columns are for
people. A map may be proposed from names and values; only a person puts it to use.
"""

from __future__ import annotations

import csv
import io
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher, get_close_matches
from pathlib import Path

from schema.csv_rows import csv_rows
from schema.errors import SourceNotFoundError, UsageError
from schema.files import write_atomically
from schema.literals import NUMBERS
from schema.ontology import Ontology, PropertySpec
from schema.settings import shown

COLUMNS = ("property", "model_property", "value", "model_value")
REQUIRED = COLUMNS[:2]
REASON = "reason"

ALIKE = 0.84
"""How alike two names or values have to be, as a ratio of equal letters."""
MIN_COMMON_VALUES = 2
MIN_COMMON_SHARE = 0.3
"""The share of a property's statements whose values the model's property has, too."""
MAX_COMPARED_VALUES = 100
"""Values that are compared letter by letter, of each of two properties."""
MAX_PAIRS = 20_000
"""Pairs of properties that are all compared; of more, those with a name or values in common."""
MAX_LIKE_IT = 20


@dataclass(frozen=True)
class PropertyMap:
    """Names and values of a home, and those of a model that they stand for.

    Attributes:
        properties: the model's property by that of the home
        values: by the home's property: the model's value by that of the home
    """

    properties: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, home: Ontology, model: Ontology) -> PropertyMap:
        """Read a map.

        Raises SourceNotFoundError if there is no such file, and UsageError if it cannot be read, or
        if the home or the model does not have what it names.
        """
        properties: dict[str, str] = {}
        values: dict[str, dict[str, str]] = {}
        try:
            for line, row in csv_rows(path, REQUIRED, optional=COLUMNS[2:]):
                texts = {name: text.strip() for name, text in row.items()}
                _add_row(f"{path}, line {line}", texts, (home, model), properties, values)
        except (FileNotFoundError, IsADirectoryError):
            raise SourceNotFoundError(
                f"no map of properties {path}: `catalograph complete --write-map FILE` proposes one"
            ) from None
        except ValueError as error:
            raise UsageError(f"{path} {error}") from None
        return cls(properties, values)


def _add_row(
    place: str,
    row: Mapping[str, str],
    ontologies: tuple[Ontology, Ontology],
    properties: dict[str, str],
    values: dict[str, dict[str, str]],
) -> None:
    home, model = ontologies
    name = row["property"]
    of_model = row["model_property"]
    if not name or not of_model:
        # A person has left it open which one it is.
        return
    for each, ontology, owner in ((name, home, "this home"), (of_model, model, "the model")):
        if each not in ontology.properties:
            known = ", ".join(map(_plain, list(ontology.properties)[:12]))
            raise UsageError(f"{place}: {owner} has no property {shown(each)}: it has {known}")
    if properties.setdefault(name, of_model) != of_model:
        raise UsageError(
            f"{place}: {shown(name)} is {shown(of_model)} here and {shown(properties[name])} "
            "above: keep one of them"
        )
    value = row["value"]
    model_value = row["model_value"]
    if not value or not model_value:
        return
    if model.position(of_model, model_value) is None:
        known = ", ".join(map(_plain, model.values_of(of_model)[:12]))
        raise UsageError(
            f"{place}: the model's {shown(of_model)} has no value {shown(model_value)}: it has "
            f"{known}"
        )
    of_property = values.setdefault(name, {})
    if of_property.setdefault(value, model_value) != model_value:
        raise UsageError(
            f"{place}: {shown(value)} is {shown(model_value)} here and "
            f"{shown(of_property[value])} above: keep one of them"
        )


def _plain(text: str) -> str:
    return shown(text)[1:-1]


@dataclass(frozen=True, slots=True)
class Proposal:
    """That a property of a home may be one of a model.

    ``common`` is the share of the home's statements whose values the model has as well, and
    ``values`` are pairs of a value of the home and a similar one of the model.
    """

    property: str
    model_property: str
    reason: str
    common: float
    values: tuple[tuple[str, str], ...] = ()


def unknown_properties(home: Ontology, model: Ontology) -> list[str]:
    """Return the home's properties that could be asked if the model knew them."""
    return [
        name
        for name, spec in home.properties.items()
        if spec.not_completed is None
        and (name not in model.properties or not model.properties[name].values)
    ]


def propose_map(home: Ontology, model: Ontology) -> list[Proposal]:
    """Propose for properties that the model does not know which of its own they may be.

    A property of the model is proposed once, and not if the home has it itself.
    """
    free = _Candidates(
        [spec for name, spec in model.properties.items() if name not in home.properties]
    )
    unknown = unknown_properties(home, model)
    found: list[tuple[float, Proposal]] = []
    for name in unknown:
        for other in free.of(home[name], among_all=len(unknown) * len(free.specs) <= MAX_PAIRS):
            rated = _rated(home[name], other)
            if rated is not None:
                found.append(rated)
    found.sort(key=lambda pair: (-pair[0], pair[1].property, pair[1].model_property))
    chosen: dict[str, Proposal] = {}
    taken: set[str] = set()
    for _, proposal in found:
        if proposal.property not in chosen and proposal.model_property not in taken:
            chosen[proposal.property] = proposal
            taken.add(proposal.model_property)
    return [
        replace(
            chosen[name],
            values=tuple(_similar_values(home[name], model[chosen[name].model_property])),
        )
        for name in sorted(chosen)
    ]


class _Candidates:
    """The properties of a model, found by their names and values."""

    def __init__(self, specs: Sequence[PropertySpec]) -> None:
        self.specs = specs
        self._by_name: dict[str, list[int]] = {}
        self._by_value: dict[str, list[int]] = {}
        for place, spec in enumerate(specs):
            self._by_name.setdefault(_joined(spec.name), []).append(place)
            for value in {_joined(each) for each in spec.values}:
                self._by_value.setdefault(value, []).append(place)

    def of(self, spec: PropertySpec, *, among_all: bool) -> list[PropertySpec]:
        """Return the properties that may be another one: all of them, or those like it."""
        if among_all:
            return list(self.specs)
        common: Counter[int] = Counter()
        for value, count in zip(spec.values, spec.counts, strict=True):
            for place in self._by_value.get(_joined(value), ())[:MAX_LIKE_IT]:
                common[place] += count
        places = [place for place, _ in common.most_common(MAX_LIKE_IT)]
        places += self._by_name.get(_joined(spec.name), ())
        return [self.specs[place] for place in dict.fromkeys(places)]


def _rated(spec: PropertySpec, other: PropertySpec) -> tuple[float, Proposal] | None:
    """Return how well a property of a model fits one of a home, and the proposal; None if not."""
    likeness = name_likeness(spec.name, other.name)
    is_measured = spec.datatype in (*NUMBERS, "boolean")
    if (is_measured or other.datatype in (*NUMBERS, "boolean")) and (
        spec.datatype != other.datatype or spec.unit != other.unit
    ):
        return None
    total = sum(spec.counts)
    shared = [
        count
        for value, count in zip(spec.values, spec.counts, strict=True)
        if other.position(value) is not None
    ]
    common = sum(shared) / total if total else 0.0
    # Many properties have the same numbers, and the same yes and no.
    by_values = (
        not is_measured
        and len(shared) >= min(MIN_COMMON_VALUES, len(spec.values))
        and common >= MIN_COMMON_SHARE
    )
    reasons = []
    if likeness == 1:
        reasons.append("same name in another form")
    elif likeness >= ALIKE:
        reasons.append("similar name")
    if by_values:
        reasons.append(f"{common:.0%} of its statements have values of the model")
    if not reasons:
        return None
    proposal = Proposal(spec.name, other.name, ", ".join(reasons), round(common, 4))
    return (likeness if likeness >= ALIKE else 0.0) + common, proposal


def name_likeness(one: str, other: str) -> float:
    """Return how alike two names are, from 0 to 1; case, accents and punctuation do not matter."""
    words = [_words(each) for each in (one, other)]
    joined = [_joined(each) for each in (one, other)]
    if joined[0] == joined[1]:
        return 1.0
    shorter, longer = sorted((set(each) for each in words), key=len)
    # "base colour" is rather a colour.
    if shorter and shorter < longer:
        return ALIKE
    return SequenceMatcher(None, joined[0], joined[1]).ratio()


def _joined(text: str) -> str:
    return "".join(_words(text))


def _words(text: str) -> list[str]:
    spaced = "".join(
        f" {letter}" if letter.isupper() and text[max(0, place - 1)].islower() else letter
        for place, letter in enumerate(text)
    )
    folded = unicodedata.normalize("NFKD", spaced).casefold()
    return "".join(letter if letter.isalnum() else " " for letter in folded).split()


def _similar_values(spec: PropertySpec, other: PropertySpec) -> Iterator[tuple[str, str]]:
    """Yield values that the model writes in another way, each with the most similar one."""
    if spec.datatype in (*NUMBERS, "boolean"):
        return
    theirs = {_joined(value): value for value in reversed(other.values)}
    compared = list(map(_joined, other.values[:MAX_COMPARED_VALUES]))
    for number, value in enumerate(spec.values):
        if other.position(value) is not None:
            continue
        plain = _joined(value)
        alike = [plain] if plain in theirs else []
        if not alike and number < MAX_COMPARED_VALUES:
            alike = get_close_matches(plain, compared, n=1, cutoff=ALIKE)
        if alike:
            yield value, theirs[alike[0]]


def write_map(path: Path, proposals: Iterable[Proposal], unmatched: Iterable[str] = ()) -> None:
    """Write proposals as a map for a person to correct.

    Properties that nothing is proposed for are ``unmatched``: their model's property is empty.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow((*COLUMNS, REASON))
    for each in proposals:
        rows.writerow((each.property, each.model_property, "", "", each.reason))
        for value, model_value in each.values:
            rows.writerow((each.property, each.model_property, value, model_value, "similar value"))
    for name in unmatched:
        rows.writerow((name, "", "", "", "nothing of the model looks like it"))
    write_atomically(path, text.getvalue())
