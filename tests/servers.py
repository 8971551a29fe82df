"""Servers on loopback for tests: Neo4j and Apache Jena Fuseki from their jars, PostgreSQL, moto."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psycopg
import requests
from filelock import FileLock

from kg.stores.neo4j_server import Address, Connection, Limits

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "catalograph" / "servers"
PASSWORD = "for tests only"
# Packages of Java's that Neo4j reaches into.
OPENED_PACKAGES = (
    "java.base/java.nio",
    "java.base/java.io",
    "java.base/sun.nio.ch",
    "java.base/java.util.concurrent",
)
# A server that lives for a few tests is not worth compiling twice: it starts with 40% less work.
JAVA = ("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
START_TIMEOUT = 120.0


def missing_requirement() -> str:
    """Return what is missing to run servers in Java; empty if nothing is."""
    if shutil.which("mvn") is None or shutil.which("java") is None:
        return "Java 17 and Maven are not installed"
    version = subprocess.run(
        ["java", "-version"], capture_output=True, text=True, check=False
    ).stderr
    major = version.partition('"')[2].partition(".")[0]
    if major.isdigit() and int(major) >= 17:
        return ""
    return f"Java 17 or newer is needed, this is {major or 'none'}"


def jar_folder(pom: Path) -> Path:
    """Return a folder with the jars of a POM, downloaded once for all test runs."""
    folder = CACHE / pom.parent.name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        # The copy of the POM is made last, and so says that the folder is complete.
        done = folder / "pom.xml"
        if not done.exists() or done.read_bytes() != pom.read_bytes():
            shutil.rmtree(folder, ignore_errors=True)
            goal = ["dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
            subprocess.run(["mvn", "-q", "-B", "-f", str(pom), *goal], check=True)
            shutil.copy(pom, done)
    return folder


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def emptied(url: str) -> str:
    """Delete everything on a Neo4j or SPARQL server, and return its URL."""
    if url.startswith("rdf+"):
        response = requests.post(url.removeprefix("rdf+"), data={"update": "CLEAR ALL"}, timeout=30)
        response.raise_for_status()
        return url
    with Connection(Address.parse(url), Limits()) as server, server.session(read=False) as session:
        session.run(
            "MATCH (n) CALL { WITH n DETACH DELETE n } IN TRANSACTIONS OF 10000 ROWS"
        ).consume()
    return url


@dataclass
class RunningServer:
    """A server that somebody else runs; its password is in the environment."""

    url: str


class Server:
    """A server on a free port of loopback, which runs as long as the ``with`` block.

    ``folder`` keeps its log and what it writes.
    """

    heap = "768m"

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.log = folder / "server.log"
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL of the store that the server holds."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """Return the command that runs the server."""
        raise NotImplementedError

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_TIMEOUT
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(
                    f"{type(self).__name__} did not start: {self.log.read_text()[-2000:]}"
                )
            time.sleep(0.1)

    def is_ready(self) -> bool:
        """Return whether the server accepts connections."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """Kill the server (-9) if it runs."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class Neo4jServer(Server):
    """A Neo4j Community server, whose data outlives the process.

    With ``authentication=False`` it takes any credentials, or none.
    """

    password = PASSWORD

    def __init__(self, folder: Path, *, authentication: bool = True) -> None:
        super().__init__(folder)
        self.authentication = authentication

    @property
    def url(self) -> str:
        """The URL of the store that the server holds."""
        return f"bolt://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        """Return the command that runs the server."""
        password = [PASSWORD] if self.authentication else []
        return self._java("Main.java", str(self.port), *password)

    def load(self, folder: Path, options: Sequence[str]) -> None:
        """Import a folder of CSV files as `neo4j-admin database import full` does.

        The server must not be running.
        """
        subprocess.run(
            self._java("Import.java", *options, "neo4j"),
            cwd=folder,
            check=True,
            capture_output=True,
        )

    def is_ready(self) -> bool:
        """Return whether the server accepts connections, and its password is set."""
        return b"ready" in self.log.read_bytes() and super().is_ready()

    def _java(self, main: str, *arguments: str) -> list[str]:
        """Return the command that runs a Java file with Neo4j's jars, from its source."""
        command = [*JAVA, f"-Xmx{self.heap}"]
        for package in OPENED_PACKAGES:
            command += ["--add-opens", f"{package}=ALL-UNNAMED"]
        command += ["-cp", f"{jar_folder(HERE / 'neo4j' / 'pom.xml')}/*"]
        return [*command, str(HERE / "neo4j" / main), str(self.folder / "data"), *arguments]


class FusekiServer(Server):
    """An Apache Jena Fuseki with an empty dataset in memory."""

    @property
    def url(self) -> str:
        """The URL of the store that the server holds."""
        return f"rdf+http://127.0.0.1:{self.port}/ds"

    def command(self) -> list[str]:
        """Return the command that runs the server."""
        (jar,) = jar_folder(HERE / "fuseki" / "pom.xml").glob("*.jar")
        command = [*JAVA, f"-Xmx{self.heap}", "-jar", str(jar)]
        command += ["--localhost", "--port", str(self.port), "--timeout", "20000"]
        return [*command, "--update", "--mem", "/ds"]


def postgres_programs() -> Path | None:
    """Return the folder of PostgreSQL's programs; None if it is not installed."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return folders[-1].parent if folders else None


class PostgresServer(Server):
    """A PostgreSQL server that asks for no password; it runs as another user if we are root."""

    user = "catalograph"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        # Other users cannot reach the folders of tests.
        self.data = Path(tempfile.mkdtemp(prefix="postgres-"))
        programs = postgres_programs()
        if programs is None:
            raise RuntimeError("PostgreSQL is not installed")
        self.programs = programs
        self.databases = 0

    @property
    def url(self) -> str:
        """The URL of a new database."""
        self.databases += 1
        name = f"ledger{self.databases}"
        with psycopg.connect(self.address("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.address(name)

    def address(self, database: str) -> str:
        """Return the URL of a database."""
        return f"postgresql://{self.user}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Make the cluster, and start the server."""
        make = [str(self.programs / "initdb"), "-D", str(self.data / "cluster"), "-U", self.user]
        make += ["--auth=trust", "--no-sync", "--locale=C", "--encoding=UTF8"]
        if os.getuid() == 0:
            shutil.chown(self.data, "nobody")
        subprocess.run([*self.as_user(), *make], check=True, capture_output=True, cwd=self.data)
        super().start()

    def command(self) -> list[str]:
        """Return the command that runs the server."""
        command = [str(self.programs / "postgres"), "-D", str(self.data / "cluster")]
        command += ["-p", str(self.port), "-k", str(self.data), "-F"]
        # A killed server would leave what it shares with others in /dev/shm.
        command += ["-c", "dynamic_shared_memory_type=mmap"]
        return [*self.as_user(), *command, "-c", "listen_addresses=127.0.0.1"]

    def as_user(self) -> list[str]:
        """Return the beginning of a command that a server may run by: not as root."""
        return ["setpriv", "--reuid=nobody", "--clear-groups"] if os.getuid() == 0 else []

    def is_ready(self) -> bool:
        """Return whether the server answers."""
        try:
            psycopg.connect(self.address("postgres"), connect_timeout=1).close()
        except psycopg.OperationalError:
            return False
        return True

    def kill(self) -> None:
        """Kill the server (-9) if it runs, and remove its data."""
        super().kill()
        shutil.rmtree(self.data, ignore_errors=True)


class ObjectStoreServer(Server):
    """An object store that speaks S3, in memory.

    Of two writers that create an object at the same moment both may succeed, since moto looks and
    writes in two steps: where that matters, ``tests/faults/object_store.py`` stands in front of it.
    """

    bucket = "shops"

    @property
    def url(self) -> str:
        """The URL of a new folder."""
        return f"s3://{self.bucket}/{uuid.uuid4().hex}"

    @property
    def endpoint(self) -> str:
        """The address of the server."""
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        """Return the command that runs the server."""
        # Its own lines about requests are no use to anybody.
        code = (
            "import logging, sys; logging.getLogger('werkzeug').disabled = True; "
            "from moto.server import main; main(['-H', '127.0.0.1', '-p', sys.argv[1]])"
        )
        return [sys.executable, "-c", code, str(self.port)]

    def start(self) -> None:
        """Start the server, and make the bucket."""
        super().start()
        requests.put(f"{self.endpoint}/{self.bucket}", timeout=30).raise_for_status()

    @staticmethod
    def environment(endpoint: str) -> dict[str, str]:
        """Return the variables by which an object store at an address is reached."""
        return {
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": PASSWORD,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ALLOW_HTTP": "true",
        }
