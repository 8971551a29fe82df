"""Near-duplicate images."""

import numpy as np

from kg.quality.image_fingerprints import (
    FINGERPRINT_IMAGE_SIZE,
    ImageFingerprints,
    fingerprint_images,
    near_duplicate_images,
)


def test_near_duplicates_have_similar_brightness_and_colours():
    rng = np.random.default_rng(0)
    block = np.ones((FINGERPRINT_IMAGE_SIZE // 12,) * 2)
    image = np.kron(rng.integers(0, 250, (3, 12, 12)), block).astype(np.uint8)
    images = {
        "original": image,
        "brighter": image + 3,
        "flipped": image[:, ::-1],
        "recoloured": np.roll(image, 1, axis=0) // 2,
    }
    fingerprints = fingerprint_images([*images, None], images.get)
    assert fingerprints.hashes[4] == 0
    train = np.arange(5) == 0
    assert near_duplicate_images(fingerprints, train, ~train) == {1: 0}


def test_hashes_of_near_duplicates_differ_in_at_most_three_bits():
    base = np.uint64(0x0123456789ABCDEF)
    three_bits = base ^ np.uint64(0b111 << 30)
    four_bits = base ^ np.uint64(0b1111 << 30)
    fingerprints = ImageFingerprints(
        np.array([base, three_bits, four_bits]), np.zeros((3, 3, 16, 16), np.uint8)
    )
    train = np.array([True, False, False])
    assert near_duplicate_images(fingerprints, train, ~train) == {1: 0}
