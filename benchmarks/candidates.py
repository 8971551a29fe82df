"""Measure the scores of link prediction: each cell's own candidates against all candidates.

    python benchmarks/candidates.py [--rounds 5] [--out benchmarks/figures/candidates-cpu.json]

Both ways are measured in turns in one process, on the same cells and with the head of the small
joint model, without its aggregation and decoder. *All* scores every cell for all candidates in play
and masks those of other properties; *own* scores each cell for the candidates of its property.

- ``fashion``: a training step with 8 properties of 250 values in all, all of them in play
- ``large``: a training step with 200 properties of 2,000 values, of which 2,048 are drawn
- ``pairs``: a training step of these against 16 corrupted values per statement (margin, NSSA)
- ``inference``: scores of 512 cells for all 400,000 values

Peak memory is that of the scores and of what their gradient needs, above that of the inputs; on a
CPU it is measured in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch
from torch import Tensor, nn

from encoders.tokens import ModalTokens
from fusion.fused import Knowledge
from fusion.link_prediction.own_candidates import OwnCandidates, own_candidates
from fusion.link_prediction.scorer import LinkHead
from kg.message_flow import MessageFlow
from kg.sampling.negatives import type_constrained_candidates
from training.batches import TrueAlternatives
from training.objectives.lpm import softmax_loss
from training.objectives.margin import margin_loss
from training.presets import joint

FASHION = (2, 5, 8, 12, 20, 43, 60, 100)
LARGE = (2000,) * 200
NEGATIVES = 16
CASES = ("fashion", "large", "pairs", "inference")
WAYS = ("all", "own")


class Unchanged(nn.Module):
    """Stands in for the aggregation and the decoder."""

    def forward(self, node: Tensor, *_: object) -> Tensor:
        """Return ``node`` [N, D]."""
        return node


@dataclass(frozen=True)
class Case:
    """N cells of B items, and the candidates in play.

    Attributes:
        head: the head that scores them
        fused: the items
        flow: the cells
        knowledge: the candidates in play
        own: those of each cell
        target: the true value of each cell, as a row of those in play [N]
        corrupted: corrupted values of each cell, as rows of those in play [N, 16]
    """

    head: LinkHead
    fused: Any
    flow: MessageFlow
    knowledge: Knowledge
    own: OwnCandidates
    target: Tensor
    corrupted: Tensor


def make_case(name: str, device: torch.device) -> Case:
    """Draw a case's cells, candidates and weights."""
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    sizes = np.array(FASHION if name == "fashion" else LARGE)
    ranges = np.cumsum([0, *sizes])
    items = 64
    cells = items * (8 if name == "inference" else 12)
    config = joint("small").model
    property = rng.integers(0, len(sizes), cells)
    target = ranges[property] + rng.integers(0, sizes[property])
    corrupted = ranges[property] + rng.integers(0, sizes[property], (NEGATIVES, cells))
    if name == "inference":
        ids = np.arange(ranges[-1])
    elif name == "pairs":
        ids = np.unique(np.concatenate([target, corrupted.reshape(-1)]))
    else:
        asked = np.unique(property)
        ids = type_constrained_candidates(ranges, asked, target, 2048, rng).ids
    # The tables hold the candidates in play alone: the gradient of a larger table takes longer than
    # the scores, either way.
    target = np.searchsorted(ids, target)
    corrupted = np.searchsorted(ids, corrupted)
    ranges = np.searchsorted(ids, ranges)
    ids = np.arange(len(ids))
    item_width = 2 * config.bag_width
    head = LinkHead(
        aggregate=cast(Any, Unchanged()),
        aggregate_values=None,
        decoder=cast(Any, Unchanged()),
        candidate_property=torch.from_numpy(np.repeat(np.arange(len(sizes)), np.diff(ranges))),
        dim=config.dim,
        item_width=item_width,
        known_width=config.known_width,
    ).to(device)
    nothing = torch.zeros(0, dtype=torch.int64)
    item = torch.from_numpy(np.sort(rng.integers(0, items, cells)))
    flow = MessageFlow.of(item, torch.from_numpy(property), nothing, nothing, nothing)
    rows = torch.from_numpy(ids).to(device)
    fused = SimpleNamespace(
        node=torch.randn(items, config.dim, device=device, requires_grad=True),
        wide=torch.randn(items, item_width, device=device),
        memory=ModalTokens(torch.zeros(1, device=device), torch.zeros(1, device=device)),
    )
    knowledge = Knowledge(
        properties=torch.randn(len(sizes), config.dim, device=device, requires_grad=True),
        ids=rows,
        values=torch.randn(len(ids), config.dim, device=device, requires_grad=True),
        row_of=rows,
    )
    return Case(
        head=head,
        fused=fused,
        flow=flow.to(str(device)),
        knowledge=knowledge,
        own=own_candidates(property, ids, ranges).to(device),
        target=torch.from_numpy(target).to(device),
        corrupted=torch.from_numpy(corrupted.T.copy()).to(device),
    )


def every_logit(case: Case) -> Tensor:
    """Return logits [N, K] of all cells over all candidates in play.

    The wide part is computed once per item.
    """
    head = case.head
    know = case.knowledge
    flow = case.flow
    assert head.wide is not None
    assert head.known is not None
    nodes = case.fused.node.index_select(0, flow.cell_item)
    nodes = nodes + know.properties.index_select(0, flow.cell_property)
    deep = head.output(nodes) @ know.values.T * nodes.shape[1] ** -0.5
    table = head.wide.weight.index_select(0, know.ids)
    width = case.fused.wide.shape[1]
    wide = (case.fused.wide @ table[:, :width].T).index_select(0, flow.cell_item)
    known = head.known(flow.edge_value)
    known = known.new_zeros(len(nodes), known.shape[1]).index_add(0, flow.edge_cell, known)
    wide = wide + known @ table[:, width:].T
    return deep.float() + head.bias.index_select(0, know.ids) + wide


def own_only(case: Case, logits: Tensor) -> Tensor:
    """Mask the logits [N, K] of candidates of another property than the cell's."""
    property = case.head.candidate_property[case.knowledge.ids]
    return logits.masked_fill(property[None, :] != case.flow.cell_property[:, None], -torch.inf)


def loss_of(case: Case, name: str, way: str) -> Tensor:
    """Return the loss of a training step, computed one way or the other."""
    cells = torch.arange(len(case.target), device=case.target.device)
    if name == "pairs":
        row = torch.cat([case.target[:, None], case.corrupted], 1)
        cell = cells[:, None].expand_as(row)
        if way == "all":
            scores = every_logit(case)[cell, row]
        else:
            scores = case.head.score_pairs(case.fused, case.flow, case.knowledge, cell, row)
        return margin_loss(-scores[:, 0], -scores[:, 1:])
    none = TrueAlternatives(cells[:0], cells[:0])
    if way == "all":
        return softmax_loss(own_only(case, every_logit(case)), cells, case.target, none, 0.05)
    logits = case.head(case.fused, case.flow, case.knowledge, case.own)
    return softmax_loss(logits, cells, case.target - case.own.first, none, 0.05)


def run_once(case: Case, name: str, way: str, device: torch.device) -> Tensor:
    """Run a step, forward and backward, or score the cells; return the loss, or the best scores."""
    with torch.autocast(device.type, dtype=torch.bfloat16):
        if name == "inference":
            with torch.inference_mode():
                if way == "all":
                    return own_only(case, every_logit(case)).max(1).values
                logits = case.head(case.fused, case.flow, case.knowledge, case.own)
                return logits.max(1).values
        loss = loss_of(case, name, way)
    loss.backward()
    for leaf in (case.fused.node, case.knowledge.properties, case.knowledge.values):
        leaf.grad = None
    case.head.zero_grad(set_to_none=True)
    return loss.detach()


def measure(name: str, rounds: int, device: torch.device) -> dict[str, Any]:
    """Measure both ways in turns, and how far their results differ."""
    case = make_case(name, device)
    results = {way: run_once(case, name, way, device) for way in WAYS}
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    repeats = 1 if name == "inference" else 5
    for _ in range(rounds):
        for way in WAYS:
            wait(device)
            began = time.perf_counter()
            for _ in range(repeats):
                run_once(case, name, way, device)
            wait(device)
            seconds[way].append((time.perf_counter() - began) / repeats)
    times = {way: statistics.median(each) for way, each in seconds.items()}
    peaks = {way: peak(name, way, device) for way in WAYS}
    return {
        "case": name,
        "cells": len(case.target),
        "candidates": len(case.knowledge.ids),
        "milliseconds": {way: round(value * 1000, 3) for way, value in times.items()},
        "speed": round(times["all"] / times["own"], 2),
        "peak_mb": {way: round(value / 1e6, 1) for way, value in peaks.items()},
        "memory": round(peaks["own"] / max(1.0, peaks["all"]), 3),
        "differ": difference(results["all"], results["own"]),
    }


def difference(one: Tensor, other: Tensor) -> float:
    """Return the largest difference of two results, relative to the largest of them."""
    return round(float((one - other).abs().max() / one.abs().max()), 5)


def wait(device: torch.device) -> None:
    """Wait until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def peak(name: str, way: str, device: torch.device) -> float:
    """Return the bytes that one run takes at most, above those of its inputs."""
    if device.type == "cuda":
        case = make_case(name, device)
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run_once(case, name, way, device)
        return float(torch.cuda.max_memory_allocated() - before)
    command = [sys.executable, __file__, "--peak", name, way]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def report_peak(name: str, way: str) -> None:
    """Print how much this process grows at most."""
    device = torch.device("cpu")
    case = make_case(name, device)
    # Once a tiny case, so that what the libraries load is not counted.
    run_once(make_case("fashion", device), "fashion", way, device)
    # Sets the peak (VmHWM) to what is in use (VmRSS).
    Path("/proc/self/clear_refs").write_text("5")
    before = kilobytes("VmRSS")
    run_once(case, name, way, device)
    print((kilobytes("VmHWM") - before) * 1024)


def kilobytes(field: str) -> int:
    """Return a field of Linux' description of this process's memory."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])


def main() -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--peak", nargs=2, help="measure the memory of one case and way")
    args = parser.parse_args()
    if args.peak:
        report_peak(*args.peak)
        return
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = []
    for name in args.cases:
        rows.append(measure(name, args.rounds, device))
        print(json.dumps(rows[-1]), flush=True)
    figures = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "rows": rows,
    }
    if args.out is not None:
        args.out.write_text(json.dumps(figures, indent=4) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
