"""Training of models: presets, objectives, batches, and the training loop."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from training.config import Recipe, TrainOptions
    from training.presets import Preset, preset
    from training.run import train

__all__ = [
    "Preset",
    "Recipe",
    "TrainOptions",
    "preset",
    "train",
]

# Names are imported when they are first used: most commands need few of these modules.
__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "config": ["Recipe", "TrainOptions"],
        "presets": ["Preset", "preset"],
        "run": ["train"],
    },
)
