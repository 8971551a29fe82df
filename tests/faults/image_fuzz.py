"""Damaged, hostile and odd image files: each has to end in pixels or in an error of ours, in time.

    python -m tests.faults.image_fuzz --count 5000 --seed 0

The files are made from a seed, so that file 17 of seed 0 is the same every time. They are examined
in a child process with little memory: a native crash of a decoder is counted, and does not end the
run.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import re
import resource
import select
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from kg.image_decoding import letterboxed
from kg.image_formats import image_header
from schema.errors import ImageRefusedError
from tests.faults.trials import Outcome, Plan
from tests.kg.made_images import (
    ADOBE_RGB_COLORANTS,
    AVIF_CODEC,
    AvifItem,
    av1_data,
    avif,
    avif_size,
    box,
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

ROOT = Path(__file__).parents[2]
SIZE = 32
"""Pixels per side that the images are decoded to."""
SECONDS = 20.0
"""The time that a file may take, on a busy machine."""
FILES_OF_A_PROCESS = 500
STARTING_SECONDS = 60.0
"""The time that a child process may take until it examines files."""
MEMORY = 3 << 30
"""The address space of the child process in bytes, with some 0.7 GB for Python's libraries."""


@dataclass
class FuzzFigures:
    """What became of the files.

    ``uncaught``, ``crashes`` and ``timeouts`` name the files that ended otherwise than in pixels or
    an error of ours: ``"17 flips: KeyError: ..."``. ``refused`` counts the reasons by their first
    words, with N for numbers.
    """

    seed: int
    files: int = 0
    pixels: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    uncaught: list[str] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)
    timeouts: list[str] = field(default_factory=list)
    slowest_seconds: float = 0.0
    slowest: str = ""
    peak_mb: float = 0.0

    @property
    def bad(self) -> list[str]:
        """The files that ended in neither pixels nor an error of ours."""
        return [*self.uncaught, *self.crashes, *self.timeouts]


def fuzz_images(
    seed: int,
    count: int,
    seconds: float = SECONDS,
    progress: Callable[[int], None] = lambda done: None,
) -> FuzzFigures:
    """Make and examine ``count`` files; a file may take ``seconds``."""
    figures = FuzzFigures(seed)
    while figures.files < count:
        _run_child(figures, min(count, figures.files + FILES_OF_A_PROCESS), seconds)
        progress(figures.files)
    return figures


def try_images(plan: Plan) -> Outcome:
    """Make and examine the files of a plan."""
    figures = fuzz_images(plan.seed, plan.count, progress=plan.progress)
    numbers = {
        "files": figures.files,
        "read": figures.pixels,
        "refused": figures.refused.total(),
        "slowest seconds": figures.slowest_seconds,
        "peak MB": figures.peak_mb,
    }
    return Outcome(numbers, figures.bad)


def _run_child(figures: FuzzFigures, count: int, seconds: float) -> None:
    """Examine files until there are ``count``, or the child process ends."""
    first = figures.files
    arguments = [sys.executable, "-m", "tests.faults.image_fuzz", "--child", str(figures.seed)]
    with subprocess.Popen(
        [*arguments, str(first), str(count)], stdout=subprocess.PIPE, cwd=ROOT
    ) as child:
        number = first
        while number < count:
            patience = seconds if number > first else seconds + STARTING_SECONDS
            line = _line_in_time(child, patience)
            if line is None:
                name = f"{number} {made_file(figures.seed, number)[0]}"
                if child.poll() is None:
                    child.kill()
                    figures.timeouts.append(f"{name}: more than {seconds} seconds")
                else:
                    figures.crashes.append(f"{name}: ended with {child.returncode}")
                figures.files += 1
                return
            _count(figures, json.loads(line))
            number += 1


def _line_in_time(child: subprocess.Popen[bytes], seconds: float) -> bytes | None:
    """Return the next line of a child, or None if it ends or takes too long."""
    assert child.stdout is not None
    ready, _, _ = select.select([child.stdout], [], [], seconds)
    if not ready:
        return None
    line = child.stdout.readline()
    if not line:
        child.wait()
    return line or None


def _count(figures: FuzzFigures, result: dict[str, str | float]) -> None:
    name = f"{result['number']} {result['kind']}"
    figures.files += 1
    outcome = str(result["outcome"])
    if outcome == "pixels":
        figures.pixels += 1
    elif outcome.startswith("refused: "):
        reason = re.sub(r"\d[\d,]*", "N", outcome.removeprefix("refused: "))
        figures.refused[" ".join(reason.split()[:5])] += 1
    else:
        figures.uncaught.append(f"{name}: {outcome}")
    if float(result["seconds"]) > figures.slowest_seconds:
        figures.slowest_seconds = float(result["seconds"])
        figures.slowest = name
    figures.peak_mb = max(figures.peak_mb, float(result["mb"]))


def _child(seed: int, first: int, count: int) -> None:
    """Examine files and write a line for each."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in range(first, count):
        kind, data = made_file(seed, number)
        started = time.perf_counter()
        outcome = examine(data)
        result = {
            "number": number,
            "kind": kind,
            "outcome": outcome,
            "seconds": round(time.perf_counter() - started, 3),
            "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }
        print(json.dumps(result), flush=True)


def examine(data: bytes) -> str:
    """Read a file as an ingest and then a training would; return what became of it."""
    try:
        image_header(io.BytesIO(data))
        pixels = letterboxed(data, SIZE)
    except ImageRefusedError as error:
        return f"refused: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "pixels" if pixels.shape == (3, SIZE, SIZE) else f"pixels of shape {pixels.shape}"


def made_file(seed: int, number: int) -> tuple[str, bytes]:
    """Return the kind and the bytes of a file."""
    rng = random.Random(f"{seed} {number}")
    make = KINDS[number % len(KINDS)]
    return make.__name__.strip("_"), make(rng)


# The files that all others are made from


@cache
def whole_files() -> tuple[bytes, ...]:
    """Return small files of each format, in each mode and with whatever a file can carry."""
    noise = np.random.default_rng(0).integers(0, 256, (20, 24, 4), dtype=np.uint8)
    smooth = np.broadcast_to(np.arange(24, dtype=np.uint8)[None, :, None] * 10, (20, 24, 4))
    adobe = rgb_profile(ADOBE_RGB_COLORANTS, 2.2)
    inks = cmyk_profile(lambda corner: (100 - 25 * sum(corner), 10, -10))
    files = []
    for pixels in (noise, np.ascontiguousarray(smooth)):
        rgba = Image.fromarray(pixels)
        rgb = rgba.convert("RGB")
        grey = rgba.convert("L")
        frames = [rgb, rgb.rotate(90, expand=True).resize(rgb.size), rgb]
        files += [
            encoded(rgb, "JPEG"),
            encoded(rgb, "JPEG", progressive=True, icc_profile=adobe),
            encoded(grey, "JPEG", icc_profile=grey_profile(1.8)),
            encoded(rgb.convert("CMYK"), "JPEG", icc_profile=inks),
            with_segment(encoded(rgb, "JPEG", restart_marker_rows=1), 0xE1, b"Exif\0\0" + exif(6)),
            encoded(rgb, "PNG", icc_profile=srgb_profile()),
            encoded(rgba, "PNG"),
            encoded(grey, "PNG"),
            encoded(rgba.convert("LA"), "PNG"),
            encoded(rgb.quantize(16), "PNG", transparency=3),
            encoded(grey.convert("1"), "PNG"),
            encoded(Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), "PNG"),
            png(8, 4, 16, 6, bytes(65 * 4), png_chunk(b"gAMA", struct.pack(">I", 100_000))),
            encoded(rgb, "PNG", save_all=True, append_images=frames),
            encoded(rgb, "GIF"),
            encoded(rgb.quantize(8), "GIF", transparency=1, save_all=True, append_images=frames),
            encoded(rgb, "WEBP"),
            encoded(rgba, "WEBP", lossless=True, icc_profile=adobe, exif=exif(3)),
            encoded(rgba, "WEBP", save_all=True, append_images=frames),
            encoded(rgb, "AVIF", icc_profile=adobe, exif=exif(7)),
            encoded(rgba, "AVIF", subsampling="4:4:4"),
            encoded(grey, "AVIF", subsampling="4:0:0"),
            encoded(rgb, "AVIF", save_all=True, append_images=frames),
        ]
    return tuple(files)


def _whole(rng: random.Random) -> bytes:
    return rng.choice(whole_files())


# Kinds of files


def _flips(rng: random.Random) -> bytes:
    data = bytearray(_whole(rng))
    for _ in range(rng.choice((1, 1, 2, 8, 40))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def _header_flips(rng: random.Random) -> bytes:
    data = bytearray(_whole(rng))
    for _ in range(rng.choice((1, 2, 5))):
        data[rng.randrange(min(len(data), 64))] = rng.choice(
            (0, 1, 127, 128, 255, rng.randrange(256))
        )
    return bytes(data)


def _truncated(rng: random.Random) -> bytes:
    data = _whole(rng)
    return data[: rng.randrange(len(data))]


def _cut_out(rng: random.Random) -> bytes:
    data = _whole(rng)
    start = rng.randrange(len(data))
    return data[:start] + data[start + rng.choice((1, 2, 16, 200)) :]


def _repeated(rng: random.Random) -> bytes:
    data = _whole(rng)
    start = rng.randrange(len(data))
    part = data[start : start + rng.choice((1, 4, 64, 500))]
    return data[:start] + part * rng.choice((2, 50, 3000)) + data[start:]


def _spliced(rng: random.Random) -> bytes:
    first = _whole(rng)
    second = _whole(rng)
    return first[: rng.randrange(len(first))] + second[rng.randrange(len(second)) :]


def _polyglot(rng: random.Random) -> bytes:
    first = _whole(rng)
    return first + rng.choice((_whole(rng), _other(rng), b"PK\3\4" + bytes(200)))


def _noise(rng: random.Random) -> bytes:
    starts = (
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"RIFF\0\0\0\0WEBPVP8 ",
        b"\0\0\0\x10ftypavif",
        b"",
    )
    return rng.choice(starts) + rng.randbytes(rng.choice((0, 1, 30, 3000)))


def _other(rng: random.Random) -> bytes:
    """A file of another format, whatever its name may say."""
    image = Image.new("RGB", (16, 16), "red")
    format = rng.choice(("TIFF", "BMP", "ICO", "PPM", "TGA", "JPEG2000", "PCX", "EPS"))
    data = bytearray(encoded(image, format))
    if rng.random() < 0.5:
        data[rng.randrange(len(data))] ^= 255
    return bytes(data)


def _png_chunks(rng: random.Random) -> bytes:
    """A PNG whose chunks are changed, with the right checksums."""
    names = (
        b"IHDR",
        b"PLTE",
        b"tRNS",
        b"IDAT",
        b"iCCP",
        b"gAMA",
        b"sRGB",
        b"eXIf",
        b"acTL",
        b"fcTL",
    )
    chunks = [
        png_chunk(rng.choice(names), rng.randbytes(rng.choice((0, 1, 4, 13, 26)))) for _ in range(3)
    ]
    depth, kind = rng.choice(((1, 0), (2, 3), (4, 3), (8, 2), (8, 6), (16, 0), (16, 4), (3, 5)))
    width, height = rng.choice(((1, 1), (7, 3), (0, 4), (1, 60_000), (70_000, 900)))
    rows = rng.choice((b"", bytes(200), rng.randbytes(4000), bytes(5_000_000)))
    return png(width, height, depth, kind, rows, *chunks)


def _giant(rng: random.Random) -> bytes:
    """A small file that claims to be a large image."""
    width, height = rng.choice(((65_535, 65_535), (2**31 - 1, 1), (30_000, 2_100), (1, 2**31 - 1)))
    if rng.random() < 0.4:
        return png(width, height, 8, rng.choice((0, 2, 3, 6)), bytes(100))
    data = bytearray(_whole(rng))
    short = (min(width, 65_535), min(height, 65_535))
    if data.startswith(b"GIF"):
        data[6:10] = struct.pack("<HH", *short)
    elif data.startswith(b"RIFF"):
        data[24:30] = rng.randbytes(6)
    elif data.startswith(b"\xff\xd8"):
        start = next(data.find(marker) for marker in (b"\xff\xc0", b"\xff\xc2") if marker in data)
        data[start + 5 : start + 9] = struct.pack(">HH", *reversed(short))
    return bytes(data)


def _profiles(rng: random.Random) -> bytes:
    """An image with a damaged colour profile, or with a bomb in its place."""
    profile = bytearray(rng.choice((srgb_profile(), rgb_profile(ADOBE_RGB_COLORANTS, 2.2))))
    for _ in range(rng.choice((1, 4, 30))):
        profile[rng.randrange(len(profile))] = rng.randrange(256)
    bomb = png_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(rng.choice((1, 60_000_000)))))
    image = Image.new("RGB", (8, 8), (10, 200, 90))
    if rng.random() < 0.2:
        data = encoded(image, "PNG")
        return data[:33] + bomb + data[33:]
    inks = bytearray(cmyk_profile(lambda corner: (100 - 25 * sum(corner), 0, 0)))
    inks[rng.randrange(len(inks))] = rng.randrange(256)
    if rng.random() < 0.3:
        return encoded(image.convert("CMYK"), "JPEG", icc_profile=bytes(inks))
    return encoded(image, rng.choice(("PNG", "JPEG", "WEBP")), icc_profile=bytes(profile))


def _metadata(rng: random.Random) -> bytes:
    """Metadata that never ends: loops, nested lists, texts that grow when they are inflated."""
    image = Image.new("RGB", (8, 8), (10, 200, 90))
    # The next directory of this one, and the value of its entry, are the directory itself.
    loop = b"II*\0\x08\0\0\0" + struct.pack("<HHHIII", 1, rng.choice((0x8769, 0x112)), 4, 1, 8, 8)
    content = rng.choice((loop, b"MM\0*" + b"\xff" * 60_000, rng.randbytes(500), exif(200)))
    if rng.random() < 0.5:
        data = with_segment(encoded(image, "JPEG"), 0xE1, b"Exif\0\0" + content)
        for _ in range(rng.choice((0, 200))):
            data = with_segment(data, rng.choice((0xE1, 0xE2, 0xED, 0xFE)), rng.randbytes(3000))
        return data
    data = encoded(image, "PNG")
    text = b"a\0\0" + zlib.compress(b"<x>" * 3_000_000)
    xmp = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"<x>" * 300_000)
    chunk = rng.choice(
        (png_chunk(b"zTXt", text), png_chunk(b"iTXt", xmp), png_chunk(b"eXIf", content))
    )
    return data[:33] + chunk * rng.choice((1, 500)) + data[33:]


def _frames(rng: random.Random) -> bytes:
    """An animation of thousands of frames."""
    first = encoded(Image.new("P", (8, 8)), "GIF")
    frame = first[first.index(b",") : -1]
    if rng.random() < 0.5:
        return first[:-1] + frame * 20_000 + b";"
    head = first[: first.index(b",")]
    return (
        head + b"!\xfe" + (b"\xff" + bytes(255)) * rng.choice((10, 50_000)) + b"\0" + frame + b";"
    )


def _scans(rng: random.Random) -> bytes:
    """An image with the last of its scans repeated, in most of which it is one of several."""
    size = rng.choice((16, 900))
    data = encoded(Image.new("L", (size, size), 90), "JPEG", progressive=rng.random() < 0.5)
    if rng.random() < 0.3:
        # As if there were a second component, so that this scan is not all of the image.
        frame = data.index(b"\xff\xc0" if b"\xff\xc0" in data else b"\xff\xc2")
        data = (
            data[: frame + 2]
            + b"\0\x0e"
            + data[frame + 4 : frame + 9]
            + b"\2"
            + data[frame + 10 : frame + 13]
            + b"\2\x11\0"
            + data[frame + 13 :]
        )
    scan = data.rindex(b"\xff\xda")
    return data[:-2] + data[scan:-2] * rng.choice((5, 80, 5000)) + data[-2:]


def _pieces(rng: random.Random) -> bytes:
    """A file of a million pieces."""
    count = rng.choice((1000, 1_000_000))
    picture = encoded(Image.new("RGB", (8, 8)), "JPEG")
    drawing = encoded(Image.new("RGB", (8, 8)), "PNG")
    web = encoded(Image.new("RGB", (8, 8)), "WEBP")
    return rng.choice(
        (
            picture[:2] + b"\xff\xfe\0\2" * count + picture[2:],
            picture[:2] + b"\xff" * count + picture[2:],
            picture[:2] + bytes(count) + picture[2:],
            drawing[:33] + png_chunk(b"teXt", b"") * count + drawing[33:],
            drawing[:-12] + png_chunk(b"IDAT", b"") * count + drawing[-12:],
            web + b"XXXX\0\0\0\0" * count,
            b"GIF89a\1\0\1\0\0\0\0" + b"!\xfe\0" * count + b",",
        )
    )


def _avif(rng: random.Random) -> bytes:
    """An AVIF file whose boxes or whose AV1 data are changed on purpose, or one put together."""
    made = [each for each in whole_files() if each[4:8] == b"ftyp"]
    data = bytearray(rng.choice(made))
    if rng.random() < 0.3:
        return _put_together(rng)
    names = rng.choices(
        (b"ispe", b"av1C", b"iloc", b"infe", b"ipma", b"iref", b"pitm", b"mdat"), k=2
    )
    for name in names:
        place = data.find(name)
        if place < 0:
            continue
        # In the box, or in the length before it.
        for _ in range(rng.choice((1, 3))):
            at = min(len(data) - 1, place + rng.choice((-1, *range(4, 40))))
            data[at] = rng.choice((0, 1, 2, 127, 128, 255, rng.randrange(256)))
    if rng.random() < 0.2:
        place = data.find(b"ispe")
        data[place + 8 : place + 16] = struct.pack(
            ">II", *rng.choices((1, 24, 20, 16_384, 2**31), k=2)
        )
    return bytes(data)


def _put_together(rng: random.Random) -> bytes:
    """A file of parts of others: several frames, several pictures, grids of them."""
    streams = [
        av1_data(encoded(Image.new("RGB", size, "red"), "AVIF")) for size in ((24, 20), (200, 90))
    ]
    items = []
    for number in range(rng.choice((1, 2, 5))):
        stream = bytearray(rng.choice(streams) * rng.choice((1, 1, 2, 50)))
        for _ in range(rng.choice((0, 1, 4))):
            stream[rng.randrange(len(stream))] = rng.randrange(256)
        size = avif_size(*rng.choice(((24, 20), (200, 90), (60_000, 1_000), (0, 0))))
        alpha = box(b"auxC", bytes(4), b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0")
        kind = rng.choice((b"av01", b"av01", b"grid", b"iden", b"Exif"))
        items.append(
            AvifItem(bytes(stream), [size, AVIF_CODEC, alpha], kind, rng.choice((0, 1, number)))
        )
    return avif(*items, meta_first=rng.random() < 0.5, in_idat=rng.random() < 0.3)


KINDS: tuple[Callable[[random.Random], bytes], ...] = (
    _flips,
    _header_flips,
    _truncated,
    _cut_out,
    _flips,
    _repeated,
    _spliced,
    _polyglot,
    _png_chunks,
    _header_flips,
    _noise,
    _other,
    _flips,
    _giant,
    _profiles,
    _metadata,
    _flips,
    _frames,
    _scans,
    _pieces,
    _avif,
)
"""Each kind has an equal share of the files; those that find most are there several times."""


def main() -> int:
    """Print the figures of a run; the exit code is 1 if a file ended otherwise than it should."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", nargs=3, type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        _child(*arguments.child)
        return 0
    figures = fuzz_images(arguments.seed, arguments.count)
    print(json.dumps(vars(figures), indent=1))
    return 1 if figures.bad else 0


if __name__ == "__main__":
    sys.exit(main())
