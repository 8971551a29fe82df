"""Dialects: what is detected of small files of many kinds, and what is given instead."""

import csv
import io
import time

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from kg.ingest.files import SourceFile
from kg.ingest.readers import dialect
from kg.ingest.readers.dialect import detect_dialect
from kg.ingest.source import open_source
from schema.dialects import Dialect, DialectSettings
from schema.errors import DataError
from schema.mapping import Mapping, parse_mapping
from tests.kg.ingest.readers.reading import read_source, write

HEADER = ("sku", "name", "color")


def detect(folder, text, name="a.csv", columns=(), **given):
    return detect_dialect(
        SourceFile.of(write(folder, text, name)), DialectSettings(**given), columns
    )


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.txt"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize(
    "rows",
    [
        ["sku,name,color", "C1,Cup,Blue", "C2,Can,Red"],
        ["sku,name,color", '"C1","Cup","Blue"', '"C2","Can","Red"'],
        ["sku,name,color", 'C1,"Cup, large",Blue', 'C2,"Can ""x""",Red'],
        ["", "  ", "sku,name,color", "", "C1,Cup,Blue", "C2,Can,Red", ""],
    ],
)
def test_the_delimiter_does_not_depend_on_the_name(tmp_path, name, delimiter, rows):
    text = "\n".join(rows).replace(",", delimiter)
    detected = detect(tmp_path, text, name)
    assert detected.dialect.delimiter == delimiter
    assert detected.rows[0] == HEADER
    assert len(detected.rows) == 3


@pytest.mark.parametrize(
    ("text", "delimiter", "width"),
    [
        ("sku;name;size (L, B, H, T);price\nS1;a;1 x 2;9,00\nS2;b;3 x 4;1,00\n", ";", 4),
        ("sku;name;price\nC1;Cup;9,90\nC2;Can;4,50\n", ";", 3),
        ("sku;price\n1;9,90\n2;4,50\n", ";", 2),
        ("1;9,90\n2;4,50\n3;1,20\n", ";", 2),
        ("sku,tags\n1,red;blue\n2,green;white\n", ",", 2),
        ("sku|path|tags\n1|a > b|x,y,z\n2|a > c|x,y,z\n", "|", 3),
        ("sku\ttags\n1\ten:a,en:b\n2\ten:c,en:d\n", "\t", 2),
        ("sku,price\n1,1.299\n2,2.499\n", ",", 2),
        ("id\n1\n2\n", ",", 1),
        ('sku,note\n1,"a;b;c"\n2,"d;e;f"\n', ",", 2),
        ("sku^name^color\n1^Cup^red\n2^Can^blue\n", "^", 3),
        ("sku~name~color\n1~Cup, large~red\n2~Can~blue\n", "~", 3),
        ("sku\x01name\n1\x01Cup\n2\x01Can\n", "\x01", 2),
        ("sku,size\n1,5~6\n2,7~8\n", ",", 2),
    ],
)
def test_what_separates_cells_separates_them_in_every_row(tmp_path, text, delimiter, width):
    detected = detect(tmp_path, text)
    assert (detected.dialect.delimiter, len(detected.rows[0])) == (delimiter, width)


@pytest.mark.parametrize(
    ("text", "quote", "escape", "cells"),
    [
        ('id\ttitle\n1\t24" TV\n2\t"Retro" lamp\n', "", "", '"Retro" lamp'),
        ('id\ttitle\n1\t"Retro” lamp\n2\tChair\n3\tTV 24"\n', "", "", "Chair"),
        ('id\ttitle\n1\ta\n2\t"Retro"\n3\tb\n', "", "", '"Retro"'),
        ('id\ttitle\n"1"\t"a"\n"2"\t"b"\n', '"', "", "b"),
        ('id\ttitle\n1\ta\n2\t"two\tcells ""x"""\n', '"', "", 'two\tcells "x"'),
        ('id\ttitle\n1\ta\n2\t"two\nlines"\n', '"', "", "two\nlines"),
        ('id,title\n1,"10\n2,5\n3,12"\n4,3\n', "", "", "5"),
        ('id,title\n1,a\n2,"b"\n', '"', "", "b"),
        ('id,title\n1,24" TV\n2,"a, b"\n', '"', "", "a, b"),
        (r"id,title" "\n" r'1,"3/4\" tube, \"x\""' "\n" r'2,"C:\\"' "\n", '"', "\\", "C:\\"),
        ("id,title\n1,'a, b'\n2,'it''s, ok'\n", "'", "", "it's, ok"),
        ("'id','title'\n'1','a'\n'2','b'\n", "'", "", "b"),
        ("id,title\n1,'a\n2,b's\n", '"', "", "b's"),
        (r"id,title" "\n" r"1,a\, b" "\n" r"2,c\, d" "\n", "", "\\", "c, d"),
    ],
)
def test_quotes_are_plain_signs_unless_reading_them_pays(tmp_path, text, quote, escape, cells):
    detected = detect(tmp_path, text)
    assert (detected.dialect.quote, detected.dialect.escape) == (quote, escape)
    assert detected.rows[2][1] == cells


@pytest.mark.parametrize(
    "text",
    [
        "id,colour\n,,;\n",
        "id,colour\n1,,;\n",
        "sku;name;price\n1;a,b;c;9\n",
        "id,colour\n1,|\n2,|,\n",
        "id,colour\n,\t\n,\t\n",
        "id,colour\n,|0\n,|\n",
        "id,colour\n0,,:\n,,0\n",
    ],
)
def test_a_header_of_usual_names_says_what_separates_them(tmp_path, text):
    sign = ";" if text.startswith("sku") else ","
    found = detect(tmp_path, text)
    assert (found.dialect.delimiter, found.rows[0]) == (
        sign,
        tuple(text.split("\n")[0].split(sign)),
    )


def test_quotes_that_come_late_are_looked_at(tmp_path):
    rows = "".join(f"{number}\tchair {number}\n" for number in range(90_000))
    quoted = "".join(f'{number}\t"a\tb"\n' for number in range(50))
    assert detect(tmp_path, "id\tt\n" + rows + quoted).dialect.quote == '"'
    assert detect(tmp_path, "id\tt\n" + rows + '1\t"Retro" lamp\n').dialect.quote == ""


def test_letters_that_come_late_decide_the_encoding(tmp_path):
    rows = "".join(f"{number},chair {number}\n" for number in range(90_000))
    detected = detect(tmp_path, ("id,t\n" + rows + "1,Stühle für Köln\n").encode("cp1252"))
    assert detected.dialect.encoding == "cp1252"


@pytest.mark.parametrize(
    ("above", "line"),
    [
        ("Product export,,\nGenerated 2025-02-03,,\n,,\n", 4),
        ("Item,Product export\n", 2),
        ("Product export\n\nGenerated 2025-02-03\n", 4),
        ("# exported by x\n# 2025-02-03\n", 3),
        ("Exported: 2025-02-03, all items\n", 2),
        ("\n\n", 3),
        ("sep=,\n", 2),
        ("sep=,\n\nAll items\n", 4),
        ("as of,2025-02-03,\n", 2),
        ("Product,,Look\n", 2),
        ("Supplier,ACME,\nContact,Jo Doe,\n", 3),
    ],
)
def test_the_header_is_found_below_other_lines(tmp_path, above, line):
    text = above + "sku,name,color\nC1,Cup,Blue\nC2,Can,Red\n"
    detected = detect(tmp_path, text)
    assert detected.rows == (HEADER, ("C1", "Cup", "Blue"), ("C2", "Can", "Red"))
    assert (detected.dialect.header_line, detected.dialect.first_line) == (line, line + 1)
    rows, rejects = read_source(tmp_path / "a.csv")
    assert rows == [(line + 1, "C1", "Cup", "Blue"), (line + 2, "C2", "Can", "Red")]
    assert rejects == []


AMAZON = """TemplateType=fptcustom\tVersion=2024\tsettings=attributeRow=3&dataRow=4\tImages\t
Product Type\tSeller SKU\tItem Name\tPrice\tURL
feed_product_type\titem_sku\titem_name\tprice\turl
shirt\tS1\tShirt S\t9.90\thttps://x.example/1
shirt\tS2\tShirt M\t8.90\thttps://x.example/2
"""


def test_a_flat_file_of_amazon_has_its_header_in_the_third_line(tmp_path):
    detected = detect(tmp_path, AMAZON)
    assert detected.rows[0][:2] == ("feed_product_type", "item_sku")
    assert len(detected.rows) == 3


def test_a_newer_template_of_amazon_says_where_its_rows_are(tmp_path):
    text = (
        "settings=attributeRow=5&contentLanguageTag=de_DE&dataRow=7&labelRow=4\t\t\n"
        "\t\t\nOffer\tProduct\t\nSKU\tType\tName\n"
        "contribution_sku#1.value\tproduct_type#1.value\titem_name[a=b]#1.value\n"
        "ABC123\tSHIRT\tExample\nL-1\tLAMP\tLamp\nL-2\tLAMP\tLamp 2\n"
    )
    rows = detect(tmp_path, text, "a.txt").rows
    assert rows[0] == ("contribution_sku#1.value", "product_type#1.value", "item_name[a=b]#1.value")
    assert [row[0] for row in rows[1:]] == ["L-1", "L-2"]


@pytest.mark.parametrize(
    ("text", "line", "first"),
    [
        ("sku,weight,price\n,kg,EUR\nA1,1,2\nA2,3,4\nA3,5,6\nA4,5,6\n", 1, 2),
        ("sku,weight,price\ntext,kg,EUR\nA1,1,2\nA2,3,4\nA3,5,6\nA4,5,6\n", 1, 3),
        ("Item No,Net Weight,Unit Price\nsku,net,unit\nA1,1,2\nA2,3,4\nA3,5,6\n", 2, 3),
        ("sku,weight,price\nA1,n/a,2\nA2,3,4\nA3,5,6\nA4,5,6\n", 1, 2),
        ("sku,,price\n-,kg,EUR\nA1,1,2\nA2,3,4\nA3,5,6\nA4,5,6\n", 1, 3),
        ("sku,weight,price\n-,kg,EUR\nA1,1,2\nA2,3,4\nA3,5,6\nTotal,,12\n", 1, 3),
    ],
)
def test_of_several_rows_of_labels_one_is_the_header(tmp_path, text, line, first):
    dialect = detect(tmp_path, text).dialect
    assert (dialect.header_line, dialect.first_line) == (line, first)


@pytest.mark.parametrize(
    ("text", "has_header"),
    [
        ("C1,Cup,Blue\nC2,Can,Red\n", False),
        ("C1,Cup,Blue\n", False),
        ("C1,Brand bag,Red size M\nC2,Price tag,Blue size L\n", False),
        ("C1,color,size\nC2,color,red\n", False),
        ("sku,36,37,38,39,40\nS1,4,2,0,1,1\nS2,1,1,3,1,2\n", True),
        ("1,2.50\n2,3.75\n3,1.00\n", False),
        ("0001\tCup\thttps://x.example/1\n0002\tCan\thttps://x.example/2\n", False),
        ("sku,name,color\n", True),
        ("Nr,Bez,Wert\nA1,Becher,3\nA2,Dose,4\n", True),
        ("sku,title,attr_0,attr_1\nW1,One,v0,v1\nW2,Two,w0,w1\n", True),
        ("sku,name,36,37,38\nS1,Shoe,4,2,0\nS2,Boot,1,,3\n", True),
        (",sku,title\n0,000123,Cup\n1,000124,Can\n", True),
        ("品番,色\nA1,赤\nA2,青\n", True),
        ("alpha,beta\nred,x\nblue,y\n", True),
    ],
)
def test_a_header_is_known_by_its_words_or_by_what_is_below(tmp_path, text, has_header):
    assert (detect(tmp_path, text).dialect.header_line is not None) == has_header


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_the_ends_of_lines(tmp_path, newline):
    text = newline.join(["sku,name", "C1,Cup", "", '"C2","a, b"', "C3,Can", ""])
    assert read_source(write(tmp_path, text)) == (
        [(2, "C1", "Cup"), (4, "C2", "a, b"), (5, "C3", "Can")],
        [],
    )


def test_mixed_ends_of_lines(tmp_path):
    text = "sku,name\r\nC1,Cup\nC2,Can\rC3,Mug\rC4,Pot\r\nC5,Pan"
    rows, rejects = read_source(write(tmp_path, text))
    assert [row[1:] for row in rows] == [
        ("C1", "Cup"),
        ("C2", "Can"),
        ("C3", "Mug"),
        ("C4", "Pot"),
        ("C5", "Pan"),
    ]
    assert rejects == []


@pytest.mark.parametrize(
    ("text", "names", "rows"),
    [
        ("sku,name\nC1,Cup,\nC2,Can,\n", ("sku", "name"), [("C1", "Cup"), ("C2", "Can")]),
        ("sku,name,\nC1,Cup\nC2,Can\n", ("sku", "name"), [("C1", "Cup"), ("C2", "Can")]),
        (
            "sku,name,\nC1,Cup,\nC2,Can,\n",
            ("sku", "name", ""),
            [("C1", "Cup", None), ("C2", "Can", None)],
        ),
        (
            "sku,name,size\nC1,Cup,L\nC2\nC3,Can\nC4,Mug\nC5,Pot,S\n",
            ("sku", "name", "size"),
            [
                ("C1", "Cup", "L"),
                ("C2", None, None),
                ("C3", "Can", None),
                ("C4", "Mug", None),
                ("C5", "Pot", "S"),
            ],
        ),
    ],
)
def test_separators_at_the_ends_of_rows(tmp_path, text, names, rows):
    path = write(tmp_path, text)
    assert open_source(path).head.rows[0] == names
    read, rejects = read_source(path)
    assert ([row[1:] for row in read], rejects) == (rows, [])


def test_repeated_names_are_handed_over_as_they_are(tmp_path):
    source = open_source(write(tmp_path, "sku,image,image,image_2,\nC1,a,b,c,d\n"))
    assert source.head.rows[0] == ("sku", "image", "image", "image_2", "")
    columns = source.columns(Mapping("plain", id=("sku",)))
    assert columns == ("sku", "image", "image_3", "image_2", "column_5")


LATIN = [("sku", "name"), ("C1", "'KÃ¶ln'")]
GIVEN = "Liste\nsku;name\nC1;'Köln'\nC2;Z\\;x\n"


@pytest.mark.parametrize(
    ("given", "rows"),
    [
        ({"delimiter": ";", "header": 2, "quote": "'"}, [("sku", "name"), ("C1", "Köln")]),
        ({"delimiter": "ü"}, None),
        ({"quote": ""}, [("sku", "name"), ("C1", "'Köln'")]),
        (
            {"encoding": "latin-1", "quote": "", "escape": "\\"},
            [("sku", "name"), ("C1", "'KÃ¶ln'")],
        ),
        ({"header": False, "delimiter": ";"}, [("sku", "name"), ("C1", "'Köln'")]),
    ],
)
def test_what_is_given_holds_for_the_header_too(tmp_path, given, rows):
    if rows is None:
        assert detect(tmp_path, GIVEN, **given).dialect.delimiter == "ü"
        return
    detected = detect(tmp_path, GIVEN, columns=("a", "b"), **given)
    found = [row for row in detected.rows if len(row) == 2]
    assert found[: len(rows)] == rows
    for part in ("delimiter", "quote", "escape"):
        if part in given:
            assert getattr(detected.dialect, part) == given[part]


def test_a_mapping_gives_the_dialect(tmp_path):
    text = 'id = "Nr"\ndelimiter = "||"\nencoding = "cp850"\nheader = 2\nquote = ""'
    mapping = parse_mapping(text, "m")
    path = write(tmp_path, 'Liste\nNr||Größe\n1||20"\n2||grün\n'.encode("cp850"), "a.txt")
    source = open_source(path, mapping)
    assert source.columns(mapping) == ("Nr", "Größe")
    rows = [row for batch in source.batches(mapping) for row in batch.table.to_pylist()]
    assert rows == [{"Nr": "1", "Größe": '20"'}, {"Nr": "2", "Größe": "grün"}]


@pytest.mark.parametrize(
    "given",
    [
        {"encoding": "nonesuch"},
        {"encoding": "base64"},
        {"delimiter": ""},
        {"delimiter": "\n"},
        {"quote": "ab"},
        {"quote": "€"},
        {"delimiter": ",", "quote": ","},
        {"header": 0},
    ],
)
def test_settings_that_cannot_be_meant(given):
    with pytest.raises(ValueError, match=next(iter(given))):
        DialectSettings(**given)


def test_an_empty_file_is_refused(tmp_path):
    for data in (b"", b"\n\n", b"\xef\xbb\xbf", b"\xff\xfe"):
        with pytest.raises(DataError, match="is empty"):
            detect(tmp_path, data)


def test_many_rows_that_are_not_valid_refuse_the_file(tmp_path):
    text = "".join(f"{n},Größe é {n}\n" for n in range(50)).encode()
    with pytest.raises(DataError, match=r"not valid UTF-8.*encoding = "):
        detect(tmp_path, b"id,t\n" + text + b"1,Gr\xf6\xdfe\n" * 50)


@pytest.mark.parametrize(
    ("dialect", "text"),
    [
        (Dialect(), "comma-separated, UTF-8, header in line 1"),
        (
            Dialect(encoding="cp1252", delimiter=";", quote="", header_line=3),
            "semicolon-separated, cp1252, header in line 3, quotes are plain signs",
        ),
        (Dialect(delimiter="||", header_line=None), "separated by '||', UTF-8, no header"),
    ],
)
def test_a_dialect_is_said_in_a_line(dialect, text):
    assert dialect.describe() == text


WORDS = st.sampled_from(
    [
        "Cup",
        "Köln",
        "red, blue",
        "a;b",
        "x|y",
        "t\tt",
        '24"',
        '"Retro" lamp',
        "two\nlines",
        "",
        "12,50",
    ]
)
ROWS = st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=3, max_size=30)


@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    ROWS,
    st.sampled_from(",;\t|"),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
)
def test_a_table_in_any_dialect_is_read_as_it_was_written_or_refused(
    tmp_path, rows, delimiter, quoting, newline, encoding
):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=newline)
    writer.writerow(["sku", "name", "color", "size"])
    writer.writerows((f"A{number}", *row) for number, row in enumerate(rows))
    path = write(tmp_path, text.getvalue().encode(encoding))
    try:
        source = open_source(path)
    except DataError:
        assume(False)
    read, _ = read_source(path)
    assert source.head.rows[0] == ("sku", "name", "color", "size")
    expected = {
        f"A{number}": tuple(cell or None for cell in row) for number, row in enumerate(rows)
    }
    assert {row[1]: row[2:] for row in read} == expected


def test_spaces_before_quotes_are_no_part_of_cells(tmp_path):
    path = write(tmp_path, 'id, "title"\n1, "a, ""b"""\n2, "c"\n')
    assert open_source(path).head.rows[0] == ("id", "title")
    assert read_source(path) == ([(2, "1", 'a, "b"'), (3, "2", "c")], [])


def test_what_is_left_out_is_said(tmp_path):
    path = write(tmp_path, "Liste\nsku,w,p\n-,kg,EUR\nA1,1,2\nA2,3,4\nA3,5,6\n")
    assert open_source(path).head.remarks == (
        "comma-separated, UTF-8, header in line 2, left out: lines 1, 3",
    )


def test_a_header_below_the_first_lines_is_refused(tmp_path):
    with pytest.raises(DataError, match="no row in line 9"):
        detect(tmp_path, "id,t\n1,a\n", header=9)


def test_a_line_that_names_the_separator_is_no_table(tmp_path):
    with pytest.raises(DataError, match="is empty"):
        detect(tmp_path, "sep=;\r\n")


def test_a_description_that_is_longer_than_the_sample(tmp_path):
    text = "two words, or three\nfour\n" * 100_000
    path = write(tmp_path, f'id,t\n1,"a, b"\n2,"{text}"\n3,c\n')
    rows, rejects = read_source(path)
    assert ([len(row[2]) for row in rows], rejects) == ([4, len(text), 1], [])


@pytest.mark.parametrize("line_end", [b"", b"\n1,2\n"])
def test_a_header_without_end_is_one_line_at_once(tmp_path, monkeypatch, line_end):
    monkeypatch.setattr(dialect, "_HEAD_BYTES", 1 << 10)
    monkeypatch.setattr(dialect, "MAX_LINE_BYTES", 1 << 18)
    text = b"id," + b"x" * (1 << (19 if not line_end else 17)) + line_end
    started = time.process_time()
    with pytest.raises(DataError, match=r"no end of a line|name of a column has") as caught:
        open_source(write(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert time.process_time() - started < 5
