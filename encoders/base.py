"""Base classes of the encoders, which turn one modality of an item into tokens.

Shapes: B items, L tokens, P patches, M masked pieces or patches, S pixels per side, D the model's
width.
"""

from __future__ import annotations

from torch import Tensor, nn

from encoders.tokens import ModalTokens


class PieceEncoder(nn.Module):
    """Base class: a module from word pieces to tokens.

    The same encoder reads titles, queries and, in the knowledge encoder, the names of properties
    and values.
    """

    def forward(self, pieces: Tensor, limit: int | None = None) -> ModalTokens:
        """Encode ``pieces`` [B, L] (0 is padding) as tokens [B, L, D].

        ``limit`` is the number of pieces, or more, if it is known without reading them.
        """
        raise NotImplementedError


class TitleEncoder(PieceEncoder):
    """Base class: an encoder of pieces whose masked ones can be predicted."""

    @property
    def piece_embedding(self) -> nn.Embedding:
        """The embeddings of word pieces, which a masked-language-modelling head shares."""
        raise NotImplementedError

    def position_vectors(self, index: Tensor) -> Tensor:
        """Return the position embeddings [M, D] of the pieces with numbers ``index`` [M]."""
        raise NotImplementedError


class ImageEncoder(nn.Module):
    """Base class: a module from pixels to tokens.

    The first ``global_tokens`` tokens stand for the whole image; one token per patch follows, row
    by row, for a grid of ``grid`` x ``grid`` patches of ``patch_size`` pixels per side.
    """

    grid: int
    patch_size: int
    global_tokens: int = 0

    def forward(self, pixels: Tensor) -> ModalTokens:
        """Encode ``pixels`` [B, 3, S, S] uint8 as tokens [B, global_tokens + P, D]."""
        raise NotImplementedError

    def masked_tokens(self, vector: Tensor) -> Tensor:
        """Return the tokens [P, D] of patches whose content is replaced by ``vector`` [D].

        They keep their positions: without these all masked patches of an image would be the same,
        and so would be what a model predicts for them.
        """
        raise NotImplementedError

    def patch_positions(self, patch: Tensor) -> Tensor:
        """Return the position embeddings [M, D] of the patches with index ``patch`` [M].

        Raises TypeError if the encoder has no position embeddings of its own.
        """
        raise TypeError(f"{type(self).__name__} has no position embeddings of patches")
