"""Items whose titles tell their values, and the stand-in server that is asked about them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.experts.language_model.stand_in import StandIn, stand_in


@pytest.fixture
def server() -> Iterator[StandIn]:
    with stand_in() as running:
        yield running
