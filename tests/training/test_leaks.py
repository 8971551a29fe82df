"""Leaks, by construction: if the hidden statement is the only clue, nothing can be learned.

And what a held-out item says changes nothing about the batches that a run trains on.
"""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fusion.build import build_model
from kg.image_cache import ImageCache
from kg.sampling.keyed_random import KeyedRandom
from tests.training.conftest import TINY, all_terms, items_only
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


TRAIN = np.arange(16)
"""The other 8 of the 24 items are held out."""


def with_held_out(data, statements):
    """The same data, in which the held-out items have these candidates [8, ...]."""
    candidates = [data.candidate[data.indptr[i] : data.indptr[i + 1]] for i in TRAIN]
    candidates += [np.array(sorted(values), dtype=np.int64) for values in statements]
    candidate = np.concatenate(candidates)
    return dataclasses.replace(
        data,
        indptr=np.cumsum([0, *map(len, candidates)]),
        candidate=candidate,
        property=np.searchsorted(data.ranges, candidate, side="right") - 1,
    )


def tensors_of(part):
    """Every tensor and number of a batch, in order."""
    if dataclasses.is_dataclass(part):
        return [
            each
            for field in dataclasses.fields(part)
            for each in tensors_of(getattr(part, field.name))
        ]
    if isinstance(part, tuple):
        return [each for one in part for each in tensors_of(one)]
    return [part]


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    return bool(one == other)


HELD_OUT = st.lists(st.sets(st.integers(0, 4)), min_size=8, max_size=8)


@pytest.mark.parametrize(
    "changes",
    [
        {"link": "softmax"},
        {"link": "softmax", "max_candidates": 2},
        *({"link": "margin", "corruption": kind} for kind in ("type", "uniform")),
        *({"link": "margin", "corruption": kind} for kind in ("bernoulli", "category")),
    ],
)
@given(before=HELD_OUT, after=HELD_OUT)
@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_statements_of_held_out_items_change_nothing_in_a_training_batch(
    data, tokenizer, recipe, changes, before, after
):
    recipe = dataclasses.replace(recipe, **changes)
    # All items are of one category, so that the held-out ones would add to its values.
    data = dataclasses.replace(data, category=np.zeros(24, np.int64))
    batches = []
    for statements in (before, after):
        told = with_held_out(data, statements)
        collator = Collator(told, tokenizer, recipe, TrainingFlows(told, 8), TINY, train=TRAIN)
        batches.append(
            [
                collator.batch(all_terms(recipe), items_only(part), KeyedRandom(0, step))
                for step, part in enumerate(np.split(TRAIN, 2))
            ]
        )
    for one, other in zip(*batches, strict=True):
        pairs = list(zip(tensors_of(one), tensors_of(other), strict=True))
        assert len(pairs) > 20
        assert all(same(*pair) for pair in pairs)
