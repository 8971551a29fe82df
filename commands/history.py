"""Commands on what sources said and when: history, undo, delete, sources."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from commands.base import Command, Context, pass_context, shortened, table
from commands.progress import bar
from schema.errors import ItemNotFoundError

if TYPE_CHECKING:
    from kg.stores.history import ItemChange
    from kg.stores.protocol import GraphStore
    from serving.review.undoing import Undone

SHOWN_TEXT = 60
"""Characters of a value to print in a table."""


@click.command(cls=Command)
@click.argument("item", required=False)
@pass_context
def history(context: Context, item: str | None) -> None:
    """Show what changed an item, when, and from which source.

    ITEM is the id of the item; without it, all runs that changed the catalogue are listed. The name
    of a run is what `undo`, `show --as-of` and `export --as-of` take.

    \b
    Example:
      catalograph history 15970
      catalograph history
    """
    from kg.stores.history import history_of

    with context.home().store(read_only=True) as store:
        if item is None:
            _emit_runs(context, store)
            return
        changes = history_of(store, item)
        if not changes:
            if store.item(item) is None:
                raise ItemNotFoundError(
                    f"no item {item!r}, now or before: ids are those of the source's id column"
                )
            context.note(
                f"the history of {store.url} begins after {item} was stored, by an earlier version"
            )
    rows = ([_cell(value) for value in _change_row(each).values()] for each in changes)
    columns = list(_change_row(changes[0])) if changes else []
    lines = [table(columns, rows)] if changes else []
    context.emit([asdict(each) for each in changes], *lines)


def _emit_runs(context: Context, store: GraphStore) -> None:
    from kg.stores.history import runs_of

    runs = runs_of(store)
    columns = ("run", "time", "items put", "statements put", "taken back", "items removed")
    rows = (
        (
            each.run or "(unknown)",
            each.at,
            f"{each.items:,}",
            f"{each.statements:,}",
            f"{each.retracted:,}",
            f"{each.deleted:,}",
        )
        for each in runs
    )
    text = table(columns, rows, right=columns[2:]) if runs else "no run so far"
    context.emit([asdict(each) for each in runs], text)


def _change_row(change: ItemChange) -> dict[str, Any]:
    """Return the columns of the table of an item's changes."""
    what = change.what if change.language is None else f"{change.what}@{change.language}"
    return {
        "time": change.at,
        "run": change.run,
        "source": change.source,
        "what": what,
        "before": change.before,
        "after": change.after,
        "rank": change.rank,
    }


def _cell(value: Any) -> str:
    text = " | ".join(value) if isinstance(value, list) else str(value or "")
    return shortened(text, SHOWN_TEXT)


@click.command(cls=Command)
@click.argument("run")
@pass_context
def undo(context: Context, run: str) -> None:
    """Take back what a run changed.

    RUN is the name of a run of `ingest`, `complete`, `review`, `delete` or `undo` itself;
    `catalograph history` lists those that changed the graph. What no later run has touched is as it
    was before the run, and so are proposals. Where a later one has, what this run wrote for its own
    source is taken back, and the rest stays.

    \b
    Example:
      catalograph undo 20260131T020000Z-1f2e3d
    """
    from serving.review.undoing import undo_run

    home = context.home()
    with bar("undoing", "parts") as progress:
        done = undo_run(home, run, progress)
    context.emit(done.as_dict(), *_lines(done))


@click.command(cls=Command)
@click.argument("items", nargs=-1, required=True, metavar="ITEM...")
@pass_context
def delete(context: Context, items: tuple[str, ...]) -> None:
    """Delete items with all that is stated of them.

    ITEM is the id of an item. They stay in the history, and `catalograph undo` brings them back. An
    item that a source still has is there again after the next ingest of it.

    \b
    Example:
      catalograph delete 15970 39386
    """
    from serving.review.undoing import delete_items

    done = delete_items(context.home(), items)
    context.emit(done.as_dict(), *_lines(done))


def _lines(done: Undone) -> list[str]:
    graph = done.graph
    return [
        f"items: {graph.new_items:,} brought back, {graph.changed_items:,} changed, "
        f"{graph.deleted:,} deleted",
        f"statements: {graph.new_statements:,} brought back, {graph.changed_statements:,} "
        f"changed, {graph.retracted:,} taken back",
        *([f"proposals: {done.proposals:,} as before"] if done.proposals else []),
        f"`catalograph undo {done.run}` takes this back",
    ]


def _names(text: str) -> list[str]:
    """Return the names in a list with commas; one that has a comma itself is quoted as in CSV."""
    rows = csv.reader(io.StringIO(text), skipinitialspace=True)
    return [name.strip() for row in rows for name in row if name.strip()]


@click.command(cls=Command)
@click.option(
    "--order",
    metavar="NAME,...",
    help="From now on the first of these sources counts before the others where they differ in a "
    "title, description, category, image or a value of which there is one; sources that are not "
    "named come after, the newest first. An empty text makes the newest count again. A name with "
    "a comma is written in double quotes: --order '\"prices, may.csv\",erp'.",
)
@pass_context
def sources(context: Context, order: str | None) -> None:
    """List the sources of the catalogue, and declare which of them counts first.

    What each source says is kept; the order decides what is shown, trained on and exported.

    \b
    Example:
      catalograph sources
      catalograph sources --order erp,supplier.csv
    """
    from kg.source_order import set_source_order, source_counts

    home = context.home()
    if order is not None:
        names = _names(order)
        count = set_source_order(home, names)
        context.note(f"{count:,} items and statements show another source now")
    with home.store(read_only=True) as store:
        found = source_counts(store)
    declared = list(home.source_order())
    columns = ("source", "items", "statements", "newest", "order")
    rows = (
        (
            each.source,
            f"{each.items:,}",
            f"{each.statements:,}",
            each.newest,
            declared.index(each.source) + 1 if each.source in declared else "",
        )
        for each in found
    )
    document = {"order": declared, "sources": [asdict(each) for each in found]}
    context.emit(document, table(columns, rows, right=columns[1:3]) if found else "no source")
