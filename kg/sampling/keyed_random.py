"""Random numbers that depend only on a seed, a step and keys.

They are the same in whatever order and in whichever process they are drawn.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from schema.arrays import FloatArray, IntArray

# SplitMix64's constants.
_INCREMENT = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIER_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLIER_2 = np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True)
class KeyedRandom:
    """Uniform random numbers for a seed and a training step.

    Each draw is identified by a name, which says what the numbers are for, and by integer keys,
    such as item numbers. An item's numbers therefore do not depend on the batch that it is in, so a
    batch can be built in pieces, in other processes, or again after a crash.

    The generator is SplitMix64 (Steele, Lea and Flood, 2014), one round for each key.
    """

    seed: int
    step: int = 0

    def uniform(self, name: str, *keys: ArrayLike) -> FloatArray:
        """Return a number in [0, 1) for each combination of the keys, broadcast to one shape."""
        # The upper 53 bits, as many as a float64 holds exactly.
        return (self._bits(name, keys) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def integers(self, high: ArrayLike, name: str, *keys: ArrayLike) -> IntArray:
        """Return integers in [0, ``high``), which broadcasts with the keys; 0 if ``high`` is 0."""
        return (self.uniform(name, *keys) * np.asarray(high)).astype(np.int64)

    def generator(self, name: str) -> np.random.Generator:
        """Return a numpy generator, for draws that concern the whole step rather than its items."""
        return np.random.default_rng([self.seed, self.step, zlib.crc32(name.encode())])

    def _bits(self, name: str, keys: tuple[ArrayLike, ...]) -> NDArray[np.uint64]:
        state: NDArray[np.uint64] = np.zeros((), np.uint64)
        # SplitMix64 computes modulo 2**64. Names are hashed by CRC-32, because hash() gives another
        # number in each process.
        with np.errstate(over="ignore"):
            for key in (self.seed, self.step, zlib.crc32(name.encode()), *keys):
                state = _mix((state ^ np.asarray(key).astype(np.uint64)) + _INCREMENT)
        return state


def _mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    bits = (bits ^ (bits >> np.uint64(30))) * _MULTIPLIER_1
    bits = (bits ^ (bits >> np.uint64(27))) * _MULTIPLIER_2
    return bits ^ (bits >> np.uint64(31))
