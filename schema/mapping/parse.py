"""Mappings from TOML, with errors of one line that say what to write instead."""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Mapping as Table
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from schema.documents import parse_toml, read_limited
from schema.errors import MappingError
from schema.files import is_plain_name
from schema.locales import find_locale
from schema.mapping.model import (
    ColumnSettings,
    GuessRules,
    LanguageNames,
    Mapping,
    PackedColumn,
    PairColumns,
    TripleColumns,
    Variants,
)
from schema.mapping.names import check_pattern, is_pattern
from schema.settings import shown

MAX_MAPPING_BYTES = 1 << 20
SHIPPED_MAPPINGS = Path(__file__).parents[1] / "mappings"

ROLES = ("id", "title", "description", "category", "images", "parent", "language_column")
KEYS = frozenset(
    {
        *ROLES,
        "name",
        "about",
        "image",
        "category_separator",
        "category_multi",
        "properties",
        "ignore",
        "packed",
        "pairs",
        "triples",
        "variants",
        "languages",
        "column",
        "multi",
        "missing",
        "language",
        "locale",
        "image_pattern",
        "image_folder",
        "encoding",
        "delimiter",
        "quote",
        "escape",
        "header",
        "columns",
        "sheet",
        "records",
        "guess",
    }
)
DATATYPES = ("string", "text", "identifier", "integer", "decimal", "quantity", "boolean", "date")

PartT = TypeVar("PartT")


def shipped_mappings() -> list[str]:
    """Return the names of the mappings that come with Catalograph."""
    return list(_shipped())


@cache
def _shipped() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in SHIPPED_MAPPINGS.glob("*.toml")))


def load_mapping(name: str) -> Mapping:
    """Load a shipped mapping by its name, or any other from the path of a TOML file."""
    if name in _shipped():
        return _load_shipped(name)
    # Not kept, because its file may be edited while a program runs.
    return _load(Path(name), name)


def is_shipped(mapping: Mapping) -> bool:
    """Return whether a mapping is one that comes with Catalograph, as it comes."""
    return mapping.name in _shipped() and mapping == load_mapping(mapping.name)


@cache
def _load_shipped(name: str) -> Mapping:
    return _load(SHIPPED_MAPPINGS / f"{name}.toml", name)


def _load(path: Path, name: str) -> Mapping:
    try:
        return parse_mapping(read_limited(path, MAX_MAPPING_BYTES).decode(), name)
    except (OSError, ValueError):
        raise MappingError(
            f"no mapping {name!r}: use one of {', '.join(shipped_mappings())}, or a TOML file"
        ) from None


def parse_mapping(text: str, name: str) -> Mapping:
    """Build a mapping from TOML; ``name`` is the file's, for error messages and as a default.

    Raises MappingError if a key is unknown, or a value is not what its key takes.
    """
    try:
        document = parse_toml(text)
        unknown = sorted(set(document) - KEYS)
        if unknown:
            raise MappingError(
                f"mapping {name} has an unknown key {shown(unknown[0])}: "
                f"use {', '.join(sorted(KEYS))}"
            )
        if "id" not in document and "triples" not in document:
            raise MappingError(f'mapping {name} names no id column: add id = "..."')
        return _build(document, name)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise MappingError(
            f"mapping {name} cannot be read ({error}): "
            "docs/mappings.md explains the keys, and schema/mappings/generic.toml is an example"
        ) from None


class _Roles:
    """The roles of a document: their names, which of them a source may lack, and how they are
    chosen."""

    def __init__(self, document: Table[str, Any]) -> None:
        self.names: dict[str, tuple[str, ...]] = {}
        self.optional: set[str] = set()
        self.each_row: set[str] = set()
        for role in ROLES:
            self._add(role, document.get(role, []))
        if "image" in document:
            if "images" in document:
                raise ValueError("image and images mean the same: keep one of them")
            self._add("images", document["image"])

    def _add(self, role: str, value: Any) -> None:
        if isinstance(value, dict):
            _check_keys(role, value, ("any", "each_row"))
            if len(value) != 1:
                raise ValueError(f'{role}={shown(value)} is neither any = ["..."] nor each_row')
            if "each_row" in value:
                self.each_row.add(role)
            value = next(iter(value.values()))
            self.optional.add(role)
        elif isinstance(value, list) and role != "category":
            self.optional.add(role)
        self.names[role] = _names(value, role)
        if any(is_pattern(name) for name in self.names[role]):
            self.optional.add(role)


def _build(document: dict[str, Any], name: str) -> Mapping:
    """Build a mapping from its keys.

    Raises ValueError, TypeError, AttributeError or KeyError if a value does not fit.
    """
    roles = _Roles(document)
    properties = document.get("properties", "*")
    header = document.get("header")
    if header is not None and not isinstance(header, int):
        raise ValueError(f"header={shown(header)} is neither true, false nor the header's line")
    columns = document.get("columns", [])
    settings = dict(document.get("column", {}))
    if isinstance(columns, dict):
        # `[columns."NAME"]` says something about a column, `columns = [...]` names them all.
        settings |= columns
        columns = []

    mapping = Mapping(
        name=_text(document, "name") or Path(name).stem,
        id=roles.names["id"],
        title=roles.names["title"],
        description=roles.names["description"],
        category=roles.names["category"],
        category_any=isinstance(document.get("category"), dict),
        category_separator=_text(document, "category_separator"),
        category_multi=_text(document, "category_multi"),
        images=roles.names["images"],
        image_pattern=_image_pattern(document),
        image_folder=_image_folder(document),
        language_column=roles.names["language_column"],
        properties=None if properties == "*" else _names(properties, "properties"),
        ignore=_names(document.get("ignore", []), "ignore"),
        packed=_each(document, "packed", _packed),
        pairs=_each(document, "pairs", _pairs),
        triples=_triples(document["triples"]) if "triples" in document else None,
        variants=_variants(document.get("variants"), roles.names["parent"]),
        languages=_languages(document.get("languages", {})),
        settings=tuple((column, _settings(column, said)) for column, said in settings.items()),
        multi=_text(document, "multi"),
        missing=frozenset(_names(document.get("missing", []), "missing")),
        language=_text(document, "language"),
        locale=_locale(document),
        encoding=_text(document, "encoding"),
        header=header,
        columns=_names(columns, "columns"),
        delimiter=_text(document, "delimiter"),
        quote=_text(document, "quote"),
        escape=_text(document, "escape"),
        sheet=_sheet(document),
        records=_text(document, "records"),
        about=_text(document, "about") or "",
        optional=frozenset(roles.optional),
        each_row=frozenset(roles.each_row),
        guess=_each(document, "guess", _guess_rules),
    )
    # Called for its error alone.
    mapping.dialect_settings()
    return mapping


def _each(document: dict[str, Any], key: str, build: Callable[[Any], PartT]) -> tuple[PartT, ...]:
    """Build the parts of a key that holds one table or a list of them."""
    value = document.get(key, [])
    tables = value if isinstance(value, list) else [value]
    for table in tables:
        if not isinstance(table, dict):
            raise ValueError(f"{key}={shown(value)} is no table: write [{key}] or [[{key}]]")
    return tuple(build(table) for table in tables if table)


def _check_keys(key: str, table: dict[str, Any], known: tuple[str, ...]) -> None:
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise ValueError(f"{key} has an unknown key {shown(unknown[0])}: use {', '.join(known)}")


def _text(document: dict[str, Any], key: str) -> str | None:
    """Return the text of a key, or None; raises ValueError if its value is no text."""
    value = document.get(key)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{key}={shown(value)} is no text")
    return value


def _required(document: dict[str, Any], key: str, where: str) -> str:
    value = _text(document, key)
    if not value:
        raise ValueError(f"{where} has no {key}")
    check_pattern(value)
    return value


def _name(document: dict[str, Any], key: str) -> str | None:
    """Return the name or pattern of a column, or None."""
    value = _text(document, key)
    if value is not None:
        check_pattern(value)
    return value


def _flag(document: dict[str, Any], key: str) -> bool | None:
    value = document.get(key)
    if value is not None and not isinstance(value, bool):
        raise ValueError(f"{key}={shown(value)} is neither true nor false")
    return value


def _locale(document: dict[str, Any]) -> str | None:
    """Return the tag of a locale, or None; raises ValueError if there is no such locale."""
    locale = _text(document, "locale")
    if locale is not None:
        # Called for its error alone.
        find_locale(locale)
    return locale


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


def _packed(table: dict[str, Any]) -> PackedColumn:
    _check_keys("packed", table, ("column", "pair", "item", "multi", "parts", "position", "format"))
    column = _required(table, "column", "packed")
    style = table.get("format", "pairs")
    if style not in ("pairs", "json"):
        raise ValueError(f'packed.format={shown(style)} is neither "pairs" nor "json"')
    if style == "json":
        return PackedColumn(column, json=True)
    parts = table.get("parts", 2)
    if parts not in (2, 3) or isinstance(parts, bool):
        raise ValueError(f"packed.parts={shown(parts)} is neither 2 nor 3 (section, name, value)")
    return PackedColumn(
        column,
        pair=_required(table, "pair", "packed"),
        item=_required(table, "item", "packed"),
        multi=_text(table, "multi"),
        parts=parts,
        position=_flag(table, "position") or False,
    )


def _pairs(table: dict[str, Any]) -> PairColumns:
    _check_keys("pairs", table, ("name", "value", "unit", "list", "multi", "quoted"))
    return PairColumns(
        name=_required(table, "name", "pairs"),
        value=_required(table, "value", "pairs"),
        unit=_name(table, "unit"),
        list=_name(table, "list"),
        multi=_text(table, "multi"),
        quoted=_flag(table, "quoted") or False,
    )


def _triples(table: Any) -> TripleColumns:
    if not isinstance(table, dict):
        raise ValueError(f"triples={shown(table)} is no table: write [triples]")
    _check_keys("triples", table, ("item", "property", "value", "language", "unit"))
    names = {
        key: _names(table.get(key, []), f"triples.{key}")
        for key in ("item", "property", "value", "language", "unit")
    }
    lacking = [key for key in ("item", "property", "value") if not names[key]]
    if lacking:
        raise ValueError(f"triples has no {lacking[0]}")
    return TripleColumns(**names)


def _variants(table: Any, parent: tuple[str, ...]) -> Variants | None:
    if table is None:
        return Variants(parent=parent) if parent else None
    if not isinstance(table, dict):
        raise ValueError(f"variants={shown(table)} is no table: write [variants]")
    keys = ("group", "parent", "list", "packed", "id", "columns", "axes", "references")
    _check_keys("variants", table, (*keys, "pair", "item", "variant"))
    if parent and "parent" in table:
        raise ValueError("parent and variants.parent mean the same: keep one of them")
    kinds = [kind for kind in ("group", "parent", "list", "packed") if kind in table]
    kinds += ["parent"] * bool(parent)
    if not kinds:
        raise ValueError("variants has none of group, parent, list, packed")
    references = table.get("references", {})
    if not isinstance(references, dict):
        raise ValueError(f"variants.references={shown(references)} is no table")
    return Variants(
        group=_names(table.get("group", []), "variants.group"),
        parent=parent or _names(table.get("parent", []), "variants.parent"),
        list=_name(table, "list"),
        packed=_name(table, "packed"),
        id=_names(table.get("id", []), "variants.id"),
        columns=_names(table.get("columns", []), "variants.columns"),
        axes=_each(table, "axes", _pairs),
        references=tuple(
            (prefix, _required(references, prefix, "variants.references")) for prefix in references
        ),
        pair=_text(table, "pair") or "=",
        item=_text(table, "item") or ",",
        variant=_text(table, "variant") or "|",
    )


def _languages(table: Any) -> LanguageNames:
    if not isinstance(table, dict):
        raise ValueError(f"languages={shown(table)} is no table: write [languages]")
    _check_keys("languages", table, ("columns", "tag", "value", "codes"))
    columns = _names(table.get("columns", []), "languages.columns")
    for pattern in columns:
        if "{language}" not in pattern:
            raise ValueError(f"languages.columns={shown(pattern)} has no {{language}}")
        if any(pattern.count(f"{{{part}}}") > 1 for part in ("name", "language", "scope")):
            raise ValueError(f"languages.columns={shown(pattern)} has a part twice")
    codes = table.get("codes", {})
    if not isinstance(codes, dict) or not all(isinstance(each, str) for each in codes.values()):
        raise ValueError(f"languages.codes={shown(codes)} does not say what each code stands for")
    return LanguageNames(
        columns=columns,
        tags=_names(table.get("tag", []), "languages.tag"),
        values=_names(table.get("value", []), "languages.value"),
        codes=codes,
    )


def _settings(column: str, table: Any) -> ColumnSettings:
    where = f"columns.{shown(column)}"
    check_pattern(column)
    if not isinstance(table, dict):
        raise ValueError(f"{where}={shown(table)} is no table: write [columns.{shown(column)}]")
    _check_keys(where, table, tuple(ColumnSettings.__dataclass_fields__))
    datatype = _text(table, "datatype")
    if datatype is not None and datatype not in DATATYPES:
        raise ValueError(f"{where}.datatype={shown(datatype)} is none of {', '.join(DATATYPES)}")
    missing = table.get("missing")
    return ColumnSettings(
        property=_text(table, "property"),
        unit=_name(table, "unit"),
        unit_column=_name(table, "unit_column"),
        multi=_text(table, "multi"),
        quoted=_flag(table, "quoted"),
        missing=None if missing is None else frozenset(_names(missing, f"{where}.missing")),
        html=_flag(table, "html"),
        language=_text(table, "language"),
        datatype=datatype,
        locale=_locale(table),
    )


def _guess_rules(rules: dict[str, Any]) -> GuessRules:
    known = ("columns", "any", "starts", "width", "cell", "pattern")
    _check_keys("guess", rules, known)
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
        columns=_names(rules.get("columns", []), "guess.columns"),
        any=_names(rules.get("any", []), "guess.any"),
        starts=_names(rules.get("starts", []), "guess.starts"),
        width=width,
        cell=cell,
        pattern=pattern,
    )


def _names(value: Any, key: str) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else tuple(value)
    if not isinstance(value, str | list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{key}={shown(value)} is neither a name nor a list of names")
    for name in names:
        check_pattern(name)
    return names
