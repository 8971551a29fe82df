"""Product models: architectures, link prediction, model folders and inference."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from fusion.checkpoint import ModelFolder, find_model
    from fusion.config import ModelConfig
    from fusion.inference.featurizer import ItemInput
    from fusion.inference.scorer import CellQuery, CellScorer
    from fusion.model import ProductModel

__all__ = [
    "CellQuery",
    "CellScorer",
    "ItemInput",
    "ModelConfig",
    "ModelFolder",
    "ProductModel",
    "find_model",
]

# Names are imported when they are first used: most commands need few of these modules.
__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "checkpoint": ["ModelFolder", "find_model"],
        "config": ["ModelConfig"],
        "inference.featurizer": ["ItemInput"],
        "inference.scorer": ["CellQuery", "CellScorer"],
        "model": ["ProductModel"],
    },
)
