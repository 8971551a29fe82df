"""Which encoders make the vectors of an index, kept beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from schema.documents import parse_json_object
from schema.errors import DataError, ModelError
from schema.files import write_atomically
from schema.manifests import CALIBRATION, read_digests

FILE = "encoder.json"
BUILT_IN = "built-in"
"""Stands for the image encoder that comes with Catalograph."""
_FIELDS = {"text": "folder", "image": "image_encoder", "network": "network"}
"""What the file calls each; an earlier version knew the text encoder alone."""


@dataclass(frozen=True)
class EncoderFolders:
    """The folders of the encoders of an index; None for what it does without.

    Attributes:
        text: a pretrained text encoder
        image: a pretrained image encoder; ``BUILT_IN`` for the one that needs no folder
        network: a network, itself a model folder
    """

    text: Path | None = None
    image: Path | None = None
    network: Path | None = None

    def write(self, folder: Path) -> None:
        """Keep them for the index of a folder."""
        path = folder / FILE
        found: dict[str, Any] = {
            name: BUILT_IN if str(value) == BUILT_IN else str(value.resolve())
            for field, name in _FIELDS.items()
            if (value := getattr(self, field)) is not None
        }
        if not found:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(found))

    @classmethod
    def read(cls, folder: Path) -> EncoderFolders:
        """Return those of the index of a folder; raises DataError if the file is damaged."""
        path = folder / FILE
        if not path.is_file():
            return cls()
        try:
            document = parse_json_object(path.read_bytes())
        except ValueError as error:
            raise DataError(
                f"{path} is damaged ({error}): remove it, and give --text-encoder, --image-encoder "
                "and --model to `index` again"
            ) from None
        found = {field: document.get(name) for field, name in _FIELDS.items()}
        return cls(**{field: Path(each) for field, each in found.items() if isinstance(each, str)})


def network_space(folder: Path) -> str:
    """Return a name that changes whenever a network may give the same item another vector.

    Raises ModelError if there is no model folder.
    """
    try:
        digests = read_digests(folder)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"the model {folder} cannot be read ({error}): name another with `catalograph index "
            "--model M`, or none with --no-model"
        ) from None
    own = sorted((name, digest) for name, digest in digests.items() if name != CALIBRATION)
    return f"{folder.name}-{sha256(json.dumps(own).encode()).hexdigest()[:16]}"
