"""XML: feeds, catalogues, and what is dangerous or broken in them."""

import time
import tracemalloc
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kg.ingest import xml_stream
from kg.ingest.files import SourceFile
from kg.ingest.readers import xml_feeds
from kg.ingest.readers.xml_feeds import READER
from kg.ingest.source import open_source
from schema.errors import DataError
from schema.mapping import Mapping
from tests.contracts.reader_contract import ReaderContract
from tests.kg.ingest.readers.reading import (
    PLAIN,
    rows_and_rejects,
    rows_before_damage,
    values_of,
    write,
)

ITEMS = [{"id": "1", "name": "a"}, {"id": "2", "name": "b"}]


class TestXml(ReaderContract):
    reader = READER
    file_name = "items.xml"
    broken = b"<items><item><id>1</id></itm></items>"

    def write(self, path, rows):
        parts = []
        for row in rows:
            # A record of which something is half a character is nothing that XML can say.
            row = {"deep": None} if row is None else row
            parts.append("<item>" + "".join(map(_field, row.items())) + "</item>")
        path.write_text("<items>\n" + "\n".join(parts) + "\n</items>", encoding="utf-8")

    def lines(self, rows):
        lines = []
        line = 2
        for row in rows:
            lines.append(line)
            line += 1 + sum(text.count("\n") for text in (row or {}).values())
        return lines


def _field(pair):
    name, text = pair
    if text is None:
        text = "".join(f"<d{level}>" for level in range(70))
        text += "".join(f"</d{level}>" for level in reversed(range(70)))
        return f"<{name}>{text}</{name}>"
    return f"<{name}>{escape(text)}</{name}>"


def records(path, place=None):
    file = SourceFile.of(path)
    found = READER.records(file, READER.find_records(file) if place is None else place)
    return values_of(found)


def items(rows=ITEMS, name="item"):
    parts = []
    for row in rows:
        parts.append(
            f"<{name}>" + "".join(f"<{k}>{v}</{k}>" for k, v in row.items()) + f"</{name}>"
        )
    return "".join(parts)


VALUE = st.recursive(
    st.text("abc &<>\"'é红😀", max_size=5).map(str.strip),
    lambda inner: st.dictionaries(
        st.sampled_from(["x", "y", "Zé"]),
        inner | st.lists(inner, min_size=2, max_size=3),
        min_size=1,
    ),
    max_leaves=6,
)


def xml_of(name, value):
    if isinstance(value, list):
        return "".join(xml_of(name, each) for each in value)
    if isinstance(value, dict):
        return f"<{name}>\n" + "".join(xml_of(*pair) for pair in value.items()) + f"</{name}>"
    return f"<{name}>{escape(value)}</{name}>"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.dictionaries(st.sampled_from(["id", "t"]), VALUE, min_size=1), min_size=1),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.sampled_from([1, 13, 1 << 17]),
)
def test_what_is_written_is_read(tmp_path_factory, values, encoding, chunk):
    text = f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}"?>\n<list>'
    text += "".join(xml_of("item", value) for value in values) + "</list>"
    path = tmp_path_factory.getbasetemp() / "a.xml"
    path.write_bytes(text.encode(encoding))
    with pytest.MonkeyPatch.context() as patch:
        # The encoding is taken from the first chunk.
        patch.setattr(xml_stream, "_CHUNK_BYTES", max(chunk, 64))
        assert records(path, "list/item") == values


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (f"<items>{items()}</items>", "/items/item"),
        (f"<a><b>{items(name='Ding')}</b></a>", "/a/b/Ding"),
        (
            f"<shop><categories>{items(ITEMS * 9, 'category')}</categories><products>"
            f"{items(name='product')}</products></shop>",
            "/shop/products/product",
        ),
        (f"<c><category><n>x</n>{items(name='Artikel')}</category></c>", "/c/category/Artikel"),
        (f"<c><Ding><n>x</n>{items()}</Ding><Ding><n>y</n></Ding></c>", "/c/Ding"),
        ('<c><p id="1" name="a"/><p id="2" name="b"/></c>', "/c/p"),
        ("<c><head><x>1</x></head><thing><id>1</id><name>a</name></thing></c>", "/c/thing"),
        ("<product><id>1</id><name>a</name></product>", "/product"),
        (
            f'<rss xmlns:g="urn:g"><channel><title>s</title>{items()}</channel></rss>',
            "/rss/channel/item",
        ),
        (
            f'<feed xmlns="http://www.w3.org/2005/Atom"><title>s</title>{items(name="entry")}</feed>',
            "/feed/entry",
        ),
        (
            "<BMECAT><HEADER><CATALOG><ID>1</ID></CATALOG></HEADER><T_NEW_CATALOG><PRODUCT><FEATURE>"
            "<FNAME>a</FNAME></FEATURE><FEATURE><FNAME>b</FNAME></FEATURE></PRODUCT></T_NEW_CATALOG>"
            "</BMECAT>",
            "/BMECAT/T_NEW_CATALOG/PRODUCT",
        ),
        (
            f"<yml_catalog><shop><offers>{items(name='offer')}</offers></shop></yml_catalog>",
            "/yml_catalog/shop/offers/offer",
        ),
    ],
)
def test_the_element_that_is_a_record_is_found(tmp_path, text, place):
    assert READER.find_records(SourceFile.of(write(tmp_path, text, "a.xml"))) == place


def test_the_place_can_be_set(tmp_path):
    text = f"<x><c>{items([{'id': '7'}], 'category')}</c>{items()}</x>"
    path = write(tmp_path, text, "a.xml")
    mapping = Mapping("m", id=("id",), records="c/category")
    assert rows_and_rejects(open_source(path, mapping).batches(mapping))[0] == [(1, "7")]
    with pytest.raises(DataError, match="no record at 'c/nothing'"):
        open_source(path, Mapping("m", id=("id",), records="c/nothing"))


def test_values_have_attributes_text_lists_and_prefixes(tmp_path):
    text = """<rss xmlns:g="urn:g" xmlns:h="urn:h"><item key="7">
    <g:id>1</g:id><title>plain</title><g:title lang="de">g</g:title><h:title>h</h:title>
    <gtin type="a">04</gtin><img>x</img><img>y</img><none/><shipping><g:price>1</g:price></shipping>
    <mixed>before <x>in</x> after</mixed><note><![CDATA[<b>Flat</b> &nbsp;]]></note>
    </item></rss>"""
    assert records(write(tmp_path, text, "a.xml")) == [
        {
            "@key": "7",
            "id": "1",
            "title": "plain",
            "g:title": {"@lang": "de", "#text": "g"},
            "h:title": "h",
            "gtin": {"@type": "a", "#text": "04"},
            "img": ["x", "y"],
            "none": "",
            "shipping": {"price": "1"},
            "mixed": {"x": "in", "#text": "before  after"},
            "note": "<b>Flat</b> \u00a0",
        }
    ]


@pytest.mark.parametrize(
    ("inner", "value"),
    [
        ("<p>Flat &amp; <b>round</b></p><br/>", "<p>Flat &amp; <b>round</b></p><br>"),
        ("Some <b>bold</b> text", "Some <b>bold</b> text"),
        ('<div xmlns="http://www.w3.org/1999/xhtml">x</div>', "<div>x</div>"),
        ("<b>only</b>", "<b>only</b>"),
        ("<colour>red</colour>", {"colour": "red"}),
    ],
)
def test_html_without_cdata_is_a_text(tmp_path, inner, value):
    text = f"<items><item><description>{inner}</description></item></items>"
    assert records(write(tmp_path, text, "a.xml")) == [{"description": value}]


@pytest.mark.parametrize("doctype", ["", '<!DOCTYPE items SYSTEM "bmecat_1_2.dtd">'])
def test_names_of_characters_need_no_declaration(tmp_path, doctype):
    text = f'{doctype}<items><item v="&uuml;&amp;">a&nbsp;&eacute;&lt;&unknown;</item></items>'
    (value,) = records(write(tmp_path, text, "a.xml"), "item")
    assert value == {"@v": "ü&", "#text": "a\u00a0é<&unknown;"}


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [
        ("ISO-8859-1", "cp1252"),
        ("windows-1252", "cp1252"),
        ("ISO-8859-15", "iso8859-15"),
        ("Shift_JIS", "shift_jis"),
        ("GB18030", "gb18030"),
        ("UTF-16", "utf-16"),
        ("UTF-8", "utf-8-sig"),
    ],
)
def test_the_declared_encoding_holds(tmp_path, declared, encoding):
    word = {"shift_jis": "カップ", "gb18030": "杯子"}.get(encoding, "Tasse 5 €")
    text = f'<?xml version="1.0" encoding="{declared}"?>\n<i><item><t>{word}</t></item></i>'
    path = write(tmp_path, text.encode(encoding), "a.xml")
    assert records(path, "item") == [{"t": word}]


BOMBS = {
    "laughs": '<!DOCTYPE x [<!ENTITY a "lol"><!ENTITY b "&a;&a;">]><x><item>&b;</item></x>',
    "external": '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x><item>&a;</item></x>',
    "parameter": '<!DOCTYPE x [<!ENTITY % a SYSTEM "http://127.0.0.1/x"> %a;]><x><item/></x>',
    "quadratic": f'<!DOCTYPE x [<!ENTITY a "{"x" * 9999}">]><x><item>{"&a;" * 9999}</item></x>',
    "deep": "<a>" * 100_000,
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_in_one_line_and_at_once(tmp_path, name):
    path = write(tmp_path, BOMBS[name], "a.xml")
    started = time.process_time()
    with pytest.raises(
        DataError, match=r"line 1: (declares an entity|elements are nested)"
    ) as caught:
        open_source(path)
    assert "\n" not in str(caught.value)
    assert time.process_time() - started < 2


@pytest.mark.parametrize("start", ["<x><!--", "<x><item a='", "<x><?pi "])
def test_a_tag_without_end_is_refused(tmp_path, start, monkeypatch):
    monkeypatch.setattr(xml_stream, "MAX_TAG_BYTES", 1 << 20)
    path = write(tmp_path, start + "x" * (4 << 20), "a.xml")
    with pytest.raises(DataError, match="more than 1 MB"):
        open_source(path)


def test_a_record_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(xml_stream, "MAX_RECORD_CHARACTERS", 10_000)
    path = write(tmp_path, "<x><item>" + "<a>x</a>" * 10_000 + "</item></x>", "a.xml")
    with pytest.raises(DataError, match="a record of more than"):
        open_source(path)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("<i>\n<item><id>1</id></item>\n<item><id>2</id></item>\n<item><id>3</itm>", "line 4"),
        ("<i>\n<item><id>1</id></item>\n<item><id>2</id></item>\n<item><id>3", "line 4"),
        ("<i>\n<item><id>1</id></item>\n<item><id>2</id></item>\n<item>\x01</item></i>", "line 4"),
        ("<i>\n<item><id>1</id></item>\n<item><id>2</id></item>\n</i>more", "line 4"),
    ],
)
def test_broken_xml_is_an_error_with_its_line_after_what_was_good(tmp_path, text, line):
    source = open_source(write(tmp_path, text, "a.xml"))
    count, message = rows_before_damage(source.batches(PLAIN))
    assert count == 2
    assert line in message
    assert "\n" not in message


def test_bytes_that_are_not_in_the_encoding_are_an_error_with_their_line(tmp_path):
    path = write(tmp_path, b"<i>\n<item><id>1</id></item>\n<item><id>\xff</id></item></i>", "a.xml")
    with pytest.raises(DataError, match="line 3: not valid utf-8"):
        open_source(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('<rdf:RDF xmlns:rdf="x"><item><a/></item></rdf:RDF>', "RDF in XML"),
        ('<Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet"/>', "Excel 2003"),
        ("<empty/>", "no element with elements"),
        ("<?xml version='1.0' encoding='x-none'?><a/>", "unknown encoding"),
        ("", "empty"),
    ],
)
def test_what_has_no_records_says_what_it_is(tmp_path, text, words):
    with pytest.raises(DataError, match=words):
        open_source(write(tmp_path, text, "a.xml"))


def test_lines_beyond_65535_are_right(tmp_path):
    path = write(tmp_path, "<i>" + "\n" * 70_000 + items() + "</i>", "a.xml")
    assert [record.line for record in READER.records(SourceFile.of(path), "item")] == [70_001] * 2


def test_memory_is_flat(tmp_path, monkeypatch):
    monkeypatch.setattr(xml_feeds, "SEARCHED_BYTES", 1 << 20)
    path = tmp_path / "a.xml"
    with path.open("w") as file:
        file.write("<rss><channel>")
        for _ in range(20_000):
            file.write(items(ITEMS[:1]) + "<other>" + "x" * 300 + "</other>")
        file.write("</channel></rss>")
    tracemalloc.start()
    source = open_source(path)
    count = sum(1 for _ in READER.records(source.file, source.head.records))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20_000
    assert peak < 3 << 20 < path.stat().st_size
