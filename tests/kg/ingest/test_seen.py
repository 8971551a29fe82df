from hypothesis import given
from hypothesis import strategies as st

import kg.ingest.seen
from kg.ingest.seen import SeenRow, SeenRows


def test_rows_are_found_by_their_ids():
    seen = SeenRows()
    assert seen.find(["a"]) == {}
    seen.add({"b": SeenRow(1, 2), "a": SeenRow(3, 4)})
    seen.add({"c": SeenRow(5, 6)})
    assert seen.find(["c", "x", "a", "a"]) == {"c": SeenRow(5, 6), "a": SeenRow(3, 4)}
    assert len(seen) == 3


def test_rows_that_are_many_are_divided(monkeypatch):
    monkeypatch.setattr(kg.ingest.seen, "_RECENT_ROWS", 50)
    seen = SeenRows()
    expected = {f"I{number}": SeenRow(-number, number) for number in range(480)}
    for start in range(0, 480, 40):
        seen.add(dict(list(expected.items())[start : start + 40]))
        found = seen.find(expected)
        assert found == dict(list(expected.items())[: start + 40])
    assert len(seen) == 480


@given(st.lists(st.dictionaries(st.text(max_size=3), st.integers(0, 99)), max_size=4))
def test_the_first_row_of_each_id_is_found(batches):
    seen = SeenRows()
    expected: dict[str, SeenRow] = {}
    for batch in batches:
        rows = {id: SeenRow(-number, number) for id, number in batch.items() if id not in expected}
        seen.add(rows)
        expected |= rows
    assert seen.find(["none at all", *expected]) == expected
    assert len(seen) == len(expected)
