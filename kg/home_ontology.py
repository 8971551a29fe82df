"""The ontology of a home: inferred from its store, edited by people, and never lost in between.

``ontology.toml`` is one file, so that it is written completely or not at all. Its comments say from
which revision of which store it was inferred, and name the ontology as it was inferred then, which
``ontology.inferred/`` holds under its own hash. The difference between the two is what people have
edited. A home that is killed while its ontology is written has the old one, which says so.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kg.home import Home
from kg.home_declared import load_declared
from kg.source_conflicts import stated_triples
from kg.stores.protocol import GraphStore
from schema.declared import Contradiction
from schema.edits import edited_settings, merge_edits
from schema.errors import CatalographWarning, DataError, SourceNotFoundError
from schema.files import write_atomically
from schema.literals import Given
from schema.ontology import Ontology, PropertySpec, hash_of_toml
from schema.stamps import Condition, examine, write_stamped

if TYPE_CHECKING:
    from schema.ontology_counts import ArrowRows, CatalogueCounts

_ADVICE = "# You may edit this file: your changes are kept when the ontology is inferred again.\n"
_ORIGIN = re.compile(
    r"^# Inferred from (.*)\n# As it was inferred: ([0-9a-f]{64})$",
    re.MULTILINE,
)
KEPT_INFERRED = 3
"""How many ontologies are kept as they were inferred; more than one only for two runs at once."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an ontology comes from: a store, its revision, and the ontology's hash as inferred.

    ``declared`` is the hash of what mappings said of how properties are read, "" if nothing.
    """

    store: str
    revision: str
    inferred: str
    declared: str = ""

    def comment(self) -> str:
        """Return the comment that states it."""
        # As JSON, because a path or what a server calls its revision could contain line breaks.
        source = json.dumps([self.store, self.revision, *filter(None, [self.declared])])
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
            store, revision, *declared = json.loads(found[1])
            return cls(str(store), str(revision), found[2], "".join(map(str, declared)))
        except (OSError, ValueError):
            return None


def is_current(home: Home, store: GraphStore) -> bool:
    """Return whether the home's ontology was inferred from what the store and the mappings say now.

    It is True for a store that does not know its revision, whoever has filled it.
    """
    origin = Origin.of(home.ontology_path)
    if origin is None or origin.declared != load_declared(home).digest():
        return False
    return (origin.store, origin.revision) == (home.relative_url(store.url), store.revision())


@dataclass(frozen=True, slots=True)
class Refreshed:
    """An ontology as the data give it, the same with a person's edits, and its counts."""

    inferred: Ontology
    merged: Ontology
    counts: CatalogueCounts


@dataclass(frozen=True, slots=True)
class Edits:
    """What a person has made of a home's ontology.

    Attributes:
        edited: the ontology as the file has it; None if there is no file
        before: the ontology of which it is the edited form; None if that is lost
        content: the file's bytes; None if there is no file
    """

    edited: Ontology | None = None
    before: Ontology | None = None
    content: bytes | None = None

    @classmethod
    def of(cls, home: Home) -> Edits:
        """Read the ontology of a home, and the one of which it is the edited form."""
        content = _content(home.ontology_path)
        if content is None:
            return cls()
        edited = home.ontology()
        if _is_as_inferred(home, content):
            return cls(edited, edited, content)
        return cls(edited, _as_inferred_before(home, edited), content)

    @classmethod
    def unless_none(cls, home: Home) -> Edits:
        """Read the ontology of a home as :meth:`of` does, but not if a person has edited nothing.

        To read one of a hundred thousand values takes half a second.
        """
        content = _content(home.ontology_path)
        if content is not None and _is_as_inferred(home, content):
            return cls(content=content)
        return cls.of(home)

    def settings(self, spec: PropertySpec) -> PropertySpec:
        """Return a property with what a person says about its texts."""
        after = self.edited.properties.get(spec.name) if self.edited is not None else None
        if after is None:
            return spec
        if self.before is None:
            # All of it may be a person's, also what is as if nothing were written.
            return edited_settings(spec, after, spec)
        return edited_settings(self.before.properties.get(spec.name), after, spec)

    def base(self, inferred: Ontology) -> Ontology | None:
        """Return the ontology that a person has edited, or the nearest to it that is known."""
        if self.edited is None or self.before is not None:
            return self.before
        return _without_inferred(self.edited, inferred)

    def infer(
        self,
        items: ArrowRows,
        statements: ArrowRows,
        given: Mapping[str, Given],
        *,
        repeated_items: bool = False,
    ) -> Refreshed:
        """Infer the ontology of items and statements, keeping what a person edited.

        With ``repeated_items`` an item may come several times, of which the last category holds.
        """
        inferred, counts = Ontology.infer_counted(
            items, statements, given=given, edit=self.settings, repeated_items=repeated_items
        )
        base = self.base(inferred)
        merged = inferred
        if self.edited is not None and base is not None and self.edited != base:
            merged = merge_edits(base, self.edited, inferred)
        return Refreshed(inferred, merged, counts)


@dataclass(frozen=True, slots=True)
class VocabularyEdits:
    """What a person has added to the values of a home's ontology and taken out of it.

    Attributes:
        added: by property, the values that no statement has shown
        removed: by property, the values that statements have
        properties: those that were taken out altogether
    """

    added: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    removed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    properties: tuple[str, ...] = ()

    @classmethod
    def of(cls, home: Home) -> VocabularyEdits:
        """Compare a home's ontology with the one that was inferred.

        Nothing is added or removed if what was inferred is lost.
        """
        edits = Edits.unless_none(home)
        if edits.edited is None or edits.before is None:
            return cls()
        before = edits.before.properties
        after = edits.edited.properties
        added = {}
        removed = {}
        for name, spec in after.items():
            inferred = before.get(name, PropertySpec(name))
            # A value that has become a synonym of another one, or is one, is no less there.
            new = tuple(value for value in spec.values if inferred.position(value) is None)
            gone = tuple(value for value in inferred.values if spec.position(value) is None)
            if new:
                added[name] = new
            if gone:
                removed[name] = gone
        properties = tuple(name for name in before if name not in after)
        return cls(added, removed, properties)


MAX_ATTEMPTS = 3
"""How often the ontology is inferred if a person saves the file meanwhile."""


def refresh_ontology(home: Home, store: GraphStore, *, accept: bool = False) -> Ontology:
    """Infer the ontology again from the store and write it, keeping what a person edited.

    What mappings say of how properties are read holds where no person says something else. A file
    that looks damaged is taken for edited, with a warning, unless ``accept`` says that the user
    knows.
    """
    if home.ontology_path.exists() and not accept:
        _warn_of_damage(home.ontology_path)
    for attempt in range(MAX_ATTEMPTS):
        # Before the store is read: if it changes meanwhile, the ontology counts as older.
        revision = store.revision()
        declared = load_declared(home)
        edits = Edits.unless_none(home)
        triples = stated_triples(store)
        refreshed = edits.infer(store.categories(), triples, declared.given())
        # To read a large store takes a while, in which a person may have saved the file.
        if attempt + 1 == MAX_ATTEMPTS or _content(home.ontology_path) == edits.content:
            break

    # To write an ontology of many values takes a while, so it is done once.
    text = refreshed.inferred.to_toml()
    is_edited = refreshed.merged is not refreshed.inferred
    merged_text = refreshed.merged.to_toml() if is_edited else text
    digest = hash_of_toml(text)
    folder = home.inferred_ontologies
    # The inferred ontology first: the new file that refers to it replaces the old one at once.
    write_atomically(folder / f"{digest}.toml", text)
    origin = Origin(home.relative_url(store.url), revision, digest, declared.digest())
    write_stamped(home.ontology_path, _ADVICE + origin.comment() + "\n" + merged_text)
    by_age = sorted(folder.glob("*.toml"), key=lambda path: path.stat().st_mtime)
    for path in by_age[:-KEPT_INFERRED]:
        if path.stem != digest:
            path.unlink(missing_ok=True)
    home.former_inferred_path.unlink(missing_ok=True)
    return refreshed.merged


def open_contradictions(home: Home) -> list[Contradiction]:
    """Return what mappings contradict each other about and no person has decided yet."""
    contradictions = load_declared(home).contradictions()
    # An ontology of thousands of properties takes a while to read.
    edits = Edits.of(home) if contradictions else Edits()
    if edits.edited is None:
        return []
    found = []
    for each in contradictions:
        after = edits.edited.properties.get(each.property)
        before = edits.before.properties.get(each.property) if edits.before is not None else None
        # The property has no such remark if no value of it depends on who is right.
        if after is None or each.line() not in (before or after).remark:
            continue
        if before is None or vars(after)[each.field] == vars(before)[each.field]:
            found.append(each)
    return found


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _warn_of_damage(path: Path) -> None:
    examination = examine(path.read_bytes())
    if examination.condition is Condition.DAMAGED:
        warnings.warn(
            f"{path} looks damaged ({examination.damage}), and is taken for edited: correct it if "
            "nobody did that",
            CatalographWarning,
            stacklevel=3,
        )


def _is_as_inferred(home: Home, content: bytes) -> bool:
    """Return whether the file of a home's ontology has, below its comments, what was inferred."""
    origin = Origin.of(home.ontology_path)
    if origin is None:
        return False
    inferred = _content(home.inferred_ontologies / f"{origin.inferred}.toml")
    if inferred is None or hashlib.sha256(inferred).hexdigest() != origin.inferred:
        return False
    head = content.removesuffix(inferred)
    return head != content and all(line.startswith(b"#") for line in head.split(b"\n") if line)


def _as_inferred_before(home: Home, edited: Ontology) -> Ontology | None:
    """Return the ontology of which ``edited`` is the edited form; None if it is lost."""
    origin = Origin.of(home.ontology_path)
    if origin is not None:
        named = _whole_inferred(home.inferred_ontologies / f"{origin.inferred}.toml")
        if named is not None:
            return named
    # A person's editor may have dropped the comments. The newest would not do: a run that was
    # killed has left behind what it had inferred, of which the file is no edited form.
    newest = sorted(
        home.inferred_ontologies.glob("*.toml"), key=lambda path: path.stat().st_mtime, reverse=True
    )
    whole = [each for path in newest if (each := _whole_inferred(path)) is not None]
    if whole:
        return min(whole, key=lambda each: _differences(each, edited))
    try:
        return Ontology.load(home.former_inferred_path)
    except (DataError, SourceNotFoundError):
        pass
    if origin is not None and origin.inferred == edited.content_hash():
        return edited
    return None


def _whole_inferred(path: Path) -> Ontology | None:
    """Return an ontology as it was inferred; None if its file is lost or damaged."""
    try:
        inferred = Ontology.load(path)
    except (DataError, SourceNotFoundError):
        return None
    return inferred if inferred.content_hash() == path.stem else None


def _differences(one: Ontology, other: Ontology) -> int:
    """Return of how many properties two ontologies say something different."""
    names = one.properties.keys() | other.properties.keys()
    return sum(one.properties.get(name) != other.properties.get(name) for name in names)


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
            learn=inferred.properties[name].learn,
            complete=inferred.properties[name].complete,
            synonyms={},
        )
        for name, spec in edited.properties.items()
        if name in inferred.properties
    ]
    return Ontology(
        specs,
        categories=edited.categories,
        described=edited.described,
        threshold=inferred.threshold,
    )
