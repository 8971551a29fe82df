import io
import pickle
from typing import Any

import lmdb
import numpy as np
import pytest
import torch

from encoders.regions import (
    RegionDatabase,
    RegionEncoder,
    RegionFolder,
    Regions,
    pad_regions,
    parse,
)
from schema.errors import DataError

FEATURES = np.arange(6, dtype=np.float32).reshape(2, 3)
BOXES = np.array([[0, 0, 0.5, 1], [0.2, 0.2, 0.4, 0.6]], np.float32)


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def test_a_folder_has_npz_and_npy(tmp_path):
    (tmp_path / "a.npz").write_bytes(npz(features=FEATURES, boxes=BOXES))
    np.save(tmp_path / "b.npy", np.concatenate([FEATURES, BOXES], 1))
    for key in ("a", "b"):
        found = RegionFolder(tmp_path).read(key)
        assert found is not None
        np.testing.assert_array_equal(found.features, FEATURES)
        np.testing.assert_array_equal(found.boxes, BOXES)
    assert RegionFolder(tmp_path).read("c") is None


def test_a_database_has_the_same_bytes(tmp_path):
    with (
        lmdb.open(str(tmp_path / "regions")) as environment,
        environment.begin(write=True) as transaction,
    ):
        transaction.put(b"a", npz(features=FEATURES, boxes=BOXES))
    database = RegionDatabase(tmp_path / "regions")
    found = database.read("a")
    assert found is not None
    np.testing.assert_array_equal(found.features, FEATURES)
    assert database.read("b") is None


def test_boxes_in_pixels_become_shares():
    found = parse(
        npz(features=FEATURES, boxes=BOXES * [200, 100, 200, 100], size=np.array([200, 100])), "x"
    )
    np.testing.assert_allclose(found.boxes, BOXES, rtol=1e-6)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04",
        pickle.dumps({"features": 1}),
        npz(features=FEATURES),
        npz(features=FEATURES, boxes=BOXES[:1]),
    ],
)
def test_what_is_no_regions_is_named(data):
    with pytest.raises(
        DataError, match=r"place.npz has .*: write features \[R, F\] and boxes \[R, 4\]"
    ):
        parse(data, "place.npz")


def test_padding_keeps_the_first_and_masks_the_rest():
    found = pad_regions([Regions(FEATURES, BOXES), None, Regions(FEATURES[:1], BOXES[:1])], 2, 3)
    assert found.mask.tolist() == [[True, True], [False, False], [True, False]]
    np.testing.assert_array_equal(found.features[0], FEATURES)
    assert (found.boxes[2, 1] == 0).all()


def test_regions_of_another_width_are_refused():
    with pytest.raises(
        DataError, match="regions with 3 features do not fit a model that reads 2048"
    ):
        pad_regions([Regions(FEATURES, BOXES)], 2, 2048)


def test_a_region_is_its_feature_and_its_place():
    encoder = RegionEncoder(4, width=3)
    place = torch.tensor([0.2, 0.2, 0.4, 0.6, 0.2 * 0.4])
    expected = encoder.norm(encoder.feature(torch.from_numpy(FEATURES[1])) + encoder.place(place))
    torch.testing.assert_close(
        encoder(pad_regions([Regions(FEATURES, BOXES)], 2, 3)).hidden[0, 1], expected
    )
