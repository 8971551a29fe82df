"""The kinds of vectors that an index may have of its items."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from encoders.pretrained_folder import Vectors


class Part(StrEnum):
    """A kind of vectors; items have at most one of each."""

    TEXT = "text"
    """Of title and description, by a text encoder."""
    IMAGE = "image"
    """Of the first image alone, by an image encoder or a network."""
    NODE = "node"
    """The item node of a network."""
    GLOBAL = "global embedding"
    """VT-BERT's e_g."""
    TITLE = "title embedding"
    """VT-BERT's e_t."""
    PICTURE = "image embedding"
    """VT-BERT's e_i, of title and image together."""
    MATCH = "match"
    """Where a network that was trained to embed queries puts an item among them."""


class Kind(StrEnum):
    """What items are compared by."""

    WORDS = "words"
    IMAGE = "image"
    NODE = "node"


EMBEDDINGS = (Part.GLOBAL, Part.TITLE, Part.PICTURE)
"""VT-BERT's, of which the largest cosine counts (its Eq. 9)."""
NODES = (Part.NODE, *EMBEDDINGS)
"""The parts of what a network makes of a whole item."""
PARTS_OF = {Kind.WORDS: (Part.TEXT,), Kind.IMAGE: (Part.IMAGE,), Kind.NODE: NODES}

Vector = Vectors
"""One vector [D] of length 1."""
QueryVectors = Mapping[Part, Vector]
"""The vectors [D] of a query, by what they are compared with."""
