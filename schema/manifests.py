"""Manifests: files beside others that name their SHA-256 digests, in folders of models and runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from schema.documents import parse_json_object
from schema.files import digest_named, open_named, write_atomically

MANIFEST = "manifest.json"
NETWORK = "network"
"""The folder in a model folder of experts that holds a network, itself a model folder."""
EXPERT_FILE = "experts.safetensors"
CONFIG = "config.json"
ONTOLOGY = "ontology.toml"
CALIBRATION = "calibration.json"
ALIGNMENT_FILE = "alignment.json"
"""What a model folder that aligns items has instead of a network or experts."""
ALIGNMENT_TREES = "alignment_trees.json"
CARD = "README.md"
"""The model card, written from ``CARD_FACTS`` and the files that the manifest names.

Neither of the two is in the manifest: a new figure is no new model, and people may edit them.
"""
CARD_FACTS = "card.toml"
MAX_BYTES = 1 << 26
"""A larger manifest is damaged."""


def write_manifest(folder: Path, digests: Mapping[str, str]) -> None:
    """Write a manifest with digests by file name."""
    document = {"sha256": dict(sorted(digests.items()))}
    write_atomically(folder / MANIFEST, json.dumps(document, indent=1))


def read_digests(folder: Path) -> dict[str, str]:
    """Return the digests in a folder's manifest, by file name.

    The manifest is an object of digests, or has one under the key "sha256". Raises OSError, or
    ValueError if it is damaged.
    """
    with open_named(folder, MANIFEST) as stream:
        document = parse_json_object(stream.read(MAX_BYTES))
    digests = document.get("sha256", document)
    if not isinstance(digests, dict):
        raise ValueError("it has no digests")
    return {str(name): str(digest) for name, digest in digests.items()}


def manifest_problems(folder: Path, go_on: str) -> list[str]:
    """Return what is wrong with the files that a folder's manifest names, one line each.

    ``go_on`` ends every line: what the user can do.
    """
    path = folder / MANIFEST
    try:
        digests = read_digests(folder)
    except OSError as error:
        return [f"{path} cannot be read ({error.strerror}): {go_on}"]
    except ValueError:
        return [f"{path} is damaged: {go_on}"]
    if not digests:
        return [f"{path} names no file: {go_on}"]
    problems = []
    for name, digest in digests.items():
        try:
            found = digest_named(folder, name)
        except ValueError as error:
            # A damaged or hostile manifest may name any path.
            problems.append(f"{path} is damaged ({error}): {go_on}")
            continue
        except OSError as error:
            problems.append(f"{folder / name} cannot be read ({error.strerror}): {go_on}")
            continue
        if found != digest:
            problems.append(
                f"{folder / name} is damaged (its sha256 is not the manifest's): {go_on}"
            )
    return problems
