"""Graph stores: one protocol, an implementation in each file."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from kg.stores.open import open_store
    from kg.stores.protocol import GraphStore, Pattern, QueryResult
    from kg.stores.query_limits import QueryLimits
    from kg.stores.tables import items_table, statements_table

__all__ = [
    "GraphStore",
    "Pattern",
    "QueryLimits",
    "QueryResult",
    "items_table",
    "open_store",
    "statements_table",
]

# Names are imported when they are first used: most commands need few of these modules.
__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "open": ["open_store"],
        "protocol": ["GraphStore", "Pattern", "QueryResult"],
        "query_limits": ["QueryLimits"],
        "tables": ["items_table", "statements_table"],
    },
)
