"""Experts: closed-form models beside the network, and the stacker that joins what they say.

Kernel ridge regression on titles, images and known statements learns a catalogue of some thousand
items in a minute. Its leave-one-out scores cost nothing more, so that every labelled item teaches
it and still tells how far it can be trusted.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from experts.ensemble import ExpertEnsemble
    from experts.fitting import FittedExperts, fit_experts

__all__ = ["ExpertEnsemble", "FittedExperts", "fit_experts"]

# Names are imported when they are first used: most commands need few of these modules.
__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "ensemble": ["ExpertEnsemble"],
        "fitting": ["FittedExperts", "fit_experts"],
    },
)
