"""Commands for queries and items: match."""

from __future__ import annotations

import click

from commands.base import Command, Context, pass_context
from commands.loading import (
    model_option,
    note_not_trained_to_match,
    warn_of_unreadable_images,
)
from schema.errors import UsageError


@click.command(cls=Command)
@click.argument("text")
@click.argument("item")
@model_option
@pass_context
def match(context: Context, text: str, item: str, model: str | None) -> None:
    """Score how well an item matches a query.

    TEXT is a query as a shopper would type it, ITEM the id of an item. The score is the probability
    that they match, judged by the item's title and image. The model must have been trained on a
    query log (see `catalograph queries`).

    \b
    Example:
      catalograph match 'blue striped mug' P000012
    """
    from serving.items import CatalogItems
    from serving.loading import load_network, load_regions

    if not text.strip():
        raise UsageError(f"the query {text!r} has no word: write one as a shopper would type it")
    home = context.home()
    snapshot = home.snapshot()
    scorer = load_network(home, model)
    note_not_trained_to_match(context, scorer)
    files = home.image_files()
    candidate = CatalogItems(snapshot, files, load_regions(home, scorer)).named(item)
    score = round(float(scorer.match(text, [candidate])[0]), 4)
    warn_of_unreadable_images(files.unreadable(files.failures))
    context.emit(
        [{"item": item, "score": score, "title": candidate.title}],
        f"{score:.2f}  {item}  {candidate.title or ''}",
    )
