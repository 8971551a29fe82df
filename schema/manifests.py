"""Manifests: files beside others that name their SHA-256 digests, in folders of models and runs."""

from __future__ import annotations

import json
from pathlib import Path

from schema.files import digest_named

MANIFEST = "manifest.json"


def manifest_problems(folder: Path, go_on: str) -> list[str]:
    """Return what is wrong with the files that a folder's manifest names, one line each.

    The manifest is an object of digests by file name, or has one under the key "sha256".
    ``go_on`` ends every line: what the user can do.
    """
    path = folder / MANIFEST
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        digests = {str(name): str(sum_) for name, sum_ in document.get("sha256", document).items()}
    except OSError as error:
        return [f"{path} cannot be read ({error.strerror}): {go_on}"]
    except (ValueError, AttributeError):
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
