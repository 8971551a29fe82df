"""A home's search: its index, the vectors of its items, and the encoders of both.

torch is imported only where there is something to encode.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kg.snapshot import GraphSnapshot, read_snapshot
from schema.errors import DataError, ModelError
from schema.progress import ProgressCallback, no_progress
from serving.search import database, nearest
from serving.search.documents import SearchedItem, items_of
from serving.search.encoders import Encoders, space_of
from serving.search.index import index_folder, newest_index, read_items
from serving.search.nearest import DEAD, TAIL, Bank, Method
from serving.search.parts import EMBEDDINGS, Part
from serving.search.searcher import Searcher
from serving.search.settings import BUILT_IN, EncoderFolders, network_space
from serving.search.shared import load_part
from serving.search.vectors import (
    TextSource,
    VectorReader,
    VectorSource,
    encode_missing,
    forget_parts,
)

if TYPE_CHECKING:
    from encoders.pretrained_image import ImagesEncoder
    from kg.home import Home
    from kg.image_files import ImageFiles
    from serving.search.item_sources import NetworkVectors


def load_encoders(
    home: Home, folders: EncoderFolders, *, images: bool = False, everything: bool = False
) -> Encoders:
    """Load the encoders of a home's index that read texts, and those that read images if wanted.

    With ``everything``, also a network that reads no queries.
    """
    text = None
    if folders.text is not None:
        from encoders.pretrained_text import PretrainedText

        text = PretrainedText(folders.text)
    image = None
    if (images or everything) and folders.image is not None:
        image = _image_encoder(folders.image)
    network = None
    reads_images = images and folders.image is None
    if folders.network is not None and (reads_images or everything or _has_part(home, Part.MATCH)):
        network = _load_network(folders)
    return Encoders(text, image, network)


def _image_encoder(folder: Path) -> ImagesEncoder:
    if str(folder) == BUILT_IN:
        from encoders.described_images import DescribedImages

        return DescribedImages()
    from encoders.pretrained_image import PretrainedImages

    return PretrainedImages(folder)


def _load_network(folders: EncoderFolders) -> NetworkVectors:
    from fusion.checkpoint import default_device
    from fusion.inference.scorer import CellScorer
    from kg.image_cache import read_pixels
    from serving.search.item_sources import NetworkVectors

    if folders.network is None:
        raise ValueError("there is no network")
    scorer = CellScorer.load(folders.network, str(default_device()), read_pixels)
    return NetworkVectors(scorer, with_images=folders.image is None)


def _has_part(home: Home, part: Part) -> bool:
    with closing(VectorReader(index_folder(home))) as reader:
        return part in reader.parts()


@dataclass(frozen=True)
class PartReport:
    """The vectors of a part after an index was made.

    Attributes:
        items: how many items have one
        width: their width D
        method: how the nearest are found
        recall: how many of the 100 nearest are found, as a share; 1 if all are compared
    """

    items: int
    width: int
    method: Method
    recall: float

    def as_dict(self) -> dict[str, float | int | str]:
        """Return plain data."""
        return {
            "items": self.items,
            "width": self.width,
            "method": self.method,
            "recall": self.recall,
        }


@dataclass(frozen=True)
class EncodedItems:
    """What an index has of vectors now, and how many texts and items were encoded for it."""

    encoded: int
    parts: dict[Part, PartReport]
    files: ImageFiles | None = None


def encode_items(
    home: Home, encoders: Encoders, progress: ProgressCallback = no_progress
) -> EncodedItems:
    """Make the vectors of a home's items that are missing, and what finds the nearest of many.

    Vectors of parts that no encoder makes any more are removed. A killed call goes on where it was.
    """
    folder = index_folder(home)
    wanted = encoders.spaces()
    with closing(VectorReader(folder)) as reader:
        gone = [part for part in reader.parts() if part not in wanted]
    if gone:
        forget_parts(folder, gone)
        for part in gone:
            nearest.index_file(folder, part).unlink(missing_ok=True)
    if not wanted:
        return EncodedItems(0, {})
    with home.store(read_only=True) as store:
        snapshot = read_snapshot(store, ontology=home.ontology_or_none(), details=True)
    items = list(items_of(snapshot))
    files = home.image_files()
    encoded = 0
    for source in _sources(home, encoders, snapshot, items, files):
        encoded += encode_missing(folder, source, items, progress).encoded
    return EncodedItems(encoded, approximate_parts(folder, wanted), files)


def _sources(
    home: Home,
    encoders: Encoders,
    snapshot: GraphSnapshot,
    items: Sequence[SearchedItem],
    files: ImageFiles,
) -> list[VectorSource]:
    sources: list[VectorSource] = []
    if encoders.text is not None:
        sources.append(TextSource(encoders.text, items))
    if encoders.image is None and encoders.network is None:
        return sources
    from serving.items import CatalogItems
    from serving.loading import load_regions
    from serving.search.item_sources import ImageSource, NetworkSource, NetworkVectors

    if encoders.image is not None:
        sources.append(ImageSource(encoders.image, CatalogItems(snapshot, files)))
    if isinstance(encoders.network, NetworkVectors):
        regions = load_regions(home, encoders.network.scorer)
        catalogue = CatalogItems(snapshot, files, regions)
        sources.append(NetworkSource(encoders.network, catalogue))
    return sources


def approximate_parts(folder: Path, parts: Collection[Part]) -> dict[Part, PartReport]:
    """Make or complete the approximate indices of parts that have many vectors, and tell of all."""
    path = newest_index(folder)
    if path is None:
        raise DataError(f"there is no index in {folder}: make one with `catalograph index`")
    reports = {}
    with (
        closing(database.connect(path)) as connection,
        closing(VectorReader(folder)) as reader,
        reader.unchanging(),
    ):
        rows = list(connection.execute("SELECT number, id, digest FROM items ORDER BY number"))
        for part, state in reader.parts().items():
            if part not in parts:
                continue
            space = load_part(folder, reader, part, state.space, rows).space
            bank = _approximated(folder, part, space.bank, len(set(space.rows.tolist())))
            approximate = bank.approximate
            reports[part] = PartReport(
                len(space),
                int(bank.base.shape[1]) if len(bank.base) else 0,
                bank.method,
                1.0 if approximate is None else approximate.recall,
            )
    return reports


def _approximated(folder: Path, part: Part, bank: Bank, alive: int) -> Bank:
    """Return a bank with an approximate index if it has many vectors; that is saved."""
    count = len(bank.base) + len(bank.tail)
    file = nearest.index_file(folder, part)
    if nearest.method_for(alive) is Method.FLAT:
        file.unlink(missing_ok=True)
        return Bank(bank.space, bank.base, bank.tail, bank.row_of)
    is_made = bank.approximate is not None and bank.method is nearest.method_for(count)
    if is_made and not len(bank.tail) and alive >= (1 - DEAD) * count:
        return bank
    if is_made and len(bank.tail) <= TAIL * len(bank.base) and alive >= (1 - DEAD) * count:
        bank = nearest.grown(bank)
    else:
        bank = nearest.built(bank)
    nearest.save(folder, part, bank)
    return bank


def encode_some(home: Home, encoders: Encoders, ids: Sequence[str]) -> int:
    """Make the vectors of a few items that have changed; return how many there were to make.

    Only texts are encoded: these find an item, where images and statements rank it.
    """
    folder = index_folder(home)
    if encoders.text is None or not ids:
        return 0
    with closing(VectorReader(folder)) as reader:
        state = reader.parts().get(Part.TEXT)
    if state is None or state.space != space_of(encoders.text.space, Part.TEXT):
        return 0
    with home.store(read_only=True) as store:
        items = read_items(store, home.ontology_or_none(), ids)
    return encode_missing(folder, TextSource(encoders.text, items), items, only_some=True).encoded


def open_searcher(home: Home, *, words_only: bool = False, images: bool = False) -> Searcher:
    """Open a home's index to search it, with its text encoder unless words alone are to count.

    With ``images``, also what reads the image of a query. Raises DataError if there is no index.
    """
    folder = index_folder(home)
    if words_only:
        return Searcher(folder, home.ontology_or_none(), vectors=False)
    encoders = load_encoders(home, EncoderFolders.read(folder), images=images)
    return Searcher(folder, home.ontology_or_none(), encoders)


def stale_vectors(home: Home) -> list[str]:
    """Say in a line each which vectors are not those of the encoders that the index has."""
    folders = EncoderFolders.read(index_folder(home))
    if folders.network is None:
        return []
    try:
        space = network_space(folders.network)
    except ModelError as error:
        return [str(error)]
    with closing(VectorReader(index_folder(home))) as reader:
        states = reader.parts()
    own = [part for part in states if part in (Part.NODE, *EMBEDDINGS, Part.MATCH)]
    if not own or any(states[part].space != space_of(space, part) for part in own):
        return [f"the model {folders.network} has changed since its vectors of items were made"]
    return []
