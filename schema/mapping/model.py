"""The parts of a mapping; the package's docstring explains what each key does."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from schema.dialects import DialectSettings
from schema.mapping.names import captured, matches, normalized

VARIANT_OF = "variant of"
"""The property that leads from a variant to the product that it varies."""

BRACKETS = "[]"
"""``multi`` of a column whose cells are lists as JSON or Python writes them: ["a", "b"]."""


@dataclass(frozen=True)
class PackedColumn:
    """A column that holds many properties.

    ``pair`` separates a property from its value, ``item`` one such pair from the next, and
    ``multi`` the values of one property. With three ``parts`` a pair is section, name and value.
    With ``position`` numbers follow a value that are no part of it: its place, and a flag. With
    ``json`` a cell is a JSON object or a list of such, and needs no separators.
    """

    column: str
    pair: str = ""
    item: str = ""
    multi: str | None = None
    parts: int = 2
    json: bool = False
    position: bool = False


@dataclass(frozen=True)
class PairColumns:
    """Columns of which one names a property and another holds its value, and perhaps its unit.

    ``{n}`` in the names numbers several such pairs. In records, ``list`` is the path of a list, and
    the names are those of the members of its elements.
    """

    name: str
    value: str
    unit: str | None = None
    list: str | None = None
    multi: str | None = None
    quoted: bool = False


@dataclass(frozen=True)
class TripleColumns:
    """The columns of a long table, of which each row states one value of one item."""

    item: tuple[str, ...]
    property: tuple[str, ...]
    value: tuple[str, ...]
    language: tuple[str, ...] = ()
    unit: tuple[str, ...] = ()


@dataclass(frozen=True)
class ColumnSettings:
    """What a mapping says about the values of a column; None where it says nothing."""

    property: str | None = None
    unit: str | None = None
    unit_column: str | None = None
    multi: str | None = None
    quoted: bool | None = None
    missing: frozenset[str] | None = None
    html: bool | None = None
    language: str | None = None
    datatype: str | None = None
    locale: str | None = None


@dataclass(frozen=True)
class LanguageNames:
    """How texts in several languages are told apart.

    ``columns`` are patterns of column names; ``tags`` and ``values`` the names of the members that
    hold the language and the text within records; ``codes`` what the codes of a source stand for,
    where "" is the leading language.
    """

    columns: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    codes: dict[str, str] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash((self.columns, self.tags, self.values, tuple(sorted(self.codes.items()))))


@dataclass(frozen=True)
class Variants:
    """How the variants of a product are written.

    Exactly one of ``group`` (the column that is the same in all rows of a product), ``parent`` (the
    column with the parent's id), ``list`` (the path of a list within a product's record) and
    ``packed`` (a column of the parent that holds its variants) is set.

    ``id`` are the columns or members with a variant's own id; ``columns`` those that belong to the
    variant in a row that holds product and variant; ``axes`` the names of what varies, by the
    column that holds the value of the same number. ``references`` are the columns that a parent's
    id may be written by, by the prefix of such a reference.
    """

    group: tuple[str, ...] = ()
    parent: tuple[str, ...] = ()
    list: str | None = None
    packed: str | None = None
    id: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    axes: tuple[PairColumns, ...] = ()
    references: tuple[tuple[str, str], ...] = ()
    pair: str = "="
    item: str = ","
    variant: str = "|"


@dataclass(frozen=True)
class GuessRules:
    """When a mapping is chosen automatically; see the package's docstring."""

    columns: tuple[str, ...] = ()
    any: tuple[str, ...] = ()
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
    nested: bool = False
    """Whether the rows are nested records."""
    header_found: bool = False
    """Whether the header was looked for among the rows, so that ``header`` is not in doubt."""
    records: str = ""
    """The place of the records in a document of JSON or XML; "" is its top."""
    remarks: tuple[str, ...] = ()
    """What a person should know about how the source is read, each one line."""


@dataclass(frozen=True)
class Mapping:
    """How a source's columns become items and statements; see the package's docstring."""

    name: str
    id: tuple[str, ...]
    title: tuple[str, ...] = ()
    description: tuple[str, ...] = ()
    category: tuple[str, ...] = ()
    category_any: bool = False
    """Whether the names in ``category`` are alternatives rather than the levels of a path."""
    category_separator: str | None = None
    category_multi: str | None = None
    images: tuple[str, ...] = ()
    image_pattern: str | None = None
    image_folder: str | None = None
    language_column: tuple[str, ...] = ()
    properties: tuple[str, ...] | None = None
    """None stands for "*"."""
    ignore: tuple[str, ...] = ()
    packed: tuple[PackedColumn, ...] = ()
    pairs: tuple[PairColumns, ...] = ()
    triples: TripleColumns | None = None
    variants: Variants | None = None
    languages: LanguageNames = LanguageNames()
    settings: tuple[tuple[str, ColumnSettings], ...] = ()
    """What is said about single columns, by their names or patterns; the first that fits holds."""
    multi: str | None = None
    missing: frozenset[str] = frozenset()
    language: str | None = None
    locale: str | None = None
    encoding: str | None = None
    header: bool | int | None = None
    """False if there is none, or the number of its line; None and True stand for any line."""
    columns: tuple[str, ...] = ()
    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    sheet: str | int | None = None
    records: str | None = None
    about: str = ""
    optional: frozenset[str] = frozenset()
    """Roles that are given as a list of alternatives, all of which a source may lack."""
    each_row: frozenset[str] = frozenset()
    """Roles whose alternatives are tried anew in each row: the first that is filled counts."""
    guess: tuple[GuessRules, ...] = ()

    def dialect_settings(self) -> DialectSettings:
        """Return what the mapping gives of the dialect of a delimited text."""
        return DialectSettings(self.encoding, self.delimiter, self.quote, self.escape, self.header)

    def settings_of(self, column: str) -> ColumnSettings:
        """Return what the mapping says about a column's values."""
        found = ColumnSettings()
        for name, settings in self.settings:
            if name == column or matches(column, name):
                found = _merged(found, _for_column(settings, column, name))
        return found

    def with_ignored(self, columns: tuple[str, ...]) -> Mapping:
        """Return the mapping with further columns left out."""
        known = {normalized(name) for name in self.ignore}
        new = tuple(name for name in columns if normalized(name) not in known)
        return replace(self, ignore=self.ignore + new)

    @property
    def may_describe_itself(self) -> bool:
        """Whether ``description`` may be a text about the mapping, as before ``about`` was one."""
        if "description" in self.optional or self.about or not self.description:
            return False
        return " " in self.description[0]

    @property
    def may_repeat_ids(self) -> bool:
        """Whether several rows may belong to one item."""
        grouped = self.variants is not None and bool(self.variants.group or self.variants.packed)
        return self.triples is not None or grouped or bool(self.language_column)


def _for_column(settings: ColumnSettings, column: str, pattern: str) -> ColumnSettings:
    """Return settings with the parts of the column's name in the property's: "{1}" and so on."""
    name = settings.property
    if name is None or "{" not in name:
        return settings
    for number, part in enumerate(captured(column, pattern), 1):
        name = name.replace(f"{{{number}}}", part.strip())
    return replace(settings, property=column if "{" in name else name)


def _merged(first: ColumnSettings, second: ColumnSettings) -> ColumnSettings:
    """Return the settings of the first, and of the second where the first says nothing."""
    values = {}
    for name, value in vars(first).items():
        values[name] = vars(second)[name] if value is None else value
    return ColumnSettings(**values)
