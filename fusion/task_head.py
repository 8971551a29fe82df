"""The head of a task: logits of questions from the vectors of their sides.

Shapes: N questions, S sides of a question, D the width of a side's vector, C outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

HIDDEN = 256
DROPOUT = 0.1


class TaskHead(nn.Module):
    """A perceptron with one hidden layer on the vectors of one or two sides.

    Two sides u and v are joined as [u || v || |u - v| || u * v], a late fusion as in MBSD's 4.5,
    which has [u || v]. Features are standardised first, as frozen encoders differ widely in scale.

    Args:
        width: D
        sides: S, 1 or 2
        outputs: C, the classes, or 1 for a question that is answered by yes or no
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, width: int, sides: int, outputs: int) -> None:
        super().__init__()
        self.width = width
        self.sides = sides
        self.outputs = outputs
        features = width if sides == 1 else 4 * width
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.layers = nn.Sequential(
            nn.Linear(features, HIDDEN),
            nn.GELU(),
            nn.Dropout(DROPOUT),
            nn.Linear(HIDDEN, outputs),
        )

    def standardise_by(self, vectors: Tensor) -> None:
        """Take mean and deviation of the features from sides ``vectors`` [N, S, D]."""
        features = joined(vectors)
        self.mean.copy_(features.mean(0))
        # A feature that never varies stays as it is, as zero.
        deviation = features.std(0, correction=0)
        self.scale.copy_(torch.where(deviation > 1e-6, 1 / deviation.clamp(min=1e-6), 1.0))

    def forward(self, vectors: Tensor) -> Tensor:
        """Map sides ``vectors`` [N, S, D] to logits [N, C]."""
        logits: Tensor = self.layers((joined(vectors) - self.mean) * self.scale)
        return logits


def joined(vectors: Tensor) -> Tensor:
    """Join the sides ``vectors`` [N, S, D] of questions: [N, D] of one side, [N, 4D] of two."""
    if vectors.shape[1] == 1:
        return vectors[:, 0]
    one, other = vectors.unbind(1)
    return torch.cat([one, other, (one - other).abs(), one * other], 1)
