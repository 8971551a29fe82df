"""The ledger: a database of a catalogue's runs, rejected rows, query log, proposals and tokens.

It uses SQLAlchemy Core: SQLite by default, PostgreSQL by URL. The tables are created and upgraded
by the Alembic migrations in ``schema/migrations``.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from schema.errors import DataError, StoreDamagedError, StoreError, UsageError
from schema.files import WorkingFolder, sync
from schema.ledger_checksums import CHECKSUM, ChecksummedTable, checksums_table, to_json
from schema.ledger_urls import engine_url
from schema.proposal_tables import define_tables
from schema.rejects import RejectedRow
from schema.terms import now

HEAD_REVISION = "0005"
"""The newest migration; a test compares it with the files in ``schema/migrations``."""

SERVER_GO_ON = "check the server, or restore the database from a backup"
"""How to go on with a ledger on a server."""
GO_ON = "restore the file from a copy, or rescue what is left with `catalograph salvage NEW_HOME`"
"""How to go on when the ledger is damaged: the end of such messages."""
MIGRATIONS = Path(__file__).parent / "migrations"
ROWS_PER_INSERT = 5000
LOCK_TIMEOUT = 30
"""Seconds that a writer waits for another one."""
CONNECT_TIMEOUT = 10
"""Seconds that a server may take to answer at first."""
_WRITERS_LOCK = int.from_bytes(b"ledger")
"""The number of the advisory lock that a writer holds on a server."""

UNDOES = "undoes"
"""In the report of an undo: the run that it takes back."""
SOURCE_NAMES = "source_names"
"""In the report of an ingest run: the names of the sources that it read."""

metadata = sa.MetaData()

ingest_runs = sa.Table(
    "ingest_runs",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("started", sa.String, nullable=False),
    sa.Column("status", sa.String, nullable=False),
    sa.Column("sources", sa.JSON, nullable=False),
    sa.Column("report", sa.JSON, nullable=False),
    sa.Column(CHECKSUM, sa.String),
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
    sa.Column(CHECKSUM, sa.String),
)
query_log = sa.Table(
    "query_log",
    metadata,
    sa.Column("query", sa.String, primary_key=True),
    sa.Column("item", sa.String, primary_key=True),
    sa.Column("impressions", sa.Integer, nullable=False),
    sa.Column("clicks", sa.Integer, nullable=False),
    sa.Column("purchases", sa.Integer, nullable=False),
    sa.Column(CHECKSUM, sa.String),
)
training_runs = sa.Table(
    "training_runs",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("time", sa.String, nullable=False),
    sa.Column("name", sa.String, index=True),
    sa.Column("report", sa.JSON, nullable=False),
    sa.Column(CHECKSUM, sa.String),
)
tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("digest", sa.String, primary_key=True),
    sa.Column("name", sa.String, nullable=False, index=True),
    sa.Column("scopes", sa.JSON, nullable=False),
    sa.Column("created", sa.String, nullable=False),
    sa.Column("expires", sa.String),
    sa.Column("revoked", sa.String),
    sa.Column(CHECKSUM, sa.String),
)
proposals, proposal_runs, proposal_changes, proposal_stores = define_tables(metadata)
TABLES = (
    ingest_runs,
    rejected_rows,
    query_log,
    training_runs,
    proposals,
    proposal_runs,
    proposal_changes,
    proposal_stores,
    tokens,
)
"""The tables of a catalogue's records, whose rows have checksums."""
table_checksums = checksums_table(metadata)


@dataclass(frozen=True)
class QueryRow:
    """How often an item was shown, clicked and bought for a query."""

    query: str
    item: str
    impressions: int = 0
    clicks: int = 0
    purchases: int = 0


UNDONE = "undone"
"""The status of an ingest run that was taken back."""


class Ledger:
    """The ledger at a database URL; opening it creates the tables, or upgrades an older schema."""

    def __init__(self, url: str) -> None:
        self.url = url
        parsed = engine_url(url)
        is_sqlite = parsed.get_backend_name() == "sqlite"
        self.is_file = is_sqlite
        self._go_on = GO_ON if is_sqlite else SERVER_GO_ON
        if is_sqlite and parsed.database and parsed.database != ":memory:":
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
            if not Path(parsed.database).exists():
                self._create_file(Path(parsed.database))

        self._engine = sa.create_engine(parsed, json_serializer=to_json, **_engine_options(parsed))
        if is_sqlite:
            sa.event.listen(self._engine, "connect", _on_connect)
        sa.event.listen(self._engine, "begin", _on_begin if is_sqlite else _on_begin_elsewhere)
        try:
            self._upgrade()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Release the database."""
        self._engine.dispose()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Ingest

    def record_ingest(
        self, run: str, status: str, sources: Sequence[str], report: Mapping[str, Any]
    ) -> None:
        """Record an ingest run, or update the status and the report of one already recorded."""
        row = {
            "id": run,
            "started": now(),
            "status": status,
            "sources": list(sources),
            "report": dict(report),
        }
        with self.writing() as connection:
            runs = ChecksummedTable(connection, ingest_runs, table_checksums)
            if not runs.update(run, {"status": status, "report": dict(report)}):
                runs.insert([row])

    def ingested_sources(self) -> list[str]:
        """Return the paths of all sources of all ingest runs, each once, oldest first."""
        rows = self.rows(sa.select(ingest_runs.c.sources).order_by(ingest_runs.c.started))
        return list(dict.fromkeys(str(path) for row in rows for path in row["sources"]))

    def ingest_statuses(self) -> dict[str, str]:
        """Return the status of each ingest run: running, done, or undone."""
        rows = self.rows(sa.select(ingest_runs.c.id, ingest_runs.c.status))
        return {str(row["id"]): str(row["status"]) for row in rows}

    def begin_undo(self, run: str, by: str) -> None:
        """Record that a run is being undone by another one, before anything is taken back."""
        self.record_ingest(by, "running", [], {UNDOES: run})

    def finish_undo(self, made: Collection[str]) -> None:
        """Bring up to date which ingest runs are undone; ``made`` are those that made changes.

        An undo that is undone itself brings back what it had taken back. One that was cut off
        before its first change has taken back nothing.
        """
        rows = self.rows(sa.select(ingest_runs))
        by_run: dict[str, list[str]] = {}
        for row in rows:
            if UNDOES in row["report"]:
                by_run.setdefault(str(row["report"][UNDOES]), []).append(str(row["id"]))

        def is_undone(run: str) -> bool:
            return any(by in made and not is_undone(by) for by in by_run.get(run, ()))

        with self.writing() as connection:
            runs = ChecksummedTable(connection, ingest_runs, table_checksums)
            for run in by_run:
                runs.update(run, {"status": UNDONE if is_undone(run) else "done"})

    def undone_runs(self) -> set[str]:
        """Return the runs that are undone."""
        query = sa.select(ingest_runs.c.id).where(ingest_runs.c.status == UNDONE)
        return {str(row["id"]) for row in self.rows(query)}

    def newer_ingest(self, source: str, location: str, run: str) -> str | None:
        """Return the last run that has read a source after another run did.

        Runs of earlier versions noted no names of sources: they are told by the path of the file.
        None if there is none, or if that other run is not recorded.
        """
        rows = self.rows(sa.select(ingest_runs).order_by(ingest_runs.c.started.desc()))
        started = next((row["started"] for row in rows if row["id"] == run), None)
        for row in rows:
            names = row["report"].get(SOURCE_NAMES)
            has_read = location in row["sources"] if names is None else source in names
            is_newer = started is not None and row["started"] > started
            if is_newer and has_read and row["status"] != UNDONE:
                return str(row["id"])
        return None

    def clear_rejects(self, file: str) -> None:
        """Delete a file's rejected rows; call it before the file is ingested again."""
        with self.writing() as connection:
            rejects = ChecksummedTable(connection, rejected_rows, table_checksums)
            rejects.delete(rejected_rows.c.file == file)

    def add_rejects(self, run: str, rows: Iterable[RejectedRow]) -> None:
        """Record the rows that a run rejected."""
        self._insert(rejected_rows, ({**asdict(row), "run": run} for row in rows))

    def rejects(self, run: str | None = None) -> list[RejectedRow]:
        """Return the rows that each file's last ingest rejected; with ``run``, only that run's."""
        query = sa.select(
            rejected_rows.c.file,
            rejected_rows.c.line,
            rejected_rows.c.reason,
            rejected_rows.c.text,
            rejected_rows.c.run,
        ).order_by(rejected_rows.c.id)
        if run is not None:
            query = query.where(rejected_rows.c.run == run)
        return [RejectedRow(**row) for row in self.rows(query)]

    # Query log

    def put_queries(self, rows: Iterable[QueryRow]) -> None:
        """Add rows to the query log; new counts replace those of the same query and item."""
        with self.writing() as connection:
            log = ChecksummedTable(connection, query_log, table_checksums)
            for chunk in _chunks(map(asdict, rows)):
                log.upsert(chunk)

    def query_log(self) -> list[QueryRow]:
        """Return the whole query log, ordered by query and item."""
        columns = [column for column in query_log.columns if column.name != CHECKSUM]
        query = sa.select(*columns).order_by(query_log.c.query, query_log.c.item)
        return [QueryRow(**row) for row in self.rows(query)]

    # Training

    def record_training(self, report: Mapping[str, Any]) -> None:
        """Record a training run; its report can be any JSON-serializable mapping.

        The report's "name", or else its "model", becomes the name of the run.
        """
        name = report.get("name") or report.get("model")
        row = {
            "time": now(),
            "name": None if name is None else str(name),
            "report": dict(report),
        }
        self._insert(training_runs, [row])

    def trainings(self) -> list[dict[str, Any]]:
        """Return the reports of all training runs, oldest first, each with its time."""
        rows = self.rows(sa.select(training_runs).order_by(training_runs.c.id))
        return [{"time": row["time"], **row["report"]} for row in rows]

    # Salvage

    def has_rows(self) -> bool:
        """Return whether any table has a row."""
        return any(self.rows(sa.select(*table.primary_key).limit(1)) for table in TABLES)

    def copy_to(self, target: Ledger) -> int:
        """Copy all rows of all tables into an empty ledger, in one go; return how many.

        Raises UsageError if the target has rows.
        """
        count = 0
        with target.writing() as connection:
            if target.has_rows():
                raise UsageError(
                    f"the ledger {target.url} holds the records of a catalogue: name a database of "
                    "its own for each home"
                )
            for table in TABLES:
                columns = [column for column in table.columns if column.name != CHECKSUM]
                checksummed = ChecksummedTable(connection, table, table_checksums)
                for chunk in _chunks(self.rows(sa.select(*columns))):
                    checksummed.insert(chunk)
                    count += len(chunk)
        return count

    def restore(self, table: sa.Table, rows: Iterable[Mapping[str, Any]]) -> None:
        """Put rows that were rescued from another ledger, each with its key, into a table."""
        with self.writing() as connection:
            checksummed = ChecksummedTable(connection, table, table_checksums)
            for chunk in _chunks(rows):
                checksummed.upsert(chunk)

    # Database access

    def _create_file(self, path: Path) -> None:
        """Make the file of a new ledger under another name, so that it is never half there."""
        try:
            with WorkingFolder(path.parent) as folder:
                new = folder.path / path.name
                new.touch()
                try:
                    Ledger(f"sqlite:///{new}").close()
                except StoreError as error:
                    raise StoreError(str(error).replace(str(new), str(path))) from None
                # Not renamed: another process may have been faster. A disk that knows no links
                # gets the file in the other way.
                with suppress(OSError):
                    os.link(new, path)
                    sync(path.parent)
        except OSError as error:
            raise StoreError(
                f"the ledger {self.url} cannot be written ({error.strerror}): "
                "check the file, its folder and free space"
            ) from None

    def _upgrade(self) -> None:
        """Run the missing migrations; refuse a ledger that a newer Catalograph has written."""
        try:
            with self._engine.connect() as connection:
                revision = _current_revision(connection)
        except sa.exc.SQLAlchemyError as error:
            raise StoreError(
                f"the ledger {self.url} cannot be opened ({_first_line(error)}): {self._go_on}"
            ) from None
        # Revisions are zero-padded numbers, so they are in order as texts, too.
        if revision is not None and revision > HEAD_REVISION:
            raise DataError(
                f"the ledger {self.url} has schema version {revision}, this Catalograph supports "
                f"up to {HEAD_REVISION}: upgrade Catalograph"
            )
        if revision != HEAD_REVISION:
            from alembic.util.exc import CommandError

            with self.writing() as connection:
                try:
                    _run_migrations(connection)
                except CommandError as error:
                    # It does not know the revision that the ledger says it has.
                    raise StoreDamagedError(
                        f"the ledger {self.url} is damaged ({error}): {self._go_on}"
                    ) from None

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a transaction that writes; raises StoreError if the database cannot be written."""
        try:
            with (
                self._engine.connect().execution_options(writes=True) as connection,
                connection.begin(),
            ):
                yield connection
        except sa.exc.SQLAlchemyError as error:
            raise StoreError(
                f"the ledger {self.url} cannot be written ({_first_line(error)}): "
                + ("check the file, its folder and free space" if self.is_file else SERVER_GO_ON)
            ) from None

    def _insert(self, table: sa.Table, rows: Iterable[Mapping[str, Any]]) -> None:
        with self.writing() as connection:
            checksummed = ChecksummedTable(connection, table, table_checksums)
            for chunk in _chunks(rows):
                checksummed.insert(chunk)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction that sees the ledger as it is now, whoever writes meanwhile."""
        options = {} if self.is_file else {"isolation_level": "REPEATABLE READ"}
        with self._engine.connect().execution_options(**options) as connection:
            yield connection

    def rows(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        """Return the rows that a query selects; raises StoreError if they cannot be read."""
        try:
            with self._engine.connect() as connection:
                return [dict(row) for row in connection.execute(query).mappings()]
        except sa.exc.SQLAlchemyError as error:
            raise StoreError(
                f"the ledger {self.url} cannot be read ({_first_line(error)}): {self._go_on}"
            ) from None
        except (ValueError, TypeError) as error:
            # A text that is no JSON, where a column holds JSON.
            raise StoreDamagedError(
                f"the ledger {self.url} is damaged ({str(error).splitlines()[0]}): {self._go_on}"
            ) from None


def _current_revision(connection: Connection) -> str | None:
    """Return the revision that Alembic has stored; None for an empty database."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    revision = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    return None if revision is None else str(revision)


def downgrade(url: str, revision: str) -> None:
    """Take a ledger back to an earlier revision, for a version of Catalograph that knows no newer.

    What later revisions have added is lost. Raises DataError if there is no such revision.
    """
    from alembic.util.exc import CommandError

    with Ledger(url) as ledger, ledger.writing() as connection:
        try:
            _run_migrations(connection, revision)
        except CommandError:
            raise DataError(
                f"there is no revision {revision!r} of the ledger: the first is 0001, the newest "
                f"{HEAD_REVISION}"
            ) from None


def _run_migrations(connection: Connection, downgrade_to: str | None = None) -> None:
    """Upgrade the database to the newest migration, or downgrade it to an earlier one."""
    # Alembic is slow to import, and most ledgers that are opened need no migration.
    from alembic import command
    from alembic.config import Config

    config = Config()
    # Alembic's configuration is a ConfigParser, to which a percent sign means interpolation.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    # Alembic warns if this is not set.
    config.set_main_option("path_separator", "os")
    # The migrations join this connection's transaction, which in SQLite holds the write lock, so
    # that no two processes migrate at once.
    config.attributes["connection"] = connection
    if downgrade_to is None:
        command.upgrade(config, "head")
    else:
        command.downgrade(config, downgrade_to)


def _engine_options(url: sa.URL) -> dict[str, Any]:
    if url.get_backend_name() != "sqlite":
        # A pooled connection may have died with its server.
        return {"pool_pre_ping": True, "connect_args": {"connect_timeout": CONNECT_TIMEOUT}}
    # A database in memory exists only as long as its one connection; a file is opened each time.
    in_memory = url.database in (None, "", ":memory:")
    return {
        "connect_args": {"timeout": LOCK_TIMEOUT},
        "poolclass": sa.StaticPool if in_memory else sa.NullPool,
    }


def _on_connect(connection: Any, _: object) -> None:
    # Left to itself, the sqlite3 driver commits around DDL statements, so a migration would not be
    # one transaction. With None it leaves BEGIN and COMMIT to SQLAlchemy (see _on_begin).
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")


def _on_begin(connection: Connection) -> None:
    # A writer takes the write lock from the start: if two transactions read first and then want to
    # write, SQLite refuses one of them at once instead of letting it wait.
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _on_begin_elsewhere(connection: Connection) -> None:
    # One writer at a time, as with SQLite: numbers of rows and sums of tables are read, then
    # written. The lock ends with the transaction.
    if connection.get_execution_options().get("writes"):
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}s'")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS_LOCK})")


def _chunks(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    chunk: list[dict[str, Any]] = []
    for row in rows:
        chunk.append(dict(row))
        if len(chunk) == ROWS_PER_INSERT:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _first_line(error: sa.exc.SQLAlchemyError) -> str:
    """Return the first line of the database driver's own message, if it has one."""
    driver_error = error.orig if isinstance(error, sa.exc.StatementError) else None
    return str(driver_error or error).splitlines()[0]
