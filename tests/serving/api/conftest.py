"""A small catalogue with proposals, served to a client in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from kg.home import Home
from kg.ingest.pipeline import ingest
from schema.ledger_tokens import TokenRecords
from schema.proposals import NewProposal, ProposedDecision, ProposedValue
from schema.tokens import Scope, new_token
from serving.api.app import create_app
from serving.api.options import ServeOptions
from serving.review.session import open_review
from tests.commands.made_scorer import MadeScorer

ITEMS = """id,title,category,image,colour,material
1,Red clay mug,Mugs,images/1.png,red,clay
2,Blue mug,Mugs,,blue,
3,Clay mug,Mugs,,blue,clay
4,Oak chair,Chairs,,,oak
a/b,Odd id,Chairs,,,
"""
PROPOSALS = (
    ("2", "material", "clay", 0.8),
    ("4", "colour", "blue", 0.6),
    ("a/b", "colour", "red", 0.3),
)


def make_home(folder: Path) -> Home:
    """Make a home with five items, an image, and three proposals."""
    (folder / "images").mkdir(parents=True)
    Image.new("RGB", (8, 6), "red").save(folder / "images" / "1.png")
    (folder / "items.csv").write_text(ITEMS)
    home = Home.open(folder / "catalog", create=True)
    ingest(home, [folder / "items.csv"])
    add_proposals(home, PROPOSALS)
    return home


def add_proposals(home: Home, proposals: Any) -> list[int]:
    """Add proposals given as item, property, value and probability; return their numbers."""
    with open_review(home) as review:
        run = review.begin()
        review.add(
            run,
            [
                NewProposal(
                    item,
                    property,
                    (value,),
                    probability,
                    candidates=(ProposedValue(value, probability),),
                    decision=ProposedDecision.REVIEW,
                    evidence={"title": 0.2, "known": []},
                    model="made",
                )
                for item, property, value, probability in proposals
            ],
        )
        review.end(run)
        return [each.id for each in review.records.find(_of_run(run.id))]


def _of_run(run: str) -> Any:
    from schema.proposals import ProposalFilter

    return ProposalFilter(run=run)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home whose model says of each word of a title that it is the value."""
    return made_home(tmp_path, monkeypatch)


def made_home(folder: Path, patch: pytest.MonkeyPatch) -> Home:
    """Make a home whose model is made."""
    made = make_home(folder)
    (made.models / "made").mkdir()
    patch.setattr("serving.home_completion.load_scorer", lambda home, model: made_scorer(home))
    patch.setattr("serving.home_completion.load_classifier", lambda scorer, home: None)
    patch.setattr("serving.api.catalogue.find_model", lambda models, name: models / "made")
    return made


def made_scorer(home: Home) -> MadeScorer:
    scorer = MadeScorer(home)
    scorer.about = {"preset": "made"}  # type: ignore[attr-defined]
    return scorer


Serve = Callable[..., TestClient]


@pytest.fixture
def serve(home: Home) -> Iterator[Serve]:
    """Serve the home with some options, and return a client that is a user of this machine."""
    clients: list[TestClient] = []

    def start(**options: Any) -> TestClient:
        app = create_app(home, ServeOptions(**options))
        client = TestClient(app, raise_server_exceptions=False, client=("127.0.0.1", 5000))
        client.__enter__()
        clients.append(client)
        return client

    yield start
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def client(serve: Serve) -> TestClient:
    """A client of the home, once its model is loaded."""
    found = serve()
    wait_until_ready(found)
    return found


def wait_until_ready(client: TestClient) -> None:
    """Wait until the model is loaded."""
    import time

    for _ in range(500):
        if client.get("/v2/health/ready").status_code == 200:
            return
        time.sleep(0.01)
    raise AssertionError(client.get("/v2/health/ready").text)


@pytest.fixture
def token(home: Home) -> Callable[..., dict[str, str]]:
    """Make a token with some scopes, and return the headers that carry it."""

    def make(*scopes: str, name: str = "anna", days: float | None = None) -> dict[str, str]:
        text, made = new_token(name, tuple(map(Scope, scopes)), days)
        with home.ledger() as ledger:
            TokenRecords(ledger).add(made)
        return {"authorization": f"Bearer {text}"}

    return make
