"""Values: cells become clean texts by rules that each column decides, and all is counted."""

from kg.ingest.values.columns import (
    CleanIds,
    ColumnCleaners,
    ColumnEvidence,
    ColumnRules,
    OfRows,
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
from kg.ingest.values.row_effects import RowEffects

__all__ = [
    "CleanIds",
    "ColumnCleaners",
    "ColumnCounts",
    "ColumnEvidence",
    "ColumnRules",
    "OfRows",
    "Role",
    "RowEffects",
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
