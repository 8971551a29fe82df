"""The ontology of a home: inferred from its store, edited by people, and never lost in between.

``ontology.toml`` is one file, so that it is written completely or not at all. Its comments say from
which revision of which store it was inferred, and name the ontology as it was inferred then, which
``ontology.inferred/`` holds under its own hash. The difference between the two is what people have
edited. A home that is killed while its ontology is written has the old one, which says so.
"""

from __future__ import annotations

import json
import re
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

from kg.home import Home
from kg.stores.protocol import GraphStore
from schema.edits import edited_settings, merge_edits
from schema.errors import CatalographWarning, DataError
from schema.files import write_atomically
from schema.ontology import Ontology, PropertySpec
from schema.stamps import Condition, examine, write_stamped
from schema.terms import TRUSTED_RANKS

_ADVICE = "# You may edit this file: your changes are kept when the ontology is inferred again.\n"
_ORIGIN = re.compile(
    r"^# Inferred from (.*)\n# As it was inferred: ([0-9a-f]{64})$",
    re.MULTILINE,
)
KEPT_INFERRED = 3
"""How many ontologies are kept as they were inferred; more than one only for two runs at once."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an ontology comes from: a store, its revision, and the ontology's hash as inferred."""

    store: str
    revision: str
    inferred: str

    def comment(self) -> str:
        """Return the comment that states it."""
        # As JSON, because a path or what a server calls its revision could contain line breaks.
        source = json.dumps([self.store, self.revision])
        return f"# Inferred from {source}\n# As it was inferred: {self.inferred}\n"

    def journal_version(self) -> int | None:
        """Return the version of the journal, if the revision is that of one."""
        found = re.match(r"journal version (\d+),", self.revision)
        return int(found[1]) if found else None

    @classmethod
    def of(cls, path: Path) -> Origin | None:
        """Return the origin that a file states, or None."""
        try:
            found = _ORIGIN.search(path.read_text(encoding="utf-8", errors="replace"))
            if found is None:
                return None
            store, revision = json.loads(found[1])
            return cls(str(store), str(revision), found[2])
        except (OSError, ValueError):
            return None


def is_current(home: Home, store: GraphStore) -> bool:
    """Return whether the home's ontology was inferred from what the store holds now.

    It is True for a store that does not know its revision, whoever has filled it.
    """
    origin = Origin.of(home.ontology_path)
    if origin is None:
        return False
    return (origin.store, origin.revision) == (home.relative_url(store.url), store.revision())


def refresh_ontology(home: Home, store: GraphStore, *, accept: bool = False) -> Ontology:
    """Infer the ontology again from the store and write it, keeping what a person edited.

    A file that looks damaged is taken for edited, with a warning, unless ``accept`` says that the
    user knows.
    """
    # Before the store is read: if it changes meanwhile, the ontology counts as older.
    revision = store.revision()
    edited = None
    before = None
    if home.ontology_path.exists():
        if not accept:
            _warn_of_damage(home.ontology_path)
        edited = home.ontology()
        before = _as_inferred_before(home, edited)

    def edit(spec: PropertySpec) -> PropertySpec:
        """Return a property with what a person says about its texts."""
        after = edited.properties.get(spec.name) if edited is not None else None
        if after is None:
            return spec
        base = before.properties.get(spec.name) if before is not None else None
        return edited_settings(base, after, spec)

    inferred = Ontology.infer(store.categories(), store.triples(TRUSTED_RANKS), edit=edit)
    merged = inferred
    if edited is not None:
        base = before if before is not None else _without_inferred(edited, inferred)
        if edited != base:
            merged = merge_edits(base, edited, inferred)

    text = inferred.to_toml()
    digest = inferred.content_hash()
    folder = home.inferred_ontologies
    # The inferred ontology first: the new file that refers to it replaces the old one at once.
    write_atomically(folder / f"{digest}.toml", text)
    origin = Origin(home.relative_url(store.url), revision, digest)
    write_stamped(home.ontology_path, _ADVICE + origin.comment() + "\n" + merged.to_toml())
    by_age = sorted(folder.glob("*.toml"), key=lambda path: path.stat().st_mtime)
    for path in by_age[:-KEPT_INFERRED]:
        if path.stem != digest:
            path.unlink(missing_ok=True)
    home.former_inferred_path.unlink(missing_ok=True)
    return merged


def _warn_of_damage(path: Path) -> None:
    examination = examine(path.read_bytes())
    if examination.condition is Condition.DAMAGED:
        warnings.warn(
            f"{path} looks damaged ({examination.damage}), and is taken for edited: correct it if "
            "nobody did that",
            CatalographWarning,
            stacklevel=3,
        )


def _as_inferred_before(home: Home, edited: Ontology) -> Ontology | None:
    """Return the ontology of which ``edited`` is the edited form; None if it is lost."""
    origin = Origin.of(home.ontology_path)
    candidates = sorted(
        home.inferred_ontologies.glob("*.toml"),
        # The one that is named, then the newest: a person's editor may have dropped the comments.
        key=lambda path: (
            origin is not None and path.stem == origin.inferred,
            path.stat().st_mtime,
        ),
        reverse=True,
    )
    for path in [*candidates, home.former_inferred_path]:
        if not path.is_file():
            continue
        try:
            before = Ontology.load(path)
        except DataError:
            continue
        if path == home.former_inferred_path or before.content_hash() == path.stem:
            return before
    if origin is not None and origin.inferred == edited.content_hash():
        return edited
    return None


def _without_inferred(edited: Ontology, inferred: Ontology) -> Ontology:
    """Return a base for an ontology whose inferred form is lost, by which edits are kept.

    Datatypes, units, cardinalities and the threshold count as edited where they are not what the
    data say now. Counts and shares do not: they would never change again.
    """
    specs = [
        replace(
            spec,
            datatype=inferred.properties[name].datatype,
            unit=inferred.properties[name].unit,
            cardinality=inferred.properties[name].cardinality,
            decimal_mark=inferred.properties[name].decimal_mark,
            date_order=inferred.properties[name].date_order,
            case_sensitive=inferred.properties[name].case_sensitive,
            remark=inferred.properties[name].remark,
            synonyms={},
        )
        for name, spec in edited.properties.items()
        if name in inferred.properties
    ]
    return Ontology(specs, categories=edited.categories, threshold=inferred.threshold)
