"""Commands for queries and items: index, search, similar, match."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.base import PATH, Command, Context, pass_context, shortened
from commands.loading import (
    model_option,
    note_not_trained_to_match,
    warn_of_unreadable_images,
)
from schema.errors import UsageError

if TYPE_CHECKING:
    from kg.home import Home
    from serving.search.searcher import Hit, Results, Searcher

CLICKS = "clicks"
"""Stands for the home's own query log in place of a file of ratings."""
MAX_TITLE = 100


def _filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options for what found items must have."""
    for option in (
        click.option(
            "-k",
            "--top-k",
            "count",
            metavar="N",
            type=int,
            default=10,
            show_default=True,
            help="Items to list.",
        ),
        click.option(
            "--category",
            metavar="CATEGORY",
            help="Only items of this category and those below it.  [default: all]",
        ),
        click.option(
            "--filter",
            "filters",
            metavar="PROPERTY=VALUE",
            multiple=True,
            help="Only items with this value; may be repeated: values of one property are "
            "alternatives.  [default: all]",
        ),
    ):
        command = option(command)
    return command


words_only_option = click.option(
    "--words-only",
    is_flag=True,
    help="Do without the text encoder, which takes seconds to load.",
)


@click.command(cls=Command)
@click.option(
    "--text-encoder",
    "encoder_folder",
    metavar="DIR",
    type=PATH,
    help="A pretrained text encoder of transformers: a folder with config.json, model.safetensors "
    "and tokenizer.json. It is used until it is changed.  [default: the one of the last call]",
)
@click.option(
    "--no-text-encoder", "no_encoder", is_flag=True, help="Use no text encoder from now on."
)
@click.option(
    "--learn",
    metavar="FILE|clicks",
    help="Learn the ranking's weights from a CSV file with the columns query,item,rating (0: does "
    "not answer the query), or from the clicks of the query log.  [default: keep the weights]",
)
@click.option("--anew", is_flag=True, help="Index all items, not only those that have changed.")
@pass_context
def index(
    context: Context,
    encoder_folder: Path | None,
    no_encoder: bool,
    learn: str | None,
    anew: bool,
) -> None:
    """Index the catalogue for `search` and `similar`.

    Only what has changed since the last call is indexed. A few changed items are indexed by
    `search` itself.

    \b
    Example:
      catalograph index
    """
    from commands.progress import bar
    from encoders.pretrained_text import PretrainedText
    from serving.search.index import index_folder, index_home
    from serving.search.opening import encode_texts, load_encoder, set_encoder_folder

    if encoder_folder is not None and no_encoder:
        raise UsageError("--text-encoder and --no-text-encoder exclude each other: give one")
    start = time.monotonic()
    home = context.home()
    given = None if encoder_folder is None else PretrainedText(encoder_folder)
    with bar("index") as progress:
        changed = index_home(home, anew=anew, progress=progress)
    if encoder_folder is not None or no_encoder:
        set_encoder_folder(home, encoder_folder)
    encoder = given or load_encoder(home)
    encoded = 0
    if encoder is not None:
        with bar("encode texts", "texts") as progress:
            encoded = encode_texts(home, encoder, progress)
    learned = None if learn is None else _learn(context, home, learn)
    document = {
        "items": changed.items,
        "added": changed.added,
        "changed": changed.changed,
        "removed": changed.removed,
        "anew": changed.anew,
        "encoded": encoded,
        "learned": learned,
        "index": str(index_folder(home)),
        "seconds": round(time.monotonic() - start, 3),
    }
    what = (
        "all anew"
        if changed.anew
        else f"{changed.added:,} new, {changed.changed:,} changed, {changed.removed:,} gone"
    )
    lines = [f"{changed.items:,} items are indexed ({what}) in {document['seconds']:.1f} s"]
    if encoder is not None:
        lines.append(f"{encoded:,} texts were encoded")
    if learned is not None:
        lines.append(
            f"weights learned from {learned['queries']:,} queries with {learned['ratings']:,} "
            "ratings"
        )
    context.emit(document, *lines)


def _learn(context: Context, home: Home, source: str) -> dict[str, Any]:
    """Learn the weights from a file of ratings, or from clicks, and keep them."""
    from serving.search.index import index_folder
    from serving.search.opening import open_searcher
    from serving.search.ranking import DEFAULT, write_weights
    from serving.search.ratings import learn_weights, rateable, ratings_of_clicks, read_ratings

    if source == CLICKS:
        with home.ledger() as ledger:
            ratings = ratings_of_clicks(ledger.query_log())
    else:
        ratings = read_ratings(Path(source))
    searcher = open_searcher(home)
    rated = rateable(searcher, ratings)
    if rated.unknown_items:
        context.note(f"{rated.unknown_items:,} ratings of items that are not indexed are left out")
    learned = learn_weights(searcher, rated.ratings, DEFAULT)
    write_weights(index_folder(home), learned.weights)
    return {
        "queries": learned.queries,
        "ratings": learned.ratings,
        "weights": learned.weights.as_dict(),
    }


@click.command(cls=Command)
@click.argument("text")
@_filter_options
@click.option(
    "--facets",
    is_flag=True,
    help="Also count the values of the best 1,000 items by property; the JSON is then an object.",
)
@click.option(
    "--explain", is_flag=True, help="Also say which features made the score of each item."
)
@words_only_option
@pass_context
def search(
    context: Context,
    text: str,
    filters: tuple[str, ...],
    category: str | None,
    count: int,
    facets: bool,
    explain: bool,
    words_only: bool,
) -> None:
    """Search for items.

    TEXT is a query as a shopper would type it: words in any language, names, model numbers.

    \b
    Example:
      catalograph search 'blue striped mug' --filter material=clay
    """
    from serving.search.filters import Filters

    home = context.home()
    searcher = _open(context, home, words_only)
    results = searcher.search(text, count, Filters.parse(filters, category), facets=facets)
    for word, other in results.corrected.items():
        context.note(f"no item has the word {word!r}: it is read as {other!r}")
    hits = [_row(hit, explain) for hit in results.hits]
    lines = list(map(_line, results.hits)) or ["nothing was found"]
    if explain:
        explained = [f"       {_explained(hit)}" for hit in results.hits]
        lines = [line for pair in zip(lines, explained, strict=False) for line in pair]
    if not facets:
        context.emit(hits, *lines)
        return
    counted = {facet.property: dict(facet.values) for facet in results.facets}
    for facet in results.facets:
        values = ", ".join(f"{value} {number:,}" for value, number in facet.values)
        lines.append(f"{facet.property}: {values}")
    context.emit({"items": hits, "facets": counted}, *lines)


@click.command(cls=Command)
@click.argument("item")
@_filter_options
@words_only_option
@pass_context
def similar(
    context: Context,
    item: str,
    filters: tuple[str, ...],
    category: str | None,
    count: int,
    words_only: bool,
) -> None:
    """Find the items most like another one.

    ITEM is an id. Items are compared by their words, by the kind of thing that they are, and by the
    vectors of the text encoder if the index has any.

    \b
    Example:
      catalograph similar P000012 -k 5
    """
    from serving.search.filters import Filters

    searcher = _open(context, context.home(), words_only)
    results: Results = searcher.similar(item, count, Filters.parse(filters, category))
    hits = [_row(hit, False) for hit in results.hits]
    context.emit(hits, *(list(map(_line, results.hits)) or ["nothing was found"]))


def _open(context: Context, home: Home, words_only: bool) -> Searcher:
    """Open the index; a few changed items are indexed before, and a stale index is said to be."""
    from serving.search.index import catch_up, index_folder, newest_index
    from serving.search.opening import open_searcher

    path = newest_index(index_folder(home))
    if path is not None:
        freshness = catch_up(home, path)
        if freshness.stale:
            context.note(
                f"warning: the index is stale ({freshness.stale}): bring it up to date with "
                "`catalograph index`"
            )
    return open_searcher(home, words_only=words_only)


def _row(hit: Hit, explain: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"item": hit.item, "score": hit.score, "title": hit.title or None}
    return {**row, "features": hit.features} if explain else row


def _line(hit: Hit) -> str:
    return f"{hit.score:.3f}  {hit.item}  {shortened(hit.title, MAX_TITLE)}"


def _explained(hit: Hit) -> str:
    return "  ".join(f"{name} {value:.2f}" for name, value in hit.features.items() if value)


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
