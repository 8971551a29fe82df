"""The pages as text: who may see and do what, what is shown, and that nothing of it is markup."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from kg.home import Home
from kg.ingest.pipeline import ingest
from kg.item_writing import write_item
from kg.stores.tables import items_table
from schema.ledger_proposals import ProposalRecords
from schema.proposals import Proposal, ProposalFilter, ProposalState
from schema.terms import Item
from serving.api.authentication import COOKIE
from serving.pages.marking import Part, marked
from serving.pages.rendering import item_url, percent, with_query
from serving.pages.signing_in import own_path
from tests.serving.api.conftest import Serve, add_proposals

HTMX = {"hx-request": "true", "hx-target": "review"}


class Tags(HTMLParser):
    """Collects the elements of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def proposals(home: Home, **wanted: Any) -> list[Proposal]:
    with home.ledger() as ledger:
        return ProposalRecords(ledger).find(ProposalFilter(**wanted))


def etag(client: TestClient, number: int) -> str:
    return client.get(f"/v2/proposals/{number}").json()["etag"]


def send(client: TestClient, number: int, action: str, **more: str) -> Response:
    data = {"action": action, "etag": etag(client, number), **more}
    return client.post(f"/review/{number}", data=data, headers=HTMX)


# Who may


def test_whoever_has_no_token_is_sent_to_sign_in_and_comes_back(serve: Serve, token: Any) -> None:
    client = serve(require_token=True)
    text = token("read")["authorization"].removeprefix("Bearer ")
    asked = client.get("/review?property=colour", follow_redirects=False)
    assert asked.status_code == 303
    assert asked.headers["location"] == "/sign-in?next=%2Freview%3Fproperty%3Dcolour"
    assert client.get("/review/1", headers=HTMX).headers["hx-redirect"].startswith("/sign-in")

    refused = client.post("/sign-in", data={"token": "cat_no", "next": "/review"})
    assert refused.status_code == 401
    assert COOKIE not in client.cookies
    done = client.post(
        "/sign-in", data={"token": text, "next": "/review?property=colour"}, follow_redirects=False
    )
    assert done.headers["location"] == "/review?property=colour"
    assert {"HttpOnly", "SameSite=strict"} <= set(done.headers["set-cookie"].split("; "))
    assert client.get("/review").status_code == 200
    client.post("/sign-out")
    assert client.get("/review", follow_redirects=False).status_code == 303


@pytest.mark.parametrize(
    "path", ["//evil.example", "/\\evil.example", "https://evil", "x", "/a\nb"]
)
def test_signing_in_leads_nowhere_else(path: str) -> None:
    assert own_path(path) == "/"


def test_what_one_may_not_do_is_not_offered_and_refused(serve: Serve, token: Any) -> None:
    client = serve(require_token=True)
    client.cookies.set(COOKIE, token("read")["authorization"].removeprefix("Bearer "))
    page = client.get("/review")
    assert page.status_code == 200
    assert 'value="accept"' not in page.text
    assert "Accept all" not in page.text
    data = {"action": "accept", "etag": etag(client, 1)}
    refused = client.post("/review/1", data=data, headers={"accept": "text/html"})
    assert refused.status_code == 403
    assert "needs the scope review" in refused.text
    assert proposals_state(client, 1) == "proposed"


def proposals_state(client: TestClient, number: int) -> str:
    return client.get(f"/v2/proposals/{number}").json()["status"]


def test_errors_are_pages_for_browsers_and_problems_for_others(client: TestClient) -> None:
    html = {"accept": "text/html"}
    for path, status in (("/nothing", 404), ("/items/none", 404), ("/review?order=odd", 422)):
        answer = client.get(path, headers=html)
        assert answer.status_code == status
        assert "<h1>" in answer.text
    assert client.get("/nothing").json()["status"] == 404
    assert client.get("/v2/nothing", headers=html).json()["status"] == 404


def test_pages_load_only_files_of_the_server(client: TestClient) -> None:
    text = client.get("/").text
    for tag, attributes in Tags(text).found:
        assert not any(name.startswith("on") or name == "style" for name in attributes), tag
        for name in ("href", "src", "action"):
            assert (attributes.get(name) or "/").startswith(("/", "#"))
    for url in re.findall(r'"(/assets/[^"]+)"', text):
        answer = client.get(url)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    assert client.get("/assets/app.py").status_code == 404


# What is shown


def test_the_overview_leads_to_what_is_missing_and_to_its_proposals(client: TestClient) -> None:
    overview = client.get("/").text
    assert "/items?category=Mugs&amp;missing=material" in overview
    assert "/review?property=colour" in overview
    missing = Tags(client.get("/items?category=Mugs&missing=material").text)
    links = [attributes.get("href") for tag, attributes in missing.found if tag == "a"]
    assert "/items/2" in links
    assert "/items/1" not in links
    assert "/review/1" in links
    assert "clay" in missing.text


def test_a_proposal_is_shown_with_its_words_its_evidence_and_its_keys(client: TestClient) -> None:
    text = client.get("/review/1").text
    assert "Blue mug" in text
    for key in "ynse1":
        assert f'data-key="{key}"' in text
    assert "80.0%" in text
    assert "+20.0" in text


def test_an_item_shows_its_values_with_sources_and_history(client: TestClient) -> None:
    page = Tags(client.get("/items/1").text).text
    assert "clay" in page
    assert "items.csv" in page
    history = client.get("/items/1/history?of=material").text
    assert "asserted" in history
    assert "colour" not in history
    drawing = client.get("/items/1/around").text
    assert 'href="/items?property=material&amp;value=clay"' in drawing
    assert 'href="/items/3"' in drawing
    assert client.get("/items/a%2Fb").status_code == 200


def test_the_model_is_asked_about_any_cell(client: TestClient) -> None:
    answer = client.get("/items/2/ask?property=material")
    assert answer.status_code == 200
    assert "<b>fake</b> would" in answer.text
    assert 'class="candidate"' in answer.text
    assert "no property" in client.get("/items/2/ask?property=weight").text


# Decisions


def test_decisions_are_taken_and_the_next_one_is_shown(client: TestClient, home: Home) -> None:
    first = client.get("/review").text
    number = int(re.search(r'action="/review/(\d+)"', first).group(1))  # type: ignore[union-attr]
    done = send(client, number, "accept")
    assert done.status_code == 200
    (accepted,) = proposals(home, states=(ProposalState.ACCEPTED,))
    assert (accepted.id, accepted.reviewer) == (number, "local")
    assert f'action="/review/{number}"' not in done.text
    assert "Accepted" in done.text


def test_a_candidate_or_another_value_is_taken(client: TestClient, home: Home) -> None:
    assert send(client, 1, "take-1").status_code == 200
    assert send(client, 2, "edit", value=" green ").status_code == 200
    found = {each.id: each for each in proposals(home)}
    assert found[1].state is ProposalState.ACCEPTED
    assert (found[2].state, found[2].decided) == (ProposalState.EDITED, ("green",))
    refused = send(client, 3, "edit", value=" ")
    assert refused.status_code == 400
    assert refused.headers["hx-retarget"] == "#toasts"
    assert send(client, 3, "take-7").status_code == 422


def test_a_skipped_one_comes_last_and_the_queue_goes_on(client: TestClient, home: Home) -> None:
    order = [each["id"] for each in client.get("/v2/proposals").json()["proposals"]]
    shown = send(client, order[0], "skip").text
    assert f'action="/review/{order[1]}"' in shown
    assert [each["id"] for each in client.get("/v2/proposals").json()["proposals"]] == [
        *order[1:],
        order[0],
    ]


def test_a_decision_is_undone_and_shown_again(client: TestClient, home: Home) -> None:
    done = send(client, 2, "reject").text
    run = re.search(r'name="run" value="([^"]+)"', done).group(1)  # type: ignore[union-attr]
    back = client.post("/undo", data={"run": run, "at": "2"}, headers=HTMX)
    assert 'action="/review/2"' in back.text
    assert len(proposals(home, states=(ProposalState.PROPOSED,))) == 3


def test_without_scripts_a_decision_leads_to_the_next_page(client: TestClient) -> None:
    data = {"action": "accept", "etag": etag(client, 1)}
    answer = client.post("/review/1?property=material", data=data, follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/review?property=material"


def test_who_is_late_sees_both_versions_and_changes_nothing(client: TestClient, home: Home) -> None:
    old = etag(client, 1)
    send(client, 1, "accept")
    late = client.post("/review/1", data={"action": "reject", "etag": old}, headers=HTMX)
    assert "Somebody else was quicker" in late.text
    assert "reject “clay”" in late.text
    assert "by local" in late.text
    assert proposals_state(client, 1) == "accepted"
    plain = client.post("/review/1", data={"action": "reject", "etag": old})
    assert plain.status_code == 409


def test_all_of_a_filter_are_decided_once_they_are_as_many_as_was_shown(
    client: TestClient, home: Home
) -> None:
    dialog = client.get("/review/bulk?action=reject&property=colour", headers=HTMX).text
    assert "Reject 2 proposals" in dialog
    url = "/review/bulk?property=colour"
    stale = client.post(url, data={"action": "reject", "expected": "3"}, headers=HTMX)
    assert "3 proposals were expected" in stale.text
    assert stale.headers["hx-retarget"] == "#dialogs"
    assert not proposals(home, states=(ProposalState.REJECTED,))
    done = client.post(url, data={"action": "reject", "expected": "2"}, headers=HTMX)
    assert "Rejected 2" in done.text
    assert {each.property for each in proposals(home, states=(ProposalState.REJECTED,))} == {
        "colour"
    }
    decided = client.get(
        "/review/bulk?action=reject&state=rejected", headers={"accept": "text/html"}
    )
    assert decided.status_code == 400


def test_a_category_is_a_filter_too(client: TestClient, home: Home) -> None:
    chairs = client.get("/review?category=Chairs&view=table").text
    assert "Oak chair" in chairs
    assert "Blue mug" not in chairs
    data = {"action": "accept", "expected": "2"}
    client.post("/review/bulk?category=Chairs", data=data, headers=HTMX)
    assert {each.item for each in proposals(home, states=(ProposalState.ACCEPTED,))} == {"4", "a/b"}


def test_values_are_completed_from_the_vocabulary(client: TestClient) -> None:
    assert client.get("/review/values?property=material&value=CL").text.strip() == (
        '<option value="clay"></option>'
    )
    assert client.get("/review/values?property=none").text.strip() == ""


# What comes from outside

HOSTILE = [
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "javascript:alert(1)",
    "{{ 7 * 7 }} {% raw %}",
    "\u202eright\u200fto left",
    "a&b;&lt;b&gt;",
]


@pytest.fixture
def hostile(home: Home) -> Home:
    """A home with hostile texts in every field."""
    for place, text in enumerate(HOSTILE):
        # No image path of this kind gets past the gate of a source, but one of a store may.
        image = "javascript:alert(1)" if place % 2 else "https://evil.example/x.jpg"
        about = Item(text, text, f"Mugs > {text}", description=text)
        write_item(home, about, [(name, name) for name in HOSTILE], "hostile <b>")
        with home.store() as store:
            store.put(items_table([replace(about, images=(image,))]), None)
    add_proposals(
        home, [(text, "colour", each, 0.5) for text, each in zip(HOSTILE, HOSTILE, strict=True)]
    )
    return home


def test_what_comes_from_data_is_shown_as_text(hostile: Home, serve: Serve) -> None:
    client = serve()
    numbers = [each.id for each in proposals(hostile) if each.item in HOSTILE]
    assert len(numbers) == len(HOSTILE)
    paths = ["/", "/review?view=table", "/items", "/items?missing=colour"]
    for text, number in zip(HOSTILE, numbers, strict=True):
        paths += [f"/review/{number}", f"/review/{number}/neighbours", item_url(text)]
        paths += [item_url(text, part) for part in ("history", "around")]
        paths.append(with_query(item_url(text, "ask"), property=text))
        paths.append(with_query("/review", property=text, category=text, value=text, item=text))
        paths.append(with_query("/review/bulk", action="accept", item=text))
        paths.append(with_query("/sign-in", next=text))
        paths.append(with_query("/items", property=text, value=text))
    seen = ""
    for path in paths:
        answer = client.get(path, headers={"accept": "text/html"})
        assert answer.status_code == 200, (path, answer.text)
        page = Tags(answer.text)
        seen += page.text
        scripts = [attributes.get("src") or "" for tag, attributes in page.found if tag == "script"]
        assert all(each.startswith("/assets/") for each in scripts), path
        for tag, attributes in page.found:
            assert not any(name.startswith("on") or name == "style" for name in attributes), path
            for name in ("href", "src", "action", "hx-get", "hx-post"):
                link = attributes.get(name)
                assert link is None or re.match(r"(/(?!/)|#)", link), (path, tag, link)
            if tag == "img":
                assert (attributes["src"] or "").startswith(("/v2/items/", "/assets/")), path
        assert "49 " not in page.text or "{{ 7" not in path
    for text in HOSTILE:
        assert text in seen


def test_thousands_of_items_and_proposals_make_bounded_pages(home: Home, serve: Serve) -> None:
    lines = ["id,title,category,colour,size"]
    lines += [f"n{n},Mug {n},Mugs > Kind {n % 400},,{n % 7}" for n in range(5000)]
    path = home.path.parent / "many.csv"
    path.write_text("\n".join(lines))
    ingest(home, [path])
    add_proposals(home, [(f"n{n}", "colour", f"red {n}", 0.5) for n in range(5000)])
    client = serve()
    for url in (
        "/",
        "/review",
        "/review?view=table",
        "/review?view=table&category=Mugs&order=newest",
        "/items?missing=colour",
        "/items/n1",
        "/items/n1/around",
        "/review/values?property=colour&value=r",
    ):
        answer = client.get(url)
        assert answer.status_code == 200, answer.text
        assert len(answer.content) < 250_000, url
        assert answer.text.count("<tr") < 110, url
        assert answer.text.count("<option") < 400, url


# Parts


@pytest.mark.parametrize(
    ("text", "values", "shown"),
    [
        ("Red clay mug", ["clay"], ["Red ", "[clay]", " mug"]),
        ("Claymore of CLAY", ["clay"], ["Claymore of ", "[CLAY]"]),
        ("made in navy and blue", ["navy blue"], ["made in ", "[navy]", " and ", "[blue]"]),
        ("红色马克杯", ["红色"], ["[红色]", "马克杯"]),
        ("a+b (c)", ["(c)"], ["a+b ", "[(c)]"]),
        ("nothing", ["", " "], ["nothing"]),
    ],
)
def test_the_words_of_a_value_are_marked(text: str, values: list[str], shown: list[str]) -> None:
    parts = marked(text, values)
    assert [f"[{each.text}]" if each.is_marked else each.text for each in parts] == shown
    assert "".join(each.text for each in parts) == text
    assert marked("", values) == list[Part]()


def test_percentages_do_not_round_to_certainty() -> None:
    assert [percent(each) for each in (0, 0.004, 0.5, 0.996, 1)] == [
        "0%",
        "<1%",
        "50%",
        ">99%",
        "100%",
    ]
    assert percent(0.99996, 1) == ">99.9%"
