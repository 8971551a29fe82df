import dataclasses
from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from kg.sampling.keyed_random import KeyedRandom
from kg.sampling.ragged import sample_per_row
from tests.training.conftest import TINY, items_only
from training.cells import Cells, pad_cells, statements_of, true_alternatives
from training.collate import Collator
from training.flows import TrainingFlows
from training.schedule import Stage
from training.transfer import map_tensors


def test_the_same_step_gives_the_same_batch(batch):
    first = batch(np.arange(8))
    second = batch(np.arange(8))
    assert flat(first) == flat(second)
    assert flat(first) != flat(batch(np.arange(8), 1))


def flat(made):
    """The bytes of every tensor of a batch."""
    parts = []

    def kept(part):
        parts.append(part.numpy().tobytes())
        return part

    map_tensors(made, kept)
    return parts


def test_an_items_view_does_not_depend_on_the_items_beside_it(batch):
    whole = batch(np.arange(24))
    half = batch(np.arange(12, 24))
    length = half.items.items.pieces.shape[1]
    assert torch.equal(whole.items.items.pieces[12:, :length], half.items.items.pieces)
    patches = whole.masked.patches
    later = patches.row >= 12
    assert torch.equal(patches.row[later] - 12, half.masked.patches.row)
    assert torch.equal(patches.column[later], half.masked.patches.column)
    assert known(whole, 12) == known(half, 0)


def known(made, row):
    """What each cell of items from ``row`` on is asked and knows."""
    flow = made.items.links.flow
    return {
        (int(flow.cell_item[c]) - row, int(flow.cell_property[c]), int(v))
        for c, v in zip(flow.edge_cell, flow.edge_value, strict=True)
        if flow.cell_item[c] >= row and c in made.items.links.cell
    }


def test_masked_rows_have_no_ngrams(batch):
    made = batch(np.arange(24), 1)
    rows = made.masked.pieces.row
    assert len(rows)
    assert not made.items.items.has_ngrams[rows].any()


def test_a_stage_makes_only_what_its_terms_need(collator):
    made: Any = collator.batch(Stage({"mlm": 1.0}), items_only(np.arange(8)), KeyedRandom(0))
    assert made.items.links is None
    assert (made.items_without_image, made.candidates, made.pairs) == (None, None, None)
    assert not made.masked.patches.count
    assert made.masked.covered is None


def test_counts_are_what_the_terms_are_means_over(batch):
    made = batch(np.arange(24))
    assert made.counts["lpm"] == 48
    assert made.counts["mlm"] == len(made.masked.target) == made.masked.pieces.count > 0
    assert made.counts["mpm"] == len(made.masked.patches.flat) > 0


def test_share_decides_how_much_is_known(data):
    sample = TrainingFlows(data, 8)
    cells = np.zeros(2, np.int64), np.array([0, 1])
    everything = sample(np.array([5]), *cells, np.ones(2), KeyedRandom(0))
    nothing = sample(np.array([5]), *cells, np.zeros(2), KeyedRandom(0))
    assert everything.edge_cell.tolist() == [0, 1]
    assert everything.edge_property.tolist() == [1, 0]
    assert nothing.edge_cell.numel() == 0


def test_true_alternatives_of_a_multivalued_cell(data):
    data.property[:] = 0
    cells = Cells(row=np.array([0]), property=np.array([0]), cell=np.array([0, 0]))
    found = true_alternatives(data, np.array([1]), cells, data.candidate[2:4])
    assert found.statement.tolist() == [0, 1]
    assert found.candidate.tolist() == data.candidate[[3, 2]].tolist()


@given(st.lists(st.integers(1, 9), min_size=1, max_size=9))
def test_cells_are_padded_and_the_original_ones_found_again(counts):
    cells = np.array(
        [(row, 1 + place) for row, count in enumerate(counts) for place in range(count)]
    ).T
    every = np.arange(cells.shape[1])
    padded = pad_cells(Cells(cells[0], cells[1], every), len(counts))
    assert len(padded.row) % 64 == 0
    assert (np.diff(padded.row) >= 0).all()
    np.testing.assert_array_equal(padded.row[padded.cell], cells[0])
    np.testing.assert_array_equal(padded.property[padded.cell], cells[1])


def test_statements_of_walks_each_items_statements():
    statement, row = statements_of(np.array([0, 2, 2, 5]), np.array([2, 1, 0]))
    assert statement.tolist() == [2, 3, 4, 0, 1]
    assert row.tolist() == [0, 0, 0, 2, 2]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(1, 4))
def test_sample_per_row_keeps_at_most_the_limit_of_each_row(rows, most):
    row = np.sort(np.array(rows))
    kept = row[sample_per_row(row, most, KeyedRandom(0).uniform("", np.arange(len(row))))]
    counts = np.bincount(row)
    assert np.bincount(kept, minlength=len(counts)).tolist() == np.minimum(counts, most).tolist()


def masked_batch(collator: Collator, term: str, step: int = 0) -> Any:
    """A batch of all items for one objective."""
    return collator.batch(Stage({term: 1.0}), items_only(np.arange(24)), KeyedRandom(0, step))


def test_random_pieces_come_from_the_titles_of_the_train_split_alone(data, tokenizer, recipe):
    pool = np.array([6, 12])
    unigram = dataclasses.replace(recipe, random_pieces="unigram", masked_rows=1.0)
    collator = Collator(data, tokenizer, unigram, TrainingFlows(data, 8), TINY, train=pool)
    allowed = {piece for item in pool for piece in tokenizer.pieces(data.words[item], 99)}
    random_pieces = set()
    for step in range(40):
        made = masked_batch(collator, "mlm", step)
        shown = made.items.items.pieces.flatten()[made.masked.pieces.flat]
        changed = (shown != made.masked.target) & (shown != tokenizer.special.mask)
        random_pieces |= set(shown[changed].tolist())
    assert random_pieces
    assert random_pieces <= allowed


def test_the_share_of_covered_patches_is_a_setting(data, tokenizer, recipe):
    for rate in (0.0, 1.0):
        chosen = dataclasses.replace(recipe, cover_rate=rate, masked_rows=1.0)
        collator = Collator(data, tokenizer, chosen, TrainingFlows(data, 8), TINY)
        masked = masked_batch(collator, "mrfr").masked
        covered = 0 if masked.covered is None else masked.covered.sum()
        assert masked.patches.count > 0
        assert covered == rate * masked.patches.count
