"""The embedded store: a Ladybug property graph, the projection of a journal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from kg.cypher_guard import guard
from kg.journal import Journal, changes_table, parts_of
from kg.lock import StoreLock
from kg.merge import Row, bare_items, graph_hash, merge_item, merge_statement
from kg.store import ITEM_SCHEMA, STATEMENT_SCHEMA, TRIPLE_SCHEMA, Counts, Pattern, PutReport, QueryResult, checked, statement_of
from kg.stores.ladybug_graph import BATCH_ROWS, PROPERTIES, LadybugGraph, wipe
from schema.errors import QueryTimeoutError, StoreError
from schema.terms import Item, Rank, Statement

TRIPLES_AT_ONCE = 1_000_000
ITEM = "i.id AS id, i.title AS title, i.category AS category, i.images AS images"
SELECT = "h.id AS id, i.id AS item, h.property AS property, v.text AS value, " + ", ".join(f"h.{n} AS {n}" for n in PROPERTIES[2:])


class LadybugStore:
    """A folder with ``graph.lbug`` (the graph), ``journal/`` (the truth) and ``lock``."""

    def __init__(self, folder: Path, *, create: bool = True, read_only: bool = False) -> None:
        self.folder, self.url = folder, f"ladybug:{folder}"
        if not folder.is_dir() and not create:
            raise StoreError(f"no graph at {folder}: run `catalograph ingest` first")
        folder.mkdir(parents=True, exist_ok=True)
        self.journal = Journal(folder / "journal")
        if read_only and (folder / "graph.lbug").exists() and self._open_shared():
            return
        # A graph that lags behind its journal is brought up to date first, for a reader too.
        self._lock = StoreLock(folder / "lock", shared=False)
        try:
            self._graph = LadybugGraph(self.folder)
            self._catch_up()
        except BaseException:
            self._lock.release()
            raise

    def _open_shared(self) -> bool:
        """Open beside other readers; False where the graph is torn or lags behind its journal."""
        self._lock = StoreLock(self.folder / "lock", shared=True)
        try:
            self._graph = LadybugGraph(self.folder, read_only=True)
            if self._graph.applied() == self.journal.version:
                return True
            self._graph.close()
        except RuntimeError:
            pass
        self._lock.release()
        return False

    def put(self, items: pa.Table | None, statements: pa.Table | None) -> PutReport:
        """Journal what changes, then bring the graph up to it."""
        facts = checked(statements, STATEMENT_SCHEMA, ("id", "item", "property", "value", "rank"))
        given = {row["id"]: row for row in checked(items, ITEM_SCHEMA, ("id",)).to_pylist()}
        rows = facts.to_pylist()
        names = list(dict.fromkeys([*given, *(row["item"] for row in rows)]))
        known_items, known_facts = self._known(names)
        fresh = [*given.values(), *bare_items(rows, known_items, given)]
        changed_items = [m for row in fresh if (m := merge_item(known_items.get(row["id"]), row)) is not None]
        changed_facts = [m for row in rows if (m := merge_statement(known_facts.get(row["id"]), row)) is not None]
        if changed_items or changed_facts:
            self._commit(changes_table(changed_items, changed_facts, []))
        return PutReport(
            sum(row["id"] not in known_items for row in changed_items), sum(row["id"] not in known_facts for row in changed_facts)
        )

    def retract(self, statement_ids: Sequence[str]) -> int:
        """Take statements out; how many were there."""
        wanted = list(dict.fromkeys(statement_ids))
        found = self._graph.rows("MATCH (i:Item)-[h:HAS]->(v:Value) WHERE list_contains($ids, h.id) RETURN h.id AS id", {"ids": wanted})
        if found:
            self._commit(changes_table([], [], [row["id"] for row in found]))
        return len(found)

    def item(self, id: str) -> tuple[Item, list[Statement]] | None:
        """An item with its statements, or None."""
        found = self._graph.rows(f"MATCH (i:Item {{id: $id}}) RETURN {ITEM}", {"id": id})
        if not found:
            return None
        facts = self._graph.rows(f"MATCH (i:Item {{id: $id}})-[h:HAS]->(v:Value) RETURN {SELECT}", {"id": id})
        row = found[0]
        statements = sorted((statement_of(fact) for fact in facts), key=lambda s: (s.property, s.value))
        return Item(row["id"], row["title"], row["category"], tuple(row["images"] or ())), statements

    def items(self) -> Iterator[pa.RecordBatch]:
        """All items, ordered by id."""
        text = f"MATCH (i:Item) RETURN {ITEM} ORDER BY i.id"
        yield from self._graph.table(text, {}, ITEM_SCHEMA).to_batches(max_chunksize=BATCH_ROWS)

    def scan(self, pattern: Pattern = Pattern()) -> Iterator[pa.RecordBatch]:  # noqa: B008 - immutable
        """Statements that match, ordered by id."""
        columns = {"item": "i.id", "property": "h.property", "value": "v.text"}
        params: dict[str, Any] = {name: value for name in columns if (value := getattr(pattern, name)) is not None}
        wheres = [f"{columns[name]} = ${name}" for name in params]
        if pattern.ranks is not None:
            wheres.append("list_contains($ranks, h.rank)")
            params["ranks"] = [str(rank) for rank in pattern.ranks]
        where = f"WHERE {' AND '.join(wheres)}" if wheres else ""
        text = f"MATCH (i:Item)-[h:HAS]->(v:Value) {where} RETURN {SELECT} ORDER BY h.id"
        yield from self._graph.table(text, params, STATEMENT_SCHEMA).to_batches(max_chunksize=BATCH_ROWS)

    def triples(self, ranks: Sequence[Rank]) -> Iterator[pa.RecordBatch]:
        """Statements of some ranks, a few properties at a time, since a result is held whole."""
        asked = {"ranks": [str(rank) for rank in ranks]}
        counted = "MATCH (:Item)-[h:HAS]->(:Value) WHERE list_contains($ranks, h.rank) RETURN h.property AS property, count(*) AS n"
        groups: list[list[str]] = []
        held = TRIPLES_AT_ONCE
        for row in self._graph.rows(f"{counted} ORDER BY property", asked):
            if held + row["n"] > TRIPLES_AT_ONCE:
                groups.append([])
                held = 0
            groups[-1].append(row["property"])
            held += row["n"]
        wanted = "list_contains($ranks, h.rank) AND list_contains($properties, h.property)"
        text = f"MATCH (i:Item)-[h:HAS]->(v:Value) WHERE {wanted} RETURN i.id AS item, h.property AS property, v.text AS value"
        for group in groups:
            yield from self._graph.table(text, {**asked, "properties": group}, TRIPLE_SCHEMA).to_batches(max_chunksize=BATCH_ROWS)

    def query(self, text: str, params: dict[str, Any] | None = None, timeout: float = 30.0) -> QueryResult:
        """A read-only Cypher query."""
        connection = self._graph.connect()
        try:
            connection.set_query_timeout(int(timeout * 1000))
            result: Any = connection.execute(guard(text), params or {})
            return QueryResult(result.get_column_names(), [list(row) for row in result.get_all()])
        except RuntimeError as error:
            reason = str(error).splitlines()[0][:200]
            if "interrupt" in reason.lower():
                raise QueryTimeoutError(f"the query ran past its limit of {timeout:g} s: narrow it") from None
            raise StoreError(f"the query failed ({reason}): correct it") from None
        finally:
            connection.close()

    def counts(self) -> Counts:
        """Sizes of the graph."""
        items = self._graph.rows("MATCH (i:Item) RETURN count(i) AS n", {})[0]["n"]
        text = "MATCH (i:Item)-[h:HAS]->(v:Value) RETURN count(h) AS s, count(DISTINCT h.property) AS p, count(DISTINCT v.text) AS v"
        row = self._graph.rows(text, {})[0]
        return Counts(items, row["s"], row["p"], row["v"])

    def content_hash(self) -> str:
        """A hash of the graph's content."""
        return graph_hash(self.items(), self.scan())

    def verify(self) -> list[str]:
        """What is wrong with journal or graph, a line a problem."""
        problems = self.journal.verify()
        if problems:
            return problems
        from kg.stores.memory import MemoryStore

        truth = MemoryStore()
        for _, changes in self.journal.read():
            items, facts, retracted = parts_of(changes)
            truth.put(items, facts)
            truth.retract(retracted)
        if truth.content_hash() != self.content_hash():
            return [f"the graph in {self.folder} differs from its journal: run `catalograph rebuild`"]
        return []

    def rebuild(self) -> Counts:
        """Make the graph anew from the journal."""
        self._graph.close()
        wipe(self.folder)
        self._graph = LadybugGraph(self.folder)
        self._catch_up()
        return self.counts()

    def close(self) -> None:
        """Release graph and lock."""
        self._graph.close()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _commit(self, changes: pa.Table) -> None:
        self._graph.apply(self.journal.append(changes), changes)

    def _catch_up(self) -> None:
        for version, changes in self.journal.read(self._graph.applied()):
            self._graph.apply(version, changes)

    def _known(self, names: list[str]) -> tuple[dict[str, Row], dict[str, Row]]:
        """Those of the named items that are there, and their statements, both by id."""
        if self._graph.is_empty():
            return {}, {}
        wanted = pa.table({"name": pa.array(names, pa.string())})
        text = "LOAD FROM $rows MATCH (i:Item {id: name})"
        items = self._graph.rows(f"{text} RETURN {ITEM}", {"rows": wanted})
        facts = self._graph.rows(f"{text} MATCH (i)-[h:HAS]->(v:Value) RETURN {SELECT}", {"rows": wanted})
        return {row["id"]: row for row in items}, {row["id"]: row for row in facts}
