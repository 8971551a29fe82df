"""Decode images of suppliers: as a viewer shows them, whatever is in the file."""

from __future__ import annotations

import io
import re
import threading
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kg.image_formats import encoded_image
from kg.image_headers import MAX_PIXELS, EncodedImage
from schema.errors import ImageRefusedError

if TYPE_CHECKING:
    from PIL import Image, ImageCms, ImageFile

DECODING = 2
"""Changes whenever the same file is decoded to other pixels than before."""
LARGE_BYTES = 256 << 20
"""Images that may take more memory than this while they are decoded are decoded one at a time."""
BYTES_PER_PIXEL = {"JPEG": 6, "PNG": 10, "GIF": 10, "WEBP": 22, "AVIF": 30}
"""The most that decoding takes: a progressive JPEG keeps its coefficients, and WebP two frames."""
SRGB_TOLERANCE = 2
"""A profile that changes no colour by more levels than this is that of sRGB."""
DARKEST_WHITE = 128
"""A profile that makes white darker than this is damaged."""
USUAL_GAMMA = 1 / 2.2
"""Of a PNG: about that of sRGB, to which nothing has to be converted."""
_GREY_FACTORS = {"L;2": 85, "L;4": 17}
"""The factor from the levels of a PNG of few bits, by Pillow's name, to those of 8 bits."""

_PILLOW_FILTER = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
_GREY_MODES = ("1", "L", "LA", "I", "I;16")
_TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
"""What puts an image upright, by its EXIF orientation."""

_large_image = threading.Lock()


def decode_image(data: bytes, size: int) -> Image.Image:
    """Return the image in the bytes of a file, in sRGB, to fit a square of ``size`` pixels.

    It is shown as viewers do: held upright (EXIF), on white where it is transparent, with the
    colours of its profile, the first frame of an animation. It is scaled so that its longer side
    has ``size`` pixels.

    Raises ImageRefusedError if the file is none of an image, or of one that is damaged.
    """
    encoded = encoded_image(data)
    _silence_pillow()
    header = encoded.header
    needed = header.width * header.height * BYTES_PER_PIXEL[header.format]
    try:
        if needed < LARGE_BYTES:
            return _decode(encoded, size)
        with _large_image:
            return _decode(encoded, size)
    except ImageRefusedError:
        raise
    # Decoders raise whatever comes to their minds: of 29,363 damaged files, 158 raised something
    # else than the errors that Pillow's documentation names.
    except Exception as error:
        reason = " ".join(str(error).split())[:120]
        raise ImageRefusedError(
            f"cannot be decoded ({type(error).__name__}{': ' if reason else ''}{reason})"
        ) from None


def letterboxed(data: bytes, size: int) -> NDArray[np.uint8]:
    """Return the image in the bytes of a file as pixels [3, size, size], letterboxed on white.

    Raises ImageRefusedError as :func:`decode_image` does.
    """
    from PIL import Image

    image = decode_image(data, size)
    if image.size != (size, size):
        padded = Image.new("RGB", (size, size), "white")
        left, top = (round((size - side) * 0.5) for side in image.size)
        padded.paste(image, (left, top))
        image = padded
    # Pillow can write the bands of each line one after another, which is much faster to transpose.
    lines = np.frombuffer(image.tobytes("raw", "RGB;L"), np.uint8).reshape(size, 3, size)
    return np.ascontiguousarray(lines.transpose(1, 0, 2))


def _silence_pillow() -> None:
    """Ignore Pillow's warnings, which are about oddities of a file that is decoded all the same.

    For good, because ``warnings.catch_warnings`` restores the wrong filters if several threads
    use it.
    """
    if _PILLOW_FILTER not in warnings.filters:
        warnings.filterwarnings("ignore", module=_PILLOW_FILTER[3].pattern)


def _decode(encoded: EncodedImage, size: int) -> Image.Image:
    from PIL import Image

    if encoded.header.format == "AVIF":
        from PIL import AvifImagePlugin

        # Images are decoded by several threads already, and a decoder's threads each take memory.
        AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    with Image.open(io.BytesIO(encoded.data), formats=[encoded.header.format]) as opened:
        if opened.width * opened.height > MAX_PIXELS:
            # The decoder has found another size than the header's.
            raise ImageRefusedError(f"is {opened.width} x {opened.height} pixels")
        is_grey = opened.mode in _GREY_MODES
        # Lets a JPEG be decoded at a fraction of its size, which is several times as fast.
        opened.draft("RGB", (size, size))
        image = _scaled(_plain(opened), size)
    if image.mode == "RGBa":
        image = _on_white(image)
    if encoded.profile is not None:
        image = _by_profile(image, encoded.profile, is_grey)
    if image.mode != "RGB":
        image = image.convert("RGB")
    if encoded.gamma is not None:
        image = _by_gamma(image, encoded.gamma)
    turn = _TURNS.get(encoded.orientation)
    return image if turn is None else image.transpose(Image.Transpose[turn])


def _plain(opened: ImageFile.ImageFile) -> Image.Image:
    """Decode an image to 8 bits: in mode L, RGB or CMYK, or RGBA if it may be transparent."""
    from PIL import Image

    (tile,) = opened.tile[:1] or (None,)
    # An index of the palette, or a colour, that stands for transparency; or each index's alpha.
    key = opened.info.get("transparency")
    opened.load()
    image: Image.Image = opened
    if opened.mode == "P":
        image = opened.convert("RGB" if key is None else "RGBA")
    elif opened.mode == "1":
        image = opened.convert("L")
    elif opened.mode in ("I", "I;16"):
        # Pillow's own conversion makes everything above 255 white.
        image = Image.fromarray((np.asarray(opened) >> 8).astype(np.uint8))
    elif opened.mode not in ("L", "RGB", "RGBA", "CMYK"):
        image = opened.convert("RGBA")

    if key is not None and image.mode in ("L", "RGB"):
        image = _without_colour(image, opened, key, "" if tile is None else tile.args)
    box = None if tile is None else tile.extents
    if opened.format == "GIF" and box is not None and box != (0, 0, *opened.size):
        # Where the first frame does not reach, there is nothing.
        frame = image.convert("RGBA").crop(box)
        image = Image.new("RGBA", opened.size)
        image.paste(frame, box[:2])
    return image


def _without_colour(
    image: Image.Image, opened: Image.Image, key: Any, raw_mode: Any
) -> Image.Image:
    """Return an image with one of its colours transparent, given in the levels of the file."""
    from PIL import Image

    if opened.mode in ("I", "I;16"):
        is_key = np.asarray(opened) == key
    else:
        if raw_mode in _GREY_FACTORS:
            key = np.multiply(key, _GREY_FACTORS[raw_mode])
        elif raw_mode == "RGB;16B":
            key = np.right_shift(key, 8)
        is_key = np.asarray(image) == key
    if is_key.ndim == 3:
        is_key = is_key.all(2)
    transparent = image.convert("RGBA")
    transparent.putalpha(Image.fromarray(np.where(is_key, 0, 255).astype(np.uint8)))
    return transparent


def _scaled(image: Image.Image, size: int) -> Image.Image:
    """Scale an image to fit a square; one in RGBA becomes RGBa, with colours times alpha."""
    from PIL import Image

    longer = max(image.size)
    width, height = (max(1, round(side / longer * size)) for side in image.size)
    if image.mode == "RGBA":
        # Otherwise the colour that transparent pixels hide would bleed into their neighbours.
        image = image.convert("RGBa")
    return image.resize((width, height), Image.Resampling.BILINEAR)


def _on_white(image: Image.Image) -> Image.Image:
    """Put an image in RGBa, whose colours are multiplied by alpha, on white."""
    from PIL import Image, ImageChops

    *bands, alpha = image.split()
    white = ImageChops.invert(alpha)
    return Image.merge("RGB", [ImageChops.add(band, white) for band in bands])


def _by_profile(image: Image.Image, profile: bytes, is_grey: bool) -> Image.Image:
    """Convert the colours of an image to sRGB; it remains as it is if its profile is unusable."""
    space = profile[16:20]
    if space == b"RGB " and image.mode != "CMYK":
        mode = "RGB"
    elif space == b"GRAY" and is_grey:
        mode = "L"
    elif space == b"CMYK" and image.mode == "CMYK":
        mode = "CMYK"
    else:
        return image
    transform = _transform(profile, mode)
    return image if transform is None else transform.apply(image.convert(mode))


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform from a profile to sRGB, or None if it is not needed or not possible."""
    from PIL import Image, ImageCms

    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.PERCEPTUAL,
        )
        paper = Image.new(mode, (1, 1), (0, 0, 0, 0) if mode == "CMYK" else "white")
        if np.asarray(transform.apply(paper)).min() < DARKEST_WHITE:
            return None
        if mode == "CMYK":
            return transform
        # Most profiles are those of sRGB. They have many names, so they are known by what they do.
        levels = np.arange(0, 256, 15, dtype=np.uint8)
        colours = np.stack(np.meshgrid(levels, levels, levels), 3).reshape(1, -1, 3)
        if mode == "L":
            colours = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, 2)
        probe = Image.fromarray(colours).convert(mode)
        changed = np.asarray(transform.apply(probe), dtype=np.int16)
        return None if np.abs(changed - colours).max() <= SRGB_TOLERANCE else transform
    # A viewer, too, shows an image with a damaged profile as if it had none.
    except Exception:
        return None


def _by_gamma(image: Image.Image, gamma: float) -> Image.Image:
    """Encode the light of an image, v^(1 / gamma), by the curve of sRGB (IEC 61966-2-1)."""
    if not 0.05 < gamma < 5 or abs(gamma / USUAL_GAMMA - 1) < 0.05:
        return image
    light = (np.arange(256) / 255) ** (1 / gamma)
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return image.point(np.round(255 * curve).astype(int).tolist() * 3)
