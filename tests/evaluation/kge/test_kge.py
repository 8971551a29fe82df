from __future__ import annotations

import functools
import json

import numpy as np
import pytest
import torch

from commands.baselines import EMBEDDINGS
from evaluation.completion import evaluate_completion
from evaluation.kge import search
from evaluation.kge.folding import TrainedEmbedding
from evaluation.kge.numbering import ValueNumbers, item_triples
from evaluation.kge.scorer import EmbeddingScorer
from evaluation.kge.search import hidden_mrr, train_embedding, tune, tuning_task
from evaluation.kge.settings import (
    INTERACTIONS,
    EmbeddingSettings,
    items_digest,
    read_tuned,
    write_tuned,
)
from evaluation.settings import Setting
from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery
from schema.errors import DataError, SourceNotFoundError
from schema.ontology import Ontology, PropertySpec

ONTOLOGY = Ontology(
    [
        PropertySpec("make", values=("one",), counts=(60,)),
        PropertySpec("kind", values=("mug", "lamp", "rug"), counts=(20, 20, 20)),
        PropertySpec("room", values=("kitchen", "study", "hall"), counts=(20, 20, 20)),
        PropertySpec("use", values=("drink", "light", "walk"), counts=(20, 20, 20)),
    ]
)
KNOWN = Setting("none", "no", "all")
SETTINGS = {
    name: EmbeddingSettings(
        name,
        loss,
        width=12,
        norm=norm,
        margin=4.0,
        temperature=1.0,
        learning_rate=0.1,
        batch_size=16,
        negatives=4,
        epochs=16,
        steps=60,
    )
    for name, loss, norm in (
        ("transe", "nssa", 2),
        ("rotate", "nssa", 0),
        ("complex", "crossentropy", 0),
    )
}


def catalogue(count: int = 60, first: int = 0) -> list[ItemInput]:
    """Items of which each statement follows from each other one."""
    items = []
    for number in range(first, first + count):
        known = tuple(
            (spec.name, spec.values[number % len(spec.values)])
            for spec in ONTOLOGY.properties.values()
        )
        items.append(ItemInput(str(number), known=known))
    return items


@functools.cache
def embedding_of(name: str) -> TrainedEmbedding:
    return train_embedding(SETTINGS[name], ONTOLOGY, catalogue())


@pytest.fixture(params=sorted(SETTINGS))
def trained(request: pytest.FixtureRequest) -> tuple[EmbeddingSettings, TrainedEmbedding]:
    return SETTINGS[request.param], embedding_of(request.param)


def test_values_are_numbered_by_property_and_single_values_are_not():
    numbers = ValueNumbers.of(ONTOLOGY)
    assert numbers.properties == ("kind", "room", "use")
    assert numbers.starts == (0, 3, 6, 9)
    assert [numbers.property_of(value) for value in range(9)] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    known = [("use", "light"), ("make", "one"), ("kind", "rug"), ("kind", "cup")]
    triples = item_triples(numbers, [ItemInput("a"), ItemInput("b", known=tuple(known))])
    assert triples.tolist() == [[10, 0, 2], [10, 2, 7]]


def test_corrupted_statements_state_other_values_of_the_property():
    from evaluation.kge.peers import OwnValuesSampler

    starts = ValueNumbers.of(ONTOLOGY).starts
    true = torch.tensor([[9, 0, 1], [9, 2, 8]])
    sampler = OwnValuesSampler(mapped_triples=true, starts=starts, num_negs_per_pos=200)
    corrupted = sampler.corrupt_batch(positive_batch=true)
    assert [set(row[:, 2].tolist()) for row in corrupted] == [{0, 2}, {6, 7}]
    assert torch.equal(corrupted[:, :, :2], true[:, None, :2].expand(-1, 200, -1))


def test_ranks_are_among_the_values_of_the_property():
    from evaluation.kge.peers import OwnValuesEvaluator

    starts = ValueNumbers.of(ONTOLOGY).starts
    evaluator = OwnValuesEvaluator(starts, metrics=["mrr"], add_defaults=False)
    # The true value, 4, is behind 5 of its own property, and behind 0, 8 and 9, which do not count.
    scores = torch.tensor([[9.0, 0, 0, 1, 2, 3, 0, 0, 9, 9]])
    evaluator.process_scores_(torch.tensor([[9, 1, 4]]), "tail", scores, scores[:, 4:5])
    metric = evaluator.finalize().get_metric("tail.realistic.inverse_harmonic_mean_rank")
    assert metric == pytest.approx(0.5)


def test_a_diverged_model_has_no_rank():
    from optuna import TrialPruned

    from evaluation.kge.peers import OwnValuesEvaluator

    evaluator = OwnValuesEvaluator(ValueNumbers.of(ONTOLOGY).starts)
    scores = torch.full((1, 10), torch.nan)
    with pytest.raises(TrialPruned):
        evaluator.process_scores_(torch.tensor([[9, 1, 4]]), "tail", scores, scores[:, :1])


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_every_embedding_can_be_tuned(name, monkeypatch):
    monkeypatch.setattr(search, "FREQUENCY", 1)
    monkeypatch.setattr(search, "MAX_EPOCHS", 1)
    monkeypatch.setattr(search, "LOSSES", ("crossentropy",))
    assert tune(name, ONTOLOGY, catalogue(9), [], minutes=1e-3).settings.epochs == 1


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_scores_are_the_formulas_of_the_papers(name):
    embedding = embedding_of(name)
    head, tails = embedding.items()[0], embedding.values()[3:6]
    (relation,) = embedding.relation(1)
    expected = {
        "transe": lambda: -(head + relation - tails).square().sum(1).sqrt(),
        "rotate": lambda: -(head * relation - tails).abs().square().sum(1).sqrt(),
        "complex": lambda: (head * relation * tails.conj()).real.sum(1),
    }[name]()
    torch.testing.assert_close(embedding.scores(head[None], 1)[0], expected)


def test_a_trained_item_folded_in_ranks_values_as_its_own_vector_does(trained):
    settings, embedding = trained
    known = [embedding.numbers.values_known(item.known) for item in catalogue()]
    folded = embedding.fold_in(known, learning_rate=settings.learning_rate, steps=settings.steps)
    for property in range(3):
        own = embedding.scores(embedding.items(), property).argmax(1)
        assert torch.equal(embedding.scores(folded, property).argmax(1), own)


def test_no_item_makes_a_difference_to_another_one_s_vector(trained):
    _, embedding = trained
    known = [(0, 4), (1,), (), (2, 3, 8)]
    together = embedding.fold_in(known, learning_rate=0.05, steps=10)
    alone = [embedding.fold_in([each], learning_rate=0.05, steps=10) for each in known]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-4)


def test_without_statements_or_steps_an_item_is_the_mean_of_the_trained_ones(trained):
    _, embedding = trained
    mean = embedding.items().mean(0)
    for known, steps in (((), 10), ((0, 4), 0)):
        (vector,) = embedding.fold_in([known], learning_rate=0.05, steps=steps)
        torch.testing.assert_close(vector, mean)


def test_folding_in_leaves_the_model_as_it_is(trained):
    _, embedding = trained
    before = {name: tensor.clone() for name, tensor in embedding.model.state_dict().items()}
    embedding.fold_in([(0, 4)], learning_rate=0.05, steps=5)
    after = embedding.model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_a_step_follows_the_gradient_of_the_cross_entropy():
    embedding = embedding_of("complex")
    mean = embedding.items().mean(0)
    scores = embedding.scores(mean[None], 0)[0]
    # Of -log softmax by the vector: the expected minus the true relation * conjugate of the value.
    products = embedding.relation(0) * embedding.values()[:3].conj()
    probabilities = scores.softmax(0)
    gradient = (probabilities[:, None] * products).sum(0) - products[1]
    stepped = embedding.fold_in([(1,)], learning_rate=0.01, steps=1)[0]
    # Adam's first step has the learning rate's length in each number, against the gradient's sign.
    expected = -0.01 * torch.view_as_real(gradient.conj().resolve_conj()).sign()
    torch.testing.assert_close(torch.view_as_real(stepped - mean), expected, atol=1e-4, rtol=0)


def test_held_out_items_are_completed_from_their_other_statements(trained):
    settings, embedding = trained
    scorer = EmbeddingScorer(ONTOLOGY, embedding, settings)
    report = evaluate_completion(scorer, catalogue(6, 100), ONTOLOGY, KNOWN, resamples=2)
    assert {name: each["hits@1"].value for name, each in report.properties.items()} == {
        "make": 1,
        "kind": 1,
        "room": 1,
        "use": 1,
    }


def test_the_asked_property_s_statements_are_never_used(trained):
    settings, embedding = trained
    scorer = EmbeddingScorer(ONTOLOGY, embedding, settings)
    other = ("room", "study")
    with_value, without = scorer.score(
        None, [CellQuery(0, "kind", (("kind", "rug"), other)), CellQuery(0, "kind", (other,))]
    )
    assert np.array_equal(with_value, without)


def test_one_statement_of_each_validation_item_is_hidden():
    task = tuning_task(ONTOLOGY, catalogue(20), catalogue(5, 20))
    assert task.items == 25
    assert sorted(task.triples[task.hidden][:, 0] - task.numbers.count) == [20, 21, 22, 23, 24]
    without = tuning_task(ONTOLOGY, catalogue(20), [])
    assert without.hidden.sum() == 4  # a fifth of the train items


def test_a_perfect_ranking_of_hidden_statements_has_a_mean_reciprocal_rank_of_one(trained):
    settings, embedding = trained
    task = tuning_task(ONTOLOGY, catalogue(), [])
    found = hidden_mrr(embedding, task, learning_rate=settings.learning_rate, steps=(0, 60))
    assert found[60] == 1
    assert 0.3 < found[0] < 0.9


def test_tuning_evaluates_a_trial_of_each_loss_and_keeps_the_best(tmp_path, monkeypatch):
    monkeypatch.setattr(search, "FREQUENCY", 1)
    monkeypatch.setattr(search, "MAX_EPOCHS", 2)
    train = catalogue(30)
    tuned = tune("transe", ONTOLOGY, train, catalogue(15, 30), minutes=0.01)
    assert tuned.trials >= 2
    assert 0 < tuned.validation_mrr <= 1
    assert tuned.cells == 15
    assert tuned.settings.epochs > 0
    write_tuned(tmp_path, tuned)
    assert read_tuned(tmp_path, "transe", train) == tuned


def test_tuning_without_statements_is_refused():
    with pytest.raises(DataError, match="none of the 1 train items has a statement"):
        tuning_task(ONTOLOGY, [ItemInput("1")], [])
    single = [ItemInput("1", known=(("kind", "mug"),))]
    with pytest.raises(DataError, match="no item has two statements"):
        tuning_task(ONTOLOGY, single, [])


def test_settings_of_other_items_and_damaged_ones_are_refused(tmp_path):
    from evaluation.kge.settings import TunedEmbedding

    train = catalogue(3)
    with pytest.raises(SourceNotFoundError, match="baseline kge --only rotate"):
        read_tuned(tmp_path, "rotate", train)
    tuned = TunedEmbedding(SETTINGS["rotate"], 1, 1.0, 1, 0.5, 0.5, items_digest(train))
    path = write_tuned(tmp_path, tuned)
    with pytest.raises(DataError, match="tuned with other train items"):
        read_tuned(tmp_path, "rotate", catalogue(4))
    for damage in ({"width": "wide"}, {"width": 10**9}, {"colour": 1}, {"epochs": None}):
        document = json.loads(path.read_text())
        document["settings"] |= damage
        path.write_text(json.dumps(document))
        with pytest.raises(DataError, match="is damaged"):
            read_tuned(tmp_path, "rotate", train)
        write_tuned(tmp_path, tuned)


def test_the_command_names_every_embedding():
    assert tuple(INTERACTIONS) == EMBEDDINGS
