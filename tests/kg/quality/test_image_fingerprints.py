"""Near-duplicate images."""

import numpy as np

from kg.quality.image_fingerprints import (
    FINGERPRINT_IMAGE_SIZE,
    ImageFingerprints,
    fingerprint_images,
    near_duplicate_groups,
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


def test_no_image_of_a_group_is_nearly_one_of_another_group():
    rng = np.random.default_rng(1)
    kinds = rng.integers(0, 2**63, 12, np.uint64)
    flips = np.uint64(1) << rng.integers(0, 64, (2, 200)).astype(np.uint64)
    hashes = kinds[rng.integers(0, 12, 200)] ^ flips[0] ^ flips[1]
    hashes[:20] = 0
    shades = rng.integers(0, 4, 200)[:, None, None, None] * 6
    colours = (rng.integers(0, 2, (3, 16, 16)) * 200 + shades).astype(np.uint8)
    fingerprints = ImageFingerprints(hashes, colours)
    groups = near_duplicate_groups(fingerprints)
    assert (groups[:20] == -1).all()
    assert 12 < len(np.unique(groups[20:])) < 180
    for group in np.unique(groups[20:]):
        inside = groups == group
        assert near_duplicate_images(fingerprints, ~inside, inside) == {}
        if inside.sum() > 1:
            for number in np.flatnonzero(inside):
                alone = np.arange(200) == number
                both = near_duplicate_images(fingerprints, inside & ~alone, alone)
                back = near_duplicate_images(fingerprints, alone, inside & ~alone)
                assert both or back


def test_without_images_there_are_no_groups():
    nothing = ImageFingerprints(np.zeros(3, np.uint64), np.zeros((3, 3, 16, 16), np.uint8))
    assert near_duplicate_groups(nothing).tolist() == [-1, -1, -1]
