"""Leaks, by construction: where the hidden statement is the only clue, nothing can be learnt."""

import dataclasses

import numpy as np
import pytest
import torch

from fusion.build import build_model
from kg.image_cache import ImageCache
from tests.training.conftest import TINY
from training.collate import Collator
from training.data import TrainingData
from training.flows import FlowSampler
from training.loader import BatchBuilder
from training.loop import Run, run_loop
from training.objectives.joint import JointObjective
from training.optim import AveragedWeights, Budget, build_optimizer
from training.sampler import StepSampler
from training.schedule import make_schedule
from training.state import RunProgress
from training.validation import validate

ITEMS = 240


def clueless(copies):
    """Items without title and image, whose one statement (colour, at random) stands ``copies`` times."""
    colour = np.random.default_rng(5).integers(0, 3, ITEMS)
    images = ImageCache(np.zeros((ITEMS, 3, 32, 32), np.uint8), np.zeros(ITEMS, bool), [])
    statements = np.repeat(colour, copies)
    names = [str(i) for i in range(ITEMS)]
    indptr = np.arange(ITEMS + 1) * copies
    alike = np.zeros(ITEMS, np.int64)
    ranges = np.array([0, 3, 5])
    return TrainingData(
        names,
        [[]] * ITEMS,
        [[]] * ITEMS,
        indptr,
        np.zeros_like(statements),
        statements,
        ranges,
        images,
        alike,
    )


@pytest.mark.parametrize(
    ("link", "interaction"), [("softmax", ""), ("margin", "TransE"), ("nssa", "DistMult")]
)
@pytest.mark.parametrize("copies", [1, 2])
def test_an_item_whose_only_clue_is_hidden_stays_at_chance(
    copies, link, interaction, tokenizer, ontology, recipe
):
    data = clueless(copies)
    torch.manual_seed(0)
    model = build_model(dataclasses.replace(TINY, interaction=interaction), tokenizer, ontology)
    eager = dataclasses.replace(
        recipe, link=link, learning_rate=0.01, known_all=1.0, known_none=0.0, batch_size=32
    )
    collator = Collator(data, tokenizer, eager, FlowSampler(data, 8), TINY)
    schedule = make_schedule(eager.weights, "", queries=False)
    maker = BatchBuilder(collator, schedule, 0, StepSampler(np.arange(ITEMS), 32, 0), None)
    run = Run(
        JointObjective(model, eager),
        build_optimizer(model, eager),
        AveragedWeights(model, eager.ema),
        maker,
        schedule,
        eager,
        Budget(60, None),
        RunProgress(),
        0,
        lambda stage: {},
        None,
        lambda: None,
        lambda: None,
    )
    run_loop(run, lambda record: None)
    model.eval()
    most_frequent = np.bincount(data.candidate, minlength=3).max() / len(data.candidate)
    assert validate(model, collator, np.arange(ITEMS))["none/without/known"] <= most_frequent + 1e-9
