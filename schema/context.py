"""The JSON-LD context of the documents that Catalograph writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CONTEXT_FILE = Path(__file__).parent / "context.jsonld"


def load_context() -> dict[str, Any]:
    """Return the value of ``@context``: schema.org's terms, and those for rank and provenance."""
    document: dict[str, Any] = json.loads(CONTEXT_FILE.read_text(encoding="utf-8"))
    context: dict[str, Any] = document["@context"]
    return context
