"""Model folders: weights, configuration, tokenizer, ontology and calibration.

A folder is complete in itself: a model can be moved to another home or another machine. A manifest
of SHA-256 digests guards its files.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from encoders.tokenizer import CatalogTokenizer
from fusion.build import build_model
from fusion.config import ModelConfig
from fusion.model import ProductModel
from schema.errors import CatalographError, ModelError, UsageError
from schema.files import write_together
from schema.ontology import Ontology

MANIFEST = "manifest.json"
WEIGHTS = "model.safetensors"

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

    Raises ModelError if the manifest is missing or damaged.
    """
    try:
        data = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return {str(name): str(digest) for name, digest in data["sha256"].items()}
    except FileNotFoundError:
        raise ModelError(
            f"{folder} is not a model folder (it has no {MANIFEST}): "
            "name one that `catalograph train` wrote"
        ) from None
    except (ValueError, KeyError, AttributeError):
        raise ModelError(
            f"{folder / MANIFEST} is damaged: restore the folder from a copy, or train again"
        ) from None


def read_verified_files(folder: Path) -> dict[str, bytes]:
    """Read all files of the manifest.

    Raises ModelError, which names the first file that is missing or differs from its digest.
    """
    files: dict[str, bytes] = {}
    for name, digest in read_manifest(folder).items():
        path = folder / name
        if not path.is_file():
            raise ModelError(f"{path} is missing: restore the folder from a copy, or train again")
        files[name] = path.read_bytes()
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise ModelError(
                f"{path} is damaged (its sha256 is not the manifest's): "
                "restore the folder from a copy, or train again"
            )
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
        name: tensor.detach().cpu().contiguous()
        for name, tensor in _without_shared(weights).items()
    }
    files = {
        "config.json": json.dumps(described, indent=1, sort_keys=True).encode(),
        **tokenizer.files(),
        "ontology.toml": ontology.to_toml().encode(),
        WEIGHTS: save(stored),
    }
    write_files(folder, files)


def _without_shared(weights: dict[str, Tensor]) -> dict[str, Tensor]:
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
        files = read_verified_files(folder)
        self.path = folder
        self.name = folder.resolve().name
        self.about: dict[str, Any]
        self.calibration: dict[str, Any] | None = None
        try:
            self.about = json.loads(files["config.json"])
            self.config = ModelConfig.from_dict(self.about["model"])
            self.tokenizer = CatalogTokenizer.from_files(files)
            self.ontology = Ontology.from_toml(files["ontology.toml"].decode())
            if "calibration.json" in files:
                self.calibration = json.loads(files["calibration.json"])
            self.model = build_model(self.config, self.tokenizer, self.ontology)
            weights = load_file(folder / WEIGHTS)
            # Inference needs no heads, but a training that starts from this model does.
            self.heads = head_weights(weights)
            load_weights(self.model, weights)
        except CatalographError:
            raise
        except (KeyError, ValueError, RuntimeError, SafetensorError) as error:
            reason = str(error).splitlines()[0][:120]
            raise ModelError(f"{folder} cannot be opened ({reason}): train again") from None
        if self.about.get("ontology_sha256") != self.ontology.content_hash():
            raise ModelError(
                f"{folder}/ontology.toml is not the ontology that the weights were trained on: "
                "restore it, or train again"
            )
        self.model.eval()


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

    Raises UsageError if there is none.
    """
    manifests = sorted(models.glob(f"*/{MANIFEST}"), key=lambda path: path.stat().st_mtime)
    if name is None:
        if not manifests:
            raise UsageError(
                f"no model in {models}: run `catalograph train` first, "
                "or name a folder with --model"
            )
        return manifests[-1].parent
    for folder in (Path(name), models / name):
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
