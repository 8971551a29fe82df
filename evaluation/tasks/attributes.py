"""Attribute prediction: does this value hold of this item?  MBSD's first task (IAVP)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from evaluation.tasks.base import Task, TaskItems, item_key, numbered
from evaluation.tasks.measures import Measured, binary, macro_f1
from fusion.inference.featurizer import ItemInput, PropertyValue
from fusion.inference.item_encoder import TaskInput
from kg.sampling.keyed_random import KeyedRandom
from schema.arrays import FloatArray
from schema.ontology import Ontology, PropertySpec
from training.finetuning import Questions

PER_ITEM = 4
"""Statements of an item that are asked about, and as many values that it has not."""


@dataclass(frozen=True)
class Tag:
    """A value with its property, and whether an item has it."""

    statement: PropertyValue
    holds: bool

    @property
    def text(self) -> str:
        """What a model reads: the property's name and the value."""
        return ": ".join(self.statement)


class AttributeTask(Task):
    """Each statement of an item is asked about beside another value of its property.

    The item is read without its statements of that property. The other value is drawn by its
    frequency, so that a value by itself says little.

    Args:
        seed: of the draws, which depend on the item alone
    """

    name = "attributes"
    title = "Attribute prediction"
    metric = "ROC-AUC"
    outputs = 1
    asks_texts = True

    def __init__(self, seed: int = 0) -> None:
        self.random = KeyedRandom(seed)

    def questions(self, items: TaskItems, part: str) -> Questions:
        """Return up to ``2 * PER_ITEM`` questions for each item that has statements."""
        inputs = []
        target = []
        statements = []
        group = []
        unasked = 0
        for item in items.parts[part]:
            tags = self.tags(item, items.ontology)
            unasked += not tags
            without = {
                name: replace(item, known=tuple(each for each in item.known if each[0] != name))
                for name in dict.fromkeys(tag.statement[0] for tag in tags)
            }
            for tag in tags:
                inputs.append(TaskInput(without[tag.statement[0]], tag.text))
                target.append(int(tag.holds))
                statements.append(tag.statement)
                group.append(item.id)
        return Questions(
            inputs=inputs,
            sides=np.arange(len(inputs)).reshape(-1, 1),
            target=np.array(target, dtype=np.int64),
            group=numbered(group),
            statements=statements,
            skipped={"items without a statement to ask about": unasked} if unasked else {},
        )

    def tags(self, item: ItemInput, ontology: Ontology) -> list[Tag]:
        """Return the values that an item is asked about, true ones each before a false one."""
        key = item_key(item.id)
        own = {
            (name, ontology.properties[name].shown(value))
            for name, value in item.known
            if (spec := ontology.properties.get(name)) is not None
            and spec.is_learned
            and spec.position(value) is not None
            and len(spec.values) > 1
        }
        order = sorted(own)
        draws = self.random.uniform("tags", key, np.arange(len(order)))
        chosen = [order[index] for index in np.argsort(draws)[:PER_ITEM]]
        tags = []
        for number, (name, value) in enumerate(chosen):
            spec = ontology.properties[name]
            others = {each for each_name, each in own if each_name == name}
            other = self._other_value(
                spec, others, float(self.random.uniform("other", key, number))
            )
            if other is not None:
                tags += [Tag((name, value), True), Tag((name, other), False)]
        return tags

    def measure(self, logits: FloatArray, questions: Questions, threshold: float) -> Measured:
        """Return ROC-AUC, PR-AUC, accuracy, precision, recall, F1, and macro-F1 of yes and no."""
        label = questions.target == 1
        score = logits[:, 0]
        yes = (score >= threshold).astype(np.int64)
        every = binary(label, score, threshold, questions.group)
        return every.joined(macro_f1(questions.target, yes, questions.group))

    @staticmethod
    def _other_value(spec: PropertySpec, own: set[str], draw: float) -> str | None:
        """Return a value that is not the item's ``own``, by frequency; None if there is none."""
        weights = _weights(spec, own)
        total = sum(weights.values())
        if not total:
            return None
        reached = 0.0
        for value, weight in weights.items():
            reached += weight / total
            if draw < reached:
                return value
        return next(reversed(weights))


def _weights(spec: PropertySpec, own: set[str]) -> dict[str, int]:
    counts = spec.counts or (1,) * len(spec.values)
    return {
        value: max(1, count)
        for value, count in zip(spec.values, counts, strict=False)
        if value not in own
    }
