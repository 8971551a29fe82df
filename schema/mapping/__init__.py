"""Mappings: how the columns or records of a source become items and statements.

A mapping is data, not code: one TOML file. To ship one with Catalograph, put ``NAME.toml`` into
``schema/mappings/``; nothing else has to change. ``catalograph ingest --mapping FILE.toml`` reads
any other. Without ``--mapping``, the first shipped mapping, in alphabetical order, whose
``[guess]`` rules fit the source is used, and ``generic`` if none fits. docs/mappings.md explains
every key with examples.

A complete mapping of a table with the columns ``sku, name, department, photo, colours,
internal_note``::

    name = "my-shop"               # the same as the file's name
    about = "Export of my shop."
    id = "sku"
    title = "name"
    category = "department"
    category_separator = "/"
    images = "photo"
    ignore = ["internal_note"]     # "colours" remains, and is a property
    multi = ","
    missing = ["n/a", "-"]
    [[guess]]
    columns = ["sku", "department", "colours"]

Only ``id`` is required (or ``[triples]``).
"""

from schema.mapping.absent import absent_column, absent_names
from schema.mapping.evidence import Sample
from schema.mapping.guess import Guess, adapt_mapping, guess_mapping, sample_of
from schema.mapping.model import (
    BRACKETS,
    VARIANT_OF,
    ColumnSettings,
    GuessRules,
    Head,
    LanguageNames,
    Mapping,
    PackedColumn,
    PairColumns,
    TripleColumns,
    Variants,
)
from schema.mapping.parse import KEYS, is_shipped, load_mapping, parse_mapping, shipped_mappings
from schema.mapping.resolve import Layout, resolve, with_choice
from schema.mapping.write import mapping_document, mapping_toml, write_mapping

__all__ = [
    "BRACKETS",
    "KEYS",
    "VARIANT_OF",
    "ColumnSettings",
    "Guess",
    "GuessRules",
    "Head",
    "LanguageNames",
    "Layout",
    "Mapping",
    "PackedColumn",
    "PairColumns",
    "Sample",
    "TripleColumns",
    "Variants",
    "absent_column",
    "absent_names",
    "adapt_mapping",
    "guess_mapping",
    "is_shipped",
    "load_mapping",
    "mapping_document",
    "mapping_toml",
    "parse_mapping",
    "resolve",
    "sample_of",
    "shipped_mappings",
    "with_choice",
    "write_mapping",
]
