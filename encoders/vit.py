"""A vision transformer (ViT) of transformers, whose patches become image tokens.

Shapes: B images, S pixels per side, P patches, D the model's width.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.base import ImageEncoder
from encoders.image import HALF, Standardise
from encoders.tokens import ModalTokens
from schema.errors import ModelError

if TYPE_CHECKING:
    from transformers import ViTModel


class PretrainedViT(ImageEncoder):
    """The last states of a ViT, [CLS] first, mapped to the model's width.

    Args:
        vit: a ViTModel of transformers without its pooler
        dim: the width D of the tokens
        frozen: do not train the ViT: no gradients, and always in evaluation mode
    """

    def __init__(self, vit: Any, dim: int, frozen: bool = True) -> None:
        super().__init__()
        self.vit = vit
        self.frozen = frozen
        self.patch_size = int(vit.config.patch_size)
        self.global_tokens = 1
        self.grid = int(vit.config.image_size) // self.patch_size
        self.standardise = Standardise(HALF, HALF)
        self.project = nn.Linear(vit.config.hidden_size, dim)
        if frozen:
            self.vit.requires_grad_(False)

    def forward(self, pixels: Tensor) -> ModalTokens:
        """Encode ``pixels`` [B, 3, S, S] uint8 as tokens [B, 1 + P, D]; S is the ViT's own."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            states = self.vit(pixel_values=self.standardise(pixels)).last_hidden_state
        # Outside of the block above: the projection is learned even if the ViT is frozen.
        return ModalTokens.all_present(self.project(states))

    def masked_tokens(self, vector: Tensor) -> Tensor:
        """Return the tokens [P, D] of patches whose content is replaced by ``vector`` [D].

        The ViT's states have no part that is the position alone. Its own position embeddings,
        mapped like its states, stand in for it.
        """
        positions = self.vit.embeddings.position_embeddings[0, self.global_tokens :]
        return vector + F.linear(positions, self.project.weight)

    def train(self, mode: bool = True) -> PretrainedViT:
        """Set training mode, except that a frozen ViT stays in evaluation mode."""
        super().train(mode)
        self.vit.train(mode and not self.frozen)
        return self


def build_vit(
    *,
    width: int,
    layers: int,
    heads: int,
    image_size: int,
    patch_size: int,
    dim: int,
    frozen: bool = True,
) -> PretrainedViT:
    """Build a ViT with random weights, into which pretrained ones can be loaded.

    Args:
        width: width of the ViT itself
        layers: number of its layers
        heads: attention heads of each layer
        image_size: pixels per side of the images
        patch_size: pixels per side of a patch
        dim: the width D of the tokens
        frozen: do not train the ViT
    """
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        image_size=image_size,
        patch_size=patch_size,
    )
    return PretrainedViT(ViTModel(config, add_pooling_layer=False), dim, frozen)


def read_vit(name: str | Path) -> ViTModel:
    """Load a ViT of transformers by its hub name or folder; raises ModelError if there is none."""
    from transformers import ViTModel

    try:
        # Weights in a pickle are never read: a pickle is a program.
        return ViTModel.from_pretrained(name, add_pooling_layer=False, use_safetensors=True)
    except Exception as error:  # transformers raises whatever a damaged file ends in
        reason = (str(error).splitlines() or [type(error).__name__])[0][:100]
        raise ModelError(
            f"no ViT at {name} ({reason}): name a hub model or a folder with its weights"
        ) from None
