"""Regions of images from an object detector, K3M's image input: their features and boxes, read from files."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from encoders.batch import RegionBatch
from encoders.tokens import ModalTokens
from schema.errors import DataError

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Regions:
    """R regions of one image: ``features`` [R, F], ``boxes`` [R, 4], ``classes`` [R, C] or None.

    A box is x1, y1, x2, y2 in shares of the sides.
    """

    features: Floats
    boxes: Floats
    classes: Floats | None = None


class RegionFiles(Protocol):
    """Where regions come from, by an item's id or its image's stem."""

    def read(self, key: str) -> Regions | None:
        """The regions of one image, None where there are none; raises DataError where they cannot be read."""


class RegionFolder:
    """A folder with ``KEY.npz`` (``features``, ``boxes``, perhaps ``classes`` and ``size``) or ``KEY.npy`` (features, then the box)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, key: str) -> Regions | None:
        """The regions in ``KEY.npz`` or ``KEY.npy``."""
        for suffix in (".npz", ".npy"):
            path = self.folder / f"{key}{suffix}"
            if path.is_file():
                return parse(path.read_bytes(), str(path))
        return None


class RegionDatabase:
    """An LMDB whose values are the bytes of such files; the extra ``lmdb`` brings the library."""

    def __init__(self, path: Path) -> None:
        try:
            import lmdb
        except ImportError:
            raise DataError(
                f"{path} needs the lmdb library: pip install 'catalograph[lmdb]'"
            ) from None
        self.path = path
        self._environment: Any = lmdb.open(
            str(path), readonly=True, lock=False, subdir=path.is_dir()
        )

    def read(self, key: str) -> Regions | None:
        """The regions under ``key``."""
        with self._environment.begin() as transaction:
            data = transaction.get(key.encode())
        return None if data is None else parse(bytes(data), f"{self.path}:{key}")


def parse(data: bytes, place: str) -> Regions:
    """Regions from the bytes of an npz or npy file; pickles are refused. Raises DataError naming ``place``."""
    try:
        found = np.load(io.BytesIO(data), allow_pickle=False)
        if isinstance(found, np.ndarray):
            features = found[:, :-4]
            boxes = found[:, -4:]
            classes = None
        else:
            features = found["features"]
            boxes = found["boxes"]
            classes = found["classes"].astype(np.float32) if "classes" in found else None
            if "size" in found:
                boxes = boxes / np.tile(found["size"], 2)
    except (ValueError, KeyError, IndexError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{place} has no regions ({str(error).splitlines()[0][:80]}): write features [R, F] and boxes [R, 4]"
        ) from None
    counts = {len(features), len(boxes), len(features if classes is None else classes)}
    if features.ndim != 2 or boxes.shape[1:] != (4,) or len(counts) > 1:
        raise DataError(
            f"{place} has features {features.shape} and boxes {boxes.shape}: write features [R, F] and boxes [R, 4]"
        )
    return Regions(features.astype(np.float32), boxes.astype(np.float32), classes)


def open_regions(path: Path) -> RegionFiles:
    """The regions of a folder of files or of an LMDB (``data.mdb`` within a folder, or a file)."""
    return (
        RegionDatabase(path)
        if path.is_file() or (path / "data.mdb").is_file()
        else RegionFolder(path)
    )


def pad_regions(
    images: Sequence[Regions | None], most: int, width: int, classes: int = 0
) -> RegionBatch:
    """B images' first ``most`` regions, F = ``width`` features each, with their C = ``classes`` where that is above 0.

    Raises DataError where an image's have another width or other classes.
    """
    there = {row: each for row, each in enumerate(images) if each is not None}
    for each in there.values():
        _fits(each, width, classes)
    longest = max((min(most, len(each.features)) for each in there.values()), default=0)
    features = torch.zeros(len(images), longest, width)
    boxes = torch.zeros(len(images), longest, 4)
    mask = torch.zeros(len(images), longest, dtype=torch.bool)
    probable = torch.zeros(len(images), longest, classes)
    for row, each in there.items():
        count = min(most, len(each.features))
        features[row, :count] = torch.from_numpy(each.features[:count])
        boxes[row, :count] = torch.from_numpy(each.boxes[:count])
        mask[row, :count] = True
        if classes and each.classes is not None:
            probable[row, :count] = torch.from_numpy(each.classes[:count])
    return RegionBatch(features, boxes, mask, probable if classes else None)


def _fits(regions: Regions, width: int, classes: int) -> None:
    found = regions.features.shape[1]
    if found != width:
        raise DataError(
            f"regions with {found} features do not fit a model that reads {width}: set region_width"
        )
    told = None if regions.classes is None else regions.classes.shape[1]
    if classes and told not in (None, classes):
        raise DataError(
            f"regions with {told} classes do not fit a model that tells {classes}: set region_classes"
        )


class RegionEncoder(nn.Module):
    """ViLBERT's region embedding, which K3M takes over: LayerNorm(W f + W' (x1, y1, x2, y2, area))."""

    def __init__(self, dim: int, width: int = 2048) -> None:
        super().__init__()
        self.feature = nn.Linear(width, dim)
        self.place = nn.Linear(5, dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, regions: RegionBatch) -> ModalTokens:
        """R regions of B images, F features each, to tokens [B, R, D]."""
        boxes = regions.boxes
        area = (boxes[..., 2:3] - boxes[..., 0:1]) * (boxes[..., 3:4] - boxes[..., 1:2])
        return ModalTokens(
            self.norm(self.feature(regions.features) + self.place(torch.cat([boxes, area], -1))),
            regions.mask,
        )
