"""Filters: which items may be found, as a condition of SQL with its parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from schema.errors import PropertyNotFoundError, UsageError
from schema.ontology import Ontology
from schema.terms import CATEGORY_SEPARATOR


@dataclass(frozen=True)
class Condition:
    """A condition on ``items.number``, and its parameters; an empty one holds for all items."""

    sql: str = ""
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True)
class Filters:
    """What found items must have: values of properties, each one of several, and a category."""

    values: tuple[tuple[str, str], ...] = ()
    category: str | None = None

    @classmethod
    def parse(cls, texts: Sequence[str], category: str | None = None) -> Filters:
        """Read filters written ``property=value``. Raises UsageError if one is not."""
        values = []
        for text in texts:
            name, equals, value = _stored(text).partition("=")
            if not equals or not name.strip() or not value.strip():
                raise UsageError(f"the filter {text!r} is not property=value, such as colour=red")
            values.append((name.strip(), value.strip()))
        return cls(tuple(values), None if category is None else _stored(category))

    def condition(self, known: Sequence[str], ontology: Ontology | None) -> Condition:
        """Return the condition. Raises PropertyNotFoundError if no item has such a property.

        Several values of one property are alternatives. Texts that the ontology takes for one value
        are one; case does not matter.
        """
        names = dict.fromkeys(name for name, _ in self.values)
        parts: list[str] = []
        parameters: list[str] = []
        for name in names:
            if name not in known:
                raise PropertyNotFoundError(
                    f"no item has a property {name!r}: filter by one of "
                    f"{', '.join(sorted(known)[:12])}"
                )
            texts = [value for each, value in self.values if each == name]
            shown = [ontology.shown(name, text) if ontology else text for text in texts]
            folded = list(dict.fromkeys(text.casefold() for text in (*texts, *shown)))
            marks = ", ".join("?" * len(folded))
            parts.append(
                "items.number IN (SELECT item FROM facts WHERE property = "
                "(SELECT property FROM properties WHERE name = ?) AND value IN "
                f"(SELECT value FROM vocabulary WHERE folded IN ({marks})))"
            )
            parameters += [name, *folded]
        if self.category is not None:
            # Whatever begins so, and no further level of another name: Mugs, Mugs > Espresso.
            below = self.category + CATEGORY_SEPARATOR
            parts.append(
                "(items.category_path = ? OR substr(items.category_path, 1, length(?)) = ?)"
            )
            parameters += [self.category, below, below]
        return Condition(" AND ".join(parts), tuple(parameters))


def _stored(text: str) -> str:
    """Return a text without halves of surrogate pairs, which no database takes."""
    return text.encode(errors="replace").decode()


EVERYTHING = Filters()
"""No filter."""
