"""MLM: masked pieces of titles (Devlin et al., 2019; MBSD Eq. 1)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from encoders.tokenizer import SpecialPieces


def mask_pieces(pieces: Tensor, rows: Tensor, special: SpecialPieces, vocab_size: int, rate: float = 0.15) -> tuple[Tensor, Tensor]:
    """Choose ``rate`` of the pieces of ``rows``: 80% become [MASK], 10% another piece, 10% stay.

    ``pieces`` [B, L], ``rows`` [B] bool to (masked pieces [B, L], chosen [B, L] bool).
    """
    chosen = (torch.rand(pieces.shape) < rate) & (pieces != 0) & rows[:, None]
    fate = torch.rand(pieces.shape)
    random = torch.randint(special.first_word, max(vocab_size, special.first_word + 1), pieces.shape)
    masked = torch.where(chosen & (fate < 0.8), torch.full_like(pieces, special.mask), pieces)
    return torch.where(chosen & (fate >= 0.9), random, masked), chosen


def masked_piece_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Mean of -log p(piece) over M chosen pieces: ``logits`` [M, V], ``target`` [M]."""
    return F.cross_entropy(logits.float(), target)
