"""Rich's console, on which nothing that is printed can steer the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from schema.terminal import printable, unguarded

_PIPE_WIDTH = 1000  # wide enough that a table written to a pipe or a file is never cut


class Screen(Console):
    """A console that prints text literally: no markup, emoji, highlighting or control characters.

    Its own colours and movements of the cursor are no text, and remain.
    """

    def __init__(self, stderr: bool = False, **settings: Any) -> None:
        # Past the guard of the standard streams, which would take the colours for data, too.
        stream = unguarded(sys.stderr if stderr else sys.stdout)
        # A value such as "[red]" or ":smile:" is data, not markup.
        super().__init__(file=stream, markup=False, emoji=False, highlight=False, **settings)
        if not self.is_terminal:
            self.width = _PIPE_WIDTH

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the segments of what is printed, their texts made printable."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))
