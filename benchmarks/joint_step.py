"""A step of the joint model on a drawn shop, and its structure aggregation alone."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from fusion.presets import preset
from kg.home import Home
from kg.ingest.pipeline import ingest
from kg.ingest.queries import ingest_queries
from kg.sample import write_sample
from training.batches import StepBatch
from training.config import TrainOptions, read_settings
from training.inputs import read_inputs
from training.loader import BatchRequest
from training.run import ModelWriter, assemble

Step = Callable[[int], None]


def shop(folder: Path, items: int) -> Home:
    """A home with a drawn catalogue and its query log."""
    write_sample(folder / "shop", items, 0)
    home = Home.open(folder / "home", create=True)
    ingest(home, [folder / "shop" / "items.csv"], max_rejects="5%")
    ingest_queries(home, folder / "shop" / "queries.csv")
    return home


def joint_steps(size: str, batches: int) -> tuple[int, Step, Step]:
    """Items a step, the step's forward and backward over all objectives, and that of the structure aggregation alone on the same cells."""
    with tempfile.TemporaryDirectory() as folder:
        home = shop(Path(folder), 400)
        config = preset("joint", size)
        options = TrainOptions(size=size, steps=1)
        recipe = read_settings(None, (), config.as_dict()).recipe
        inputs = read_inputs(home, options, recipe, config, None, lambda record: None)
        run = assemble(
            ModelWriter(Path(folder) / "model", config, inputs, {}, rank=0),
            options,
            recipe,
            (0, 1),
            time.monotonic(),
        )
        ready: list[StepBatch] = [
            run.maker[BatchRequest(n, 0, 1)].to(run.device).parts[0] for n in range(batches)
        ]
    model = run.objective.model.train()

    def step(number: int) -> None:
        """Every term of the loss, backward."""
        run.objective(ready[number % batches]).total.backward()
        model.zero_grad(set_to_none=True)

    def aggregation(number: int) -> None:
        """c* of both views' cells, backward."""
        batch = ready[number % batches]
        assert batch.candidates is not None
        count = len(model.links.candidate_property)
        local = torch.zeros(count, dtype=torch.int64, device=run.device)
        local[batch.candidates] = torch.arange(len(batch.candidates), device=run.device)
        values = torch.randn(
            len(batch.candidates), config.dim, device=run.device, requires_grad=True
        )
        properties = torch.randn(
            model.knowledge.properties, config.dim, device=run.device, requires_grad=True
        )
        total: Tensor = values.new_zeros(())
        for view in (batch.seen, batch.unseen):
            assert view is not None
            assert view.links is not None
            flow = view.links.flow
            asked = torch.randn(
                len(flow.cell_item), config.dim, device=run.device, requires_grad=True
            )
            edges = (flow.edge_cell, flow.edge_property, local[flow.edge_value])
            total = total + model.links.aggregate(asked, properties, values, edges).sum()
        total.backward()
        model.zero_grad(set_to_none=True)

    return recipe.batch_size, step, aggregation
