"""Speed and memory of the models, forward and backward.

    python benchmarks/model.py [--sizes small base] [--rounds 2] [--compile]

It measures MBSD's stage II against a plain implementation of it (``plain_mbsd.py``: transformers'
BERT, three padded passes, fp32), the joint model against MBSD, and the aggregation's share of the
joint model.

Everything runs in turns in one process, on the same batches. The pairs have titles of 6 to 60
pieces (29 on average, like Taobao's), queries of 2 to 10 pieces, and images of 224 pixels. The
plain implementation pads to the longest text of a batch, or to the limits, as the paper's batches
of 1,024 nearly do. Peak memory is that of a process of its own. If there is a GPU, everything runs
on it, and its use is given as a share of its own measured rate of matrix products.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.card import matrix_rate
from benchmarks.joint_step import joint_steps
from benchmarks.plain_mbsd import PlainMBSD, TextLimits
from encoders.bert import bert_text
from encoders.layers import initialise
from encoders.patches import ConvPatches
from encoders.tokenizer import SpecialPieces
from fusion.architectures.bert_stream import BertStream, InputForm
from fusion.config import ModelConfig
from fusion.fused import QueryViews
from fusion.heads import MatchHead
from schema.memory import keep_freed_memory
from training.objectives.matching import match_loss
from training.objectives.sdmi import ModalityReading, distillation_losses
from training.presets import mbsd

LIMITS = TextLimits(query=10, title=60)
PAIRS = {"tiny": 16, "small": 32, "base": 32}
BATCHES = {"tiny": 4, "small": 4, "base": 2}
DROPOUT = 0.1

Step = Callable[[int], None]
"""Runs the step of a given number."""


@dataclass(frozen=True)
class Pairs:
    """N pairs of a query and an item.

    Attributes:
        query: word pieces of each query
        title: word pieces of each title
        pixels: images [N, 3, S, S] uint8
        label: whether they match [N]
    """

    query: list[list[int]]
    title: list[list[int]]
    pixels: Tensor
    label: Tensor

    def to(self, device: torch.device) -> Pairs:
        """Return the same pairs with images and labels on a device."""
        return Pairs(self.query, self.title, self.pixels.to(device), self.label.to(device))


Encoder = Callable[[Pairs], QueryViews]


def draw_pairs(count: int, config: ModelConfig, rng: np.random.Generator) -> Pairs:
    """Draw pairs whose lengths are distributed like Taobao's titles and short queries."""
    longest = min(LIMITS.title, config.max_title)
    title_lengths = rng.normal(29, 12, count).round().clip(6, longest).astype(int)
    query_lengths = rng.integers(2, LIMITS.query + 1, count)
    query, title = (
        [rng.integers(5, config.vocab_size, length).tolist() for length in lengths]
        for lengths in (query_lengths, title_lengths)
    )
    pixels = rng.integers(0, 256, (count, 3, config.image_size, config.image_size), dtype=np.uint8)
    label = rng.integers(0, 2, count).astype(np.float32)
    return Pairs(query, title, torch.from_numpy(pixels), torch.from_numpy(label))


def padded(texts: list[list[int]], device: torch.device) -> Tensor:
    """Return N texts as a tensor [N, L], padded with 0."""
    rows = [torch.tensor(text) for text in texts]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device)


class StageTwo(nn.Module):
    """Our MBSD in stage II: its stream, patches and match head."""

    def __init__(self, config: ModelConfig, dropout: float) -> None:
        super().__init__()
        text = bert_text(
            vocab_size=config.vocab_size,
            dim=config.dim,
            heads=config.heads,
            layers=config.fusion_layers,
            max_length=config.max_title + 20,
            dropout=dropout,
            norm_eps=config.norm_eps,
            hidden_act=config.hidden_act,
        )
        self.stream = BertStream(
            text.embeddings, text.encoder, SpecialPieces(), form=InputForm.of(config)
        )
        self.patches = ConvPatches(
            config.dim,
            size=config.image_size,
            kernels=config.patch_kernels,
            channels=config.stem_channels,
        )
        self.head = MatchHead(config.dim)
        initialise(self)

    def forward(self, pairs: Pairs) -> QueryViews:
        """Encode the three inputs of MBSD's Figure 4."""
        device = pairs.label.device
        query = padded(pairs.query, device)
        title = padded(pairs.title, device)
        return self.stream.encode_query_views(query, title, self.patches(pairs.pixels))


def stage_two_loss(views: QueryViews, head: MatchHead, label: Tensor) -> Tensor:
    """Return MBSD's loss of stage II (its Eq. 11): QI + QT + QV + KL + RS; ``label`` is [N]."""
    item = head(views.item)
    title = head(views.title)
    image = head(views.image)
    taught = distillation_losses(
        ModalityReading(views.title, title),
        ModalityReading(views.image, image),
        label,
    )
    matching = match_loss(item, label) + match_loss(title, label) + match_loss(image, label)
    return matching + taught.kl + taught.rs


def variants(size: str, device: torch.device, compiled: bool) -> tuple[dict[str, Step], float]:
    """Return a step of each way to compute stage II, and the largest difference of their states.

    All have the same weights; the difference is measured without dropout.
    """
    config = mbsd(size).model
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    ours = StageTwo(config, DROPOUT).to(device)
    plain = PlainMBSD(ours.stream, ours.patches, ours.head, DROPOUT).to(device)
    limits = TextLimits(LIMITS.query, min(LIMITS.title, config.max_title))
    batches = [draw_pairs(PAIRS[size], config, rng).to(device) for _ in range(BATCHES[size])]

    def encode_plainly(pairs: Pairs) -> QueryViews:
        views: QueryViews = plain(pairs.query, pairs.title, pairs.pixels)
        return views

    def encode_to_limits(pairs: Pairs) -> QueryViews:
        views: QueryViews = plain(pairs.query, pairs.title, pairs.pixels, limits)
        return views

    ours.eval()
    plain.eval()
    difference = largest_difference(ours, encode_plainly, batches[0])
    ours.train()
    plain.train()
    encode: Encoder = torch.compile(ours, dynamic=True) if compiled else ours

    def step_of(encoder: Encoder, model: StageTwo | PlainMBSD, bf16: bool) -> Step:
        def step(number: int) -> None:
            pairs = batches[number % len(batches)]
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
                loss = stage_two_loss(encoder(pairs), model.head, pairs.label)
            loss.backward()
            model.zero_grad(set_to_none=True)

        return step

    steps = {
        "plain fp32": step_of(encode_plainly, plain, bf16=False),
        "plain fp32, padded to the limits": step_of(encode_to_limits, plain, bf16=False),
        "plain bf16": step_of(encode_plainly, plain, bf16=True),
        "mbsd fp32": step_of(encode, ours, bf16=False),
        "mbsd bf16": step_of(encode, ours, bf16=True),
    }
    return steps, difference


@torch.no_grad()
def largest_difference(ours: Encoder, theirs: Encoder, pairs: Pairs) -> float:
    """Return the largest absolute difference of the three states [N, D]."""
    one = ours(pairs)
    other = theirs(pairs)
    states = ((one.item, other.item), (one.title, other.title), (one.image, other.image))
    return max(float((a - b).abs().max()) for a, b in states)


def measure(
    steps: dict[str, Step],
    items: dict[str, int],
    rounds: int,
    steps_per_round: int,
    device: torch.device,
) -> dict[str, float]:
    """Return the items per second of each step, by the mean of all its times.

    The steps take turns, since the speed of a machine drifts. One more round before warms up.
    """
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds + 1):
        for name, step in steps.items():
            for number in range(steps_per_round if turn else 1):
                start = time.perf_counter()
                step(number)
                if device.type == "cuda":
                    torch.cuda.synchronize()
                if turn:
                    seconds[name].append(time.perf_counter() - start)
    return {name: items[name] / statistics.mean(times) for name, times in seconds.items()}


def peak(size: str, name: str, compiled: bool) -> float:
    """Return the peak memory in GB of one step in a process of its own, see :func:`report_peak`."""
    command = [sys.executable, __file__, "--sizes", size, "--only", name]
    if compiled:
        command.append("--compile")
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def report_peak(size: str, name: str, device: torch.device, compiled: bool) -> None:
    """Print the memory in GB that two steps take at most, beyond what the process had before.

    On a GPU it is the peak of PyTorch's allocator.
    """
    if name == "joint bf16":
        step = autocast(joint_steps(size, 2)[1], device)
    else:
        step = variants(size, device, compiled)[0][name]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    before = memory_of_process("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    for number in range(2):
        step(number)
    if device.type == "cuda":
        print(torch.cuda.max_memory_allocated() / 1e9)
    else:
        print(memory_of_process("VmHWM") - before)


def memory_of_process(field: str) -> float:
    """Return the GB that the process has now (``VmRSS``) or had at most (``VmHWM``)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith(field))
    return float(line.split()[1]) * 1024 / 1e9


def autocast(step: Step, device: torch.device) -> Step:
    """Return a step that runs under bf16 autocast."""

    def step_in_bf16(number: int) -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            step(number)

    return step_in_bf16


def count_flops(step: Step) -> int:
    """Count the floating-point operations of one step's matrix products, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        step(0)
    return int(counter.get_total_flops())


def bench(size: str, rounds: int, compiled: bool, device: torch.device) -> dict[str, object]:
    """Return all figures of one size."""
    steps, difference = variants(size, device, compiled)
    items = dict.fromkeys(steps, PAIRS[size])
    joint_items, joint, aggregation = joint_steps(size, BATCHES[size])
    steps["joint fp32"] = joint
    steps["joint bf16"] = autocast(joint, device)
    steps["aggregation bf16"] = autocast(aggregation, device)
    for name in ("joint fp32", "joint bf16", "aggregation bf16"):
        items[name] = joint_items

    speed = measure(steps, items, rounds, BATCHES[size], device)
    plain = speed["plain fp32"]
    to_limits = speed["plain fp32, padded to the limits"]
    figures: dict[str, object] = {
        "size": size,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "compiled": compiled,
        "states_differ": difference,
        "items_per_second": {name: round(value, 2) for name, value in speed.items()},
        "mbsd_fp32_over_plain": round(speed["mbsd fp32"] / plain, 2),
        "mbsd_fp32_over_plain_padded_to_limits": round(speed["mbsd fp32"] / to_limits, 2),
        "mbsd_bf16_over_plain": round(speed["mbsd bf16"] / plain, 2),
        "joint_cost_of_mbsd": {
            kind: round(speed[f"mbsd {kind}"] / speed[f"joint {kind}"], 2)
            for kind in ("fp32", "bf16")
        },
        "aggregation_share_of_joint": round(speed["joint bf16"] / speed["aggregation bf16"], 3),
    }
    if device.type == "cuda":
        rate = matrix_rate(device)
        flops_per_item = count_flops(steps["mbsd bf16"]) / PAIRS[size]
        figures["matrix_tflops"] = round(rate / 1e12, 1)
        figures["mfu"] = round(flops_per_item * speed["mbsd bf16"] / rate, 3)
    figures["peak_gb"] = {
        name: round(peak(size, name, compiled), 2)
        for name in ("plain fp32", "mbsd fp32", "mbsd bf16", "joint bf16")
    }
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", nargs="+", default=["small", "base"])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--only", help="measure the memory of this one step")
    args = parser.parse_args()
    keep_freed_memory()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if args.only:
        report_peak(args.sizes[0], args.only, device, args.compile)
        return
    rows = []
    for size in args.sizes:
        rows.append(bench(size, args.rounds, args.compile, device))
        for name, value in rows[-1].items():
            print(f"{size:6} {name}: {value}")
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
