"""The nearest vectors, compared with a product of all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.pretrained_folder import Vectors
from schema.arrays import BoolArray, IntArray
from serving.search import nearest
from serving.search.nearest import Approximate, Bank, Method, Space, method_for
from serving.search.parts import Part

WIDTH = 16


def unit(count: int, seed: int = 0) -> Vectors:
    """Return vectors [N, D] of length 1 in a few groups."""
    rng = np.random.default_rng(seed)
    groups = rng.standard_normal((8, WIDTH))[rng.integers(0, 8, count)]
    vectors = groups + 0.7 * rng.standard_normal((count, WIDTH))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def digest(number: int) -> bytes:
    return number.to_bytes(16, "little")


def bank_of(vectors: Vectors, method: Method = Method.FLAT) -> Bank:
    """Return a bank of vectors, whose hashes are their places."""
    bank = Bank.of("space", {digest(row): each.tobytes() for row, each in enumerate(vectors)})
    if method is Method.FLAT:
        return bank
    approximate = Approximate.build(bank.base, method)
    return Bank(bank.space, bank.base, bank.tail, bank.row_of, approximate)


def expected(
    vectors: Vectors, rows: IntArray, query: Vectors, count: int, allowed: BoolArray | None
) -> list[int]:
    """Return the places of items by their cosines, one by one."""
    places = [place for place in range(len(rows)) if allowed is None or allowed[place]]
    places.sort(key=lambda place: (-float(vectors[rows[place]] @ query), place))
    return places[:count]


def test_the_nearest_are_those_of_the_greatest_cosines() -> None:
    vectors = unit(50)
    space = Space.of_items(np.arange(100, 150), vectors)
    query = unit(1, seed=9)[0]
    best = 100 + np.argsort(-(vectors @ query))[:5]
    assert space.nearest(query, 5).tolist() == best.tolist()
    allowed = np.zeros(150, dtype=bool)
    allowed[best[1:3]] = True
    assert space.nearest(query, 5, allowed).tolist() == best[1:3].tolist()
    cosines = space.cosines(query, [int(best[0]), 7])
    assert cosines[0] == pytest.approx((vectors @ query).max())
    assert cosines[1] == 0
    assert space.has([7, 100]).tolist() == [False, True]
    assert space.own(7) is None
    assert Space.of_items(np.zeros(0, np.int64), vectors[:0]).nearest(query, 5).tolist() == []


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    items=st.integers(1, 60),
    tail=st.integers(0, 5),
    share=st.sampled_from((None, 0.0, 0.05, 0.5, 1.0)),
    count=st.integers(1, 70),
)
def test_all_ways_give_what_a_product_gives(
    seed: int, items: int, tail: int, share: float | None, count: int
) -> None:
    # Of so few vectors a graph finds all.
    rng = np.random.default_rng(seed)
    vectors = unit(30 + tail, seed)
    # Some items share a vector, and some vectors belong to no item.
    rows = rng.integers(0, len(vectors), items)
    query = unit(1, seed + 1)[0]
    allowed = None if share is None else rng.random(items) < share
    added = {digest(30 + row): each.tobytes() for row, each in enumerate(vectors[30:])}
    for method in (Method.FLAT, Method.HNSW):
        space = Space(bank_of(vectors[:30], method).with_tail(added), np.arange(items), rows)
        found = space.nearest(query, count, allowed).tolist()
        wanted = expected(vectors, rows, query, count, allowed)
        cosines = vectors[rows] @ query
        assert len(found) == len(set(found)) == len(wanted)
        assert cosines[found] == pytest.approx(cosines[wanted], abs=1e-5)


@pytest.mark.parametrize("method", [Method.HNSW, Method.IVF])
def test_an_approximate_index_finds_nearly_all_and_says_how_many(method: Method) -> None:
    vectors = unit(4_000)
    approximate = Approximate.build(vectors, method)
    queries = vectors[:50] + 0.05 * unit(50, seed=1)
    shares = []
    for query in queries:
        best = set(np.argsort(-(vectors @ query))[:100].tolist())
        shares.append(len(best & set(approximate.nearest(query, 100, None).tolist())) / 100)
    assert np.mean(shares) > 0.9
    assert approximate.recall == pytest.approx(np.mean(shares), abs=0.05)
    usable = np.zeros(len(vectors), bool)
    usable[::3] = True
    found = approximate.nearest(queries[0], 100, usable)
    wanted = [row for row in np.argsort(-(vectors @ queries[0])) if usable[row]][:100]
    assert usable[found].all()
    assert len(set(wanted) & set(found.tolist())) > 85


def test_the_method_goes_by_the_size() -> None:
    assert method_for(100) is Method.FLAT
    assert method_for(100_000) is Method.HNSW
    assert method_for(2_000_000) is Method.IVF


@pytest.mark.parametrize("method", [Method.HNSW, Method.IVF])
def test_a_saved_index_is_read_as_it_was(tmp_path: Path, method: Method) -> None:
    vectors = unit(500)
    bank = bank_of(vectors, method)
    nearest.save(tmp_path, Part.NODE, bank)
    loaded = nearest.load(tmp_path, Part.NODE, "space")
    assert loaded is not None
    assert loaded.approximate is not None
    assert bank.approximate is not None
    assert (loaded.method, loaded.approximate.recall) == (method, bank.approximate.recall)
    assert dict(loaded.row_of) == dict(bank.row_of)
    assert np.array_equal(loaded.base, vectors)
    query = unit(1, seed=3)[0]
    found = loaded.approximate.nearest(query, 20, None).tolist()
    assert found == bank.approximate.nearest(query, 20, None).tolist()
    assert nearest.load(tmp_path, Part.NODE, "another") is None
    assert nearest.load(tmp_path, Part.IMAGE, "space") is None


@pytest.mark.parametrize("place", [0, 30, 200, -1])
def test_a_damaged_index_is_not_read(tmp_path: Path, place: int) -> None:
    nearest.save(tmp_path, Part.NODE, bank_of(unit(60), Method.HNSW))
    path = nearest.index_file(tmp_path, Part.NODE)
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[place] ^= 1
    for content in (bytes(changed), whole[:place], b""):
        path.write_bytes(content)
        assert nearest.load(tmp_path, Part.NODE, "space") is None


def test_vectors_that_are_added_are_found() -> None:
    vectors = unit(300)
    bank = bank_of(vectors[:250], Method.HNSW)
    added = {digest(250 + row): each.tobytes() for row, each in enumerate(vectors[250:])}
    grown = nearest.grown(bank.with_tail(added))
    assert grown.approximate is not None
    assert len(grown.tail) == 0
    assert grown.row_of[digest(299)] == 299
    assert grown.approximate.nearest(vectors[299], 1, None).tolist() == [299]
