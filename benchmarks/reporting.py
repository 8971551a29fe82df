"""Figures that are printed and written to a file as they come, so that none is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def reporter(figures: dict[str, Any], out: Path | None) -> Callable[[str, Any], None]:
    """Return a function that adds what was found under a name, prints it and writes all so far."""

    def report(name: str, found: Any) -> None:
        figures[name] = found
        print(name, json.dumps(found), flush=True)
        if out is not None:
            out.write_text(json.dumps(figures, indent=1) + "\n")

    return report
