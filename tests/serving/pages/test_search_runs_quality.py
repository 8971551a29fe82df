"""The pages of search, runs and quality: what they show and do, and that data is shown as text."""

import json
import re
import time

import pytest
from lxml import etree, html

from kg.ingest.pipeline import ingest
from schema.proposals import NewProposal, ProposalOrigin
from serving.review.session import open_review
from tests.serving.api.conftest import client, home, serve, token  # noqa: F401
from tests.serving.api.made_job import interpreter

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


@pytest.fixture
def pages(home, client, monkeypatch):  # noqa: F811
    """A client of a home whose texts want to be scripts."""
    path = home.path.parent / "hostile.csv"
    path.write_text(
        'id,title,category,colour\n"h1","' + HOSTILE.replace('"', '""') + ' mug",'
        '"' + HOSTILE.replace('"', '""') + '","' + HOSTILE.replace('"', '""') + '"\n'
    )
    ingest(home, [path])
    # A search would look for changes once a second.
    monkeypatch.setattr("serving.api.searching.CATCH_UP_SECONDS", 0.0)
    # The server makes the index itself.
    deadline = time.monotonic() + 30
    while client.get("/v2/search", params={"q": "mug"}).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return client


def assert_text(page):
    """Assert that a page has no element of the data's making."""
    assert page.status_code == 200, page.text[:500]
    assert "<script>alert" not in page.text
    for element in html.document_fromstring(page.text).iter(etree.Element):
        for name, value in element.items():
            assert not name.startswith("on")
            if name in ("src", "href", "action"):
                assert value.startswith(("/", "#")), value
                assert not value.startswith("//")


def test_a_search_shows_hits_filters_and_reasons(pages):
    page = pages.get("/search", params={"q": "blue mug"})
    assert_text(page)
    assert "<mark>Blue</mark> <mark>mug</mark>" in page.text or "<mark>Blue mug</mark>" in page.text
    choices = pages.get("/search", params={"q": "oak mug"}).text
    assert 'href="/search?q=oak+mug&amp;category=Mugs"' in choices
    assert "words in the title" in page.text
    filtered = pages.get("/search", params={"q": "mug", "filter": "material=clay"})
    assert "Blue mug" not in filtered.text
    assert "leave this filter out" in filtered.text


def test_what_cannot_be_searched_is_told_on_the_page(pages):
    for query in ({"q": "mug", "filter": "size=x"}, {"q": "???"}, {"q": "mug", "filter": "x"}):
        page = pages.get("/search", params=query)
        assert page.status_code in (200, 400)
        assert "Traceback" not in page.text
    assert_text(pages.get("/search"))
    assert_text(pages.get("/search", params={"q": HOSTILE}))


def test_a_part_of_the_page_is_sent_to_who_asks_for_it(pages):
    part = pages.get("/search", params={"q": "mug"}, headers={"hx-request": "true"})
    assert "<html" not in part.text
    assert "item" in part.text


def test_runs_are_listed_and_taken_back(pages):
    page = pages.get("/runs")
    assert_text(page)
    assert "ingest" in page.text
    runs = pages.get("/v2/runs").json()["runs"]
    ingests = [each for each in runs if each["kind"] == "ingest"]
    run = next(each["run"] for each in ingests if each["changes"]["items"] == 1)
    done = pages.post(f"/runs/{run}/undo", follow_redirects=False)
    assert done.status_code == 303
    assert pages.get("/v2/items/h1").status_code == 404


def test_a_model_has_a_page_with_its_curves_and_others_have_none(pages, home):  # noqa: F811
    lines = [{"step": step, "loss": {"total": 9 / step, "lpm": 1.0}} for step in (1, 2)]
    (home.models / "made" / "log.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (home.models / "made" / "config.json").write_text("{}")
    page = pages.get("/runs/models/made")
    assert_text(page)
    assert "total, at the end 4.5" in page.text
    assert pages.get("/runs/models/..%2F..%2Fetc").status_code == 404


def test_spellings_are_merged_at_once(home, client):  # noqa: F811
    path = home.path.parent / "spelled.csv"
    path.write_text("id,title,colour\n5,Jug,Blue.\n6,Pot,Bleu\n")
    ingest(home, [path])
    with open_review(home) as review:
        run = review.begin()
        added = review.add(
            run,
            [
                NewProposal(
                    item,
                    "colour",
                    ("blue",),
                    0.9,
                    origin=ProposalOrigin.NEAR_DUPLICATE,
                    replaces=(value,),
                )
                for item, value in (("5", "Blue."), ("6", "Bleu"))
            ],
        )
        review.end(run)
    assert added.added == 2
    page = client.get("/quality")
    assert_text(page)
    assert "Blue." in page.text
    form = {"property": "colour", "value": "blue", "action": "accept"}
    assert client.post("/quality/spellings", data=form, follow_redirects=False).status_code == 303
    stored = client.get("/v2/items/5").json()["statements"]
    assert [each["value"] for each in stored if each["rank"] == "accepted"] == ["blue"]
    assert "Blue." not in client.get("/quality").text


def test_the_reference_has_every_operation_with_its_fields(client):  # noqa: F811
    page = client.get("/docs")
    assert_text(page)
    document = client.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        assert f"<code>{path}</code>" in page.text
        assert all(each["summary"] in page.text for each in methods.values())
    for name in ("target_precision", "if-match", "one_to_one", "images"):
        assert name in page.text.lower() or name == "if-match"


def test_the_report_on_a_job_is_written_and_shown(serve, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr("serving.api.jobs.PYTHON", interpreter(tmp_path))
    client = serve()  # noqa: F811

    def ended(count: int) -> dict[str, str]:
        for _ in range(500):
            jobs = client.get("/v2/jobs").json()["jobs"]
            if len(jobs) == count and all(each["ended"] for each in jobs):
                # Jobs of one second come in any order.
                return {each["kind"]: each["id"] for each in jobs}
            time.sleep(0.02)
        raise AssertionError(jobs)

    client.post("/v2/jobs", json={"kind": "complete", "items": ["2"]})
    job = ended(1)["complete"]
    assert client.get(f"/runs/jobs/{job}/report").status_code == 409
    assert f'action="/runs/jobs/{job}/report"' in client.get("/runs").text
    assert client.post(f"/runs/jobs/{job}/report", follow_redirects=False).status_code == 303
    written = ended(2)["report"]
    page = client.get("/runs")
    assert_text(page)
    assert f'href="/runs/jobs/{written}/report"' in page.text
    shown = client.get(f"/runs/jobs/{written}/report")
    assert shown.headers["content-type"].startswith("text/html")
    assert '"material"' in shown.text
    # Titles of a catalogue are in it: no script runs, and nothing else is loaded.
    policy = shown.headers["content-security-policy"]
    assert "sandbox" in policy
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    # A report is about a job that has completed cells.
    refused = client.post("/v2/jobs", json={"kind": "report", "job": written})
    assert refused.status_code == 409
    assert "job of report" in refused.json()["detail"]


def test_who_may_only_read_is_offered_nothing_else(serve, token):  # noqa: F811
    reader = serve(require_token=True)
    headers = token("read")
    for path in ("/runs", "/quality", "/search"):
        page = reader.get(path, headers=headers)
        assert_text(page)
        assert 'method="post"' not in re.sub(
            r'method="post" action="/(sign-out|search)"', "", page.text
        )
    form = {"property": "colour", "value": "blue", "action": "accept"}
    assert reader.post("/quality/spellings", data=form, headers=headers).status_code == 403
    assert reader.post("/quality/jobs", data={"kind": "audit"}, headers=headers).status_code == 403
