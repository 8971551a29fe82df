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
from schema.errors import ImageRefusedError, StoreError, UsageError

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
    "text_folder",
    metavar="DIR",
    type=PATH,
    help="A pretrained text encoder of transformers: a folder with config.json, model.safetensors "
    "and tokenizer.json. It is used until it is changed.  [default: the one of the last call]",
)
@click.option("--no-text-encoder", "no_text", is_flag=True, help="Use no text encoder from now on.")
@click.option(
    "--image-encoder",
    "image_folder",
    metavar="DIR|built-in",
    type=PATH,
    help="What compares the items' first images: a pretrained image encoder of transformers (a "
    "folder with config.json, model.safetensors and preprocessor_config.json), or `built-in`, "
    "which goes by outlines and colours. It is used until it is changed.  [default: the one of the "
    "last call, or else that of the --model]",
)
@click.option(
    "--no-image-encoder", "no_image", is_flag=True, help="Use no image encoder from now on."
)
@click.option(
    "--model",
    metavar="NAME|DIR",
    help="A network whose item nodes are compared: a model of this home, or any model folder. It "
    "is used until it is changed.  [default: the one of the last call]",
)
@click.option("--no-model", "no_model", is_flag=True, help="Use no network from now on.")
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
    text_folder: Path | None,
    no_text: bool,
    image_folder: Path | None,
    no_image: bool,
    model: str | None,
    no_model: bool,
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
    from serving.search.index import index_folder, index_home
    from serving.search.opening import encode_items, load_encoders
    from serving.search.settings import EncoderFolders

    for name, given, none in (
        ("text-encoder", text_folder, no_text),
        ("image-encoder", image_folder, no_image),
        ("model", model, no_model),
    ):
        if given is not None and none:
            raise UsageError(f"--{name} and --no-{name} exclude each other: give one")
    start = time.monotonic()
    home = context.home()
    before = EncoderFolders.read(index_folder(home))
    folders = EncoderFolders(
        None if no_text else text_folder or before.text,
        None if no_image else image_folder or before.image,
        None if no_model else _network_folder(home, model) or before.network,
    )
    encoders = load_encoders(home, folders, everything=True)
    with bar("index") as progress:
        changed = index_home(home, anew=anew, progress=progress)
    folders.write(index_folder(home))
    with bar("encode") as progress:
        encoded = encode_items(home, encoders, progress)
    if encoded.files is not None:
        warn_of_unreadable_images(encoded.files.unreadable(encoded.files.failures))
    learned = None if learn is None else _learn(context, home, learn)
    document = {
        "items": changed.items,
        "added": changed.added,
        "changed": changed.changed,
        "removed": changed.removed,
        "anew": changed.anew,
        "encoded": encoded.encoded,
        "vectors": {str(part): report.as_dict() for part, report in encoded.parts.items()},
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
    if encoders.spaces():
        lines.append(f"{encoded.encoded:,} texts, images and items were encoded")
    for part, report in encoded.parts.items():
        found = f", which find {report.recall:.1%} of the nearest" if report.recall < 1 else ""
        lines.append(f"{part}: vectors of {report.items:,} items ({report.method}{found})")
    if learned is not None:
        lines.append(
            f"weights learned from {learned['queries']:,} queries with {learned['ratings']:,} "
            "ratings"
        )
    context.emit(document, *lines)


def _network_folder(home: Home, model: str | None) -> Path | None:
    """Return the folder of the network that a model is, or has; None if none is named."""
    if model is None:
        return None
    from serving.loading import load_network

    return load_network(home, model).path


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
@click.argument("text", required=False)
@click.option(
    "--image",
    metavar="FILE",
    type=PATH,
    help="Search for what looks like this image, with a text or without; see `index "
    "--image-encoder` and `index --model`.",
)
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
    text: str | None,
    image: Path | None,
    filters: tuple[str, ...],
    category: str | None,
    count: int,
    facets: bool,
    explain: bool,
    words_only: bool,
) -> None:
    """Search for items.

    TEXT is a query as a shopper would type it: words in any language, names, model numbers. With
    --image, items are also ranked by how much their images are like it, and both ranks are fused.

    \b
    Example:
      catalograph search 'blue striped mug' --filter material=clay
    """
    from serving.search.filters import Filters

    if text is None and image is None:
        raise UsageError("there is nothing to search for: give a text, --image FILE, or both")
    if image is not None and words_only:
        raise UsageError("--image and --words-only exclude each other: give one")
    home = context.home()
    data = None if image is None else _read_image(image)
    searcher = _open(context, home, words_only, images=image is not None)
    try:
        results = searcher.search(
            text or "", count, Filters.parse(filters, category), facets=facets, image=data
        )
    except ImageRefusedError as error:
        raise UsageError(f"the image {image} {error}: {_OTHER_IMAGE}") from None
    for word, other in results.corrected.items():
        context.note(f"no item has the word {word!r}: it is read as {other!r}")
    _note_outdated(context, searcher, results)
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


_OTHER_IMAGE = "name a JPEG, PNG, GIF, WebP or AVIF file"


def _read_image(path: Path) -> bytes:
    """Read the image of a query; raises UsageError."""
    from kg.image_files import read_own_image

    try:
        return read_own_image(path)
    except ImageRefusedError as error:
        raise UsageError(f"the image {path} {error}: {_OTHER_IMAGE}") from None


@click.command(cls=Command)
@click.argument("item")
@_filter_options
@click.option(
    "--by",
    "kinds",
    type=click.Choice(["words", "image", "node"]),
    multiple=True,
    help="Compare items by words (and by what the text encoder makes of them), by their images, "
    "or by their nodes in a network; may be repeated.  [default: by all that there is]",
)
@words_only_option
@pass_context
def similar(
    context: Context,
    item: str,
    filters: tuple[str, ...],
    category: str | None,
    count: int,
    kinds: tuple[str, ...],
    words_only: bool,
) -> None:
    """Find the items most like another one.

    ITEM is an id. Items are compared by their words, by the kind of thing that they are, and by
    the vectors that the index has of texts, images and item nodes.

    \b
    Example:
      catalograph similar P000012 -k 5
    """
    from serving.search.filters import Filters
    from serving.search.index import index_folder
    from serving.search.parts import Kind
    from serving.search.searcher import Searcher

    home = context.home()
    _catch_up(context, home)
    # The vectors of items are there: nothing is to be encoded.
    searcher = Searcher(index_folder(home), home.ontology_or_none(), vectors=not words_only)
    results: Results = searcher.similar(
        item, count, Filters.parse(filters, category), [Kind(each) for each in kinds]
    )
    _note_outdated(context, searcher, results)
    hits = [_row(hit, False) for hit in results.hits]
    context.emit(hits, *(list(map(_line, results.hits)) or ["nothing was found"]))


def _open(context: Context, home: Home, words_only: bool, images: bool) -> Searcher:
    """Open the index; a few changed items are indexed before, and a stale index is said to be."""
    from serving.search.index import index_folder
    from serving.search.opening import encode_some, load_encoders, stale_vectors
    from serving.search.searcher import Searcher
    from serving.search.settings import EncoderFolders

    changed = _catch_up(context, home)
    folder = index_folder(home)
    ontology = home.ontology_or_none()
    if words_only:
        return Searcher(folder, ontology, vectors=False)
    encoders = load_encoders(home, EncoderFolders.read(folder), images=images)
    try:
        encode_some(home, encoders, changed)
    except StoreError as error:
        # Another process encodes them just now, or the disk cannot be written.
        context.note(f"warning: changed items are found by words alone ({error})")
    searcher = Searcher(folder, ontology, encoders)
    stale = stale_vectors(home) if images else []
    if searcher.unusable() and not stale:
        named = ", ".join(searcher.unusable())
        stale = [f"the encoder of its vectors ({named}) has changed, which are not used"]
    for line in stale:
        context.note(f"warning: the index is stale: {line}: bring it up to date with {_INDEX}")
    return searcher


_INDEX = "`catalograph index`"


def _catch_up(context: Context, home: Home) -> tuple[str, ...]:
    """Index a few changed items, and say whether the index is stale; return what was indexed."""
    from serving.search.index import catch_up, index_folder, newest_index

    path = newest_index(index_folder(home))
    if path is None:
        return ()
    freshness = catch_up(home, path)
    if freshness.stale:
        context.note(
            f"warning: the index is stale ({freshness.stale}): bring it up to date with {_INDEX}"
        )
    return freshness.items


def _note_outdated(context: Context, searcher: Searcher, results: Results) -> None:
    """Say how many items have changed since the vectors were made that were compared."""
    outdated = searcher.outdated()
    parts = [part for part in results.parts if part in outdated]
    if parts:
        most = max(outdated[part] for part in parts)
        context.note(
            f"warning: {most:,} items are new or have changed since their vectors "
            f"({', '.join(parts)}) were made: make them with {_INDEX}"
        )


def _row(hit: Hit, explain: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "item": hit.item,
        "score": hit.score,
        "title": hit.title or None,
        "by": hit.by,
    }
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
