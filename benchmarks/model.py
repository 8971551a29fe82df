"""Forward and backward of the models: MBSD's stage II against a plain reading of it, the joint model against MBSD, the aggregation's share.

    python benchmarks/model.py [--sizes small base] [--rounds 2] [--compile]

All in one process, in turns, on the same batches. Pairs have titles of 6 to 60 pieces (29 on average, as Taobao's), queries of 2 to 10 and
images of 224 pixels. The peer is ``plain_mbsd.py``: transformers' BERT, three padded passes, fp32; it pads to the longest of its batch,
or to the limits, as the paper's batches of 1,024 come to. Peak memory is that of a process of its own. On a GPU
all runs there, and the share of the card's own measured matrix rate is told.
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

from benchmarks.joint_step import joint_steps
from benchmarks.plain_mbsd import PlainMBSD
from encoders.bert import bert_text
from encoders.layers import initialise
from encoders.patches import ConvPatches
from fusion.architectures.bert_stream import BertStream
from fusion.config import ModelConfig
from fusion.heads import MatchHead
from schema.memory import keep_freed_memory
from training.objectives.matching import match_loss
from training.objectives.sdmi import ModalityReading, distillation_losses
from training.presets import mbsd

LIMIT = (10, 60)
PAIRS = {"tiny": 16, "small": 32, "base": 32}
BATCHES = {"tiny": 4, "small": 4, "base": 2}
DROPOUT = 0.1


@dataclass(frozen=True)
class Pairs:
    """N (query, title, image) with a label: texts as lists of pieces, ``pixels`` [N, 3, S, S] uint8, ``label`` [N]."""

    query: list[list[int]]
    title: list[list[int]]
    pixels: Tensor
    label: Tensor

    def to(self, device: torch.device) -> Pairs:
        """The same with images and labels on a device."""
        return Pairs(self.query, self.title, self.pixels.to(device), self.label.to(device))


def draw_pairs(count: int, config: ModelConfig, rng: np.random.Generator) -> Pairs:
    """Pairs whose lengths are those of Taobao's titles and of short queries."""
    lengths = rng.normal(29, 12, count).round().clip(6, min(LIMIT[1], config.max_title)).astype(int)
    texts = [
        [rng.integers(5, config.vocab_size, n).tolist() for n in sizes]
        for sizes in (rng.integers(2, LIMIT[0] + 1, count), lengths)
    ]
    pixels = rng.integers(0, 256, (count, 3, config.image_size, config.image_size), dtype=np.uint8)
    return Pairs(
        texts[0],
        texts[1],
        torch.from_numpy(pixels),
        torch.from_numpy(rng.integers(0, 2, count).astype(np.float32)),
    )


def padded(texts: list[list[int]]) -> Tensor:
    """Texts as a tensor [N, L], 0 where none is."""
    return nn.utils.rnn.pad_sequence([torch.tensor(text) for text in texts], batch_first=True)


class StageTwo(nn.Module):
    """Our MBSD: its stream, patches and match head."""

    def __init__(self, config: ModelConfig, dropout: float) -> None:
        super().__init__()
        text = bert_text(
            config.vocab_size,
            config.dim,
            config.heads,
            config.fusion_layers,
            config.max_title + 20,
            dropout,
        )
        self.stream = BertStream(text.embeddings, text.encoder, (2, 3))
        self.patches = ConvPatches(
            config.dim, config.image_size, config.patch_kernels, config.stem_channels
        )
        self.head = MatchHead(config.dim)
        initialise(self)

    def forward(self, pairs: Pairs) -> tuple[Tensor, Tensor, Tensor]:
        """The three states of Figure 4 [N, D] each."""
        query, title = (
            padded(texts).to(pairs.label.device) for texts in (pairs.query, pairs.title)
        )
        return self.stream.encode_query_views(query, title, self.patches(pairs.pixels))


def loss_of(states: tuple[Tensor, Tensor, Tensor], head: MatchHead, label: Tensor) -> Tensor:
    """Eq. 11: QI + QT + QV + KL + RS."""
    _, title, image = states
    logits = [head(h) for h in states]
    losses = distillation_losses(
        ModalityReading(title, logits[1]),
        ModalityReading(image, logits[2]),
        label,
    )
    return sum((match_loss(z, label) for z in logits), start=losses.kl + losses.rs)


Step = Callable[[int], None]


def variants(size: str, device: torch.device, compiled: bool) -> tuple[dict[str, Step], float]:
    """A step of each way to do stage II, and the largest difference of their states at the same weights without dropout."""
    config = mbsd(size).model
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    ours = StageTwo(config, DROPOUT).to(device)
    plain = PlainMBSD(ours.stream, ours.patches, ours.head, DROPOUT).to(device)
    limit = (LIMIT[0], min(LIMIT[1], config.max_title))
    batches = [draw_pairs(PAIRS[size], config, rng).to(device) for _ in range(BATCHES[size])]

    def peer(pairs: Pairs, most: tuple[int, int] | None = None) -> tuple[Tensor, Tensor, Tensor]:
        states: tuple[Tensor, Tensor, Tensor] = plain(pairs.query, pairs.title, pairs.pixels, most)
        return states

    apart = differ(ours.eval(), plain.eval(), batches[0])
    ours.train(), plain.train()
    forward = torch.compile(ours, dynamic=True) if compiled else ours

    def step(
        states: Callable[[Pairs], tuple[Tensor, Tensor, Tensor]],
        model: StageTwo | PlainMBSD,
        bf16: bool,
    ) -> Step:
        def one(number: int) -> None:
            pairs = batches[number % len(batches)]
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
                loss = loss_of(states(pairs), model.head, pairs.label)
            loss.backward()
            model.zero_grad(set_to_none=True)

        return one

    return {
        "plain fp32": step(peer, plain, False),
        "plain fp32, padded to the limits": step(lambda pairs: peer(pairs, limit), plain, False),
        "plain bf16": step(peer, plain, True),
        "mbsd fp32": step(forward, ours, False),
        "mbsd bf16": step(forward, ours, True),
    }, apart


@torch.no_grad()
def differ(ours: StageTwo, plain: PlainMBSD, pairs: Pairs) -> float:
    """The largest absolute difference of the three states [N, D]."""
    found = zip(ours(pairs), plain(pairs.query, pairs.title, pairs.pixels), strict=True)
    return max(float((one - other).abs().max()) for one, other in found)


def measure(
    steps: dict[str, Step], items: dict[str, int], turns: tuple[int, int], device: torch.device
) -> dict[str, float]:
    """Items a second of each step, in ``turns`` (rounds, steps each), all time counted."""
    spent: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(turns[0] + 1):
        for name, step in steps.items():
            for number in range(turns[1] if turn else 1):
                began = time.perf_counter()
                step(number)
                if device.type == "cuda":
                    torch.cuda.synchronize()
                if turn:
                    spent[name].append(time.perf_counter() - began)
    return {name: items[name] / statistics.mean(seconds) for name, seconds in spent.items()}


def peak(size: str, name: str, args: argparse.Namespace) -> float:
    """Peak memory in GB of one step's process above what it held before (on a GPU: of its allocator)."""
    command = [sys.executable, __file__, "--sizes", size, "--only", name] + (
        ["--compile"] if args.compile else []
    )
    return float(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]
    )


def report_peak(size: str, name: str, device: torch.device, compiled: bool) -> None:
    """Print the peak of two steps, in GB."""
    step = (
        variants(size, device, compiled)[0][name]
        if name != "joint bf16"
        else autocast(joint_steps(size, 2)[1], device)
    )
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    for number in range(2):
        step(number)
    print(
        torch.cuda.max_memory_allocated() / 1e9
        if device.type == "cuda"
        else resident("VmHWM") - before
    )


def resident(figure: str) -> float:
    """GB that the process holds, VmRSS, or held at most, VmHWM."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith(figure)).split()[1]) * 1024 / 1e9


def autocast(step: Step, device: torch.device) -> Step:
    """A step under bf16 autocast."""

    def one(number: int) -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            step(number)

    return one


def flops(step: Step) -> int:
    """Matrix products' floating-point operations of one step, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        step(0)
    return int(counter.get_total_flops())


def matrix_rate(device: torch.device, side: int = 8192) -> float:
    """The card's own rate of bf16 matrix products, operations a second."""
    a = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    for turn in range(2):
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(5 + 45 * turn):
            a @ a
        torch.cuda.synchronize()
    return 50 * 2 * side**3 / (time.perf_counter() - began)


def bench(size: str, args: argparse.Namespace, device: torch.device) -> dict[str, object]:
    """All figures of one size."""
    steps, apart = variants(size, device, args.compile)
    items = dict.fromkeys(steps, PAIRS[size])
    count, joint, aggregation = joint_steps(size, BATCHES[size])
    for name, step in (
        ("joint fp32", joint),
        ("joint bf16", autocast(joint, device)),
        ("aggregation bf16", autocast(aggregation, device)),
    ):
        steps[name] = step
        items[name] = count
    speed = measure(steps, items, (args.rounds, BATCHES[size]), device)
    found: dict[str, object] = {
        "size": size,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "compiled": args.compile,
        "states_differ": apart,
        "items_per_second": {name: round(value, 2) for name, value in speed.items()},
        "mbsd_fp32_over_plain": round(speed["mbsd fp32"] / speed["plain fp32"], 2),
        "mbsd_fp32_over_plain_padded_to_limits": round(
            speed["mbsd fp32"] / speed["plain fp32, padded to the limits"], 2
        ),
        "mbsd_bf16_over_plain": round(speed["mbsd bf16"] / speed["plain fp32"], 2),
        "joint_cost_of_mbsd": {
            kind: round(speed[f"mbsd {kind}"] / speed[f"joint {kind}"], 2)
            for kind in ("fp32", "bf16")
        },
        "aggregation_share_of_joint": round(speed["joint bf16"] / speed["aggregation bf16"], 3),
    }
    if device.type == "cuda":
        rate = matrix_rate(device)
        found["matrix_tflops"] = round(rate / 1e12, 1)
        found["mfu"] = round(flops(steps["mbsd bf16"]) * speed["mbsd bf16"] / PAIRS[size] / rate, 3)
    found["peak_gb"] = {
        name: round(peak(size, name, args), 2)
        for name in ("plain fp32", "mbsd fp32", "mbsd bf16", "joint bf16")
    }
    return found


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
        rows.append(bench(size, args, device))
        for name, value in rows[-1].items():
            print(f"{size:6} {name}: {value}")
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
