"""Made items whose words say everything, and an encoder that counts words."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from evaluation.tasks.base import TaskItems
from fusion.inference.featurizer import ItemInput
from fusion.inference.item_encoder import ItemEncoder, TaskInput
from schema.ontology import Ontology, PropertySpec

COLOURS = ("red", "blue", "green", "black")
KINDS = ("mug", "shirt")


def made_item(number: int) -> ItemInput:
    colour = COLOURS[number % 4]
    kind = KINDS[number // 4 % 2]
    return ItemInput(
        f"i{number}",
        title=f"{colour} {kind}",
        image=f"{number}.jpg",
        known=(("colour", colour), ("kind", kind)),
        category=("Home" if kind == "mug" else "Wear", kind),
    )


def made_items() -> TaskItems:
    """Return 48 items to train on, 8 to validate and 16 to test, which differ in their ids."""
    items = [made_item(number) for number in range(72)]
    return TaskItems(
        {"train": items[:48], "validation": items[48:56], "test": items[56:]},
        Ontology(
            [
                PropertySpec("colour", values=COLOURS, counts=(18,) * 4, learn=True),
                PropertySpec("kind", values=KINDS, counts=(36,) * 2, learn=True),
            ]
        ),
    )


class CountingEncoder(ItemEncoder):
    """Counts the words of title and text, and those that both have; it learns a weight of each."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "counting"
        self.words = [*COLOURS, *KINDS]
        self.width = 3 * len(self.words)
        self.weight = torch.nn.Parameter(torch.ones(self.width))
        self.read = 0

    def forward(self, inputs: Sequence[TaskInput]) -> Tensor:
        self.read += len(inputs)
        titles = self._counts([each.item.title or "" for each in inputs])
        texts = self._counts([each.text or "" for each in inputs])
        return torch.cat([titles, texts, titles * texts], 1) * self.weight

    def _counts(self, texts: Sequence[str]) -> Tensor:
        words = [text.replace(":", " ").split() for text in texts]
        counts = [[float(word in own) for word in self.words] for own in words]
        return torch.tensor(counts).reshape(len(texts), len(self.words))
