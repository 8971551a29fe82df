"""The ledger: what was done to a catalogue, and its query log. SQLAlchemy; SQLite by default, PostgreSQL by URL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from schema.errors import DataError, StoreError
from schema.rejects import RejectedRow
from schema.terms import now

HEAD = "0001"
"""The newest migration; a test holds it to schema/migrations."""

FOLDER = Path(__file__).parent / "migrations"
_CHUNK = 5000
metadata = sa.MetaData()

ingest_runs = sa.Table(
    "ingest_runs",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("started", sa.String, nullable=False),
    sa.Column("status", sa.String, nullable=False),
    sa.Column("sources", sa.JSON, nullable=False),
    sa.Column("report", sa.JSON, nullable=False),
)
rejected_rows = sa.Table(
    "rejected_rows",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("run", sa.String, nullable=False, index=True),
    sa.Column("file", sa.String, nullable=False, index=True),
    sa.Column("line", sa.Integer, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("text", sa.String, nullable=False),
)
query_log = sa.Table(
    "query_log",
    metadata,
    sa.Column("query", sa.String, primary_key=True),
    sa.Column("item", sa.String, primary_key=True),
    sa.Column("impressions", sa.Integer, nullable=False),
    sa.Column("clicks", sa.Integer, nullable=False),
    sa.Column("purchases", sa.Integer, nullable=False),
)
training_runs = sa.Table(
    "training_runs",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("time", sa.String, nullable=False),
    sa.Column("name", sa.String, index=True),
    sa.Column("report", sa.JSON, nullable=False),
)
completions = sa.Table(
    "completions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("time", sa.String, nullable=False),
    sa.Column("model", sa.String, nullable=False),
    sa.Column("item", sa.String, nullable=False, index=True),
    sa.Column("property", sa.String, nullable=False),
    sa.Column("value", sa.String),
    sa.Column("probability", sa.Float),
    sa.Column("decision", sa.String, nullable=False),
    sa.Column("evidence", sa.JSON),
    sa.Column("reviewer", sa.String),
    sa.Column("reviewed", sa.String),
)


@dataclass(frozen=True)
class QueryRow:
    """How often an item was shown, clicked and bought for a query."""

    query: str
    item: str
    impressions: int = 0
    clicks: int = 0
    purchases: int = 0


class Ledger:
    """The ledger at a URL, made or brought to the newest layout when it is opened."""

    def __init__(self, url: str) -> None:
        self.url = url
        # A path may hold a "?" or a "%", which a URL could not.
        path = url.removeprefix("sqlite:///")
        parsed = sa.make_url(url) if path == url else sa.URL.create("sqlite", database=path)
        if (
            parsed.get_backend_name() == "sqlite"
            and parsed.database
            and parsed.database != ":memory:"
        ):
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        self._engine = sa.create_engine(parsed, json_serializer=_dumps, **_engine_options(parsed))
        if parsed.get_backend_name() == "sqlite":
            sa.event.listen(self._engine, "connect", _on_connect)
            sa.event.listen(self._engine, "begin", _on_begin)
        self._bring_up()

    def close(self) -> None:
        """Let the database go."""
        self._engine.dispose()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Ingest

    def record_ingest(
        self, run: str, status: str, sources: Sequence[str], report: Mapping[str, Any]
    ) -> None:
        """Record an ingest run, or what has become of it."""
        row = {
            "id": run,
            "started": now(),
            "status": status,
            "sources": list(sources),
            "report": dict(report),
        }
        with self._writing() as connection:
            if (
                connection.execute(
                    sa.update(ingest_runs)
                    .where(ingest_runs.c.id == run)
                    .values(status=status, report=dict(report))
                ).rowcount
                == 0
            ):
                connection.execute(sa.insert(ingest_runs), [row])

    def ingests(self) -> list[dict[str, Any]]:
        """All ingest runs, the oldest first."""
        return self._rows(sa.select(ingest_runs).order_by(ingest_runs.c.started, ingest_runs.c.id))

    def clear_rejects(self, file: str) -> None:
        """Forget a file's rejected rows: it is about to be read anew."""
        with self._writing() as connection:
            connection.execute(sa.delete(rejected_rows).where(rejected_rows.c.file == file))

    def add_rejects(self, run: str, rows: Iterable[RejectedRow]) -> None:
        """Put rows into quarantine."""
        self._insert(rejected_rows, ({**asdict(row), "run": run} for row in rows))

    def rejects(self, run: str | None = None) -> list[RejectedRow]:
        """The quarantine: what each file's last ingest rejected, or one run's part of it."""
        fields = (
            rejected_rows.c.file,
            rejected_rows.c.line,
            rejected_rows.c.reason,
            rejected_rows.c.text,
            rejected_rows.c.run,
        )
        wanted = sa.select(*fields).order_by(rejected_rows.c.id)
        return [
            RejectedRow(**row)
            for row in self._rows(
                wanted if run is None else wanted.where(rejected_rows.c.run == run)
            )
        ]

    # Query log

    def put_queries(self, rows: Iterable[QueryRow]) -> None:
        """Add to the query log; a (query, item) that is there takes the new counts."""
        with self._writing() as connection:
            insert = _upsert(connection)
            for chunk in _chunks(map(asdict, rows)):
                connection.execute(insert, chunk)

    def query_log(self) -> list[QueryRow]:
        """The whole query log, by query and item."""
        return [
            QueryRow(**row)
            for row in self._rows(
                sa.select(query_log).order_by(query_log.c.query, query_log.c.item)
            )
        ]

    # Training and completion

    def record_training(self, report: Mapping[str, Any]) -> None:
        """Record a training run: any JSON-able report; its "name" or "model" names it."""
        name = report.get("name") or report.get("model")
        self._insert(
            training_runs,
            [{"time": now(), "name": None if name is None else str(name), "report": dict(report)}],
        )

    def trainings(self) -> list[dict[str, Any]]:
        """Reports of all training runs, the oldest first, each with its time."""
        return [
            {"time": row["time"], **row["report"]}
            for row in self._rows(sa.select(training_runs).order_by(training_runs.c.id))
        ]

    def record_completions(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Record completions: item, property, value, probability, decision, model, and evidence where there is some."""
        fields = [
            column.name for column in completions.columns if column.name not in ("id", "time")
        ]
        time = now()
        self._insert(
            completions,
            ({"time": time, **{name: row.get(name) for name in fields}} for row in rows),
        )

    def completions(self, decision: str | None = None) -> list[dict[str, Any]]:
        """All completions, or those of one decision, the oldest first."""
        wanted = sa.select(completions).order_by(completions.c.id)
        return self._rows(
            wanted if decision is None else wanted.where(completions.c.decision == decision)
        )

    # Plumbing

    def _bring_up(self) -> None:
        try:
            with self._engine.connect() as connection:
                found = _layout(connection)
        except sa.exc.SQLAlchemyError as error:
            raise StoreError(
                f"the ledger {self.url} cannot be opened ({_first(error)}): restore the file from a copy"
            ) from None
        if found is not None and found > HEAD:
            raise DataError(
                f"the ledger {self.url} has layout {found}, this Catalograph knows {HEAD}: upgrade Catalograph"
            )
        if found != HEAD:
            with self._writing() as connection:
                _migrate(connection)

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        try:
            with (
                self._engine.connect().execution_options(writes=True) as connection,
                connection.begin(),
            ):
                yield connection
        except sa.exc.SQLAlchemyError as error:
            mend = "check the file, its folder and free space"
            raise StoreError(
                f"the ledger {self.url} cannot be written ({_first(error)}): {mend}"
            ) from None

    def _insert(self, table: sa.Table, rows: Iterable[Mapping[str, Any]]) -> None:
        with self._writing() as connection:
            for chunk in _chunks(rows):
                connection.execute(sa.insert(table), chunk)

    def _rows(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        try:
            with self._engine.connect() as connection:
                return [dict(row) for row in connection.execute(query).mappings()]
        except sa.exc.SQLAlchemyError as error:
            raise StoreError(
                f"the ledger {self.url} cannot be read ({_first(error)}): restore the file from a copy"
            ) from None


def _layout(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def _migrate(connection: Connection) -> None:
    """Run the migrations that are missing. Alembic is loaded for that alone: most openings find none."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _engine_options(url: sa.URL) -> dict[str, Any]:
    if url.get_backend_name() != "sqlite":
        return {}
    return {
        "connect_args": {"timeout": 30},
        "poolclass": sa.StaticPool if url.database in (None, "", ":memory:") else sa.NullPool,
    }


def _on_connect(connection: Any, _: object) -> None:
    connection.isolation_level = (
        None  # SQLAlchemy begins transactions itself: the driver commits around DDL
    )
    connection.execute("PRAGMA foreign_keys = ON")


def _on_begin(connection: Connection) -> None:
    # A writer takes the lock at once: two that both read first would refuse each other.
    connection.exec_driver_sql(
        "BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN"
    )


def _upsert(connection: Connection) -> Any:
    from sqlalchemy.dialects import postgresql, sqlite

    insert = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(query_log)
    counts = {name: insert.excluded[name] for name in ("impressions", "clicks", "purchases")}
    return insert.on_conflict_do_update(index_elements=["query", "item"], set_=counts)


def _chunks(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    chunk: list[dict[str, Any]] = []
    for row in rows:
        chunk.append(dict(row))
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _dumps(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, default=str)


def _first(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]
