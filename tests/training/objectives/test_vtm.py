import numpy as np

from kg.sampling.keyed_random import KeyedRandom
from training.objectives.vtm import swap_titles

ITEMS = np.arange(400)


def test_half_of_the_pairs_get_another_products_title():
    pairs = ITEMS % 4 != 0
    swapped, other = swap_titles(pairs, ITEMS, np.arange(400, 900), KeyedRandom(0))
    assert not swapped[~pairs].any()
    assert abs(swapped[pairs].mean() - 0.5) < 0.08
    assert other.min() >= 400
    assert len(np.unique(other)) > 200


def test_a_title_that_is_swapped_is_no_match_and_asks_no_statement(collator):
    from tests.training.conftest import work
    from training.schedule import Stage

    made = collator.batch(Stage({"vtm": 1.0, "lpm": 1.0}), work(np.arange(24)), KeyedRandom(0))
    pairs, own = made.own.numpy()
    assert 0 < own.sum() < pairs.sum() < 24
    asked = made.seen.links.flow.cell_item[made.seen.links.cell].unique().numpy()
    assert not np.isin(asked, np.flatnonzero(pairs & ~own)).any()
