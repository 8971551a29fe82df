"""Regions of images from an object detector, which are K3M's image input.

The detector's features and boxes are read from files; Catalograph contains no detector.

Shapes: B images, R regions, F features of a region, C classes of the detector, D the model's width.
"""

from __future__ import annotations

import io
import math
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
from schema.documents import read_limited
from schema.errors import DataError
from schema.files import is_plain_name

MAX_REGION_BYTES = 256 << 20
"""Bytes of one image's regions; a hundred of a Faster R-CNN's take less than two millions."""


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
        """Return the regions in ``KEY.npz`` or ``KEY.npy``, or None if there is no such file.

        A key may name a subfolder, but it cannot lead out of the folder: it may be an item's id,
        which a supplier chooses.
        """
        if not all(map(is_plain_name, key.split("/"))):
            return None
        for suffix in (".npz", ".npy"):
            path = self.folder / f"{key}{suffix}"
            if path.is_file():
                try:
                    data = read_limited(path, MAX_REGION_BYTES)
                except ValueError as error:
                    raise DataError(f"{path} has no regions ({error}): write fewer") from None
                return parse_regions(data, str(path))
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
        name = key.encode()
        if not 0 < len(name) <= self._environment.max_key_size():
            return None
        try:
            with self._environment.begin() as transaction:
                data = transaction.get(name)
        except Exception as error:  # lmdb.Error, of a library that need not be there
            raise DataError(
                f"{self.path} cannot be read ({error}): restore it from a copy"
            ) from None
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
        arrays = _read_arrays(data)
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
        features = features.astype(np.float32)
        boxes = boxes.astype(np.float32)
    except Exception as error:  # numpy and zipfile raise whatever a damaged file ends in
        reason = (str(error).splitlines() or [type(error).__name__])[0][:80]
        raise DataError(
            f"{source} has no regions ({reason}): write features [R, F] and boxes [R, 4]"
        ) from None
    arrays_of_rows = [array for array in (features, boxes, classes) if array is not None]
    fits = all(array.ndim == 2 and len(array) == len(boxes) for array in arrays_of_rows)
    if not fits or boxes.shape[1] != 4:
        raise DataError(
            f"{source} has features {features.shape} and boxes {boxes.shape}: "
            "write features [R, F] and boxes [R, 4]"
        )
    return Regions(features, boxes, classes)


def _read_arrays(data: bytes) -> NDArray[Any] | dict[str, NDArray[Any]]:
    """Return the array of an npy file, or the arrays of an npz file by name.

    An npz file can be a thousand times larger than it looks, and a header can claim any shape, so
    both are checked before memory is taken. Raises ValueError if they are too large.
    """
    if data[:2] != b"PK":
        return _read_array(data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        size = sum(member.file_size for member in archive.infolist())
        if size > MAX_REGION_BYTES:
            raise ValueError(f"its arrays have {size:,} bytes, the limit is {MAX_REGION_BYTES:,}")
        return {
            name.removesuffix(".npy"): _read_array(archive.read(name))
            for name in archive.namelist()
        }


def _read_array(data: bytes) -> NDArray[Any]:
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, _, kind = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, _, kind = np.lib.format.read_array_header_2_0(stream)
    else:
        raise ValueError(f"its format {version} is not one of arrays of numbers")
    if kind.kind not in "fiu":
        raise ValueError(f"it has elements of type {kind}, not numbers")
    if math.prod(shape) * kind.itemsize != len(data) - stream.tell():
        raise ValueError(f"it is not as large as its shape {shape}")
    return np.load(io.BytesIO(data), allow_pickle=False)


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
