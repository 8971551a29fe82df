"""The pages in a real browser: by keyboard alone, in bulk, by two at once, and for everybody."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kg.home import Home
from kg.ingest.pipeline import ingest
from schema.ledger_proposals import ProposalRecords
from schema.proposals import ProposalState
from tests.serving.api.conftest import add_proposals
from tests.serving.pages.conftest import Start

WAIT = 15_000


class Watched:
    """A page of a browser, with what it asked for and what its console said."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.url = url
        self.asked: list[str] = []
        self.errors: list[str] = []
        page.set_default_timeout(WAIT)
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._note)

    def _note(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def open(self, path: str) -> Any:
        self.page.goto(self.url + path, wait_until="networkidle")
        return self.page

    def press(self, key: str) -> None:
        """Press a key that decides, and wait until what is shown has been replaced."""
        self.page.evaluate("document.getElementById('review').dataset.old = ''")
        self.page.keyboard.press(key)
        self.page.wait_for_selector("#review:not([data-old])")


@pytest.fixture
def watch(browser: Any, start: Start) -> Iterator[Any]:
    """Open pages of the served home, which may neither ask elsewhere nor make errors."""
    url = start()
    opened: list[Watched] = []

    def open_page(**options: Any) -> Watched:
        context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
        opened.append(Watched(context.new_page(), url))
        return opened[-1]

    yield open_page
    for each in opened:
        each.page.context.close()
        assert not each.errors
        assert all(asked.startswith(url + "/") for asked in each.asked)


def make_proposals(home: Home, count: int) -> list[int]:
    lines = ["id,title,category,colour"]
    lines += [f"k{n:03},Mug {n} in teal,Mugs," for n in range(count)]
    path = home.path.parent / "more.csv"
    path.write_text("\n".join(lines))
    ingest(home, [path])
    return add_proposals(
        home, [(f"k{n:03}", "colour", "teal", 0.99 - n / 1000) for n in range(count)]
    )


def states(home: Home, numbers: list[int]) -> list[ProposalState]:
    with home.ledger() as ledger:
        found = ProposalRecords(ledger).get(numbers)
    return [found[number].state for number in numbers]


@pytest.mark.slow
def test_fifty_proposals_are_reviewed_by_keyboard_alone(home: Home, watch: Any) -> None:
    numbers = make_proposals(home, 50)
    watched = watch()
    page = watched.open("/review?property=colour&order=probability&item=")
    expected = []
    for place in range(50):
        assert page.inner_text("h2.title") == f"Mug {place} in teal"
        if place:
            page.wait_for_selector("h2.title:focus")
        if place % 10 == 9:
            page.keyboard.press("e")
            page.keyboard.type("blue")
            watched.press("Enter")
            expected.append(ProposalState.EDITED)
        else:
            key = "yn1"[place % 3]
            watched.press(key)
            expected.append(ProposalState.REJECTED if key == "n" else ProposalState.ACCEPTED)
    assert states(home, numbers) == expected
    watched.press("u")
    assert page.inner_text("h2.title") == "Mug 49 in teal"
    assert states(home, numbers[-1:]) == [ProposalState.PROPOSED]
    page.keyboard.press("?")
    assert page.is_visible("#help")
    page.keyboard.press("Escape")
    assert not page.is_visible("#help")


def test_all_of_a_filter_are_decided_and_taken_back(home: Home, watch: Any) -> None:
    numbers = make_proposals(home, 30)
    watched = watch()
    page = watched.open("/review?view=table&property=colour&min=0.9")
    assert page.locator("table.proposals tbody tr").count() == 30
    page.click("text=Accept all 30")
    page.wait_for_selector("dialog[open]")
    assert page.evaluate("document.activeElement.textContent") == "Accept 30 proposals"
    watched.press("Enter")
    assert set(states(home, numbers)) == {ProposalState.ACCEPTED}
    assert page.locator("dialog[open]").count() == 0
    watched.press("u")
    assert set(states(home, numbers)) == {ProposalState.PROPOSED}
    page.locator("table.proposals tbody tr").first.get_by_text("Reject", exact=True).click()
    page.wait_for_selector("table.proposals .tag.bad")
    assert states(home, numbers).count(ProposalState.REJECTED) == 1


def test_two_reviewers_at_once_lose_nothing(home: Home, watch: Any) -> None:
    numbers = make_proposals(home, 3)
    first, second = watch(), watch()
    url = "/review?property=colour&order=probability"
    for each in (first, second):
        each.open(url)
    first.press("y")
    second.press("n")
    page = second.page
    assert "Somebody else was quicker" in page.inner_text("#review")
    assert "reject “teal”" in page.inner_text(".versions")
    assert "accepted" in page.inner_text(".versions")
    assert states(home, numbers) == [ProposalState.ACCEPTED, *[ProposalState.PROPOSED] * 2]
    second.press("y")
    assert page.inner_text("h2.title") == "Mug 1 in teal"
    second.press("n")
    assert states(home, numbers)[1] is ProposalState.REJECTED


@pytest.mark.slow
def test_pages_are_accessible_in_light_and_dark(home: Home, watch: Any) -> None:
    from axe_playwright_python.sync_playwright import Axe

    paths = ["/", "/review", "/review?view=table", "/items", "/items/1", "/sign-in"]
    paths += ["/search?q=mug", "/runs", "/quality"]
    for scheme in ("light", "dark"):
        watched = watch(color_scheme=scheme)
        for path in paths:
            page = watched.open(path)
            if path == "/items/1":
                page.locator("text=History").first.click()
                page.wait_for_selector(".more .changes")
            elif path == "/review":
                watched.press("s")
                page.wait_for_selector(".toast")
                # It fades in, and colours in between are nobody's.
                page.wait_for_timeout(250)
            check(Axe(), page, f"{path} in {scheme}")
        page = watched.open("/review")
        page.click("text=Accept all")
        page.wait_for_selector("dialog[open]")
        check(Axe(), page, f"the dialog in {scheme}")


def check(axe: Any, page: Any, name: str) -> None:
    found = axe.run(page).response["violations"]
    bad = [
        (each["id"], each["nodes"][0]["html"], each["nodes"][0]["failureSummary"])
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
    assert not bad, name


def test_what_looks_like_an_image_is_found(home: Home, watch: Any) -> None:
    watched = watch()
    page = watched.open("/search")
    picture = home.path.parent / "images" / "1.png"
    for _ in range(50):
        # Choosing the file sends it.
        with page.expect_navigation():
            page.set_input_files("#image", picture)
        if page.locator(".hit").count():
            break
        page.wait_for_timeout(100)
    assert page.inner_text("#found") == "1 item, most like your image first"
    page.click(".hit h3 a")
    page.wait_for_url("**/items/1")
    assert page.inner_text("h1") == "Red clay mug"
