"""Export of a graph to files for other tools: a format per module, listed in ``formats.py``."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from kg.export.formats import EXPORT_FORMATS
    from kg.export.selection import Selection
    from kg.export.write import ExportReport, export

__all__ = [
    "EXPORT_FORMATS",
    "ExportReport",
    "Selection",
    "export",
]

# Names are imported when they are first used: the command's help needs only the list of formats.
__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "formats": ["EXPORT_FORMATS"],
        "selection": ["Selection"],
        "write": ["ExportReport", "export"],
    },
)
