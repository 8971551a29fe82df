"""Fine-tune for a task: train a head on an item encoder's vectors, alone or with the encoder.

Shapes: N questions, I inputs, S sides of a question, D the encoder's width, C outputs.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fusion.inference.featurizer import PropertyValue
from fusion.inference.item_encoder import ItemEncoder, TaskInput
from fusion.task_head import TaskHead
from schema.arrays import IntArray
from schema.errors import TrainingError
from schema.modalities import Modality
from schema.progress import ProgressCallback, no_progress


class Tuned(StrEnum):
    """What fine-tuning changes: the head on frozen vectors, or the whole encoder with it."""

    HEAD = "head"
    ALL = "all"


@dataclass(frozen=True)
class Questions:
    """N questions of a task about I inputs, with their answers.

    Attributes:
        inputs: what is read, each once
        sides: the inputs of each question, as rows of ``inputs`` [N, S]
        target: the answers [N]: a class, or 1 for yes and 0 for no
        group: the item that a question is about, numbered from 0 [N]; intervals resample these
        ranked: the question whose candidate answers a row is one of [N]; empty if nothing is ranked
        statements: the property and value that each question is about [N]; empty if there is none
        skipped: how many could not be asked, by the reason
    """

    inputs: Sequence[TaskInput]
    sides: IntArray
    target: IntArray
    group: IntArray
    ranked: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    statements: Sequence[PropertyValue] = ()
    skipped: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.target)

    @property
    def asked(self) -> int:
        """The number of questions, each with all of its candidate answers."""
        return len(np.unique(self.ranked)) if len(self.ranked) else len(self)


@dataclass(frozen=True)
class FinetuningOptions:
    """How to fine-tune.

    ``epochs`` is the most: training ends once the validation loss has not fallen for ``patience``
    epochs, and the best epoch is kept. ``encoder_rate`` is the learning rate of the encoder.
    ``missing`` is the share of the train inputs that lose their title, and that of those that lose
    their image, so that a model learns to do without.
    """

    tuned: Tuned = Tuned.HEAD
    epochs: int = 40
    patience: int = 5
    batch_size: int = 64
    rate: float = 1e-3
    encoder_rate: float = 1e-4
    weight_decay: float = 0.01
    missing: float = 0.15
    seed: int = 0


@dataclass(frozen=True)
class FinetuningResult:
    """The head of the best epoch, and the mean validation loss after each epoch."""

    head: TaskHead
    losses: tuple[float, ...]


def task_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the mean cross-entropy of ``logits`` [N, C] for ``target`` [N]; binary if C is 1."""
    if logits.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(logits[:, 0].float(), target.float())
    return F.cross_entropy(logits.float(), target)


def finetune(
    encoder: ItemEncoder,
    outputs: int,
    train: Questions,
    validation: Questions,
    options: FinetuningOptions | None = None,
    progress: ProgressCallback = no_progress,
) -> FinetuningResult:
    """Train a head with ``outputs`` C, and with :attr:`Tuned.ALL` the encoder, in place.

    Raises TrainingError if there is nothing to learn from or to choose the best epoch by.
    """
    options = options or FinetuningOptions()
    for part, questions in (("train", train), ("validation", validation)):
        if not len(questions):
            raise TrainingError(
                f"the {part} split has no question of this task: give it more items, "
                "or another --split"
            )
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    train = with_missing(train, options.missing, rng)
    vectors = encoder.encode(train.inputs)
    head = TaskHead(encoder.width, train.sides.shape[1], outputs)
    head.standardise_by(vectors[torch.from_numpy(train.sides)].clone())
    whole = options.tuned is Tuned.ALL and any(True for _ in encoder.parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": head.parameters(), "lr": options.rate},
            *([{"params": encoder.parameters(), "lr": options.encoder_rate}] if whole else []),
        ],
        weight_decay=options.weight_decay,
    )
    frozen = None if whole else vectors.clone()
    held_out = None if whole else encoder.encode(validation.inputs)

    best = (copy.deepcopy(head.state_dict()), copy.deepcopy(encoder.state_dict()) if whole else {})
    lowest = _validation_loss(encoder, head, validation, held_out)
    losses: list[float] = []
    waited = 0
    for epoch in range(options.epochs):
        head.train()
        encoder.train(whole)
        for rows in _batches(len(train), options.batch_size, rng):
            sides = _sides(encoder, train, rows, frozen)
            loss = task_loss(head(sides), torch.from_numpy(train.target[rows]))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(
                [each for group in optimizer.param_groups for each in group["params"]], 1.0
            )
            optimizer.step()
        losses.append(_validation_loss(encoder, head, validation, held_out))
        progress(epoch + 1, options.epochs)
        waited += 1
        if losses[-1] < lowest:
            lowest = losses[-1]
            waited = 0
            best = (
                copy.deepcopy(head.state_dict()),
                copy.deepcopy(encoder.state_dict()) if whole else {},
            )
        if waited > options.patience:
            break
    head.load_state_dict(best[0])
    if whole:
        encoder.load_state_dict(best[1])
    encoder.eval()
    return FinetuningResult(head.eval(), tuple(losses))


def with_missing(questions: Questions, share: float, rng: np.random.Generator) -> Questions:
    """Return questions of which a ``share`` of the inputs has no title, and as many no image.

    An input keeps what it has if nothing else were left of its item.
    """
    draws = rng.random(len(questions.inputs))
    inputs = []
    for draw, each in zip(draws.tolist(), questions.inputs, strict=True):
        if draw < 2 * share:
            bare = each.item.without(Modality.TITLE if draw < share else Modality.IMAGE)
            if any(map(bare.has, Modality)):
                each = replace(each, item=bare)
        inputs.append(each)
    return replace(questions, inputs=inputs)


@torch.inference_mode()
def answer(encoder: ItemEncoder, head: TaskHead, questions: Questions) -> Tensor:
    """Return the logits [N, C] of questions."""
    return _answer(head, questions, encoder.encode(questions.inputs))


def _answer(head: TaskHead, questions: Questions, vectors: Tensor) -> Tensor:
    head.eval()
    sides = torch.from_numpy(questions.sides)
    # In parts, since the features of many candidate answers take much memory.
    parts = [head(vectors[part]) for part in sides.split(4096)]
    return torch.cat([torch.zeros(0, head.outputs), *parts])


@torch.inference_mode()
def _validation_loss(
    encoder: ItemEncoder, head: TaskHead, questions: Questions, vectors: Tensor | None
) -> float:
    encoder.eval()
    vectors = encoder.encode(questions.inputs) if vectors is None else vectors
    logits = _answer(head, questions, vectors)
    return float(task_loss(logits, torch.from_numpy(questions.target)))


def _sides(
    encoder: ItemEncoder, questions: Questions, rows: IntArray, frozen: Tensor | None
) -> Tensor:
    """Return the vectors [b, S, D] of the sides of some questions, with gradients if not frozen."""
    sides = questions.sides[rows]
    if frozen is not None:
        return frozen[torch.from_numpy(sides)]
    # An input that several questions of the batch share is encoded once.
    own, position = np.unique(sides, return_inverse=True)
    vectors = encoder([questions.inputs[row] for row in own]).float().cpu()
    return vectors[torch.from_numpy(position.reshape(sides.shape))]


def _batches(count: int, size: int, rng: np.random.Generator) -> Iterator[IntArray]:
    """Yield the numbers of the questions in random order, a batch at a time."""
    order = rng.permutation(count)
    for start in range(0, count, size):
        yield order[start : start + size]
