from kg.ingest.seen import SeenRows


def test_rows_are_found_by_their_ids():
    seen = SeenRows()
    assert seen.before(["a"]) == {}
    seen.add({"b": (1, 2), "a": (3, 4)})
    seen.add({"c": (5, 6)})
    assert seen.before(["c", "x", "a", "a"]) == {"c": (5, 6), "a": (3, 4)}
    assert len(seen) == 3
