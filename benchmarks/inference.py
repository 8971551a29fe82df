"""Speed of inference on a GPU and on the CPU of the same machine, and how far their results differ.

    python benchmarks/inference.py [--size base] [--model FOLDER] [--items 2048] [--batches 128 512]
        [--cpu-items 256] [--threads 1 16] [--out FILE]

A model of the preset joint with random weights, or that of a model folder, encodes made items with
a title and an image, and scores a cell of each of their properties from their other statements.
*Encoding* is items/s from titles and pixels to fused items on the device; *scoring* is cells/s from
statements to logits in main memory. Both are medians of whole calls, and have the share of the time
in which the card works, and the lines at which the program waits for it. In single precision and in
bf16, by the number of items that are encoded together. Differences of probabilities are the largest
of any value of any cell, from the CPU in single precision; a random model's probabilities are
almost the same for all values, so that those of a trained model say more.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import dataclasses
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch

from benchmarks.gpu import count_waits
from benchmarks.made_batches import MadeCatalogue
from benchmarks.reporting import reporter
from fusion.build import build_model
from fusion.checkpoint import ModelFolder, save_pretrained
from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellQuery, CellScorer, EncodedItems
from schema.arrays import FloatArray
from schema.memory import keep_freed_memory
from schema.ontology import Ontology
from training.presets import preset

ROUNDS = 5
COMPARED = 128
"""Items whose probabilities are compared."""
TITLE_VALUES = 5


class SinglePrecision(CellScorer):
    """A scorer that computes in single precision on every device."""

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, enabled=False)


SCORERS: dict[str, type[CellScorer]] = {"fp32": SinglePrecision, "bf16": CellScorer}


@dataclass(frozen=True)
class Inputs:
    """Made items, and a cell of each of their properties."""

    items: list[ItemInput]
    cells: list[CellQuery]

    def first(self, count: int) -> Inputs:
        """Return the first items alone, with their cells."""
        return Inputs(self.items[:count], [each for each in self.cells if each.item < count])


def make_model(folder: Path, size: str) -> None:
    """Write a model of the preset joint with random weights."""
    chosen = preset("joint", size).model
    catalogue = MadeCatalogue(chosen.vocab_size, chosen.max_ngrams)
    torch.manual_seed(0)
    # In the order of a file, where values that are as frequent as each other are sorted.
    ontology = Ontology.from_toml(catalogue.ontology.to_toml(), "the made ontology")
    config = dataclasses.replace(chosen, vocab_size=catalogue.tokenizer.vocab_size)
    weights = build_model(config, catalogue.tokenizer, ontology).state_dict()
    save_pretrained(folder, config, catalogue.tokenizer, ontology, weights, {})


def make_inputs(ontology: Ontology, image_size: int, count: int) -> Inputs:
    """Draw items with values of all properties by Zipf's law, a title of some, and an image."""
    rng = np.random.default_rng(0)
    specs = [spec for spec in ontology.properties.values() if spec.values]
    drawn = [np.minimum(rng.zipf(1.3, count), len(each.values)) - 1 for each in specs]
    images = rng.integers(0, 256, (64, 3, image_size, image_size), np.uint8)
    items = []
    cells = []
    for number in range(count):
        known = tuple(
            (spec.name, spec.values[values[number]])
            for spec, values in zip(specs, drawn, strict=True)
        )
        said = rng.permutation(len(known))[:TITLE_VALUES]
        title = " ".join(known[each][1] for each in said)
        items.append(ItemInput(str(number), title, images[number % len(images)], known))
        cells += [CellQuery(number, name, known) for name, _ in known]
    return Inputs(items, cells)


def median_seconds(call: Callable[[], Any], device: torch.device, rounds: int) -> float:
    """Return the median time of a call, after one that does not count."""
    times = []
    for number in range(rounds + 1):
        began = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if number:
            times.append(time.perf_counter() - began)
    return statistics.median(times)


def measure(scorer: CellScorer, inputs: Inputs, batch: int, rounds: int) -> dict[str, Any]:
    """Measure encoding and scoring; the featurizer's share of encoding is that of the processor."""
    encoded = scorer.encode(inputs.items)

    def encode() -> EncodedItems:
        return scorer.encode(inputs.items)

    def score() -> Any:
        return scorer.score(encoded, inputs.cells)

    def featurize() -> None:
        for start in range(0, len(inputs.items), batch):
            scorer.featurizer.batch(inputs.items[start : start + batch])

    figures: dict[str, Any] = {}
    calls: dict[str, tuple[Callable[[], Any], int]] = {
        "encoding": (encode, len(inputs.items)),
        "scoring": (score, len(inputs.cells)),
    }
    for name, (call, count) in calls.items():
        seconds = median_seconds(call, scorer.device, rounds)
        found = {"per_second": round(count / seconds, 1), "ms": round(1e3 * seconds, 2)}
        if scorer.device.type == "cuda":
            waits = count_waits(lambda _, call=call: call())  # type: ignore[misc]
            found |= {name: waits[name] for name in ("waits", "wait_lines", "kernels", "busy_ms")}
            found["busy_share"] = round(waits["busy_ms"] / (1e3 * seconds), 3)
        figures[name] = found
    host = median_seconds(featurize, torch.device("cpu"), 1)
    figures["encoding"]["featurizer_ms"] = round(1e3 * host, 2)
    return figures


def probabilities(scorer: CellScorer, inputs: Inputs) -> list[FloatArray]:
    """Return the probabilities of each cell's values."""
    logits = scorer.score(scorer.encode(inputs.items), inputs.cells)
    return [torch.from_numpy(each).double().softmax(0).numpy() for each in logits]


def largest_difference(one: Sequence[FloatArray], other: Sequence[FloatArray]) -> dict[str, Any]:
    """Return the largest difference of any probability, and how often the best value differs."""
    pairs = list(zip(one, other, strict=True))
    differing = sum(int(a.argmax() != b.argmax()) for a, b in pairs)
    return {
        "probability": float(max(np.abs(a - b).max() for a, b in pairs)),
        "best_value_differs": differing,
        "cells": len(pairs),
        "median_best_probability": round(float(np.median([a.max() for a, _ in pairs])), 4),
    }


@contextlib.contextmanager
def threads(count: int) -> Any:
    """Compute with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(before)


def run(args: argparse.Namespace, folder: Path, report: Callable[[str, Any], None]) -> None:
    """Measure everything, and report each figure as soon as it is there."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    keep_freed_memory()
    opened = ModelFolder(folder)
    reference = SinglePrecision(opened)
    inputs = make_inputs(reference.ontology, reference.config.image_size, args.items)
    few = inputs.first(min(COMPARED, args.items))
    expected = probabilities(reference, few)
    report("model", {"parameters": sum(each.numel() for each in reference.model.parameters())})
    folders = {"cpu": opened}
    if torch.cuda.is_available():
        # A scorer moves the model of its folder.
        folders["cuda"] = copy.copy(opened)
        folders["cuda"].model = copy.deepcopy(opened.model)
    for device, own in folders.items():
        for precision, kind in SCORERS.items():
            scorer = kind(own, device)
            found = largest_difference(expected, probabilities(scorer, few))
            report(f"difference {device} {precision}", found)
    if "cuda" in folders:
        for precision, kind in SCORERS.items():
            scorer = kind(folders["cuda"], "cuda")
            for batch in args.batches:
                with patch("fusion.inference.scorer.ENCODE_BATCH", batch):
                    torch.cuda.reset_peak_memory_stats()
                    found = measure(scorer, inputs, batch, ROUNDS)
                    found["peak_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
                report(f"cuda {precision} {batch}", found)
    for count in args.threads:
        for precision, kind in SCORERS.items():
            with threads(count):
                # One thread gets its share of the items, so that it takes no longer than many.
                few = inputs.first(max(16, args.cpu_items * count // max(args.threads)))
                found = measure(kind(opened), few, 128, 1)
            report(f"cpu {precision} {count} threads", {"items": len(few.items), **found})


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", default="base")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--items", type=int, default=2048)
    parser.add_argument("--batches", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--cpu-items", type=int, default=256)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    rows: dict[str, Any] = {"device": name, "size": args.size, "items": args.items}
    report = reporter(rows, args.out)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.model
        if folder is None:
            folder = Path(temporary) / "model"
            make_model(folder, args.size)
        run(args, folder, report)


if __name__ == "__main__":
    main()
