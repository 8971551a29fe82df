"""Products in web pages: JSON-LD, microdata and RDFa."""

import json

import pytest

from kg.ingest.files import SourceFile
from kg.ingest.pipeline import ingest
from kg.rdf import pages
from kg.rdf.document import RdfDocument
from kg.rdf.products import read_products
from kg.stores.open import open_store
from schema.errors import DataError
from schema.mapping import load_mapping
from tests.kg.export.odd_store import MemoryHome
from tests.kg.ingest.readers.reading import write

PRODUCT = {
    "@context": "https://schema.org",
    "@type": "Product",
    "sku": "0042",
    "name": "Mug",
    "offers": {"@type": "Offer", "price": "4.90", "priceCurrency": "EUR"},
}
TEXT = json.dumps(PRODUCT)


def script(text, kind="application/ld+json"):
    return f'<script type="{kind}">{text}</script>'


def rows_of(tmp_path, page):
    """Return the cells of each product of a page, and the rejected scripts as (line, reason)."""
    data = page if isinstance(page, bytes) else f"<!DOCTYPE html><body>{page}".encode()
    with RdfDocument(SourceFile.of(write(tmp_path, data, "a.html"))) as document:
        batches = list(read_products(document, load_mapping("schema-org")))
    rows = [
        {name: cell for name, cell in row.items() if cell is not None}
        for batch in batches
        for row in batch.table.to_pylist()
    ]
    return rows, [(each.line, each.reason) for batch in batches for each in batch.rejects]


MUG = {
    "@item": "0042",
    "@title": "Mug",
    "offers.price": "4.90",
    "offers.priceCurrency": "EUR",
}


@pytest.mark.parametrize(
    "page",
    [
        script(TEXT),
        script(TEXT, "application/LD+JSON; charset=utf-8"),
        script(f"<!-- {TEXT} -->"),
        script(f"//<![CDATA[\n{TEXT}\n//]]>"),
        script(f"/*<![CDATA[*/{TEXT}/*]]>*/"),
        script(f"<![CDATA[{TEXT}]]>"),
        script(TEXT + ";"),
        script(TEXT.replace('"', "&quot;")),
        script(f"[{TEXT}]"),
        script(json.dumps({"@context": "https://schema.org", "@graph": [PRODUCT, {"@type": "X"}]})),
        script('{"@type": "WebPage"}') + script(TEXT),
        script(
            json.dumps(
                {"@context": "http://schema.org/", "@type": "WebPage", "mainEntity": PRODUCT}
            )
        ),
        "<div><p>unclosed" + script(TEXT) + "</b>",
    ],
)
def test_a_product_is_read_however_its_script_is_written(tmp_path, page):
    assert rows_of(tmp_path, page) == ([MUG], [])


def test_line_breaks_in_texts_are_no_damage(tmp_path):
    page = script(TEXT.replace("Mug", "Mug\nwith a handle"))
    assert rows_of(tmp_path, page)[0][0]["@title"] == "Mug\nwith a handle"


MICRODATA = """
<div itemscope itemtype="http://schema.org/Product" itemref="more">
  <h1 itemprop="name">  Mug
    of <b>clay</b></h1><meta itemprop="sku" content="0042"><img itemprop="image" src="/m.jpg">
  <a itemprop="url" href="https://shop.example/mug">x</a>
  <div itemprop="offers" itemscope itemtype="http://schema.org/Offer">
    <span itemprop="price" content="4.90">4,90</span><link itemprop="availability"
    href="http://schema.org/InStock"/></div>
  <div itemprop="brand" itemscope itemtype="http://schema.org/Brand">
    <span itemprop="name">Ton</span></div>
  <time itemprop="releaseDate" datetime="2024-01-02">today</time>
  <div itemscope itemtype="http://schema.org/Review"><p itemprop="name">not mine</p></div>
</div><p id="more"><span itemprop="color">blue</span></p>
"""


def test_microdata_is_read(tmp_path):
    (row,), rejects = rows_of(tmp_path, MICRODATA)
    assert rejects == []
    assert row == {
        "@item": "0042",
        "@title": "Mug of clay",
        "@image": "/m.jpg",
        "offers.price": "4.90",
        "offers.availability": "InStock",
        "brand": "Ton",
        "releaseDate": "2024-01-02",
        "color": "blue",
    }


def test_rdfa_lite_is_read(tmp_path):
    page = """<div vocab="https://schema.org/" typeof="Product"><span property="name">Mug</span>
    <span property="sku">0042</span><div property="offers" typeof="Offer">
    <span property="price">4.90 </span><meta property="priceCurrency" content="EUR"></div></div>"""
    assert rows_of(tmp_path, page) == ([MUG], [])


def test_what_is_said_twice_is_one_product(tmp_path):
    assert rows_of(tmp_path, script(TEXT) + MICRODATA) == ([MUG], [])
    # JSON-LD about something else does not hide the microdata.
    assert len(rows_of(tmp_path, script('{"@type": "WebSite"}') + MICRODATA)[0]) == 1


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ('{"@type": "Product", "sku": "7",', "cannot be read"),
        ('{"@type": "Product", "sku": NaN}', "NaN is not a number"),
        ('{"@context": "https://evil.example/x", "@type": "Product"}', "would have to be fetched"),
        ('{"@type": "Product", "x": ' + "[" * 100_000, "nested too deep"),
    ],
)
def test_a_broken_script_costs_only_itself(tmp_path, bad, reason):
    rows, rejects = rows_of(tmp_path, script(TEXT) + "\n\n" + script(bad))
    assert rows == [MUG]
    ((line, said),) = rejects
    assert line == 3
    assert reason in said
    assert "\n" not in said


def test_a_broken_script_about_something_else_does_not_matter(tmp_path):
    assert rows_of(tmp_path, script(TEXT) + script("{nothing")) == ([MUG], [])


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16", "shift_jis"])
def test_the_encoding_of_a_page_is_respected(tmp_path, encoding):
    word = "カップ" if encoding == "shift_jis" else "Schüssel 5€"
    meta = "" if encoding in ("utf-16", "utf-8") else f'<meta charset="{encoding}">'
    text = json.dumps(PRODUCT | {"name": word}, ensure_ascii=False)
    page = f"<html><head>{meta}</head>{script(text)}</html>".encode(encoding)
    assert rows_of(tmp_path, page)[0][0]["@title"] == word


@pytest.mark.parametrize(
    "page",
    [
        "<html><table><tr><td>id</td></tr><tr><td>1</td></tr></table>",
        "<html>" + script('{"@type": "WebSite"}'),
        "<!DOCTYPE html>",
    ],
)
def test_a_page_without_products_is_one_line(tmp_path, page):
    store = open_store("memory:")
    with pytest.raises(DataError, match="has no product: of a page") as caught:
        ingest(MemoryHome.of(tmp_path / "home", store), [write(tmp_path, page, "a.html")])
    assert "\n" not in str(caught.value)


def test_a_page_has_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "MAX_PAGE_BYTES", 1000)
    with pytest.raises(DataError, match="too much for a page"):
        rows_of(tmp_path, "x" * 2000)


def test_items_within_items_end(tmp_path):
    deep = '<div itemscope itemtype="http://schema.org/Product" itemprop="isRelatedTo">' * 100
    rows, rejects = rows_of(tmp_path, deep + '<span itemprop="sku">1</span>')
    assert rows == []
    assert all("has no id" in reason for _, reason in rejects)
    circle = (
        '<div itemscope itemtype="http://schema.org/Product" itemref="a">'
        '<i itemprop="sku">1</i></div>'
        '<div id="a" itemprop="isRelatedTo" itemscope itemref="a"><b itemprop="name">x</b></div>'
    )
    assert len(rows_of(tmp_path, circle)[0]) == 1
