"""Complete cells: rank a property's values, decide by a target precision, and give evidence.

:mod:`serving.deciding` says which cells are filled. A value that the model has not seen in training
is never filled: nothing is proven about it. Values may be withheld, those of a property that a
person has taken out of the ontology and those of a cell that a person rejected. They keep their
probability, which nothing else gets. A cell whose property does not apply to its item, and that is
asked because somebody named it, is not filled either.

Evidence comes from leaving out the title, the description, the category, the image, and each known
statement in turn. An effect is the best value's probability with everything minus its probability
without that one input, each calibrated for the situation that remains.

This module encodes and scores; :mod:`serving.cell_completion` makes a completion of the scores.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import ENCODE_BATCH, CellQuery
from schema.modalities import CONTENT_MODALITIES, Modality
from schema.progress import ProgressCallback, no_progress
from serving.cell_completion import CellCompleter, CellRequest, CellScores, Variant
from serving.cells import Cell, Scorer, proving_in_chunks, score_in_chunks
from serving.deciding import CellLimits, LimitsOf, usual_limits
from serving.results import Completion
from serving.withheld import NOTHING_WITHHELD, Withheld


@dataclass(frozen=True)
class CompletionOptions:
    """How cells are completed.

    Attributes:
        top_k: how many candidates of a cell are told
        limits_of: gives each cell's limits
        withheld: values that are no candidates
        not_filled: cells that are for review at best
    """

    top_k: int = 5
    limits_of: LimitsOf = usual_limits
    withheld: Withheld = NOTHING_WITHHELD
    not_filled: Collection[Cell] = frozenset()


@dataclass(frozen=True)
class ItemCells:
    """An item, by its index, and the properties of it to complete."""

    item: int
    properties: tuple[str, ...]


class CompletesCells(Protocol):
    """What completes cells: :func:`complete_cells`, or the same on other machines."""

    def __call__(
        self,
        scorer: Scorer,
        items: Sequence[ItemInput],
        cells: Iterable[Cell],
        options: CompletionOptions | None = None,
        *,
        progress: ProgressCallback = no_progress,
    ) -> Iterator[Completion]:
        """Yield a completion of every cell, as :func:`complete_cells` does."""


def complete_cells(
    scorer: Scorer,
    items: Sequence[ItemInput],
    cells: Iterable[Cell],
    options: CompletionOptions | None = None,
    *,
    progress: ProgressCallback = no_progress,
) -> Iterator[Completion]:
    """Yield a completion for every cell of ``items``, a few dozen items in memory at a time.

    An item's cells are completed together, in the order in which the items are first mentioned. A
    cell's own statements are never given to the model. ``progress`` counts items.
    """
    completer = BatchCompleter(scorer, items, options or CompletionOptions())
    batches = batches_of_cells(scorer, cells)
    done = 0
    total = sum(map(len, batches))
    for batch in batches:
        yield from completer.complete(batch)
        done += len(batch)
        progress(done, total)


def batches_of_cells(scorer: Scorer, cells: Iterable[Cell]) -> list[list[ItemCells]]:
    """Return cells by their items, so many together as are encoded at once.

    How many these are has an effect on the last digits of the scores.
    """
    properties: dict[int, list[str]] = defaultdict(list)
    for cell in dict.fromkeys(cells):
        properties[cell.item].append(cell.property)
    of_items = [ItemCells(item, tuple(names)) for item, names in properties.items()]
    # With their variants without one modality, they fill a scorer batch.
    together = ENCODE_BATCH // (1 + sum(each in scorer.modalities for each in CONTENT_MODALITIES))
    return [of_items[start : start + together] for start in range(0, len(of_items), together)]


@dataclass(frozen=True)
class _ItemRequest:
    """An item and the properties to complete, with the limits of these cells.

    Some of them are ``not_filled``.
    """

    item: ItemInput
    properties: Mapping[str, CellLimits]
    not_filled: Collection[str] = ()


class BatchCompleter:
    """Encodes and scores the cells of some items at once."""

    def __init__(
        self, scorer: Scorer, items: Sequence[ItemInput], options: CompletionOptions
    ) -> None:
        self.scorer = scorer
        self.items = items
        self.options = options
        self.completer = CellCompleter(scorer, options.top_k, options.withheld)

    def complete(self, batch: Iterable[ItemCells]) -> Iterator[Completion]:
        """Encode all items and their variants in one go, then score all their cells in one go."""
        inputs: list[ItemInput] = []
        cells: list[CellRequest] = []
        for request in map(self._request, batch):
            item = request.item
            item_variants: dict[Modality | None, ItemInput] = {None: item}
            for modality in item.content_modalities(self.scorer.modalities):
                item_variants[modality] = item.without(modality)
            for name, limits in request.properties.items():
                variants = self._variants(name, item_variants, len(inputs))
                may_fill = name not in request.not_filled
                cells.append(CellRequest(item, name, limits, variants, may_fill))
            inputs += item_variants.values()

        queries = [variant.query for cell in cells for variant in cell.variants]
        encoded = self.scorer.encode(inputs) if queries else None
        scores = iter(score_in_chunks(self.scorer, encoded, queries))
        whole = [cell.variants[0].query for cell in cells if cell.variants]
        proving = proving_in_chunks(self.scorer, encoded, whole) if whole else None
        proofs = iter(proving or ())
        for cell in cells:
            rows = list(itertools.islice(scores, len(cell.variants)))
            proof = next(proofs) if proving is not None and cell.variants else None
            yield self.completer.complete(cell, CellScores(rows, proof))

    def _request(self, cells: ItemCells) -> _ItemRequest:
        """Return an item with the limits of its cells."""
        index = cells.item
        every = {name: Cell(index, name) for name in cells.properties}
        return _ItemRequest(
            self.items[index],
            {name: self.options.limits_of(cell) for name, cell in every.items()},
            {name for name, cell in every.items() if cell in self.options.not_filled},
        )

    def _variants(
        self, name: str, item_variants: Mapping[Modality | None, ItemInput], first_index: int
    ) -> list[Variant]:
        """Return the cell with everything, without each modality, and without each statement.

        ``item_variants`` are the whole item (None) and the item without each modality; the scorer
        encodes them in this order, the first one at ``first_index``.
        """
        if not self.completer.knows(name):
            return []
        item = item_variants[None]
        statements = tuple(
            statement
            for statement in dict.fromkeys(item.known)
            # A scorer ignores the others, so leaving one of them out would have no effect.
            if statement[0] != name and self.scorer.ontology.position(*statement) is not None
        )
        variants = []
        for index, (modality, item_variant) in enumerate(item_variants.items(), first_index):
            query = CellQuery(index, name, statements)
            variants.append(Variant(query, self.scorer.situation(item_variant, query), modality))
        for left_out in statements:
            others = tuple(statement for statement in statements if statement != left_out)
            query = CellQuery(first_index, name, others)
            variants.append(Variant(query, self.scorer.situation(item, query), left_out))
        return variants
