"""A catalogue's home: the folder that holds its graph, ledger, ontology and models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kg.stores.url import checked_url
from schema.documents import parse_toml
from schema.errors import DataError, HomeNotFoundError
from schema.files import open_named
from schema.ontology import Ontology
from schema.settings import shown
from schema.stamps import Condition, examine, without_stamp, write_stamped

if TYPE_CHECKING:
    from kg.snapshot import GraphSnapshot
    from kg.stores.protocol import GraphStore
    from schema.ledger import Ledger

MAX_MARKER_BYTES = 1 << 20
_MARKER = "home.toml"
FORMAT = 1
_MARKER_TEXT = (
    "# A Catalograph home: graph, ledger, ontology and models of one catalogue.\n"
    f"format = {FORMAT}\n"
)


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
        self.ontology_path = self.path / "ontology.toml"
        self.shapes_path = self.path / "shapes.ttl"
        self.inferred_ontologies = self.path / "ontology.inferred"
        self.former_inferred_path = self.path / "cache" / "ontology.inferred.toml"
        """Where earlier versions kept what ``inferred_ontologies`` holds now."""
        self.settings_path = self.path / _MARKER
        self.ledger_path = self.path / "ledger.sqlite"
        self.ledger_url = f"sqlite:///{self.ledger_path}"
        self.store_url = store or self._default_store() or f"ladybug:{self.path / 'graph'}"

    @classmethod
    def open(cls, path: Path | str, create: bool = False, store: str | None = None) -> Home:
        """Open the home at a path, creating it if ``create`` is set and there is none yet.

        Raises HomeNotFoundError if there is none, or if it cannot be created.
        """
        home = cls(Path(path), store)
        if home.settings_path.is_file():
            return home
        if not create:
            raise HomeNotFoundError(
                f"no catalogue home at {path}: "
                f"create one with `catalograph --home {path} init`, or `ingest` a source into it"
            )
        try:
            home.models.mkdir(parents=True, exist_ok=True)
            home.cache.mkdir(exist_ok=True)
            # The marker comes last: a folder that was only half prepared is not a home.
            write_stamped(home.settings_path, _MARKER_TEXT)
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
        import tomli_w

        settings = tomli_w.dumps({"store": self.relative_url(checked_url(url))})
        write_stamped(self.settings_path, _MARKER_TEXT + settings)
        self.store_url = self._default_store() or self.store_url

    def accept_settings(self) -> None:
        """Write ``home.toml`` again as it is, if somebody has edited it since it was written."""
        data = self.settings_path.read_bytes()
        if examine(data).condition is not Condition.INTACT:
            write_stamped(self.settings_path, without_stamp(data.decode()))

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

    def _default_store(self) -> str | None:
        """Return the URL saved in the home, if any, with an absolute path."""
        path = self.settings_path
        try:
            # Not a pipe, which would never end: a home may have come from somewhere.
            with open_named(self.path, _MARKER) as stream:
                settings = parse_toml(stream.read(MAX_MARKER_BYTES))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise HomeNotFoundError(
                f"{path} cannot be read ({error}): correct it, or `init` the home again"
            ) from None
        if settings.get("format") != FORMAT:
            raise HomeNotFoundError(
                f"{path} has format {settings.get('format')!r}, this Catalograph reads {FORMAT}: "
                "upgrade Catalograph, or correct the file"
            )
        url = settings.get("store")
        if url is None:
            return None
        if not isinstance(url, str) or not url.isprintable():
            raise HomeNotFoundError(
                f"{path} names the store {shown(url)}: write a URL such as ladybug:graph"
            )
        # Checked again, because the file may have been edited by hand.
        scheme, _, place = checked_url(url).partition(":")
        is_path = place and not place.startswith("//")
        return f"{scheme}:{self.path / place}" if is_path else url

    def store(self, read_only: bool = False) -> GraphStore:
        """Open the graph store; close it afterwards, or use it in a ``with`` statement."""
        from kg.stores.open import open_store

        return open_store(self.store_url, create=not read_only, read_only=read_only)

    def snapshot(self) -> GraphSnapshot:
        """Read the trusted statements of the graph. Raises DataError if it has no items."""
        from kg.snapshot import read_snapshot

        with self.store(read_only=True) as store:
            snapshot = read_snapshot(store)
        if not snapshot.items:
            raise DataError(
                f"the catalogue {self.path} has no items: load some with `catalograph ingest` first"
            )
        return snapshot

    def ledger(self) -> Ledger:
        """Open the ledger, creating or upgrading it if necessary."""
        from schema.ledger import Ledger

        return Ledger(self.ledger_url)

    def ontology(self) -> Ontology:
        """Load the ontology; raise SourceNotFoundError if nothing was ingested yet."""
        return Ontology.load(self.ontology_path)
