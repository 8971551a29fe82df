"""Memory-mapped arrays in pickles."""

import pickle

import numpy as np

from kg.sampling.memmap import pickle_memmaps_by_path


def test_a_mapped_file_is_pickled_as_its_path(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(100_000).reshape(-1, 4))
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    pickle_memmaps_by_path()
    pickled = pickle.dumps(mapped)
    assert len(pickled) < 1000
    np.testing.assert_array_equal(pickle.loads(pickled), mapped)


def test_a_slice_is_pickled_with_its_content(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(100))
    piece = np.load(tmp_path / "a.npy", mmap_mode="r")[10:20]
    pickle_memmaps_by_path()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(piece)), np.arange(10, 20))
