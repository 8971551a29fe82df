"""What a catalogue says: its properties, their values, and the categories to which they apply.

It is inferred from the data, kept as TOML that a person can edit, and carried whole in every model folder.
"""

from __future__ import annotations

import hashlib
import tempfile
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa

from schema.errors import DataError, PropertyNotFoundError, SourceNotFoundError
from schema.files import write_atomically
from schema.literals import DATATYPES, infer_datatype
from schema.terms import CATEGORY_SEPARATOR, TRUSTED_RANKS

if TYPE_CHECKING:
    import duckdb

Rows: TypeAlias = pa.Table | Iterable[pa.RecordBatch]
MEMORY = "512MB"
THRESHOLD = 0.5
_MANY = 0.01  # share of a property's holders with several values from which on it counts as multi-valued


@dataclass(frozen=True)
class PropertySpec:
    """A property: datatype, unit, cardinality ("one" or "many"), vocabulary by frequency, and where it applies."""

    name: str
    datatype: str = "string"
    unit: str | None = None
    cardinality: str = "one"
    values: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    applies_to: dict[str, float] = field(default_factory=dict)
    coverage: float = 0.0
    """Share of all items that have the property."""

    def __post_init__(self) -> None:
        if self.datatype not in DATATYPES:
            raise DataError(
                f"property {self.name!r} has datatype {self.datatype!r}: use one of {', '.join(DATATYPES)}"
            )
        if self.cardinality not in ("one", "many"):
            raise DataError(
                f"property {self.name!r} has cardinality {self.cardinality!r}: use one or many"
            )


class Ontology:
    """Properties by name. ``threshold`` is the share from which on a property applies to a category."""

    def __init__(
        self,
        properties: Iterable[PropertySpec] = (),
        *,
        categories: Mapping[str, int] | None = None,
        threshold: float = THRESHOLD,
    ) -> None:
        self.properties = {
            spec.name: spec for spec in sorted(properties, key=lambda spec: spec.name)
        }
        self.categories = dict(sorted((categories or {}).items()))
        """Items of each category, those of its sub-categories included."""
        self.threshold = threshold

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ontology) and self.to_toml() == other.to_toml()

    __hash__ = None  # type: ignore[assignment]  # equal by content, which may be edited

    @classmethod
    def infer(cls, items: Rows, statements: Rows, *, threshold: float = THRESHOLD) -> Ontology:
        """The ontology that items (id, category) and statements (item, property, value[, rank]) show; predicted ones do not count."""
        facts = _gather(items, statements)
        total = max(facts.items, 1)
        specs = []
        for name, values in facts.values.items():
            texts = tuple(v for v, _ in values)
            counts = tuple(n for _, n in values)
            datatype, unit = infer_datatype(texts, counts)
            holders, several = facts.holders[name]
            shares = {c: round(n / facts.categories[c], 4) for c, n in facts.shares[name].items()}
            cardinality = "many" if several > _MANY * holders else "one"
            specs.append(
                PropertySpec(
                    name,
                    datatype,
                    unit,
                    cardinality,
                    texts,
                    counts,
                    shares,
                    min(1.0, round(holders / total, 4)),
                )
            )
        return cls(specs, categories=facts.categories, threshold=threshold)

    def __getitem__(self, name: str) -> PropertySpec:
        """The property of that name; PropertyNotFoundError where there is none."""
        try:
            return self.properties[name]
        except KeyError:
            known = ", ".join(list(self.properties)[:12]) or "none: ingest a source first"
            raise PropertyNotFoundError(
                f"no property {name!r} in the ontology: it has {known}"
            ) from None

    def values_of(self, property: str) -> tuple[str, ...]:
        """The property's vocabulary, most frequent first."""
        return self[property].values

    def share(self, property: str, category: str | None) -> float:
        """Share of the category's items that have the property; an unseen category takes that of its nearest known parent."""
        spec = self[property]
        parts = category.split(CATEGORY_SEPARATOR) if category else []
        for end in range(len(parts), 0, -1):
            prefix = CATEGORY_SEPARATOR.join(parts[:end])
            if prefix in spec.applies_to or prefix in self.categories:
                return spec.applies_to.get(prefix, 0.0)
        return spec.coverage

    def applies(self, property: str, category: str | None) -> bool:
        """Whether the property applies to items of the category (None: to items at large)."""
        return self.share(property, category) >= self.threshold

    def applicable(self, category: str | None) -> list[str]:
        """Names of the properties that apply to the category."""
        return [name for name in self.properties if self.applies(name, category)]

    def to_toml(self) -> str:
        """The ontology as TOML, the same text for the same content."""
        import tomli_w

        document: dict[str, Any] = {
            "version": 1,
            "threshold": self.threshold,
            "categories": self.categories,
            "property": {},
        }
        for spec in self.properties.values():
            entry: dict[str, Any] = {
                "datatype": spec.datatype,
                "cardinality": spec.cardinality,
                "coverage": spec.coverage,
            }
            if spec.unit:
                entry["unit"] = spec.unit
            entry["applies_to"] = dict(sorted(spec.applies_to.items()))
            entry["values"] = dict(zip(spec.values, spec.counts, strict=True))
            document["property"][spec.name] = entry
        return tomli_w.dumps(document)

    @classmethod
    def from_toml(cls, text: str, name: str = "the ontology") -> Ontology:
        """The ontology that a TOML text says; ``name`` is for the error message."""
        try:
            document = tomllib.loads(text)
            specs = [_spec(key, entry) for key, entry in document.get("property", {}).items()]
            categories = {
                str(key): int(count) for key, count in document.get("categories", {}).items()
            }
            return cls(
                specs, categories=categories, threshold=float(document.get("threshold", THRESHOLD))
            )
        except (tomllib.TOMLDecodeError, AttributeError, TypeError, ValueError) as error:
            raise DataError(
                f"{name} is not a readable ontology ({error}): mend the file, or remove it and run `catalograph schema infer`"
            ) from None

    def save(self, path: Path) -> None:
        """Write it to a file, all or nothing."""
        write_atomically(path, self.to_toml())

    @classmethod
    def load(cls, path: Path) -> Ontology:
        """Read it from a file."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            raise SourceNotFoundError(
                f"no ontology at {path}: `catalograph ingest` or `catalograph schema infer` makes one"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"{path} cannot be read ({error}): remove it and run `catalograph schema infer`"
            ) from None
        return cls.from_toml(text, str(path))

    def content_hash(self) -> str:
        """A sha256 of the whole content."""
        return hashlib.sha256(self.to_toml().encode()).hexdigest()


def _spec(name: str, entry: Mapping[str, Any]) -> PropertySpec:
    ordered = sorted(
        ((str(v), int(n)) for v, n in entry.get("values", {}).items()),
        key=lambda pair: (-pair[1], pair[0]),
    )
    return PropertySpec(
        name,
        datatype=entry.get("datatype", "string"),
        unit=entry.get("unit"),
        cardinality=entry.get("cardinality", "one"),
        values=tuple(v for v, _ in ordered),
        counts=tuple(n for _, n in ordered),
        applies_to={str(c): float(share) for c, share in entry.get("applies_to", {}).items()},
        coverage=float(entry.get("coverage", 0.0)),
    )


@dataclass
class _Facts:
    items: int
    values: dict[str, list[tuple[str, int]]]
    holders: dict[str, tuple[int, int]]
    categories: dict[str, int]
    shares: dict[str, dict[str, int]]


def _gather(items: Rows, statements: Rows) -> _Facts:
    """Count values, holders and categories in DuckDB, partly on disk: a catalogue has millions of statements."""
    import duckdb

    with (
        tempfile.TemporaryDirectory() as folder,
        duckdb.connect(config={"memory_limit": MEMORY, "temp_directory": folder}) as db,
    ):
        _fill(db, "given_items", items, ("id", "category"))
        _fill(db, "given", statements, ("item", "property", "value"))
        (count,) = db.execute("SELECT count(*) FROM given_items").fetchall()[0]
        facts = _Facts(count, {}, {}, {}, defaultdict(dict))
        db.execute("CREATE TABLE fact AS SELECT DISTINCT item, property, value FROM given")
        db.execute("DROP TABLE given")
        db.execute(
            "CREATE TABLE held AS SELECT item, property, count(*) AS n FROM fact GROUP BY ALL"
        )
        for name, value, count in db.execute(
            "SELECT property, value, count(*) AS n FROM fact GROUP BY ALL ORDER BY property, n DESC, value"
        ).fetchall():
            facts.values.setdefault(name, []).append((value, count))
        for name, holders, several in db.execute(
            "SELECT property, count(*), count(*) FILTER (n > 1) FROM held GROUP BY ALL"
        ).fetchall():
            facts.holders[name] = (holders, several)
        # Every item counts for its category and for all of that category's parents.
        db.execute(
            "CREATE TABLE leaf AS SELECT DISTINCT category FROM given_items WHERE category IS NOT NULL"
        )
        pairs = [
            (leaf, parent)
            for (leaf,) in db.execute("FROM leaf").fetchall()
            for parent in _prefixes(leaf)
        ]
        db.register(
            "prefix",
            pa.table(
                {"category": [a for a, _ in pairs], "parent": [b for _, b in pairs]}, schema=_PREFIX
            ),
        )
        for parent, count in db.execute(
            "SELECT parent, count(*) FROM given_items JOIN prefix USING (category) GROUP BY ALL"
        ).fetchall():
            facts.categories[parent] = count
        shared = "SELECT property, parent, count(*) FROM held JOIN given_items i ON i.id = item JOIN prefix USING (category) GROUP BY ALL"
        for name, parent, count in db.execute(shared).fetchall():
            facts.shares[name][parent] = count
    return facts


def _fill(db: duckdb.DuckDBPyConnection, name: str, rows: Rows, columns: tuple[str, ...]) -> None:
    """Batch by batch: DuckDB would read a stream from threads of its own, which not every source bears."""
    db.execute(f"CREATE TABLE {name} ({', '.join(f'{column} VARCHAR' for column in columns)})")
    for batch in rows.to_batches() if isinstance(rows, pa.Table) else rows:
        db.register("batch", pa.table(batch))
        trusted = (
            f"WHERE rank IN ({', '.join(repr(str(rank)) for rank in TRUSTED_RANKS)})"
            if "rank" in batch.schema.names
            else ""
        )
        db.execute(f"INSERT INTO {name} SELECT {', '.join(columns)} FROM batch {trusted}")


_PREFIX = pa.schema([("category", pa.string()), ("parent", pa.string())])


def _prefixes(category: str) -> list[str]:
    parts = category.split(CATEGORY_SEPARATOR)
    return [CATEGORY_SEPARATOR.join(parts[:end]) for end in range(1, len(parts) + 1)]
