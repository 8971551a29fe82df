"""The JSON-LD context that Catalograph's own documents carry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def load_context() -> dict[str, Any]:
    """What stands under ``@context``: schema.org's words, and those of ranks and provenance."""
    document: dict[str, Any] = json.loads(
        (Path(__file__).parent / "context.jsonld").read_text(encoding="utf-8")
    )
    context: dict[str, Any] = document["@context"]
    return context
