"""Measure link prediction alone, in statements per second, against PyKEEN's training loop.

Both have the same Interaction, width and number of negatives.
"""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from fusion.fused import Knowledge
from fusion.link_prediction.aggregation import StructureAggregation
from fusion.link_prediction.pykeen_interactions import InteractionHead, pykeen_interaction
from kg.sampling.keyed_random import KeyedRandom
from training.collate import Collator
from training.data import TrainingData
from training.objectives.lpm import CorruptedLinks
from training.sampler import StepSampler

INTERACTION = "TransE"
WIDTH = 256
NEGATIVES = 16
MARGIN = 1.0
BATCHES = (512, 4096)


class Alone(nn.Module):
    """Stands in for the aggregation: c* is c."""

    def forward(self, node: torch.Tensor, *_: object) -> torch.Tensor:
        """Return ``node`` [N, D] unchanged."""
        return node


class TableLinks(nn.Module):
    """K3M's LPM over embedding tables in place of encoders: TransE and the margin.

    With ``aggregate`` the head is c*, by the structure aggregation; else c alone.
    """

    def __init__(self, data: TrainingData, interaction: str, aggregate: bool) -> None:
        super().__init__()
        candidates = int(data.ranges[-1])
        owner = torch.from_numpy(np.repeat(np.arange(len(data.ranges) - 1), np.diff(data.ranges)))
        self.items = nn.Embedding(len(data.items), WIDTH)
        self.values = nn.Embedding(candidates, WIDTH)
        self.properties = nn.Embedding(len(data.ranges) - 1, WIDTH)
        self.links = InteractionHead(
            StructureAggregation(WIDTH, 2) if aggregate else cast(Any, Alone()),
            None,
            pykeen_interaction(interaction, WIDTH),
            owner,
            WIDTH,
            reads_known=aggregate,
        )
        self.loss = CorruptedLinks(False, MARGIN)

    def score_pairs(
        self, fused: Any, flow: Any, knowledge: Knowledge, cell: Any, candidate_row: Any
    ) -> torch.Tensor:
        """Score pairs like a product model."""
        return self.links.score_pairs(fused, flow, knowledge, cell, candidate_row)

    def forward(self, index: torch.Tensor, links: Any) -> torch.Tensor:
        """Return the loss of the statements of items ``index`` [B]."""
        ids = torch.arange(self.values.num_embeddings, device=index.device)
        knowledge = Knowledge(self.properties.weight, ids, self.values.weight, ids)
        loss: torch.Tensor = self.loss(
            cast(Any, self), cast(Any, SimpleNamespace(node=self.items(index))), links, knowledge
        )
        return loss


def ours(
    collator: Collator, aggregate: bool, batch: int, device: torch.device, seconds: float = 6.0
) -> float:
    """Return statements per second: sampling, corruption, forward, backward, Adam."""
    data = collator.data
    collator.links.reads_known = aggregate
    model = TableLinks(data, INTERACTION, aggregate).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    items = max(2, batch * len(data.items) // max(1, len(data.candidate)))
    sampler = StepSampler(np.arange(len(data.items)), items, 0)
    done = 0
    began = time.perf_counter()
    step = 0
    # The first five steps warm up.
    while step < 5 or time.perf_counter() - began < seconds:
        if step == 5:
            done = 0
            began = time.perf_counter()
        index = sampler.whole(step)
        every_row = np.ones(len(index), dtype=bool)
        links = collator.links.build(index, every_row, "seen", KeyedRandom(0, step))
        model(torch.from_numpy(index).to(device), links).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        done += len(links.cell)
        step += 1
    if device.type == "cuda":
        torch.cuda.synchronize()
    return done / (time.perf_counter() - began)


def pykeens(data: TrainingData, filtered: bool, batch: int, device: torch.device) -> float:
    """Return statements per second of PyKEEN's sLCWA loop on the same data, tails corrupted."""
    from pykeen.losses import MarginRankingLoss
    from pykeen.models import ERModel
    from pykeen.nn.modules import interaction_resolver
    from pykeen.training import SLCWATrainingLoop
    from pykeen.triples import CoreTriplesFactory

    item = np.repeat(np.arange(len(data.items)), np.diff(data.indptr))
    # Heads and tails are entities of one list, the items first.
    triples = torch.from_numpy(np.stack([item, data.property, len(data.items) + data.candidate], 1))
    factory = CoreTriplesFactory(
        triples, len(data.items) + int(data.ranges[-1]), len(data.ranges) - 1
    )
    interaction = interaction_resolver.make(INTERACTION, {"p": 2})
    widths = {"embedding_dim": WIDTH}
    model = ERModel(
        triples_factory=factory,
        interaction=interaction,
        entity_representations_kwargs=widths,
        relation_representations_kwargs=widths,
        loss=MarginRankingLoss(margin=MARGIN),
    ).to(device)
    sampling: dict[str, Any] = {
        "num_negs_per_pos": NEGATIVES,
        "corruption_scheme": ["tail"],
        "filtered": filtered,
    }
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loop = cast(Any, SLCWATrainingLoop)(
        model=model, triples_factory=factory, optimizer=optimizer, negative_sampler_kwargs=sampling
    )
    quiet: dict[str, Any] = {
        "batch_size": batch,
        "use_tqdm": False,
        "use_tqdm_batch": False,
        "num_workers": 0,
    }
    # An epoch to warm up, like the first five steps of ours.
    loop.train(factory, num_epochs=1, **quiet)
    began = time.perf_counter()
    loop.train(factory, num_epochs=3, only_size_probing=False, continue_training=False, **quiet)
    return 3 * len(triples) / (time.perf_counter() - began)


def bench_links(collator: Collator, device: torch.device) -> dict[str, Any]:
    """Measure both in turns at two batch sizes.

    *alone* is what PyKEEN's loop does; *aggregated* has c* of all the item's other statements.
    """
    rows = {}
    for batch in BATCHES:
        measured: dict[str, list[float]] = {
            "aggregated": [],
            "alone": [],
            "pykeen": [],
            "pykeen filtered": [],
        }
        for _ in range(2):
            measured["aggregated"].append(ours(collator, True, batch, device))
            measured["alone"].append(ours(collator, False, batch, device))
            measured["pykeen"].append(pykeens(collator.data, False, batch, device))
            measured["pykeen filtered"].append(pykeens(collator.data, True, batch, device))
        speeds = {name: round(sum(values) / len(values)) for name, values in measured.items()}
        rows[batch] = {
            **speeds,
            **{
                f"{name} / pykeen": round(speeds[name] / speeds["pykeen"], 2)
                for name in ("aggregated", "alone")
            },
        }
    return {
        "interaction": INTERACTION,
        "width": WIDTH,
        "negatives": NEGATIVES,
        "statements_per_second_by_batch": rows,
    }
