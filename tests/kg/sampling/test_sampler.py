import numpy as np
import pytest

from kg.sampling.hetero import heterograph
from kg.sampling.keyed_random import KeyedRandom
from kg.sampling.sampler import CellSampler

EVERYTHING = np.ones(9)


@pytest.fixture
def sampler():
    """Item 0 says (0, a) twice and (1, b); item 1 says (0, a); item 2 says nothing."""
    item = np.array([0, 0, 0, 1])
    known = np.array([0, 0, 1, 0])
    value = np.array([5, 5, 7, 5])
    return CellSampler(heterograph(item, known, value, (3, 8)), 4)


def ask(sampler, index, cells, share=EVERYTHING):
    item, asked = (np.array(column, dtype=np.int64) for column in zip(*cells, strict=True))
    return sampler(np.array(index), item, asked, share[: len(item)], KeyedRandom(0))


def test_the_asked_property_and_its_duplicates_stay_out(sampler):
    flow = ask(sampler, [0], [(0, 0)])
    assert flow.edge_property.tolist() == [1]
    assert flow.edge_value.tolist() == [7]


def test_a_duplicate_of_a_known_statement_counts_once(sampler):
    assert ask(sampler, [0], [(0, 1)]).edge_value.tolist() == [5]


def test_cells_of_the_same_item_get_their_own_edges(sampler):
    flow = ask(sampler, [1, 0], [(0, 1), (1, 0), (1, 1)])
    assert flow.edge_cell.tolist() == [0, 1, 2]
    assert flow.edge_value.tolist() == [5, 7, 5]


def test_an_item_without_statements_has_no_edges(sampler):
    assert ask(sampler, [2], [(0, 0)]).edge_cell.numel() == 0


def test_an_item_may_stand_twice_in_a_batch(sampler):
    assert ask(sampler, [1, 1], [(0, 1), (1, 1)]).edge_cell.tolist() == [0, 1]


def test_share_nothing_gives_nothing(sampler):
    assert ask(sampler, [0], [(0, 0), (0, 1)], np.zeros(2)).edge_cell.numel() == 0


def test_at_most_so_many_edges_a_cell():
    few = CellSampler(heterograph(np.zeros(6, np.int64), np.arange(6), np.arange(6), (1, 6)), 2)
    assert ask(few, [0], [(0, 0), (0, 1)]).edge_cell.tolist() == [0, 0, 1, 1]


def test_the_same_chance_gives_the_same_flow(sampler):
    one, other = (ask(sampler, [0, 1], [(0, 0), (1, 1)], np.full(2, 0.5)) for _ in range(2))
    assert one.edge_value.tolist() == other.edge_value.tolist()
