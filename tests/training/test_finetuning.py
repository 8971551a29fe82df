"""Fine-tuning of a head, alone and with its encoder."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional as F

from evaluation.tasks.classification import ClassificationTask
from fusion.inference.featurizer import ItemInput
from fusion.inference.item_encoder import TaskInput
from fusion.task_head import TaskHead, joined
from tests.evaluation.tasks.made_items import CountingEncoder, made_items
from training.finetuning import (
    FinetuningOptions,
    Tuned,
    answer,
    finetune,
    task_loss,
    with_missing,
)

ITEMS = made_items()
TASK = ClassificationTask.of(ITEMS.parts["train"])
TRAIN, VALIDATION = (TASK.questions(ITEMS, part) for part in ("train", "validation"))


def test_two_sides_are_joined_by_difference_and_product():
    vectors = torch.tensor([[[1.0, 2.0], [3.0, -1.0]]])
    assert joined(vectors).tolist() == [[1, 2, 3, -1, 2, 3, 3, -2]]
    assert joined(vectors[:, :1]).tolist() == [[1, 2]]


def test_features_are_standardised_and_constant_ones_become_zero():
    head = TaskHead(2, 1, 1)
    vectors = torch.tensor([[[1.0, 5.0]], [[3.0, 5.0]]])
    head.standardise_by(vectors)
    features = (joined(vectors) - head.mean) * head.scale
    assert features.tolist() == [[-1, 0], [1, 0]]


def test_the_loss_is_binary_for_one_output():
    logits = torch.tensor([[0.3], [-1.0]])
    target = torch.tensor([1, 0])
    expected = -(F.logsigmoid(logits[0, 0]) + F.logsigmoid(-logits[1, 0])) / 2
    torch.testing.assert_close(task_loss(logits, target), expected)
    two = torch.cat([torch.zeros(2, 1), logits], 1)
    torch.testing.assert_close(task_loss(two, target), expected)


def test_tuning_all_changes_the_encoder_and_a_seed_repeats_it():
    options = FinetuningOptions(tuned=Tuned.ALL, epochs=2, encoder_rate=0.01)
    encoders = [CountingEncoder() for _ in range(2)]
    heads = [finetune(each, 2, TRAIN, VALIDATION, options).head for each in encoders]
    assert not torch.equal(encoders[0].weight, torch.ones_like(encoders[0].weight))
    torch.testing.assert_close(encoders[0].weight, encoders[1].weight)
    one, other = (
        answer(encoder, head, VALIDATION) for encoder, head in zip(encoders, heads, strict=True)
    )
    torch.testing.assert_close(one, other)


def test_the_best_epoch_is_kept():
    # A rate that destroys what is learned: no epoch is better than the first logits.
    options = FinetuningOptions(epochs=4, patience=9, rate=100.0, batch_size=4)
    result = finetune(CountingEncoder(), 2, TRAIN, VALIDATION, options)
    logits = answer(CountingEncoder(), result.head, VALIDATION)
    kept = float(task_loss(logits, torch.from_numpy(VALIDATION.target)))
    assert kept <= min(result.losses) + 1e-5
    assert len(result.losses) == 4


def test_training_stops_once_nothing_is_gained():
    options = FinetuningOptions(epochs=50, patience=1, rate=100.0)
    assert len(finetune(CountingEncoder(), 2, TRAIN, VALIDATION, options).losses) < 50


def test_answers_are_in_the_order_of_the_questions():
    head = finetune(CountingEncoder(), 2, TRAIN, VALIDATION).head
    whole = answer(CountingEncoder(), head, TRAIN).numpy()
    assert whole.shape == (48, 2)
    assert (whole.argmax(1) == TRAIN.target).mean() > 0.9


def test_titles_and_images_go_missing_in_training_alone():
    rng = np.random.default_rng(0)
    bare = with_missing(TRAIN, 0.25, rng)
    titles = [not each.item.title for each in bare.inputs]
    images = [each.item.image is None for each in bare.inputs]
    assert 5 < sum(titles) < 20
    assert 5 < sum(images) < 20
    assert not any(one and other for one, other in zip(titles, images, strict=True))
    assert with_missing(TRAIN, 0.0, rng).inputs == TRAIN.inputs
    only_title = replace(TRAIN, inputs=[TaskInput(ItemInput("a", title="x"))] * 48)
    assert all(each.item.title for each in with_missing(only_title, 0.5, rng).inputs)
