"""Forward and backward of the models: MBSD's stage II against a plain reading of it, the joint model against MBSD, the aggregation's share.

    python benchmarks/model.py [--sizes small base] [--seconds 20] [--compile]

All in one process, in turns, on the same pairs: titles of 6 to 60 word pieces (29 on average, as Taobao's have), queries of 2 to 10,
pictures of 224 pixels. The peer is ``plain_mbsd.py``: transformers' BERT, three padded passes, fp32. Peak memory is that of a process of its
own. A table and a JSON line come out. On a GPU all runs there, and the share of the card's measured matrix rate is told as well.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.plain_mbsd import PlainMBSD
from encoders.bert import bert_text
from encoders.layers import initialise
from encoders.patches import ConvPatches
from evaluation.sample import draw_sample
from fusion.bert_stream import BertStream
from fusion.config import ModelConfig
from fusion.heads import MatchHead
from fusion.presets import mbsd
from schema.memory import keep_freed_memory
from training.config import Recipe
from training.objectives.matching import match_loss
from training.objectives.sdmi import distillation_losses
PLAIN, OURS = "plain fp32", ("ours fp32", "ours bf16")
PAIRS = {"tiny": 16, "small": 32, "base": 8}


@dataclass(frozen=True)
class Pairs:
    """N (query, title, picture) with a label: texts as lists of pieces, ``pixels`` [N, 3, S, S] uint8, ``label`` [N]."""

    query: list[list[int]]
    title: list[list[int]]
    pixels: Tensor
    label: Tensor


def draw_pairs(count: int, config: ModelConfig, rng: np.random.Generator) -> Pairs:
    """Pairs whose lengths are those of Taobao's titles and of short queries."""
    lengths = rng.normal(29, 12, count).round().clip(6, min(60, config.max_title)).astype(int)
    texts = [[rng.integers(5, config.vocab_size, n).tolist() for n in sizes] for sizes in (rng.integers(2, 11, count), lengths)]
    pixels = rng.integers(0, 256, (count, 3, config.image_size, config.image_size), dtype=np.uint8)
    return Pairs(texts[0], texts[1], torch.from_numpy(pixels), torch.from_numpy(rng.integers(0, 2, count).astype(np.float32)))


def padded(texts: list[list[int]]) -> Tensor:
    """Texts as a tensor [N, L], 0 where none is."""
    return nn.utils.rnn.pad_sequence([torch.tensor(text) for text in texts], batch_first=True)


class StageTwo(nn.Module):
    """Our MBSD: its stream, patches and match head."""

    def __init__(self, config: ModelConfig, dropout: float) -> None:
        super().__init__()
        text = bert_text(config.vocab_size, config.dim, config.heads, config.fusion_layers, config.max_title + 20, dropout)
        self.stream = BertStream(text.embeddings, text.encoder, (2, 3))
        self.patches = ConvPatches(config.dim, config.image_size, config.patch_kernels, config.stem_channels)
        self.head = MatchHead(config.dim)
        initialise(self)

    def forward(self, pairs: Pairs) -> tuple[Tensor, Tensor, Tensor]:
        """The three states of Figure 4 [N, D] each."""
        return self.stream.three(padded(pairs.query), padded(pairs.title), self.patches(pairs.pixels))


def loss_of(states: tuple[Tensor, Tensor, Tensor], head: MatchHead, label: Tensor) -> Tensor:
    """Eq. 11: QI + QT + QV + KL + RS."""
    whole, title, image = states
    logits = [head(h) for h in states]
    kl, rs = distillation_losses((title, logits[1]), (image, logits[2]), label)
    return sum((match_loss(z, label) for z in logits), start=kl + rs)
