"""Model folders: weights, configuration, tokenizer, ontology and calibration.

A folder is complete in itself: a model can be moved to another home or another machine. A manifest
of SHA-256 digests guards its files.

It may also come from somebody else, so nothing in it is trusted: the manifest can only name files
of the folder itself, only what it names is read, and no size in the configuration is believed that
the weights do not have.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from encoders.tokenizer import CatalogTokenizer
from fusion.build import build_model, count_parameters
from fusion.config import ModelConfig
from fusion.model import ProductModel
from schema.documents import parse_json_object
from schema.errors import ModelError, UsageError
from schema.files import is_plain_name, open_named, write_together
from schema.manifests import ALIGNMENT_FILE, CALIBRATION, CONFIG, MANIFEST, ONTOLOGY
from schema.memory import available_memory
from schema.ontology import Ontology
from schema.settings import shown

WEIGHTS = "model.safetensors"
REQUIRED = (CONFIG, "tokenizer.json", "ngrams.json", ONTOLOGY, WEIGHTS)
"""The files that every model folder has."""

MAX_MANIFEST_BYTES = 1 << 20
RESTORE = "restore the folder from a copy, or train again"

ABOUT = {
    "preset": (str, type(None)),
    "size": (str, type(None)),
    "seed": (int,),
    "items": (int,),
    "steps": (int, type(None)),
    "minutes": (int, float, type(None)),
    "split": (str, type(None)),
    "learned": (list,),
    "recipe": (dict,),
    "terms": (list,),
    "threads": (int,),
    "step": (int,),
    "validation": (dict,),
    "pretrained_text": (bool,),
    "ontology_sha256": (str,),
}
"""The types of what a configuration says about the training, beside the model."""

HEADS = "heads."
"""Prefix of the names of training heads' weights; all other weights are the model's."""

FORMER_PREFIXES = {
    "pictures.": "images.",
    "piece_head.": "heads.mlm.head.",
    "patch_head.": "heads.mpm.head.",
    "region_head.features.": "heads.mrfr.head.",
    "region_head.classes.": "heads.mrc.head.",
    "global_heads.piece.": "heads.gmlm.head.predictor.",
    "global_heads.weight": "heads.gmlm.head.weight",
    "global_heads.patch.": "heads.gmrfr.head.",
    "global_heads.match.": "heads.vtm.head.",
}
"""Prefixes of weights' names in model folders of earlier versions, and the current ones.

The heads of the training objectives were part of the model then.
"""


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    """Write files of a model folder, and with them its manifest.

    The digests of files that the folder already has are kept.
    """
    digests = read_manifest(folder) if (folder / MANIFEST).exists() else {}
    for name, data in files.items():
        digests[name] = hashlib.sha256(data).hexdigest()
    manifest = json.dumps({"sha256": digests}, indent=1, sort_keys=True).encode()
    write_together(folder, {**files, MANIFEST: manifest})


def add_file(folder: Path, name: str, data: bytes) -> None:
    """Add a file to a model folder, or replace it, and update the manifest."""
    write_files(folder, {name: data})


def read_manifest(folder: Path) -> dict[str, str]:
    """Return the manifest's digests by file name.

    Raises ModelError if the manifest is missing or damaged, or names what is not a file of the
    folder itself.
    """
    path = folder / MANIFEST
    try:
        with open_named(folder, MANIFEST) as stream:
            data = stream.read(MAX_MANIFEST_BYTES)
        digests = parse_json_object(data)["sha256"]
        manifest = {str(name): str(digest) for name, digest in digests.items()}
    except (FileNotFoundError, NotADirectoryError):
        raise ModelError(
            f"{folder} is not a model folder (it has no {MANIFEST}): "
            "name one that `catalograph train` wrote"
        ) from None
    except (OSError, ValueError, KeyError, AttributeError):
        raise ModelError(f"{path} is damaged: {RESTORE}") from None
    for name in manifest:
        if not is_plain_name(name):
            raise ModelError(
                f"{path} names {shown(name)}, which is not a file of the folder itself: "
                "do not use this folder, or have it made again"
            )
    return manifest


def read_verified_files(folder: Path) -> dict[str, bytes]:
    """Read all files of the manifest.

    Raises ModelError, which names the first file that is missing, that is not a regular file, or
    that differs from its digest; or if all of them together do not fit into memory.
    """
    files: dict[str, bytes] = {}
    room = available_memory()
    for name, digest in read_manifest(folder).items():
        path = folder / name
        try:
            with open_named(folder, name) as stream:
                # A file of terabytes takes no space on the disk if it is empty.
                size = os.fstat(stream.fileno()).st_size
                if size > room:
                    raise ModelError(
                        f"{path} has {size:,} bytes, more than the memory that is available: "
                        "close other programs, or use a smaller model"
                    )
                files[name] = stream.read()
                room -= size
        except FileNotFoundError:
            raise ModelError(f"{path} is missing: {RESTORE}") from None
        except OSError as error:
            raise ModelError(f"{path} {error.strerror or error}: {RESTORE}") from None
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise ModelError(f"{path} is damaged (its sha256 is not the manifest's): {RESTORE}")
    return files


def save_pretrained(
    folder: Path,
    config: ModelConfig,
    tokenizer: CatalogTokenizer,
    ontology: Ontology,
    weights: dict[str, Tensor],
    about: dict[str, Any],
) -> None:
    """Write a model folder; ``about`` is added to the model's configuration in ``config.json``."""
    described = {"model": config.as_dict(), "ontology_sha256": ontology.content_hash(), **about}
    stored = {
        name: tensor.detach().cpu().contiguous() for name, tensor in without_shared(weights).items()
    }
    files = {
        CONFIG: json.dumps(described, indent=1, sort_keys=True).encode(),
        **tokenizer.files(),
        ONTOLOGY: ontology.to_toml().encode(),
        WEIGHTS: save(stored),
    }
    write_files(folder, files)


def without_shared(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return each tensor under its first name alone.

    The text encoder, for example, is part of the knowledge encoder as well; safetensors refuses to
    store a tensor twice.
    """
    first_names: dict[int, str] = {}
    for name, tensor in weights.items():
        first_names.setdefault(_identity(tensor), name)
    return {name: weights[name] for name in first_names.values()}


def _identity(tensor: Tensor) -> int:
    """Return a number that two tensors share if they share memory; empty tensors never do."""
    return tensor.data_ptr() or id(tensor)


@dataclass(frozen=True)
class ModelDescription:
    """What every model folder says of its model.

    Attributes:
        about: the content of ``config.json``
        ontology: the ontology whose values the model predicts
        calibration: the content of ``calibration.json``, or None
    """

    about: dict[str, Any]
    ontology: Ontology
    calibration: dict[str, Any] | None

    @classmethod
    def read(cls, folder: Path, files: Mapping[str, bytes]) -> ModelDescription:
        """Read the description among a folder's ``files``.

        Raises ModelError if the ontology is not the model's, and KeyError or ValueError if the
        description is missing or damaged.
        """
        about = checked_about(parse_json_object(files[CONFIG]))
        ontology = Ontology.from_toml(files[ONTOLOGY].decode(), str(folder / ONTOLOGY))
        if about.get("ontology_sha256") != ontology.content_hash():
            raise ModelError(
                f"{folder / ONTOLOGY} is not the ontology that the model was trained on: "
                "restore it, or train again"
            )
        stored = files.get(CALIBRATION)
        return cls(about, ontology, None if stored is None else parse_json_object(stored))


def read_required_files(folder: Path, required: Sequence[str]) -> dict[str, bytes]:
    """Read all files of the manifest, among which are those that are ``required``.

    Raises ModelError as :func:`read_verified_files`, and if one of these is not named.
    """
    files = read_verified_files(folder)
    missing = [name for name in required if name not in files]
    if missing:
        raise ModelError(f"{folder / MANIFEST} does not name {missing[0]}: {RESTORE}")
    return files


@contextmanager
def reporting_damage(folder: Path) -> Iterator[None]:
    """Turn what goes wrong with the content of a model folder into a ModelError that names it."""
    try:
        yield
    except (
        AttributeError,
        KeyError,
        ValueError,
        TypeError,
        RuntimeError,
        SafetensorError,
        UsageError,
    ) as error:
        reason = str(error).splitlines()[0][:200]
        raise ModelError(f"{folder} cannot be opened ({reason}): train again") from None


class ModelFolder:
    """An opened model folder.

    Raises ModelError if it is missing, damaged or inconsistent.

    Attributes:
        path: the folder
        name: its name
        about: the content of ``config.json``
        config: the model's configuration
        tokenizer: the model's tokenizer
        ontology: the ontology whose values the model predicts
        calibration: the content of ``calibration.json``, or None
        model: the model, on the CPU and in evaluation mode
        heads: the weights of the training objectives' heads, by their names in
            :class:`training.objectives.joint.JointObjective`
    """

    def __init__(self, folder: Path) -> None:
        files = read_required_files(folder, REQUIRED)
        self.path = folder
        self.name = folder.resolve().name
        with reporting_damage(folder):
            description = ModelDescription.read(folder, files)
            self.about = description.about
            self.ontology = description.ontology
            self.calibration = description.calibration
            self.config = ModelConfig.from_dict(self.about["model"])
            self.tokenizer = CatalogTokenizer.from_files(files)
            # What was verified is loaded, and not the file again, which may have changed meanwhile.
            weights = load(files.pop(WEIGHTS))
            self._check_size(weights)
            self.model = build_model(self.config, self.tokenizer, self.ontology)
            # Inference needs no heads, but a training that starts from this model does.
            self.heads = head_weights(weights)
            load_weights(self.model, weights)
        self.model.eval()

    def _check_size(self, weights: dict[str, Tensor]) -> None:
        """Raise ValueError if the configuration describes a larger model than the weights are.

        Otherwise a few bytes of configuration could ask for all of the memory.
        """
        described = count_parameters(self.config, self.tokenizer, self.ontology)
        stored = sum(tensor.numel() for tensor in weights.values())
        if described > stored:
            raise ValueError(
                f"{CONFIG} describes {described:,} parameters, and {WEIGHTS} has {stored:,} numbers"
            )


def checked_about(about: dict[str, Any]) -> dict[str, Any]:
    """Return the content of ``config.json``; raises ValueError if a value has the wrong type."""
    for name, types in ABOUT.items():
        if name not in about:
            continue
        value = about[name]
        # In Python a truth value is a whole number, too.
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise ValueError(f"{CONFIG} has {name}={shown(value)}")
    return about


def load_weights(model: ProductModel, weights: dict[str, Tensor]) -> None:
    """Load the saved weights of a model, by former names as well; those of heads are ignored.

    Raises RuntimeError if a weight is missing, unknown, or does not fit.
    """
    current = with_current_names(weights)
    weights = {name: tensor for name, tensor in current.items() if not name.startswith(HEADS)}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    # A shared tensor is stored under one of its names, and is loaded under all of them.
    state = model.state_dict()
    loaded = {tensor.data_ptr() for name, tensor in state.items() if name in weights}
    absent = sorted(name for name in missing if state[name].data_ptr() not in loaded)
    if absent or unexpected:
        raise RuntimeError(f"weights lack {absent[:3]} and have unknown {list(unexpected)[:3]}")


def head_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the saved weights of the training objectives' heads, by ``TERM.head...``."""
    current = with_current_names(weights)
    heads = {
        name.removeprefix(HEADS): tensor
        for name, tensor in current.items()
        if name.startswith(HEADS)
    }
    # In former versions the pixels of patches had one head, for MRFR as well as for MPM.
    shared = {
        name.replace("patch_head.", "mrfr.head.", 1): tensor
        for name, tensor in weights.items()
        if name.startswith("patch_head.")
    }
    return {**shared, **heads}


def with_current_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights under their current names, where a former version had others."""
    renamed = {}
    for name, tensor in weights.items():
        for former, current in FORMER_PREFIXES.items():
            if name.startswith(former):
                name = current + name.removeprefix(former)
        renamed[name] = tensor
    return renamed


def find_model(models: Path, name: str | None) -> Path:
    """Find a model folder: by its path, by its name among a home's ``models``, or the newest one.

    Raises UsageError if there is none, or if it is one that aligns items and does nothing else.
    """
    manifests = sorted(
        (
            path
            for path in models.glob(f"*/{MANIFEST}")
            if not (path.parent / ALIGNMENT_FILE).is_file()
        ),
        key=lambda path: path.stat().st_mtime,
    )
    if name is None:
        if not manifests:
            raise UsageError(
                f"no model in {models}: run `catalograph train` first, "
                "or name a folder with --model"
            )
        return manifests[-1].parent
    for folder in (Path(name), models / name):
        if (folder / ALIGNMENT_FILE).is_file():
            raise UsageError(
                f"model {name!r} aligns items and does nothing else: name one that "
                "`catalograph train` wrote"
            )
        if (folder / MANIFEST).is_file():
            return folder
    available = ", ".join(sorted(path.parent.name for path in manifests))
    available = available or "none yet: run `catalograph train`"
    raise UsageError(
        f"no model {name!r}, neither a model folder nor a model of this home (it has {available})"
    )


def default_device() -> torch.device:
    """Return the first GPU, or the CPU if there is no GPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
