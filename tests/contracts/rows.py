"""Rows for tests; this imports little, since programs that tests start import it, too."""

import dataclasses

from kg.stores.protocol import Pattern
from kg.stores.tables import items_table
from schema.terms import Provenance, Rank, Statement


def statement(
    item="a", property="colour", value="red", rank=Rank.ASSERTED, language=None, **provenance
):
    """Return a statement for a test; other keyword arguments go to its provenance."""
    whole = Provenance(**{"source": "s", **provenance})
    return Statement(item, property, value, rank, whole, language)


def sourced(items, source):
    """Return items as a source describes them."""
    return items_table(
        dataclasses.replace(item, provenance=Provenance(source, "run", row)) if source else item
        for row, item in enumerate(items, start=1)
    )


def scan_rows(store, **pattern):
    """Return the rows of the statements that match the fields of a pattern."""
    return [row for batch in store.scan(Pattern(**pattern)) for row in batch.to_pylist()]
