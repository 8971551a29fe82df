from html.parser import HTMLParser

from kg.missing_values import read_missing_values
from kg.stats import read_stats
from kg.stats_page import render, write_stats_page
from kg.stores.memory import MemoryStore
from kg.stores.tables import items_table, statements_table
from schema.ontology import Ontology
from schema.terms import Item, Statement

SCRIPT = "<script>alert(1)</script>"


class Cells(HTMLParser):
    """The titles of the cells of a page, and its elements."""

    def __init__(self, page):
        super().__init__()
        self.titles = []
        self.tags = set()
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag == "td" and "title" in dict(attributes):
            self.titles.append(dict(attributes)["title"])


def page_of(items, statements):
    store = MemoryStore()
    store.put(items_table(items), statements_table(statements))
    ontology = Ontology.infer(store.items(), store.scan())
    return render("shop", read_stats(store), read_missing_values(store, ontology))


def test_a_cell_says_how_many_items_lack_a_property():
    items = [Item("d"), *(Item(each, category="Mugs") for each in "abc")]
    page = page_of(items, [Statement("a", "colour", "red"), Statement("b", "colour", "red")])
    assert Cells(page).titles == ["Mugs, colour: 1 of 3 items lack it"]
    assert ">33</td>" in page
    assert "33.3%" in page
    assert "Items without a category, which are in no row: 1" in page


def test_names_of_a_supplier_do_not_run():
    page = page_of([Item("a", category=SCRIPT)], [Statement("a", SCRIPT, SCRIPT)])
    assert "script" not in Cells(page).tags
    assert "&lt;script&gt;" in page


def test_an_empty_catalogue_has_a_page(tmp_path):
    store = MemoryStore()
    path = tmp_path / "new" / "stats.html"
    write_stats_page(path, "shop", read_stats(store), read_missing_values(store, Ontology()))
    assert "Nothing to show" in path.read_text()
