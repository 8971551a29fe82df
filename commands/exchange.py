"""Commands that exchange graphs with other tools: copy, export, sparql."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.base import PATH, Command, Context, as_of_option, pass_context, table
from commands.limits import limit_options
from commands.progress import bar
from kg.export.formats import EXPORT_FORMATS, WIDE_CSV
from kg.export.source_options import SourceExport
from schema.errors import UsageError
from schema.terms import Rank

if TYPE_CHECKING:
    from kg.stores.query_limits import QueryLimits

RANKS = [str(rank) for rank in Rank]


@click.command(cls=Command)
@click.option(
    "--from",
    "source",
    metavar="URL",
    help="Store to copy from.  [default: the home's own]",
)
@click.option(
    "--to",
    "target",
    metavar="URL",
    required=True,
    help="Store to copy to, such as ladybug:PATH, rdf:PATH or neo4j://HOST[/DATABASE].",
)
@pass_context
def copy(context: Context, source: str | None, target: str) -> None:
    """Copy the graph from one store to another and compare the two.

    If a copy is interrupted, run the command again: it continues where it stopped. The command
    fails if the stores differ at the end; nothing is ever deleted from the target.

    \b
    Example:
      catalograph copy --to neo4j://localhost
      catalograph copy --from neo4j://localhost --to rdf:graph-in-rdf
    """
    from kg.stores.copying import copy_store
    from kg.stores.open import open_store

    home = context.home()
    source = source or home.store_url
    if source == target:
        raise UsageError(f"{target} is also the store to copy from: name another one with --to")
    with (
        open_store(source, create=False, read_only=True) as source_store,
        open_store(target) as target_store,
        bar("copying", "rows") as progress,
    ):
        report = copy_store(source_store, target_store, home.cache, progress)
    context.emit(
        asdict(report),
        f"{target}: {report.items:,} items, {report.statements:,} statements in "
        f"{report.seconds:.1f} s; both stores have the content hash {report.content_hash[:16]}",
    )


@click.command(cls=Command)
@click.option(
    "--format",
    "format_name",
    type=click.Choice([*(name for name in EXPORT_FORMATS if name != WIDE_CSV), "source"]),
    required=True,
    help="Format to write.",
)
@click.option(
    "--wide",
    is_flag=True,
    help="With csv: one file, with a row for each item and a column for each property.",
)
@click.option(
    "--source",
    metavar="NAME",
    help="With source: the source to write.  [default: the only one that the home keeps]",
)
@click.option(
    "--template",
    type=PATH,
    help="With source: the file to fill in place of what was last read of the source.",
)
@click.option(
    "--mapping",
    metavar="NAME|FILE",
    help="How to read the template.  [default: guessed, as by ingest]",
)
@click.option(
    "--predicted",
    is_flag=True,
    help="With source: fill in predictions, too, that nobody has reviewed.",
)
@click.option(
    "--rank",
    "ranks",
    type=click.Choice(RANKS),
    multiple=True,
    help="Write only statements of this rank; may be repeated.  [default: all ranks; for pykeen "
    "and tables of items, asserted and accepted]",
)
@click.option(
    "--formulas",
    type=click.Choice(["text", "keep"]),
    default="text",
    show_default=True,
    help="What to do in tables with texts that a spreadsheet would run as formulas, such as =1+1: "
    "text, put an apostrophe before them, which ingest takes off again; keep, leave them.",
)
@click.option(
    "--all-sources",
    is_flag=True,
    help="With tables of items and pykeen: where sources differ, write what each of them states, "
    "and not only what the catalogue shows.",
)
@as_of_option
@click.option("--raw", is_flag=True, help="The same as --formulas keep.")
@click.argument("out", type=PATH)
@pass_context
def export(
    context: Context,
    format_name: str,
    wide: bool,
    source: str | None,
    template: Path | None,
    mapping: str | None,
    predicted: bool,
    ranks: tuple[str, ...],
    formulas: str,
    all_sources: bool,
    raw: bool,
    moment: str | None,
    out: Path,
) -> None:
    """Write the graph to files for other tools.

    OUT is a file, or a folder for csv, parquet, pykeen and neo4j-import. The RDF formats (ttl, nt,
    nq, jsonld) lose nothing, so `ingest` can restore the graph from them.

    With source, OUT is what was last read of a source, in its own columns, order and dialect, with
    accepted values in its empty cells; all else is as it was, byte for byte. OUT is compressed if
    it ends in .gz or .zst.

    \b
    Example:
      catalograph export --format jsonld products.jsonld
      catalograph export --format csv --wide products.csv
      catalograph export --format source --source items.csv items-completed.csv
      catalograph export --format neo4j-import for-neo4j && for-neo4j/import.sh
    """
    from kg.export.separators import Separators
    from kg.export.write import export as write

    raw = raw or formulas == "keep"
    if format_name == "source":
        refused = {
            "--wide": wide,
            "--rank": ranks,
            "--as-of": moment,
            "--all-sources": all_sources,
        }
        if wrong := [option for option, value in refused.items() if value]:
            raise UsageError(f"{wrong[0]} does not go with --format source: leave it out")
        _export_source(context, out, SourceExport(source, template, mapping, predicted, raw))
        return
    given = {
        "--source": source,
        "--template": template,
        "--mapping": mapping,
        "--predicted": predicted,
    }
    if wrong := [option for option, value in given.items() if value]:
        raise UsageError(f"{wrong[0]} goes with --format source only: leave it out")
    if wide:
        if format_name != "csv":
            raise UsageError(f"--wide goes with --format csv only, and not with {format_name}")
        format_name = WIDE_CSV
    home = context.home()
    separators = Separators.of_home(home.sources)
    with ExitStack() as stack:
        store = stack.enter_context(home.store(read_only=True))
        if moment is not None:
            from kg.stores.history import as_of

            reading = stack.enter_context(bar("reading the history", "versions"))
            store = stack.enter_context(as_of(store, moment, reading))
        progress = stack.enter_context(bar("writing", "rows"))
        report = write(
            store,
            format_name,
            out,
            [Rank(rank) for rank in ranks],
            progress,
            keep_formulas=raw,
            separators=separators,
            ontology=home.ontology_or_none(),
            all_sources=all_sources,
        )
    for note in report.notes:
        context.note(note)
    _note_defused(context, report.defused)
    context.emit(
        asdict(report),
        f"{', '.join(report.files)}: {report.items:,} items, {report.statements:,} statements in "
        f"{report.seconds:.1f} s",
    )


def _export_source(context: Context, out: Path, options: SourceExport) -> None:
    from kg.export.in_place.export import export_source

    report = export_source(context.home(), out, options)
    for line in report.filled.lines():
        context.note(line)
    _note_defused(context, report.filled.defused)
    filled = report.filled.filled
    cells = ", ".join(f"{name} {count:,}" for name, count in filled.most_common())
    context.emit(
        report.as_dict(),
        f"{', '.join(report.files)}: {report.source} with {filled.total():,} values filled in"
        f"{f' ({cells})' if cells else ''} in {report.seconds:.1f} s",
    )


def _note_defused(context: Context, count: int) -> None:
    if count:
        context.note(
            f"{count:,} texts that a spreadsheet would run as formulas have an apostrophe "
            "before them, which `ingest` takes off: --raw leaves them as they are"
        )


@click.command(cls=Command)
@click.argument("text")
@limit_options
@pass_context
def sparql(context: Context, text: str, timeout: float, limits: QueryLimits) -> None:
    """Run a read-only SPARQL query on an RDF store.

    TEXT is the query. The prefixes schema, prov, rdf, rdfs, xsd, cg, item, property and rank are
    predefined.

    \b
    Example:
      catalograph --store rdf:graph-in-rdf sparql 'SELECT ?name { ?item schema:name ?name } LIMIT 5'
    """
    from kg.stores.protocol import SparqlQueryable

    with context.home().store(read_only=True) as store:
        if not isinstance(store, SparqlQueryable):
            raise UsageError(
                f"the store {store.url} does not answer SPARQL: use `cypher`, or copy the graph "
                "into an RDF store with `copy --to rdf:PATH`"
            )
        result = store.sparql(text, timeout, limits)
    context.emit(
        {"columns": result.columns, "rows": result.rows},
        table(result.columns, result.rows),
    )
