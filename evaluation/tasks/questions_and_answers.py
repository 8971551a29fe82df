"""Question answering about an item: K3M's third task.

Catalogues have no questions, so these are made from the ontology's properties in varied wording,
and their answers are the item's statements.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

import numpy as np

from evaluation.tasks.base import Task, TaskItems, item_key
from evaluation.tasks.measures import Measured, ranking, ranks
from fusion.inference.featurizer import PropertyValue
from fusion.inference.item_encoder import NO_ITEM, TaskInput
from kg.sampling.keyed_random import KeyedRandom
from schema.arrays import FloatArray
from schema.ontology import Ontology
from training.finetuning import Questions

PER_ITEM = 3
"""Questions about an item at most."""
WRONG_ANSWERS = 6
"""Wrong answers beside the true one in training, half of them values of the same property."""
CANDIDATES = 100
"""Answers that are ranked in a test, the true one among them."""
WORDINGS = (
    "What is the {property}?",
    "Which {property} does it have?",
    "Can you tell me the {property}?",
    "{property}?",
    "I would like to know the {property} of this one.",
)


@dataclass(frozen=True)
class Answer:
    """A possible answer: a value of a property."""

    property: str
    text: str


@dataclass(frozen=True)
class _Asked:
    """A question about an item: the true answer, and the candidates, the true one first."""

    property: str
    wording: str
    candidates: tuple[str, ...]


class QuestionAnsweringTask(Task):
    """Which answer belongs to a question about an item?

    The item, without its statements of the property that is asked about, is read together with the
    question; the answer is read by itself; and the head scores the pair. Wrong answers are other
    values of the property, and if these are too few, values of others. Texts of the item's other
    values of the property are never among them.

    Args:
        ontology: properties and their values
        seed: of the draws, which depend on the item alone
    """

    name = "qa"
    title = "Question answering"
    metric = "Rank@10"
    outputs = 1
    asks_texts = True

    def __init__(self, ontology: Ontology, seed: int = 0) -> None:
        self.random = KeyedRandom(seed)
        self.properties = [
            name for name in ontology.learned() if len(ontology.properties[name].values) > 1
        ]
        answers = {
            Answer(name, value)
            for name in self.properties
            for value in ontology.properties[name].values
        }
        self.answers = sorted(answers, key=lambda each: (each.property, each.text))

    def questions(self, items: TaskItems, part: str) -> Questions:
        """Return candidate answers to questions; a test has more of them for each."""
        wrong = CANDIDATES - 1 if part == "test" else WRONG_ANSWERS
        of_property = wrong if part == "test" else wrong // 2
        inputs: list[TaskInput] = []
        sides: list[tuple[int, int]] = []
        target: list[int] = []
        group: list[int] = []
        ranked: list[int] = []
        statements: list[tuple[str, str]] = []
        answer_row: dict[str, int] = {}
        unasked = 0
        question = 0
        for number, item in enumerate(items.parts[part]):
            asked = self._asked(item.id, item.known, items.ontology, wrong, of_property)
            unasked += not asked
            for each in asked:
                known = tuple(one for one in item.known if one[0] != each.property)
                row = len(inputs)
                inputs.append(TaskInput(replace(item, known=known), each.wording))
                for position, text in enumerate(each.candidates):
                    if text not in answer_row:
                        answer_row[text] = len(inputs)
                        inputs.append(TaskInput(NO_ITEM, text))
                    sides.append((row, answer_row[text]))
                    target.append(int(position == 0))
                    group.append(number)
                    ranked.append(question)
                    statements.append((each.property, text))
                question += 1
        _, group_number = np.unique(np.array(group, dtype=np.int64), return_inverse=True)
        return Questions(
            inputs=inputs,
            sides=np.array(sides, dtype=np.int64).reshape(-1, 2),
            target=np.array(target, dtype=np.int64),
            group=group_number,
            ranked=np.array(ranked, dtype=np.int64),
            statements=statements,
            skipped={"items without a statement to ask about": unasked} if unasked else {},
        )

    def measure(self, logits: FloatArray, questions: Questions, threshold: float) -> Measured:
        """Return Rank@1, Rank@10 and MRR of the true answers; Rank@10 only of more than ten."""
        rank = ranks(logits[:, 0], questions.target, questions.ranked)
        first = np.unique(questions.ranked, return_index=True)[1]
        most = int(np.bincount(questions.ranked).max(initial=0))
        cutoffs = tuple(each for each in (1, 10) if each < most)
        return ranking(rank, questions.group[first], cutoffs)

    def _asked(
        self,
        id: str,
        known: Sequence[PropertyValue],
        ontology: Ontology,
        wrong: int,
        of_property: int,
    ) -> list[_Asked]:
        """Return what is asked about an item, each with ``wrong`` answers beside the true one.

        At most ``of_property`` of them are values of the property that is asked about.
        """
        key = item_key(id)
        own = sorted(
            {
                (name, ontology.properties[name].shown(value))
                for name, value in known
                if name in self.properties and ontology.position(name, value) is not None
            }
        )
        chosen = np.argsort(self.random.uniform("questions", key, np.arange(len(own))))[:PER_ITEM]
        asked = []
        for number in chosen.tolist():
            name, value = own[number]
            true = {text.casefold() for each, text in own if each == name}
            draw = int(self.random.integers(len(WORDINGS), "wording", key, number))
            same, different = self._wrong(name, true, key, number)
            others = list(dict.fromkeys([*same[:of_property], *different]))
            wording = WORDINGS[draw].format(property=name)
            asked.append(_Asked(name, wording, (value, *others[:wrong])))
        return asked

    def _wrong(
        self, property: str, true: Set[str], key: int, number: int
    ) -> tuple[list[str], list[str]]:
        """Return wrong answers in random order: the property's own values, and all others."""
        draws = self.random.uniform("answers", key, number, np.arange(len(self.answers)))
        ordered = [self.answers[index] for index in np.argsort(draws, kind="stable")]
        wrong = [each for each in ordered if each.text.casefold() not in true]
        same = [each.text for each in wrong if each.property == property]
        of_property = set(same)
        return same, [each.text for each in wrong if each.text not in of_property]
