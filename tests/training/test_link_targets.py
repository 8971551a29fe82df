import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from kg.sampling.keyed_random import KeyedRandom
from tests.training.conftest import TINY, all_terms, items_only
from training.collate import Collator
from training.flows import TrainingFlows


def test_no_cell_knows_its_own_property(batch):
    for step in range(5):
        made = batch(np.arange(24), step)
        for view in (made.items, made.items_without_image):
            flow = view.links.flow
            assert (flow.edge_property != flow.cell_property[flow.edge_cell]).all()


def test_candidates_hold_every_target_and_known_value(batch):
    made = batch(np.arange(24))
    needed = torch.cat([made.items.links.candidate, made.items.links.flow.edge_value])
    assert torch.isin(needed, made.candidates).all()


@pytest.mark.parametrize("kind", ["uniform", "type", "category", "bernoulli"])
def test_corrupted_statements_are_not_true(kind, data, tokenizer, recipe):
    recipe = dataclasses.replace(recipe, link="margin", corruption=kind, negatives=5)
    collator = Collator(data, tokenizer, recipe, TrainingFlows(data, 8), TINY)
    made: Any = collator.batch(all_terms(recipe), items_only(np.arange(24)), KeyedRandom(0))
    links = made.items.links
    item = links.flow.cell_item[links.corrupted.cell]
    true = {
        (i, c)
        for i in range(24)
        for c in data.candidate[data.indptr[i] : data.indptr[i + 1]].tolist()
    }
    drawn = zip(
        item.flatten().tolist(),
        links.corrupted.candidate.flatten().tolist(),
        links.corrupted.possible.flatten().tolist(),
        strict=True,
    )
    assert all(((i, c) not in true) == possible for i, c, possible in drawn)
    assert links.corrupted.possible.float().mean() > 0.5
