"""Mappings: how the columns of a source become items and statements. A mapping is data, a TOML file; a guesser picks one.

id, title, image      a column, or a list of names of which the first one present is taken
category              a column, a list of columns that make a path, or {any = [names]}
category_separator    what separates the levels within one category column
image_pattern         file name of an item's image below the image folder, "{id}.jpg"; without a suffix any image's is tried
image_folder          the folder of those images beside the table
properties            property columns, or "*" for every column that is nothing else
ignore                columns that "*" leaves out
packed                {column, pair, item}: one column that holds all properties, and its separators
multi                 what separates the values of a cell
missing               words that mean "no value"
header, columns, delimiter, quote      the table's layout where it differs from a CSV with a header
guess                 when to pick it: columns that must be there, `starts` of the header, or `width`, `cell` and `pattern`
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from schema.errors import MappingError

FOLDER = Path(__file__).parent / "mappings"
_TEXT_KEYS = (
    "name",
    "description",
    "language",
    "id",
    "title",
    "category",
    "category_separator",
    "image",
    "image_pattern",
    "image_folder",
)
_OTHER_KEYS = (
    "properties",
    "ignore",
    "packed",
    "multi",
    "missing",
    "header",
    "columns",
    "delimiter",
    "quote",
    "guess",
)
_KEYS = frozenset((*_TEXT_KEYS, *_OTHER_KEYS))


@dataclass(frozen=True)
class Packed:
    """A column that holds all properties: ``pair`` stands between name and value, ``item`` between pairs."""

    column: str
    pair: str
    item: str


@dataclass(frozen=True)
class Head:
    """The head of a source, which a guess looks at. ``rows`` are its first records; ``named`` where the format names its columns."""

    name: str
    rows: tuple[tuple[str, ...], ...]
    named: bool = False
    delimiter: str = ","


@dataclass(frozen=True)
class Layout:
    """A mapping resolved against the columns of one source."""

    id: str
    title: str | None
    category: tuple[str, ...]
    image: str | None
    properties: tuple[str, ...]
    ignored: tuple[str, ...]


@dataclass(frozen=True)
class Mapping:
    """How a source's columns become items and statements; see the module's own text for each key."""

    name: str
    id: tuple[str, ...]
    title: tuple[str, ...] = ()
    category: tuple[str, ...] = ()
    category_any: bool = False
    category_separator: str | None = None
    image: tuple[str, ...] = ()
    image_pattern: str | None = None
    image_folder: str | None = None
    properties: tuple[str, ...] | None = None
    """None stands for "*"."""
    ignore: tuple[str, ...] = ()
    packed: Packed | None = None
    multi: str | None = None
    missing: frozenset[str] = frozenset()
    header: bool = True
    columns: tuple[str, ...] = ()
    delimiter: str | None = None
    quote: str = '"'
    language: str | None = None
    description: str = ""
    optional: frozenset[str] = frozenset()
    """Roles given as a list of names, which a source may lack."""

    def resolve(self, columns: Sequence[str]) -> Layout:
        """The layout of a source with these columns; MappingError where one that the mapping needs is missing."""
        id_column = self._pick("id", self.id, columns)
        if id_column is None:
            mend = 'name one in a mapping file (`--mapping FILE.toml`, id = "...")'
            raise MappingError(
                f"mapping {self.name!r} finds no id column among {_listed(columns)}: {mend}"
            )
        title = self._pick("title", self.title, columns)
        image = self._pick("image", self.image, columns)
        if self.category_any:
            picked = self._pick("category", self.category, columns)
            category: tuple[str, ...] = (picked,) if picked else ()
        else:
            category = self.category
            self._require(category, columns)
        taken = {id_column, title, image, *(category if self.properties is None else ())}
        if self.packed:
            self._require((self.packed.column,), columns)
            taken.add(self.packed.column)
        ignored = tuple(
            c for c in columns if _plain(c) in {_plain(i) for i in self.ignore} and c not in taken
        )
        if self.properties is None:
            properties = tuple(c for c in columns if c not in taken and c not in ignored)
        else:
            properties = self.properties
            self._require(properties, columns)
        return Layout(id_column, title, category, image, properties, ignored)

    def _pick(self, role: str, names: tuple[str, ...], columns: Sequence[str]) -> str | None:
        if role not in self.optional:
            self._require(names, columns)
            return names[0] if names else None
        plain = {_plain(column): column for column in reversed(columns)}
        return next((plain[_plain(name)] for name in names if _plain(name) in plain), None)

    def _require(self, names: Iterable[str], columns: Sequence[str]) -> None:
        lacking = [name for name in names if name not in columns]
        if lacking:
            raise MappingError(
                f"mapping {self.name!r} needs column {lacking[0]!r}; the source has {_listed(columns)}: choose another with `--mapping`"
            )


@dataclass(frozen=True)
class Guess:
    """A guessed mapping and why."""

    mapping: Mapping
    reason: str


def shipped() -> list[str]:
    """Names of the mappings that come with Catalograph."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_mapping(name: str) -> Mapping:
    """A shipped mapping by its name, or one from a TOML file."""
    return _load(name)[0]


def guess_mapping(head: Head) -> Guess:
    """The mapping that a source's head fits, and why; MappingError where none does."""
    if not head.rows:
        raise MappingError(f"{head.name} is empty: it has no row to guess a mapping from")
    for name in shipped():
        mapping, rules = _load(name)
        reason = _fits(rules, mapping, head) if rules else None
        if reason:
            return Guess(mapping, reason)
    columns = head.rows[0]
    generic = load_mapping("generic")
    if not head.named and any(_is_data(cell) for cell in columns):
        mend = "name its columns in a mapping file (header = false, columns = [...])"
        raise MappingError(
            f"{head.name} seems to have no header (its first row is {_listed(columns)}): {mend}"
        )
    layout = generic.resolve(columns)
    return Guess(
        generic,
        f"no other mapping fits its columns; the id is {layout.id!r}, the title {layout.title!r}",
    )


def parse_mapping(text: str, name: str) -> tuple[Mapping, dict[str, Any]]:
    """A mapping and its guessing rules from TOML."""
    try:
        given = tomllib.loads(text)
        unknown = sorted(set(given) - _KEYS)
        if unknown:
            raise MappingError(
                f"mapping {name} has an unknown key {unknown[0]!r}: use {', '.join(sorted(_KEYS))}"
            )
        if "id" not in given:
            raise MappingError(f'mapping {name} names no id column: add id = "..."')
        return _build(given, name), given.get("guess", {})
    except (tomllib.TOMLDecodeError, TypeError, AttributeError, KeyError) as error:
        raise MappingError(
            f"mapping {name} cannot be read ({error}): see schema/mappings/generic.toml for the format"
        ) from None


def _build(given: dict[str, Any], name: str) -> Mapping:
    category = given.get("category", [])
    any_of = isinstance(category, dict)
    properties = given.get("properties", "*")
    packed = given.get("packed")
    return Mapping(
        name=given.get("name", Path(name).stem),
        id=_names(given["id"]),
        title=_names(given.get("title", [])),
        category=_names(category["any"] if any_of else category),
        category_any=any_of,
        category_separator=given.get("category_separator"),
        image=_names(given.get("image", [])),
        image_pattern=given.get("image_pattern"),
        image_folder=given.get("image_folder"),
        properties=None if properties == "*" else _names(properties),
        ignore=_names(given.get("ignore", [])),
        packed=Packed(packed["column"], packed["pair"], packed["item"]) if packed else None,
        multi=given.get("multi"),
        missing=frozenset(given.get("missing", [])),
        header=given.get("header", True),
        columns=_names(given.get("columns", [])),
        delimiter=given.get("delimiter"),
        quote=given.get("quote", '"'),
        language=given.get("language"),
        description=given.get("description", ""),
        optional=frozenset(
            [role for role in ("id", "title", "image") if isinstance(given.get(role), list)]
            + ["category"] * any_of
        ),
    )


@cache
def _load(name: str) -> tuple[Mapping, dict[str, Any]]:
    path = FOLDER / f"{name}.toml" if name in shipped() else Path(name)
    try:
        return parse_mapping(path.read_text(encoding="utf-8"), name)
    except (OSError, UnicodeDecodeError, ValueError):
        raise MappingError(
            f"no mapping {name!r}: use one of {', '.join(shipped())}, or a TOML file"
        ) from None


def _fits(rules: dict[str, Any], mapping: Mapping, head: Head) -> str | None:
    """Why the rules hold for a head, or None."""
    first = head.rows[0]
    if "columns" in rules and set(rules["columns"]) <= set(first):
        return f"its header has {_listed(rules['columns'])}"
    if "starts" in rules and list(first[: len(rules["starts"])]) == rules["starts"]:
        return f"its header starts with {_listed(rules['starts'])}"
    if (
        "pattern" not in rules
        or head.named
        or (mapping.delimiter or head.delimiter) != head.delimiter
    ):
        return None
    cell = rules["cell"]
    wide = [row for row in head.rows if len(row) == rules["width"]]
    if wide and sum(bool(re.search(rules["pattern"], row[cell])) for row in wide) * 2 > len(
        head.rows
    ):
        return f"it has {rules['width']} columns and column {cell + 1} holds {rules['pattern']!r}"
    return None


def _names(value: str | list[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _plain(name: str) -> str:
    return re.sub(r"[\s_\-]+", "", name).casefold()


def _is_data(cell: str) -> bool:
    return bool(re.fullmatch(r"[-+]?\d[\d.,]*|https?://.*", cell.strip()))


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(name[:40] for name in names[:8]) + (
        f" and {len(names) - 8} more" if len(names) > 8 else ""
    )
