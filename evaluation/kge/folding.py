"""A vector for an item that training has not seen, from its known statements.

Shapes: N items to fold in, D numbers of a vector, V values of all properties together, K the values
of one property, M the statements of one property among those of the N items, I trained items.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from evaluation.kge.numbering import ValueNumbers


@dataclass(frozen=True)
class TrainedEmbedding:
    """A model of PyKEEN whose first V entities are the values, and whose others are I items."""

    model: Any
    numbers: ValueNumbers

    def values(self) -> Tensor:
        """The values' vectors [V, D]."""
        vectors: Tensor = self._entities(torch.arange(self.numbers.count))
        return vectors.detach()

    def items(self) -> Tensor:
        """The trained items' vectors [I, D]."""
        vectors: Tensor = self._entities(torch.arange(self.numbers.count, self._entities.max_id))
        return vectors.detach()

    def relation(self, property: int) -> Tensor:
        """The vector [1, D] of a property's relation."""
        vector: Tensor = self.model.relation_representations[0](torch.tensor([property]))
        return vector.detach()

    def scores(self, vectors: Tensor, property: int) -> Tensor:
        """Score items' vectors [N, D] with all values of a property: [N, K]."""
        starts = self.numbers.starts
        values = self.values()[starts[property] : starts[property + 1]]
        return self._scores(vectors, self.relation(property), values)

    def _scores(self, vectors: Tensor, relation: Tensor, values: Tensor) -> Tensor:
        scores: Tensor = self.model.interaction(vectors[:, None], relation[None], values[None])
        return scores

    @property
    def _entities(self) -> Any:
        return self.model.entity_representations[0]

    def fold_in(
        self, known: Sequence[Sequence[int]], *, learning_rate: float, steps: int
    ) -> Tensor:
        """Return the vector [N, D] of each of N items after some steps of :meth:`folding`."""
        return next(islice(self.folding(known, learning_rate=learning_rate), steps, None))

    def folding(self, known: Sequence[Sequence[int]], *, learning_rate: float) -> Iterator[Tensor]:
        """Yield vectors [N, D] of N items, of which these statements are known, step by step.

        A vector begins at the mean of all trained items. Then its statements are learned with the
        model's own loss, each against all other values of its property, while values and relations
        stay as they are. Without any statement it remains the mean. No item makes a difference to
        another one's vector.
        """
        statements = self._by_property(known)
        vectors = self.items().mean(0).repeat(len(known), 1).requires_grad_()
        optimizer = torch.optim.Adam([vectors], lr=learning_rate)
        while True:
            yield vectors.detach()
            if statements:
                optimizer.zero_grad()
                torch.stack([self._loss(vectors, each) for each in statements]).sum().backward()
                optimizer.step()
                self._constrain(vectors, known)

    def _by_property(self, known: Sequence[Sequence[int]]) -> list[_Statements]:
        """Gather the statements of N items by their properties."""
        starts = self.numbers.starts
        pairs = [(item, value) for item, values in enumerate(known) for value in values]
        if not pairs:
            return []
        item, value = torch.tensor(pairs).T
        property = torch.tensor([self.numbers.property_of(each) for each in value.tolist()])
        every = self.values()
        statements = []
        for number in property.unique().tolist():
            rows = property == number
            values = every[starts[number] : starts[number + 1]]
            true = value[rows, None] - starts[number]
            # All others, in their order round the property's values.
            others = (true + torch.arange(1, len(values))) % len(values)
            relation = self.relation(number)
            statements.append(_Statements(item[rows], relation, values, true, others))
        return statements

    def _loss(self, vectors: Tensor, statements: _Statements) -> Tensor:
        """Return the loss of one property's M statements, summed over them."""
        heads = vectors.index_select(0, statements.item)
        scores = self._scores(heads, statements.relation, statements.values)
        mean: Tensor = self.model.loss.process_slcwa_scores(
            scores.gather(1, statements.true), scores.gather(1, statements.others)
        )
        # The sum, so that what one item learns does not depend on how many there are.
        return mean * len(heads)

    def _constrain(self, vectors: Tensor, known: Sequence[Sequence[int]]) -> None:
        """Keep vectors as the model keeps its entities: those of TransE have unit length."""
        constrainer = self._entities.constrainer
        if constrainer is None:
            return
        learned = torch.tensor([bool(values) for values in known])
        with torch.no_grad():
            vectors[learned] = constrainer(vectors[learned])


@dataclass(frozen=True)
class _Statements:
    """M statements of one property.

    Attributes:
        item: which of the N items each is about [M]
        relation: the property's vector [1, D]
        values: the vectors of its values [K, D]
        true: which of them each statement states [M, 1]
        others: all others [M, K - 1]
    """

    item: Tensor
    relation: Tensor
    values: Tensor
    true: Tensor
    others: Tensor
