"""Real servers on loopback for tests, run from their jars: Neo4j, and Apache Jena Fuseki for SPARQL."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import requests
from filelock import FileLock

from kg.stores.neo4j_server import Address, Limits, connect

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "catalograph" / "servers"
PASSWORD = "for tests only"
OPENS = (
    "java.base/java.nio",
    "java.base/java.io",
    "java.base/sun.nio.ch",
    "java.base/java.util.concurrent",
)
STARTS_WITHIN = 120.0


def lacks() -> str:
    """What is missing to run servers in Java; empty where nothing is."""
    if shutil.which("mvn") is None or shutil.which("java") is None:
        return "Java 17 and Maven are not installed"
    version = subprocess.run(
        ["java", "-version"], capture_output=True, text=True, check=False
    ).stderr
    major = version.partition('"')[2].partition(".")[0]
    return (
        ""
        if major.isdigit() and int(major) >= 17
        else f"Java 17 or newer is needed, this is {major or 'none'}"
    )


def jars(pom: Path) -> Path:
    """The folder of a POM's jars, fetched once for all test runs."""
    folder = CACHE / pom.parent.name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        done = folder / "pom.xml"
        if not done.exists() or done.read_bytes() != pom.read_bytes():
            shutil.rmtree(folder, ignore_errors=True)
            goal = ["dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
            subprocess.run(["mvn", "-q", "-B", "-f", str(pom), *goal], check=True)
            shutil.copy(pom, done)
    return folder


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def emptied(url: str) -> str:
    """The URL of a Neo4j or SPARQL server, after everything was deleted from it."""
    if url.startswith("rdf+"):
        requests.post(
            url.removeprefix("rdf+"), data={"update": "CLEAR ALL"}, timeout=30
        ).raise_for_status()
        return url
    address = Address.parse(url)
    with connect(address, Limits()) as driver, driver.session(database=address.database) as session:
        session.run(
            "MATCH (n) CALL { WITH n DETACH DELETE n } IN TRANSACTIONS OF 10000 ROWS"
        ).consume()
    return url


@dataclass
class RunningServer:
    """A server that somebody else runs; its password is in the environment."""

    url: str


class Server:
    """A Java server on a free port of loopback; ``folder`` keeps its log, and what it writes."""

    heap = "768m"

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """What starts it."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it and wait until it listens."""
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, start_new_session=True
            )
        until = time.monotonic() + STARTS_WITHIN
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(
                    f"{type(self).__name__} did not start: {(self.folder / 'server.log').read_text()[-2000:]}"
                )
            time.sleep(0.1)

    def answers(self) -> bool:
        """Whether it can be asked."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """Kill it at once."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


class Neo4jServer(Server):
    """A Neo4j Community server with authentication on, whose data survives it."""

    password = PASSWORD

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"bolt://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        """What starts it."""
        return self._java("Main.java", str(self.port), PASSWORD)

    def load(self, folder: Path, options: Sequence[str]) -> None:
        """Import a folder of CSV files before the server is started, as `neo4j-admin database import full` does."""
        subprocess.run(
            self._java("Import.java", *options, "neo4j"),
            cwd=folder,
            check=True,
            capture_output=True,
        )

    def _java(self, main: str, *given: str) -> list[str]:
        opens = [part for name in OPENS for part in ("--add-opens", f"{name}=ALL-UNNAMED")]
        jar = f"{jars(HERE / 'neo4j' / 'pom.xml')}/*"
        return [
            "java",
            f"-Xmx{self.heap}",
            *opens,
            "-cp",
            jar,
            str(HERE / "neo4j" / main),
            str(self.folder / "data"),
            *given,
        ]

    def answers(self) -> bool:
        """Whether it can be asked: it says so once the password is set."""
        return (self.folder / "server.log").read_bytes().rpartition(b"ready")[
            1
        ] != b"" and super().answers()

    def start(self) -> None:
        """Start it and wait until it answers."""
        (self.folder / "server.log").write_bytes(b"")
        super().start()


class FusekiServer(Server):
    """An Apache Jena Fuseki over an empty dataset in memory."""

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"rdf+http://127.0.0.1:{self.port}/ds"

    def command(self) -> list[str]:
        """What starts it."""
        (jar,) = jars(HERE / "fuseki" / "pom.xml").glob("*.jar")
        served = [
            "--localhost",
            "--port",
            str(self.port),
            "--timeout",
            "20000",
            "--update",
            "--mem",
            "/ds",
        ]
        return ["java", f"-Xmx{self.heap}", "-jar", str(jar), *served]
