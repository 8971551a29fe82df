"""A small dictionary of patches, which is learned in no time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from encoders import patch_dictionary


@pytest.fixture(scope="package", autouse=True)
def few_patches() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patch_dictionary, "CENTROIDS", 20)
        patch.setattr(patch_dictionary, "_SAMPLED_PATCHES", 2000)
        yield
