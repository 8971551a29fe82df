"""MLM: masked pieces of titles (Devlin et al., 2019; MBSD Eq. 1)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from encoders.tokenizer import SpecialPieces
from training.objectives.precise import precise


def mask_pieces(
    pieces: Tensor,
    rows: Tensor,
    special: SpecialPieces,
    vocab_size: int,
    luck: NDArray[np.float64],
    rate: float = 0.15,
) -> tuple[Tensor, Tensor]:
    """Choose ``rate`` of the pieces of ``rows``: 80% become [MASK], 10% another piece, 10% stay.

    ``pieces`` [B, L], ``rows`` [B] bool, ``luck`` [3, B, L] in [0, 1) to (masked pieces [B, L], chosen [B, L] bool).
    """
    choice, fate, other = torch.from_numpy(luck)
    chosen = (choice < rate) & (pieces != 0) & rows[:, None]
    random = special.first_word + (other * max(1, vocab_size - special.first_word)).long()
    masked = torch.where(chosen & (fate < 0.8), torch.full_like(pieces, special.mask), pieces)
    return torch.where(chosen & (fate >= 0.9), random, masked), chosen


def masked_piece_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Mean of -log p(piece) over M chosen pieces: ``logits`` [M, V], ``target`` [M]."""
    return F.cross_entropy(precise(logits), target)
