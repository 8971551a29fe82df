from kg.ingest.seen import SeenRow, SeenRows


def test_rows_are_found_by_their_ids():
    seen = SeenRows()
    assert seen.find(["a"]) == {}
    seen.add({"b": SeenRow(1, 2), "a": SeenRow(3, 4)})
    seen.add({"c": SeenRow(5, 6)})
    assert seen.find(["c", "x", "a", "a"]) == {"c": SeenRow(5, 6), "a": SeenRow(3, 4)}
    assert len(seen) == 3
