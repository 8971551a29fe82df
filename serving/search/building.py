"""An index is made anew, or brought up to date with the items that have changed."""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schema.progress import ProgressCallback, no_progress
from serving.search import database
from serving.search.database import FIELDS, read_known, sqlite_errors, transaction, write_known
from serving.search.documents import Document, DocumentReader, SearchedItem, told
from serving.search.groups import GroupModel, Signatures, features_of, fitted_places
from serving.search.heads import WordUse, heads_of
from serving.search.query import spelled
from serving.search.words import BREAK

ANEW_SHARE = 0.25
"""If more of the items have changed, what was learned from the others is learned anew, too."""
MAX_FACT = 200
"""Characters of a value by which items can be filtered."""
LEARNED_GROUP = "\x00"
"""Begins the name of a group that is no category."""
_READ_ROWS = 500
_COLUMNS = ", ".join(f'"{field}"' for field in FIELDS)
_INSERT_ITEM = (
    "INSERT INTO items (number, id, shown, category_path, grp, digest, text_digest, signature, "
    f"wholes, {_COLUMNS}) VALUES ({', '.join('?' * (9 + len(FIELDS)))})"
)


@dataclass(frozen=True)
class Changed:
    """How many items an update added, changed and removed; ``anew`` if all were indexed."""

    items: int
    added: int
    changed: int
    removed: int
    anew: bool


@dataclass(frozen=True)
class _Row:
    """An item's words by field, in the order of FIELDS, and the words that are counted."""

    fields: tuple[str, ...]
    texts: frozenset[str]
    values: frozenset[str]
    heads: frozenset[str]
    lengths: tuple[int, int]

    @classmethod
    def of(cls, document: Document, things: frozenset[str]) -> _Row:
        heads = heads_of(document.texts, things)
        by_field = {
            "title": document.title,
            "category": document.category,
            "heads": heads,
            "values": document.values,
            "codes": document.codes,
            "description": document.description,
        }
        return cls.read(tuple(told(by_field[name]) for name in FIELDS))

    @classmethod
    def read(cls, fields: tuple[str, ...]) -> _Row:
        """Return the row of these fields, as the table has them."""
        by_field = {name: text.split() for name, text in zip(FIELDS, fields, strict=True)}
        texts = [
            word
            for name in ("title", "category", "description")
            for word in by_field[name]
            if word != BREAK
        ]
        values = [word for word in by_field["values"] if word != BREAK]
        return cls(
            fields,
            frozenset(texts),
            frozenset(values),
            frozenset(by_field["heads"]),
            (len(texts), len(values)),
        )


def build(
    path: Path,
    items: Sequence[SearchedItem],
    reader: DocumentReader,
    known: dict[str, Any],
    progress: ProgressCallback = no_progress,
) -> Changed:
    """Make an index of items in a new file; what is ``known`` is kept with it."""
    documents: list[Document] = []
    use = WordUse()
    for count, item in enumerate(items, 1):
        document = reader.read(item)
        documents.append(document)
        use.add(document.texts, document.wholes)
        if not count % _READ_ROWS:
            progress(count // 2, len(items))
    # The features of all items at once would be a third of the memory.
    sample = fitted_places(len(items))
    features = [features_of(items[place], documents[place]) for place in sample]
    model = GroupModel.fit(features, any(not item.category for item in items))
    del features
    things = use.things()
    with closing(database.create(path)) as connection, sqlite_errors(path):
        writer = _Writer(connection, model, things)
        connection.execute("BEGIN")
        for start in range(0, len(items), _READ_ROWS):
            part = items[start : start + _READ_ROWS]
            own = documents[start : start + _READ_ROWS]
            signatures = model.signatures(list(map(features_of, part, own)))
            for place, (item, document) in enumerate(zip(part, own, strict=True)):
                writer.add(item, document, signatures[place : place + 1], False)
            progress((len(items) + start + len(part)) // 2, len(items))
        writer.flush()
        connection.execute("INSERT INTO found (found) VALUES ('rebuild')")
        connection.executemany(
            "UPDATE words SET is_thing = 1 WHERE word = ?", ((word,) for word in things)
        )
        connection.executemany(
            "UPDATE words SET is_describing = 1 WHERE word = ?",
            ((word,) for word in use.describing()),
        )
        connection.execute("INSERT INTO found (found) VALUES ('optimize')")
        write_known(
            connection,
            {
                **known,
                **model.as_bytes(),
                **database.new_edition(),
                "fitted": len(items),
                "drift": 0,
            },
        )
        connection.execute("COMMIT")
        connection.execute("PRAGMA optimize")
        connection.execute("ANALYZE")
        # From now on, those who search go on while it is brought up to date.
        connection.execute("PRAGMA journal_mode = WAL")
    progress(len(items), len(items))
    return Changed(len(items), len(items), 0, 0, True)


@dataclass(frozen=True)
class Difference:
    """The items that are not as they are indexed, and the ids of those that are gone."""

    added: list[SearchedItem]
    changed: list[SearchedItem]
    removed: list[str]

    @property
    def size(self) -> int:
        """How many items differ."""
        return len(self.added) + len(self.changed) + len(self.removed)


def difference_of(
    connection: sqlite3.Connection,
    items: Iterable[SearchedItem],
    gone: Collection[str] | None = None,
) -> Difference:
    """Compare items with what is indexed; they are all that there are, unless ``gone`` is given."""
    indexed: dict[str, bytes] = dict(connection.execute("SELECT id, digest FROM items"))
    added, changed = [], []
    for item in items:
        digest = indexed.pop(item.id, None)
        if digest is None:
            added.append(item)
        elif digest != item.digest:
            changed.append(item)
    removed = list(indexed) if gone is None else [id for id in gone if id in indexed]
    return Difference(added, changed, removed)


def is_to_be_built_anew(connection: sqlite3.Connection, changes: int) -> bool:
    """Return whether so much has changed that words and groups are to be learned anew."""
    fitted = read_known(connection, "fitted", 0)
    drift = read_known(connection, "drift", 0) + changes
    return bool(drift > ANEW_SHARE * max(1, fitted))


def update(
    connection: sqlite3.Connection,
    difference: Difference,
    reader: DocumentReader,
    known: dict[str, Any],
    progress: ProgressCallback = no_progress,
) -> Changed:
    """Index what has changed, in one transaction."""
    with transaction(connection):
        model = read_group_model(connection)
        things = frozenset(
            word for (word,) in connection.execute("SELECT word FROM words WHERE is_thing")
        )
        writer = _Writer(connection, model, things)
        for item in difference.changed:
            writer.remove(item.id)
        for id in difference.removed:
            writer.remove(id)
        put = [*difference.added, *difference.changed]
        for start in range(0, len(put), _READ_ROWS):
            part = put[start : start + _READ_ROWS]
            documents = [reader.read(item) for item in part]
            signatures = model.signatures(list(map(features_of, part, documents)))
            for place, (item, document) in enumerate(zip(part, documents, strict=True)):
                writer.add(item, document, signatures[place : place + 1], True)
            progress(start + len(part), len(put))
        writer.flush()
        drift = read_known(connection, "drift", 0) + difference.size
        write_known(connection, {**known, **database.new_edition(), "drift": drift})
        (count,) = connection.execute("SELECT count(*) FROM items").fetchone()
    return Changed(
        count, len(difference.added), len(difference.changed), len(difference.removed), False
    )


def read_group_model(connection: sqlite3.Connection) -> GroupModel:
    """Return the groups that were learned when the index was made."""
    names = ("group_features", "group_weight", "group_projection", "group_centres")
    return GroupModel.from_bytes({name: read_known(connection, name) for name in names})


class _Writer:
    """Adds and removes items; the counts of words and groups are written by ``flush``."""

    def __init__(
        self, connection: sqlite3.Connection, model: GroupModel, things: frozenset[str]
    ) -> None:
        self._connection = connection
        self._model = model
        self._things = things
        self._texts: Counter[str] = Counter()
        self._values: Counter[str] = Counter()
        self._uses: dict[tuple[str, int], list[int]] = defaultdict(lambda: [0, 0])
        self._group_items: Counter[int] = Counter()
        self._lengths = [0, 0]
        self._facts: list[tuple[int, int, int]] = []
        (self._next,) = connection.execute(
            "SELECT coalesce(max(number), 0) + 1 FROM items"
        ).fetchone()
        self._properties = dict(connection.execute("SELECT name, property FROM properties"))
        self._groups = dict(connection.execute("SELECT name, grp FROM groups"))
        self._vocabulary: dict[str, int] = {}

    def add(
        self, item: SearchedItem, document: Document, signature: Signatures, search: bool
    ) -> None:
        """Add an item with its signature [1, D]; ``search`` adds it to the full-text table, too."""
        name = item.category or f"{LEARNED_GROUP}{int(self._model.groups(signature)[0])}"
        group = self._groups.setdefault(name, len(self._groups) + 1)
        row = _Row.of(document, self._things)
        number = self._next
        self._next += 1
        self._connection.execute(
            _INSERT_ITEM,
            (
                number,
                item.id,
                item.title,
                item.category,
                group,
                item.digest,
                item.text_digest,
                signature.astype("<f2").tobytes(),
                told(document.wholes),
                *row.fields,
            ),
        )
        if search:
            self._connection.execute(
                f"INSERT INTO found (rowid, {_COLUMNS}) VALUES (?, {', '.join('?' * len(FIELDS))})",
                (number, *row.fields),
            )
        self._count(row, group, 1)
        for property, value in item.statements:
            if len(value) <= MAX_FACT:
                self._facts.append((self._property(property), self._value(value), number))
        if len(self._facts) > 500_000:
            self._write_facts()

    def remove(self, id: str) -> None:
        """Remove an item, if it is there."""
        found = self._connection.execute(
            f"SELECT number, grp, {_COLUMNS} FROM items WHERE id = ?", (id,)
        ).fetchone()
        if found is None:
            return
        number, group, *fields = found
        self._connection.execute(
            f"INSERT INTO found (found, rowid, {_COLUMNS}) VALUES "
            f"('delete', ?, {', '.join('?' * len(FIELDS))})",
            (number, *fields),
        )
        self._connection.execute("DELETE FROM items WHERE number = ?", (number,))
        self._connection.execute(
            "DELETE FROM facts WHERE (property, value, item) IN "
            "(SELECT property, value, item FROM facts WHERE item = ?)",
            (number,),
        )
        self._count(_Row.read(tuple(fields)), group, -1)

    def flush(self) -> None:
        """Write the counts."""
        self._write_facts()
        execute = self._connection.executemany
        execute(
            "INSERT OR IGNORE INTO groups (name, grp, items) VALUES (?, ?, 0)",
            list(self._groups.items()),
        )
        execute(
            "UPDATE groups SET items = items + ? WHERE grp = ?",
            [(count, group) for group, count in self._group_items.items()],
        )
        self._write_words()
        execute(
            "INSERT INTO uses VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "items = items + excluded.items, heads = heads + excluded.heads",
            sorted((word, group, *counts) for (word, group), counts in self._uses.items()),
        )
        self._connection.execute("DELETE FROM uses WHERE items <= 0 AND heads <= 0")
        before = read_known(self._connection, "lengths", [0, 0])
        write_known(
            self._connection,
            {"lengths": [old + new for old, new in zip(before, self._lengths, strict=True)]},
        )

    def _count(self, row: _Row, group: int, sign: int) -> None:
        for word in row.texts:
            self._texts[word] += sign
            self._uses[word, group][0] += sign
        for word in row.values:
            self._values[word] += sign
        for word in row.heads:
            self._uses[word, group][1] += sign
        self._group_items[group] += sign
        for place, length in enumerate(row.lengths):
            self._lengths[place] += sign * length

    def _write_words(self) -> None:
        changed = sorted({*self._texts, *self._values})
        existing: set[str] = set()
        for start in range(0, len(changed), _READ_ROWS):
            part = changed[start : start + _READ_ROWS]
            marks = ", ".join("?" * len(part))
            existing.update(
                word
                for (word,) in self._connection.execute(
                    f"SELECT word FROM words WHERE word IN ({marks})", part
                )
            )
        self._connection.executemany(
            'INSERT INTO words (word, texts, "values") VALUES (?, ?, ?) ON CONFLICT DO UPDATE '
            'SET texts = texts + excluded.texts, "values" = "values" + excluded."values"',
            [(word, self._texts[word], self._values[word]) for word in changed],
        )
        # A word that no item has any more stays, with a count of 0: it may come back.
        self._connection.executemany(
            "INSERT INTO spellings (word) VALUES (?)",
            [(spelled(word),) for word in changed if word not in existing and len(word) >= 3],
        )

    def _property(self, name: str) -> int:
        number = self._properties.get(name)
        if number is None:
            number = self._properties[name] = len(self._properties) + 1
            self._connection.execute("INSERT INTO properties VALUES (?, ?)", (number, name))
        return int(number)

    def _value(self, text: str) -> int:
        number = self._vocabulary.get(text)
        if number is None:
            row = self._connection.execute(
                "SELECT value FROM vocabulary WHERE text = ?", (text,)
            ).fetchone()
            if row is None:
                cursor = self._connection.execute(
                    "INSERT INTO vocabulary (text, folded) VALUES (?, ?)",
                    (text, text.casefold()),
                )
                number = cursor.lastrowid or 0
            else:
                number = int(row[0])
            self._vocabulary[text] = number
        return number

    def _write_facts(self) -> None:
        self._connection.executemany(
            "INSERT OR IGNORE INTO facts VALUES (?, ?, ?)", sorted(self._facts)
        )
        self._facts.clear()
