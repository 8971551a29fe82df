"""What forms offer: the values of a property, and the categories."""

from __future__ import annotations

import threading
import time
from collections import Counter

from kg.home import Home
from schema.ontology import Ontology
from schema.terms import path_prefixes
from serving.api.catalogue import Listing, ServedCatalogue

READ_SECONDS = 5.0
"""The ontology is read again at most so often."""
MAX_CATEGORIES = 300


class Choices:
    """Choices from a home's ontology and items, which are not read for each keystroke."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._ontology: Ontology | None = None
        self._read = -READ_SECONDS
        self._listing: Listing | None = None
        self._categories: list[str] = []

    def ontology(self) -> Ontology | None:
        """Return the ontology, at most some seconds old."""
        with self._lock:
            if time.monotonic() - self._read > READ_SECONDS:
                self._ontology = self._home.ontology_or_none()
                self._read = time.monotonic()
            return self._ontology

    def values(self, property: str, text: str, limit: int) -> list[str]:
        """Return values of a property for a text: those that begin with it first, then others."""
        ontology = self.ontology()
        spec = None if ontology is None else ontology.properties.get(property)
        if spec is None:
            return []
        wanted = text.strip().casefold()
        starting: list[str] = []
        having: list[str] = []
        for value in spec.values:
            folded = value.casefold()
            if folded.startswith(wanted):
                starting.append(value)
                if len(starting) == limit:
                    break
            elif wanted in folded and len(having) < limit:
                having.append(value)
        return [*starting, *having][:limit]

    def categories(self, catalogue: ServedCatalogue) -> list[str]:
        """Return the categories with most items, in the order of a tree."""
        listing = catalogue.listing()
        with self._lock:
            if self._listing is not listing:
                counts: Counter[str] = Counter()
                for category, count in Counter(listing.snapshot.categories).items():
                    if category:
                        counts.update(dict.fromkeys(path_prefixes(category), count))
                self._categories = sorted(name for name, _ in counts.most_common(MAX_CATEGORIES))
                self._listing = listing
            return self._categories
