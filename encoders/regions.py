"""Regions of images from an object detector, which are K3M's image input.

The detector's features and boxes are read from files; Catalograph contains no detector.

Shapes: B images, R regions, F features of a region, C classes of the detector, D the model's width.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from encoders.batch import RegionBatch
from encoders.tokens import ModalTokens
from schema.errors import DataError


@dataclass(frozen=True)
class Regions:
    """R regions of one image.

    Attributes:
        features: [R, F]
        boxes: x1, y1, x2, y2 as fractions of the image's sides [R, 4]
        classes: the detector's probabilities of its classes [R, C], or None
    """

    features: NDArray[np.float32]
    boxes: NDArray[np.float32]
    classes: NDArray[np.float32] | None = None


class RegionFiles:
    """Base class: a source of regions, by an item's id or by the stem of its image's file name."""

    def read(self, key: str) -> Regions | None:
        """Return the regions of one image, or None if there are none.

        Raises DataError if they cannot be read.
        """
        raise NotImplementedError


class RegionFolder(RegionFiles):
    """A folder with one file per image.

    ``KEY.npz`` has the arrays ``features``, ``boxes`` and optionally ``classes`` and ``size``
    (width and height; the boxes are then in pixels). ``KEY.npy`` has the features and then the box
    in each row.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, key: str) -> Regions | None:
        """Return the regions in ``KEY.npz`` or ``KEY.npy``, or None if there is no such file."""
        for suffix in (".npz", ".npy"):
            path = self.folder / f"{key}{suffix}"
            if path.is_file():
                return parse_regions(path.read_bytes(), str(path))
        return None


class RegionDatabase(RegionFiles):
    """An LMDB database whose values are the bytes of such files.

    Another process that gets the object opens the database itself, since LMDB's environment must
    not be used in any process but the one that opened it.

    Raises DataError if the lmdb library, an optional dependency, is not installed, or if the
    database cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._environment = _open_lmdb(path)
        self._process = os.getpid()

    def __reduce__(self) -> tuple[Callable[..., RegionDatabase], tuple[Path]]:
        """Pickle the path alone."""
        return RegionDatabase, (self.path,)

    def read(self, key: str) -> Regions | None:
        """Return the regions stored under ``key``, or None if there are none."""
        if self._process != os.getpid():
            # This process was forked.
            self._environment = _open_lmdb(self.path)
            self._process = os.getpid()
        with self._environment.begin() as transaction:
            data = transaction.get(key.encode())
        return None if data is None else parse_regions(bytes(data), f"{self.path}:{key}")


_environments: WeakValueDictionary[tuple[int, Path], Any] = WeakValueDictionary()
"""The open LMDB environments by process and path: a process cannot open one twice."""


def _open_lmdb(path: Path) -> Any:
    try:
        import lmdb
    except ImportError:
        raise DataError(f"{path} needs the lmdb library: pip install 'catalograph[lmdb]'") from None
    key = (os.getpid(), path.resolve())
    environment = _environments.get(key)
    if environment is None:
        for (process, _), inherited in list(_environments.items()):
            if process != os.getpid():
                # A forked process cannot use it, nor open the database while it is open.
                inherited.close()
        try:
            environment = lmdb.open(str(path), readonly=True, lock=False, subdir=path.is_dir())
        except lmdb.Error as error:
            raise DataError(f"{path} is no LMDB database ({error}): name another") from None
        _environments[key] = environment
    return environment


def open_regions(path: Path) -> RegionFiles:
    """Open a folder of files or an LMDB database (a file, or a folder with a ``data.mdb``)."""
    if path.is_file() or (path / "data.mdb").is_file():
        return RegionDatabase(path)
    return RegionFolder(path)


def parse_regions(data: bytes, source: str) -> Regions:
    """Parse the bytes of an npz or npy file; pickled objects in it are refused.

    Raises DataError, which names the ``source``, if these are not regions.
    """
    try:
        arrays = np.load(io.BytesIO(data), allow_pickle=False)
        if isinstance(arrays, np.ndarray):
            features = arrays[:, :-4]
            boxes = arrays[:, -4:]
            classes = None
        else:
            features = arrays["features"]
            boxes = arrays["boxes"]
            classes = arrays["classes"].astype(np.float32) if "classes" in arrays else None
            if "size" in arrays:
                boxes = boxes / np.tile(arrays["size"], 2)
    except (ValueError, KeyError, IndexError, OSError, EOFError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0][:80]
        raise DataError(
            f"{source} has no regions ({reason}): write features [R, F] and boxes [R, 4]"
        ) from None
    counts = {len(features), len(boxes)}
    if classes is not None:
        counts.add(len(classes))
    if features.ndim != 2 or boxes.shape[1:] != (4,) or len(counts) > 1:
        raise DataError(
            f"{source} has features {features.shape} and boxes {boxes.shape}: "
            "write features [R, F] and boxes [R, 4]"
        )
    return Regions(features.astype(np.float32), boxes.astype(np.float32), classes)


def pad_regions(
    images: Sequence[Regions | None], limit: int, width: int, classes: int = 0
) -> RegionBatch:
    """Join the regions of B images into one batch.

    Raises DataError if an image's regions have another width or other classes.

    Args:
        images: the regions of each image, None for an image without any
        limit: how many regions of an image to keep; the first ones are kept
        width: the number of features F that a region has to have
        classes: the number of classes C, or 0 to leave the classes out
    """
    present = {row: regions for row, regions in enumerate(images) if regions is not None}
    for regions in present.values():
        _check_sizes(regions, width, classes)
    counts = {row: min(limit, len(regions.features)) for row, regions in present.items()}
    longest = max(counts.values(), default=0)

    features = torch.zeros(len(images), longest, width)
    boxes = torch.zeros(len(images), longest, 4)
    mask = torch.zeros(len(images), longest, dtype=torch.bool)
    probabilities = torch.zeros(len(images), longest, classes)
    for row, regions in present.items():
        count = counts[row]
        features[row, :count] = torch.from_numpy(regions.features[:count])
        boxes[row, :count] = torch.from_numpy(regions.boxes[:count])
        mask[row, :count] = True
        if classes and regions.classes is not None:
            probabilities[row, :count] = torch.from_numpy(regions.classes[:count])
    return RegionBatch(
        features=features,
        boxes=boxes,
        mask=mask,
        classes=probabilities if classes else None,
        limit=sum(counts.values()),
    )


def _check_sizes(regions: Regions, width: int, classes: int) -> None:
    actual_width = regions.features.shape[1]
    if actual_width != width:
        raise DataError(
            f"regions with {actual_width} features do not fit a model that reads {width}: "
            "set region_width"
        )
    if regions.classes is None or not classes:
        return
    actual_classes = regions.classes.shape[1]
    if actual_classes != classes:
        raise DataError(
            f"regions with {actual_classes} classes do not fit a model that predicts {classes}: "
            "set region_classes"
        )


class RegionEncoder(nn.Module):
    """ViLBERT's embedding of regions, which K3M uses as well.

    A region with features f and box (x1, y1, x2, y2) becomes
    LayerNorm(W f + W' [x1, y1, x2, y2, area]), without positions: the box says where it is.

    Args:
        dim: the width D of the tokens
        width: the number of features F of a region; 2048 for Faster R-CNN
    """

    def __init__(self, dim: int, width: int = 2048) -> None:
        super().__init__()
        self.feature = nn.Linear(width, dim)
        self.place = nn.Linear(5, dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, regions: RegionBatch) -> ModalTokens:
        """Encode R regions of B images as tokens [B, R, D]."""
        return ModalTokens(
            self.norm(self.feature(regions.features) + self._place(regions)), regions.mask
        )

    def masked_tokens(self, regions: RegionBatch, vector: Tensor) -> Tensor:
        """Return the tokens [B, R, D] of regions whose features are replaced by ``vector`` [D].

        As in ViLBERT, a masked region keeps its box.
        """
        return self.norm(vector + self._place(regions))

    def _place(self, regions: RegionBatch) -> Tensor:
        """Map box and area of each region to [B, R, D]."""
        x1, y1, x2, y2 = regions.boxes.split(1, -1)
        area = (x2 - x1) * (y2 - y1)
        place: Tensor = self.place(torch.cat([regions.boxes, area], -1))
        return place
