import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from kg.ragged import first_random
from training.flows import flow_sampler
from training.views import augment, fill_up, other_truths, rows_of


def test_no_cell_knows_its_own_property(viewer):
    for seed in range(5):
        batch = viewer.batch(np.arange(24), np.random.default_rng(seed))
        for view in (batch.seen, batch.unseen):
            flow = view.targets.flow
            assert (flow.edge_property != flow.cell_property[flow.edge_cell]).all()


def test_the_same_generator_gives_the_same_batch(viewer):
    torch.manual_seed(0)
    first = viewer.batch(np.arange(8), np.random.default_rng(3))
    torch.manual_seed(0)
    second = viewer.batch(np.arange(8), np.random.default_rng(3))
    assert torch.equal(first.seen.items.pieces, second.seen.items.pieces)
    assert torch.equal(first.pictures.pixels, second.pictures.pixels)
    assert torch.equal(first.patches, second.patches)


def test_masked_rows_have_no_ngrams(viewer):
    batch = viewer.batch(np.arange(24), np.random.default_rng(1))
    assert batch.seen.masked.any()
    assert not batch.seen.items.has_ngrams[batch.seen.masked].any()


def test_candidates_hold_every_target_and_known_value(viewer):
    batch = viewer.batch(np.arange(24), np.random.default_rng(0))
    needed = torch.cat([batch.seen.targets.candidate, batch.seen.targets.flow.edge_value])
    assert torch.isin(needed, batch.candidates).all()


def test_share_decides_how_much_is_known(data):
    sample = flow_sampler(data, 8)
    cells = np.zeros(2, np.int64), np.array([0, 1])
    everything = sample(np.array([5]), *cells, np.ones(2), np.random.default_rng(0))
    nothing = sample(np.array([5]), *cells, np.zeros(2), np.random.default_rng(0))
    assert everything.edge_cell.tolist() == [0, 1]
    assert everything.edge_property.tolist() == [1, 0]
    assert nothing.edge_cell.numel() == 0


def test_other_truths_of_a_multivalued_cell(data):
    data.property[:] = 0
    asked, other = other_truths(data, np.array([1]), np.array([[0], [0]]), np.array([0, 0]), data.candidate[2:4])
    assert asked.tolist() == [0, 1]
    assert other.tolist() == data.candidate[[3, 2]].tolist()


@given(st.lists(st.integers(1, 9), min_size=1, max_size=9))
def test_cells_are_filled_up_and_the_asked_ones_found_again(counts):
    cells = np.array([(row, 1 + place) for row, count in enumerate(counts) for place in range(count)]).T
    asked = np.arange(cells.shape[1])
    filled, place = fill_up(cells, asked, len(counts))
    assert filled.shape[1] % 64 == 0
    assert (np.diff(filled[0]) >= 0).all()
    np.testing.assert_array_equal(filled[:, place], cells)


def test_rows_of_walks_each_items_statements():
    statement, row = rows_of(np.array([0, 2, 2, 5]), np.array([2, 1, 0]))
    assert statement.tolist() == [2, 3, 4, 0, 1]
    assert row.tolist() == [0, 0, 0, 2, 2]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(1, 4))
def test_first_random_keeps_at_most_so_many_a_row(rows, most):
    row = np.sort(np.array(rows))
    kept = row[first_random(row, most, np.random.default_rng(0))]
    counts = np.bincount(row)
    assert np.bincount(kept, minlength=len(counts)).tolist() == np.minimum(counts, most).tolist()


def test_augment_keeps_shape_and_pads_with_white():
    pixels = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
    moved = augment(pixels, 3, np.random.default_rng(0))
    assert moved.shape == pixels.shape
    assert set(moved.unique().tolist()) <= {0, 255}
    assert torch.equal(augment(pixels, 0, np.random.default_rng(0)), pixels)
