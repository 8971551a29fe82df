"""Draw the screenshots of the pages that the README shows, in a real Chromium.

    python -m benchmarks.screenshots [--home DIR] [--items 900] [--out docs]

Without a home, a sample catalogue is drawn and completed, and some of its proposals are decided as
its truth has it: that takes two minutes. Pages that there are not are left out, and told.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import uvicorn
from PIL import Image

from benchmarks.run_command import run
from kg.home import Home
from schema.ledger_proposals import ProposalRecords
from schema.proposals import OPEN, ProposalFilter, ProposalOrder, ProposalState
from serving.api.app import create_app
from serving.api.options import ServeOptions
from serving.review.session import open_review

PAGES = {
    "overview-page": "/",
    "review-page": "/review",
    "search-page": "/search?q=striped+blue+mug",
}
"""The pages by the name of their screenshot."""
WIDTH = 1280
HEIGHT = 860
COLOURS = 256
"""A page has few colours but for its images: so a file is a third as large."""
MAX_BYTES = 200_000
DECIDED = 240
MODEL_SECONDS = 120.0


def make_home(folder: Path, items: int) -> Home:
    """Make a home of a sample catalogue, completed and reviewed in part."""
    path = folder / "catalog"
    run(path, "sample", folder / "shop", "--items", items)
    run(path, "ingest", folder / "shop" / "items.csv", "--max-rejects", "5%")
    run(path, "train", "--preset", "experts", "--name", "demo")
    run(path, "complete", "--target-precision", "0.9", "--write")
    run(path, "index")
    home = Home.open(path)
    with (folder / "shop" / "truth.csv").open(encoding="utf-8", newline="") as stream:
        truth = {(row["item"], row["property"]): row["value"] for row in csv.DictReader(stream)}
    decide_as_true(home, truth)
    return home


def decide_as_true(home: Home, truth: dict[tuple[str, str], str]) -> None:
    """Accept proposals that are true, and reject others, of each kind some."""
    with open_review(home) as review:
        for state in (ProposalState.APPLIED, ProposalState.PROPOSED):
            wanted = ProposalFilter(states=(state,))
            found = review.records.find(wanted, ProposalOrder.ITEM, DECIDED)
            right = [each for each in found if (truth.get(each.cell),) == each.values]
            wrong = [each for each in found if (truth.get(each.cell),) != each.values]
            review.accept(right, "anna")
            review.reject(wrong, "ben")


def telling_proposal(home: Home) -> str:
    """Return the address of a proposal whose item's title says the value, if there is one."""
    with home.store(read_only=True) as store, home.ledger() as ledger:
        records = ProposalRecords(ledger)
        for each in records.find(ProposalFilter(states=OPEN), ProposalOrder.GAIN, 500):
            item = (store.item(each.item) or (None,))[0]
            title = "" if item is None else (item.title or "").casefold()
            is_told = each.values[0].casefold() in title and len(each.candidates) > 3
            # That speaks for itself only if the model took it so.
            is_told = is_told and (each.evidence.get("title") or 0) > 0.1
            if item is not None and item.images and is_told:
                return f"/review/{each.id}"
    return "/review"


@contextmanager
def served(home: Home) -> Iterator[str]:
    """Serve a home, and yield its address once its model is loaded."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    app = create_app(home, ServeOptions(port=port))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + MODEL_SECONDS
    while not server.started or app.state.catalogue.is_loading:
        if time.monotonic() > deadline:
            raise SystemExit(f"the server was not ready after {MODEL_SECONDS:g} s")
        time.sleep(0.1)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


def take(browser: Any, url: str, path: Path) -> bool:
    """Write a screenshot of a page; return whether there is one."""
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
    answer = page.goto(url, wait_until="networkidle")
    if answer is None or answer.status != 200:
        return False
    with Image.open(io.BytesIO(page.screenshot())) as image:
        image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    page.close()
    return True


def main() -> int:
    """Write the screenshots, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--home", type=Path, help="a home to show, in place of a sample")
    parser.add_argument("--items", type=int, default=900)
    parser.add_argument("--out", type=Path, default=Path("docs"))
    given = parser.parse_args()
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("no Chromium is installed: `apt-get install chromium`")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    code = 0
    with tempfile.TemporaryDirectory() as folder:
        home = Home.open(given.home) if given.home else make_home(Path(folder), given.items)
        with served(home) as url, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
            for name, page in {**PAGES, "review-page": telling_proposal(home)}.items():
                path = given.out / f"{name}.png"
                if not take(browser, url + page, path):
                    print(f"{name}: there is no page {page}")
                    continue
                size = path.stat().st_size
                print(f"{path}: {size:,} bytes")
                code = max(code, int(size > MAX_BYTES))
            browser.close()
    return code


if __name__ == "__main__":
    sys.exit(main())
