"""Commands that fill a catalogue: init, sample, ingest, queries, rejects, schema."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.base import READABLE, Command, Context, Group, pass_context, table
from commands.progress import bar, counter
from schema.errors import RejectsError

if TYPE_CHECKING:
    from kg.ingest.pipeline import IngestReport
    from schema.ontology import Ontology, PropertySpec


@click.command(cls=Command)
@pass_context
def init(context: Context) -> None:
    """Make a catalogue home.

    `ingest` makes one too where there is none; a home that is there stays as it is.
    With --store the home keeps its graph there from now on.

    \b
    Example:
      catalograph --home shoes init
      catalograph --home hats --store neo4j://localhost/hats init
    """
    from kg.stores.open import open_store

    if context.store is not None:
        # Before a home is made: a store that cannot be used leaves nothing behind.
        open_store(context.store).close()
    home = context.home(create=True)
    if context.store is not None:
        home.keep_store(context.store)
    context.emit(
        {"home": str(home.path), "store": home.store_url},
        f"catalogue home: {home.path}",
        f"graph: {home.store_url}",
    )


@click.command(cls=Command)
@click.argument("out", type=READABLE)
@click.option(
    "--items",
    metavar="N",
    type=click.IntRange(1),
    default=1200,
    show_default=True,
    help="Items to draw.",
)
@click.option(
    "--seed",
    metavar="S",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="The same seed draws the same catalogue.",
)
@pass_context
def sample(context: Context, out: Path, items: int, seed: int) -> None:
    """Draw a synthetic catalogue to try things with.

    OUT gets items.csv, images/, queries.csv and truth.csv, which says what was hidden or spoilt.

    \b
    Example:
      catalograph sample shop --items 1200
    """
    from kg.sample import write_sample

    with bar("drawing") as done:
        report = write_sample(out, items, seed, done)
    figures = f"{report['items']:,} items, {report['images']:,} images, {report['queries']:,} queries in {report['seconds']:.1f} s"
    context.emit(report, f"{out}: {figures}")


@click.command(cls=Command)
@click.argument("src", nargs=-1, required=True, type=READABLE)
@click.option(
    "--mapping",
    metavar="NAME|FILE",
    help="How columns become properties: a shipped mapping or a TOML file.  [default: guessed]",
)
@click.option(
    "--images",
    metavar="DIR",
    type=READABLE,
    help="Folder that images are taken from and must stay under.",
)
@click.option("--dry-run", is_flag=True, help="Read and check everything, write nothing.")
@click.option(
    "--max-rejects",
    metavar="LIMIT",
    default="1%",
    show_default=True,
    help="Rows that may be rejected: a share or a number.",
)
@pass_context
def ingest(
    context: Context,
    src: tuple[Path, ...],
    mapping: str | None,
    images: Path | None,
    dry_run: bool,
    max_rejects: str,
) -> None:
    """Load product tables into the catalogue's graph.

    CSV, TSV, JSONL, Parquet and RDF (.ttl, .nt, .nq, .trig, .jsonld). Loading a source again adds nothing; rows that cannot be used are put
    aside, see `rejects`.

    \b
    Example:
      catalograph ingest styles.csv --images images/
    """
    from kg.home import Home
    from kg.ingest.pipeline import ingest as load
    from kg.ingest.readers import open_source
    from schema.mapping import load_mapping

    # Before a home is made: a mistyped name leaves nothing behind.
    for path in src:
        open_source(path)
    if mapping is not None:
        load_mapping(mapping)
    home = Home(Path(context.home_path), context.store) if dry_run else context.home(create=True)
    with counter("reading") as say:
        options: dict[str, Any] = {
            "mapping": mapping,
            "images": images,
            "dry_run": dry_run,
            "max_rejects": max_rejects,
        }
        try:
            report = load(
                home, src, progress=lambda so_far: say(f"{so_far.read:,} rows"), **options
            )
        except RejectsError as error:
            _emit_ingest(context, error.report)
            raise
    _emit_ingest(context, report)


def _emit_ingest(context: Context, report: IngestReport) -> None:
    for line in (*report.reasons, *report.notes):
        context.note(line)
    context.emit(
        report.as_dict(),
        f"rows: {report.read:,} read, {report.stored:,} stored, {report.rejected:,} rejected, in {report.seconds:.1f} s",
        f"items: {report.items:,}, of them {report.new_items:,} new; with an image {report.images:,}",
        f"statements: {report.statements:,}, of them {report.new_statements:,} new",
    )


@click.command(cls=Command)
@click.argument("src", type=READABLE)
@pass_context
def queries(context: Context, src: Path) -> None:
    """Load a query log.

    A table of query, item, impressions, clicks and purchases; the last three may be absent. Training matches queries to items with it.

    \b
    Example:
      catalograph queries shop/queries.csv
    """
    from kg.ingest.queries import ingest_queries

    report = ingest_queries(context.home(), src)
    context.emit(
        report.as_dict(),
        f"rows: {report.read:,} read, {report.stored:,} stored, {report.rejected:,} rejected",
    )


@click.command(cls=Command)
@click.option("--run", metavar="ID", help="One ingest's rows alone.")
@pass_context
def rejects(context: Context, run: str | None) -> None:
    """List the rows that an ingest put aside.

    Each with its file, line and reason, as of the last time that the file was ingested.

    \b
    Example:
      catalograph rejects
    """
    with context.home().ledger() as ledger:
        rows = ledger.rejects(run)
    document = [
        {"file": row.file, "line": row.line, "reason": row.reason, "text": row.text, "run": row.run}
        for row in rows
    ]
    if not rows:
        context.emit(document, "no rejected rows")
        return
    listed = ((row.file, row.line, row.reason, row.text) for row in rows)
    context.emit(document, table(("file", "line", "reason", "text"), listed, right=("line",)))


@click.group(cls=Group, invoke_without_command=True)
@click.pass_context
def schema(ctx: click.Context) -> None:
    """Show the ontology, or infer it from the data.

    It lies in the home as ontology.toml and may be edited: what you change stands when it is inferred again.

    \b
    Example:
      catalograph schema show colour
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(show_ontology, property_name=None)


@schema.command(name="show")
@click.argument("property_name", metavar="[PROPERTY]", required=False)
@pass_context
def show_ontology(context: Context, property_name: str | None) -> None:
    """Show the properties, or one with its values.

    \b
    Example:
      catalograph schema show colour
    """
    ontology = context.home().ontology()
    if property_name is None:
        _emit_ontology(context, ontology)
        return
    spec = ontology[property_name]
    document = {
        **_described(spec),
        "values": dict(zip(spec.values, spec.counts, strict=True)),
        "applies_to": spec.applies_to,
    }
    kind = f"{spec.datatype} in {spec.unit}" if spec.unit else spec.datatype
    lines: list[object] = [
        f"{spec.name}: {kind}, {spec.cardinality} an item, on {spec.coverage:.0%} of all items"
    ]
    lines.append(
        table(("value", "items"), zip(spec.values, spec.counts, strict=True), right=("items",))
    )
    if spec.applies_to:
        shares = ((name, f"{share:.0%}") for name, share in spec.applies_to.items())
        lines += ["", table(("category", "of its items"), shares, right=("of its items",))]
    context.emit(document, *lines)


@schema.command(name="infer")
@pass_context
def infer_ontology(context: Context) -> None:
    """Infer the ontology from the graph; edits by hand stand.

    \b
    Example:
      catalograph schema infer
    """
    from kg.ingest.pipeline import refresh_ontology

    home = context.home()
    with home.store(read_only=True) as store:
        ontology = refresh_ontology(home, store)
    _emit_ontology(context, ontology)


def _emit_ontology(context: Context, ontology: Ontology) -> None:
    specs = list(ontology.properties.values())
    rows = (
        (
            s.name,
            s.datatype,
            s.unit,
            s.cardinality,
            len(s.values),
            f"{s.coverage:.0%}",
            ", ".join(s.values[:4]),
        )
        for s in specs
    )
    columns = ("property", "datatype", "unit", "holds", "values", "coverage", "most frequent")
    document = {
        "threshold": ontology.threshold,
        "categories": ontology.categories,
        "properties": [_described(spec) for spec in specs],
    }
    context.emit(document, table(columns, rows, right=("values", "coverage")))


def _described(spec: PropertySpec) -> dict[str, Any]:
    return {
        "property": spec.name,
        "datatype": spec.datatype,
        "unit": spec.unit,
        "cardinality": spec.cardinality,
        "values": len(spec.values),
        "coverage": spec.coverage,
    }
