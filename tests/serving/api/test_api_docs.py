"""Every call of docs/api.md is run by curl against a real server, and answers as the page says."""

from __future__ import annotations

import json
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path

import pytest

from serving.client import Client, ProblemError
from tests.serving.api.calls import Shell, alike, calls_of
from tests.serving.api.conftest import make_home
from tests.serving.api.made_server import made_server

PAGE = (Path(__file__).parents[3] / "docs" / "api.md").read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_every_call_answers_as_the_page_says(tmp_path):
    home = make_home(tmp_path)
    calls = calls_of(PAGE)
    assert len(calls) == PAGE.count("```sh\ncurl") > 35
    reached = set()
    with made_server(home.path, jobs=True) as server, Client(server.url) as client:
        client.wait_until_ready()
        image = (tmp_path / "images" / "1.png").read_bytes()
        for _ in range(300):
            # The index is made beside the first requests, its images last.
            with suppress(ProblemError):
                client.request("POST", "/v2/search", files={"image": ("1.png", image)}, retries=0)
                break
            time.sleep(0.1)
        shell = Shell(server.url, tmp_path)
        for call in calls:
            status, answer = shell.run(call.line)
            assert status == call.status, (call.line, answer)
            if call.language == "json":
                assert alike(json.loads(answer), json.loads(call.answer)), (call.line, answer)
            reached.add(shell.last)
        paths = client.request("GET", "/openapi.json").json()["paths"]
    # Every route has a call.
    missing = []
    for path, methods in {**paths, "/metrics": {"get": {}}}.items():
        pattern = re.compile(re.sub(r"\{\w+\}", "[^/]+", path))
        missing += [
            (method, path)
            for method in methods
            if not any(method.upper() == m and pattern.fullmatch(p) for m, p in reached)
        ]
    assert missing == []
