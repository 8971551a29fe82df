"""What tables of items leave out where sources differ, since another value is shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from kg.source_conflicts import MAX_LISTED, conflicts
from kg.stores.protocol import GraphStore
from schema.ontology import Ontology
from schema.terms import statement_id


@dataclass
class NotShown:
    """The ids of statements that are not shown, and how many these are by property.

    ``losing`` say something else than the source that counts; ``equal`` say the same as it does in
    another way, such as 1200 g beside 1.2 kg.
    """

    ids: set[str] = field(default_factory=set)
    losing: Counter[str] = field(default_factory=Counter)
    equal: Counter[str] = field(default_factory=Counter)

    def notes(self) -> Iterator[str]:
        """Yield a line on each kind of them, if there are any."""
        go_on = "left out: --all-sources writes them, too"
        if self.losing:
            yield (
                f"{_listed(self.losing)} differ from those of the source that is shown, and are "
                f"{go_on}"
            )
        if self.equal:
            yield (
                f"{_listed(self.equal)} say in another way what the source says that is shown, "
                f"and are {go_on}"
            )


def not_shown(store: GraphStore, ontology: Ontology | None) -> NotShown:
    """Find what is not shown; without an ontology or several sources, that is nothing."""
    found = NotShown()
    if ontology is None:
        return found
    for conflict in conflicts(store, ontology, with_equal=True):
        item = conflict.item
        property = conflict.property
        for rows, counts in ((conflict.losing, found.losing), (conflict.equal, found.equal)):
            if rows:
                counts[property] += len(rows)
                found.ids |= {statement_id(item, property, row["value"]) for row in rows}
    return found


def _listed(counts: Counter[str]) -> str:
    most = ", ".join(f"{name} {count:,}" for name, count in counts.most_common(MAX_LISTED))
    more = ", …" if len(counts) > MAX_LISTED else ""
    return f"{counts.total():,} values ({most}{more})"
