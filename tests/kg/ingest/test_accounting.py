"""Whatever a source and its mapping are: every row is stored or rejected, however it is read."""

import json
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kg.home import Home
from kg.ingest import row_blocks, source_plan
from kg.ingest.assemble import Origin
from kg.ingest.pipeline import ingest
from kg.ingest.source_plan import plan_sources
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
COUNTS = st.sampled_from([1, 2, 7])
ONCE = settings(
    max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


FEW = settings(ONCE, max_examples=3)


def use_batches(monkeypatch, count):
    """Let sources be read in batches of so many rows."""
    monkeypatch.setattr(source_plan, "BATCH_STATEMENTS", 0)
    monkeypatch.setattr(source_plan, "_MIN_BATCH_ROWS", count)
    monkeypatch.setattr(row_blocks, "BATCH_RECORDS", count)


def read(path, mapping):
    """Read a source twice; return the rows read, stored and rejected, items and statements."""
    store = MemoryStore()
    first = read_into(store, path, mapping)
    content = items_and_statements(store)
    again = read_into(store, path, mapping)
    assert (again, items_and_statements(store)) == (first, content)
    count, stored, rejected = first
    assert count == stored + rejected
    return first, content


def read_into(store, path, mapping):
    counts = [0, 0, 0]
    origin = Origin("file", "source", "run", "time")
    with ExitStack() as stack:
        for plan in plan_sources([path], str(mapping), None, stack).plans:
            for batch in plan.assembled_batches(origin):
                store.put(batch.items, batch.statements)
                counts[0] += batch.rows_read
                counts[1] += batch.rows_stored
                counts[2] += len(batch.rejects)
    return tuple(counts)


def items_and_statements(store):
    items = [row for batch in store.items() for row in batch.to_pylist()]
    names = ("item", "property", "value", "language", "evidence")
    rows = [row for batch in store.scan() for row in batch.to_pylist()]
    return items, sorted([str(row[name]) for name in names] for row in rows)


@pytest.mark.parametrize("kind", PARTS)
@ONCE
@given(rows=ROWS, count=COUNTS)
def test_tables(tmp_path, monkeypatch, kind, rows, count):
    lines = [",".join(COLUMNS), *(",".join(row) for row in rows)]
    table = tmp_path / "t.csv"
    table.write_text("\n".join(lines) + "\n")
    mapping = tmp_path / "m.toml"
    mapping.write_text('delimiter = ","\nheader = 1\n' + PARTS[kind])
    use_batches(monkeypatch, 1000)
    whole = read(table, mapping)
    use_batches(monkeypatch, count)
    assert read(table, mapping) == whole


@pytest.mark.parametrize("kind", RECORD_PARTS)
@ONCE
@given(made=RECORDS, count=COUNTS)
def test_records(tmp_path, monkeypatch, kind, made, count):
    path = tmp_path / "r.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in made) or "\n")
    mapping = tmp_path / "m.toml"
    mapping.write_text(RECORD_PARTS[kind])
    if not any("id" in each and each["id"] for each in made):
        return
    use_batches(monkeypatch, 1000)
    whole = read(path, mapping)
    use_batches(monkeypatch, count)
    assert read(path, mapping) == whole


def counts_of(report):
    """What a report says of a source, whether it was stored or not."""
    counts = [report.read, report.stored, report.rejected, report.items, report.statements]
    rejects = [(row.line, row.reason) for row in report.first_rejects]
    return counts, rejects, report.cleaned


def check_dry_run(monkeypatch, folder, source, mapping):
    """Check that a dry run tells the counts of the ingest that follows it, and its remarks."""
    store = MemoryStore()
    monkeypatch.setattr(Home, "store", lambda self, read_only=False: store)
    home = Home.open(folder / "home", create=True)
    dry, real, again = (
        ingest(home, [source], mapping=str(mapping), max_rejects="100%", dry_run=dry)
        for dry in (True, False, True)
    )
    assert counts_of(dry) == counts_of(real) == counts_of(again)
    # Only in a catalogue that has the items is there something to take back.
    notes = [note for note in again.notes if "nothing was taken back" not in note]
    assert dry.notes == real.notes[: len(dry.notes)] == notes
    assert (dry.new_items, dry.new_statements) == (0, 0)
    assert real.new_items == real.items
    assert (len(dry.previews), real.previews) == (1, [])


@pytest.mark.parametrize("kind", PARTS)
@FEW
@given(rows=ROWS, count=COUNTS)
def test_a_dry_run_tells_the_counts_of_the_ingest_of_a_table(
    tmp_path_factory, monkeypatch, kind, rows, count
):
    folder = tmp_path_factory.mktemp("tables")
    lines = [",".join(COLUMNS), *(",".join(row) for row in rows)]
    table = folder / "t.csv"
    table.write_text("\n".join(lines) + "\n")
    mapping = folder / "m.toml"
    mapping.write_text('delimiter = ","\nheader = 1\n' + PARTS[kind])
    use_batches(monkeypatch, count)
    check_dry_run(monkeypatch, folder, table, mapping)


@pytest.mark.parametrize("kind", RECORD_PARTS)
@FEW
@given(made=RECORDS, count=COUNTS)
def test_a_dry_run_tells_the_counts_of_the_ingest_of_records(
    tmp_path_factory, monkeypatch, kind, made, count
):
    folder = tmp_path_factory.mktemp("records")
    path = folder / "r.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in [*made, {"id": "p9"}]))
    mapping = folder / "m.toml"
    mapping.write_text(RECORD_PARTS[kind])
    use_batches(monkeypatch, count)
    check_dry_run(monkeypatch, folder, path, mapping)
