"""Serving: calibrated completion of cells, and writing it back to the graph."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from serving.asking import Asking, plan_missing, plan_named
    from serving.calibration import calibrate
    from serving.cells import Cell
    from serving.completion import CompletionOptions, complete_cells
    from serving.home_scorer import HomeScorer
    from serving.items import CatalogItems, missing_cells
    from serving.loading import calibrate_model, load_scorer
    from serving.results import Completion
    from serving.writeback import write_predictions

__all__ = [
    "Asking",
    "CatalogItems",
    "Cell",
    "Completion",
    "CompletionOptions",
    "HomeScorer",
    "calibrate",
    "calibrate_model",
    "complete_cells",
    "load_scorer",
    "missing_cells",
    "plan_missing",
    "plan_named",
    "write_predictions",
]

# Names are imported when they are first used: most commands need few of these modules.
__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "asking": ["Asking", "plan_missing", "plan_named"],
        "calibration": ["calibrate"],
        "cells": ["Cell"],
        "completion": ["CompletionOptions", "complete_cells"],
        "home_scorer": ["HomeScorer"],
        "items": ["CatalogItems", "missing_cells"],
        "loading": ["calibrate_model", "load_scorer"],
        "results": ["Completion"],
        "writeback": ["write_predictions"],
    },
)
