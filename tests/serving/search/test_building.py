"""An index that is brought up to date is the one that would be made anew."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.errors import StoreDamagedError
from serving.search import building, database
from serving.search.documents import DocumentReader, SearchedItem
from serving.search.searcher import Searcher
from tests.serving.search.made import ONTOLOGY, SHOP, found, item, make_index

READER = DocumentReader(ONTOLOGY)
TITLES = ("Red mug", "Blue mug", "TV stand", "Oak chair", "")


def bring_up_to_date(path: Path, items: list[SearchedItem]) -> building.Changed:
    with closing(database.connect(path, write=True)) as connection:
        difference = building.difference_of(connection, items)
        return building.update(connection, difference, READER, {})


def contents(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return what an index says, without numbers that depend on the order of writing."""
    queries = {
        "items": "SELECT id, shown, category_path, digest, title, heads, codes FROM items",
        "words": 'SELECT word, texts, "values" FROM words WHERE texts OR "values"',
        "uses": "SELECT word, name, uses.items, heads FROM uses JOIN groups USING (grp)",
        "groups": "SELECT name, items FROM groups WHERE items",
        "facts": "SELECT id, name, text FROM facts JOIN properties USING (property) "
        "JOIN vocabulary USING (value) JOIN items ON items.number = facts.item",
        "lengths": "SELECT content FROM known WHERE name = 'lengths'",
    }
    with closing(database.connect(path)) as connection:
        connection.execute("SELECT count(*) FROM found WHERE found MATCH 'mug'").fetchone()
        return {name: sorted(connection.execute(sql)) for name, sql in queries.items()}


catalogues = st.dictionaries(
    st.sampled_from("abcdef"),
    st.tuples(
        st.sampled_from(TITLES), st.sampled_from(("Mugs", "Home > TV")), st.sampled_from("xyz")
    ),
    min_size=1,
)


def items_of(catalogue: dict[str, tuple[str, str, str]]) -> list[SearchedItem]:
    return [item(id, title, category, colour=c) for id, (title, category, c) in catalogue.items()]


@settings(deadline=None, max_examples=25)
@given(catalogues, catalogues)
def test_an_update_gives_what_a_new_index_has(
    tmp_path_factory: pytest.TempPathFactory,
    before: dict[str, tuple[str, str, str]],
    after: dict[str, tuple[str, str, str]],
) -> None:
    folder = tmp_path_factory.mktemp("search")
    base = [item(f"base{number}", title, "Mugs") for number, title in enumerate(TITLES * 2)]
    updated = make_index(folder, [*base, *items_of(before)], 1)
    # The words for things are learned from all items, so that the base keeps them the same.
    anew = folder / "index-2.sqlite"
    building.build(anew, [*base, *items_of(before)], READER, {})
    changed = bring_up_to_date(updated, [*base, *items_of(after)])
    assert changed.items == len(base) + len(after)
    assert changed.removed == len(before.keys() - after.keys())
    bring_up_to_date(anew, base)
    bring_up_to_date(anew, [*base, *items_of(after)])
    assert contents(updated) == contents(anew)
    with closing(database.connect(updated, write=True)) as connection:
        connection.execute("INSERT INTO found (found, rank) VALUES ('integrity-check', 1)")


def test_only_what_has_changed_is_indexed(tmp_path: Path) -> None:
    path = make_index(tmp_path, SHOP)
    changed = [SHOP[0], item("2", "Glass table"), *SHOP[3:], item("99", "Garden gnome")]
    report = bring_up_to_date(path, changed)
    assert (report.added, report.changed, report.removed) == (1, 1, 1)
    searcher = Searcher(tmp_path, ONTOLOGY)
    assert found(searcher, "gnome") == ["99"]
    assert found(searcher, "glass table") == ["2"]
    assert "3" not in found(searcher, "toner")
    assert bring_up_to_date(path, changed).changed == 0


def test_a_failed_update_leaves_the_index_as_it_was(tmp_path: Path) -> None:
    path = make_index(tmp_path, SHOP)
    before = contents(path)

    def fail(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with closing(database.connect(path, write=True)) as connection:
        difference = building.difference_of(connection, [item("99", "Garden gnome")])
        with pytest.raises(KeyboardInterrupt):
            building.update(connection, difference, READER, {}, fail)
    assert contents(path) == before


def test_groups_are_learned_where_there_are_no_categories(tmp_path: Path) -> None:
    mugs = [item(f"m{n}", f"Mug {n}", colour="red", volume="1") for n in range(120)]
    chairs = [item(f"c{n}", f"Chair {n}", material="oak", legs="4") for n in range(120)]
    path = make_index(tmp_path, [*mugs, *chairs])
    with closing(database.connect(path)) as connection:
        groups = dict(connection.execute("SELECT id, grp FROM items"))
    of_mugs = {groups[each.id] for each in mugs}
    assert of_mugs.isdisjoint({groups[each.id] for each in chairs})


def test_a_damaged_index_is_said_to_be_damaged(tmp_path: Path) -> None:
    path = make_index(tmp_path, SHOP)
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(StoreDamagedError, match="--anew"):
        Searcher(tmp_path)
