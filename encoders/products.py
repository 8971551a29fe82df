"""Matrix products that do not depend on the number of threads, nor on a processor's instructions.

In single precision the last digits of a sum of thousands of products depend on the order in which a
library adds them up, which depends on the threads and the instructions that it has. That is small
(5e-7 of the result), but kernel regressions add and subtract large multiples of similar rows, and
multiply it by a thousand: probabilities differed by 0.0005 between one thread and two, and by
0.004 between two kinds of instructions. So what is compared is multiplied in double precision, and
rounded to single precision afterwards.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def stable_product(one: Tensor, other: Tensor) -> Tensor:
    """Return the product [..., N, M] of tensors [..., N, K] and [..., K, M] in single precision."""
    return (one.double() @ other.double()).float()


def stable_array_product(
    one: NDArray[np.float32], other: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the product [N, M] of arrays [N, K] and [K, M] in single precision."""
    product = one.astype(np.float64) @ other.astype(np.float64)
    return product.astype(np.float32)
