"""What the mappings of a home say of how properties are read: a file beside its ontology.

The file is written before the first statement is stored to which it applies. Whenever an ingest is
killed, the ontology is therefore inferred by what the mapping says of all that was stored.
"""

from __future__ import annotations

from kg.home import Home
from schema.declared import GO_ON, DeclaredReadings
from schema.errors import DataError
from schema.stamps import Condition, examine, write_stamped

_ADVICE = (
    "# How mappings say that columns are read. It is written again whenever a source is loaded by\n"
    "# one of them: to change what it says, edit the mapping, or ontology.toml, which wins.\n\n"
)


def load_declared(home: Home) -> DeclaredReadings:
    """Return what the mappings of a home say; nothing if there is no such file.

    Raises DataError if the file is damaged.
    """
    path = home.declared_path
    declared = DeclaredReadings.load(path)
    if path.exists():
        examination = examine(path.read_bytes())
        if examination.condition is Condition.DAMAGED:
            raise DataError(f"{path} is damaged ({examination.damage}): {GO_ON}")
    return declared


def save_declared(home: Home, declared: DeclaredReadings) -> None:
    """Write what the mappings of a home say, completely or not at all."""
    if declared.digest() or home.declared_path.exists():
        write_stamped(home.declared_path, _ADVICE + declared.to_toml())
