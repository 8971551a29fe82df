"""Properties and values as vectors: their encoded text (K3M), plus an embedding of their own.

Shapes: S strings in all, N strings of a batch, L word pieces, D the model's width.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from encoders.base import PieceEncoder
from encoders.packing import reads_counts
from schema.arrays import IntArray


@dataclass(frozen=True, slots=True)
class StringSizes:
    """The word pieces of some strings: ``total`` of all, and ``longest`` of a single one."""

    total: int
    longest: int

    @staticmethod
    def of(lengths: IntArray) -> StringSizes:
        """Return the sizes of N strings, given the pieces of each [N]."""
        return StringSizes(int(lengths.sum()), max(1, int(lengths.max(initial=0))))


class KnowledgeEncoder(nn.Module):
    """Vectors of strings: v = mean over the string's own span of TextEncoder(string), plus E[id].

    Sharing the text encoder with the titles is K3M's. Its released code averages two tokens where
    the paper means the whole span of a property or value; this encoder follows the paper. The
    vectors E[id] of single strings are ours: K3M knows a property or value by its text alone.

    Args:
        text: the encoder of the titles
        strings: word pieces of the names of all properties, then of all candidates, that is, of
            each property's values [S, L]
        property_count: how many of the strings are properties
        dim: the width D
        own_vectors: whether to add E[id]
    """

    strings: Tensor

    def __init__(
        self,
        text: PieceEncoder,
        strings: Tensor,
        property_count: int,
        dim: int,
        own_vectors: bool = True,
    ) -> None:
        super().__init__()
        self.text = text
        self.property_count = property_count
        # Not saved with the weights: ontology and tokenizer of the model folder give them again.
        self.register_buffer("strings", strings, persistent=False)
        self.embedding = nn.Embedding(strings.shape[0], dim) if own_vectors else None
        self.all_sizes = StringSizes.of(self.lengths)

    @property
    def lengths(self) -> IntArray:
        """The number of word pieces of each string [S]."""
        counts: IntArray = (self.strings != 0).sum(1).cpu().numpy()
        return counts

    def forward(self, index: Tensor, sizes: StringSizes | None = None) -> Tensor:
        """Encode the strings with numbers ``index`` [N], which are distinct: [N, D].

        Each string of a batch is thus encoded once, however many triples contain it. ``sizes`` are
        those of these strings; if they are None, those of all strings take their place, which on a
        GPU is better than to wait for it.
        """
        pieces = self.strings[index]
        sizes = self.all_sizes if sizes is None else sizes
        # The table is padded to the limit of a string's length; those of a batch may be shorter.
        longest = sizes.longest
        if reads_counts(pieces):
            longest = max(1, int((pieces != 0).any(0).sum()))
        pieces = pieces[:, :longest]
        of_text: Tensor = self.text(pieces, min(sizes.total, pieces.numel())).mean()
        return of_text if self.embedding is None else self.embedding(index) + of_text
