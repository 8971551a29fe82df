"""A model that commands can be given in place of a trained one."""

from __future__ import annotations

from kg.home import Home
from tests.serving.fakes import FakeScorer


class MadeScorer(FakeScorer):
    """A model that has learned the ontology of a home, and reads nothing."""

    completes = True
    reads_details = reads_pixels = reads_regions = False

    def __init__(self, home: Home) -> None:
        super().__init__(ontology=home.ontology())
        self.path = home.models / "made"
