import pickle

import numpy as np

from kg.sampling.memmap import send_by_name


def test_a_mapped_file_goes_by_its_name(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(100_000).reshape(-1, 4))
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    send_by_name()
    sent = pickle.dumps(mapped)
    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent), mapped)


def test_a_part_of_one_goes_by_its_bytes(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(100))
    part = np.load(tmp_path / "a.npy", mmap_mode="r")[10:20]
    send_by_name()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(part)), np.arange(10, 20))
