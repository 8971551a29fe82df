"""Validate a store against its ontology and SHACL shapes, one batch of items at a time."""

from __future__ import annotations

import builtins
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kg.home import Home
from kg.source_conflicts import Conflict, conflicts_of, may_conflict
from kg.stores.protocol import GraphStore
from kg.stores.sorting import with_statements
from kg.stores.tables import Row, item_from_row
from schema.ontology import Ontology
from schema.progress import ProgressCallback, no_progress
from schema.terms import TRUSTED_RANKS
from schema.validation import Finding, Severity, check_item

if TYPE_CHECKING:
    from kg.quality.shacl import Shapes

ITEMS_PER_BATCH = 1000


EXAMPLES = 3
"""Findings of each check that are kept for a property as examples."""


@dataclass
class PropertyReport:
    """What was checked of one property, and what was found."""

    property: str
    checked: int = 0
    """Trusted statements that were checked."""
    counts: Counter[Severity] = field(default_factory=Counter)
    checks: Counter[tuple[Severity, str]] = field(default_factory=Counter)
    """Findings by (severity, check)."""
    examples: dict[str, list[Finding]] = field(default_factory=dict)
    """By check: some findings of different messages."""

    # For mypy the plain name means the field `property` in this class.
    @builtins.property
    def rank(self) -> tuple[int, ...]:
        """The key by which the worst property comes first."""
        return tuple(-self.counts[severity] for severity in Severity)

    def add(self, finding: Finding) -> None:
        """Count a finding, and keep it unless there are enough like it."""
        self.counts[finding.severity] += 1
        self.checks[finding.severity, finding.check] += 1
        kept = self.examples.setdefault(finding.check, [])
        if len(kept) < EXAMPLES and all(each.message != finding.message for each in kept):
            kept.append(finding)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        severities = list(Severity)
        ordered = sorted(
            self.checks.items(),
            key=lambda entry: (severities.index(entry[0][0]), -entry[1], entry[0][1]),
        )
        return {
            "property": self.property,
            "checked": self.checked,
            **{f"{severity}s": self.counts[severity] for severity in Severity},
            "checks": [
                {
                    "check": check,
                    "severity": severity,
                    "count": count,
                    "examples": [
                        {"item": each.item, "value": each.value, "message": each.message}
                        for each in self.examples[check]
                    ],
                }
                for (severity, check), count in ordered
            ],
        }


@dataclass
class ValidationReport:
    """Counts of all findings, and the first ``limit`` of them, the most serious first."""

    limit: int
    checked: int = 0
    counts: Counter[Severity] = field(default_factory=Counter)
    rules: Counter[tuple[Severity, str, str | None]] = field(default_factory=Counter)
    """Findings by (severity, check, property)."""
    properties: dict[str, PropertyReport] = field(default_factory=dict)
    kept: dict[Severity, list[Finding]] = field(
        default_factory=lambda: {severity: [] for severity in Severity}
    )

    @property
    def conforms(self) -> bool:
        """Whether there is no violation."""
        return not self.counts[Severity.VIOLATION]

    @property
    def results(self) -> list[Finding]:
        """The findings to show."""
        return list(islice(chain.from_iterable(self.kept.values()), self.limit))

    def add(self, finding: Finding) -> None:
        """Count a finding, and keep it unless enough of its severity are kept already."""
        self.counts[finding.severity] += 1
        self.rules[finding.severity, finding.check, finding.property] += 1
        if finding.property is not None:
            self._of(finding.property).add(finding)
        # Memory stays flat however many findings there are: no more than these can be shown.
        if len(self.kept[finding.severity]) < self.limit:
            self.kept[finding.severity].append(finding)

    def count_statements(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Count trusted (property, value) pairs of an item as checked."""
        for name, _ in pairs:
            self._of(name).checked += 1

    def _of(self, name: str) -> PropertyReport:
        if name not in self.properties:
            self.properties[name] = PropertyReport(name)
        return self.properties[name]

    def by_property(self) -> list[PropertyReport]:
        """Return what was found of each property, the worst first."""
        return sorted(self.properties.values(), key=lambda each: (each.rank, each.property))

    def by_rule(self) -> list[dict[str, Any]]:
        """Return how often each check failed for each property, the most serious first."""
        severities = list(Severity)
        ordered = sorted(
            self.rules.items(),
            key=lambda entry: (severities.index(entry[0][0]), -entry[1], str(entry[0])),
        )
        return [
            {"severity": severity, "check": check, "property": name, "count": count}
            for (severity, check, name), count in ordered
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        counts = {f"{severity}s": self.counts[severity] for severity in Severity}
        return {
            "conforms": self.conforms,
            "checked": self.checked,
            **counts,
            "rules": self.by_rule(),
            "results": [finding.as_dict() for finding in self.results],
            "properties": [each.as_dict() for each in self.by_property()],
        }


def load_shapes(home: Home, ontology: Ontology, path: Path | None = None) -> tuple[Shapes, bool]:
    """Load the shapes of a file, or the home's own, and return whether they match the ontology.

    The home's shapes are regenerated from the ontology unless they were edited. Raises
    SourceNotFoundError or DataError as :class:`kg.quality.shacl.Shapes` does.
    """
    from kg.quality.shacl import Shapes
    from schema.shapes import refresh_shapes

    if path is not None:
        return Shapes(path), True
    try:
        is_current = refresh_shapes(home.shapes_path, ontology)
        return Shapes(home.shapes_path), is_current
    except OSError:
        return _shapes_without_writing(home, ontology)


def _shapes_without_writing(home: Home, ontology: Ontology) -> tuple[Shapes, bool]:
    """Load the shapes of a home that cannot be written."""
    from kg.quality.shacl import Shapes
    from schema.shapes import refresh_shapes

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / home.shapes_path.name
        if home.shapes_path.exists():
            shutil.copyfile(home.shapes_path, path)
        is_current = refresh_shapes(path, ontology)
        return Shapes(path), is_current


def validate(
    store: GraphStore,
    ontology: Ontology,
    shapes: Shapes,
    limit: int = 100,
    progress: ProgressCallback = no_progress,
) -> ValidationReport:
    """Check every item against the ontology and the shapes; what both find counts once."""
    report = ValidationReport(limit)
    total = store.counts().items
    has_several = may_conflict(store, ontology)
    items = (row for batch in store.items() for row in batch.to_pylist())
    items_with_facts = with_statements(items, store.scan())
    while batch := list(islice(items_with_facts, ITEMS_PER_BATCH)):
        findings: list[Finding] = []
        # The ontology says nothing about translations.
        fact_rows = [fact for _, facts in batch for fact in facts if fact["language"] is None]
        in_conflict: set[tuple[str | None, str | None]] = set()
        for row, facts in batch:
            item = item_from_row(row)
            pairs = _trusted_pairs(facts)
            report.count_statements(pairs)
            found = conflicts_of(row, facts, ontology, store.order) if has_several else []
            unshown = {
                (fact["property"], fact["value"])
                for conflict in found
                for fact in (*conflict.equal, *conflict.losing)
            }
            in_conflict |= {(conflict.item, conflict.property) for conflict in found}
            findings += check_item(ontology, item, pairs, unshown)
            findings += [_conflict_finding(conflict) for conflict in found if conflict.losing]
        item_rows = [row for row, _ in batch]
        # The shapes know no sources; whether one states too many values was checked above.
        findings += (
            finding
            for finding in shapes.check(item_rows, fact_rows)
            if finding.check != "cardinality" or (finding.item, finding.property) not in in_conflict
        )

        # By key, so that the ontology's finding stays and the same one of the shapes is dropped.
        distinct: dict[Any, Finding] = {}
        for finding in findings:
            distinct.setdefault(finding.key, finding)
        for finding in distinct.values():
            report.add(finding)
        report.checked += len(batch)
        progress(report.checked, total)
    return report


def _conflict_finding(conflict: Conflict) -> Finding:
    message = f"sources differ: {conflict.told()}; that of {conflict.side} is shown"
    return Finding(conflict.item, conflict.property, None, Severity.WARNING, "conflict", message)


def _trusted_pairs(facts: list[Row]) -> list[tuple[str, str]]:
    return [
        (fact["property"], fact["value"])
        for fact in facts
        if fact["rank"] in TRUSTED_RANKS and fact["language"] is None
    ]
