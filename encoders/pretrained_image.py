"""Images as vectors of a pretrained encoder, whose cosines say how alike they are.

Shapes: N images, B of a batch, S pixels per side, D the width of the vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from encoders.image import ChannelValues, Standardise
from encoders.pretrained_folder import Encoder, Vectors, digest_of, open_model, unusable
from encoders.transformers_settings import call_transformers
from schema.documents import parse_json_object, read_limited

BATCH = 16
WHAT = "image encoder"
PROCESSOR = "preprocessor_config.json"
WHOLE_PROCESSOR = "processor_config.json"
"""Where models of both texts and images keep the settings of ``PROCESSOR``."""
MAX_SETTINGS_BYTES = 1 << 20
MAX_SIDE = 2048
"""Pixels per side of the images that a model may read."""
_LARGEST = 255


class ImagesEncoder(Encoder, Protocol):
    """Something that turns images into vectors of length 1."""

    @property
    def image_size(self) -> int:
        """Pixels per side of the images that it reads."""
        ...

    def encode(self, pixels: NDArray[np.uint8]) -> Vectors:
        """Return the vectors [N, D] of N images [N, 3, S, S], each of length 1."""
        ...


class PretrainedImages:
    """A vision model of transformers: its pooled output, or the mean of its last states.

    Any model that ``AutoModel`` opens: a transformer such as ViT or DINOv2, the vision tower of a
    CLIP, a convolutional network such as ConvNeXt or ResNet. Raises ModelError if the folder holds
    none, or no settings of a preprocessor.

    Attributes:
        folder: where it is
        digest: a hash of its files
        space: a name that changes whenever the same image may get another vector
        image_size: pixels per side of the images that it reads
        width: the width D of the vectors
    """

    def __init__(self, folder: Path) -> None:
        folder = Path(folder)
        self.folder = folder.resolve()
        opened = open_model(folder, WHAT)
        self._model = getattr(opened.model, "vision_model", opened.model)
        self._pools = opened.pools
        try:
            settings = read_processor(folder)
            mean, std = channels_of(settings)
            self._standardise = Standardise(mean, std).to(self._model.device)
            self.image_size = image_size_of(settings, self._model.config)
            blank = np.zeros((1, 3, self.image_size, self.image_size), np.uint8)
            self.width = int(call_transformers(lambda: self.encode(blank)).shape[1])
        except ValueError as error:
            raise unusable(folder, WHAT, error) from None
        self.digest = digest_of(folder)
        self.space = f"{folder.resolve().name}-{self.digest[:16]}-{self.image_size}"

    def encode(self, pixels: NDArray[np.uint8]) -> Vectors:
        """Return the vectors [N, D] of N images [N, 3, S, S], each of length 1.

        Images of another size than ``image_size`` are resized.
        """
        import torch
        from torch.nn import functional

        if not len(pixels):
            return np.zeros((0, self.width), np.float32)
        device = self._model.device
        parts = []
        for start in range(0, len(pixels), BATCH):
            batch = torch.from_numpy(pixels[start : start + BATCH]).to(device)
            if batch.shape[-1] != self.image_size:
                batch = functional.interpolate(
                    batch.float(), self.image_size, mode="bicubic", antialias=True
                ).clamp(0, _LARGEST)
            halved = torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")
            with torch.inference_mode(), halved:
                output = self._model(pixel_values=self._standardise(batch))
            vectors = _pooled(output, self._pools).float()
            parts.append(functional.normalize(vectors, dim=1).cpu().numpy())
        return np.concatenate(parts)


def _pooled(output: Any, pools: bool) -> Any:
    """Return vectors [B, D] of a model's output: pooled if it ``pools``, or the mean of states."""
    pooled = output.get("pooler_output")
    if pools and pooled is not None:
        return pooled.flatten(1)
    states = output.last_hidden_state
    # Transformers have states [B, L, D], convolutional networks maps [B, D, H, W].
    return states.mean(1) if states.ndim == 3 else states.flatten(2).mean(2)


def read_processor(folder: Path) -> dict[str, Any]:
    """Read the settings of a folder's image processor; raises ValueError if there are none."""
    path = folder / PROCESSOR
    if path.is_file():
        return parse_json_object(read_limited(path, MAX_SETTINGS_BYTES))
    path = folder / WHOLE_PROCESSOR
    found = None
    if path.is_file():
        found = parse_json_object(read_limited(path, MAX_SETTINGS_BYTES)).get("image_processor")
    if not isinstance(found, dict):
        raise ValueError(f"it has no {PROCESSOR}, which says how its pixels are normalised")
    return found


def channels_of(settings: dict[str, Any]) -> tuple[ChannelValues, ChannelValues]:
    """Return the mean and the deviation of the channels, in [0, 1]; raises ValueError."""
    # Without rescaling, the model reads pixels up to 255, and means and deviations are such.
    scale = float(settings.get("rescale_factor", 1 / _LARGEST)) * _LARGEST
    if not settings.get("do_rescale", True):
        scale = float(_LARGEST)
    mean, std = [0.0] * 3, [1.0] * 3
    if settings.get("do_normalize", True):
        mean = [float(each) for each in _triple(settings, "image_mean")]
        std = [float(each) for each in _triple(settings, "image_std")]
    if str(settings.get("image_processor_type", "")).startswith("EfficientNet"):
        # Pixels from -1 to 1, and divided by the deviation once more: so were these models trained.
        if settings.get("rescale_offset"):
            mean = [each + 1 for each in mean]
        if settings.get("include_top", True):
            std = [each * each for each in std]
    if not scale > 0 or not all(each > 0 for each in std):
        raise ValueError(f"image_std={std} has no use")
    return _scaled(mean, scale), _scaled(std, scale)


def _scaled(values: Sequence[float], scale: float) -> ChannelValues:
    red, green, blue = values
    return red / scale, green / scale, blue / scale


def _triple(settings: dict[str, Any], name: str) -> list[Any]:
    value = settings.get(name)
    if not isinstance(value, list) or len(value) != 3:
        raise ValueError(f"{name}={value!r} of {PROCESSOR} is no list of three numbers")
    return value


def image_size_of(settings: dict[str, Any], config: Any) -> int:
    """Return the pixels per side that a model reads; raises ValueError if nothing says it."""
    # A config may give the size of training, the preprocessor that of use, as of DINOv2.
    cropped = settings.get("crop_size") if settings.get("do_center_crop", True) else None
    for given in (cropped, settings.get("size"), getattr(config, "image_size", None)):
        side = _side(given)
        if side is not None:
            if not 1 <= side <= MAX_SIDE:
                raise ValueError(f"its images of {side} pixels are larger than {MAX_SIDE}")
            return side
    raise ValueError(f"neither its config nor its {PROCESSOR} says how large its images are")


def _side(given: Any) -> int | None:
    if isinstance(given, dict):
        given = given.get("height") or given.get("shortest_edge")
    if isinstance(given, list | tuple) and given:
        given = given[0]
    return given if isinstance(given, int) and not isinstance(given, bool) else None
