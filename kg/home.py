"""A catalogue's home: the folder that holds its graph, ledger, ontology and models."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from kg.home_settings import HomeSettings
from kg.stores.url import checked_url
from schema.errors import DataError, HomeNotFoundError, SourceNotFoundError, UsageError
from schema.ledger_urls import EXAMPLE, checked_ledger_url
from schema.settings import shown

if TYPE_CHECKING:
    from kg.image_files import ImageFiles
    from kg.snapshot import GraphSnapshot
    from kg.stores.protocol import GraphStore
    from schema.ledger import Ledger
    from schema.ontology import Ontology

_STORE = "store"
LEDGER = "ledger"
IMAGE_FOLDERS = "image_folders"
SOURCE_ORDER = "source_order"


class Home:
    """The paths of everything in a home, and its store, ledger and ontology.

    ``store_url`` is the store passed to the constructor, or else the default that was set for this
    home, or else the graph in the home itself.
    """

    def __init__(self, path: Path, store: str | None = None) -> None:
        self.path = Path(path).absolute()
        self.models = self.path / "models"
        self.cache = self.path / "cache"
        self.regions = self.path / "regions"
        self.sources = self.path / "sources"
        self.baselines = self.path / "baselines"
        self.ontology_path = self.path / "ontology.toml"
        self.shapes_path = self.path / "shapes.ttl"
        self.inferred_ontologies = self.path / "ontology.inferred"
        self.declared_path = self.path / "ontology.declared.toml"
        self.former_inferred_path = self.path / "cache" / "ontology.inferred.toml"
        """Where earlier versions kept what ``inferred_ontologies`` holds now."""
        self.settings = HomeSettings(self.path)
        self.ledger_path = self.path / "ledger.sqlite"
        self.ledger_url = self._ledger_server() or f"sqlite:///{self.ledger_path}"
        self.store_url = store or self.own_store_url()

    @classmethod
    def open(cls, path: Path | str, create: bool = False, store: str | None = None) -> Home:
        """Open the home at a path, creating it if ``create`` is set and there is none yet.

        Raises HomeNotFoundError if there is none, or if it cannot be created.
        """
        home = cls(Path(path), store)
        if home.settings.exists():
            return home
        if not create:
            raise HomeNotFoundError(
                f"no catalogue home at {path}: "
                f"create one with `catalograph --home {path} init`, or `ingest` a source into it"
            )
        try:
            home.models.mkdir(parents=True, exist_ok=True)
            home.cache.mkdir(exist_ok=True)
            # The settings come last: a folder that was only half prepared is not a home.
            home.settings.create({IMAGE_FOLDERS: []})
        except OSError as error:
            raise HomeNotFoundError(
                f"cannot create a catalogue home at {path} ({error.strerror}): "
                "name a folder that can be written"
            ) from None
        return home

    def set_default_store(self, url: str) -> None:
        """Make ``url`` the store of this home whenever no other store is named.

        Raises UsageError if the URL contains a password, since it is saved in the home.
        """
        relative = self.relative_url(checked_url(url))
        with self.settings.changing() as settings:
            settings[_STORE] = relative
        self.store_url = self._default_store() or self.store_url

    @property
    def has_ledger(self) -> bool:
        """Whether there is a ledger yet: a file, or a server's that the home names."""
        return self.ledger_path.is_file() or self.has_ledger_server

    @property
    def has_ledger_server(self) -> bool:
        """Whether a server keeps the ledger."""
        return not self.ledger_url.startswith("sqlite:")

    def set_ledger(self, url: str) -> int:
        """Keep the ledger in a PostgreSQL database from now on; return how many rows it takes over.

        Those of the ledger so far are copied, and its file stays. Raises UsageError if the URL
        cannot be used, or if the database has the records of another home.
        """
        url = checked_ledger_url(url)
        if url == self.ledger_url:
            return 0
        from schema.ledger import Ledger

        copied = 0
        with Ledger(url) as target:
            if self.has_ledger:
                with self.ledger() as before:
                    copied = before.copy_to(target)
            elif target.has_rows():
                raise UsageError(
                    f"the ledger {url} holds the records of a catalogue: name a database of its "
                    "own for each home"
                )
        with self.settings.changing() as settings:
            settings[LEDGER] = url
        self.ledger_url = url
        return copied

    def _ledger_server(self) -> str | None:
        """Return the URL of a server's ledger that the home names; None if it names none."""
        url = self.settings.read().get(LEDGER)
        if url is None:
            return None
        if not isinstance(url, str):
            raise HomeNotFoundError(
                f"{self.settings.path} has {LEDGER} = {shown(url)}: write a URL such as "
                f"{EXAMPLE}, or remove the line"
            )
        # Checked again, because the file may have been edited by hand.
        return checked_ledger_url(url)

    def image_folders(self) -> list[str]:
        """Return the folders that the catalogue's images may be read from.

        A home from before these were kept has those of its sources, from which ``ingest`` takes
        images if it is given no other.
        """
        folders = self.settings.read().get(IMAGE_FOLDERS)
        if folders is not None:
            if not isinstance(folders, list) or not all(isinstance(each, str) for each in folders):
                raise HomeNotFoundError(
                    f"{self.settings.path} has {IMAGE_FOLDERS} = {shown(folders)}: "
                    'write a list of folders, such as ["/photos"]'
                )
            return folders
        if not self.has_ledger:
            return []
        with self.ledger() as ledger:
            sources = ledger.ingested_sources()
        return list(dict.fromkeys(str(Path(source).parent.resolve()) for source in sources))

    def allow_images(self, folders: Iterable[Path | str]) -> None:
        """Let the catalogue's images be read from these folders as well, from now on.

        Raises SourceNotFoundError if one of them does not exist.
        """
        wanted: list[str] = []
        for folder in map(Path, folders):
            if not folder.is_dir():
                raise SourceNotFoundError(f"no image folder {folder}: check --images")
            wanted.append(str(folder.resolve()))
            if ".." not in folder.parts:
                # An ingest stores resolved paths, but others may spell them as the user does.
                wanted.append(str(folder.absolute()))
        for path in wanted:
            try:
                path.encode()
            except UnicodeEncodeError:
                raise UsageError(
                    f"the image folder {path!r} has a name that is not UTF-8: rename it"
                ) from None
        with self.settings.changing() as settings:
            known = self.image_folders()
            added = [folder for folder in dict.fromkeys(wanted) if folder not in known]
            if added:
                settings[IMAGE_FOLDERS] = [*known, *added]

    def image_files(self) -> ImageFiles:
        """Return the way to the catalogue's image files: the only one on which they are opened."""
        from kg.image_files import ImageFiles

        return ImageFiles(self.image_folders())

    def relative_url(self, url: str) -> str:
        """Return a store's URL as the home's files name it.

        A store inside the home is named relative to it, so that it moves with the home. Any other
        path is absolute: the home can be used from any working directory.
        """
        scheme, _, place = url.partition(":")
        if not place or place.startswith("//"):
            return url
        path = Path(place).absolute()
        inside = path.is_relative_to(self.path)
        return f"{scheme}:{path.relative_to(self.path) if inside else path}"

    def own_store_url(self) -> str:
        """Return the store of this home where no other is named."""
        return self._default_store() or f"ladybug:{self.path / 'graph'}"

    def absolute_url(self, url: str) -> str:
        """Return a URL that :meth:`relative_url` made with an absolute path."""
        scheme, _, place = url.partition(":")
        is_path = place and not place.startswith("//")
        return f"{scheme}:{self.path / place}" if is_path else url

    def _default_store(self) -> str | None:
        """Return the URL saved in the home, if any, with an absolute path."""
        url = self.settings.read().get(_STORE)
        if url is None:
            return None
        if not isinstance(url, str) or not url.isprintable():
            raise HomeNotFoundError(
                f"{self.settings.path} names the store {shown(url)}: "
                "write a URL such as ladybug:graph"
            )
        # Checked again, because the file may have been edited by hand.
        return self.absolute_url(checked_url(url))

    def store(self, read_only: bool = False) -> GraphStore:
        """Open the graph store; close it afterwards, or use it in a ``with`` statement."""
        from kg.stores.open import open_store

        store = open_store(self.store_url, create=not read_only, read_only=read_only)
        names = self.source_order()
        if names:
            from kg.stores.references import SourceOrder

            store.order = SourceOrder(names)
        return store

    def source_order(self) -> tuple[str, ...]:
        """Return the sources from the most to the least trusted; none means the newest first."""
        names = self.settings.read().get(SOURCE_ORDER, [])
        if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
            raise HomeNotFoundError(
                f"{self.settings.path} has {SOURCE_ORDER} = {shown(names)}: "
                'write a list of sources, such as ["erp", "supplier.csv"]'
            )
        return tuple(names)

    def snapshot(
        self, *, details: bool = False, predicted_categories: bool = True
    ) -> GraphSnapshot:
        """Read the trusted statements of the graph, with descriptions and all images if asked for.

        Without ``predicted_categories``, those that a model has guessed are left out. Raises
        DataError if it has no items.
        """
        from kg.snapshot import read_snapshot

        with self.store(read_only=True) as store:
            snapshot = read_snapshot(
                store,
                ontology=self.ontology_or_none(),
                details=details,
                predicted_categories=predicted_categories,
            )
        if not snapshot.items:
            raise DataError(
                f"the catalogue {self.path} has no items: load some with `catalograph ingest` first"
            )
        return snapshot

    def ledger(self) -> Ledger:
        """Open the ledger, creating or upgrading it if necessary."""
        from schema.ledger import Ledger

        return Ledger(self.ledger_url)

    def ontology_or_none(self) -> Ontology | None:
        """Load the ontology; None if there is none yet."""
        return self.ontology() if self.ontology_path.exists() else None

    def ontology(self) -> Ontology:
        """Load the ontology; raise SourceNotFoundError if nothing was ingested yet."""
        # Only now, since what reads units and numbers takes its time to load.
        from schema.ontology import Ontology

        return Ontology.load(self.ontology_path)
