"""Any vision model of transformers as image encoder: its last states or its last map as tokens.

Shapes: B images, S pixels per side, G global tokens, P = grid * grid patches, C the width of the
vision model, D the model's width.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from encoders.base import ImageEncoder
from encoders.image import ChannelValues, Standardise
from encoders.tokens import ModalTokens
from encoders.transformers_settings import call_transformers, check_settings
from schema.documents import parse_json_object
from schema.errors import ModelError

VISION_TYPES = (
    "beit",
    "clip",
    "clip_vision_model",
    "convnext",
    "convnextv2",
    "deit",
    "dinov2",
    "dinov2_with_registers",
    "efficientnet",
    "mobilenet_v1",
    "mobilenet_v2",
    "regnet",
    "resnet",
    "siglip",
    "siglip_vision_model",
    "swin",
    "swinv2",
    "vit_msn",
)
"""Model types whose states are tokens or maps of images."""

MAX_GLOBAL = 16
"""Tokens of a vision model that stand for no patch: [CLS] and registers."""


@dataclass(frozen=True)
class VisionSettings:
    """A vision model, and how it reads images; a model's configuration keeps it as JSON.

    Attributes:
        config: the configuration of transformers
        mean: by which pixels in [0, 1] are standardised
        std: by which they are divided
        image_size: pixels per side S
        width: width C of its states
        grid: patches per side
        global_tokens: tokens G before those of the patches
    """

    config: dict[str, Any]
    mean: ChannelValues
    std: ChannelValues
    image_size: int
    width: int = 0
    grid: int = 0
    global_tokens: int = 0

    def to_json(self) -> str:
        """Return it as text."""
        return json.dumps(asdict(self), default=str, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> VisionSettings:
        """Read what :meth:`to_json` wrote; raises ModelError on anything else."""
        try:
            document = parse_json_object(text)
            config = document.pop("config")
            check_settings(config)
            # Other models read further ones, from folders or a hub that their settings name.
            if config["model_type"] not in VISION_TYPES:
                raise ValueError(f"it is no vision model but a {str(config['model_type'])[:40]!r}")
            mean, std = (tuple(map(float, document.pop(name))) for name in ("mean", "std"))
            numbers = {name: int(value) for name, value in document.items()}
            if len(mean) != 3 or len(std) != 3 or not 1 <= numbers["grid"] <= numbers["image_size"]:
                raise ValueError("its sizes do not fit")
            return cls(config, mean, std, **numbers)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ModelError(f"no vision model is described ({str(error)[:100]})") from None

    def build(self) -> Any:
        """Build the vision model with random weights; raises ModelError if that is impossible."""
        try:
            return call_transformers(self._build)
        except ValueError as error:
            raise ModelError(f"the vision model cannot be built ({error})") from None

    def _build(self) -> Any:
        from transformers import AutoModel
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING

        config = CONFIG_MAPPING[self.config["model_type"]].from_dict(self.config)
        from_config: Any = AutoModel.from_config
        return from_config(config, trust_remote_code=False)

    def measured(self) -> VisionSettings:
        """Return it with the sizes of the model's states, which are computed without memory.

        Raises ModelError if the states of the model are no tokens of square images.
        """
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            model = self.build().eval()
            pixels = torch.zeros(1, 3, self.image_size, self.image_size)
            try:
                states = call_transformers(lambda: model(pixel_values=pixels).last_hidden_state)
            except ValueError as error:
                raise ModelError(f"the model reads no images ({error})") from None
        if states.ndim == 4:
            width, rows, columns = states.shape[1:]
            tokens = rows * columns
        else:
            tokens, width = states.shape[1:]
        grid = math.isqrt(tokens)
        patch = self.config.get("patch_size")
        if (
            isinstance(patch, int)
            and patch > 0
            and 0 <= tokens - (self.image_size // patch) ** 2 <= MAX_GLOBAL
        ):
            # With four registers and a [CLS], four patches are nine tokens, and no grid of three.
            grid = self.image_size // patch
        global_tokens = tokens - grid * grid
        if (states.ndim == 4 and global_tokens) or global_tokens > MAX_GLOBAL or not grid:
            raise ModelError(
                f"the model has states of the shape {list(states.shape)}, which are no tokens of "
                "square images: name another"
            )
        return replace(self, width=width, grid=grid, global_tokens=global_tokens)


class PretrainedVision(ImageEncoder):
    """The last states of a vision model, mapped to the model's width, with positions of our own.

    A frozen one has no gradients. The statistics of its batch norms, if it has any, stay what they
    were learned to be, whether or not it is frozen.

    Args:
        settings: the vision model, and how it reads images
        dim: the width D of the tokens
        frozen: do not train the vision model
    """

    def __init__(self, settings: VisionSettings, dim: int, frozen: bool = True) -> None:
        super().__init__()
        self.vision = settings.build()
        self.frozen = frozen
        self.grid = settings.grid
        self.global_tokens = settings.global_tokens
        self.patch_size = settings.image_size // settings.grid
        self.standardise = Standardise(settings.mean, settings.std)
        self.norm = nn.LayerNorm(settings.width)
        self.project = nn.Linear(settings.width, dim)
        self.positions = nn.Parameter(torch.randn(self.grid**2, dim) * 0.02)
        if frozen:
            self.vision.requires_grad_(False)

    def forward(self, pixels: Tensor) -> ModalTokens:
        """Encode ``pixels`` [B, 3, S, S] uint8 as tokens [B, G + P, D]; S is the model's own."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            states = self.vision(pixel_values=self.standardise(pixels)).last_hidden_state
        if states.ndim == 4:
            states = states.flatten(2).mT
        # The states of different models have different scales.
        tokens = self.project(self.norm(states))
        patches = tokens[:, self.global_tokens :] + self.positions
        return ModalTokens.all_present(torch.cat([tokens[:, : self.global_tokens], patches], 1))

    def masked_tokens(self, vector: Tensor) -> Tensor:
        """Return the tokens [P, D] of patches whose content is replaced by ``vector`` [D]."""
        return vector + self.positions

    def patch_positions(self, patch: Tensor) -> Tensor:
        """Return the position embeddings [M, D] of the patches with index ``patch`` [M]."""
        return self.positions[patch]

    def train(self, mode: bool = True) -> PretrainedVision:
        """Set training mode, except that the vision model itself stays in evaluation mode."""
        super().train(mode)
        self.vision.eval()
        return self
