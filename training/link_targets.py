"""Link prediction's part of a batch: the statements to predict, and those that the model sees.

For each cell (item, property), the model sees all, some or none of the item's other statements.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch

from fusion.link_prediction.own_candidates import own_candidates
from kg.sampling.keyed_random import KeyedRandom
from kg.sampling.negatives import Candidates, Corruptor, type_constrained_candidates
from kg.sampling.ragged import sample_per_row
from schema.arrays import BoolArray, IntArray
from training.batches import Corruptions, LinkTargets, SoftmaxTargets
from training.cells import (
    Cells,
    flow_without_statements,
    pad_cells,
    statements_of,
    true_alternatives,
)
from training.config import Recipe
from training.data import TrainingData
from training.flows import TrainingFlows


class LinkTargetBuilder:
    """Builds the link targets of a batch's views, and lists the candidates to score.

    Args:
        data: the items.
        recipe: the shares and limits.
        flows: samples the known statements around cells.
        reads_known: False for a model that ignores known statements.
        train: the items of the train split, whose statements corruptions depend on; all if None.
    """

    def __init__(
        self,
        data: TrainingData,
        recipe: Recipe,
        flows: TrainingFlows,
        reads_known: bool = True,
        train: IntArray | None = None,
    ) -> None:
        self.data = data
        self.recipe = recipe
        self.flows = flows
        self.reads_known = reads_known
        self.corruptor = None
        if recipe.link != "softmax":
            self.corruptor = Corruptor(
                data.ranges,
                data.indptr,
                data.candidate,
                recipe.corruption,
                data.category,
                train,
            )

    def build(
        self,
        index: IntArray,
        rows: BoolArray,
        view: str,
        random: KeyedRandom,
    ) -> LinkTargets:
        """Choose statements to hide, at most ``max_cells`` for each item that ``rows`` [B] marks.

        The flow contains all, some or none of the item's other statements. ``view`` is the name of
        the view of the items ``index`` [B]: each view hides different statements.
        """
        data = self.data
        recipe = self.recipe
        statement, row = statements_of(data.indptr, index)
        uniform = random.uniform(f"asked {view}", index[row], data.candidate[statement])
        keep = sample_per_row(row, recipe.max_cells, uniform) & rows[row]
        statement = statement[keep]
        row = row[keep]
        candidate = data.candidate[statement]

        pairs = np.stack([row, data.property[statement]])
        # Several values of a property are one cell, so that its flow hides all of them. Some
        # versions of numpy return the inverse as a matrix.
        distinct, cell = np.unique(pairs, axis=1, return_inverse=True)
        cells = pad_cells(Cells(distinct[0], distinct[1], cell.reshape(-1)), len(index))

        known = random.uniform(f"known {view}", index[cells.row], cells.property)
        share = random.uniform(f"some {view}", index[cells.row], cells.property)
        share[known < recipe.known_all + recipe.known_none] = 0.0
        share[known < recipe.known_all] = 1.0
        # No flow has statements of its cell's own property. As K3M prints its equations, the triple
        # to be predicted would be part of c*.
        if self.reads_known:
            flow = self.flows(index, cells.row, cells.property, share, random)
        else:
            flow = flow_without_statements(cells)
        return LinkTargets(
            flow=flow,
            cell=torch.from_numpy(cells.cell),
            candidate=torch.from_numpy(candidate),
            alternatives=true_alternatives(data, index, cells, candidate),
            corrupted=self._corrupt(index, cells, candidate, random),
        )

    def candidates(self, targets: Sequence[LinkTargets], random: KeyedRandom) -> Candidates:
        """Return every candidate that is scored: hidden, known, also true, or corrupted.

        A softmax also needs the other values of the cells' properties, or a sample of them if there
        are many.
        """
        needed = []
        for links in targets:
            needed += [links.candidate, links.alternatives.candidate, links.flow.edge_value]
            if links.corrupted is not None:
                needed.append(links.corrupted.candidate)
        positives = np.concatenate([part.numpy().reshape(-1) for part in needed])
        if self.corruptor is not None:
            return Candidates(np.unique(positives))
        properties = np.unique(
            np.concatenate([links.flow.cell_property.numpy() for links in targets])
        )
        return type_constrained_candidates(
            self.data.ranges,
            properties,
            positives,
            self.recipe.max_candidates,
            random.generator("values"),
        )

    def compare(self, links: LinkTargets, candidates: Candidates) -> LinkTargets:
        """Add where the true values are among the batch's ``candidates``, if a softmax is used."""
        if self.corruptor is not None:
            return links
        property = links.flow.cell_property.numpy()
        own = own_candidates(property, candidates.ids, self.data.ranges)
        # Columns begin with the first candidate of the statement's cell.
        first = own.first.numpy()[links.cell.numpy()]
        others = links.alternatives
        target = np.searchsorted(candidates.ids, links.candidate.numpy()) - first
        alternative = np.searchsorted(candidates.ids, others.candidate.numpy())
        alternative = alternative - first[others.statement.numpy()]
        weight = candidates.log_weight
        softmax = SoftmaxTargets(
            own=own,
            target=torch.from_numpy(target),
            alternative=torch.from_numpy(alternative),
            log_weight=None if weight is None else torch.from_numpy(weight.astype(np.float32)),
        )
        return dataclasses.replace(links, softmax=softmax)

    def _corrupt(
        self,
        index: IntArray,
        cells: Cells,
        candidate: IntArray,
        random: KeyedRandom,
    ) -> Corruptions | None:
        """Corrupt the hidden statements; None if the loss is a softmax.

        The value is replaced. Bernoulli corruption replaces the item of some statements instead, by
        another item of the batch with a cell of the same property.
        """
        if self.corruptor is None:
            return None
        count = self.recipe.negatives
        item = index[cells.row[cells.cell]]
        corrupted = self.corruptor(item, candidate, count, random)
        values = corrupted.candidate
        possible = corrupted.possible
        heads = np.repeat(cells.cell[:, None], count, axis=1)
        # An item can only be replaced by one of the batch, since c* is known of no other.
        if self.recipe.corruption == "bernoulli" and len(cells.cell):
            keys = (item[:, None], candidate[:, None], np.arange(count))
            property = cells.property[cells.cell]
            replaced = random.uniform("head", *keys) < self.corruptor.head_share[property][:, None]
            # Statements in order of their property: those of one property lie together.
            order = np.argsort(property, kind="stable")
            low = np.searchsorted(property[order], property, "left")
            high = np.searchsorted(property[order], property, "right")
            other = order[low[:, None] + random.integers((high - low)[:, None], "other", *keys)]
            heads = np.where(replaced, cells.cell[other], heads)
            values = np.where(replaced, candidate[:, None], values)
            is_true = self.corruptor.true_statements.contains(item[other], candidate[:, None])
            possible = np.where(replaced, ~is_true, possible)
        return Corruptions(
            torch.from_numpy(heads),
            torch.from_numpy(values),
            torch.from_numpy(possible),
        )
