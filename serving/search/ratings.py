"""Rated queries: how well items answer a query, by people's judgement or by their clicks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from schema.csv_rows import csv_rows
from schema.errors import DataError, SourceNotFoundError, UsageError
from serving.search.ranking import MATCH_PRIOR, VECTOR_SCALE, RatedQuery, Weights, learn
from serving.search.searcher import Searcher

if TYPE_CHECKING:
    from schema.ledger import QueryRow

MAX_RATING = 10
BOUGHT = 3
CLICKED = 2
Ratings = Mapping[str, Mapping[str, int]]
"""By query: the rating of each item."""


def read_ratings(path: Path) -> dict[str, dict[str, int]]:
    """Read a CSV file with the columns ``query,item,rating``; a rating is a number from 0 to 10.

    Raises SourceNotFoundError if there is none, and UsageError if it is no such file.
    """
    ratings: dict[str, dict[str, int]] = {}
    try:
        for line, row in csv_rows(path, ("query", "item", "rating")):
            rating = row["rating"].strip()
            if not rating.isdecimal() or int(rating) > MAX_RATING:
                raise UsageError(
                    f"{path}, line {line}: the rating {rating[:20]!r} is no number from 0 to "
                    f"{MAX_RATING}: 0 stands for an item that does not answer the query"
                )
            if row["query"].strip() and row["item"].strip():
                ratings.setdefault(row["query"].strip(), {})[row["item"].strip()] = int(rating)
    except (FileNotFoundError, IsADirectoryError):
        raise SourceNotFoundError(
            f"no ratings file {path}: name a CSV file with the columns query,item,rating"
        ) from None
    except ValueError as error:
        raise UsageError(f"{path} {error}") from None
    return ratings


def ratings_of_clicks(rows: Iterable[QueryRow]) -> dict[str, dict[str, int]]:
    """Return ratings from a query log: bought is better than clicked, and that than shown."""
    ratings: dict[str, dict[str, int]] = {}
    for row in rows:
        rating = BOUGHT if row.purchases else CLICKED if row.clicks else 0
        ratings.setdefault(row.query, {})[row.item] = rating
    return ratings


@dataclass(frozen=True)
class Rateable:
    """The ratings whose items an index has, and how many were left out."""

    ratings: dict[str, dict[str, int]]
    unknown_items: int
    without_words: int


def rateable(searcher: Searcher, ratings: Ratings) -> Rateable:
    """Leave out items that are not indexed, and queries without a word."""
    known = searcher.known({item for items in ratings.values() for item in items})
    kept: dict[str, dict[str, int]] = {}
    unknown = 0
    wordless = 0
    for query, items in ratings.items():
        own = {item: rating for item, rating in items.items() if item in known}
        unknown += len(items) - len(own)
        if not searcher.has_words(query):
            wordless += 1
        elif own:
            kept[query] = own
    return Rateable(kept, unknown, wordless)


@dataclass(frozen=True)
class LearnedFrom:
    """Weights, and how many queries and ratings they were learned from."""

    weights: Weights
    queries: int
    ratings: int


def learn_weights(
    searcher: Searcher, ratings: Ratings, towards: Weights, queries: Sequence[str] | None = None
) -> LearnedFrom:
    """Learn weights from ratings, of all queries or of some.

    Raises DataError if no query has an item that is better than another one.
    """
    names = list(ratings) if queries is None else list(queries)
    words: list[RatedQuery] = []
    with_vectors: list[RatedQuery] = []
    with_network: list[RatedQuery] = []
    count = 0
    for query in names:
        items = sorted(ratings[query])
        rating = np.array([ratings[query][item] for item in items], np.int64)
        if len(set(rating.tolist())) < 2:
            continue
        found = searcher.features(query, items)
        own = np.array(towards.words)
        # The reading by which an item is found is the one that fits it best.
        best = np.argmax([matrix @ own for matrix in found.words], axis=0)
        features = np.stack(found.words)[best, np.arange(len(items))]
        words.append(RatedQuery(features, rating))
        count += len(items)
        meaning = np.zeros(len(items)) if found.meaning is None else found.meaning
        joined = np.column_stack([features, VECTOR_SCALE * meaning])
        if found.meaning is not None:
            with_vectors.append(RatedQuery(joined, rating))
        if found.match is not None:
            joined = np.column_stack([joined, VECTOR_SCALE * found.match])
            with_network.append(RatedQuery(joined, rating))
    if not words:
        raise DataError(
            "no query has one item that is rated better than another: rate more, with 0 for items "
            "that do not answer the query"
        )
    prior = towards.with_network or (*towards.with_vectors, MATCH_PRIOR)
    weights = Weights(
        tuple(learn(words, towards.words).tolist()),
        tuple(learn(with_vectors, towards.with_vectors).tolist())
        if with_vectors
        else towards.with_vectors,
        tuple(learn(with_network, prior).tolist()) if with_network else towards.with_network,
    )
    return LearnedFrom(weights, len(words), count)
