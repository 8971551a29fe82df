"""A language model as one more expert: asked for the values of cells, within the ontology.

Any server will do that speaks the protocol of OpenAI's chat completions. It is asked only where a
file of settings names it, and its answers are candidates like those of the other experts.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from experts.language_model.answers import CellAnswer
    from experts.language_model.asking import Answers, LanguageModel
    from experts.language_model.cache import AnswerCache
    from experts.language_model.settings import LanguageModelSettings, read_settings

__all__ = [
    "AnswerCache",
    "Answers",
    "CellAnswer",
    "LanguageModel",
    "LanguageModelSettings",
    "read_settings",
]

# Names are imported when they are first used: the client of HTTP is needed for hardly any command.
__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "answers": ["CellAnswer"],
        "asking": ["Answers", "LanguageModel"],
        "cache": ["AnswerCache"],
        "settings": ["LanguageModelSettings", "read_settings"],
    },
)
