import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fusion.link_prediction import own_candidates as module
from fusion.link_prediction.own_candidates import own_candidates


@st.composite
def questions(draw):
    """Cells of some properties, the candidates in play, and where those of each property begin."""
    sizes = draw(st.lists(st.integers(0, 40), min_size=1, max_size=12))
    ranges = np.cumsum([0, *sizes])
    in_play = draw(st.lists(st.booleans(), min_size=int(ranges[-1]), max_size=int(ranges[-1])))
    ids = np.flatnonzero(np.array([*in_play, False]))
    properties = st.integers(0, len(sizes) - 1)
    cells = np.array(draw(st.lists(properties, min_size=1, max_size=60)))
    return cells, ids, ranges


def scores_of_blocks(own, every_score):
    return own.scores(lambda block: every_score[block.cells[:, :, None], block.rows[:, None, :]])


@given(questions(), st.sampled_from([0, 50, 1 << 15]), st.sampled_from([8, 1 << 16]))
def test_scores_are_those_of_all_candidates_without_other_properties(asked, cost, most_rows):
    """However the properties are divided into blocks."""
    cells, ids, ranges = asked
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_COST", cost)
        patch.setattr(module, "MAX_BLOCK_ROWS", most_rows)
        own = own_candidates(cells, ids, ranges)
    every_score = torch.randn(len(cells), max(1, len(ids)))
    scores = scores_of_blocks(own, every_score)
    assert scores.shape == (len(cells), own.width)

    property_of_row = np.searchsorted(ranges, ids, side="right") - 1
    is_own = torch.from_numpy(property_of_row[None, :] == cells[:, None])
    expected = every_score[:, : len(ids)].masked_fill(~is_own, -torch.inf)
    assert torch.equal(own.spread(scores, len(ids)), expected)
    assert torch.equal(scores.isfinite().sum(1), is_own.sum(1))
    assert sorted(int(p) for block in own.blocks for p in block.property) == sorted(set(cells))


def test_values_of_candidates_are_laid_out_like_their_scores():
    own = own_candidates(np.array([1, 0]), np.array([0, 2, 4, 5]), np.array([0, 2, 6]))
    expected = [[20.0, 40.0, 50.0], [1.0, 0.0, 0.0]]
    assert own.gather(torch.tensor([1.0, 20.0, 40.0, 50.0])).tolist() == expected


def test_a_large_property_is_in_another_block_than_many_small_ones():
    ranges = np.cumsum([0, *[10] * 200, 2000])
    cells = np.repeat(np.arange(201), [5] * 200 + [1])
    own = own_candidates(cells, np.arange(4000), ranges)
    assert len(own.blocks) == 2
    padded = sum(block.cells.numel() * block.rows.shape[1] for block in own.blocks)
    assert padded < len(cells) * 4000 / 80


def test_a_cell_without_candidates_in_play_has_no_score():
    own = own_candidates(np.array([0, 1]), np.array([5]), np.array([0, 3, 6]))
    scores = scores_of_blocks(own, torch.ones(2, 1))
    assert scores.tolist() == [[-torch.inf], [1.0]]
