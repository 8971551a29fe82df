"""Values: cells become clean texts by rules that each column decides, and all is counted."""

from kg.ingest.values.columns import (
    ColumnCleaners,
    ColumnEvidence,
    ColumnRules,
    Role,
    SplitCells,
    ValueSettings,
    clean_column,
    counts_rows,
    evidence_of,
    id_fault,
    rules_of,
    split_column,
    values_of,
)
from kg.ingest.values.counts import ColumnCounts, add_counts, remarks

__all__ = [
    "ColumnCleaners",
    "ColumnCounts",
    "ColumnEvidence",
    "ColumnRules",
    "Role",
    "SplitCells",
    "ValueSettings",
    "add_counts",
    "clean_column",
    "counts_rows",
    "evidence_of",
    "id_fault",
    "remarks",
    "rules_of",
    "split_column",
    "values_of",
]
