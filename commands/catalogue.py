"""Commands that fill a catalogue: init, sample, ingest, queries, rejects, schema."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.base import (
    MAX_SEED,
    PATH,
    Command,
    Context,
    Group,
    pass_context,
    shortened,
    table,
)
from commands.engine import Engine, check_workers, engine_options
from commands.progress import bar, counter
from schema.errors import RejectsError

if TYPE_CHECKING:
    from rich.table import Table

    from kg.home import Home
    from kg.ingest.engine import IngestEngine
    from kg.ingest.pipeline import IngestReport
    from kg.ingest.preview import Preview
    from kg.ingest.updates import PropertyChanges
    from schema.ontology import Ontology, PropertySpec
    from schema.ontology_changes import OntologyDiff

SHOWN_VALUES = 4
"""Values of each property to print in the list of properties."""


@click.command(cls=Command)
@click.option(
    "--images",
    metavar="DIR",
    type=PATH,
    multiple=True,
    help="Folder that images may be read from, besides those given to `ingest`. May be repeated.",
)
@click.option(
    "--ledger",
    metavar="URL",
    envvar="CATALOGRAPH_LEDGER",
    help="PostgreSQL database to keep the ledger in from now on, such as "
    "postgresql://catalograph@localhost/catalograph.  [default: $CATALOGRAPH_LEDGER, or the home's "
    "own, at first a file in it]",
)
@click.option(
    "--journal",
    metavar="URL",
    envvar="CATALOGRAPH_JOURNAL",
    help="Folder of an object store to keep the journal in from now on, such as "
    "s3://bucket/shop.  [default: $CATALOGRAPH_JOURNAL, or the home's own, at first a folder in "
    "it]",
)
@pass_context
def init(
    context: Context, images: tuple[Path, ...], ledger: str | None, journal: str | None
) -> None:
    """Create a catalogue home.

    A home is the folder that holds a catalogue: its graph, ledger, ontology and models. `ingest`
    also creates one if there is none. An existing home is left unchanged; if you have edited its
    home.toml by hand, its checksum is brought up to date.

    With --store the home keeps its graph in that store from now on, and the other commands use it
    without the option.

    With --ledger the records (runs, rejected rows, query log, proposals, tokens) are in that
    database from now on; those so far are copied there.

    With --journal the journal is in that folder of an object store from now on, and the graph in
    the home follows it. What the home has of it is sent there. If another catalogue's home has done
    so before, a new home follows that journal, and both write to it. Credentials and endpoint come
    from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT_URL.

    With --images the images in that folder may be read from now on. `ingest` does the same for the
    images that it finds; it is needed for images that came into the graph by another way, such as
    `copy`.

    \b
    Example:
      catalograph --home shoes init
      catalograph --home hats --store neo4j://localhost/hats init
      catalograph --home hats init --images /photos/hats
      catalograph --home shoes-here init --journal s3://shop/shoes
    """
    from kg.home_journal import check_journal, journal_place, set_journal
    from kg.stores.open import open_store

    if context.store is not None:
        # Open the store before creating the home, so that an unusable one leaves nothing behind.
        open_store(context.store).close()
    if journal is not None:
        check_journal(journal)
    home = context.home(create=True)
    if context.store is not None:
        home.set_default_store(context.store)
    home.allow_images(images)
    if journal is not None:
        with bar("sending the journal", "files") as progress:
            shared = set_journal(home, journal, progress)
        if shared.sent:
            context.note(f"{shared.sent:,} versions of the journal were sent there and read back")
        if shared.fetched:
            context.note(f"{shared.fetched:,} versions were fetched from there")
    copied = home.set_ledger(ledger) if ledger else 0
    if copied:
        context.note(f"{copied:,} rows of the ledger so far were copied; {home.ledger_path} stays")
    home.settings.accept_edits()
    place = journal_place(home)
    context.emit(
        {
            "home": str(home.path),
            "store": home.store_url,
            "ledger": home.ledger_url,
            "journal": place,
        },
        f"catalogue home: {home.path}",
        f"graph: {home.store_url}",
        f"ledger: {home.ledger_url}",
        *([f"journal: {place}"] if place is not None else []),
    )


@click.command(cls=Command)
@click.argument("out", type=PATH)
@click.option(
    "--items",
    metavar="N",
    type=click.IntRange(1, 100_000_000),
    default=1200,
    show_default=True,
    help="Number of items to generate.",
)
@click.option(
    "--seed",
    metavar="S",
    type=click.IntRange(0, MAX_SEED),
    default=0,
    show_default=True,
    help="Random seed; the same seed gives the same catalogue.",
)
@pass_context
def sample(context: Context, out: Path, items: int, seed: int) -> None:
    """Generate a synthetic catalogue to experiment with.

    Writes items.csv, images/, queries.csv, pairs.csv and truth.csv into the folder OUT. pairs.csv
    lists pairs of items, labelled 1 if two sellers offer the same product; truth.csv lists the
    values that were hidden or corrupted in items.csv.

    \b
    Example:
      catalograph sample shop --items 1200
    """
    from kg.sample import write_sample

    with bar("generating") as progress:
        report = write_sample(out, items, seed, progress)
    context.emit(
        report,
        f"{out}: {report['items']:,} items, {report['images']:,} images, "
        f"{report['queries']:,} queries, {report['pairs']:,} pairs in {report['seconds']:.1f} s",
    )


@click.command(cls=Command)
@click.argument("src", nargs=-1, required=True, type=PATH)
@click.option(
    "--mapping",
    metavar="NAME|FILE",
    help="The columns' roles (id, title, property, ...): the name of a built-in mapping, or a TOML "
    "file.  [default: guessed from each source]",
)
@click.option(
    "--images",
    metavar="DIR",
    type=PATH,
    help="Folder of the images: paths in the source are relative to it and must not lead out of "
    "it.  [default: the source's folder]",
)
@click.option(
    "--source",
    metavar="NAME",
    help="Name of the source, whose earlier word is replaced.  [default: each file's name]",
)
@click.option(
    "--sync",
    is_flag=True,
    help="Retire items that the source had before and that are gone from it.",
)
@click.option(
    "--max-retired",
    metavar="LIMIT",
    default="20%",
    show_default=True,
    help="Number of a source's items, or share of them, that --sync may retire; if there are more, "
    "it retires none and the exit code is 1.",
)
@click.option(
    "--reread",
    is_flag=True,
    help="Read all rows, also those that are as they were in the source's last ingest.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Show how each column is read, the first items, and what would change; write nothing.",
)
@click.option(
    "--write-mapping",
    metavar="FILE",
    type=PATH,
    help="Save the mapping of SRC to a TOML file to edit and pass to --mapping; store nothing.",
)
@click.option(
    "--max-rejects",
    metavar="LIMIT",
    default="1%",
    show_default=True,
    help="Number of rows, or share of them such as 1%, that may be rejected; if there are more, "
    "the exit code is 1.",
)
@engine_options("With --engine ray: how many processors help to read.  [default: the cluster's]")
@pass_context
def ingest(
    context: Context,
    src: tuple[Path, ...],
    mapping: str | None,
    images: Path | None,
    source: str | None,
    sync: bool,
    max_retired: str,
    reread: bool,
    dry_run: bool,
    write_mapping: Path | None,
    max_rejects: str,
    engine: str,
    workers: int | None,
) -> None:
    """Load product data into the catalogue.

    SRC is a file, a folder or zip archive with such files, or - for standard input: CSV, TSV, a
    workbook (.xlsx, .xls, .ods), JSON, JSONL, XML, Parquet, Arrow, RDF (.ttl, .nt, .nq, .trig,
    .jsonld) or a web page (.html). Each may be compressed (.gz, .zst, .bz2, .xz).

    What a row says replaces what the same source said of its item before: what it no longer says
    is taken back, and stays in the history (`catalograph history`). What other sources say stays.
    Items that are no longer in the source stay, too, unless you give --sync. `catalograph undo`
    takes a whole run back.

    Rows that cannot be used are rejected; `catalograph rejects` lists them with the reason.

    \b
    Example:
      catalograph ingest styles.csv --dry-run
      catalograph ingest styles.csv --images images/
      catalograph ingest feed-monday.csv --source feed --sync
    """
    from kg.home import Home
    from kg.ingest.pipeline import UpdateOptions
    from kg.ingest.pipeline import ingest as load
    from kg.ingest.source import open_sources
    from schema.mapping import load_mapping

    # Check the names before creating the home: a mistyped one leaves nothing behind.
    check_workers(engine, workers)
    chosen = load_mapping(mapping) if mapping is not None else None
    for path in src:
        open_sources(path, chosen)
    # A dry run creates nothing, and so not even the home.
    is_dry = dry_run or write_mapping is not None
    home = Home(Path(context.home_path), context.store) if is_dry else context.home(create=True)

    with _engine(engine, workers) as reading, counter("reading") as show:
        try:
            report = load(
                home,
                src,
                mapping=mapping,
                images=images,
                update=UpdateOptions(source, sync, max_retired, reread),
                dry_run=dry_run,
                write_mapping=write_mapping,
                max_rejects=max_rejects,
                progress=lambda report: show(f"{report.read:,} rows"),
                engine=reading,
            )
        except RejectsError as error:
            # The good rows are stored all the same, so the report is printed before the error.
            _emit_ingest(context, error.report)
            raise
    if not is_dry:
        _expire_proposals(context, home, report.run)
    _emit_ingest(context, report)


@contextmanager
def _engine(name: str, workers: int | None) -> Iterator[IngestEngine]:
    """Yield the engine of a name."""
    from kg.ingest.engine import LocalEngine

    if name == Engine.LOCAL:
        yield LocalEngine()
        return
    from kg.ingest.ray_engine import ray_engine

    with ray_engine(workers) as engine:
        yield engine


def _expire_proposals(context: Context, home: Home, run: str) -> None:
    """Let the proposals expire whose cells the sources state by now, as a part of the run."""
    from schema.ledger_proposals import ProposalRecords
    from serving.review.session import open_review
    from serving.review.store_of_proposals import other_store

    with home.ledger() as ledger:
        records = ProposalRecords(ledger)
        if not records.has_open() and not records.pending():
            return
        with home.store(read_only=True) as store:
            if other_store(home, store, records) is not None:
                return  # They are about that store, in which nothing has changed.
    with open_review(home) as review:
        count = review.expire(run)
    if count:
        context.note(f"{count:,} proposals have expired: sources state their cells by now")


def _emit_ingest(context: Context, report: IngestReport) -> None:
    for line in (*report.reasons, *report.notes):
        context.note(line)
    context.emit(
        report.as_dict(),
        *(line for preview in report.previews for line in _preview_lines(preview)),
        *_change_lines(report),
        f"rows: {report.read:,} read, {report.stored:,} stored, {report.rejected:,} rejected, "
        f"in {report.seconds:.1f} s",
        *_known_lines(report),
        f"items: {report.items:,} ({report.new_items:,} new, {report.images:,} with an image)",
        f"statements: {report.statements:,} ({report.new_statements:,} new)",
    )


def _known_lines(report: IngestReport) -> Iterator[str]:
    """Yield how many rows were not read again, if any."""
    if report.known_rows:
        yield (
            f"of these: {report.known_rows:,} as in the last ingest of their source, passed over "
            "(--reread reads them again)"
        )


def _preview_lines(preview: Preview) -> Iterator[object]:
    """Yield how the columns of a source are read, its first items, and what would change."""
    columns = ("column", "read as", "datatype", "filled", "example", "why")
    rows = (
        (
            each["column"],
            each["role"] if each["property"] is None else _property_words(each),
            each["datatype"] or "",
            f"{each['filled']:.0%}",
            shortened(each["example"] or "", 40),
            each["why"],
        )
        for each in preview.columns
    )
    if preview.columns:
        yield table(columns, rows, right=("filled",))
    for item in preview.items:
        yield f"\n{item['id']}: {item['title'] or '(no title)'}"
        if item["category"]:
            yield f"  category: {item['category']}"
        if item["description"]:
            yield f"  description: {shortened(item['description'], 120)}"
        for image in item["images"]:
            yield f"  image: {image}"
        for name, values in item["properties"].items():
            mark = " (inherited)" if name in item["inherited"] else ""
            yield f"  {name}: {shortened(' | '.join(values), 120)}{mark}"
    yield ""


def _change_lines(report: IngestReport) -> Iterator[object]:
    """Yield what an ingest changed, or of a dry run would change."""
    changes = report.changes
    if changes is None:
        return
    if report.properties:
        columns = ("property", "new", "changed", "taken back", "example")
        rows = (
            (name, each.new, each.changed, each.retracted, _example(each))
            for name, each in sorted(report.properties.items())
        )
        yield table(columns, rows, right=columns[1:4])
    parts = [
        f"{changes.new_items:,} new",
        f"{changes.changed_items:,} changed",
        f"{report.unchanged_items:,} unchanged",
        f"{changes.deleted:,} retired",
    ]
    would = "would be " if report.previews else ""
    yield (
        f"changes: items {would}{', '.join(parts)}; statements {would}{changes.new_statements:,} "
        f"new, {changes.retracted:,} taken back"
    )


def _example(changes: PropertyChanges) -> str:
    if not changes.examples:
        return ""
    first = changes.examples[0]
    before, after = (
        "nothing" if first[name] is None else shortened(str(first[name]), 30)
        for name in ("before", "after")
    )
    return f"{first['item']}: {before} → {after}"


def _property_words(column: dict[str, Any]) -> str:
    """Return how a property column is read, with the property's name if it differs."""
    role: str = column["role"]
    if column["property"] == column["column"]:
        return role
    return f"{role.replace('property', 'property ' + column['property'], 1)}"


@click.command(cls=Command)
@click.argument("src", type=PATH)
@pass_context
def queries(context: Context, src: Path) -> None:
    """Load a query log.

    SRC is a table with the columns query and item, and optionally impressions, clicks and
    purchases. `train` learns from it which items match a query.

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
@click.option(
    "--run",
    metavar="ID",
    help="List only the rows that this run of `ingest` or `queries` rejected.  "
    "[default: the last run on each file]",
)
@pass_context
def rejects(context: Context, run: str | None) -> None:
    """List the rows that an ingest rejected.

    Each row is listed with its file, its line, the reason and its first characters.

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
    cells = ((row.file, row.line, row.reason, row.text) for row in rows)
    context.emit(document, table(("file", "line", "reason", "text"), cells, right=("line",)))


@click.group(cls=Group, invoke_without_command=True)
@click.pass_context
def schema(ctx: click.Context) -> None:
    """Show the ontology, infer it from the data, or compare it with new data.

    The ontology describes every property: its datatype, unit, values, and the categories that it
    applies to. It is stored as ontology.toml in the home. You may edit the file; your changes are
    kept when the ontology is inferred again. Without a subcommand, `schema` does the same as
    `schema show`.

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
    """Show all properties, or one property with its values.

    PROPERTY is the name of a property; without it, all are listed.

    \b
    Example:
      catalograph schema show colour
    """
    ontology = context.home().ontology()
    if property_name is None:
        _emit_ontology(context, ontology)
    else:
        _emit_property(context, ontology[property_name])


@schema.command(name="infer")
@pass_context
def infer_ontology(context: Context) -> None:
    """Infer the ontology from the graph, keeping your edits.

    `ingest` does this, too; use `schema infer` if the graph has changed in another way.

    \b
    Example:
      catalograph schema infer
    """
    from kg.home_ontology import refresh_ontology

    home = context.home()
    with home.store(read_only=True) as store:
        ontology = refresh_ontology(home, store, accept=True)
    _emit_ontology(context, ontology)


@schema.command(name="synonyms")
@click.argument("property_name", metavar="[PROPERTY]", required=False)
@click.option(
    "--toml",
    "as_toml",
    is_flag=True,
    help="Print what merges all of them, to be pasted into ontology.toml.",
)
@pass_context
def list_synonyms(context: Context, property_name: str | None, as_toml: bool) -> None:
    """List values that may be one, such as typing errors.

    Compared are typing errors, plurals, hyphens, accents, the order of words and two spellings of a
    word. PROPERTY is the name of a property; without it, all whose values are names are looked
    through.
    Values that differ in case, space or in how a number is written are one already. Nothing is
    merged by this command: put what is right into ontology.toml, under the value to be shown, and
    run `schema infer`.

    \b
    Example:
      catalograph schema synonyms colour
    """
    from schema import near_duplicates as near

    offers = near.near_duplicates(context.home().ontology(), property_name)
    document = [
        {
            "property": each.property,
            "value": each.value.value,
            "items": each.value.items,
            "other": each.other.value,
            "other_items": each.other.items,
            "reason": each.reason,
        }
        for each in offers
    ]
    if as_toml:
        context.emit(document, near.as_toml(offers))
        return
    columns = ("property", "value", "items", "other", "its items", "reason")
    rows = (tuple(row.values()) for row in document)
    text = table(columns, rows, right=("items", "its items"))
    context.emit(document, text if offers else "no values that may be one")


@schema.command(name="diff")
@click.argument("src", nargs=-1, required=True, type=PATH)
@click.option(
    "--mapping",
    metavar="NAME|FILE",
    help="The columns' roles: the name of a built-in mapping, or a TOML file.  "
    "[default: guessed from each source]",
)
@pass_context
def diff_ontology(context: Context, src: tuple[Path, ...], mapping: str | None) -> None:
    """Show what new data would change in the ontology.

    SRC is whatever `ingest` takes; nothing is written. Listed are new properties and categories,
    properties whose datatype, unit, decimal mark, order of dates or cardinality would change, with
    the counts that make it so, new values of small vocabularies and of those that you have edited,
    and what the data contradict of your changes to ontology.toml.

    \b
    Example:
      catalograph schema diff delivery.csv --mapping shop.toml
    """
    from kg.ingest.ontology_diff import OntologyDiffer

    with OntologyDiffer(context.home()) as differ:
        with counter("reading") as show:
            differ.read(src, mapping, lambda report: show(f"{report.read:,} rows"))
        with bar("comparing", "statements") as progress:
            report = differ.compare(progress)
    for line in (*report.reasons, *report.notes):
        context.note(line)
    context.emit(
        report.as_dict(),
        f"rows: {report.read:,} read, {report.rejected:,} rejected, in {report.seconds:.1f} s",
        *_diff_lines(report.diff),
    )


def _diff_lines(diff: OntologyDiff) -> Iterator[object]:
    """Yield a table of each kind of change; what contradicts a person comes first."""
    if not any(diff.as_dict().values()):
        yield "the ontology stays as it is, but for its counts"
    if diff.contradictions:
        yield "\nthe data contradict what you have set in ontology.toml"
        yield _contradictions_table(diff)
    if diff.changes:
        yield "\nproperties that would change"
        yield _changes_table(diff)
    if diff.new_properties:
        yield "\nnew properties"
        yield _new_properties_table(diff)
    if diff.new_values:
        yield "\nnew values of small or edited vocabularies"
        rows = (
            (
                each.property,
                f"{each.known:,}",
                f"{each.count:,}",
                _cut([f"{value} ({items:,})" for value, items in each.values.items()]),
            )
            for each in diff.new_values
        )
        yield table(("property", "known", "new", "values (items)"), rows, right=("known", "new"))
    if diff.new_categories:
        yield "\nnew categories"
        items = ((name, f"{count:,}") for name, count in diff.new_categories.items())
        yield table(("category", "items"), items, right=("items",))


def _contradictions_table(diff: OntologyDiff) -> Table:
    columns = ("property", "what", "set to", "statements", "of", "examples")
    rows = (
        (
            each.property,
            each.field.replace("_", " "),
            each.value,
            f"{each.statements:,}",
            f"{each.of:,}",
            _cut(each.examples),
        )
        for each in diff.contradictions
    )
    return table(columns, rows, right=("statements", "of"))


def _changes_table(diff: OntologyDiff) -> Table:
    columns = ("property", "what", "now", "then", "in the catalogue", "in the data", "examples")
    rows = (
        (
            each.property,
            each.field.replace("_", " "),
            each.before,
            each.after,
            _counts(each.stored),
            _counts(each.new),
            _cut(each.examples),
        )
        for each in diff.changes
    )
    return table(columns, rows)


def _new_properties_table(diff: OntologyDiff) -> Table:
    columns = ("property", "datatype", "unit", "cardinality", "items", "values", "examples")
    rows = (
        (
            each.property,
            each.datatype,
            each.unit,
            each.cardinality,
            f"{each.items:,}",
            f"{each.values:,}",
            _cut(each.examples),
        )
        for each in diff.new_properties
    )
    return table(columns, rows, right=("items", "values"))


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in counts.items())


def _cut(texts: Sequence[str]) -> str:
    return shortened(" | ".join(texts), 120)


def _emit_ontology(context: Context, ontology: Ontology) -> None:
    specs = list(ontology.properties.values())
    document = {
        "threshold": ontology.threshold,
        "categories": ontology.categories,
        "properties": [_property_document(spec) for spec in specs],
    }
    columns = (
        "property",
        "datatype",
        "unit",
        "cardinality",
        "values",
        "coverage",
        "asked",
        "most frequent values",
    )
    rows = (
        (
            spec.name,
            spec.datatype,
            spec.unit,
            spec.cardinality,
            len(spec.values),
            f"{spec.coverage:.0%}",
            _asked(spec),
            ", ".join(spec.values[:SHOWN_VALUES]),
        )
        for spec in specs
    )
    context.emit(document, table(columns, rows, right=("values", "coverage")))


def _emit_property(context: Context, spec: PropertySpec) -> None:
    value_counts = list(zip(spec.values, spec.counts, strict=True))
    document = {
        **_property_document(spec),
        "values": dict(value_counts),
        "spellings": {value: list(others) for value, others in spec.spellings.items()},
        "synonyms": {value: list(others) for value, others in spec.synonyms.items()},
        "applies_to": spec.applies_to,
    }
    datatype = f"{spec.datatype} in {spec.unit}" if spec.unit else spec.datatype
    lines: list[object] = [
        f"{spec.name}: {datatype}, {spec.cardinality} per item, "
        f"known for {spec.coverage:.0%} of all items"
    ]
    if spec.not_completed is not None:
        lines.append(f"not completed: {spec.not_completed.told()}")
    if spec.remark:
        lines.append(spec.remark)
    if spec.spellings or spec.synonyms:
        rows = ((value, count, _also_written(spec, value)) for value, count in value_counts)
        lines.append(table(("value", "items", "also written"), rows, right=("items",)))
    else:
        lines.append(table(("value", "items"), value_counts, right=("items",)))
    if spec.applies_to:
        shares = ((category, f"{share:.0%}") for category, share in spec.applies_to.items())
        column = "items that have it"
        lines += ["", table(("category", column), shares, right=(column,))]
    context.emit(document, *lines)


def _asked(spec: PropertySpec) -> str:
    """Return whether a property's cells are completed, and why not."""
    return "yes" if spec.not_completed is None else f"no: {spec.not_completed.told()}"


def _also_written(spec: PropertySpec, value: str) -> str:
    others = (*spec.spellings.get(value, ()), *spec.synonyms.get(value, ()))
    return ", ".join(dict.fromkeys(others))


def _property_document(spec: PropertySpec) -> dict[str, Any]:
    return {
        "property": spec.name,
        "datatype": spec.datatype,
        "unit": spec.unit,
        "cardinality": spec.cardinality,
        "values": len(spec.values),
        "coverage": spec.coverage,
        "remark": spec.remark or None,
        "learn": spec.is_learned,
        "complete": spec.complete,
        "asked": spec.not_completed is None,
        "not_asked": None if spec.not_completed is None else str(spec.not_completed),
    }
