import io
import multiprocessing
import os
import pickle
import tracemalloc
import zipfile
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
    parse_regions,
)
from schema.errors import DataError

FEATURES = np.arange(6, dtype=np.float32).reshape(2, 3)
BOXES = np.array([[0, 0, 0.5, 1], [0.2, 0.2, 0.4, 0.6]], np.float32)


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def test_a_folder_has_npz_and_npy_files(tmp_path):
    (tmp_path / "a.npz").write_bytes(npz(features=FEATURES, boxes=BOXES))
    np.save(tmp_path / "b.npy", np.concatenate([FEATURES, BOXES], 1))
    for key in ("a", "b"):
        regions = RegionFolder(tmp_path).read(key)
        assert regions is not None
        np.testing.assert_array_equal(regions.features, FEATURES)
        np.testing.assert_array_equal(regions.boxes, BOXES)
    assert RegionFolder(tmp_path).read("c") is None


@pytest.fixture
def database(tmp_path):
    """A database of the regions of one image, "a"."""
    with (
        lmdb.open(str(tmp_path / "regions")) as environment,
        environment.begin(write=True) as transaction,
    ):
        transaction.put(b"a", npz(features=FEATURES, boxes=BOXES))
    return RegionDatabase(tmp_path / "regions")


def test_a_database_has_the_same_bytes(database):
    regions = database.read("a")
    assert regions is not None
    np.testing.assert_array_equal(regions.features, FEATURES)
    assert database.read("b") is None


@pytest.mark.parametrize("method", [pytest.param("spawn", marks=pytest.mark.slow), "fork"])
def test_another_process_opens_the_database_itself(database, method):
    with multiprocessing.get_context(method).Pool(1) as pool:
        features = pool.apply_async(features_of, (database, "a")).get(timeout=60)
        # A forked process that is ended by a signal would call a handler of tests before this one.
        pool.close()
        pool.join()
    np.testing.assert_array_equal(features, FEATURES)
    # Nor did the other process close this one's.
    np.testing.assert_array_equal(features_of(database, "a"), FEATURES)


def features_of(database, key):
    return database.read(key).features


def test_a_forked_process_does_not_use_the_environment_of_its_parent(database):
    reader, writer = multiprocessing.Pipe(duplex=False)
    child = os.fork()
    if not child:
        inherited = database._environment
        same = [database.read("a") is not None, database._environment is inherited]
        writer.send(same)
        os._exit(0)
    os.waitpid(child, 0)
    assert reader.recv() == [True, False]


def test_a_database_is_opened_twice_in_one_process(database):
    again = pickle.loads(pickle.dumps(database))
    assert again.path == database.path
    np.testing.assert_array_equal(again.read("a").features, FEATURES)


def test_a_file_that_is_no_database_is_refused_by_name(tmp_path):
    (tmp_path / "notes.txt").write_text("regions")
    with pytest.raises(DataError, match=r"notes.txt is no LMDB database \(.*\): name another"):
        RegionDatabase(tmp_path / "notes.txt")


def test_boxes_in_pixels_become_fractions():
    data = npz(features=FEATURES, boxes=BOXES * [200, 100, 200, 100], size=np.array([200, 100]))
    np.testing.assert_allclose(parse_regions(data, "x").boxes, BOXES, rtol=1e-6)


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
def test_other_files_are_refused_by_name(data):
    message = r"place.npz has .*: write features \[R, F\] and boxes \[R, 4\]"
    with pytest.raises(DataError, match=message):
        parse_regions(data, "place.npz")


def header_of(shape: str, kind: str = "<f4") -> bytes:
    """An npy file without any numbers that claims to have a shape."""
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def archive_of(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        header_of("(1000000000, 2052)"),
        header_of(f"({10**30}, 2052)"),
        header_of("(2, 6)", "|O"),
        header_of("(2, 6)", "<M8[s]"),
        header_of("(2, 6)", "|S9"),
        header_of("('a', 6)"),
        header_of("(" * 5000),
        header_of("(-1, 6)"),
        archive_of(features=header_of("(1000000000, 2048)"), boxes=header_of("(1, 4)")),
        # Made when it is needed, since that takes a second.
        lambda: archive_of(features=b"\0" * (300 << 20)),
        npz(features=FEATURES[0], boxes=BOXES),
        npz(features=FEATURES, boxes=BOXES, classes=np.ones(2, np.float32)),
        npz(features=FEATURES, boxes=BOXES, size=np.zeros((2, 3, 5))),
        npz(features=np.array(5.0), boxes=BOXES),
        npz(features=FEATURES, boxes=BOXES)[:-40],
    ],
    ids=range(15),
)
def test_what_a_header_claims_takes_no_memory(data):
    if callable(data):
        data = data()
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"place has .*: write features"):
            parse_regions(data, "place")
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


def test_a_key_does_not_lead_out_of_the_folder(tmp_path):
    folder = tmp_path / "regions"
    (folder / "shirts").mkdir(parents=True)
    for path in (tmp_path / "a.npz", folder / "shirts" / "b.npz"):
        path.write_bytes(npz(features=FEATURES, boxes=BOXES))
    for key in ("../a", str(tmp_path / "a"), "shirts/../../a", "", "a\0", "x" * 300, "\udcff"):
        assert RegionFolder(folder).read(key) is None
    assert RegionFolder(folder).read("shirts/b") is not None


def test_a_key_that_no_database_can_have_has_no_regions(database):
    assert database.read("") is None
    assert database.read("x" * 10_000) is None


def test_a_file_without_end_is_not_read_whole(tmp_path):
    with (tmp_path / "a.npz").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(DataError, match="larger than 268,435,456 bytes"):
        RegionFolder(tmp_path).read("a")


def test_padding_keeps_the_first_regions_and_masks_missing_ones():
    images = [Regions(FEATURES, BOXES), None, Regions(FEATURES[:1], BOXES[:1])]
    batch = pad_regions(images, 2, 3)
    assert batch.mask.tolist() == [[True, True], [False, False], [True, False]]
    np.testing.assert_array_equal(batch.features[0], FEATURES)
    assert (batch.boxes[2, 1] == 0).all()


def test_regions_of_another_width_are_refused():
    message = "regions with 3 features do not fit a model that reads 2048"
    with pytest.raises(DataError, match=message):
        pad_regions([Regions(FEATURES, BOXES)], 2, 2048)


def test_regions_of_other_classes_are_refused():
    classes = np.ones((2, 4), np.float32)
    message = "regions with 4 classes do not fit a model that predicts 5: set region_classes"
    with pytest.raises(DataError, match=message):
        pad_regions([Regions(FEATURES, BOXES, classes)], 2, 3, classes=5)


def test_a_region_is_its_features_and_its_box():
    encoder = RegionEncoder(4, width=3)
    place = torch.tensor([0.2, 0.2, 0.4, 0.6, 0.2 * 0.4])
    expected = encoder.norm(encoder.feature(torch.from_numpy(FEATURES[1])) + encoder.place(place))
    tokens = encoder(pad_regions([Regions(FEATURES, BOXES)], 2, 3))
    torch.testing.assert_close(tokens.hidden[0, 1], expected)
