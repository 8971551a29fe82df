"""What a product model is made of, as one frozen record that its folder keeps."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from schema.errors import ModelError


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of a :class:`fusion.model.ProductModel`; lengths count tokens, ``image_size`` pixels a side."""

    preset: str = "joint"
    dim: int = 256
    heads: int = 4
    text_layers: int = 1
    fusion_layers: int = 3
    decoder_layers: int = 2
    aggregation_heads: int = 2
    vocab_size: int = 8000
    ngram_buckets: int = 32768
    bag_width: int = 128
    known_width: int = 64
    max_title: int = 48
    max_string: int = 12
    max_query: int = 16
    image_size: int = 112
    image_grid: int = 4
    stem_channels: tuple[int, ...] = (32, 64, 128, 256)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for ``config.json``."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ModelConfig:
        """Read :meth:`as_dict` back; raises ModelError on a key that this version does not know."""
        unknown = sorted(set(data) - {f.name for f in dataclasses.fields(cls)})
        if unknown:
            raise ModelError(f"config.json has unknown settings {unknown}: the model is from a newer version, upgrade catalograph")
        return cls(**{**data, "stem_channels": tuple(data.get("stem_channels", cls.stem_channels))})
