"""What a product model is made of, as one frozen record that its folder keeps."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from schema.errors import ModelError, UsageError

LEAST_IMAGE = 32
NONE_ALLOWED = (
    "region_classes",
    "text_layers",
    "image_layers",
    "decoder_layers",
    "bag_width",
    "known_width",
)
CHOICES = {
    "architecture": (
        "joint",
        "single-stream",
        "two-stream",
        "clip",
        "vilt",
        "visual_bert",
        "lxmert",
    ),
    "image_encoder": ("stem", "patches", "crops", "regions", "vit", "wrapped", "none"),
    "initial_fusion": ("mean", "soft-spl", "hard-spl", "none"),
    "hidden_act": ("gelu", "gelu_new"),
}
REMOVED = ("global_heads",)
"""Settings of an earlier version that nothing reads any more."""
RATES = ("dropout", "drop_tokens", "drop_wide")


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of a :class:`fusion.model.ProductModel`; lengths count tokens, ``image_size`` pixels a side.

    ``architecture`` is how modalities meet, ``image_encoder`` what reads an image. In training ``dropout`` hides features within the layers,
    ``drop_tokens`` title and image tokens, ``drop_wide`` a whole modality of the wide part: rates. ``initial_fusion`` is K3M's IIFM:
    mean, soft-spl, hard-spl, or none. ``hidden_act`` and ``norm_eps`` are a BERT's, by transformers' names. ``wrapped`` is the
    configuration, as JSON, of a model of transformers that is read whole. ``interaction`` is PyKEEN's, by its name, that scores statements;
    without one a decoder does. ``frozen_image`` is about a pretrained ViT.
    """

    preset: str = "joint"
    architecture: str = "joint"
    dim: int = 256
    heads: int = 4
    text_layers: int = 1
    image_layers: int = 0
    fusion_layers: int = 3
    decoder_layers: int = 2
    aggregation_heads: int = 2
    vocab_size: int = 8000
    max_ngrams: int = 32768
    bag_width: int = 128
    known_width: int = 64
    dropout: float = 0.1
    drop_tokens: float = 0.1
    drop_wide: float = 0.4
    max_title: int = 48
    max_string: int = 12
    max_query: int = 16
    image_size: int = 112
    image_grid: int = 4
    stem_channels: tuple[int, ...] = (32, 64, 128, 256)
    patch_kernels: tuple[int, ...] = (4, 2, 2, 2)
    initial_fusion: str = "soft-spl"
    hops: int = 1
    interaction: str = ""
    reads_title: bool = True
    reads_known: bool = True
    vision_cls: bool = False
    image_encoder: str = "stem"
    max_regions: int = 36
    region_width: int = 2048
    region_classes: int = 0
    vit_layers: int = 12
    vit_heads: int = 12
    vit_dim: int = 768
    hidden_act: str = "gelu_new"
    norm_eps: float = 1e-5
    frozen_text: bool = False
    frozen_image: bool = True
    wrapped: str = ""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check(field.name, getattr(self, field.name))
        if self.frozen_text and self.architecture != "two-stream":
            raise UsageError(
                "frozen_text=True needs a text encoder of its own: leave it out, or train k3m"
            )
        if self.dim % self.heads:
            raise UsageError(
                f"dim={self.dim} is not a multiple of heads={self.heads}: change one of them"
            )
        if self.image_size % self.image_grid or self.image_size < LEAST_IMAGE:
            raise UsageError(
                f"image_size={self.image_size} is no multiple of image_grid={self.image_grid} from {LEAST_IMAGE} on: change one of them"
            )

    def as_dict(self) -> dict[str, Any]:
        """Plain data for ``config.json``."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ModelConfig:
        """Read :meth:`as_dict` back; raises ModelError on a key that this version does not know."""
        data = {name: value for name, value in data.items() if name not in REMOVED}
        unknown = sorted(set(data) - {f.name for f in dataclasses.fields(cls)})
        if unknown:
            raise ModelError(
                f"config.json has unknown settings {unknown}: the model is from a newer version, upgrade catalograph"
            )
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in data.items()
        }
        return cls(**values)


def _check(name: str, value: Any) -> None:
    if name in CHOICES and value not in CHOICES[name]:
        raise UsageError(f"{name}={value!r} is unknown: set {name} to {', '.join(CHOICES[name])}")
    if name in RATES and not 0 <= value < 1:
        raise UsageError(f"{name}={value} is not a rate: set {name} to 0 or more and below 1")
    least = 0 if name in NONE_ALLOWED else 1
    if isinstance(value, int) and not isinstance(value, bool) and value < least:
        raise UsageError(
            f"{name}={value} is below its least value {least}: set {name} to {least} or more"
        )
