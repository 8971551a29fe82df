"""Whatever a source and its mapping are: every row is stored or rejected, however it is read."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kg.home import Home
from kg.ingest import records, source_plan
from kg.ingest.pipeline import ingest
from kg.stores.memory import MemoryStore

IDS = st.sampled_from(["p1", "p2", "p3", "P1", "", " p1"])
WORDS = st.sampled_from(["", "red", "dark blue", "5", "7.5", "oak|ash", "a=b", "a=b;c=d", ";"])
LANGUAGES = st.sampled_from(["en", "de", "", "fr"])
PARTS = {
    "plain": 'id = "id"\n',
    "title": 'id = "id"\ntitle = "a"\ndescription = "b"\n',
    "levels": 'id = "id"\ntitle = "a"\ncategory = ["b", "c"]\n',
    "categories": 'id = "id"\ncategory = "b"\ncategory_multi = "|"\n',
    "properties": 'id = "id"\nproperties = ["b"]\nmulti = "|"\n',
    "packed": 'id = "id"\n[[packed]]\ncolumn = "b"\npair = "="\nitem = ";"\n',
    "pairs": 'id = "id"\nmulti = "|"\n[[pairs]]\nname = "n{n}"\nvalue = "v{n}"\nunit = "u{n}"\n',
    "units": 'id = "id"\nmulti = "|"\n[columns.a]\nunit_column = "b"\n',
    "languages": 'id = "id"\ntitle = "a"\nlanguage_column = "lang"\nlanguage = "en"\n',
    "level languages": (
        'id = "id"\ncategory = ["a", "b"]\nlanguage_column = "lang"\nlanguage = "en"\n'
    ),
    "triples": 'title = ["red"]\n[triples]\nitem = "id"\nproperty = "a"\nvalue = "b"\nunit = "c"\n',
    "parents": 'id = "id"\ntitle = "a"\nparent = "other"\n',
    "references": (
        'id = "id"\ntitle = "a"\n[variants]\nparent = "other"\nreferences = { "" = "b" }\n'
    ),
    "groups": (
        'id = "id"\ntitle = "a"\n[variants]\ngroup = "id"\nid = "other"\ncolumns = ["c"]\n'
        'axes = [{ name = "n{n}", value = "v{n}" }]\n'
    ),
    "packed variants": (
        'id = "id"\ntitle = "a"\n[variants]\npacked = "b"\nid = "a"\nitem = ","\nvariant = ";"\n'
    ),
}
COLUMNS = ("id", "a", "b", "c", "n1", "v1", "u1", "lang", "other")
ROWS = st.lists(
    st.tuples(IDS, WORDS, WORDS, WORDS, WORDS, WORDS, WORDS, LANGUAGES, IDS), max_size=9
)
MEMBERS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), WORDS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["name", "value", "unit", "x"]), inner, max_size=3),
    ),
    max_leaves=6,
)
RECORDS = st.lists(
    st.fixed_dictionaries(
        {"id": IDS}, optional=dict.fromkeys(["title", "b", "options", "kinds"], MEMBERS)
    ),
    max_size=7,
)
RECORD_PARTS = {
    "plain": 'id = "id"\ntitle = ["name", "title"]\n',
    "lists": 'id = "id"\n[[pairs]]\nlist = "b"\nname = "name"\nvalue = "value"\nunit = "unit"\n',
    "variants": (
        'id = "id"\ntitle = "title"\n[variants]\nlist = "kinds"\nid = "name"\n'
        'axes = [{ name = "options.name", value = "x" }]\n'
    ),
}
ONCE = settings(
    max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


@pytest.fixture(params=[1, 2, 7])
def batch_rows(request, monkeypatch):
    """Compare batches of so many rows with one large batch."""

    def use(count):
        monkeypatch.setattr(source_plan, "BATCH_STATEMENTS", 0)
        monkeypatch.setattr(source_plan, "_MIN_BATCH_ROWS", count)
        monkeypatch.setattr(
            source_plan,
            "record_batches",
            lambda source, mapping, sample=count: records.record_batches(source, mapping, sample),
        )
        return count

    return lambda is_small: use(request.param if is_small else 1000)


def read(tmp_path, monkeypatch, path, mapping):
    """Ingest a source thrice; return the counts, the items and the statements."""
    store = MemoryStore()
    monkeypatch.setattr(Home, "store", lambda self, read_only=False: store)
    home = Home.open(tmp_path / "home", create=True)
    sources = {"mapping": str(mapping), "max_rejects": "100%"}
    first = ingest(home, [path], **sources)
    content = items_and_statements(store)
    again = ingest(home, [path], **sources)
    dry = ingest(home, [path], dry_run=True, **sources)
    assert first.read == first.stored + first.rejected
    assert (again.new_items, again.new_statements) == (0, 0)
    assert items_and_statements(store) == content
    for other in (again, dry):
        counts = (other.read, other.stored, other.rejected, other.items, other.statements)
        assert counts == (
            first.read,
            first.stored,
            first.rejected,
            first.items,
            first.statements,
        )
    return (first.read, first.stored, first.rejected, first.items), content


def items_and_statements(store):
    items = [row for batch in store.items() for row in batch.to_pylist()]
    names = ("item", "property", "value", "language", "evidence")
    rows = [row for batch in store.scan() for row in batch.to_pylist()]
    return items, sorted([str(row[name]) for name in names] for row in rows)


@pytest.mark.parametrize("kind", PARTS)
@ONCE
@given(rows=ROWS)
def test_tables(tmp_path, monkeypatch, batch_rows, kind, rows):
    lines = [",".join(COLUMNS), *(",".join(row) for row in rows)]
    table = tmp_path / "t.csv"
    table.write_text("\n".join(lines) + "\n")
    mapping = tmp_path / "m.toml"
    mapping.write_text('delimiter = ","\nheader = 1\n' + PARTS[kind])
    batch_rows(is_small=False)
    whole = read(tmp_path, monkeypatch, table, mapping)
    batch_rows(is_small=True)
    assert read(tmp_path, monkeypatch, table, mapping) == whole


@pytest.mark.parametrize("kind", RECORD_PARTS)
@ONCE
@given(made=RECORDS)
def test_records(tmp_path, monkeypatch, batch_rows, kind, made):
    path = tmp_path / "r.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in made) or "\n")
    mapping = tmp_path / "m.toml"
    mapping.write_text(RECORD_PARTS[kind])
    if not any("id" in each and each["id"] for each in made):
        return
    batch_rows(is_small=False)
    whole = read(tmp_path, monkeypatch, path, mapping)
    batch_rows(is_small=True)
    assert read(tmp_path, monkeypatch, path, mapping) == whole
