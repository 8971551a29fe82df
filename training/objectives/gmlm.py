"""GMLM and GMRFR: masked tokens told from [CLS] and their position alone (VT-BERT Eq. 2-4)."""

from __future__ import annotations

from torch import Tensor

from fusion.heads import GlobalHeads
from training.objectives.mlm import masked_piece_loss
from training.objectives.mrfr import feature_loss


def global_piece_loss(
    heads: GlobalHeads, node: Tensor, positions: Tensor, target: Tensor
) -> Tensor:
    """-log p(t_n | h([CLS]), p_n) of M masked pieces: ``node`` and ``positions`` [M, D], ``target`` [M]."""
    return masked_piece_loss(heads.pieces(node, positions), target)


def global_patch_loss(
    heads: GlobalHeads, node: Tensor, positions: Tensor, target: Tensor
) -> Tensor:
    """1/M sum |z - r|^2 of M masked patches: ``node`` and ``positions`` [M, D], ``target`` [M, F]."""
    return feature_loss(heads.patches(node, positions), target)
