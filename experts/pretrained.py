"""Pretrained encoders, by whose vectors experts compare titles and images, among other features.

A title kernel adds exp(-2 d² / m) of the distances d between the vectors of two titles, with m the
median of d²; an image kernel has the vectors as one more kind of descriptors, with the same
kernel. Vectors are remembered, because titles and images come again in every form and evaluation.

A model folder has copies of its encoders in folders of their own, of which the experts know what
was in them. A folder elsewhere is never read, whatever a model folder says.

Shapes: N texts or images, M landmarks, D the width of the vectors, S pixels per side.
"""

from __future__ import annotations

import json
import shutil
import stat
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from encoders.pretrained_folder import Vectors, digest_of, files_of
from encoders.pretrained_image import ImagesEncoder, PretrainedImages
from encoders.pretrained_text import PretrainedText, TextEncoder
from encoders.products import stable_array_product
from fusion.checkpoint import RESTORE
from schema.arrays import BoolArray, IntArray
from schema.errors import ModelError
from schema.memory import available_memory
from schema.settings import shown
from schema.wording import WORD

TEXT_FOLDER = "text-encoder"
IMAGE_FOLDER = "image-encoder"
"""Folders of a model folder that have the encoders of its experts."""
NARROWER = 2.0
"""By how much a kernel on vectors is narrower than one of median bandwidth: on fashion products, a
pretrained network's vectors of images are right more often so, and those of titles no less."""
MAX_TEXTS = 1 << 16
"""Texts whose vectors are remembered."""
MAX_IMAGES = 1 << 14
"""Images whose vectors are remembered."""
ENCODED_TOGETHER = 64
"""Images that are given to an encoder at once."""
_SAMPLE = 1000
_LEAST_DISTANCE = 1e-5

_Opened = TypeVar("_Opened")


class _InFolder(Protocol):
    folder: Path
    digest: str
    width: int


class FolderTexts(TextEncoder, _InFolder, Protocol):
    """A text encoder of a folder, whose vectors have a ``width`` D."""


class FolderImages(ImagesEncoder, _InFolder, Protocol):
    """An image encoder of a folder, whose vectors have a ``width`` D."""


class _Memory:
    """The vectors of what has been encoded."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._vectors: dict[Hashable, Vectors] = {}

    def vectors(
        self, keys: Sequence[Hashable], width: int, encode: Callable[[list[int]], Vectors]
    ) -> Vectors:
        """Return the vectors [N, D] of N keys; ``encode`` makes those at some places."""
        places = {key: place for place, key in enumerate(keys) if key not in self._vectors}
        if len(self._vectors) + len(places) > self._most:
            self._vectors = {}
            places = {key: place for place, key in enumerate(keys)}
        if places:
            self._vectors |= zip(places, encode(list(places.values())), strict=True)
        vectors = np.zeros((len(keys), width), np.float32)
        for place, key in enumerate(keys):
            vectors[place] = self._vectors[key]
        return vectors


class RememberedTexts:
    """A text encoder that encodes no text twice."""

    kept_in = TEXT_FOLDER

    def __init__(self, encoder: FolderTexts) -> None:
        self._encoder = encoder
        self._memory = _Memory(MAX_TEXTS)
        self.folder = encoder.folder
        self.digest = encoder.digest
        self.width = encoder.width
        self.space = encoder.space

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors [N, D] of N texts, each of length 1."""

        def encode(places: list[int]) -> Vectors:
            return self._encoder.encode([texts[place] for place in places])

        return self._memory.vectors(texts, self.width, encode)


class RememberedImages:
    """An image encoder that encodes no image twice, and takes images of several sizes."""

    kept_in = IMAGE_FOLDER

    def __init__(self, encoder: FolderImages) -> None:
        self._encoder = encoder
        self._memory = _Memory(MAX_IMAGES)
        self.folder = encoder.folder
        self.digest = encoder.digest
        self.width = encoder.width
        self.space = encoder.space
        self.image_size = encoder.image_size

    def encode(self, images: Sequence[NDArray[np.uint8]]) -> Vectors:
        """Return the vectors [N, D] of N images [3, S, S], each of length 1."""

        def encode(places: list[int]) -> Vectors:
            by_size: dict[int, list[int]] = defaultdict(list)
            for row, place in enumerate(places):
                by_size[images[place].shape[-1]].append(row)
            vectors = np.zeros((len(places), self.width), np.float32)
            for rows in by_size.values():
                for start in range(0, len(rows), ENCODED_TOGETHER):
                    some = rows[start : start + ENCODED_TOGETHER]
                    pixels = np.stack([images[places[row]] for row in some])
                    vectors[some] = self._encoder.encode(pixels)
            return vectors

        keys = [(image.shape, blake2b(image.tobytes()).digest()) for image in images]
        return self._memory.vectors(keys, self.width, encode)


@dataclass(frozen=True)
class Encoders:
    """The encoders by which experts compare texts and images; each may be missing."""

    texts: RememberedTexts | None = None
    images: RememberedImages | None = None

    @classmethod
    def open(cls, texts: Path | None, images: Path | None) -> Encoders:
        """Open the encoders of folders; raises ModelError if one holds none."""
        return cls(
            None if texts is None else _open(texts, _open_texts, "text encoder"),
            None if images is None else _open(images, _open_images, "image encoder"),
        )


NO_ENCODERS = Encoders()


def _open(folder: Path, open: Callable[[Path, str], _Opened], what: str) -> _Opened:
    if not folder.is_dir():
        raise ModelError(f"the {what} {folder} is not there: {RESTORE}")
    return open(folder.resolve(), digest_of(folder))


@lru_cache(maxsize=2)
def _open_texts(folder: Path, digest: str) -> RememberedTexts:
    return RememberedTexts(PretrainedText(folder))


@lru_cache(maxsize=2)
def _open_images(folder: Path, digest: str) -> RememberedImages:
    return RememberedImages(PretrainedImages(folder))


def name_of(encoder: RememberedTexts | RememberedImages) -> NDArray[np.uint8]:
    """Return what experts say of an encoder: in which folder beside them it is, and its digest."""
    return np.frombuffer(json.dumps([encoder.kept_in, encoder.digest]).encode(), np.uint8)


def keep_encoder(encoder: RememberedTexts | RememberedImages | None, folder: Path) -> None:
    """Copy an encoder into a model ``folder``, unless it is there already, or None.

    Raises ModelError if its files are not what they were when it was opened.
    """
    if encoder is None:
        return
    target = folder / encoder.kept_in
    if target.is_dir() and digest_of(target) == encoder.digest:
        return
    made = folder / f".{encoder.kept_in}"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    for path in files_of(encoder.folder):
        shutil.copyfile(path, made / path.name)
    if digest_of(made) != encoder.digest:
        shutil.rmtree(made)
        raise ModelError(f"{encoder.folder} was changed while it was used: train again")
    shutil.rmtree(target, ignore_errors=True)
    made.rename(target)


def kept_texts(name: NDArray[np.generic], folder: Path) -> RememberedTexts:
    """Open the text encoder in a model ``folder``; raises ModelError if it is not the same."""
    return _open(_kept(name, folder, TEXT_FOLDER, "text encoder"), _open_texts, "text encoder")


def kept_images(name: NDArray[np.generic], folder: Path) -> RememberedImages:
    """Open the image encoder in a model ``folder``; raises ModelError if it is not the same."""
    return _open(_kept(name, folder, IMAGE_FOLDER, "image encoder"), _open_images, "image encoder")


def _kept(name: NDArray[np.generic], folder: Path, place: str, what: str) -> Path:
    """Return the folder of an encoder in a model ``folder`` after its files have been checked."""
    parts = json.loads(name.astype(np.uint8).tobytes())
    if not isinstance(parts, list) or [type(part) for part in parts] != [str, str]:
        raise ValueError("an encoder has no name")
    if parts[0] != place:
        raise ModelError(
            f"the experts of {folder} name a {what} elsewhere, {shown(parts[0])}, which is not "
            "read: train again, by which it is copied into the model's folder"
        )
    kept = folder / place
    if not kept.is_dir():
        raise ModelError(f"the {what} {kept} is not there: {RESTORE}")
    paths = [kept, *kept.iterdir()]
    if kept.is_symlink() or not all(stat.S_ISREG(path.lstat().st_mode) for path in paths[1:]):
        raise ModelError(f"{kept} has links, or what is no file: {RESTORE}")
    size = sum(path.lstat().st_size for path in paths[1:])
    if size > available_memory():
        raise ModelError(
            f"{kept} has {size:,} bytes, more than the memory that is available: close other "
            "programs, or train with a smaller encoder"
        )
    if digest_of(kept) != parts[1]:
        raise ModelError(f"the {what} {kept} is another than the experts have used: {RESTORE}")
    return kept


class MeaningKernel:
    """exp(-2 d² / m) of the distances d between the vectors of texts.

    A text without any word is like nothing.

    Args:
        encoder: makes the vectors
        landmarks: those of the landmarks [M, D]; zero where a landmark has no text
        bandwidth: m, the median of d²
    """

    def __init__(self, encoder: RememberedTexts, landmarks: Vectors, bandwidth: float) -> None:
        self._encoder = encoder
        self._landmarks = landmarks
        self._is_empty = ~landmarks.any(1)
        self._bandwidth = bandwidth

    @property
    def encoder(self) -> RememberedTexts:
        """What makes the vectors."""
        return self._encoder

    @classmethod
    def fit(
        cls,
        encoder: RememberedTexts,
        texts: Sequence[str],
        landmarks: Sequence[str | None],
    ) -> MeaningKernel:
        """Take the bandwidth from a sample of ``texts``."""
        sampled = np.random.default_rng(0).permutation(len(texts))[:_SAMPLE]
        sample = encoder.encode([texts[place] for place in sampled.tolist()])
        kernel = cls(encoder, np.zeros((0, encoder.width), np.float32), median_distance(sample))
        return cls(encoder, kernel._encode(landmarks)[0], kernel._bandwidth)

    def _encode(self, texts: Sequence[str | None]) -> tuple[Vectors, BoolArray]:
        """Return the vectors of texts [N, D], and which have no word [N]: their vectors are 0."""
        is_empty = np.array([not (text and WORD.search(text)) for text in texts], bool)
        vectors = np.zeros((len(texts), self._encoder.width), np.float32)
        there = np.flatnonzero(~is_empty)
        vectors[there] = self._encoder.encode([texts[place] or "" for place in there.tolist()])
        return vectors, is_empty

    def select(self, index: IntArray) -> MeaningKernel:
        """Return the kernel with some of its landmarks alone."""
        return MeaningKernel(self._encoder, self._landmarks[index], self._bandwidth)

    def rows(self, texts: Sequence[str | None]) -> NDArray[np.float32]:
        """Compare N texts with the landmarks: [N, M]."""
        vectors, is_empty = self._encode(texts)
        cosines = stable_array_product(vectors, self._landmarks.T)
        # Vectors have length 1, so that d² is 2 - 2 cos.
        cosines -= 1
        cosines *= 2 * NARROWER / self._bandwidth
        rows = np.exp(cosines, out=cosines)
        rows[is_empty] = 0
        rows[:, self._is_empty] = 0
        return rows

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return what :meth:`from_arrays` makes the kernel from again."""
        return {
            "meaning.encoder": name_of(self._encoder),
            "meaning.landmarks": self._landmarks.astype(np.float16),
            "meaning.bandwidth": np.array([self._bandwidth]),
        }

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[np.generic]], landmarks: int, folder: Path
    ) -> MeaningKernel | None:
        """Make a kernel from what :meth:`arrays` returned; None if there is nothing of it.

        The encoder is in the model ``folder``. Raises ValueError or KeyError on what does not fit,
        and ModelError if the encoder is not there.
        """
        if "meaning.encoder" not in arrays:
            return None
        encoder = kept_texts(arrays["meaning.encoder"], folder)
        vectors = arrays["meaning.landmarks"].astype(np.float32)
        (bandwidth,) = arrays["meaning.bandwidth"].astype(np.float64).tolist()
        if vectors.shape != (landmarks, encoder.width) or not bandwidth > 0:
            raise ValueError(f"vectors have the shape {vectors.shape}")
        return cls(encoder, vectors, bandwidth)


def median_distance(vectors: Vectors) -> float:
    """Return the median squared distance of vectors [N, D] that differ; 1 if none do."""
    distances = 2 - 2 * (vectors @ vectors.T)
    apart = distances[distances > _LEAST_DISTANCE]
    return float(np.median(apart)) if len(apart) else 1.0
