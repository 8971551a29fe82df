"""How long it takes to read images of several kinds to the model's size, and to check them.

    python benchmarks/images.py

"plain" is what Pillow alone takes to decode, scale and pad the same file, opened by its name,
without checks, turning or colours. Prints milliseconds of
processor time an image.
"""

from __future__ import annotations

import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from PIL import Image, ImageCms, ImageOps

from kg.image_files import ImageFiles
from kg.ingest.images import ImageFolder

SIZE = 112
ROUNDS = 15
SECONDS_A_ROUND = 0.1


def drawn(width: int, height: int) -> Image.Image:
    """Draw something between a flat colour and noise, as photographs are."""
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def files_to_read(folder: Path) -> dict[str, Path]:
    """Write a file of each kind into a folder."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6
    square = drawn(224, 224)
    kinds: dict[str, Callable[[io.BytesIO], None]] = {
        "JPEG, 224 px": lambda file: square.save(file, "JPEG", quality=90),
        "JPEG, 224 px, EXIF and sRGB": lambda file: square.save(
            file, "JPEG", quality=90, exif=exif, icc_profile=srgb
        ),
        "JPEG, 224 px, progressive": lambda file: square.save(file, "JPEG", progressive=True),
        "JPEG, 12 megapixels": lambda file: drawn(4000, 3000).save(file, "JPEG", quality=90),
        "PNG, 224 px": lambda file: square.save(file, "PNG"),
        "PNG, 224 px, transparent": lambda file: square.convert("RGBA").save(file, "PNG"),
        "WebP, 224 px": lambda file: square.save(file, "WEBP"),
        "GIF, 224 px": lambda file: square.save(file, "GIF"),
        "AVIF, 224 px": lambda file: square.save(file, "AVIF"),
    }
    paths = {}
    for name, save in kinds.items():
        buffer = io.BytesIO()
        save(buffer)
        paths[name] = folder / name.replace(" ", "-")
        paths[name].write_bytes(buffer.getvalue())
    return paths


def read_plainly(path: Path) -> None:
    """Read an image with Pillow alone."""
    with Image.open(path) as opened:
        opened.draft("RGB", (SIZE, SIZE))
        image = opened.convert("RGB")
        padded = ImageOps.pad(image, (SIZE, SIZE), Image.Resampling.BILINEAR, color="white")
        np.ascontiguousarray(np.asarray(padded).transpose(2, 0, 1))


def milliseconds(*actions: Callable[[], object]) -> list[float]:
    """Return the median time of each action; they take turns, so that all see the same machine."""
    counts = []
    for action in actions:
        started = time.process_time()
        action()
        action()
        counts.append(max(1, int(SECONDS_A_ROUND / (time.process_time() - started) * 2)))
    times: list[list[float]] = [[] for _ in actions]
    for _ in range(ROUNDS):
        for number, (action, count) in enumerate(zip(actions, counts, strict=True)):
            started = time.process_time()
            for _ in range(count):
                action()
            times[number].append((time.process_time() - started) / count * 1000)
    return [statistics.median(each) for each in times]


def main() -> None:
    """Measure each kind of file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        files = ImageFiles([folder])
        checked = ImageFolder(folder)
        print(f"{'file':30} {'read':>8} {'plain':>8} {'ratio':>6} {'check':>8}")
        for kind, path in files_to_read(folder).items():
            read, plain, check = milliseconds(
                lambda path=path: files.pixels(str(path), SIZE),  # type: ignore[misc]
                lambda path=path: read_plainly(path),  # type: ignore[misc]
                lambda path=path: checked.find(path.name),  # type: ignore[misc]
            )
            print(f"{kind:30} {read:8.3f} {plain:8.3f} {read / plain:6.2f} {check:8.3f}")


if __name__ == "__main__":
    main()
