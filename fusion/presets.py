"""The presets: each paper's model, their baselines and the joint one, as plain functions from a size's name to numbers."""

from __future__ import annotations

import dataclasses
from typing import Any

from fusion.config import ModelConfig
from schema.errors import UsageError

SIZES = ("tiny", "small", "base")
PRESETS = (
    "joint",
    "k3m",
    "mbsd",
    "vtbert",
    "bert",
    "vit",
    "vilt",
    "fashionbert",
    "k3m-without-iifm",
    "k3m-without-knowledge",
    "wrapped",
)


def preset(name: str, size: str) -> ModelConfig:
    """A preset by its name at a size by its name; raises UsageError where there is no such one."""
    if size not in SIZES:
        raise UsageError(f"no size {size!r}: choose one of {', '.join(SIZES)}")
    match name:
        case "joint":
            return joint(size)
        case "k3m":
            return k3m(size)
        case "k3m-without-iifm":
            return dataclasses.replace(k3m(size), preset=name, initial_fusion="none")
        case "k3m-without-knowledge":
            return dataclasses.replace(k3m(size), preset=name, reads_known=False)
        case "mbsd":
            return mbsd(size)
        case "vtbert":
            return vtbert(size)
        case "bert":
            return bert(size)
        case "vit":
            return vit(size)
        case "vilt":
            return vilt(size)
        case "fashionbert":
            return fashionbert(size)
        case "wrapped":
            return dataclasses.replace(paper(size), preset=name)
    raise UsageError(f"no preset {name!r}: choose one of {', '.join(PRESETS)}")


def joint(size: str) -> ModelConfig:
    """Ours: word pieces and n-grams, a residual stem and image descriptors, one stream, a decoder of cells, a wide part."""
    small = ModelConfig(global_heads=True)
    if size == "tiny":
        widths: dict[str, Any] = {
            "vocab_size": 2000,
            "max_ngrams": 4096,
            "bag_width": 32,
            "known_width": 16,
        }
        return dataclasses.replace(
            small,
            dim=64,
            heads=2,
            fusion_layers=1,
            decoder_layers=1,
            dropout=0.0,
            drop_wide=0.2,
            image_size=64,
            stem_channels=(16, 32, 64, 64),
            **widths,
        )
    if size == "base":
        widths = {"vocab_size": 30_000, "max_ngrams": 200_000, "bag_width": 256, "known_width": 128}
        return dataclasses.replace(
            small,
            dim=768,
            heads=12,
            text_layers=2,
            fusion_layers=8,
            image_size=224,
            image_grid=7,
            stem_channels=(64, 128, 256, 512),
            **widths,
        )
    return small


def paper(size: str) -> ModelConfig:
    """What the papers' models share: BERT's shape at a size, and of ours nothing beside (no n-grams, no decoder, no wide part)."""
    plain = ModelConfig(
        architecture="single-stream",
        image_encoder="patches",
        decoder_layers=0,
        bag_width=0,
        known_width=0,
        max_ngrams=1,
        drop_tokens=0.0,
        drop_wide=0.0,
    )
    dim, heads = {"tiny": (64, 2), "small": (256, 4), "base": (768, 12)}[size]
    vocabulary = {"tiny": 2000, "small": 8000, "base": 30_000}[size]
    return dataclasses.replace(plain, dim=dim, heads=heads, vocab_size=vocabulary)


def mbsd(size: str) -> ModelConfig:
    """MBSD: BERT over title and 7 x 7 patches of non-overlapping convolutions; at base 12 layers."""
    image, title = {"tiny": (64, 24), "small": (224, 48), "base": (224, 144)}[size]
    return dataclasses.replace(
        paper(size),
        preset="mbsd",
        max_title=title,
        **single_stream(size),
        **convolutions(size, image),
    )


def vtbert(size: str) -> ModelConfig:
    """VT-BERT: BERT over title and linear patches of 16 pixels; at base 12 layers, titles of 36 pieces (its 5.2)."""
    own: dict[str, Any] = {
        "preset": "vtbert",
        "max_title": 36,
        "vision_cls": True,
        "global_heads": True,
    }
    return dataclasses.replace(paper(size), **own, **single_stream(size), **linear(size, 16))


def bert(size: str) -> ModelConfig:
    """The papers' text-only baseline: BERT on titles, no image."""
    return dataclasses.replace(
        paper(size),
        preset="bert",
        image_encoder="none",
        max_title=mbsd(size).max_title,
        **single_stream(size),
    )


def vit(size: str) -> ModelConfig:
    """The papers' image-only baseline: ViT's linear patches of 16 pixels in one stream, titles unread (queries are, as in MBSD's 4.4)."""
    return dataclasses.replace(
        paper(size), preset="vit", reads_title=False, **single_stream(size), **linear(size, 16)
    )


def vilt(size: str) -> ModelConfig:
    """ViLT-style: linear patches of 32 pixels beside the title, 40 pieces, in one stream."""
    return dataclasses.replace(
        paper(size), preset="vilt", max_title=40, **single_stream(size), **linear(size, 32)
    )


def fashionbert(size: str) -> ModelConfig:
    """FashionBERT-style: 4 x 4 crops, each read by a residual network (the paper's is a pretrained ResNet-50), beside the title."""
    channels = (16, 32, 64) if size == "tiny" else (64, 128, 256)
    crops: dict[str, Any] = {
        "image_encoder": "crops",
        "image_size": 64 if size == "tiny" else 224,
        "image_grid": 4,
        "stem_channels": channels,
    }
    return dataclasses.replace(
        paper(size),
        preset="fashionbert",
        max_title=mbsd(size).max_title,
        **single_stream(size),
        **crops,
    )


def k3m(size: str) -> ModelConfig:
    """K3M: a transformer a modality, co-attention between them, the initial-interactive fusion, the structure aggregation.

    Limits are its release's: 36 pieces of a title, 36 regions. Where a catalogue has no detector's regions, its image tokens are MBSD's
    patches; ``image_encoder=regions`` reads regions.
    """
    text, image, fusion, image = {
        "tiny": (1, 1, 1, 64),
        "small": (2, 2, 2, 224),
        "base": (6, 6, 6, 224),
    }[size]
    layers: dict[str, Any] = {"text_layers": text, "image_layers": image, "fusion_layers": fusion}
    met: dict[str, Any] = {
        "preset": "k3m",
        "architecture": "two-stream",
        "interaction": "TransE",
        "aggregation_heads": 2,
        "max_title": 36,
        "max_regions": 36,
    }
    return dataclasses.replace(paper(size), **met, **layers, **convolutions(size, image))


def single_stream(size: str) -> dict[str, Any]:
    """How deep one stream is: two layers at least, since in one [CLS] adds up a query's and a title's words and compares none."""
    return {"text_layers": 0, "fusion_layers": {"tiny": 2, "small": 4, "base": 12}[size]}


def linear(size: str, patch: int) -> dict[str, Any]:
    """Linear patches of ``patch`` pixels a side."""
    image = 64 if size == "tiny" else 224
    return {
        "image_size": image,
        "image_grid": image // patch,
        "patch_kernels": (patch,),
        "stem_channels": (),
    }


def convolutions(size: str, image: int) -> dict[str, Any]:
    """MBSD's non-overlapping convolutions of an image."""
    if size == "tiny":
        return {
            "image_size": image,
            "image_grid": 4,
            "patch_kernels": (4, 4),
            "stem_channels": (32,),
        }
    return {
        "image_size": image,
        "image_grid": 7,
        "patch_kernels": (4, 2, 2, 2),
        "stem_channels": (64, 128, 256),
    }
