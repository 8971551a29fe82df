"""Leaks, by construction: if the hidden statement is the only clue, nothing can be learned."""

import dataclasses

import numpy as np
import pytest
import torch

from fusion.build import build_model
from kg.image_cache import ImageCache
from tests.training.conftest import TINY
from training.collate import Collator
from training.data import TrainingData
from training.flows import TrainingFlows
from training.loader import BatchBuilder
from training.loop import run_loop
from training.objectives.joint import JointObjective
from training.optim import AveragedWeights, Budget, build_optimizer
from training.sampler import StepSampler
from training.schedule import make_schedule
from training.state import Run, RunProgress
from training.validation import hits_at_1

ITEMS = 240


def clueless(copies):
    """Items without title and image, whose one statement (a random colour) is there ``copies``
    times."""
    colour = np.random.default_rng(5).integers(0, 3, ITEMS)
    images = ImageCache(np.zeros((ITEMS, 3, 32, 32), np.uint8), np.zeros(ITEMS, bool), [])
    statements = np.repeat(colour, copies)
    names = [str(i) for i in range(ITEMS)]
    indptr = np.arange(ITEMS + 1) * copies
    alike = np.zeros(ITEMS, np.int64)
    ranges = np.array([0, 3, 5])
    return TrainingData(
        items=names,
        words=[[]] * ITEMS,
        blind=[[]] * ITEMS,
        indptr=indptr,
        property=np.zeros_like(statements),
        candidate=statements,
        ranges=ranges,
        images=images,
        category=alike,
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
    config = dataclasses.replace(TINY, interaction=interaction)
    model = build_model(config, tokenizer, ontology)
    eager = dataclasses.replace(
        recipe, link=link, learning_rate=0.01, known_all=1.0, known_none=0.0, batch_size=32
    )
    collator = Collator(data, tokenizer, eager, TrainingFlows(data, 8), TINY)
    schedule = make_schedule(eager.weights, "", queries=False)
    objective = JointObjective(model, config, eager)
    run = Run(
        objective=objective,
        optimizer=build_optimizer(objective, eager),
        average=AveragedWeights(objective, eager.ema),
        batches=BatchBuilder(collator, schedule, 0, StepSampler(np.arange(ITEMS), 32, 0), None),
        schedule=schedule,
        recipe=eager,
        budget=Budget(60, None),
        progress=RunProgress(),
        seed=0,
        validate=lambda stage: {},
        log=None,
        keep=lambda: None,
        export=lambda: None,
    )
    run_loop(run, lambda record: None)
    model.eval()
    most_frequent = np.bincount(data.candidate, minlength=3).max() / len(data.candidate)
    hits = hits_at_1(model, collator, np.arange(ITEMS))
    assert hits["none/without/known"] <= most_frequent + 1e-9
