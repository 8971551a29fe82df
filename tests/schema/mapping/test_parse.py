"""Mappings from TOML: what is read, and what is refused with one line."""

import re
import textwrap
from pathlib import Path

import pytest

import schema.mapping
from schema.errors import MappingError
from schema.mapping import (
    KEYS,
    GuessRules,
    load_mapping,
    mapping_toml,
    parse_mapping,
    resolve,
    shipped_mappings,
)

DOCUMENTATION = Path(__file__).parents[3] / "docs" / "mappings.md"


@pytest.mark.parametrize("name", shipped_mappings())
def test_every_shipped_mapping_is_named_like_its_file(name):
    assert load_mapping(name).name == name
    assert load_mapping(name).about


def test_an_unknown_mapping_lists_the_shipped_ones():
    with pytest.raises(MappingError, match="fashion-product-images, generic, google-merchant"):
        load_mapping("nonesuch")


def test_a_mapping_can_be_a_file(tmp_path):
    (tmp_path / "mine.toml").write_text('id = "nr"\nproperties = ["hue"]')
    assert resolve(load_mapping(str(tmp_path / "mine.toml")), ["nr", "hue", "x"]).properties == (
        "hue",
    )


@pytest.mark.parametrize(
    "text",
    ["[", 'title = "x"', 'id = "x"\ncolour = 1', 'id = "x"\n[packed]\ncolumn = "y"', "id = 3"],
)
def test_an_invalid_mapping_file_is_refused(text):
    with pytest.raises(MappingError):
        parse_mapping(text, "mine")


def test_every_key_is_documented():
    documentation = DOCUMENTATION.read_text(encoding="utf-8")
    assert [key for key in sorted(KEYS) if not re.search(rf"\b{key}\b", documentation)] == []


def test_the_documented_example_works():
    example = schema.mapping.__doc__.partition("::\n")[2].partition("Only ``id``")[0]
    mapping = parse_mapping(textwrap.dedent(example), "my-shop")
    columns = ["sku", "name", "department", "photo", "colours", "internal_note"]
    layout = resolve(mapping, columns)
    assert (layout.id, layout.properties) == (("sku",), ("colours",))
    assert mapping.guess == (GuessRules(columns=("sku", "department", "colours")),)


NO_MAPPINGS = [
    "id = 5",
    "id = [5]",
    "id = {}",
    'id = ["a", ["b"]]',
    'id = "a"\ntitle = 5',
    'id = "a"\ncategory = 5',
    'id = "a"\ncategory = {}',
    'id = "a"\ncategory = {any = 5}',
    'id = "a"\nproperties = 5',
    'id = "a"\npacked = 5',
    'id = "a"\npacked = {column = "a"}',
    'id = "a"\npacked = {column = "a", pair = "", item = ";"}',
    'id = "a"\nmulti = 5',
    'id = "a"\nmissing = 5',
    'id = "a"\nmissing = [[]]',
    'id = "a"\nheader = "no"',
    'id = "a"\ncolumns = [1, 2]',
    'id = "a"\ndelimiter = ""',
    'id = "a"\ndelimiter = "-----------"',
    'id = "a"\nencoding = "base64"',
    'id = "a"\nescape = ","\ndelimiter = ","',
    'id = "a"\nquote = "\\"\\""',
    'id = "a"\nquote = 5',
    'id = "a"\nlanguage = []',
    'id = "a"\nname = 5',
    'id = "a"\nguess = 5',
    'id = "a"\nguess = {pattern = "("}',
    'id = "a"\nguess = {width = "2"}',
    f'id = "a"\nguess = {{pattern = "{"(" * 5000}"}}',
    'id = "a"\nguess = {pattern = "a{99999999999999999999}"}',
    'id = "a"\nimages = "*a*a*a*a*a*"',
    'id = "a"\n[columns."*a*a*a*a*a*"]\nunit = "g"',
    'id = "a"\nlanguages = {columns = ["{language}{language}"]}',
    'id = "a"\nimage_pattern = "{id.__class__}"',
    'id = "a"\nimage_pattern = "{id:>1000000000}"',
    'id = "a"\nimage_folder = "/etc"',
    'id = "a"\nimage_folder = "a/../../b"',
    'id = "a"\nimage_folder = "a\\u0000"',
    'id = "a"\nid = "b"',
    "id = " + "[" * 100_000,
    "id",
    "\ud800",
    'id = "a"\nabout = 5',
    'id = "a"\ndescription = 5',
    'id = {first = ["a"]}',
    'id = {any = ["a"], each_row = ["b"]}',
    'id = "a"\nimage = "b"\nimages = "c"',
    'id = "a"\nheader = 0',
    'id = "a"\nsheet = 0',
    'id = "a"\nescape = "ab"',
    'id = "a"\nencoding = 5',
    'id = "a"\npacked = [5]',
    'id = "a"\npacked = {column = "a", pair = ":", item = ";", parts = 4}',
    'id = "a"\npacked = {column = "a", format = "xml"}',
    'id = "a"\npairs = {name = "b"}',
    'id = "a"\npairs = {name = "b", value = "c", quoted = 1}',
    'triples = {item = "a", property = "b"}',
    "triples = 5",
    'id = "a"\nvariants = {id = "b"}',
    'id = "a"\nvariants = {parent = "b", references = 5}',
    'id = "a"\nparent = "b"\nvariants = {parent = "c"}',
    'id = "a"\nlanguages = {columns = ["name"]}',
    'id = "a"\nlanguages = {codes = {us = 5}}',
    'id = "a"\n[columns.b]\ndatatype = "colour"',
    'id = "a"\n[columns.b]\nunits = "kg"',
    'id = "a"\n[column]\nb = 5',
    'id = "a"\nguess = {colums = ["a"]}',
]


@pytest.mark.parametrize("line", NO_MAPPINGS, ids=range(len(NO_MAPPINGS)))
def test_a_mapping_of_anything_is_one_line(tmp_path, line):
    path = tmp_path / "m.toml"
    path.write_bytes(line.encode(errors="surrogatepass"))
    with pytest.raises(MappingError) as caught:
        load_mapping(str(path))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


def test_a_mapping_without_end_is_not_read_whole():
    with pytest.raises(MappingError, match="no mapping '/dev/zero'"):
        load_mapping("/dev/zero")


@pytest.mark.parametrize("name", shipped_mappings())
def test_a_mapping_that_is_saved_reads_as_it_was(name):
    mapping = load_mapping(name)
    assert parse_mapping(mapping_toml(mapping), name) == mapping


EVERYTHING = """
name = "all"
about = "Every key."
encoding = "cp1252"
delimiter = ";"
quote = "'"
escape = "!"
header = 3
sheet = 2
records = "channel/item"
id = { each_row = ["SKU", "ID"] }
title = ["a", "b"]
description = "d"
category = ["c1", "c2"]
category_separator = ">"
category_multi = ","
images = ["image_{n}", "gallery"]
image_pattern = "{id}.jpg"
image_folder = "images"
language_column = ["locale"]
properties = ["p"]
ignore = ["x*"]
multi = "|"
missing = ["-"]
language = "en"
locale = "en-US"

[[packed]]
column = "q"
pair = "="
item = ","
multi = "|"
parts = 3

[[packed]]
column = "j"
format = "json"

[[pairs]]
list = "F"
name = "n"
value = "v"
unit = "u"
quoted = true

[triples]
item = "i"
property = ["p"]
value = "v"
language = "l"
unit = "u"

[variants]
group = "Handle"
id = ["sku"]
columns = ["Variant *"]
axes = [{ name = "n{n}", value = "v{n}" }]
references = { "id:" = "ID" }
pair = ":"

[languages]
columns = ["{name}-{language}"]
tag = "tag"
value = "text"
codes = { us = "en" }

[columns."W*"]
property = "w"
unit = "kg"
unit_column = "{name}-unit"
multi = ""
quoted = true
missing = ["0"]
html = false
language = "de"
datatype = "quantity"
locale = "de-DE"

[[guess]]
columns = ["a"]
any = ["b", "c"]

[[guess]]
width = 5
cell = 1
pattern = "x"
"""


def test_every_key_survives_saving():
    mapping = parse_mapping(EVERYTHING, "all")
    assert parse_mapping(mapping_toml(mapping, ("why: because",)), "all") == mapping
    assert mapping_toml(mapping, ("a\nb",)).startswith("# a\n# b\n")
    columns = parse_mapping(
        'id = "a"\nheader = false\ncolumns = ["a"]\n[column.a]\nunit = "kg"', "x"
    )
    assert parse_mapping(mapping_toml(columns), "x") == columns


def test_an_old_text_about_a_mapping_is_no_column():
    mapping = parse_mapping('id = "a"\ndescription = "Export of my shop."', "old")
    layout = resolve(mapping, ["a", "b"])
    assert layout.description == ()
    assert "`about`" in layout.remarks[0]
    with pytest.raises(MappingError, match="needs column 'text'"):
        resolve(parse_mapping('id = "a"\ndescription = "text"', "new"), ["a", "b"])
