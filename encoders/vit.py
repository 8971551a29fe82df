"""A pretrained vision transformer by transformers: its patches as tokens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from encoders.image import HALF, normalise
from encoders.tokens import ModalTokens
from schema.errors import ModelError

if TYPE_CHECKING:
    from transformers import ViTModel


class PretrainedViT(nn.Module):
    """A ViT's last states, [CLS] first, mapped to the model's width; a frozen one gives no gradient and stays in evaluation mode.

    ``vit`` is transformers' ViTModel (or one that takes ``pixel_values`` and gives ``last_hidden_state``).
    """

    def __init__(self, vit: Any, dim: int, frozen: bool = True) -> None:
        super().__init__()
        self.vit = vit
        self.frozen = frozen
        self.size_of_patch = int(vit.config.patch_size)
        self.global_tokens = 1
        self.grid = int(vit.config.image_size) // self.size_of_patch
        self.project = nn.Linear(vit.config.hidden_size, dim)
        if frozen:
            self.vit.requires_grad_(False)

    def forward(self, pixels: Tensor) -> ModalTokens:
        """``pixels`` [B, 3, S, S] uint8, S the ViT's own side, to tokens [B, 1 + P, D]."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            states = self.vit(pixel_values=normalise(pixels, HALF, HALF)).last_hidden_state
        return ModalTokens.whole(self.project(states))

    def train(self, mode: bool = True) -> PretrainedViT:
        """As ever, but a frozen ViT does not train."""
        super().train(mode)
        self.vit.train(mode and not self.frozen)
        return self


def vit_from_numbers(
    shape: tuple[int, int, int], size: int, patch: int, dim: int, frozen: bool = True
) -> PretrainedViT:
    """A ViT of ``shape`` (width, layers, heads) over images of ``size`` pixels, for weights to be loaded into."""
    from transformers import ViTConfig, ViTModel

    width, layers, heads = shape
    config = ViTConfig(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        image_size=size,
        patch_size=patch,
    )
    return PretrainedViT(ViTModel(config, add_pooling_layer=False), dim, frozen)


def pretrained_vit(name: str | Path, dim: int, frozen: bool = True) -> PretrainedViT:
    """A ViT with the weights of a hub name or a folder; raises ModelError where they cannot be had."""
    return PretrainedViT(read_vit(name), dim, frozen)


def read_vit(name: str | Path) -> ViTModel:
    """Transformers' own ViT of a hub name or a folder; raises ModelError where it cannot be had."""
    from transformers import ViTModel

    try:
        return ViTModel.from_pretrained(name, add_pooling_layer=False)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"no ViT at {name} ({str(error).splitlines()[0][:100]}): name a hub model or a folder with its weights"
        ) from None
