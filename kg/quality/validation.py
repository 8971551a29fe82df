"""A store against its ontology and its SHACL shapes, a batch of items at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kg.home import Home
from kg.stores.merge import Row
from kg.stores.protocol import GraphStore
from kg.stores.sorting import with_statements
from kg.stores.tables import item_of
from schema.ontology import Ontology
from schema.terms import TRUSTED_RANKS
from schema.validation import Finding, Severity, check_item

if TYPE_CHECKING:
    from kg.quality.shacl import Shapes

BATCH_ITEMS = 1000
Progress = Callable[[int, int], None]


@dataclass
class ValidationReport:
    """All findings counted, and as many kept as ``limit`` says, the gravest first."""

    limit: int
    checked: int = 0
    counts: Counter[Severity] = field(default_factory=Counter)
    rules: Counter[tuple[Severity, str, str | None]] = field(default_factory=Counter)
    kept: dict[Severity, list[Finding]] = field(
        default_factory=lambda: {severity: [] for severity in Severity}
    )

    @property
    def conforms(self) -> bool:
        """Whether there is no violation."""
        return not self.counts[Severity.VIOLATION]

    @property
    def results(self) -> list[Finding]:
        """The findings that are shown."""
        return list(islice(chain.from_iterable(self.kept.values()), self.limit))

    def add(self, finding: Finding) -> None:
        """Count a finding, and keep it where there is room."""
        self.counts[finding.severity] += 1
        self.rules[finding.severity, finding.check, finding.property] += 1
        if len(self.kept[finding.severity]) < self.limit:
            self.kept[finding.severity].append(finding)

    def by_rule(self) -> list[dict[str, Any]]:
        """How many findings each check has of each property, the gravest and most frequent first."""
        grave = list(Severity)
        ordered = sorted(
            self.rules.items(), key=lambda pair: (grave.index(pair[0][0]), -pair[1], str(pair[0]))
        )
        return [
            {"severity": rule[0], "check": rule[1], "property": rule[2], "count": count}
            for rule, count in ordered
        ]

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        counts = {f"{severity}s": self.counts[severity] for severity in Severity}
        results = [finding.as_dict() for finding in self.results]
        return {
            "conforms": self.conforms,
            "checked": self.checked,
            **counts,
            "rules": self.by_rule(),
            "results": results,
        }


def shapes_of(home: Home, ontology: Ontology, path: Path | None = None) -> tuple[Shapes, bool]:
    """The shapes of a file, else the home's own, made anew where no one edited them; and whether they are the ontology's.

    Raises SourceNotFoundError and DataError as :class:`kg.quality.shacl.Shapes` does.
    """
    from kg.quality.shacl import Shapes
    from schema.shapes import refresh_shapes

    if path is not None:
        return Shapes(path), True
    current = refresh_shapes(home.shapes_path, ontology)
    return Shapes(home.shapes_path), current


def validate(
    store: GraphStore,
    ontology: Ontology,
    shapes: Shapes,
    limit: int = 100,
    progress: Progress | None = None,
) -> ValidationReport:
    """Check every item by the ontology and by the shapes; what both find counts once."""
    report = ValidationReport(limit)
    total = store.counts().items
    grouped = with_statements(
        (row for batch in store.items() for row in batch.to_pylist()), store.scan()
    )
    while part := list(islice(grouped, BATCH_ITEMS)):
        seen = set()
        for finding in chain(
            chain.from_iterable(
                check_item(ontology, item_of(row, ())[0], _trusted(facts)) for row, facts in part
            ),
            shapes.check([row for row, _ in part], [fact for _, facts in part for fact in facts]),
        ):
            if finding.key not in seen:
                report.add(finding)
            seen.add(finding.key)
        report.checked += len(part)
        if progress is not None:
            progress(report.checked, total)
    return report


def _trusted(facts: list[Row]) -> list[tuple[str, str]]:
    return [(fact["property"], fact["value"]) for fact in facts if fact["rank"] in TRUSTED_RANKS]
