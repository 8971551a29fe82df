"""The kinds of information about an item, named in one place."""

from __future__ import annotations

from enum import StrEnum


class Modality(StrEnum):
    """A kind of information about an item; the values are its names in JSON and in options.

    A new modality needs a member here, a field of
    :class:`fusion.inference.featurizer.ItemInput`, an encoder, and its choices in
    :mod:`evaluation.settings`; CONTRIBUTING.md has the full list.
    """

    TITLE = "title"
    DESCRIPTION = "description"
    CATEGORY = "category"
    IMAGE = "image"
    STATEMENTS = "known"


CONTENT_MODALITIES = tuple(each for each in Modality if each is not Modality.STATEMENTS)
"""The modalities that a model encodes once per item.

Statements are passed with each cell instead, because which of them may be used depends on the cell:
never those of its own property.
"""

NETWORK_MODALITIES = frozenset({Modality.TITLE, Modality.IMAGE, Modality.STATEMENTS})
"""What a network reads, and what a baseline does."""
