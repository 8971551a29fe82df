"""The real data, where it is at hand."""

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("CATALOGRAPH_DATA", Path(__file__).parents[2] / "shared" / "data"))
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason="the real data is not at hand: set CATALOGRAPH_DATA"
)
