"""Commands that look into the graph store: show, stats, validate, cypher, verify, rebuild."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.base import READABLE, Command, Context, pass_context, table
from commands.progress import bar
from schema.errors import ItemNotFoundError, UsageError
from schema.terms import CATEGORY_SEPARATOR

if TYPE_CHECKING:
    from kg.analysis import Shape
    from kg.stores.protocol import GraphStore
    from schema.terms import Item, Statement

SHOWN = 20
"""Of each list of the graph's shape, as many are shown."""


@click.command(cls=Command)
@click.argument("item")
@click.option(
    "--graph",
    metavar="FILE",
    type=READABLE,
    help="Draw the item with its values and the items most like it, PNG or SVG.",
)
@pass_context
def show(context: Context, item: str, graph: Path | None) -> None:
    """Show one item and its statements.

    \b
    Example:
      catalograph show 15970 --graph shirt.png
    """
    with context.home().store(read_only=True) as store:
        found = store.item(item)
        if found is None:
            count = store.counts().items
            raise ItemNotFoundError(
                f"no item {item!r} among the catalogue's {count:,}: ids are those of the source's id column"
            )
        about, statements = found
        if graph is not None:
            _draw(context, store, about, statements, graph)
    facts = [_fact(each) for each in statements]
    document = {
        "id": about.id,
        "title": about.title,
        "category": about.category,
        "images": list(about.images),
        "statements": facts,
    }
    lines: list[object] = [
        f"{name}: {document[name]}" for name in ("id", "title", "category") if document[name]
    ]
    lines += [f"image: {image}" for image in about.images]
    if facts:
        lines.append(table(list(facts[0]), (list(fact.values()) for fact in facts)))
    context.emit(document, *lines)


def _draw(
    context: Context, store: GraphStore, item: Item, statements: list[Statement], path: Path
) -> None:
    from kg.drawing.ego import ego, neighbourhood
    from kg.drawing.render import draw_ego

    missing = draw_ego(ego(item, statements, neighbourhood(store, item, statements)), path)
    context.note(f"graph: {path}")
    if missing:
        mend = "install one, or draw an SVG, which leaves fonts to who shows it"
        context.note(
            f"no font here has {len(missing)} of the characters, like {missing[:8]}: {mend}"
        )


def _fact(each: Statement) -> dict[str, Any]:
    said = each.provenance
    return {
        "property": each.property,
        "value": each.value,
        "rank": str(each.rank),
        "confidence": said.confidence,
        "source": said.source,
    }


@click.command(cls=Command)
@click.option(
    "--graph",
    is_flag=True,
    help="Say also what hangs together, which values are twice there, and which categories go in circles.",
)
@pass_context
def stats(context: Context, graph: bool) -> None:
    """Count the catalogue and the coverage of its properties.

    \b
    Example:
      catalograph stats
      catalograph stats --graph
    """
    from kg.stats import read_stats

    home = context.home()
    with home.store(read_only=True) as store:
        found = read_stats(store)
        shape = _shape(store) if graph else None
    rows = (
        (
            each.property,
            f"{each.items:,}",
            f"{each.share:.1%}",
            f"{each.values:,}",
            f"{each.predicted:,}",
        )
        for each in found.coverage
    )
    context.emit(
        {
            "store": home.store_url,
            **found.as_dict(),
            **({"graph": shape.as_dict(SHOWN)} if shape else {}),
        },
        f"items: {found.items:,}; with a title {found.titles:,}, with an image {found.images:,}; categories {found.categories:,}",
        f"statements: {found.statements:,} ({', '.join(f'{rank} {count:,}' for rank, count in found.ranks.items()) or 'none'})",
        table(
            ("property", "items", "share", "values", "only predicted"),
            rows,
            right=("items", "share", "values", "only predicted"),
        ),
        *(_shape_lines(shape) if shape else ()),
    )


def _shape(store: GraphStore) -> Shape:
    from kg.analysis import shape
    from kg.snapshot import read_snapshot

    return shape(read_snapshot(store))


def _shape_lines(shape: Shape) -> list[object]:
    sizes = ", ".join(f"{size:,}" for size in shape.components[:SHOWN]) or "none"
    lines: list[object] = [
        "",
        f"parts that hang together: {len(shape.components):,}, of {sizes} items; without a statement: {shape.alone:,}",
    ]
    lines.append(f"values that look like one: {len(shape.duplicates):,}")
    if shape.duplicates:
        spelled = (
            (
                each.property,
                " | ".join(f"{value} ({items:,})" for value, items in each.values.items()),
            )
            for each in shape.duplicates[:SHOWN]
        )
        lines.append(table(("property", "spellings (items)"), spelled))
    lines.append(f"categories that go in circles: {len(shape.cycles):,}")
    return lines + [f"  {CATEGORY_SEPARATOR.join(names)}" for names in shape.cycles[:SHOWN]]


@click.command(cls=Command)
@click.option(
    "--shapes",
    metavar="FILE",
    type=READABLE,
    help="SHACL shapes in Turtle.  [default: the home's shapes.ttl]",
)
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(0),
    default=100,
    show_default=True,
    help="Findings to show; all are counted.",
)
@pass_context
def validate(context: Context, shapes: Path | None, limit: int) -> None:
    """Check every item against the ontology and against SHACL shapes.

    Values that do not parse, too many of them, properties where they do not belong. The home's shapes.ttl is made from the ontology; what
    you change there stands. Exit code 1 where there is a violation.

    \b
    Example:
      catalograph validate --limit 20
    """
    from kg.quality.validation import shapes_of
    from kg.quality.validation import validate as check
    from schema.validation import Severity

    home = context.home()
    ontology = home.ontology()
    used, current = shapes_of(home, ontology, shapes)
    if not current:
        context.note(
            f"{used.path} was edited and is used as it is: remove it to have it made from the ontology again"
        )
    with home.store(read_only=True) as store, bar("validating") as done:
        report = check(store, ontology, used, limit, done)
    rules = (
        (rule["severity"], rule["check"], rule["property"], f"{rule['count']:,}")
        for rule in report.by_rule()
    )
    found = (
        (each.severity, each.item, each.property, each.check, each.message)
        for each in report.results
    )
    counts = ", ".join(f"{report.counts[severity]:,} {severity}s" for severity in Severity)
    lines: list[object] = [f"items: {report.checked:,} checked; {counts}"]
    if report.rules:
        lines.append(
            table(("severity", "check", "property", "findings"), rules, right=("findings",))
        )
    if report.results:
        lines.append(table(("severity", "item", "property", "check", "finding"), found))
    context.emit(report.as_dict(), *lines)
    if not report.conforms:
        click.get_current_context().exit(1)


@click.command(cls=Command)
@click.argument("text")
@click.option(
    "--param",
    "params",
    metavar="K=V",
    multiple=True,
    help="A parameter: k=text, or k:=JSON for numbers, lists and null.",
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=float,
    default=30.0,
    show_default=True,
    help="Give up after this long.",
)
@pass_context
def cypher(context: Context, text: str, params: tuple[str, ...], timeout: float) -> None:
    """Ask the graph a read-only Cypher query.

    \b
    Example:
      catalograph cypher 'MATCH (i:Item)-[h:HAS]->(v:Value) WHERE h.property = $p RETURN v.text, count(*)' --param p=colour
    """
    given = dict(_param(each) for each in params)
    with context.home().store(read_only=True) as store:
        result = store.query(text, given, timeout=timeout)
    context.emit(
        {"columns": result.columns, "rows": result.rows}, table(result.columns, result.rows)
    )


@click.command(cls=Command)
@pass_context
def verify(context: Context) -> None:
    """Check the journal and the graph against each other.

    \b
    Example:
      catalograph verify
    """
    with context.home().store() as store:
        problems = [str(each) for each in _journal_action(store, "verify")]
    context.emit(
        {"ok": not problems, "problems": problems},
        *(problems or ["journal and graph are whole and agree"]),
    )
    if problems:
        click.get_current_context().exit(1)


@click.command(cls=Command)
@pass_context
def rebuild(context: Context) -> None:
    """Make the graph anew from its journal.

    \b
    Example:
      catalograph rebuild
    """
    with context.home().store() as store:
        _journal_action(store, "rebuild")
        counts = store.counts()
    context.emit(
        {"items": counts.items, "statements": counts.statements},
        f"rebuilt: {counts.items:,} items, {counts.statements:,} statements",
    )


def _journal_action(store: GraphStore, action: str) -> Any:
    if not hasattr(store, action):
        raise UsageError(
            f"the store {store.url} keeps no journal to {action}: only an embedded one (ladybug:PATH) does"
        )
    return getattr(store, action)()


def _param(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign or not name.strip(": "):
        raise UsageError(f"--param {text!r} has no name and value: write k=text or k:=JSON")
    if not name.endswith(":"):
        return name, value
    try:
        return name[:-1], json.loads(value)
    except ValueError:
        raise UsageError(
            f"--param {text!r}: {value!r} is no JSON; write {name[:-1]}={value} for text"
        ) from None
