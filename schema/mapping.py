"""Mappings: how the columns of a source become items and statements.

A mapping is data, not code: one TOML file. To ship one with Catalograph, put ``NAME.toml`` into
``schema/mappings/``; nothing else has to change. ``catalograph ingest --mapping FILE.toml`` reads
any other. Without ``--mapping``, the first shipped mapping, in alphabetical order, whose
``[guess]`` table fits the source is used, and ``generic`` if none fits.

A complete mapping of a table with the columns ``sku, name, department, photo, colours,
internal_note``::

    name = "my-shop"               # the same as the file's name
    description = "Export of my shop."
    id = "sku"
    title = "name"
    category = "department"
    category_separator = "/"
    image = "photo"
    ignore = ["internal_note"]     # "colours" remains, and is a property
    multi = ","
    missing = ["n/a", "-"]
    [guess]
    columns = ["sku", "department", "colours"]

Only ``id`` is required. The keys are:

Columns and their roles
    id                  The column with the item's id. Either one name, which must be exactly that
                        of a column; or a list of names, of which the first that the source has is
                        used. In a list, differences in case, spaces, hyphens and underscores do
                        not matter.
    title               The column with the title; a name or a list, as for ``id``.
    image               The column with URLs or paths of images; a name or a list, as for ``id``.
                        Paths are relative to the table's folder, or to that of ``--images``.
    category            One column; or a list of columns, which are the levels of the category
                        path, the broadest first; or ``{any = [names]}``, of which the first that
                        the source has is used.
    category_separator  What separates the levels inside a single category column, like ">".
    properties          A list of columns; or "*", the default: every column without another role.
    ignore              Columns that "*" leaves out, compared like the names in a list.
    packed              ``{column, pair, item}``, for a column that holds many properties: ``pair``
                        separates a property from its value, and ``item`` one such pair from the
                        next. With ``pair = ":"`` and ``item = ";"`` a cell may be
                        "colour:red;size:L".

Values
    multi               What separates several values in a cell, like "|".
    missing             Further words that stand for "no value", whatever their column shows. Empty
                        cells always do, and so do the words of ``kg/ingest/values/missing.py``.
    language            The language to prefer where an RDF source has a text in several.

Images of items whose image cell is empty, or of a source without an image column
    image_pattern       How the image files are named after the items' ids: "{id}.jpg". If it has
                        no suffix, as in "{id}", the usual ones (.jpg, .jpeg, .png, .webp) are
                        tried.
    image_folder        The folder beside the table that contains these files, unless ``--images``
                        names another.

Dialect of delimited text; what is absent is detected
    encoding            The name of its character encoding, like "cp1252" or "utf-16".
    header              ``false`` if the first row is an item already; needs ``columns``. Or the
                        number of the line that has the names of the columns.
    columns             The names of the columns, in order.
    delimiter           What separates two cells: up to ten characters.
    quote               The sign around a quoted cell; "" if nothing is ever quoted.
    escape              The sign before a quote that is part of a cell, like a backslash; or, if
                        nothing is ever quoted, before such a delimiter. "" if there is none.

Place of the rows in other formats, if it is not the one that is found
    records             Of JSON and XML: the names that lead to the list of records, or to the
                        element that is a record, like "data/products" or "channel/item".
    sheet               Of a workbook: the name of a sheet, or its number, counted from 1.

When the mapping is chosen automatically: the table ``[guess]``, with one of these
    columns             The header has all of these.
    starts              The header starts with these.
    width, cell, pattern
                        For files without a header: most of the first rows have ``width`` columns,
                        and column ``cell`` (counted from 0) matches the regular expression
                        ``pattern``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from schema.dialects import Dialect, DialectSettings
from schema.documents import parse_toml, read_limited
from schema.errors import MappingError
from schema.files import is_plain_name
from schema.settings import shown

MAX_MAPPING_BYTES = 1 << 20
SHIPPED_MAPPINGS = Path(__file__).parent / "mappings"

KEYS = frozenset(
    {
        "name",
        "description",
        "id",
        "title",
        "image",
        "category",
        "category_separator",
        "properties",
        "ignore",
        "packed",
        "multi",
        "missing",
        "language",
        "image_pattern",
        "image_folder",
        "encoding",
        "header",
        "columns",
        "delimiter",
        "quote",
        "escape",
        "records",
        "sheet",
        "guess",
    }
)


@dataclass(frozen=True)
class PackedColumn:
    """A column that holds many properties.

    ``pair`` separates a property from its value, ``item`` one such pair from the next.
    """

    column: str
    pair: str
    item: str


@dataclass(frozen=True)
class GuessRules:
    """When a mapping is chosen automatically; see the module's docstring."""

    columns: tuple[str, ...] = ()
    starts: tuple[str, ...] = ()
    width: int = 0
    cell: int = 0
    pattern: str | None = None


@dataclass(frozen=True)
class Head:
    """The first rows of a source, from which its mapping is guessed.

    ``named`` means that the format itself names the columns (JSON, Parquet): the first row is then
    certainly a header.
    """

    name: str
    rows: tuple[tuple[str, ...], ...]
    named: bool = False
    delimiter: str = ","
    header: bool = True
    """Whether the first row has the names of the columns, or looks as if."""
    dialect: Dialect | None = None
    """How a delimited text is written."""
    records: str = ""
    """The place of the records in a document of JSON or XML; "" is its top."""
    remarks: tuple[str, ...] = ()
    """What a person should know about how the source is read, each one line."""


@dataclass(frozen=True)
class Layout:
    """The columns of one source by their roles: a mapping resolved against that source."""

    id: str
    title: str | None
    category: tuple[str, ...]
    image: str | None
    properties: tuple[str, ...]
    ignored: tuple[str, ...]


@dataclass(frozen=True)
class Mapping:
    """How a source's columns become items and statements; see the module's docstring."""

    name: str
    id: tuple[str, ...]
    title: tuple[str, ...] = ()
    category: tuple[str, ...] = ()
    category_any: bool = False
    """Whether the names in ``category`` are alternatives rather than the levels of a path."""
    category_separator: str | None = None
    image: tuple[str, ...] = ()
    image_pattern: str | None = None
    image_folder: str | None = None
    properties: tuple[str, ...] | None = None
    """None stands for "*"."""
    ignore: tuple[str, ...] = ()
    packed: PackedColumn | None = None
    multi: str | None = None
    missing: frozenset[str] = frozenset()
    encoding: str | None = None
    header: bool | int | None = None
    """False if there is none, or the number of its line; None and True stand for any line."""
    columns: tuple[str, ...] = ()
    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    records: str | None = None
    sheet: str | int | None = None
    language: str | None = None
    description: str = ""
    optional: frozenset[str] = frozenset()
    """Roles that are given as a list of alternatives, all of which a source may lack."""
    guess: GuessRules | None = None

    def dialect_settings(self) -> DialectSettings:
        """Return what the mapping gives of the dialect of a delimited text."""
        return DialectSettings(self.encoding, self.delimiter, self.quote, self.escape, self.header)

    def resolve(self, columns: Sequence[str]) -> Layout:
        """Assign a source's columns to their roles.

        Raises MappingError if the source lacks a column that the mapping needs.
        """
        id_column = self._pick("id", self.id, columns)
        if id_column is None:
            raise MappingError(
                f"mapping {self.name!r} finds no id column among {_listed(columns)}: "
                'name one in a mapping file (`--mapping FILE.toml`, id = "...")'
            )
        title = self._pick("title", self.title, columns)
        image = self._pick("image", self.image, columns)
        if self.category_any:
            picked = self._pick("category", self.category, columns)
            category: tuple[str, ...] = (picked,) if picked else ()
        else:
            category = self.category
            self._require(category, columns)

        with_role = {id_column, title, image}
        if self.properties is None:
            with_role |= set(category)
        if self.packed:
            self._require((self.packed.column,), columns)
            with_role.add(self.packed.column)

        to_ignore = {_normalized(name) for name in self.ignore}
        ignored = tuple(
            column
            for column in columns
            if _normalized(column) in to_ignore and column not in with_role
        )
        if self.properties is None:
            properties = tuple(
                column for column in columns if column not in with_role and column not in ignored
            )
        else:
            properties = self.properties
            self._require(properties, columns)
        return Layout(id_column, title, category, image, properties, ignored)

    def _pick(self, role: str, names: tuple[str, ...], columns: Sequence[str]) -> str | None:
        """Return the column of a role, or None if it has none in this source."""
        if role not in self.optional:
            self._require(names, columns)
            return names[0] if names else None
        # Reversed, so that the first of several columns with the same normalized name wins.
        by_name = {_normalized(column): column for column in reversed(columns)}
        return next(
            (by_name[_normalized(name)] for name in names if _normalized(name) in by_name), None
        )

    def _require(self, names: Iterable[str], columns: Sequence[str]) -> None:
        lacking = [name for name in names if name not in columns]
        if lacking:
            raise MappingError(
                f"mapping {self.name!r} needs column {lacking[0]!r}; "
                f"the source has {_listed(columns)}: choose another with `--mapping`"
            )


@dataclass(frozen=True)
class Guess:
    """A guessed mapping and the reason for it."""

    mapping: Mapping
    reason: str


def shipped_mappings() -> list[str]:
    """Return the names of the mappings that come with Catalograph."""
    return sorted(path.stem for path in SHIPPED_MAPPINGS.glob("*.toml"))


@cache
def load_mapping(name: str) -> Mapping:
    """Load a shipped mapping by its name, or any other from the path of a TOML file."""
    path = SHIPPED_MAPPINGS / f"{name}.toml" if name in shipped_mappings() else Path(name)
    try:
        return parse_mapping(read_limited(path, MAX_MAPPING_BYTES).decode(), name)
    except (OSError, ValueError):
        raise MappingError(
            f"no mapping {name!r}: use one of {', '.join(shipped_mappings())}, or a TOML file"
        ) from None


def guess_mapping(head: Head) -> Guess:
    """Return the mapping that fits the first rows of a source, and why.

    Raises MappingError if none fits.
    """
    if not head.rows:
        raise MappingError(f"{head.name} is empty: it has no row to guess a mapping from")
    for name in shipped_mappings():
        mapping = load_mapping(name)
        reason = _reason_to_guess(mapping, head)
        if reason:
            return Guess(mapping, reason)

    columns = head.rows[0]
    has_header = head.header and (head.dialect or not any(map(_looks_like_data, columns)))
    if not head.named and not has_header:
        raise MappingError(
            f"{head.name} seems to have no header (its first row is {_listed(columns)}): "
            "name its columns in a mapping file (header = false, columns = [...])"
        )
    generic = load_mapping("generic")
    layout = generic.resolve(columns)
    return Guess(
        generic,
        f"no other mapping fits its columns; the id is {layout.id!r}, the title {layout.title!r}",
    )


def parse_mapping(text: str, name: str) -> Mapping:
    """Build a mapping from TOML; ``name`` is the file's, for error messages and as a default."""
    try:
        document = parse_toml(text)
        unknown = sorted(set(document) - KEYS)
        if unknown:
            raise MappingError(
                f"mapping {name} has an unknown key {shown(unknown[0])}: "
                f"use {', '.join(sorted(KEYS))}"
            )
        if "id" not in document:
            raise MappingError(f'mapping {name} names no id column: add id = "..."')
        return _build(document, name)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise MappingError(
            f"mapping {name} cannot be read ({error}): "
            "see schema/mappings/generic.toml for an example of the format"
        ) from None


def _build(document: dict[str, Any], name: str) -> Mapping:
    """Build a mapping from its keys.

    Raises ValueError, TypeError, AttributeError or KeyError if a value does not fit.
    """
    category = document.get("category", [])
    category_any = isinstance(category, dict)
    properties = document.get("properties", "*")
    packed = document.get("packed")

    optional = {role for role in ("id", "title", "image") if isinstance(document.get(role), list)}
    if category_any:
        optional.add("category")
    header = document.get("header")
    if header is not None and not isinstance(header, int):
        raise ValueError(f"header={shown(header)} is neither true nor false nor a line")

    mapping = Mapping(
        name=_text(document, "name") or Path(name).stem,
        id=_names(document["id"]),
        title=_names(document.get("title", [])),
        category=_names(category["any"] if category_any else category),
        category_any=category_any,
        category_separator=_text(document, "category_separator"),
        image=_names(document.get("image", [])),
        image_pattern=_image_pattern(document),
        image_folder=_image_folder(document),
        properties=None if properties == "*" else _names(properties),
        ignore=_names(document.get("ignore", [])),
        packed=_packed(packed) if packed else None,
        multi=_text(document, "multi"),
        missing=frozenset(_names(document.get("missing", []))),
        header=header,
        columns=_names(document.get("columns", [])),
        delimiter=_text(document, "delimiter"),
        quote=_text(document, "quote"),
        escape=_text(document, "escape"),
        encoding=_text(document, "encoding"),
        records=_text(document, "records"),
        sheet=_sheet(document),
        language=_text(document, "language"),
        description=_text(document, "description") or "",
        optional=frozenset(optional),
        guess=_guess_rules(document.get("guess", {})),
    )
    # Called for its error alone.
    mapping.dialect_settings()
    return mapping


def _text(document: dict[str, Any], key: str) -> str | None:
    """Return the text of a key, or None; raises ValueError if its value is no text."""
    value = document.get(key)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{key}={shown(value)} is no text")
    return value


def _sheet(document: dict[str, Any]) -> str | int | None:
    sheet = document.get("sheet")
    if sheet is None or isinstance(sheet, str):
        return sheet
    if type(sheet) is not int or sheet < 1:
        raise ValueError(f"sheet={shown(sheet)} is neither a name nor a number from 1")
    return sheet


def _image_pattern(document: dict[str, Any]) -> str | None:
    pattern = _text(document, "image_pattern")
    if pattern is not None and "{id}" not in pattern:
        raise ValueError(
            f'image_pattern={shown(pattern)} has no {{id}}: write it like "{{id}}.jpg"'
        )
    return pattern


def _image_folder(document: dict[str, Any]) -> str | None:
    """Return the folder of images, which a mapping can only name below that of the table."""
    folder = _text(document, "image_folder")
    if folder is not None and not all(map(is_plain_name, folder.rstrip("/").split("/"))):
        raise ValueError(
            f"image_folder={shown(folder)} is not a folder beside the table: name any other with "
            "--images"
        )
    return folder


def _packed(packed: dict[str, Any]) -> PackedColumn:
    keys = {key: _text(packed, key) or "" for key in ("column", "pair", "item")}
    empty = [key for key, value in keys.items() if not value]
    if empty:
        raise ValueError(f"packed has no {empty[0]}")
    return PackedColumn(**keys)


def _guess_rules(rules: dict[str, Any]) -> GuessRules | None:
    if not rules:
        return None
    pattern = _text(rules, "pattern")
    if pattern is not None:
        try:
            # Compiled for its error alone.
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"guess.pattern={shown(pattern)} is no pattern: {error}") from None
    width = rules.get("width", 0)
    cell = rules.get("cell", 0)
    for key, number in (("width", width), ("cell", cell)):
        if type(number) is not int or number < 0:
            raise ValueError(f"guess.{key}={shown(number)} is no number of columns")
    return GuessRules(
        columns=_names(rules.get("columns", [])),
        starts=_names(rules.get("starts", [])),
        width=width,
        cell=cell,
        pattern=pattern,
    )


def _reason_to_guess(mapping: Mapping, head: Head) -> str | None:
    """Return why a mapping's guessing rules fit the first rows of a source; None if they do not."""
    rules = mapping.guess
    if rules is None:
        return None
    header = head.rows[0]
    if rules.columns and set(rules.columns) <= set(header):
        return f"its header has {_listed(rules.columns)}"
    if rules.starts and header[: len(rules.starts)] == rules.starts:
        return f"its header starts with {_listed(rules.starts)}"

    same_delimiter = not mapping.delimiter or mapping.delimiter == head.delimiter
    if rules.pattern is None or head.named or not same_delimiter:
        return None
    cells = [row[rules.cell] for row in head.rows if rules.cell < len(row) == rules.width]
    matching = sum(bool(re.search(rules.pattern, cell)) for cell in cells)
    # More than half: a few malformed rows must not hide the format.
    if matching * 2 > len(head.rows):
        return f"it has {rules.width} columns and column {rules.cell + 1} holds {rules.pattern!r}"
    return None


def _names(value: str | list[str]) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else tuple(value)
    if not isinstance(value, str | list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{shown(value)} is neither a name nor a list of names")
    return names


def _normalized(name: str) -> str:
    """Return a column's name without the differences of spelling that do not matter."""
    return re.sub(r"[\s_\-]+", "", name).casefold()


def _looks_like_data(cell: str) -> bool:
    return bool(re.fullmatch(r"[-+]?\d[\d.,]*|https?://.*", cell.strip()))


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    listed = ", ".join(name[:40] for name in names[:8])
    return f"{listed} and {len(names) - 8} more" if len(names) > 8 else listed
