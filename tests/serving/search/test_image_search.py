"""Search by images and by item nodes, with encoders that need no weights."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from encoders.pretrained_folder import Vectors
from schema.errors import ImageRefusedError, UsageError
from serving.search.documents import SearchedItem
from serving.search.encoders import Encoders
from serving.search.filters import Filters
from serving.search.parts import EMBEDDINGS, Kind, Part, Vector
from serving.search.searcher import Searcher
from serving.search.vectors import TextSource, encode_missing, forget_parts
from tests.serving.search.made import ONTOLOGY, SHOP, WordEncoder, item, make_index

COLOURS = {
    "4": (200, 30, 30), "5": (30, 30, 200), "6": (220, 60, 60), "1": (10, 10, 10),
    "8": (60, 60, 220), "12": (150, 170, 190),
}  # fmt: skip


def file_of(colour: tuple[int, int, int]) -> bytes:
    """Return an image file of one colour."""
    stream = io.BytesIO()
    Image.new("RGB", (20, 20), colour).save(stream, "PNG")
    return stream.getvalue()


class ColourEncoder:
    """Encodes an image as its mean colour, around grey."""

    space = "colours"
    image_size = 8

    def encode(self, pixels: NDArray[np.uint8]) -> Vectors:
        """Return the vectors [N, 3]."""
        mean = pixels.astype(np.float32).mean((2, 3)) - 127.6
        return mean / np.linalg.norm(mean, axis=1, keepdims=True)


class MadeSource:
    """Vectors that are given by item, of any parts."""

    def __init__(
        self,
        items: Sequence[SearchedItem],
        vectors: Mapping[Part, Mapping[str, Vector]],
        space: str,
    ) -> None:
        self.parts = tuple(vectors)
        self.space = space
        self.encoded = 0
        self._items = items
        self._vectors = vectors

    def digests(self) -> Iterator[bytes | None]:
        """Yield a hash of all of each item; None for one without a vector."""
        for each in self._items:
            there = any(each.id in own for own in self._vectors.values())
            yield each.digest if there else None

    def encode(self, places: Sequence[int]) -> Mapping[Part, Sequence[Vector | None]]:
        """Return the vectors."""
        self.encoded += len(places)
        ids = [self._items[place].id for place in places]
        return {part: [own.get(id) for id in ids] for part, own in self._vectors.items()}


def unit(*numbers: float) -> Vector:
    vector = np.array(numbers, np.float32)
    return vector / np.linalg.norm(vector)


def image_source(items: Sequence[SearchedItem] = SHOP) -> MadeSource:
    """Return the images of some of the shop's items."""
    pixels = {id: np.full((1, 3, 8, 8), 0, np.uint8) for id in COLOURS}
    for id, colour in COLOURS.items():
        pixels[id][0] += np.array(colour, np.uint8)[:, None, None]
    encoder = ColourEncoder()
    vectors = {id: encoder.encode(each)[0] for id, each in pixels.items()}
    return MadeSource(items, {Part.IMAGE: vectors}, encoder.space)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An index of the shop with vectors of images."""
    make_index(tmp_path, SHOP)
    report = encode_missing(tmp_path, image_source(), SHOP)
    assert (report.encoded, report.items) == (len(COLOURS), {Part.IMAGE: len(COLOURS)})
    return tmp_path


@pytest.fixture
def searcher(folder: Path) -> Iterator[Searcher]:
    searcher = Searcher(folder, ONTOLOGY, Encoders(image=ColourEncoder()))
    yield searcher
    searcher.close()


RED = file_of((210, 40, 40))


def test_an_image_finds_what_looks_like_it(searcher: Searcher) -> None:
    results = searcher.search("", 2, image=RED)
    assert {hit.item for hit in results.hits} == {"4", "6"}
    assert results.parts == (Part.IMAGE,)
    assert all(set(hit.by) == {"image"} and hit.by["image"] > 0.9 for hit in results.hits)
    filtered = searcher.search("", 10, Filters.parse(["colour=blue"]), image=RED)
    assert {hit.item for hit in filtered.hits} == {"5", "8"}
    assert filtered.facets == []
    assert searcher.search("", 3, image=RED, facets=True).facets[0].property == "category"


def test_text_and_image_are_fused_by_their_ranks(searcher: Searcher) -> None:
    results = searcher.search("clay mug", 10, image=RED)
    first = results.hits[0]
    # Blue and red mugs are the same by words; the image tells them apart.
    assert first.item == "4"
    assert set(first.by) == {"words", "image"}
    by_words = [hit.item for hit in searcher.search("clay mug").hits]
    by_image = [hit.item for hit in searcher.search("", image=RED).hits]
    blue = next(hit for hit in results.hits if hit.item == "5")
    ranks = by_words.index("5"), by_image.index("5")
    assert blue.score == pytest.approx(sum(61 / (61 + rank) for rank in ranks) / 2, abs=1e-6)
    # What has no image is ranked by words alone.
    without = next(hit for hit in results.hits if hit.item == "7")
    assert set(without.by) == {"words"}


def test_an_image_that_cannot_be_read_or_searched_for_is_refused(
    searcher: Searcher, tmp_path: Path
) -> None:
    for data in (b"", b"no image", RED[:40]):
        with pytest.raises(ImageRefusedError):
            searcher.search("", image=data)
    with pytest.raises(UsageError, match="no word"):
        searcher.search("?!", image=RED)
    with pytest.raises(UsageError, match="no word"):
        searcher.search("")
    make_index(tmp_path / "plain", SHOP)
    plain = Searcher(tmp_path / "plain", ONTOLOGY, Encoders(image=ColourEncoder()))
    with pytest.raises(UsageError, match="--image-encoder"):
        plain.search("mug", image=RED)


def test_vectors_of_another_encoder_are_not_compared(folder: Path) -> None:
    class Other(ColourEncoder):
        space = "other colours"

    searcher = Searcher(folder, ONTOLOGY, Encoders(image=Other()))
    assert searcher.unusable() == [Part.IMAGE]
    with pytest.raises(UsageError, match="--image-encoder"):
        searcher.search("", image=RED)
    # Those of two items still are.
    assert searcher.similar("4", 1, by=[Kind.IMAGE]).hits[0].item == "6"


def test_similar_items_by_image(searcher: Searcher) -> None:
    (nearest,) = searcher.similar("8", 1, by=[Kind.IMAGE]).hits
    assert (nearest.item, set(nearest.by)) == ("5", {"image"})
    everything = searcher.similar("4", 3)
    assert everything.parts == (Part.IMAGE,)
    assert "image" in everything.hits[0].by
    assert "words" in everything.hits[0].by
    words = searcher.similar("4", 3, by=[Kind.WORDS])
    assert all(set(hit.by) == {"words"} for hit in words.hits)
    with pytest.raises(UsageError, match="item '2' has no image vector: compare it by words"):
        searcher.similar("2", by=[Kind.IMAGE])
    with pytest.raises(UsageError, match="no node vectors"):
        searcher.similar("4", by=[Kind.NODE])


def test_of_several_embeddings_the_largest_cosine_counts(tmp_path: Path) -> None:
    items = [item(str(number), f"Thing {number}") for number in range(4)]
    make_index(tmp_path, items)
    by_item = {
        "0": (unit(1, 0), unit(1, 0), unit(1, 0)),
        "1": (unit(0.9, 0.1), unit(0, 1), unit(0, 1)),
        "2": (unit(0, 1), unit(0, 1), unit(1, 0.01)),
        "3": (unit(0, 1), unit(0, 1), unit(0, 1)),
    }
    vectors = {
        part: {id: own[place] for id, own in by_item.items()}
        for place, part in enumerate(EMBEDDINGS)
    }
    encode_missing(tmp_path, MadeSource(items, vectors, "network"), items)
    hits = Searcher(tmp_path).similar("0", by=[Kind.NODE]).hits
    assert [hit.item for hit in hits] == ["2", "1", "3"]
    assert hits[0].by == {"node": round(float(unit(1, 0.01)[0]), 4)}


class MatchNetwork:
    """A network that embeds queries: any text is nearest to item 8."""

    parts = (Part.MATCH,)
    space = "network"
    reads_images = False

    def of_text(self, text: str) -> dict[Part, Vector]:
        return {Part.MATCH: unit(1, 0)}

    def of_image(self, data: bytes) -> dict[Part, Vector]:
        return {}


def test_what_a_network_finds_for_a_text_is_fused_with_what_words_find(tmp_path: Path) -> None:
    make_index(tmp_path, SHOP)
    vectors = {each.id: unit(0.1, 1) for each in SHOP} | {"8": unit(1, 0)}
    encode_missing(tmp_path, MadeSource(SHOP, {Part.MATCH: vectors}, "network"), SHOP)
    searcher = Searcher(tmp_path, ONTOLOGY, Encoders(network=MatchNetwork()))
    hits = searcher.search("tv").hits
    assert "8" in [hit.item for hit in hits[:2]]
    assert set(hits[0].by) == {"words", "match"}
    assert "match" in hits[0].features


def test_new_vectors_are_noticed_and_missing_ones_counted(folder: Path) -> None:
    searcher = Searcher(folder, ONTOLOGY, Encoders(WordEncoder(), ColourEncoder()))
    assert searcher.encoded() == 0
    assert searcher.outdated() == {}
    encode_missing(folder, TextSource(WordEncoder(), SHOP), SHOP)
    assert searcher.encoded() == len(SHOP)
    changed = [item("1", "Acme radio"), *SHOP[1:], item("13", "Green tea")]
    make_index(folder, changed, number=2)
    assert searcher.outdated() == {Part.IMAGE: 2, Part.TEXT: 2}
    # The vector from before counts until there is a new one.
    assert searcher.encoded() == len(SHOP)
    some = [changed[0], changed[-1]]
    encode_missing(folder, TextSource(WordEncoder(), some), some, only_some=True)
    assert searcher.outdated() == {Part.IMAGE: 2}
    assert searcher.encoded() == len(SHOP) + 1
    found = [hit.by for hit in searcher.search("radio").hits if hit.item == "1"]
    assert found[0]["text"] > 0.5
    forget_parts(folder, [Part.TEXT])
    assert searcher.encoded() == 0
    assert searcher.encoded(Part.IMAGE) == len(COLOURS)


def test_what_was_encoded_is_not_encoded_again(folder: Path) -> None:
    again = image_source()
    assert encode_missing(folder, again, SHOP).encoded == 0
    assert again.encoded == 0
    fewer = image_source(SHOP[:5])
    assert encode_missing(folder, fewer, SHOP[:5]).items == {Part.IMAGE: 3}
    other = image_source()
    other.space = "another"
    assert encode_missing(folder, other, SHOP).encoded == len(COLOURS)
