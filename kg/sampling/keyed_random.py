"""KeyedRandom as a function of what it is about: the same numbers whoever asks, in whatever order, in whichever process."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True)
class KeyedRandom:
    """Uniform numbers for a seed and a step, told apart by a name and by integer keys.

    An item's numbers do not depend on the batch that it is in, so a batch may be made in parts, in other processes or anew. The generator
    is SplitMix64 (Steele, Lea and Flood, 2014), one round for each key.
    """

    seed: int
    step: int = 0

    def uniform(self, name: str, *keys: ArrayLike) -> NDArray[np.float64]:
        """Numbers in [0, 1), one for each combination of ``keys``, integer arrays that broadcast against each other."""
        return (self._bits(name, keys) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def integers(self, high: ArrayLike, name: str, *keys: ArrayLike) -> NDArray[np.int64]:
        """Integers in [0, ``high``), which broadcasts against the keys; 0 where ``high`` is 0."""
        return (self.uniform(name, *keys) * np.asarray(high)).astype(np.int64)

    def generator(self, name: str) -> np.random.Generator:
        """A numpy generator for what concerns the whole step."""
        return np.random.default_rng([self.seed, self.step, zlib.crc32(name.encode())])

    def _bits(self, name: str, keys: tuple[ArrayLike, ...]) -> NDArray[np.uint64]:
        state: NDArray[np.uint64] = np.zeros((), np.uint64)
        with np.errstate(over="ignore"):
            for key in (self.seed, self.step, zlib.crc32(name.encode()), *keys):
                state = _mixed((state ^ np.asarray(key).astype(np.uint64)) + _GOLDEN)
        return state


def _mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    bits = (bits ^ (bits >> np.uint64(30))) * _FIRST
    bits = (bits ^ (bits >> np.uint64(27))) * _SECOND
    return bits ^ (bits >> np.uint64(31))
