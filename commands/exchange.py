"""Commands that bring a graph elsewhere, or ask it in RDF's language: copy, export, sparql."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from commands.base import READABLE, Command, Context, pass_context, table
from commands.progress import bar
from schema.errors import UsageError
from schema.terms import Rank

RANKS = [str(rank) for rank in Rank]
FORMATS = ("ttl", "nt", "nq", "jsonld", "csv", "parquet", "graphml", "pykeen", "neo4j-import")


@click.command(cls=Command)
@click.option(
    "--from", "source", metavar="URL", help="The store to copy.  [default: the home's own]"
)
@click.option(
    "--to",
    "target",
    metavar="URL",
    required=True,
    help="The store to copy into: ladybug:PATH, rdf:PATH, neo4j://HOST[/DATABASE].",
)
@pass_context
def copy(context: Context, source: str | None, target: str) -> None:
    """Copy a graph from one store into another, and compare both.

    A copy that is cut off goes on where it was when the command is given again.

    \b
    Example:
      catalograph copy --to neo4j://localhost
      catalograph copy --from neo4j://localhost --to rdf:graph-in-rdf
    """
    from kg.stores.copying import copy_store
    from kg.stores.open import open_store

    home = context.home()
    origin = source or home.store_url
    if origin == target:
        raise UsageError(f"{target} is the store to copy from as well: name another with --to")
    with (
        open_store(origin, create=False, read_only=True) as first,
        open_store(target) as second,
        bar("copying", "rows") as done,
    ):
        report = copy_store(
            first, second, home.cache, lambda what, count, total: done(count, total)
        )
    figures = f"{report.items:,} items, {report.statements:,} statements in {report.seconds:.1f} s"
    context.emit(
        asdict(report),
        f"{target}: {figures}; content {report.content_hash[:16]}, the same on both sides",
    )


@click.command(cls=Command)
@click.option("--format", "kind", type=click.Choice(FORMATS), required=True, help="What to write.")
@click.option(
    "--rank",
    "ranks",
    type=click.Choice(RANKS),
    multiple=True,
    help="Statements of this rank alone; may be repeated.",
)
@click.argument("out", type=READABLE)
@pass_context
def export(context: Context, kind: str, ranks: tuple[str, ...], out: Path) -> None:
    """Write the graph as files of other tools.

    OUT is a file; for csv, parquet, pykeen and neo4j-import a folder. RDF (ttl, nt, nq, jsonld) loses nothing: `ingest` reads it back.

    \b
    Example:
      catalograph export --format jsonld products.jsonld
      catalograph export --format neo4j-import for-neo4j && for-neo4j/import.sh
    """
    from kg.export.formats import Format
    from kg.export.formats import export as write

    with context.home().store(read_only=True) as store, bar("writing", "rows") as done:
        report = write(store, Format(kind), out, [Rank(each) for each in ranks], done)
    figures = f"{report.items:,} items, {report.statements:,} statements in {report.seconds:.1f} s"
    context.emit(asdict(report), f"{', '.join(report.files)}: {figures}")


@click.command(cls=Command)
@click.argument("text")
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=float,
    default=30.0,
    show_default=True,
    help="Give up after this long.",
)
@pass_context
def sparql(context: Context, text: str, timeout: float) -> None:
    """Ask an RDF store a read-only SPARQL query.

    The prefixes schema, prov, rdf, rdfs, xsd, cg, item, property and rank are known.

    \b
    Example:
      catalograph --store rdf:graph-in-rdf sparql 'SELECT ?name { ?item schema:name ?name } LIMIT 5'
    """
    with context.home().store(read_only=True) as store:
        ask = getattr(store, "sparql", None)
        if ask is None:
            raise UsageError(
                f"the store {store.url} answers no SPARQL: ask it with `cypher`, or `copy --to rdf:PATH`"
            )
        result = ask(text, timeout)
    context.emit(
        {"columns": result.columns, "rows": result.rows}, table(result.columns, result.rows)
    )
