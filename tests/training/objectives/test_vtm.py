import numpy as np

from kg.sampling.keyed_random import KeyedRandom
from tests.training.conftest import items_only
from training.objectives.vtm import swap_titles
from training.schedule import Stage

ITEMS = np.arange(400)


def test_half_of_the_pairs_get_another_products_title():
    pairs = ITEMS % 4 != 0
    swapped, other = swap_titles(pairs, ITEMS, np.arange(400, 900), KeyedRandom(0))
    assert not swapped[~pairs].any()
    assert abs(swapped[pairs].mean() - 0.5) < 0.08
    assert other.min() >= 400
    assert len(np.unique(other)) > 200


def test_an_item_with_a_swapped_title_is_no_match_and_hides_no_statement(collator):
    stage = Stage({"vtm": 1.0, "lpm": 1.0})
    batch = collator.batch(stage, items_only(np.arange(24)), KeyedRandom(0))
    complete = batch.title_pairs.complete.numpy()
    matching = batch.title_pairs.matching.numpy()
    assert 0 < matching.sum() < len(complete) < 24
    links = batch.items.links
    items_asked = links.flow.cell_item[links.cell].unique().numpy()
    assert not np.isin(items_asked, complete[~matching]).any()
