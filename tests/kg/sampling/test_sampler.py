"""Message flows around cells."""

import numpy as np
import pytest

from kg.sampling.hetero import heterograph, incoming_graph
from kg.sampling.keyed_random import KeyedRandom
from kg.sampling.sampler import CellSampler

ALL = np.ones(9)


@pytest.fixture(params=["both directions", "incoming"])
def sampler(request):
    """Item 0 has value 5 of property 0 twice and value 7 of property 1; item 1 has value 5."""
    item = np.array([0, 0, 0, 1])
    property = np.array([0, 0, 1, 0])
    value = np.array([5, 5, 7, 5])
    if request.param == "incoming":
        indptr = np.array([0, 3, 4, 4])
        graph = incoming_graph(indptr, property.astype(np.int32), value, candidate_count=8)
    else:
        graph = heterograph(item, property, value, item_count=3, candidate_count=8)
    return CellSampler(graph, 4)


def sample(sampler, index, cells, share=ALL):
    item, property = (np.array(column, dtype=np.int64) for column in zip(*cells, strict=True))
    return sampler(np.array(index), item, property, share[: len(item)], KeyedRandom(0))


def test_the_cell_s_own_property_and_its_duplicates_are_left_out(sampler):
    flow = sample(sampler, [0], [(0, 0)])
    assert flow.edge_property.tolist() == [1]
    assert flow.edge_value.tolist() == [7]


def test_a_duplicate_statement_is_one_edge(sampler):
    assert sample(sampler, [0], [(0, 1)]).edge_value.tolist() == [5]


def test_cells_of_the_same_item_get_their_own_edges(sampler):
    flow = sample(sampler, [1, 0], [(0, 1), (1, 0), (1, 1)])
    assert flow.edge_cell.tolist() == [0, 1, 2]
    assert flow.edge_value.tolist() == [5, 7, 5]


def test_an_item_without_statements_has_no_edges(sampler):
    assert sample(sampler, [2], [(0, 0)]).edge_cell.numel() == 0


def test_an_item_can_be_in_a_batch_twice(sampler):
    assert sample(sampler, [1, 1], [(0, 1), (1, 1)]).edge_cell.tolist() == [0, 1]


def test_a_share_of_zero_gives_no_edges(sampler):
    assert sample(sampler, [0], [(0, 0), (0, 1)], np.zeros(2)).edge_cell.numel() == 0


def test_the_edges_of_a_cell_are_limited():
    six = np.arange(6)
    graph = heterograph(np.zeros(6, np.int64), six, six, item_count=1, candidate_count=6)
    few = CellSampler(graph, 2)
    assert sample(few, [0], [(0, 0), (0, 1)]).edge_cell.tolist() == [0, 0, 1, 1]


def test_the_same_random_state_gives_the_same_flow(sampler):
    one, other = (sample(sampler, [0, 1], [(0, 0), (1, 1)], np.full(2, 0.5)) for _ in range(2))
    assert one.edge_value.tolist() == other.edge_value.tolist()
