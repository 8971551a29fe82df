"""The configuration of a product model, which its folder keeps in ``config.json``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from schema.errors import ModelError, UsageError
from schema.modalities import NETWORK_MODALITIES, Modality
from schema.settings import Limits, check_limits, check_type, shown

MIN_IMAGE_SIZE = 32
WIDTH = Limits(1, 16_384)
LAYERS = Limits(1, 256)
ANY_LAYERS = Limits(0, 256)
LENGTH = Limits(1, 8192)
LIMITS = {
    "dim": WIDTH,
    "heads": Limits(1, 1024),
    "text_layers": ANY_LAYERS,
    "image_layers": ANY_LAYERS,
    "fusion_layers": LAYERS,
    "decoder_layers": ANY_LAYERS,
    "aggregation_heads": Limits(1, 1024),
    "vocab_size": Limits(1, 4_000_000),
    "max_ngrams": Limits(1, 20_000_000),
    "bag_width": Limits(0, 16_384),
    "known_width": Limits(0, 16_384),
    "max_title": LENGTH,
    "max_string": LENGTH,
    "max_query": LENGTH,
    "image_size": Limits(1, 4096),
    "image_grid": Limits(1, 256),
    "stem_channels": WIDTH,
    "patch_kernels": Limits(1, 4096),
    "hops": Limits(1, 2),
    "max_regions": Limits(1, 4096),
    "region_width": Limits(1, 1_000_000),
    "region_classes": Limits(0, 1_000_000),
    "vit_layers": LAYERS,
    "vit_heads": Limits(1, 1024),
    "vit_dim": WIDTH,
    "norm_eps": Limits(0, 1),
}
"""Limits of each number, far beyond what has been trained with success anywhere: an absurd one is
refused at once, and what memory has no room for by :func:`fusion.build.check_memory`."""

MODEL_CHOICES = {
    "architecture": (
        "joint",
        "single-stream",
        "two-stream",
        "clip",
        "vilt",
        "visual_bert",
        "lxmert",
    ),
    "image_encoder": ("stem", "patches", "crops", "regions", "vit", "vision", "wrapped", "none"),
    "initial_fusion": ("mean", "soft-spl", "hard-spl", "none"),
    "fusion_gates": ("feature", "token"),
    "hidden_act": ("gelu", "gelu_new"),
}
RATES = ("dropout", "drop_tokens", "drop_wide")

FORMER_NAMES = {"picture": "image_encoder"}
"""Fields that were renamed, for model folders of earlier versions."""

FORMER_FIELDS = ("global_heads",)
"""Fields that were removed, which such folders may still have."""


@dataclass(frozen=True)
class ModelConfig:
    """The configuration of a :class:`fusion.model.ProductModel`.

    A model folder of an earlier version lacks later settings. So the default of a new setting is
    what models did before there was one, and the presets choose otherwise.

    Raises UsageError if a value is out of range or two of them do not fit each other.

    Attributes:
        preset: the preset that it was made from
        architecture: how the modalities meet; a module of :mod:`fusion.architectures`, or the
            model type of a wrapped model of transformers
        dim: the model's width D
        heads: attention heads of each layer
        text_layers: layers over the text alone
        image_layers: layers over the image alone
        fusion_layers: layers over both modalities
        decoder_layers: layers of the cell decoder
        aggregation_heads: attention heads of the structure aggregation
        vocab_size: number of word pieces
        max_ngrams: number of n-grams
        bag_width: width of the bag of n-grams, and of the image descriptor; 0 for neither
        known_width: width of a known statement in the wide part; 0 for none
        dropout: rate of dropping features within the layers, during training
        drop_tokens: rate of dropping tokens of titles, images and queries, during training
        drop_wide: rate of dropping a whole modality of the wide part, during training
        max_title: limit of a title, in word pieces
        max_string: limit of the name of a property or value, in word pieces
        max_query: limit of a query, in word pieces
        image_size: pixels per side of an image
        image_grid: patches per side of an image
        stem_channels: channels of the convolutions of the image encoder
        patch_kernels: kernels of the convolutions of ``patches``; their product is the patch size
        initial_fusion: K3M's initial-interactive feature fusion
        fusion_gates: whether it has a gate for each ``feature``, as in K3M's release, or ``token``
        hops: 1 aggregates an item's triples; 2 first aggregates the items of each value
        string_embeddings: whether properties and values have a vector of their own beside that of
            their text
        interaction: PyKEEN's name of the interaction that scores statements; empty for the decoder
        reads_title: whether the model reads titles
        reads_known: whether the model reads known statements
        vision_cls: whether [CLS] has the segment of the image, as in VT-BERT
        image_cls: whether the image's tokens begin with a [CLS] of their own and end without a
            [SEP], as in MBSD's release
        image_norm: whether the layer norm of BERT's embeddings applies to the image's tokens, too
        text_types: whether query and title are told apart by BERT's token types
        image_encoder: what reads the images
        max_regions: limit of an image's regions
        region_width: number of features of a region
        region_classes: number of the detector's classes that the model predicts; 0 for none
        vit_layers: layers of the vision transformer
        vit_heads: attention heads of the vision transformer
        vit_dim: width of the vision transformer
        hidden_act: BERT's activation, by transformers' name
        norm_eps: epsilon of BERT's layer norms
        frozen_text: do not train the text encoder
        frozen_image: do not train the vision transformer, or another vision model
        wrapped: the configuration of a wrapped model of transformers, as JSON
        vision: a vision model of transformers and how it reads images, as JSON
        text_model: a text model of transformers that reads titles, queries and names, as JSON
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
    fusion_gates: str = "token"
    hops: int = 1
    string_embeddings: bool = True
    interaction: str = ""
    reads_title: bool = True
    reads_known: bool = True
    vision_cls: bool = False
    image_cls: bool = False
    image_norm: bool = True
    text_types: bool = False
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
    vision: str = ""
    text_model: str = ""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check(field.name, getattr(self, field.name), field.default)
        if self.frozen_text and self.architecture != "two-stream" and not self.text_model:
            raise UsageError(
                "frozen_text=True needs a text encoder of its own: leave it out, name one by "
                "text_pretrained, or train k3m"
            )
        if self.dim % self.heads:
            raise UsageError(
                f"dim={self.dim} is not a multiple of heads={self.heads}: change one of them"
            )
        if self.image_size % self.image_grid or self.image_size < MIN_IMAGE_SIZE:
            raise UsageError(
                f"image_size={self.image_size} is not a multiple of image_grid={self.image_grid} "
                f"of at least {MIN_IMAGE_SIZE}: change one of them"
            )

    @property
    def modalities(self) -> frozenset[Modality]:
        """The modalities that the model reads."""
        if self.image_encoder == "none":
            return NETWORK_MODALITIES - {Modality.IMAGE}
        return NETWORK_MODALITIES

    @property
    def reads_pixels(self) -> bool:
        """Whether the model reads images itself: not a detector's regions, and not only text."""
        return self.image_encoder not in ("regions", "none")

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for ``config.json``."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ModelConfig:
        """Restore a configuration from :meth:`as_dict`, also from that of an earlier version.

        Raises ModelError on an unknown field, and on a value that is not allowed.
        """
        if not isinstance(data, dict):
            raise ModelError(f"config.json describes no model but {shown(data)}: train again")
        values: dict[str, Any] = {}
        for name, value in data.items():
            if name in FORMER_FIELDS:
                continue
            # JSON has no tuples.
            values[FORMER_NAMES.get(name, name)] = (
                tuple(value) if isinstance(value, list) else value
            )
        unknown = sorted(set(values) - {field.name for field in dataclasses.fields(cls)})
        if unknown:
            raise ModelError(
                f"config.json has unknown settings {shown(unknown)}: "
                "the model is from a newer version, upgrade catalograph"
            )
        try:
            return cls(**values)
        except UsageError as error:
            raise ModelError(f"config.json describes no model that can be built: {error}") from None


def _check(name: str, value: Any, default: object) -> None:
    """Raise UsageError if a field's value is not allowed."""
    check_type(name, value, default)
    if name in MODEL_CHOICES and value not in MODEL_CHOICES[name]:
        allowed = ", ".join(MODEL_CHOICES[name])
        raise UsageError(f"{name}={shown(value)} is unknown: set {name} to {allowed}")
    if name in RATES and not 0 <= value < 1:
        raise UsageError(f"{name}={value} is not a rate: set {name} to 0 or more and below 1")
    if name in LIMITS:
        check_limits(name, value, LIMITS[name])
