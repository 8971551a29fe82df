"""The served catalogue of the API's tests, and a browser that looks at its pages."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn

from kg.home import Home
from serving.api.app import create_app
from serving.api.options import ServeOptions
from tests.serving.api.conftest import client, home, serve, token  # noqa: F401

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A real Chromium."""
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        reason = f"none of {', '.join(BROWSERS)} is installed"
        if os.environ.get("CATALOGRAPH_TEST_SERVERS") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=arguments)
        yield started
        started.close()


Start = Callable[..., str]


@pytest.fixture
def start(home: Home) -> Iterator[Start]:  # noqa: F811
    """Serve the home on a port of this machine, and return the address."""
    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def started(**options: Any) -> str:
        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        app = create_app(home, ServeOptions(port=port, **options))
        config = uvicorn.Config(app, log_config=None, lifespan="on", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        running.append((server, thread))
        while not server.started:
            time.sleep(0.01)
        return f"http://127.0.0.1:{port}"

    yield started
    for server, thread in running:
        server.should_exit = True
        thread.join(timeout=10)
