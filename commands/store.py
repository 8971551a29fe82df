"""Commands on the graph: show, stats, validate, cypher, verify, backup, rebuild, salvage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.base import (
    PATH,
    Command,
    Context,
    FiniteRange,
    as_of_option,
    pass_context,
    table,
)
from commands.limits import limit_options
from commands.loading import warn_of_unreadable_images
from commands.progress import bar
from schema.documents import parse_json
from schema.errors import ItemNotFoundError, UsageError
from schema.settings import shown
from schema.terms import CATEGORY_SEPARATOR

if TYPE_CHECKING:
    from kg.analysis import GraphStructure
    from kg.home import Home
    from kg.quality.validation import ValidationReport
    from kg.stats import Stats
    from kg.stores.protocol import GraphStore
    from kg.stores.query_limits import QueryLimits
    from kg.stores.salvage import Rescued
    from kg.stores.verification import Verification
    from schema.terms import Item, Statement

SHOWN = 20
"""Entries to print of each list that `stats --graph` finds."""


@click.command(cls=Command)
@click.argument("item")
@click.option(
    "--graph",
    "drawing",
    metavar="FILE",
    type=PATH,
    help="Also draw the item, its values and the most similar items, and save the drawing to this "
    "PNG or SVG file.",
)
@as_of_option
@pass_context
def show(context: Context, item: str, drawing: Path | None, moment: str | None) -> None:
    """Show an item and its statements.

    ITEM is the id of the item.

    \b
    Example:
      catalograph show 15970 --graph shirt.png
      catalograph show 15970 --as-of 2026-01-31
    """
    if moment is not None and drawing is not None:
        raise UsageError("--graph draws the item as it is now: leave --as-of out")
    with ExitStack() as stack:
        store = stack.enter_context(context.home().store(read_only=True))
        if moment is not None:
            from kg.stores.history import item_as_of

            store = stack.enter_context(item_as_of(store, item, moment))
        entry = store.item(item)
        if entry is None:
            if moment is not None:
                raise ItemNotFoundError(
                    f"no item {item!r} as of {moment}: `catalograph history {item}` tells when it "
                    "was there"
                )
            count = store.counts().items
            raise ItemNotFoundError(
                f"no item {item!r} among the catalogue's {count:,}: "
                "ids are those of the source's id column"
            )
        about, statements = entry
        if drawing is not None:
            _draw(context, store, entry, drawing)

    from kg.item_document import item_document

    document = item_document(context.home(), about, statements)
    rows = document["statements"]
    lines: list[object] = [
        f"{name}: {document[name]}"
        for name in ("id", "title", "description", "category")
        if document[name]
    ]
    lines += [f"image: {image}" for image in about.images]
    lines += [
        f"title in {each.provenance.source or 'an unknown source'}: {each.title}"
        for each in about.references
        if each.title and each.title != about.title
    ]
    if rows:
        # Most catalogues have one language alone.
        columns = ["property", "value", "language", "rank", "confidence", "source"]
        if not any(row["language"] for row in rows):
            columns.remove("language")
        if any("shown" in row for row in rows):
            columns.append("shown")
        words = {None: "", True: "yes", False: "no"}
        cells = (
            {**row, "source": ", ".join(row["sources"]), "shown": words[row.get("shown")]}
            for row in rows
        )
        lines.append(table(columns, ([row[name] for name in columns] for row in cells)))
    context.emit(document, *lines)


def _draw(
    context: Context, store: GraphStore, entry: tuple[Item, list[Statement]], path: Path
) -> None:
    from kg.drawing.ego import ego_graph, neighbourhood
    from kg.drawing.render import draw_ego

    files = context.home().image_files()
    graph = ego_graph(*entry, neighbourhood(store, *entry))
    missing = draw_ego(graph, path, files)
    context.note(f"graph: {path}")
    images = [node.get("image") for _, node in graph.nodes(data=True)]
    warn_of_unreadable_images(files.unreadable(images))
    if missing:
        context.note(
            f"{len(missing)} characters are in none of this machine's fonts, such as "
            f"{missing[:8]}: install a font that has them, or draw an SVG, which leaves the choice "
            "of fonts to the viewer"
        )


@click.command(cls=Command)
@click.option(
    "--graph",
    is_flag=True,
    help="Also report connected components, near-duplicate values and category cycles.",
)
@click.option(
    "--html",
    metavar="FILE",
    type=PATH,
    help="Also write a page with a heat map of what is missing, by category and property.",
)
@pass_context
def stats(context: Context, graph: bool, html: Path | None) -> None:
    """Show the size of the catalogue and the coverage of its properties.

    The coverage of a property is the share of items with an asserted or accepted value of it.

    \b
    Example:
      catalograph stats
      catalograph stats --graph
      catalograph stats --html stats.html
    """
    from kg.stats import read_stats

    home = context.home()
    with home.store(read_only=True) as store:
        result = read_stats(store)
        structure = _read_structure(store) if graph else None
        if html is not None:
            _write_page(html, home, store, result)

    document = {"store": home.store_url, **result.as_dict()}
    lines = _stats_lines(result)
    if structure is not None:
        document["graph"] = structure.as_dict(SHOWN)
        lines += _structure_lines(structure)
    if html is not None:
        document["page"] = str(html)
        lines += ["", f"page: {html}"]
    context.emit(document, *lines)


def _write_page(path: Path, home: Home, store: GraphStore, result: Stats) -> None:
    from kg.missing_values import read_missing_values
    from kg.stats_page import write_stats_page

    missing = read_missing_values(store, home.ontology())
    write_stats_page(path, home.path.name, result, missing)


def _stats_lines(result: Stats) -> list[object]:
    ranks = ", ".join(f"{rank} {count:,}" for rank, count in result.ranks.items()) or "none"
    columns = ("property", "items", "share", "values", "only predicted")
    rows = (
        (
            coverage.property,
            f"{coverage.items:,}",
            f"{coverage.share:.1%}",
            f"{coverage.values:,}",
            f"{coverage.predicted:,}",
        )
        for coverage in result.coverage
    )
    return [
        f"items: {result.items:,} ({result.titles:,} with a title, "
        f"{result.images:,} with an image), in {result.categories:,} categories",
        f"statements: {result.statements:,} ({ranks})",
        table(columns, rows, right=columns[1:]),
    ]


def _read_structure(store: GraphStore) -> GraphStructure:
    from kg.analysis import graph_structure
    from kg.snapshot import read_snapshot

    return graph_structure(read_snapshot(store))


def _structure_lines(structure: GraphStructure) -> list[object]:
    lines: list[object] = ["", f"connected components: {len(structure.components):,}"]
    if structure.components:
        sizes = ", ".join(f"{size:,}" for size in structure.components[:SHOWN])
        lines.append(f"  items in the largest: {sizes}")
    lines.append(f"items without a statement: {structure.alone:,}")

    lines.append(f"near-duplicate values: {len(structure.duplicates):,}")
    if structure.duplicates:
        rows = []
        for cluster in structure.duplicates[:SHOWN]:
            spellings = (f"{value} ({items:,})" for value, items in cluster.values.items())
            rows.append((cluster.property, " | ".join(spellings)))
        lines.append(table(("property", "spellings (items)"), rows))

    lines.append(f"category cycles: {len(structure.cycles):,}")
    lines += [f"  {CATEGORY_SEPARATOR.join(names)}" for names in structure.cycles[:SHOWN]]
    return lines


@click.command(cls=Command)
@click.option(
    "--shapes",
    "shapes_file",
    metavar="FILE",
    type=PATH,
    help="SHACL shapes to check against, in Turtle.  [default: the home's shapes.ttl]",
)
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(0, 1_000_000_000),
    default=100,
    show_default=True,
    help="Number of findings to print; all of them are counted.",
)
@pass_context
def validate(context: Context, shapes_file: Path | None, limit: int) -> None:
    """Check every item against the ontology and SHACL shapes.

    Finds values that do not parse as the property's datatype or are in a foreign unit, items with
    too many values of a property, values that are not in its vocabulary, and properties that do not
    apply to an item's category. For each property it says how many statements were checked, and
    what was found, the worst first. The exit code is 1 if there is a violation.

    The home's shapes.ttl is generated from the ontology. You may edit it; it is then no longer
    regenerated.

    \b
    Example:
      catalograph validate --limit 20
    """
    from kg.quality.validation import load_shapes
    from kg.quality.validation import validate as check
    from schema.validation import Severity

    home = context.home()
    ontology = home.ontology()
    shapes, current = load_shapes(home, ontology, shapes_file)
    if not current:
        context.note(
            f"{shapes.path} was edited, so it is not regenerated: remove it to have it generated "
            "from the ontology again"
        )
    with home.store(read_only=True) as store, bar("validating") as progress:
        report = check(store, ontology, shapes, limit, progress)

    counts = ", ".join(f"{report.counts[severity]:,} {severity}s" for severity in Severity)
    lines: list[object] = [f"items: {report.checked:,} checked; {counts}"]
    lines += _by_property(report)
    rules = [rule for rule in report.by_rule() if rule["property"] is None]
    if rules:
        rows = ((rule["severity"], rule["check"], f"{rule['count']:,}") for rule in rules)
        lines += ["", table(("severity", "check of items", "findings"), rows, right=("findings",))]
    if report.results:
        findings = (
            (finding.severity, finding.item, finding.property, finding.check, finding.message)
            for finding in report.results
        )
        lines += ["", table(("severity", "item", "property", "check", "finding"), findings)]
    context.emit(report.as_dict(), *lines)
    if not report.conforms:
        click.get_current_context().exit(1)


def _by_property(report: ValidationReport) -> Iterator[object]:
    """Yield a table of the properties with findings, the worst first, and a line on the others."""
    found = [each for each in report.by_property() if each.checks]
    if found:
        rows = (
            (
                each["property"],
                f"{each['checked']:,}",
                f"{each['violations']:,}",
                f"{each['warnings']:,}",
                ", ".join(f"{check['check']} {check['count']:,}" for check in each["checks"]),
                each["checks"][0]["examples"][0]["message"],
            )
            for each in (one.as_dict() for one in found)
        )
        columns = ("property", "statements", "violations", "warnings", "findings", "example")
        yield table(columns, rows, right=columns[1:4])
    others = [each.checked for each in report.by_property() if not each.checks]
    if others:
        yield f"without a finding: {len(others):,} properties with {sum(others):,} statements"


@click.command(cls=Command)
@click.argument("text")
@click.option(
    "--param",
    "params",
    metavar="K=V",
    multiple=True,
    help="Value of the query parameter $K, as text; K:=JSON for a number, a list or null. May be "
    "repeated.",
)
@limit_options
@pass_context
def cypher(
    context: Context, text: str, params: tuple[str, ...], timeout: float, limits: QueryLimits
) -> None:
    """Run a read-only Cypher query on the graph.

    TEXT is the query. The graph has this form:

    \b
      (:Item {id, title, description, category, image})
        -[:HAS {id, property, rank, confidence, source}]->
      (:Value {text})

    \b
    Example:
      catalograph cypher 'MATCH (i:Item)-[h:HAS]->(v:Value) WHERE h.property = $p
        RETURN v.text, count(*)' --param p=colour
    """
    # Values are passed beside the query, so that none can become a part of it.
    values = dict(_parse_param(param) for param in params)
    with context.home().store(read_only=True) as store:
        result = store.query(text, values, timeout, limits)
    context.emit(
        {"columns": result.columns, "rows": result.rows},
        table(result.columns, result.rows),
    )


def _parse_param(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign or not name.strip(": "):
        raise UsageError(f"--param {shown(text)} has no name and value: write k=text or k:=JSON")
    if not name.endswith(":"):
        return name, value
    try:
        return name.removesuffix(":"), parse_json(value)
    except ValueError as error:
        raise UsageError(
            f"--param {shown(text)} is not JSON ({error}): write = in place of := for text"
        ) from None


@click.command(cls=Command)
@click.option(
    "--quick",
    is_flag=True,
    help="Check checksums, and compare the numbers of items and statements alone.",
)
@pass_context
def verify(context: Context, quick: bool) -> None:
    """Check the catalogue for damage.

    The journal records every change to an embedded store; the graph is built from it. `verify`
    checks every byte of the journal, reads the whole graph, also by each of its indexes, and
    compares every column of every item and statement. It also checks the ledger, the ontology, the
    shapes, home.toml and the models. Nothing is changed, and other commands may work meanwhile.

    Each problem is one line that says how to go on; the exit code is then 1. A file that you may
    edit and that was edited is a remark and no problem.

    \b
    Example:
      catalograph verify
    """
    from kg.home_verification import verify_home

    home = context.home()
    if home.store_url == "memory:":
        raise UsageError("the store memory: keeps nothing to verify: use one that does")
    with bar("verifying", "rows") as progress:
        report = verify_home(home, quick=quick, progress=progress)
    if not quick and not report.problems:
        _compare_proposals(home, report)
    for note in report.notes:
        context.note(f"note: {note}")
    document = {
        "ok": not report.problems,
        "problems": report.problems,
        "notes": report.notes,
        "items": report.items,
        "statements": report.statements,
    }
    compared = "counted" if quick else "compared"
    fine = f"no damage found: {report.items:,} items, {report.statements:,} statements {compared}"
    context.emit(document, *(report.problems or [fine]))
    if report.problems:
        click.get_current_context().exit(1)


def _compare_proposals(home: Home, report: Verification) -> None:
    """Compare proposals in the ledger with what the graph says of them; neither is damaged."""
    if not home.has_ledger:
        return
    from itertools import islice

    from schema.ledger_proposals import ProposalRecords
    from serving.review.agreement import disagreements
    from serving.review.store_of_proposals import other_store

    with home.ledger() as ledger, home.store(read_only=True) as store:
        records = ProposalRecords(ledger)
        if not records.has_any():
            return
        other = other_store(home, store, records)
        if other is not None:
            report.notes.append(f"the proposals are about the store {other}: they are not compared")
            return
        if records.pending():
            report.notes.append(
                "a change of proposals was cut off, so that they are not compared with the graph: "
                "the next `catalograph review apply` makes the rest"
            )
            return
        said = disagreements(store, records, home.ontology_or_none())
        found = list(islice(said, SHOWN + 1))
    report.problems += [
        f"{each}: decide the cell anew with `catalograph review`, or restore the ledger and the "
        "graph from one copy"
        for each in found[:SHOWN]
    ]
    if len(found) > SHOWN:
        report.problems.append(f"more than {SHOWN} proposals differ from the graph")


@click.command(cls=Command)
@click.argument("folder", type=PATH)
@click.option(
    "--wait",
    metavar="SECONDS",
    type=FiniteRange(0, 86_400),
    default=60,
    show_default=True,
    help="How long to wait for a command that writes.",
)
@pass_context
def backup(context: Context, folder: Path, wait: float) -> None:
    """Copy the home into a new folder, while others use it.

    The copy is a home itself: its graph, journal, ledger, sources and models are as they were at
    one moment. Whoever reads goes on meanwhile, whoever writes waits while the graph and the
    ledger are copied. A ledger on a server becomes a file in the copy; a graph on a server, and
    the images, which are not in the home, are not copied.

    To restore, copy the folder to the place of the home.

    \b
    Example:
      catalograph backup /backups/shop-2026-01-31
      catalograph --home /backups/shop-2026-01-31 verify
    """
    from kg.home_backup import back_up

    with bar("copying", "parts") as progress:
        report = back_up(context.home(), folder, wait=wait, progress=progress)
    for left_out in report.left_out:
        context.note(f"not copied: {left_out}")
    context.emit(
        report.as_dict(),
        f"copy: {report.folder}",
        f"{report.files:,} files, {report.bytes / 1e6:,.1f} MB, {len(report.models)} models in "
        f"{report.seconds:.1f} s; writers waited {report.locked_seconds:.1f} s",
    )


@click.command(cls=Command)
@pass_context
def rebuild(context: Context) -> None:
    """Rebuild the graph from its journal.

    Use it if `catalograph verify` finds a problem in the graph but none in the journal. The journal
    is checked first, and nothing is changed if it is damaged or lacks what the graph shows. The old
    graph stays until the new one is complete.

    \b
    Example:
      catalograph rebuild
    """
    from kg.stores.protocol import Rebuildable

    with context.home().store() as store:
        if not isinstance(store, Rebuildable):
            raise _no_journal(store, "rebuild from")
        store.rebuild()
        counts = store.counts()
    context.emit(
        {"items": counts.items, "statements": counts.statements},
        f"rebuilt: {counts.items:,} items, {counts.statements:,} statements",
    )


@click.command(cls=Command)
@click.argument("new_home", type=PATH)
@pass_context
def salvage(context: Context, new_home: Path) -> None:
    """Rescue what a damaged catalogue still holds into a new home.

    NEW_HOME is a folder that does not exist yet. The damaged home, named by --home, is only read.

    Use it if `catalograph verify` finds a problem in the journal and there is no copy to restore.
    Whatever the journal and the graph still hold is brought together, row by row. The ledger, the
    ontology with your changes, the shapes and the models are copied as far as they are whole. The
    exit code is 1 if something was lost.

    \b
    Example:
      catalograph --home catalog salvage rescued
    """
    from kg.home_salvage import salvage_home

    with bar("rescuing", "rows") as progress:
        report = salvage_home(Path(context.home_path), new_home, context.store, progress=progress)
    for note in report.notes:
        context.note(f"note: {note}")
    lines = [
        f"new home: {report.home}, in {report.seconds:.1f} s",
        f"items: {_rescued(report.items)}",
        f"statements: {_rescued(report.statements)}",
        *(f"ledger: {rows:,} rows of {name}" for name, rows in report.ledger.items() if rows),
        *(f"model: {name}" for name in report.models),
        *(f"lost: {line}" for line in report.lost),
    ]
    context.emit(report.as_dict(), *lines)
    if report.lost:
        click.get_current_context().exit(1)


def _rescued(rescued: Rescued) -> str:
    """Say how many items or statements were rescued, and from where."""
    parts = [
        f"{rescued.both:,} the same in journal and graph",
        f"{rescued.journal:,} from the journal alone",
        f"{rescued.graph:,} from the graph alone",
    ]
    for count, what in (
        (rescued.differing_journal, "different, taken from the journal"),
        (rescued.differing_graph, "different, taken from the graph, which is newer"),
        (rescued.uncertain, "of all these may have been retracted by a lost version"),
        (rescued.damaged, "damaged in the graph and not in the journal, left out"),
        (rescued.unknown, "unknown to the journal, left out"),
    ):
        if count:
            parts.append(f"{count:,} {what}")
    return f"{rescued.total:,} rescued ({'; '.join(parts)})"


def _no_journal(store: GraphStore, use: str) -> UsageError:
    return UsageError(
        f"the store {store.url} keeps no journal to {use}: only an embedded store (ladybug:PATH or "
        "rdf:PATH) does"
    )
