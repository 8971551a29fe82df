"""Mappings as TOML: what a guess is saved as, to be edited."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from schema.files import write_atomically
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

Table = dict[str, Any]


def mapping_document(mapping: Mapping) -> Table:
    """Return a mapping as the document that ``parse_mapping`` would read it from."""
    document: Table = {"name": mapping.name}
    _put(document, "about", mapping.about)
    for key in ("encoding", "delimiter", "sheet", "records"):
        _put(document, key, vars(mapping)[key])
    for key in ("quote", "escape", "header"):
        # Empty or false, each says that there is none.
        if vars(mapping)[key] is not None:
            document[key] = vars(mapping)[key]
    if mapping.columns:
        document["columns"] = list(mapping.columns)
    for role in ("id", "title", "description", "category", "images", "language_column"):
        _put(document, role, _role(mapping, role))
    if mapping.variants is not None and _is_plain_parent(mapping.variants):
        document["parent"] = _candidates(mapping.variants.parent, "parent" in mapping.optional)
    for key in ("category_separator", "category_multi", "image_pattern", "image_folder"):
        _put(document, key, vars(mapping)[key])
    document["properties"] = "*" if mapping.properties is None else list(mapping.properties)
    _put(document, "ignore", list(mapping.ignore))
    if mapping.multi is not None:
        # Empty, it says that no cell is ever split.
        document["multi"] = mapping.multi
    _put(document, "missing", sorted(mapping.missing))
    _put(document, "language", mapping.language)
    _put(document, "locale", mapping.locale)
    _put(document, "packed", [_packed(each) for each in mapping.packed])
    _put(document, "pairs", [_pairs(each) for each in mapping.pairs])
    if mapping.triples is not None:
        document["triples"] = _triples(mapping.triples)
    if mapping.variants is not None and not _is_plain_parent(mapping.variants):
        document["variants"] = _variants(mapping.variants)
    _put(document, "languages", _languages(mapping.languages))
    _put(document, "column", {name: _settings(said) for name, said in mapping.settings})
    _put(document, "guess", [_guess(rules) for rules in mapping.guess])
    return document


def mapping_toml(mapping: Mapping, remarks: tuple[str, ...] = ()) -> str:
    """Return a mapping as TOML, with remarks as comments above it."""
    import tomli_w

    comments = "".join(f"# {line}\n" for remark in remarks for line in remark.splitlines())
    return comments + tomli_w.dumps(mapping_document(mapping))


def write_mapping(mapping: Mapping, path: Path, remarks: tuple[str, ...] = ()) -> None:
    """Save a mapping as a TOML file, with remarks as comments above it."""
    write_atomically(path, mapping_toml(mapping, remarks).encode())


def _put(document: Table, key: str, value: Any) -> None:
    if value not in (None, "", [], {}):
        document[key] = value


def _candidates(names: tuple[str, ...], optional: bool) -> str | list[str]:
    return list(names) if optional or len(names) != 1 else names[0]


def _role(mapping: Mapping, role: str) -> Any:
    names: tuple[str, ...] = vars(mapping)[role]
    if role in mapping.each_row:
        return {"each_row": list(names)}
    if role == "category" and mapping.category_any:
        return {"any": list(names)}
    if not names:
        # An empty list of alternatives and no role at all mean the same.
        return None
    return _candidates(names, role in mapping.optional)


def _is_plain_parent(variants: Variants) -> bool:
    return variants == Variants(parent=variants.parent)


def _packed(packed: PackedColumn) -> Table:
    if packed.json:
        return {"column": packed.column, "format": "json"}
    table: Table = {"column": packed.column, "pair": packed.pair, "item": packed.item}
    _put(table, "multi", packed.multi)
    if packed.parts != 2:
        table["parts"] = packed.parts
    if packed.position:
        table["position"] = True
    return table


def _pairs(pairs: PairColumns) -> Table:
    table: Table = {}
    for key in ("list", "name", "value", "unit", "multi"):
        _put(table, key, vars(pairs)[key])
    if pairs.quoted:
        table["quoted"] = True
    return table


def _triples(triples: TripleColumns) -> Table:
    table: Table = {}
    for key, names in vars(triples).items():
        _put(table, key, list(names))
    return table


def _variants(variants: Variants) -> Table:
    table: Table = {}
    for key in ("group", "parent", "id", "columns"):
        _put(table, key, list(vars(variants)[key]))
    _put(table, "list", variants.list)
    _put(table, "packed", variants.packed)
    _put(table, "axes", [_pairs(axis) for axis in variants.axes])
    _put(table, "references", dict(variants.references))
    for key, usual in (("pair", "="), ("item", ","), ("variant", "|")):
        if vars(variants)[key] != usual:
            table[key] = vars(variants)[key]
    return table


def _languages(languages: LanguageNames) -> Table:
    table: Table = {}
    _put(table, "columns", list(languages.columns))
    _put(table, "tag", list(languages.tags))
    _put(table, "value", list(languages.values))
    _put(table, "codes", languages.codes)
    return table


def _settings(settings: ColumnSettings) -> Table:
    table: Table = {}
    for key, value in vars(settings).items():
        if key == "missing" and value is not None:
            table[key] = sorted(value)
        elif value is not None:
            table[key] = value
    return table


def _guess(rules: GuessRules) -> Table:
    table: Table = {}
    for key in ("columns", "any", "starts"):
        _put(table, key, list(vars(rules)[key]))
    if rules.pattern is not None:
        table |= {"width": rules.width, "cell": rules.cell, "pattern": rules.pattern}
    return table
