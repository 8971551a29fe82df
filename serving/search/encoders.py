"""What turns queries into vectors that those of an index's items are compared with."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from serving.search.parts import Part, QueryVectors, Vector

if TYPE_CHECKING:
    from encoders.pretrained_image import ImagesEncoder
    from encoders.pretrained_text import TextEncoder


class QueryNetwork(Protocol):
    """A network that reads queries.

    Attributes:
        parts: the kinds of vectors that it makes of items
        space: a name that changes whenever the same input may get another vector
        reads_images: whether it can read the image of a query
    """

    @property
    def parts(self) -> tuple[Part, ...]: ...

    @property
    def space(self) -> str: ...

    @property
    def reads_images(self) -> bool: ...

    def of_text(self, text: str) -> QueryVectors:
        """Return the vector of a query among items; none if it was not trained to embed any."""
        ...

    def of_image(self, data: bytes) -> QueryVectors:
        """Return the vector of an image file's bytes."""
        ...


@dataclass(frozen=True)
class Encoders:
    """The encoders of a search; they may be used by several threads."""

    text: TextEncoder | None = None
    image: ImagesEncoder | None = None
    network: QueryNetwork | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def spaces(self) -> dict[Part, str]:
        """Return the space of each part that they make vectors of."""
        found: dict[Part, str] = {}
        if self.network is not None:
            found.update({part: space_of(self.network.space, part) for part in self.network.parts})
        if self.text is not None:
            found[Part.TEXT] = space_of(self.text.space, Part.TEXT)
        if self.image is not None:
            found[Part.IMAGE] = space_of(self.image.space, Part.IMAGE)
        return found

    def of_text(self, text: str, match: bool) -> dict[Part, Vector]:
        """Return the vectors of a text; with ``match``, the network's as well."""
        found: dict[Part, Vector] = {}
        # The tokenizers of transformers are not made for several threads.
        with self._lock:
            if self.text is not None:
                found[Part.TEXT] = self.text.encode([text])[0]
            if match and self.network is not None:
                found.update(self.network.of_text(text))
        return found

    def of_image(self, data: bytes) -> QueryVectors:
        """Return the vector of an image file's bytes; none if nothing reads images.

        Raises ImageRefusedError if they are none of an image.
        """
        from kg.image_decoding import letterboxed

        if self.image is not None:
            pixels = letterboxed(data, self.image.image_size)
            with self._lock:
                return {Part.IMAGE: self.image.encode(pixels[None])[0]}
        if self.network is not None and self.network.reads_images:
            with self._lock:
                return self.network.of_image(data)
        return {}


def space_of(space: str, part: Part) -> str:
    """Return the space of one of the parts of an encoder."""
    return f"{space}/{part}"
