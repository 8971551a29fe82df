"""AVIF files: what is decoded of them, and what never reaches their decoder."""

import io
import struct
import time

import numpy as np
import pytest
from PIL import Image

from kg import image_avif
from kg.image_decoding import decode_image
from kg.image_formats import encoded_image, image_header
from schema.errors import ImageRefusedError
from tests.kg.made_images import (
    ADOBE_RGB_COLORANTS,
    AVIF_CODEC,
    AvifItem,
    av1_data,
    avif,
    avif_size,
    box,
    encoded,
    exif,
    rgb_profile,
)

WIDTH = 48
HEIGHT = 32


def picture(mode="RGB"):
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (4, 6, 4), dtype=np.uint8))
    return small.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).convert(mode)


def data(width=WIDTH, height=HEIGHT, **options):
    """Return the AV1 data of a picture."""
    image = picture().resize((width, height))
    return av1_data(encoded(image, "AVIF", quality=90, subsampling="4:2:0", **options))


def item(content=None, *properties):
    return AvifItem(
        data() if content is None else content, [avif_size(WIDTH, HEIGHT), AVIF_CODEC, *properties]
    )


def pixels(file):
    return np.asarray(decode_image(file, WIDTH)).astype(int)


def refused(file, match):
    with pytest.raises(ImageRefusedError, match=match):
        decode_image(file, 8)


@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4", "4:0:0"])
def test_a_picture_is_decoded_as_pillow_decodes_its_file(subsampling):
    file = encoded(picture(), "AVIF", subsampling=subsampling)
    with Image.open(io.BytesIO(file)) as opened:
        expected = np.asarray(opened.convert("RGB")).astype(int)
    np.testing.assert_array_equal(pixels(file), expected)


def test_transparency_shows_white():
    image = picture("RGBA")
    image.putalpha(Image.new("L", image.size, 0))
    assert (pixels(encoded(image, "AVIF")) == 255).all()
    image.putalpha(Image.new("L", image.size, 255))
    assert np.abs(pixels(encoded(image, "AVIF", quality=90)) - np.asarray(picture())).mean() < 6


def test_the_first_frame_of_an_animation_is_shown():
    frames = [Image.new("RGB", (16, 16), name) for name in ("red", "blue")]
    file = encoded(frames[0], "AVIF", save_all=True, append_images=frames[1:])
    assert np.asarray(decode_image(file, 1)).reshape(3).tolist() == pytest.approx(
        [255, 0, 0], abs=4
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_by_its_boxes(orientation):
    """Pillow's encoder turns EXIF's orientation into the boxes ``irot`` and ``imir``."""
    turned = encoded(picture(), "AVIF", quality=90, exif=exif(orientation))
    assert encoded_image(turned).orientation == orientation
    jpeg = io.BytesIO()
    picture().save(jpeg, "JPEG", quality=95, subsampling=0, exif=b"Exif\0\0" + exif(orientation))
    assert np.abs(pixels(turned) - pixels(jpeg.getvalue())).mean() < 6


def test_colours_are_converted_by_the_profile():
    profile = rgb_profile(ADOBE_RGB_COLORANTS, 2.2)
    image = Image.new("RGB", (16, 16), (120, 160, 60))
    (expected, found) = (
        np.asarray(decode_image(encoded(image, format, icc_profile=profile, **options), 1))
        for format, options in (("PNG", {}), ("AVIF", {"quality": 100}))
    )
    assert np.abs(expected.astype(int) - found).max() <= 4
    assert np.abs(np.subtract(found, (120, 160, 60))).max() > 5


@pytest.mark.parametrize("layout", [{}, {"meta_first": True}, {"in_idat": True}])
def test_boxes_may_come_in_any_order(layout):
    file = avif(item(), **layout)
    assert image_header(io.BytesIO(file)).width == WIDTH
    np.testing.assert_array_equal(pixels(file), pixels(avif(item())))


def test_boxes_may_have_lengths_of_64_bits_or_none():
    file = avif(item())
    place = file.rindex(b"meta") - 4
    long = struct.pack(">I4sQ", 1, b"meta", len(file) - place + 8) + file[place + 8 :]
    unknown = bytes(4) + file[place + 4 :]
    for end in (long, unknown):
        np.testing.assert_array_equal(pixels(file[:place] + end), pixels(file))


def test_the_size_is_found_behind_a_large_picture():
    padded = avif(AvifItem(bytes(100_000), []), AvifItem(data(), []))
    first = item()
    first.data += b"\x7a\xa0\x8d\x06" + bytes(100_000)  # padding, which the decoder does not get
    file = avif(first)
    assert image_header(io.BytesIO(file)) == image_header(io.BytesIO(avif(item())))
    assert len(encoded_image(file).data) < 10_000
    with pytest.raises(ImageRefusedError, match="without a size"):
        image_header(io.BytesIO(padded))


def test_data_larger_than_the_header_says_are_refused():
    """libavif decodes them whole, up to 16,384 x 16,384 pixels, and scales them down."""
    lying = avif(item(data(2 * WIDTH, HEIGHT)))
    with Image.open(io.BytesIO(lying)) as opened:
        assert opened.convert("RGB").size == (WIDTH, HEIGHT)
    refused(lying, "48 x 32 pixels, whose data has 96 x 32")


def test_a_bomb_is_refused_by_its_header():
    for size, reason in (((60_000, 60_000), "the limit is 64,000"), ((0, 5), "is 0 x 5 pixels")):
        file = avif(AvifItem(data(), [avif_size(*size), AVIF_CODEC]))
        with pytest.raises(ImageRefusedError, match=reason):
            image_header(io.BytesIO(file))
        refused(file, "whose data has 48 x 32")


def test_frames_that_may_be_of_any_size_are_refused():
    """A sequence header that is not reduced lets each frame choose, in as many bits as it gives."""
    # Profile 0, no timing, one operating point of level 0; sizes of 16 bits each.
    bits = "000" + "0" + "0" + "0" + "0" + "00000" + "0" * 12 + "00000"
    bits += "1111" + "1111" + f"{WIDTH - 1:016b}" + f"{HEIGHT - 1:016b}"
    bits += "0" * (-len(bits) % 8)
    header = int(bits, 2).to_bytes(len(bits) // 8)
    frame = b"\x32\0"
    refused(avif(item(b"\x0a" + bytes([len(header)]) + header + frame)), "4,294,967,296 pixels")


@pytest.mark.parametrize("count", [0, 2, 500])
def test_a_picture_has_one_frame(count):
    content = data()
    # After an empty temporal delimiter and the sequence header.
    frame = content[4 + content[3] :]
    assert frame[0] >> 3 & 15 == 6
    refused(avif(item(content[: -len(frame)] + frame * count)), f"has {count} frames")


def test_a_picture_of_other_pictures_is_refused():
    grid = AvifItem(b"\0\0\x0f\x0f" + struct.pack(">HH", 960, 640), [avif_size(960, 640)], b"grid")
    refused(avif(grid, item(), item()), "is no AV1 data but 'grid'")


def test_alpha_is_checked_like_colours():
    name = box(b"auxC", bytes(4), b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0")
    alpha = item(data(2 * WIDTH, HEIGHT), name)
    alpha.alpha_of = 1
    refused(avif(item(), alpha), "whose data has 96 x 32")


def test_only_pictures_and_their_properties_reach_the_decoder():
    hidden = [box(b"free", bytes(500)), box(b"colr", b"prof", b"secret" * 50), box(b"uuid", b"x")]
    found = encoded_image(avif(item(None, *hidden), item(b"text", *hidden)))
    assert b"secret" not in found.data
    assert b"free" not in found.data
    assert found.profile == b"secret" * 50


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "meta",
    [
        box(b"free") * 1_000_000,
        box(b"iinf", bytes(6), box(b"infe", b"\2" + bytes(12)) * 1_000_000),
        box(b"iref", bytes(4), box(b"auxl", struct.pack(">HH", 1, 65_535), bytes(131_070)) * 300),
        box(b"iloc", bytes(4), b"\0\0\xff\xff", b"\0\1\0\0\xff\xff" * 65_535),
        box(b"iprp", box(b"ipma", bytes(4), b"\0\0\xff\xff", (b"\0\1\xff" + bytes(255)) * 65_535)),
        box(b"iprp", box(b"ipco", box(b"free") * 1_000_000)),
        box(b"iref", bytes(4)) * 2,
    ],
)
def test_lists_without_end_are_refused_in_time(meta):
    file = box(b"ftyp", b"avif", bytes(8)) + box(b"meta", bytes(4), meta)
    started = time.process_time()
    refused(file, "AVIF")
    assert time.process_time() - started < 5


def test_overlapping_pieces_do_not_multiply():
    content = data()
    file = bytearray(avif(item(content)))
    place = file.index(b"iloc") + 4
    extents = struct.pack(">HHHH", 1, 0, 0, 100) + struct.pack(">II", 28 + 8, len(content)) * 100
    iloc = box(b"iloc", b"\1\0\0\0\x44\0\0\1", extents)
    whole = file.index(b"meta") - 4
    old = struct.unpack_from(">I", file, place - 8)[0]
    meta = file[whole + 8 : place - 8] + iloc + file[place - 8 + old :]
    refused(bytes(file[:whole]) + box(b"meta", bytes(meta)), "damaged AVIF")


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("meta_first", [True, False])
def test_a_truncated_file_is_refused(share, meta_first):
    file = avif(item(), meta_first=meta_first)
    refused(file[: int(len(file) * share)], "is ")


def test_an_operating_point_s_details_are_passed_over():
    """Timing, a decoder model and two operating points, as the specification orders them."""
    bits = "001" + "0" + "0"
    bits += "1" + "0" * 64 + "1" + "00101" + "1" + "00111" + "0" * 42  # timing, uvlc(4), model
    bits += "1" + "00001"
    bits += "0" * 12 + "01000" + "1" + "1" + "0" * 17 + "1" + "0000"
    bits += "0" * 12 + "00111" + "0" + "0"
    bits += "1001" + "0111" + f"{639:010b}" + f"{199:08b}"
    bits += "0" * (-len(bits) % 8)
    found = image_avif._frame_size(int(bits, 2).to_bytes(len(bits) // 8))
    assert found == (640, 200)
