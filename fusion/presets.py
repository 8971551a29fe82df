"""The presets: each paper's model and the joint one, as plain functions from a size's name to numbers."""

from __future__ import annotations

import dataclasses
from typing import Any

from fusion.config import ModelConfig
from schema.errors import UsageError

SIZES = ("tiny", "small", "base")
PRESETS = ("joint", "k3m", "mbsd", "vtbert")


def preset(name: str, size: str) -> ModelConfig:
    """A preset by its name at a size by its name; raises UsageError where there is no such one."""
    if size not in SIZES:
        raise UsageError(f"no size {size!r}: choose one of {', '.join(SIZES)}")
    match name:
        case "joint":
            return joint(size)
        case "k3m":
            return k3m(size)
        case "mbsd":
            return mbsd(size)
        case "vtbert":
            return vtbert(size)
    raise UsageError(f"no preset {name!r}: choose one of {', '.join(PRESETS)}")


def joint(size: str) -> ModelConfig:
    """Ours: word pieces and n-grams, a residual stem and picture descriptors, one stream, a decoder of cells, a wide part."""
    small = ModelConfig()
    if size == "tiny":
        widths: dict[str, Any] = {"vocab_size": 2000, "max_ngrams": 4096, "bag_width": 32, "known_width": 16}
        return dataclasses.replace(
            small, dim=64, heads=2, fusion_layers=1, decoder_layers=1, dropout=0.0, drop_wide=0.2, image_size=64,
            stem_channels=(16, 32, 64, 64), **widths,
        )  # fmt: skip
    if size == "base":
        widths = {"vocab_size": 30_000, "max_ngrams": 200_000, "bag_width": 256, "known_width": 128}
        return dataclasses.replace(
            small, dim=768, heads=12, text_layers=2, fusion_layers=8, image_size=224, image_grid=7, stem_channels=(64, 128, 256, 512),
            **widths,
        )  # fmt: skip
    return small


def paper(size: str) -> ModelConfig:
    """What the papers' models share: BERT's shape at a size, and of ours nothing beside (no n-grams, no decoder, no wide part)."""
    plain = ModelConfig(decoder_layers=0, bag_width=0, known_width=0, max_ngrams=1, drop_tokens=0.0, drop_wide=0.0)
    dim, heads = {"tiny": (64, 2), "small": (256, 4), "base": (768, 12)}[size]
    vocabulary = {"tiny": 2000, "small": 8000, "base": 30_000}[size]
    return dataclasses.replace(plain, dim=dim, heads=heads, vocab_size=vocabulary)


def mbsd(size: str) -> ModelConfig:
    """MBSD: BERT over title and 7 x 7 patches of non-overlapping convolutions; at base 12 layers, titles of 144 pieces (its 4.3)."""
    layers, picture, title = {"tiny": (1, 64, 24), "small": (4, 224, 48), "base": (12, 224, 144)}[size]
    kernels = (4, 4) if size == "tiny" else (4, 2, 2, 2)
    return dataclasses.replace(
        paper(size), preset="mbsd", text_layers=0, fusion_layers=layers, image_size=picture, image_grid=4 if size == "tiny" else 7,
        patch_kernels=kernels, stem_channels=(32,) if size == "tiny" else (64, 128, 256), max_title=title,
    )  # fmt: skip


def vtbert(size: str) -> ModelConfig:
    """VT-BERT: BERT over title and linear patches of 16 pixels; at base 12 layers, titles of 36 pieces (its 5.2)."""
    layers, picture = {"tiny": (1, 64), "small": (4, 224), "base": (12, 224)}[size]
    return dataclasses.replace(
        paper(size), preset="vtbert", text_layers=0, fusion_layers=layers, image_size=picture, image_grid=picture // 16,
        patch_kernels=(16,), stem_channels=(), max_title=36,
    )  # fmt: skip


def k3m(size: str) -> ModelConfig:
    """K3M: a transformer a modality, co-attention between them, the initial-interactive fusion, the structure aggregation.

    Where there are no detector's regions, its picture tokens are MBSD's patches.
    """
    text, image, fusion, picture = {"tiny": (1, 1, 1, 64), "small": (2, 2, 2, 224), "base": (6, 6, 6, 224)}[size]
    kernels = (4, 4) if size == "tiny" else (4, 2, 2, 2)
    return dataclasses.replace(
        paper(size), preset="k3m", text_layers=text, image_layers=image, fusion_layers=fusion, image_size=picture,
        image_grid=4 if size == "tiny" else 7, patch_kernels=kernels, stem_channels=(32,) if size == "tiny" else (64, 128, 256),
        max_title=36, aggregation_heads=2,
    )  # fmt: skip
