"""A step of the joint model on a synthetic catalogue, and its structure aggregation alone."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from fusion.link_prediction.aggregation import Triples
from kg.home import Home
from kg.ingest.pipeline import ingest
from kg.ingest.queries import ingest_queries
from kg.sample import write_sample
from training.batches import StepBatch
from training.config import TrainOptions
from training.inputs import read_inputs
from training.loader import BatchRequest
from training.presets import preset
from training.processes import Processes
from training.records import ignore_records
from training.run import ModelWriter, assemble

Step = Callable[[int], None]


def shop(folder: Path, items: int) -> Home:
    """Make a home with a synthetic catalogue and its query log."""
    write_sample(folder / "shop", items, 0)
    home = Home.open(folder / "home", create=True)
    ingest(home, [folder / "shop" / "items.csv"], max_rejects="5%")
    ingest_queries(home, folder / "shop" / "queries.csv")
    return home


def joint_steps(size: str, batches: int) -> tuple[int, Step, Step]:
    """Return the items per step, a step over all objectives, and one of the aggregation alone.

    Both are forward and backward, on the same cells.
    """
    with tempfile.TemporaryDirectory() as folder:
        home = shop(Path(folder), 400)
        chosen = preset("joint", size)
        config = chosen.model
        recipe = chosen.recipe
        options = TrainOptions(size=size, steps=1)
        inputs = read_inputs(home, options, recipe, config, None, ignore_records)
        run = assemble(
            ModelWriter(Path(folder) / "model", config, inputs, {}, Processes()),
            options,
            recipe,
            Processes(),
            time.monotonic(),
        )
        ready: list[StepBatch] = [
            run.batches[BatchRequest(n, 0, 1)].to(run.device).micro_batches[0]
            for n in range(batches)
        ]
    model = run.objective.model.train()

    def step(number: int) -> None:
        """Forward and backward of every objective."""
        run.objective(ready[number % batches]).total.backward()
        run.objective.zero_grad(set_to_none=True)

    def aggregation(number: int) -> None:
        """Forward and backward of c* over the cells of both views."""
        batch = ready[number % batches]
        assert batch.candidates is not None
        count = len(model.links.candidate_property)
        # As in ProductModel.know(): the row of each candidate among those in play.
        local = torch.zeros(count, dtype=torch.int64, device=run.device)
        local[batch.candidates] = torch.arange(len(batch.candidates), device=run.device)
        values = torch.randn(
            len(batch.candidates), config.dim, device=run.device, requires_grad=True
        )
        properties = torch.randn(
            model.knowledge.property_count, config.dim, device=run.device, requires_grad=True
        )
        total: Tensor = values.new_zeros(())
        for view in (batch.items, batch.items_without_image):
            assert view is not None
            assert view.links is not None
            flow = view.links.flow
            node = torch.randn(
                len(flow.cell_item), config.dim, device=run.device, requires_grad=True
            )
            triples = Triples(flow.edge_cell, flow.edge_property, local[flow.edge_value])
            total = total + model.links.aggregate(node, properties, values, triples).sum()
        total.backward()
        model.zero_grad(set_to_none=True)

    return recipe.batch_size, step, aggregation
