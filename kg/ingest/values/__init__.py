"""Values: cells become clean texts by rules that each column decides, and all is counted."""

from kg.ingest.values.columns import (
    CleanIds,
    ColumnCleaners,
    ColumnEvidence,
    ColumnRules,
    Role,
    SplitCells,
    ValueSettings,
    clean_column,
    evidence_of,
    id_fault,
    rules_of,
    split_column,
    split_texts,
    stands_for_no_id,
    values_of,
)
from kg.ingest.values.counts import ColumnCounts, add_counts, remarks
from kg.ingest.values.missing import word_key

__all__ = [
    "CleanIds",
    "ColumnCleaners",
    "ColumnCounts",
    "ColumnEvidence",
    "ColumnRules",
    "Role",
    "SplitCells",
    "ValueSettings",
    "add_counts",
    "clean_column",
    "evidence_of",
    "id_fault",
    "remarks",
    "rules_of",
    "split_column",
    "split_texts",
    "stands_for_no_id",
    "values_of",
    "word_key",
]
