"""Commands about queries and items: match."""

from __future__ import annotations

import click

from commands.base import Command, Context, pass_context
from commands.loading import model_option, note_untrained, regions_of, scorer_of, snapshot_of
from schema.errors import ItemNotFoundError, UsageError


@click.command(cls=Command)
@click.argument("text")
@click.argument("item")
@model_option
@pass_context
def match(context: Context, text: str, item: str, model: str | None) -> None:
    """Say whether a query and an item match.

    The score is the probability of a match, by title and image.

    \b
    Example:
      catalograph match 'blue striped mug' P000012
    """
    from serving.items import CatalogItems

    if not text.strip():
        raise UsageError(f"the query {text!r} has no word: write what a shopper would type")
    home = context.home()
    snapshot = snapshot_of(home)
    if item not in snapshot.items:
        raise ItemNotFoundError(
            f"no item {item!r} among the catalogue's {len(snapshot.items):,}: ids are those of the source's id column"
        )
    scorer = scorer_of(home, model)
    note_untrained(context, scorer, queries=True)
    number = snapshot.items.index(item)
    score = round(
        float(scorer.match(text, [CatalogItems(snapshot, regions_of(home, scorer))[number]])[0]), 4
    )
    title = snapshot.titles[number]
    context.emit(
        [{"item": item, "score": score, "title": title}], f"{score:.2f}  {item}  {title or ''}"
    )
