"""Does a query match an item?"""

from __future__ import annotations

from torch import Tensor

from encoders.batch import ItemBatch
from fusion.model import ProductModel
from schema.modalities import Modality


def match_logits(
    model: ProductModel, items: ItemBatch, query: Tensor, without: Modality | None = None
) -> Tensor:
    """Return logits [N] of query pieces [N, L] matching ``items`` [N].

    ``without`` removes the items' titles or images first (MBSD, Figure 7).
    """
    image = None if without is Modality.IMAGE else model.encode_image(items)
    visible = items.without_titles() if without is Modality.TITLE else items
    logits: Tensor = model.match_head(model.fuse(visible, image, query).node)
    return logits
