"""Model folders: weights, config, tokenizer, ontology and calibration, whole in themselves and guarded by a sha256 manifest."""

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


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    """Put files into a model folder, then the manifest that vouches for them and for those that were there."""
    manifest = read_manifest(folder) if (folder / MANIFEST).exists() else {}
    manifest |= {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    write_together(
        folder,
        {**files, MANIFEST: json.dumps({"sha256": manifest}, indent=1, sort_keys=True).encode()},
    )


def add_file(folder: Path, name: str, data: bytes) -> None:
    """Add or replace one file of a model folder, manifest included."""
    write_files(folder, {name: data})


def read_manifest(folder: Path) -> dict[str, str]:
    """The manifest's file names and digests; raises ModelError where it is missing or unreadable."""
    try:
        data = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return {str(name): str(digest) for name, digest in data["sha256"].items()}
    except FileNotFoundError:
        raise ModelError(
            f"{folder} is no model folder (no {MANIFEST}): name one that `catalograph train` made"
        ) from None
    except (ValueError, KeyError, AttributeError):
        raise ModelError(
            f"{folder / MANIFEST} is damaged: restore the folder from a copy, or train again"
        ) from None


def verify(folder: Path) -> dict[str, bytes]:
    """Read every file of the manifest; raises ModelError naming the first that is missing or differs from its digest."""
    files: dict[str, bytes] = {}
    for name, digest in read_manifest(folder).items():
        path = folder / name
        if not path.is_file():
            raise ModelError(f"{path} is missing: restore the folder from a copy, or train again")
        files[name] = path.read_bytes()
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise ModelError(
                f"{path} is damaged (its sha256 is not the manifest's): restore the folder from a copy, or train again"
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
    """Write a model folder; ``about`` is kept in config.json beside the model's sizes."""
    described = {"model": config.as_dict(), "ontology_sha256": ontology.content_hash(), **about}
    files = {
        "config.json": json.dumps(described, indent=1, sort_keys=True).encode(),
        **tokenizer.files(),
        "ontology.toml": ontology.to_toml().encode(),
        WEIGHTS: save(
            {name: tensor.detach().cpu().contiguous() for name, tensor in _owned(weights).items()}
        ),
    }
    write_files(folder, files)


def _owned(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Each tensor once: shared ones (the text encoder within the knowledge encoder) under their first name."""
    seen: dict[int, str] = {}
    return {
        name: tensor
        for name, tensor in weights.items()
        if seen.setdefault(tensor.data_ptr() or id(tensor), name) == name
    }


class ModelFolder:
    """An opened model folder: ``model`` on the CPU in eval mode, its ``config``, ``tokenizer``, ``ontology``, ``calibration``."""

    def __init__(self, folder: Path) -> None:
        files = verify(folder)
        self.path = folder
        self.name = folder.resolve().name
        try:
            self.about: dict[str, Any] = json.loads(files["config.json"])
            self.config = ModelConfig.from_dict(self.about["model"])
            self.tokenizer = CatalogTokenizer.from_files(files)
            self.ontology = Ontology.from_toml(files["ontology.toml"].decode())
            self.calibration: dict[str, Any] | None = (
                json.loads(files["calibration.json"]) if "calibration.json" in files else None
            )
            self.model = build_model(self.config, self.tokenizer, self.ontology)
            weights = load_file(folder / WEIGHTS)
            self.heads = head_weights(weights)
            load_weights(self.model, model_weights(weights))
        except CatalographError:
            raise
        except (KeyError, ValueError, RuntimeError, SafetensorError) as error:
            raise ModelError(
                f"{folder} cannot be opened ({str(error).splitlines()[0][:120]}): train again"
            ) from None
        if self.about.get("ontology_sha256") != self.ontology.content_hash():
            raise ModelError(
                f"{folder}/ontology.toml is not the ontology that the weights were trained on: restore it, or train again"
            )
        self.model.eval()


HEADS = "heads."
OLD_HEADS = {
    "piece_head.": "mlm.head.",
    "patch_head.": "mpm.head.",
    "region_head.features.": "mrfr.head.",
    "region_head.classes.": "mrc.head.",
    "global_heads.piece.": "gmlm.head.predictor.",
    "global_heads.weight": "gmlm.head.weight",
    "global_heads.patch.": "gmrfr.head.",
    "global_heads.match.": "vtm.head.",
}
"""Names of the training heads in folders of an earlier version, when they were the model's."""


def head_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of the training objectives' heads, by ``TERM.head...``."""
    heads = {}
    for name, tensor in weights.items():
        if name.startswith(HEADS):
            heads[name.removeprefix(HEADS)] = tensor
        for old, new in OLD_HEADS.items():
            if name.startswith(old):
                heads[new + name.removeprefix(old)] = tensor
    return heads


def model_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of the model itself, without the training objectives' heads."""
    prefixes = (HEADS, *OLD_HEADS)
    return {name: tensor for name, tensor in weights.items() if not name.startswith(prefixes)}


def load_weights(model: ProductModel, weights: dict[str, Tensor]) -> None:
    """Load saved weights; raises RuntimeError where a tensor is missing or does not fit."""
    missing, unexpected = model.load_state_dict(weights, strict=False)
    absent = set(missing) - {
        name
        for name, tensor in model.state_dict().items()
        if _stands_in(model, name, tensor, weights)
    }
    if absent or unexpected:
        raise RuntimeError(
            f"weights lack {sorted(absent)[:3]} and have unknown {list(unexpected)[:3]}"
        )


def _stands_in(model: ProductModel, name: str, tensor: Tensor, weights: dict[str, Tensor]) -> bool:
    """Whether a name missing from the file shares its tensor with one that was loaded."""
    return any(
        other.data_ptr() == tensor.data_ptr()
        for key, other in model.state_dict().items()
        if key in weights
    )


def find_model(models: Path, name: str | None) -> Path:
    """A model folder: a folder as named, a model of this home, or without a name this home's newest.

    Raises UsageError where there is none.
    """
    if name is not None:
        for folder in (Path(name), models / name):
            if (folder / MANIFEST).is_file():
                return folder
        known = (
            ", ".join(sorted(path.parent.name for path in models.glob(f"*/{MANIFEST}")))
            or "none yet: run `catalograph train`"
        )
        raise UsageError(
            f"no model {name!r}, neither a model folder nor a model of this home (it has {known})"
        )
    found = sorted(models.glob(f"*/{MANIFEST}"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise UsageError(
            f"no model in {models}: run `catalograph train` first, or name a folder with --model"
        )
    return found[-1].parent


def device_of(name: str) -> torch.device:
    """A torch device; ``auto`` is the first GPU where there is one."""
    return torch.device(
        "cuda"
        if name == "auto" and torch.cuda.is_available()
        else "cpu"
        if name == "auto"
        else name
    )
