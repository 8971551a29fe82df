"""Evaluation: metrics with intervals, settings, baselines and the report page."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from evaluation.completion import evaluate_completion, evaluate_settings
    from evaluation.matching import evaluate_matching
    from evaluation.settings import Setting

__all__ = [
    "Setting",
    "evaluate_completion",
    "evaluate_matching",
    "evaluate_settings",
]

# Names are imported when they are first used: most commands need few of these modules.
__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "completion": ["evaluate_completion", "evaluate_settings"],
        "matching": ["evaluate_matching"],
        "settings": ["Setting"],
    },
)
