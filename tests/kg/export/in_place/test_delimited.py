"""Delimited text of any dialect: filled cells change, and no other byte."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable

import pytest
from backports import zstd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kg.export.in_place.delimited import CellScanner
from kg.export.source_options import SourceExport
from kg.ingest.readers.record_parser import OpenQuoteError, RecordParser
from kg.ingest.readers.row_form import RowForm
from kg.ingest.rows import BadRowError
from schema.dialects import Dialect
from schema.terms import Rank
from tests.kg.export.in_place.conftest import NOBODY, Workplace

TABLE = """id,title,colour,material
1,Red mug,red,clay
2,Blue mug,,
3,Oak chair,,oak
"""


def test_an_accepted_value_goes_into_its_empty_cell(place: Workplace) -> None:
    written = place.fill(TABLE, [("2", "colour", "blue"), ("3", "colour", "brown")])
    assert written.text == TABLE.replace("Blue mug,", "Blue mug,blue").replace(
        "Oak chair,", "Oak chair,brown"
    )
    assert written.filled == {"colour": 2}
    assert written.kept == {}


def test_nothing_but_an_accepted_value_is_filled_in(place: Workplace) -> None:
    place.load(TABLE)
    for rank in (Rank.PREDICTED, Rank.REJECTED, Rank.DEPRECATED, Rank.ASSERTED):
        place.accept([("2", "colour", f"{rank}")], rank)
    assert place.write().text == TABLE
    predicted = place.write(SourceExport(predicted=True))
    assert predicted.text == TABLE.replace("Blue mug,", "Blue mug,predicted")


def test_an_accepted_value_comes_before_a_predicted_one(place: Workplace) -> None:
    place.load(TABLE)
    place.accept([("2", "colour", "azure")], Rank.PREDICTED)
    place.accept([("2", "colour", "blue")])
    written = place.write(SourceExport(predicted=True))
    assert "Blue mug,blue," in written.text
    assert written.kept == {"colour": "OTHER_VALUE"}


def test_a_cell_that_says_something_is_left_alone(place: Workplace) -> None:
    written = place.fill(TABLE, [("1", "colour", "green"), ("1", "material", "clay")])
    assert written.text == TABLE
    assert written.kept == {"colour": "OTHER_VALUE"}
    # What the source states is asserted, whoever accepted it.
    assert written.report.filled.already == 1


def test_a_property_without_a_column_and_an_item_without_a_row_are_counted(
    place: Workplace,
) -> None:
    written = place.fill(TABLE, [("2", "weight", "1 kg"), NOBODY])
    assert written.text == TABLE
    assert written.kept == {"weight": "NO_COLUMN"}
    assert written.report.filled.others == 1
    assert written.report.as_dict()["not_filled"][0]["property"] == "weight"


@pytest.mark.parametrize("word", ["n.a.", "N/A", "-", " ", '"n.a."', '""', "k.A."])
def test_a_word_for_nothing_is_an_empty_cell(place: Workplace, word: str) -> None:
    table = TABLE.replace("Blue mug,,", f"Blue mug,{word},")
    written = place.fill(table, [("2", "colour", "blue")])
    value = '"blue"' if word.startswith('"') else "blue"
    assert written.text == TABLE.replace("Blue mug,,", f"Blue mug,{value},")


def test_a_cell_is_quoted_where_it_must_be_or_its_row_is(place: Workplace) -> None:
    table = TABLE + '"4","Pot","","iron"\n"5","Pan",,"iron"\n'
    facts = [("2", "colour", 'blue, "dark"'), ("4", "colour", "black"), ("5", "colour", "grey")]
    written = place.fill(table, facts)
    assert 'Blue mug,"blue, ""dark""",' in written.text
    assert '"4","Pot","black","iron"' in written.text
    assert '"5","Pan","grey","iron"' in written.text


def test_numbers_are_quoted_as_numbers_are(place: Workplace) -> None:
    table = 'id,title,width,height\n1,"Mug",3,4\n2,"Cup",,5\n3,"Jug",7,\n'
    written = place.fill(table, [("2", "width", "6")])
    assert '2,"Cup",6,5' in written.text


def test_a_decimal_comma_is_that_of_the_column(place: Workplace) -> None:
    table = "id;title;weight\n1;Mug;1,25\n2;Cup;0,75\n3;Jug;\n"
    assert "3;Jug;1,5\n" in place.fill(table, [("3", "weight", "1.5")]).text


def test_a_locale_of_the_mapping_decides_the_decimal_mark(place: Workplace) -> None:
    mapping = 'id = "id"\ntitle = "title"\nlocale = "de-DE"\n'
    table = "id;title;weight\n1;Mug;3\n2;Cup;\n"
    assert "2;Cup;1,5\n" in place.fill(table, [("2", "weight", "1.5")], mapping=mapping).text


def test_a_unit_goes_into_its_own_column(place: Workplace) -> None:
    mapping = 'id = "id"\ntitle = "title"\n[column."weight"]\nunit_column = "unit"\n'
    table = "id,title,weight,unit\n1,Mug,300,g\n2,Cup,,\n3,Jug,,kg\n4,Can,,g\n"
    facts = [("2", "weight", "250 g"), ("3", "weight", "1.2 kg"), ("4", "weight", "2 kg")]
    written = place.fill(table, facts, mapping=mapping)
    assert written.text.splitlines()[2:4] == ["2,Cup,250,g", "3,Jug,1.2,kg"]
    # A unit that is there already stays, and the cell says its own.
    assert written.text.splitlines()[4] == "4,Can,2 kg,g"


def test_a_unit_in_a_column_s_name_is_not_written(place: Workplace) -> None:
    table = "id,title,Weight (g)\n1,Mug,300\n2,Cup,\n3,Jug,410\n"
    place.load(table)
    (property,) = {property for _, property, _, _ in place.facts()}
    place.accept([("2", property, "250 g")])
    assert "2,Cup,250\n" in place.write().text


def test_several_values_are_joined_as_the_mapping_splits_them(place: Workplace) -> None:
    mapping = 'id = "id"\ntitle = "title"\nmulti = "|"\n'
    facts = [("2", "colour", "blue"), ("2", "colour", "white")]
    written = place.fill(TABLE, facts, mapping=mapping)
    assert "2,Blue mug,blue|white,\n" in written.text
    assert written.filled == {"colour": 2}


def test_without_a_separator_a_cell_holds_one_value(place: Workplace) -> None:
    mapping = 'id = "id"\ntitle = "title"\nmulti = ""\n'
    facts = [("2", "colour", "blue"), ("2", "colour", "white")]
    written = place.fill(TABLE, facts, mapping=mapping)
    assert written.filled == {"colour": 1}
    assert written.kept == {"colour": "ONE_VALUE"}


def test_properties_of_a_packed_column_are_appended_in_its_style(place: Workplace) -> None:
    table = "id,title,attributes\n1,Mug,colour=red; size=M\n2,Cup,colour=blue; size=S\n3,Jug,\n"
    facts = [("1", "power", "5 W"), ("1", "form", "round"), ("3", "size", "L")]
    mapping = (
        'id = "id"\ntitle = "title"\n[packed]\ncolumn = "attributes"\npair = "="\nitem = ";"\n'
    )
    written = place.fill(table, facts, mapping=mapping)
    assert written.text.splitlines()[1] == "1,Mug,colour=red; size=M; form=round; power=5 W"
    assert written.text.splitlines()[3] == "3,Jug,size=L"


def test_properties_in_a_json_cell_are_added_to_it(place: Workplace) -> None:
    mapping = 'id = "id"\ntitle = "title"\n[packed]\ncolumn = "more"\nformat = "json"\n'
    table = (
        'id|title|more\n1|Mug|{"colour": "red"}\n2|Cup|{"colour": "blue", "size": "S"}\n3|Jug|\n'
    )
    facts = [("1", "size", "M"), ("3", "colour", "white")]
    written = place.fill(table, facts, mapping=mapping)
    assert written.text.splitlines()[1] == '1|Mug|{"colour": "red", "size": "M"}'
    assert written.text.splitlines()[3] == '3|Jug|{"colour": "white"}'


PAIRS = (
    "id,title,Attribute 1 name,Attribute 1 value,Attribute 2 name,Attribute 2 value\n"
    "1,Mug,Colour,red,Size,M\n2,Cup,Colour,,,\n3,Jug,,,,\n"
)


def test_named_values_go_beside_their_name_or_into_a_free_pair(place: Workplace) -> None:
    facts = [("2", "Colour", "blue"), ("2", "Size", "S"), ("3", "Form", "round")]
    written = place.fill(PAIRS, facts)
    assert written.text.splitlines()[2:] == ["2,Cup,Colour,blue,Size,S", "3,Jug,Form,round,,"]


def test_a_full_row_of_pairs_has_no_place(place: Workplace) -> None:
    written = place.fill(PAIRS, [("1", "Form", "round")])
    assert written.text == PAIRS
    assert written.kept == {"Form": "NO_COLUMN"}


LONG = "sku,attribute,value\nC1,name,Cup\nC1,colour,blue\nC2,name,Can\nC2,colour,\nC2,size,n/a\n"


def test_a_long_table_is_filled_in_the_row_of_a_property_or_in_a_new_one(place: Workplace) -> None:
    facts = [("C2", "colour", "red"), ("C2", "size", "L"), ("C1", "size", "S"), ("C1", "form", "a")]
    written = place.fill(LONG, facts)
    filled = LONG.replace("C2,colour,", "C2,colour,red").replace("n/a", "L")
    assert written.text == filled.replace("C2,name", "C1,form,a\nC1,size,S\nC2,name")
    assert written.kept == {}


def test_further_values_of_a_long_table_have_rows_of_their_own(place: Workplace) -> None:
    facts = [("C2", "colour", "red"), ("C2", "colour", "grey"), ("C1", "form", "a, b")]
    mapping = '[triples]\nitem = "sku"\nproperty = "attribute"\nvalue = "value"\n'
    written = place.fill(LONG, facts, mapping=mapping)
    assert written.text == (
        'sku,attribute,value\nC1,name,Cup\nC1,colour,blue\nC1,form,"a, b"\nC2,name,Can\n'
        "C2,colour,grey\nC2,size,n/a\nC2,colour,red\n"
    )
    assert written.filled == {"colour": 2, "form": 1}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("is_ended", [True, False])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_a_new_row_ends_as_its_file_does(
    make: Callable[[], Workplace], end: str, is_ended: bool, encoding: str
) -> None:
    table = LONG.replace("C1,name,Cup\n", 'C1,name,"Cup\n2"\nC1,note,Größe\n')
    table = table.replace("\n", end)
    table = table if is_ended else table.removesuffix(end)
    written = make().fill(table.encode(encoding), [("C1", "form", "ü"), ("C2", "depth", "7")])
    new = table.replace(f"blue{end}", f"blue{end}C1,form,ü{end}")
    new += f"C2,depth,7{end}" if is_ended else f"{end}C2,depth,7"
    assert written.data == new.encode(encoding)


def test_a_new_row_has_the_unit_the_language_and_the_quotes_of_others(place: Workplace) -> None:
    table = (
        '"sku";"attribute";"value";"unit";"lang"\n"1";"name";"Mug";"";"en"\n'
        '"1";"name";"Becher";"";"de"\n"1";"weight";"1,5";"kg";"en"\n"2";"name";"Cup";"";"en"\n'
    )
    mapping = (
        'language = "en"\n[triples]\nitem = "sku"\nproperty = "attribute"\nvalue = "value"\n'
        'unit = "unit"\nlanguage = "lang"\n'
    )
    written = place.fill(table, [("2", "weight", "2.5 kg")], mapping=mapping)
    assert written.text == table + '"2";"weight";"2,5";"kg";"en"\n'


def test_a_new_row_of_a_formula_is_defused(place: Workplace) -> None:
    written = place.fill(LONG, [("C1", "form", "=1+1")])
    assert "\nC1,form,'=1+1\n" in written.text
    assert written.report.filled.defused == 1


def test_rows_of_items_in_several_batches_are_added_once(
    make: Callable[[], Workplace], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kg.ingest.source_plan.BATCH_STATEMENTS", 50)
    rows = [f"{n},name,Mug {n}" for n in range(400)] + [f"{n},size,{n % 7}" for n in range(400)]
    table = "\n".join(["sku,attribute,value", *rows]) + "\n"
    facts = [(str(n), "colour", f"blue {n}") for n in range(0, 400, 3)]
    place = make()
    written = place.fill(table, facts)
    assert written.filled == {"colour": len(facts)}
    assert [line for line in written.text.splitlines() if ",colour," not in line] == [
        "sku,attribute,value",
        *rows,
    ]
    before = {fact[:3] for fact in place.facts()}
    other = make()
    other.load(written.data)
    assert {fact[:3] for fact in other.facts()} == before


@st.composite
def long_tables(draw: st.DrawFn) -> tuple[str, list[tuple[str, str, str]]]:
    """Return a long table, whose rows may lie apart, and what is accepted of its items."""
    values = st.sampled_from(["red", "a, b", 'in "quotes"', "two\nlines", "=1+1", "x;y", ""])
    cells = [(item, "name", f"Thing {item}") for item in "123"]
    cells += draw(st.lists(st.tuples(st.sampled_from("123"), st.sampled_from("pqr"), values)))
    rows = draw(st.permutations(list({row[:2]: row for row in cells}.values())))
    stream = io.StringIO(newline="")
    end = draw(st.sampled_from(["\n", "\r\n"]))
    is_quoted = draw(st.booleans())
    delimiter = draw(st.sampled_from(";,\t"))
    writer = csv.writer(
        stream,
        delimiter=delimiter,
        quoting=csv.QUOTE_ALL if is_quoted else csv.QUOTE_MINIMAL,
        lineterminator=end,
    )
    writer.writerows([("sku", "attribute", "value"), *rows])
    text = stream.getvalue()
    text = text if draw(st.booleans()) else text.removesuffix(end)
    accepted = st.tuples(st.sampled_from("123"), st.sampled_from("pqs"), values.filter(bool))
    return text, draw(st.lists(accepted, max_size=5, unique=True))


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(made=long_tables())
def test_a_filled_long_table_is_read_as_what_it_was_and_what_was_accepted(
    make: Callable[[], Workplace], made: tuple[str, list[tuple[str, str, str]]]
) -> None:
    text, accepted = made
    mapping = '[triples]\nitem = "sku"\nproperty = "attribute"\nvalue = "value"\n'
    place = make()
    place.load(text, mapping=mapping)
    before = {fact[:3] for fact in place.facts()}
    assert place.write().text == text
    place.accept(accepted)
    written = place.write()
    filled = written.report.filled
    counted = filled.filled.total() + filled.kept.total() + filled.already
    assert counted == len(accepted)
    # Nothing but rows and the cells of values are new.
    assert len(written.data.splitlines()) >= len(text.encode().splitlines())
    other = make()
    other.load(written.data, mapping=mapping)
    after = {fact[:3] for fact in other.facts()}
    new = after - before
    assert before <= after
    assert len(new) == filled.filled.total()
    texts = {(item, property, " ".join(value.split())) for item, property, value in accepted}
    assert new <= texts


def test_doubled_names_are_one_property(place: Workplace) -> None:
    table = "id,title,colour,colour\n1,Mug,red,white\n2,Cup,,\n3,Jug,blue,\n"
    written = place.fill(table, [("2", "colour", "green"), ("3", "colour", "black")])
    assert written.text.splitlines()[2] == "2,Cup,green,"
    assert written.kept == {"colour": "OTHER_VALUE"}


def test_lines_above_the_header_below_the_rows_and_between_stay(place: Workplace) -> None:
    table = (
        "Our products;;;\r\nas of 2026-11-01;;;\r\n\r\nid;title;colour;price\r\n"
        "1;Mug;red;3\r\n\r\n2;Cup;;4\r\n# a comment\r\nid;title;colour;price\r\n3;Jug;;5\r\n"
        "Total;;;12\r\n;;;\r\n"
    )
    written = place.fill(table, [("2", "colour", "blue"), ("3", "colour", "red")])
    expected = table.replace("2;Cup;", "2;Cup;blue").replace("3;Jug;", "3;Jug;red")
    assert written.text == expected


def test_rows_that_repeat_each_other_go_on_doing_so(place: Workplace) -> None:
    table = TABLE + "2,Blue mug,,\n"
    written = place.fill(table, [("2", "colour", "blue")])
    assert written.text.count("2,Blue mug,blue,\n") == 2


def test_rejected_rows_are_left_alone(place: Workplace) -> None:
    table = TABLE + "2,Another mug,,glass\n"
    written = place.fill(table, [("2", "colour", "blue")])
    assert written.text == table.replace("2,Blue mug,", "2,Blue mug,blue")


def test_a_product_says_for_all_its_rows_what_it_says_in_one(place: Workplace) -> None:
    table = (
        "Handle,Title,Vendor,Option1 Name,Option1 Value,Variant SKU,Variant Price\n"
        "mug,Mug,,Colour,red,M-R,\nmug,,,,blue,M-B,4.00\ncup,Cup,,Colour,red,C-R,\n"
        "jug,Jug,Tonwerk,Colour,red,J-R,2\njug,,,,blue,J-B,3\n"
    )
    facts = [("mug", "Vendor", "Acme"), ("M-R", "Price", "3.50"), ("jug", "Vendor", "Else")]
    written = place.fill(table, facts)
    assert written.text == table.replace("mug,Mug,", "mug,Mug,Acme").replace("M-R,", "M-R,3.50")
    assert written.kept == {"Vendor": "OTHER_VALUE"}


def test_inherited_values_are_not_a_source_s_own(place: Workplace) -> None:
    table = "sku,parent,title,colour,brand\nP,,Mug,,Acme\nV1,P,Mug red,red,\nV2,P,Mug blue,,\n"
    place.load(table)
    assert ("V1", "brand", "Acme", "asserted") in place.facts()
    place.accept([("V2", "colour", "blue")])
    assert place.write().text == table.replace("Mug blue,", "Mug blue,blue")
    place.accept([("V1", "brand", "Bolt")])
    assert "Mug red,red,Bolt\n" in place.write().text


@pytest.mark.parametrize(
    ("encoding", "value"),
    [
        ("cp1252", "größe"),
        ("utf-16", "größe 红"),
        ("utf-8-sig", "größe 红"),
        ("utf-32", "größe"),
        ("shift_jis", "赤い"),
        ("gb18030", "红色"),
    ],
)
def test_the_encoding_and_the_mark_stay(place: Workplace, encoding: str, value: str) -> None:
    letters = {"cp1252": "Weiß für schöne Räume", "shift_jis": "日本の赤いカップ、白いカップ"}
    word = letters.get(encoding, "红色的杯子，白色的杯子")
    table = "id;title;colour;note\n" + "".join(f"{n};{word} {n};;{word}\n" for n in range(30))
    mapping = f'id = "id"\ntitle = "title"\nencoding = "{encoding.removesuffix("-sig")}"\n'
    written = place.fill(table.encode(encoding), [("7", "colour", value)], mapping=mapping)
    assert written.data == table.replace(f"{word} 7;", f"{word} 7;{value}").encode(encoding)


def test_what_the_encoding_cannot_hold_is_counted(place: Workplace) -> None:
    table = "id;title;colour\n1;Größe für schöne Räume;weiß\n2;Tasse für Müßiggänger;\n"
    written = place.fill(table.encode("cp1252"), [("2", "colour", "红")])
    assert written.data == table.encode("cp1252")
    assert written.kept == {"colour": "NOT_IN_ENCODING"}


def test_bytes_that_no_encoder_writes_stay(place: Workplace) -> None:
    # Both byte sequences are the same letter, of which Python writes only the second.
    one, other = b"\x87\x90", b"\x81\xe0"
    assert one.decode("cp932") == other.decode("cp932")
    row = "2;カップ".encode("cp932") + one + b";;x\n"
    table = "id;title;colour;note\n1;カップ;赤;x\n".encode("cp932") + row
    mapping = 'id = "id"\ntitle = "title"\nencoding = "cp932"\n'
    written = place.fill(table, [("2", "colour", "白")], mapping=mapping)
    assert written.data == table.replace(b";;x", ";白;x".encode("cp932"))


def test_quotes_that_are_plain_signs_stay_plain(place: Workplace) -> None:
    table = 'id\ttitle\tcolour\n1\t24" screen\tred\n2\t27" screen\t\n3\t5\' pole\t\n'
    place.load(table, "items.tsv")
    place.accept([("2", "colour", '"dark" blue')])
    assert '2\t27" screen\t"dark" blue\n' in place.write().text


def test_a_separator_is_escaped_where_there_is_an_escape_and_refused_otherwise(
    make: Callable[[], Workplace],
) -> None:
    table = "id|title|colour\n1|a \\| b|red\n2|c|\n"
    mapping = 'id = "id"\ntitle = "title"\nquote = ""\ndelimiter = "|"\nmulti = ""\n'
    escaped = make().fill(table, [("2", "colour", "x|y")], mapping=mapping + 'escape = "\\\\"\n')
    assert escaped.text == table.replace("2|c|", "2|c|x\\|y")
    plain = make().fill(
        table.replace("\\|", "+"), [("2", "colour", "x|y")], mapping=mapping + 'escape = ""\n'
    )
    assert plain.kept == {"colour": "NOT_IN_DIALECT"}


def test_a_delimiter_of_several_signs_and_rows_without_empty_cells_at_their_ends(
    make: Callable[[], Workplace],
) -> None:
    mapping = 'id = "id"\ntitle = "title"\ndelimiter = "||"\nquote = ""\n'
    table = "id||title||colour||size\n1||Mug||red||S\n2||Cup||||\n"
    written = make().fill(table, [("2", "size", "L")], mapping=mapping)
    assert written.text == table.replace("2||Cup||||", "2||Cup||||L")
    short = "id,title,a,b,c\n1,Mug,x,y,z\n2,Cup,x\n3,Jug\n4,Pot,x,y\n5,Pan,x,y,z\n6,Can,x\n"
    short += "7,Tin,x\n8,Box,x\n9,Lid,x\n"
    written = make().fill(short, [("3", "c", "w"), ("3", "a", "v"), ("2", "c", "u")])
    assert written.text == short.replace("3,Jug", "3,Jug,v,,w").replace("2,Cup,x", "2,Cup,x,,u")


def test_a_cell_of_several_lines_and_mixed_ends_of_lines_stay(place: Workplace) -> None:
    table = 'id,title,colour\r\n1,"Mug\nwith a\r\nhandle",\n2,"Cup",red\r\n3,Jug,\n'
    written = place.fill(table, [("1", "colour", "white"), ("3", "colour", "blue")])
    expected = table.replace('handle",', 'handle","white"').replace("Jug,", "Jug,blue")
    assert written.text == expected


def test_old_macintoshes_end_lines_with_returns(place: Workplace) -> None:
    table = 'id,title,colour\r1,"a\rb",red\r2,Cup,\r3,Jug,\r'
    written = place.fill(table, [("2", "colour", "blue")])
    assert written.text == table.replace("2,Cup,", "2,Cup,blue")


def test_a_filled_formula_is_defused_unless_it_is_to_be_raw(place: Workplace) -> None:
    table = TABLE.replace("red,clay", "=1+1,clay")
    place.load(table)
    place.accept([("2", "colour", "=2+2")])
    safe = place.write()
    assert safe.text == table.replace("Blue mug,", "Blue mug,'=2+2")
    assert safe.report.filled.defused == 1
    assert place.write(SourceExport(keep_formulas=True)).text == table.replace(
        "Blue mug,", "Blue mug,=2+2"
    )


def test_out_is_compressed_by_its_name(place: Workplace) -> None:
    place.load(TABLE)
    place.accept([("2", "colour", "blue")])
    plain = place.write().data
    assert gzip.decompress(place.write(name="out.csv.gz").data) == plain
    assert zstd.decompress(place.write(name="out.csv.zst").data) == plain


def test_a_value_that_would_be_read_otherwise_is_not_written(place: Workplace) -> None:
    written = place.fill(TABLE, [("2", "colour", "n/a"), ("3", "colour", "a|b")])
    again = {(item, name, value) for item, name, value, _ in place.facts()}
    assert ("2", "colour", "n/a") in again
    assert written.kept["colour"] == "READ_OTHERWISE"
    assert "n/a" not in written.text


# ---- any dialect

CELLS = st.text(st.sampled_from("ab1é ,;|\t\"'\\\n\r.-"), max_size=6)


@st.composite
def tables(draw: st.DrawFn) -> tuple[bytes, dict[str, object]]:
    """Return a table in some dialect, and what a mapping says of the dialect."""
    delimiter = draw(st.sampled_from([",", ";", "\t", "|", "||"]))
    quote = draw(st.sampled_from(['"', "'", ""]))
    escape = draw(st.sampled_from(["", "\\"]))
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    encoding = draw(st.sampled_from(["utf-8", "utf-16", "cp1252", "utf-8-sig"]))
    quoting = draw(st.sampled_from(["all", "some", "empty"]))

    def cell(text: str) -> str:
        if not quote:
            for sign in (*delimiter, "\n", "\r", "\\"):
                text = text.replace(sign, "_")
            return text
        must = any(sign in text for sign in (*delimiter, quote, "\n", "\r", " ", "\\"))
        if escape:
            text = text.replace(escape, escape * 2).replace(quote, escape + quote)
        else:
            text = text.replace(quote, quote * 2)
        if must or (quoting == "all" and text) or (quoting == "empty" and not text):
            return f"{quote}{text}{quote}"
        return text

    rows = draw(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=3, max_size=8))
    lines = (
        ["id", "title", "colour", "note"],
        *([f"i{number}", *row] for number, row in enumerate(rows)),
    )
    text = newline.join(delimiter.join(map(cell, line)) for line in lines)
    text += newline * draw(st.integers(0, 2))
    said = {
        "delimiter": delimiter,
        "quote": quote,
        "escape": escape,
        "encoding": encoding.removesuffix("-sig"),
        "header": 1,
    }
    return text.encode(encoding), said


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(made=tables(), value=st.sampled_from(["blue", "a b", "1,5", "x;y|z", 'in "quotes"', "é"]))
def test_any_dialect_is_written_as_it_was_but_for_its_filled_cells(
    make: Callable[[], Workplace], made: tuple[bytes, dict[str, object]], value: str
) -> None:
    import tomli_w

    data, said = made
    place = make()
    mapping = tomli_w.dumps({"id": "id", "title": "title", "multi": "", **said})
    place.load(data, mapping=mapping)
    place.accept([NOBODY])
    assert place.write().data == data
    before = {(item, name, v) for item, name, v, rank in place.facts() if rank == "asserted"}
    items = {row["id"] for batch in place.graph.items() for row in batch.to_pylist()}
    items -= {NOBODY[0]}
    wanted = {(item, name, value) for item in items for name in ("colour", "note")}
    place.accept(wanted)
    written = place.write()
    report = written.report.filled
    assert report.filled.total() + report.kept.total() + report.already == len(wanted)
    other = make()
    other.load(written.data, mapping=mapping)
    after = {(item, name, v) for item, name, v, _ in other.facts()}
    assert before <= after
    assert len(after - before) == report.filled.total()
    assert after - before <= wanted


@settings(max_examples=300, deadline=None)
@given(
    text=st.text(st.sampled_from("ab,;\"\\\n\r '"), max_size=30),
    quote=st.sampled_from(['"', "'", ""]),
    escape=st.sampled_from(["", "\\"]),
    spaces=st.booleans(),
)
def test_cells_are_found_where_the_reader_finds_them(
    text: str, quote: str, escape: str, spaces: bool
) -> None:
    dialect = Dialect(quote=quote, escape=escape, spaces_before_quotes=spaces)
    form = RowForm(dialect, 3, 3)
    parser = RecordParser(form.delimiter, form.quote)
    prepared = form.prepared(text.encode() + b"\n")
    try:
        record = parser.parse(prepared, 0)
        expected = [form.restored(cell.decode(errors="replace")) for cell in record.cells]
    except OpenQuoteError:
        expected = None
    except BadRowError:
        return
    try:
        found = CellScanner(dialect).cells(text + "\n")
    except ValueError:
        # What the reader only accepts because no quote is in the first line.
        return
    if found is None or expected is None:
        assert found is None or quote not in text
        return
    assert [cell.text for cell in found] == expected
