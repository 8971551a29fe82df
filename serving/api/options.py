"""How a catalogue is served."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from schema.errors import UsageError

MIB = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """What one client may ask for.

    Attributes:
        body: bytes of a request without an image
        upload: bytes of a request with an image
        header_seconds: how long a client may take to send the headers of a request
        body_seconds: how long a client may take to send a body
        answer_seconds: how long a client may let an answer wait that it does not read
        query_seconds: how long a Cypher or SPARQL query may take
        queries: queries that run at the same time; others wait as long as a query may take
        requests_per_second: of each token, or address without one, on average
        burst: requests that may come at once
        connections: open connections; another one takes the place of the one that has been
            without a request for longest, or is turned away with 503
        jobs: jobs that run at the same time; others wait
    """

    body: int = MIB
    upload: int = 25 * MIB
    header_seconds: float = 15.0
    body_seconds: float = 30.0
    answer_seconds: float = 60.0
    query_seconds: float = 10.0
    queries: int = 4
    requests_per_second: float = 100.0
    burst: int = 200
    connections: int = 1000
    jobs: int = 1


@dataclass(frozen=True)
class ServeOptions:
    """How a catalogue is served.

    Attributes:
        host, port: where to listen
        model: the model to serve; None for the champion, or else the newest, also when that changes
        require_token: whether each request needs a token; None means unless ``host`` is this
            machine alone and there is no token yet
        origins: the web pages from elsewhere that browsers may call the API from
        hosts: further names by which the server may be addressed
        limits: what one client may ask for
    """

    host: str = "127.0.0.1"
    port: int = 8000
    model: str | None = None
    require_token: bool | None = None
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise UsageError(f"port {self.port} is not between 0 and 65535: choose one that is")

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def url(self) -> str:
        """The address of the server."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"
