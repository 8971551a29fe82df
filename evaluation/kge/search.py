"""Tune an embedding by PyKEEN's own search within a time, and train it with what was found.

Shapes: N statements, C hidden ones, V values.
"""

from __future__ import annotations

import gc
import logging
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evaluation.kge.folding import TrainedEmbedding
from evaluation.kge.numbering import ValueNumbers, item_triples
from evaluation.kge.settings import EmbeddingSettings, TunedEmbedding, items_digest
from evaluation.metrics import realistic_ranks
from fusion.inference.featurizer import ItemInput
from schema.arrays import BoolArray, IntArray
from schema.errors import DataError
from schema.ontology import Ontology

LOSSES = ("nssa", "crossentropy")
"""Losses that share the time: RotatE's, with which its paper trains all three, and a softmax."""

WIDTHS = (16, 32, 64, 128)
BATCH_SIZES = (512, 1024, 2048, 4096)
MAX_EPOCHS = 200
FREQUENCY = 5
"""Epochs after which a trial is evaluated, again and again."""
STEPS = (5, 10, 20, 40, 80, 160)
"""Steps of which a fold-in's are chosen."""

MAX_CELLS = 1000
"""Hidden statements by which settings are chosen."""

_METRIC = "tail.realistic.inverse_harmonic_mean_rank"
_HIDDEN_SHARE = 0.2  # of the train items, if there are none for validation
_LOUD = ("pykeen", "optuna", "torch_max_mem", "class_resolver")


@dataclass(frozen=True)
class Task:
    """What a search learns from, and what it is judged by.

    ``triples`` [N, 3] are statements of ``items`` items, numbered by ``numbers``; of these,
    ``hidden`` [N] are not learned but ranked.
    """

    numbers: ValueNumbers
    items: int
    triples: IntArray
    hidden: BoolArray

    @property
    def learned(self) -> IntArray:
        """The statements to learn from."""
        return self.triples[~self.hidden]


def tuning_task(
    ontology: Ontology,
    train: Sequence[ItemInput],
    validation: Sequence[ItemInput],
    seed: int = 0,
) -> Task:
    """Hide one statement of each of some items: the validation items, or else a fifth of the rest.

    The items' other statements are learned. Raises DataError if there is nothing to hide.
    """
    numbers = ValueNumbers.of(ontology)
    items = [*train, *validation]
    triples = item_triples(numbers, items)
    if not len(triples):
        raise DataError(
            f"none of the {len(train):,} train items has a statement of a property with two or "
            "more values: an embedding needs some to learn from"
        )
    rng = np.random.default_rng(seed)
    item = triples[:, 0] - numbers.count
    if validation:
        candidates = np.arange(len(train), len(items))
    else:
        candidates = rng.permutation(len(train))[: max(1, round(_HIDDEN_SHARE * len(train)))]
    # An item with a single statement would be left without any.
    candidates = rng.permutation(
        candidates[np.bincount(item, minlength=len(items))[candidates] > 1]
    )
    hidden = np.zeros(len(triples), bool)
    for index in candidates[:MAX_CELLS].tolist():
        hidden[rng.choice(np.flatnonzero(item == index))] = True
    if not hidden.any():
        raise DataError(
            "no item has two statements, of which one could be hidden to tune an embedding: "
            "use a catalogue with more properties"
        )
    return Task(numbers, len(items), triples, hidden)


def tune(
    interaction: str,
    ontology: Ontology,
    train: Sequence[ItemInput],
    validation: Sequence[ItemInput],
    *,
    minutes: float,
    seed: int = 0,
) -> TunedEmbedding:
    """Search the settings of an embedding for some minutes, half of them with each loss.

    A trial that has begun is evaluated once, even if the time is over. Then the steps of a fold-in
    are chosen on the same hidden statements. Raises DataError if every trial diverged.
    """
    began = time.monotonic()
    task = tuning_task(ontology, train, validation, seed)
    trials: list[_Trial] = []
    for number, loss in enumerate(LOSSES, 1):
        until = began + 60 * minutes * number / len(LOSSES)
        trials += _trials(interaction, loss, task, until, seed)
    evaluated = [each for each in trials if each.mrr is not None]
    if not evaluated:
        raise DataError(
            f"all {len(trials):,} trials of {interaction} within {minutes:g} minutes diverged: "
            "give --minutes more"
        )
    best = max(evaluated, key=lambda each: each.mrr or 0)
    settings, fold_in_mrr = _with_steps(best.settings, task, seed)
    return TunedEmbedding(
        settings=settings,
        trials=len(trials),
        seconds=round(time.monotonic() - began, 1),
        cells=int(task.hidden.sum()),
        validation_mrr=best.mrr or 0,
        fold_in_mrr=fold_in_mrr,
        items=items_digest(train),
    )


def train_embedding(
    settings: EmbeddingSettings, ontology: Ontology, items: Sequence[ItemInput], seed: int = 0
) -> TrainedEmbedding:
    """Train an embedding on all statements of some items."""
    numbers = ValueNumbers.of(ontology)
    return _train(settings, numbers, item_triples(numbers, items), len(items), seed)


@dataclass(frozen=True)
class _Trial:
    """The settings of a trial, and its best mean reciprocal rank; None if it was cut off before."""

    settings: EmbeddingSettings
    mrr: float | None


def _trials(interaction: str, loss: str, task: Task, until: float, seed: int) -> list[_Trial]:
    """Run PyKEEN's search with one loss until a time, and return its trials."""
    import optuna
    from pykeen.hpo import hpo_pipeline

    from evaluation.kge.peers import (
        Deadline,
        OwnValuesEvaluator,
        OwnValuesSampler,
        model_class,
    )

    # Under a second nothing would be tried, but each loss is to have a trial.
    timeout = max(1, round(until - time.monotonic()))
    evaluation = {"targets": ("tail",), "batch_size": 256, "use_tqdm": False}
    with _pykeen(), tempfile.TemporaryDirectory() as folder:
        found = hpo_pipeline(
            training=_factory(task.numbers, task.learned, task.items),
            validation=_factory(task.numbers, task.triples[task.hidden], task.items),
            # The pipeline wants a test set, and does not look at it during a search.
            testing=_factory(task.numbers, task.triples[task.hidden], task.items),
            model=model_class(interaction),
            model_kwargs_ranges={"embedding_dim": _choice(WIDTHS)},
            loss=loss,
            optimizer="adam",
            training_loop="slcwa",
            negative_sampler=OwnValuesSampler,
            negative_sampler_kwargs={"starts": task.numbers.starts},
            epochs=MAX_EPOCHS,
            training_kwargs={
                "use_tqdm": False,
                "pin_memory": False,
                "callbacks": Deadline,
                "callbacks_kwargs": {"at": until, "epochs": FREQUENCY},
            },
            training_kwargs_ranges={"batch_size": _choice(BATCH_SIZES)},
            stopper="early",
            stopper_kwargs={
                "frequency": FREQUENCY,
                "patience": 3,
                "relative_delta": 0.002,
                "metric": _METRIC,
                "evaluation_batch_size": evaluation["batch_size"],
                "best_model_path": Path(folder) / "best.pt",
            },
            evaluator=OwnValuesEvaluator,
            evaluator_kwargs={
                "starts": task.numbers.starts,
                "metrics": ["mrr"],
                "add_defaults": False,
            },
            evaluation_kwargs=evaluation,
            metric=_METRIC,
            sampler="tpe",
            sampler_kwargs={"seed": seed},
            timeout=timeout,
            device=None if torch.cuda.is_available() else "cpu",
        )
    done = [each for each in found.study.trials if each.state != optuna.trial.TrialState.FAIL]
    return [_trial(interaction, loss, each) for each in done]


def _trial(interaction: str, loss: str, trial: Any) -> _Trial:
    """Read the settings of one of Optuna's trials."""
    values: dict[int, float] = trial.intermediate_values
    # The model goes back to its best epoch when it stops, which is the one to train for.
    epoch = max(values, key=lambda each: values[each]) if values else 0
    given = trial.params
    settings = EmbeddingSettings(
        interaction=interaction,
        loss=loss,
        width=given.get("model.embedding_dim", 0),
        norm=given.get("model.scoring_fct_norm", 0),
        margin=given.get("loss.margin", 0.0),
        temperature=given.get("loss.adversarial_temperature", 0.0),
        learning_rate=given.get("optimizer.lr", 0.0),
        batch_size=given.get("training.batch_size", 0),
        negatives=given.get("negative_sampler.num_negs_per_pos", 0),
        epochs=epoch,
    )
    return _Trial(settings, values[epoch] if values else None)


def _choice(values: Sequence[int]) -> dict[str, Any]:
    return {"type": "categorical", "choices": list(values)}


def _with_steps(
    settings: EmbeddingSettings, task: Task, seed: int
) -> tuple[EmbeddingSettings, float]:
    """Choose the steps of a fold-in on the hidden statements; returns their MRR, too."""
    embedding = _train(settings, task.numbers, task.learned, task.items, seed)
    found = hidden_mrr(embedding, task, learning_rate=settings.learning_rate, steps=STEPS)
    best = max(found, key=lambda steps: found[steps])
    return replace(settings, steps=best), found[best]


def hidden_mrr(
    embedding: TrainedEmbedding, task: Task, *, learning_rate: float, steps: Sequence[int]
) -> dict[int, float]:
    """Return the mean reciprocal rank of the hidden statements after some steps of folding in.

    Ranks are among the values of the property, without those that are also true of the item.
    """
    hidden = task.triples[task.hidden]
    row_of = {item: row for row, item in enumerate(dict.fromkeys(hidden[:, 0].tolist()))}
    known: list[list[int]] = [[] for _ in row_of]
    for item, _, value in task.learned.tolist():
        if item in row_of:
            known[row_of[item]].append(value)
    found: dict[int, float] = {}
    for step, vectors in enumerate(embedding.folding(known, learning_rate=learning_rate)):
        if step in steps:
            rows = torch.tensor([row_of[item] for item in hidden[:, 0].tolist()])
            found[step] = _mrr(embedding, vectors[rows], task)
        if step == max(steps):
            break
    return found


def _mrr(embedding: TrainedEmbedding, vectors: Tensor, task: Task) -> float:
    """Return the MRR of the hidden statements, by a vector [C, D] for each."""
    hidden = task.triples[task.hidden]
    true = {tuple(triple) for triple in task.triples.tolist()}
    reciprocal = np.zeros(len(hidden))
    for property in np.unique(hidden[:, 1]).tolist():
        rows = np.flatnonzero(hidden[:, 1] == property)
        scores = embedding.scores(vectors[torch.from_numpy(rows)], property).float().numpy()
        start = task.numbers.starts[property]
        is_true = np.array(
            [
                [(item, property, start + value) in true for value in range(scores.shape[1])]
                for item in hidden[rows, 0].tolist()
            ]
        )
        reciprocal[rows] = 1 / realistic_ranks(scores, hidden[rows, 2] - start, is_true)
    return float(reciprocal.mean())


def _factory(numbers: ValueNumbers, triples: IntArray, items: int) -> Any:
    from pykeen.triples import CoreTriplesFactory

    return CoreTriplesFactory(
        torch.from_numpy(triples), numbers.count + items, len(numbers.properties)
    )


def _train(
    settings: EmbeddingSettings, numbers: ValueNumbers, triples: IntArray, items: int, seed: int
) -> TrainedEmbedding:
    """Train as a trial of the search does."""
    from pykeen.training import SLCWATrainingLoop

    from evaluation.kge.peers import OwnValuesSampler, model_class

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    factory = _factory(numbers, triples, items)
    # The loop's own generator is torch's.
    with _pykeen(), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        model: Any = model_class(settings.interaction)(
            triples_factory=factory,
            random_seed=seed,
            loss=settings.loss,
            loss_kwargs=(
                {"margin": settings.margin, "adversarial_temperature": settings.temperature}
                if settings.loss == "nssa"
                else {}
            ),
            embedding_dim=settings.width,
            **({"scoring_fct_norm": settings.norm} if settings.norm else {}),
        ).to(device)
        loop: Any = SLCWATrainingLoop(
            model=model,
            triples_factory=factory,
            optimizer=torch.optim.Adam(model.parameters(), lr=settings.learning_rate),
            negative_sampler=OwnValuesSampler,
            negative_sampler_kwargs={
                "starts": numbers.starts,
                "num_negs_per_pos": settings.negatives,
            },
        )
        loop.train(
            factory,
            num_epochs=settings.epochs,
            batch_size=settings.batch_size,
            use_tqdm=False,
            use_tqdm_batch=False,
            pin_memory=False,
        )
    return TrainedEmbedding(model.eval().cpu(), numbers)


@contextmanager
def _pykeen() -> Iterator[None]:
    """Run PyKEEN without what it and Optuna log, but for errors, and without its warnings.

    Those are about its own calls: of pinned memory without a card, and of shuffling.
    """
    loggers = [logging.getLogger(name) for name in _LOUD]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    # PyKEEN collects garbage after each epoch, for which all that is there would be looked through.
    gc.freeze()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        gc.unfreeze()
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
