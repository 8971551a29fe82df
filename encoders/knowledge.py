"""Properties and values as vectors: an embedding of their own plus their encoded text (K3M).

Shapes: S strings in all, N strings of a batch, L word pieces, D the model's width.
"""

from __future__ import annotations

from torch import Tensor, nn

from encoders.base import PieceEncoder


class KnowledgeEncoder(nn.Module):
    """Vectors of strings: v = E[id] + mean over the string's own span of TextEncoder(string).

    Sharing the text encoder with the titles is K3M's. Its released code averages two tokens where
    the paper means the whole span of a property or value; this encoder follows the paper.

    Args:
        text: the encoder of the titles
        strings: word pieces of the names of all properties, then of all candidates, that is, of
            each property's values [S, L]
        property_count: how many of the strings are properties
        dim: the width D
    """

    strings: Tensor

    def __init__(self, text: PieceEncoder, strings: Tensor, property_count: int, dim: int) -> None:
        super().__init__()
        self.text = text
        self.property_count = property_count
        # Not saved with the weights: ontology and tokenizer of the model folder give them again.
        self.register_buffer("strings", strings, persistent=False)
        self.embedding = nn.Embedding(strings.shape[0], dim)

    def forward(self, index: Tensor) -> Tensor:
        """Encode the strings with numbers ``index`` [N], which are distinct: [N, D].

        Each string of a batch is thus encoded once, however many triples contain it.
        """
        pieces = self.strings[index]
        # The table is padded to the limit of a string's length; those of a batch may be shorter.
        longest = max(1, int((pieces != 0).any(0).sum()))
        return self.embedding(index) + self.text(pieces[:, :longest]).mean()
