"""Encoders: titles, images and knowledge become tokens."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from encoders.batch import ItemBatch
    from encoders.tokenizer import CatalogTokenizer
    from encoders.tokens import ModalTokens

__all__ = [
    "CatalogTokenizer",
    "ItemBatch",
    "ModalTokens",
]

# Names are imported when they are first used: most commands need few of these modules.
__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "batch": ["ItemBatch"],
        "tokenizer": ["CatalogTokenizer"],
        "tokens": ["ModalTokens"],
    },
)
