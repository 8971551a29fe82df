"""Does a query match an item?"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from encoders.batch import ItemBatch
from fusion.model import ProductModel

Without = Literal["", "title", "image"]


def match_logits(
    model: ProductModel, items: ItemBatch, query: Tensor, without: Without = ""
) -> Tensor:
    """Logits [N] of query pieces [N, L] matching ``items`` [N], perhaps with their titles or images removed (MBSD Figure 7)."""
    image = None if without == "image" else model.encode_image(items)
    shown = items.without_titles() if without == "title" else items
    logits: Tensor = model.match_head(model.fuse(shown, image, query).node)
    return logits
