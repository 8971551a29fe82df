"""What holds for every task, and what each asks."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.modality_faults import ModalityFault
from evaluation.tasks.alignment import AlignmentTask, ItemPair, same_products, told_unknown
from evaluation.tasks.attributes import AttributeTask
from evaluation.tasks.base import PARTS, Task
from evaluation.tasks.classification import ClassificationTask
from evaluation.tasks.matching import MatchingTask
from evaluation.tasks.questions_and_answers import CANDIDATES, QuestionAnsweringTask
from evaluation.tasks.running import measure, measure_faults, train_for_task
from schema.errors import TrainingError
from schema.modalities import Modality
from tests.evaluation.tasks.made_items import CountingEncoder, made_items
from training.finetuning import FinetuningOptions, Questions

ITEMS = made_items()
SAME = [
    ItemPair(one.id, other.id, one.title == other.title)
    for part in PARTS
    for one in ITEMS.parts[part][:8]
    for other in ITEMS.parts[part][:16:3]
    if one.id != other.id
]
QUERIES = {
    item.id: (item.title or "", (item.title or "").split()[0])
    for part in PARTS
    for item in ITEMS.parts[part]
}
TASKS: list[Task] = [
    ClassificationTask.of(ITEMS.parts["train"]),
    AlignmentTask(SAME),
    AttributeTask(),
    MatchingTask(QUERIES),
    QuestionAnsweringTask(ITEMS.ontology),
]
QUICK = FinetuningOptions(epochs=30, rate=0.01, batch_size=16, missing=0.0)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_head_learns_what_words_say_and_loses_it_with_the_titles(task):
    trained = train_for_task(task, CountingEncoder(), ITEMS, QUICK)
    points = measure_faults(
        trained, ITEMS, faults=[ModalityFault.TMR, ModalityFault.IMR], ratios=(0.0, 1.0)
    )
    # There are six answers in all, too few for Rank@10.
    metric = "Rank@1" if task.name == "qa" else task.metric
    whole, blind, _, without_image = (point.measured.values[metric] for point in points)
    # The encoder does not count the property that a question is about.
    assert whole > (0.45 if task.name == "qa" else 0.8)
    assert blind < whole - 0.1
    assert without_image == pytest.approx(whole)
    assert points[1].titles == len(ITEMS.parts["test"])


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_questions_are_the_same_whatever_has_been_changed(task):
    before = task.questions(ITEMS, "test")
    blind = [each.without(Modality.TITLE) for each in ITEMS.parts["test"]]
    after = task.questions(ITEMS.replaced("test", blind), "test")
    np.testing.assert_array_equal(after.sides, before.sides)
    np.testing.assert_array_equal(after.target, before.target)
    assert [each.text for each in after.inputs] == [each.text for each in before.inputs]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_no_question_shows_its_answer_among_the_known_statements(task):
    questions = task.questions(ITEMS, "train")
    for row, (property, _) in zip(questions.sides[:, 0], questions.statements, strict=False):
        assert property not in dict(questions.inputs[row].item.known)
    if task.name == "classification":
        assert all(not each.item.category for each in questions.inputs)
        assert all("kind" not in dict(each.item.known) for each in questions.inputs)


def test_a_category_without_train_items_counts_as_wrong_and_is_not_trained_on():
    task = ClassificationTask(("Home > mug",), frozenset())
    test = task.questions(ITEMS, "test")
    assert sorted(set(test.target)) == [-1, 0]
    assert set(task.questions(ITEMS, "validation").target) == {0}
    assert task.questions(ITEMS, "train").skipped == {"of a category that training has not": 24}
    measured = task.measure(np.zeros((len(test), 1)), test, 0.0)
    assert measured.values["top-1"] == 0.5
    assert measured.values["level 1"] == 0.5


def test_pairs_across_parts_are_not_asked_and_counted():
    pairs = [ItemPair("i0", "i1", True), ItemPair("i0", "i60", True), ItemPair("x", "y", False)]
    questions = AlignmentTask(pairs).questions(ITEMS, "train")
    assert len(questions) == 1
    assert questions.skipped == {"pairs across parts of the split": 1}


def test_pairs_of_items_that_the_split_lacks_are_told():
    pairs = [ItemPair("i0", "i1", True), ItemPair("i0", "nowhere", True), ItemPair("x", "y", False)]
    assert told_unknown(pairs, ITEMS) == "2 pairs name an item that no part of the split has"
    assert told_unknown(pairs[:1], ITEMS) is None


def test_same_products_are_transitive():
    pairs = [ItemPair("a", "b", True), ItemPair("c", "b", True), ItemPair("a", "d", False)]
    assert same_products(pairs) == {"a": {"b", "c"}, "b": {"a", "c"}, "c": {"a", "b"}}


def test_every_true_tag_stands_before_another_value_of_its_property():
    questions = AttributeTask().questions(ITEMS, "test")
    pairs = list(zip(questions.statements[::2], questions.statements[1::2], strict=True))
    known = {(item.id, *each) for item in ITEMS.parts["test"] for each in item.known}
    ids = [each.item.id for each in questions.inputs[::2]]
    for id, (true, other) in zip(ids, pairs, strict=True):
        assert true[0] == other[0]
        assert (id, *true) in known
        assert (id, *other) not in known


def test_the_values_of_the_property_are_ranked_before_those_of_others():
    questions = QuestionAnsweringTask(ITEMS.ontology).questions(ITEMS, "test")
    assert CANDIDATES > 6
    candidates = zip(questions.statements, questions.ranked, strict=True)
    first = [statement for statement, question in candidates if question == 0]
    property = first[0][0]
    values = ITEMS.ontology.values_of(property)
    assert {text for _, text in first[: len(values)]} == set(values)
    assert len(first) == 6


def test_answers_and_texts_are_read_once():
    questions = QuestionAnsweringTask(ITEMS.ontology).questions(ITEMS, "test")
    texts = [each.text for each in questions.inputs if not each.item.id]
    assert len(texts) == len(set(texts)) == 6


def test_a_split_without_questions_is_refused_in_one_line():
    with pytest.raises(TrainingError, match="the train split has no question"):
        train_for_task(AlignmentTask([]), CountingEncoder(), ITEMS)


def test_measures_are_paired_over_the_same_items():
    task = TASKS[0]
    trained = train_for_task(task, CountingEncoder(), ITEMS, QUICK)
    measured = measure(trained, ITEMS)
    assert all(
        each.value == each.low == each.high == 0 for each in measured.minus(measured).values()
    )


def test_frozen_vectors_are_computed_once_and_the_encoder_stays_as_it_was():
    encoder = CountingEncoder()
    train_for_task(TASKS[0], encoder, ITEMS, QUICK)
    assert bool((encoder.weight == 1).all())
    # Train and validation once, and validation again for the threshold.
    assert encoder.read == 48 + 8 + 8


def test_questions_have_as_many_answers_as_sides():
    for task in TASKS:
        questions: Questions = task.questions(ITEMS, "validation")
        assert len(questions) == len(questions.sides) == len(questions.group)
        assert questions.sides.max() < len(questions.inputs)
