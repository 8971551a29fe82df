"""What is decoded from image files: the colours that a viewer shows, and an error of ours else."""

import struct
import threading
import time
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

import kg.image_decoding
from kg.image_decoding import decode_image, letterboxed
from schema.errors import ImageRefusedError
from tests.kg.made_images import (
    ADOBE_RGB_COLORANTS,
    P3_COLORANTS,
    SRGB_COLORANTS,
    cmyk_profile,
    encoded,
    exif,
    grey_profile,
    png,
    png_chunk,
    rgb_profile,
    srgb_profile,
    with_segment,
)

WHITE = (255, 255, 255)
FORMATS = ["JPEG", "PNG", "WEBP", "GIF"]


def colours(data, size=2):
    """Return the colours of an image of two by two pixels, row by row."""
    return [
        tuple(colour) for colour in np.asarray(decode_image(data, size)).reshape(-1, 3).tolist()
    ]


def colour(data):
    """Return the colour of an image of one colour."""
    return colours(data, 1)[0]


def near(actual, expected, tolerance=2):
    return np.abs(np.subtract(actual, expected)).max() <= tolerance


def encode_srgb(linear):
    """Encode linear light (0 to 1) by IEC 61966-2-1."""
    linear = np.clip(linear, 0, 1)
    curved = 1.055 * linear ** (1 / 2.4) - 0.055
    return np.round(255 * np.where(linear <= 0.0031308, 12.92 * linear, curved))


@pytest.mark.parametrize("format", FORMATS)
def test_each_format_is_decoded(format):
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(Image.new("RGB", (8, 8), (200, 40, 80)), format, **options)
    assert near(colour(data), (200, 40, 80), 4)


def test_plain_images_are_scaled_and_padded_as_pillow_does():
    from PIL import ImageOps

    rng = np.random.default_rng(0)
    for width, height in ((40, 30), (31, 50), (224, 224), (7, 100)):
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        padded = ImageOps.pad(image, (16, 16), Image.Resampling.BILINEAR, color="white")
        expected = np.asarray(padded).transpose(2, 0, 1)
        np.testing.assert_array_equal(letterboxed(encoded(image, "PNG"), 16), expected)


def test_an_image_much_longer_than_wide_keeps_a_pixel():
    assert decode_image(encoded(Image.new("RGB", (1, 3000), "red"), "PNG"), 32).size == (1, 32)


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, "rgbw"),
        (2, "grwb"),
        (3, "wbgr"),
        (4, "bwrg"),
        (5, "rbgw"),
        (6, "brwg"),
        (7, "wgbr"),
        (8, "gwrb"),
        (0, "rgbw"),
        (9, "rgbw"),
    ],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_an_image_is_put_upright(orientation, order, expected):
    """The pixels of each orientation as EXIF's specification (CIPA DC-008) describes them."""
    names = {(255, 0, 0): "r", (0, 255, 0): "g", (0, 0, 255): "b", WHITE: "w"}
    image = Image.fromarray(np.array(list(names), np.uint8).reshape(2, 2, 3))
    data = encoded(image, "PNG")
    eight = image.resize((16, 16), Image.Resampling.NEAREST)
    files = {
        "PNG": data[:33] + png_chunk(b"eXIf", exif(orientation, order)) + data[33:],
        "JPEG": with_segment(
            encoded(eight, "JPEG", quality=100, subsampling=0),
            0xE1,
            b"Exif\0\0" + exif(orientation, order),
        ),
    }
    for file in files.values():
        shown = [
            min(names, key=lambda name: np.abs(np.subtract(name, each)).sum())
            for each in colours(file)
        ]
        assert "".join(names[each] for each in shown) == expected


def test_the_orientation_of_a_webp_is_left_out_as_in_browsers():
    data = encoded(Image.new("RGB", (4, 2), "red"), "WEBP", lossless=True, exif=exif(6))
    assert decode_image(data, 4).size == (4, 2)


def test_a_damaged_orientation_is_none():
    image = encoded(Image.new("RGB", (4, 2), "red"), "JPEG")
    for content in (
        b"",
        b"MM",
        exif(6)[:19],
        b"MM\0*" + b"\xff" * 8,
        b"II*\0\4\0\0\0" + b"\xff" * 9,
    ):
        assert decode_image(with_segment(image, 0xE1, b"Exif\0\0" + content), 4).size == (4, 2)


def test_sixteen_bits_of_grey_become_eight():
    levels = np.array([[0, 300], [32768, 65535]], np.uint16)
    data = encoded(Image.fromarray(levels), "PNG")
    assert near(colours(data), [[each >> 8] * 3 for each in levels.reshape(-1).tolist()], 1)
    rows = b"".join(b"\0" + struct.pack(">4H", *([level, 65535] * 2)) for level in (65535, 32768))
    assert colours(png(2, 2, 16, 4, rows)) == [WHITE, WHITE, (128,) * 3, (128,) * 3]


def test_few_bits_of_grey_are_stretched():
    assert colours(png(2, 2, 1, 0, b"\0\x40\0\x80")) == [(0,) * 3, WHITE, WHITE, (0,) * 3]
    assert colours(png(2, 2, 2, 0, b"\0\x10\0\xb0")) == [(0,) * 3, (85,) * 3, (170,) * 3, WHITE]
    assert colours(png(2, 2, 4, 0, b"\0\x01\0\xef")) == [(0,) * 3, (17,) * 3, (238,) * 3, WHITE]


GREY_KEY = png_chunk(b"tRNS", struct.pack(">H", 1))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (png(2, 1, 1, 0, b"\0\x40", GREY_KEY), [(0,) * 3, WHITE]),
        (png(2, 1, 2, 0, b"\0\x10", GREY_KEY), [(0,) * 3, WHITE]),
        (png(2, 1, 4, 0, b"\0\x12", GREY_KEY), [WHITE, (34,) * 3]),
        (png(2, 1, 8, 0, b"\0\x01\x02", GREY_KEY), [WHITE, (2,) * 3]),
        (png(2, 1, 16, 0, b"\0\0\1\0\2", GREY_KEY), [WHITE, (0,) * 3]),
        (
            png(2, 1, 8, 2, b"\0\1\2\3\1\2\4", png_chunk(b"tRNS", b"\0\1\0\2\0\3")),
            [WHITE, (1, 2, 4)],
        ),
        (
            png(2, 1, 16, 2, b"\0\1\0\2\0\3\0\1\0\2\0\4\0", png_chunk(b"tRNS", b"\1\0\2\0\3\0")),
            [WHITE, (1, 2, 4)],
        ),
        (
            png(
                2,
                1,
                8,
                3,
                b"\0\0\1",
                png_chunk(b"PLTE", b"\1\2\3\4\5\6"),
                png_chunk(b"tRNS", b"\0"),
            ),
            [WHITE, (4, 5, 6)],
        ),
        (
            png(
                2, 1, 8, 3, b"\0\0\1", png_chunk(b"PLTE", bytes(6)), png_chunk(b"tRNS", b"\x33\xcc")
            ),
            [(204,) * 3, (51,) * 3],
        ),
        (png(2, 1, 8, 4, b"\0\0\0\0\x33"), [WHITE, (204,) * 3]),
        (png(2, 1, 8, 6, b"\0\xff\0\0\0\xff\0\0\x80"), [WHITE, (255, 127, 127)]),
    ],
)
def test_what_is_transparent_shows_white(data, expected):
    assert near(np.asarray(decode_image(data, 2)).reshape(-1, 3), expected, 1)


def test_hidden_colours_do_not_bleed_when_an_image_is_scaled():
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[:, :32] = (255, 0, 0, 255)  # the other half is black and transparent
    half = np.asarray(decode_image(encoded(Image.fromarray(pixels), "PNG"), 4))
    assert half[0, 0].tolist() == [255, 0, 0]
    assert half[0, 3].tolist() == [255, 255, 255]
    # On the border there is red on white, and no black.
    assert (half[:, :, 0] >= 254).all()


def test_the_first_frame_of_an_animation_is_shown():
    frames = [Image.new("RGB", (4, 4), name) for name in ("red", "blue", "green")]
    for format, options in (("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {})):
        data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
        assert colour(data) == (255, 0, 0)


def test_a_frame_that_does_not_fill_its_gif_is_on_white():
    data = bytearray(encoded(Image.new("P", (2, 2)), "GIF"))
    assert colours(bytes(data)) == [(0,) * 3] * 4
    frame = data.index(b",")
    data[frame + 1 : frame + 9] = struct.pack("<4H", 1, 1, 1, 1)
    assert colours(bytes(data)) == [WHITE, WHITE, WHITE, (0,) * 3]


def test_a_palette_of_a_gif_may_have_a_transparent_colour():
    image = Image.new("P", (2, 2), 1)
    image.putpalette([9, 9, 9, 200, 10, 20])
    image.putpixel((0, 0), 0)
    assert colours(encoded(image, "GIF", transparency=0)) == [WHITE, *[(200, 10, 20)] * 3]


@pytest.mark.parametrize("space", [(ADOBE_RGB_COLORANTS, 2.19921875), (P3_COLORANTS, 2.2)])
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_wide_colours_are_converted_to_srgb(format, space):
    colorants, gamma = space
    stored = np.array((120, 160, 60))
    # To XYZ by the profile, and from there to linear sRGB.
    xyz = np.array(colorants).T @ (stored / 255) ** gamma
    expected = encode_srgb(np.linalg.solve(np.array(SRGB_COLORANTS).T, xyz))
    assert not near(stored, expected, 5)
    options = {"lossless": True} if format == "WEBP" else {"quality": 100, "subsampling": 0}
    image = Image.new("RGB", (16, 16), tuple(stored.tolist()))
    data = encoded(image, format, icc_profile=rgb_profile(colorants, gamma), **options)
    assert near(colour(data), expected)


def test_a_grey_profile_is_applied_to_grey_alone():
    profile = grey_profile(1.0)
    expected = encode_srgb(np.array([100 / 255] * 3))
    assert near(colour(encoded(Image.new("L", (8, 8), 100), "PNG", icc_profile=profile)), expected)
    assert near(
        colour(encoded(Image.new("LA", (8, 8), (100, 255)), "PNG", icc_profile=profile)), expected
    )
    assert colour(encoded(Image.new("RGB", (8, 8), (9, 8, 7)), "PNG", icc_profile=profile)) == (
        9,
        8,
        7,
    )


def test_transparent_pixels_with_a_profile_are_white():
    image = Image.new("RGBA", (4, 4), (120, 160, 60, 0))
    data = encoded(image, "PNG", icc_profile=rgb_profile(ADOBE_RGB_COLORANTS, 2.2))
    assert near(colour(data), WHITE, 1)


def test_inks_become_colours():
    inks = [(0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 0, 255)]
    expected = [WHITE, (0, 255, 255), (255, 0, 255), (0, 0, 0)]
    for ink, shown in zip(inks, expected, strict=True):
        # As Photoshop does, Pillow writes inks inverted, with the marker of Adobe.
        assert near(colour(encoded(Image.new("CMYK", (8, 8), ink), "JPEG", quality=100)), shown, 3)


def test_inks_with_a_profile_are_those_of_its_printer():
    def lab(inks):
        cyan, *others = inks
        return (60 if cyan and not any(others) else 100 - 100 * max(inks), -37 * cyan, -50 * cyan)

    data = encoded(
        Image.new("CMYK", (8, 8), (255, 0, 0, 0)),
        "JPEG",
        quality=100,
        icc_profile=cmyk_profile(lab),
    )
    # CIE L*a*b* 60, -37, -50 at D50, by the equations of CIE 15 and IEC 61966-2-1.
    light = (60 + 16) / 116
    xyz = np.array([0.9642, 1, 0.8249]) * np.array([light - 37 / 500, light, light + 50 / 200]) ** 3
    expected = encode_srgb(np.linalg.solve(np.array(SRGB_COLORANTS).T, xyz))
    assert near(colour(data), expected, 4)


@pytest.mark.parametrize(
    "profile",
    [
        b"",
        b"nonsense",
        srgb_profile()[:200],
        b"\xff" * 5000,
        rgb_profile(((0, 0, 0),) * 3, 0),
        srgb_profile(),
        bytes(5 << 20),
    ],
)
def test_a_profile_that_is_unusable_or_srgb_changes_nothing(profile):
    image = Image.new("RGB", (4, 4), (120, 160, 60))
    assert colour(encoded(image, "PNG", icc_profile=profile)) == (120, 160, 60)


def test_the_gamma_of_a_png_is_applied():
    def with_gamma(gamma, *more):
        chunk = png_chunk(b"gAMA", struct.pack(">I", round(gamma * 100_000)))
        return png(1, 1, 8, 0, b"\0\x40", chunk, *more)

    for gamma in (1.0, 0.55556, 0.3):
        expected = encode_srgb(np.array([(64 / 255) ** (1 / gamma)] * 3))
        assert near(colour(with_gamma(gamma)), expected, 1)
    for usual in (with_gamma(0.45455), with_gamma(0), with_gamma(42_000)):
        assert colour(usual) == (64,) * 3
    assert colour(with_gamma(1.0, png_chunk(b"sRGB", b"\0"))) == (64,) * 3


OTHER_FILES = {
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "PDF": b"%PDF-1.4\n",
    "TIFF": encoded(Image.new("RGB", (4, 4)), "TIFF"),
    "BMP": encoded(Image.new("RGB", (4, 4)), "BMP"),
    "ICO": encoded(Image.new("RGB", (16, 16)), "ICO"),
    "Photoshop's PSD": b"8BPS\0\1" + bytes(30),
    "SVG": b"\n <svg xmlns='http://www.w3.org/2000/svg'/>",
    "SVG or other XML": b"\xef\xbb\xbf<?xml version='1.0'?><svg/>",
    "JPEG 2000": encoded(Image.new("RGB", (4, 4)), "JPEG2000"),
    "HEIC": b"\0\0\0\x18ftypheic" + bytes(30),
    "a video": b"\0\0\0\x18ftypisom" + bytes(30),
    "WMF": b"\xd7\xcd\xc6\x9a" + bytes(30),
    "HTML": b"<html><body>",
}


@pytest.mark.parametrize("name", OTHER_FILES)
def test_any_other_format_is_refused_by_name(name):
    with pytest.raises(ImageRefusedError, match=f"^is {name}: save it as one of JPEG, PNG"):
        decode_image(OTHER_FILES[name], 8)


@pytest.mark.parametrize("data", [b"", b"hello", b"\xff\xd8", bytes(100), b"RIFF\0\0\0\0WAVE"])
def test_what_is_no_image_is_refused(data):
    with pytest.raises(ImageRefusedError, match=r"not an image|is empty|truncated"):
        decode_image(data, 8)


@pytest.mark.parametrize("format", FORMATS)
def test_a_truncated_image_is_refused(format):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), format)
    for share in (0.01, 0.1, 0.5, 0.9):
        with pytest.raises(ImageRefusedError):
            decode_image(data[: int(len(data) * share)], 8)


@pytest.mark.parametrize("error", [KeyError("x"), MemoryError(), RecursionError(), zlib.error("x")])
def test_whatever_a_decoder_raises_becomes_an_error_of_ours(error, monkeypatch):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(kg.image_decoding, "_plain", fail)
    with pytest.raises(ImageRefusedError, match=f"cannot be decoded .{type(error).__name__}"):
        decode_image(encoded(Image.new("RGB", (4, 4)), "PNG"), 8)


def test_an_interrupt_is_no_damaged_image(monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(kg.image_decoding, "_plain", interrupt)
    with pytest.raises(KeyboardInterrupt):
        decode_image(encoded(Image.new("RGB", (4, 4)), "PNG"), 8)


def test_pillow_warns_of_nothing():
    image = Image.new("RGB", (4, 4), "red")
    data = encoded(image, "PNG")
    odd = data[:33] + png_chunk(b"acTL", bytes(8)) + png_chunk(b"gAMA", b"\0") + data[33:]
    multi_picture = with_segment(
        encoded(image, "JPEG"), 0xE2, b"MPF\0MM\0*\0\0\0\x08\0\1" + bytes(12)
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert near(colour(odd), (255, 0, 0))
        assert near(colour(multi_picture), (255, 0, 0), 3)
    assert not caught


@pytest.mark.parametrize(
    "data",
    [
        png(60_000, 60_000, 8, 2, b""),
        encoded(Image.new("1", (9000, 9000)), "PNG"),
        b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\xff\x3f\xff\xff\x3f" + bytes(40),
        b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\1\0\1\0\0",
        b"GIF89a\1\0\1\0\0\0\0,\xff\xff\xff\xff\1\0\1\0\0",
        with_segment(b"\xff\xd8", 0xC0, b"\x08\xff\xff\xff\xff\3" + bytes(9)) + b"\xff\xda\0\2",
    ],
)
def test_a_bomb_is_refused_before_it_takes_memory(data):
    tracemalloc.start()
    try:
        with pytest.raises(ImageRefusedError, match="the limit is 64,000,000"):
            decode_image(data, 8)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_no_pixels_are_no_image():
    with pytest.raises(ImageRefusedError, match="is 0 x 5 pixels"):
        decode_image(png(0, 5, 8, 2, b""), 8)


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "data",
    [
        # Pillow joins comments one after another: quadratic in their number.
        b"GIF89a\1\0\1\0\0\0\0" + b"!\xfe" + (b"\xff" + bytes(255)) * 200_000 + b"\0,",
        b"GIF89a\1\0\1\0\0\0\0" + b"!\xfe\0" * 1_000_000,
        b"GIF89a\1\0\1\0\0\0\0" + (b"!\xfe" + b"\1\1" * 90_000 + b"\0") * 30,
        b"\xff\xd8" + b"\xff\xfe\0\2" * 2_000_000,
        b"\xff\xd8" + b"\xff" * 10_000_000,
        b"\xff\xd8\xff\xfe\0\2" + b"\0" * 10_000_000,
        encoded(Image.new("RGB", (8, 8)), "PNG")[:33] + png_chunk(b"teXt", b"") * 1_000_000,
        b"RIFF\0\0\0\0WEBPVP8L\5\0\0\0/\0\0\0\0\0" + b"XXXX\0\0\0\0" * 1_000_000,
    ],
)
def test_a_file_of_millions_of_pieces_is_refused_in_time(data):
    with pytest.raises(ImageRefusedError):
        decode_image(data, 8)


def of_many_scans(count):
    """Return a JPEG that is not progressive, with a scan of its first component again and again."""
    data = encoded(Image.new("RGB", (64, 64), "red"), "JPEG", subsampling=0)
    frame = data.index(b"\xff\xc0")
    head = data[: data.index(b"\xff\xda")]
    luma, *chroma = (bytes([data[frame + 10 + 3 * number]]) for number in range(3))
    scans = [b"\xff\xda\0\x08\1" + luma + b"\0\0\x3f\0\xa8\xa8"] * count
    scans += [b"\xff\xda\0\x08\1" + each + b"\x11\0\x3f\0\xa8\xa8" for each in chroma]
    return head + b"".join(scans) + b"\xff\xd9"


def test_an_image_may_have_a_scan_a_component():
    assert decode_image(of_many_scans(1), 8).size == (8, 8)
    with pytest.raises(ImageRefusedError, match="more than 100 scans"):
        decode_image(of_many_scans(99), 8)


def test_a_progressive_image_of_many_scans_is_refused():
    data = encoded(Image.new("L", (64, 64), 90), "JPEG", progressive=True)
    scan = data.rindex(b"\xff\xda")
    end = data.rindex(b"\xff\xd9")
    bomb = data[:end] + data[scan:end] * 200 + data[end:]
    with pytest.raises(ImageRefusedError, match="more than 100 scans"):
        decode_image(bomb, 8)


def test_what_follows_an_image_does_not_matter():
    picture = encoded(Image.new("RGB", (16, 16), "red"), "JPEG", progressive=True)
    for appended in (b"video" * 1000, picture * 50, b"\xff\xda" * 500):
        assert near(colour(picture + appended), (255, 0, 0), 3)


def test_markers_in_a_table_between_scans_do_not_end_the_image():
    picture = encoded(Image.new("RGB", (16, 16), "red"), "JPEG", progressive=True)
    scan = picture.rindex(b"\xff\xda")
    comment = b"\xff\xfe" + struct.pack(">H", 2 + 400) + b"\xff\xd9\xff\xda" * 100
    assert near(colour(picture[:scan] + comment + picture[scan:]), (255, 0, 0), 3)


def test_a_profile_is_inflated_once():
    drawing = encoded(Image.new("RGB", (8, 8), "red"), "PNG")
    bomb = png_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(4_000_000)))
    started = time.process_time()
    assert colour(drawing[:33] + bomb * 3000 + drawing[33:]) == (255, 0, 0)
    assert time.process_time() - started < 5


def test_comments_between_scans_do_not_go_on_for_ever():
    picture = encoded(Image.new("RGB", (16, 16), "red"), "JPEG", progressive=True)
    scan = picture.rindex(b"\xff\xda")
    comments = b"\xff\xfe\0\2" * 1_000_000
    started = time.process_time()
    assert near(colour(picture[:scan] + comments + picture[scan:]), (255, 0, 0), 3)
    with pytest.raises(ImageRefusedError, match="segments"):
        # What looks like the start of many scans makes us count.
        decode_image(picture[:scan] + comments + b"\xff\xfe\0\xca" + b"\xff\xda" * 100, 8)
    assert time.process_time() - started < 5


def test_metadata_does_not_reach_the_decoder():
    image = Image.new("RGB", (8, 8), "red")
    data = encoded(image, "PNG")
    bomb = png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(5_000_000)))
    assert colour(data[:33] + bomb * 500 + data[33:]) == (255, 0, 0)
    jpeg = encoded(image, "JPEG")
    for _ in range(100):
        jpeg = with_segment(jpeg, 0xE1, b"Exif\0\0" + b"MM\0*\0\0\0\x08\xff\xff" + bytes(60_000))
    assert near(colour(jpeg), (255, 0, 0), 3)


def test_large_images_are_decoded_one_at_a_time(monkeypatch):
    monkeypatch.setattr(kg.image_decoding, "LARGE_BYTES", 10)
    running = []
    most = []
    decode = kg.image_decoding._decode

    def spy(*args):
        running.append(1)
        most.append(len(running))
        threading.Event().wait(0.01)
        try:
            return decode(*args)
        finally:
            running.pop()

    monkeypatch.setattr(kg.image_decoding, "_decode", spy)
    data = encoded(Image.new("RGB", (8, 8)), "PNG")
    threads = [threading.Thread(target=decode_image, args=(data, 8)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1, 1]
