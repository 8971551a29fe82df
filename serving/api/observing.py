"""What operators see: request ids, structured logs, metrics for Prometheus, traces if asked for."""

from __future__ import annotations

import json
import logging
import os
import re
import time
import uuid
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_ID = b"x-request-id"
_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_access = logging.getLogger("catalograph.access")
OTLP_SETTING = "OTEL_EXPORTER_OTLP_ENDPOINT"


class Metrics:
    """The metrics of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self.requests = Counter(
            "catalograph_requests", "Requests answered", labels, registry=self.registry
        )
        self.seconds = Histogram(
            "catalograph_request_seconds",
            "Seconds until an answer was sent",
            ("method", "route"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.running = Gauge(
            "catalograph_requests_running", "Requests being answered", registry=self.registry
        )
        self.decisions = Counter(
            "catalograph_review_decisions",
            "Decisions about proposals",
            ("kind",),
            registry=self.registry,
        )
        self.completions = Counter(
            "catalograph_completions",
            "Cells completed on demand",
            ("decision",),
            registry=self.registry,
        )
        self.model_seconds = Gauge(
            "catalograph_model_loaded_timestamp_seconds",
            "When the served model was loaded",
            ("model",),
            registry=self.registry,
        )


class ObservingMiddleware:
    """Gives each request an id, counts and times it by its route, and writes a line of the log."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(REQUEST_ID, b"").decode("latin-1")
        id = given if _GIVEN_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = id
        status = 500
        sent = 0
        start = time.perf_counter()

        async def sending(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (REQUEST_ID, id.encode())]
            elif message["type"] == "http.response.body":
                sent += len(message.get("body", b""))
            await send(message)

        self._metrics.running.inc()
        try:
            await self._app(scope, receive, sending)
        finally:
            self._metrics.running.dec()
            self._note(scope, status, sent, time.perf_counter() - start)

    def _note(self, scope: Scope, status: int, sent: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", None) or "(none)"
        # A method of the client's own making would make a new time series each.
        method = scope["method"] if scope["method"] in _METHODS else "(other)"
        self._metrics.requests.labels(method, route, str(status)).inc()
        self._metrics.seconds.labels(method, route).observe(seconds)
        state = scope.get("state", {})
        _access.info(
            "request",
            extra={
                "fields": {
                    "request": state.get("request_id"),
                    "method": method,
                    "route": route,
                    "path": scope["path"][:300],
                    "status": status,
                    "seconds": round(seconds, 4),
                    "bytes": sent,
                    "caller": getattr(state.get("caller"), "name", None),
                    "client": (scope.get("client") or ("",))[0],
                }
            },
        )


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class JsonFormatter(logging.Formatter):
    """Writes each record of a log as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as a line."""
        document: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            document["traceback"] = self.formatException(record.exc_info)
        return json.dumps(document, ensure_ascii=True, default=str)


def add_tracing(app: FastAPI) -> bool:
    """Send traces by OpenTelemetry if its endpoint is configured; return whether that is so.

    A missing package is told, since whoever sets the endpoint expects traces.
    """
    if not os.environ.get(OTLP_SETTING):
        return False
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        logging.getLogger("catalograph.api").warning(
            "%s is set, and %s is not installed, so no traces are sent: install "
            "catalograph[telemetry], or unset it",
            OTLP_SETTING,
            error.name,
        )
        return False
    provider = TracerProvider(resource=Resource.create({"service.name": "catalograph"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    FastAPIInstrumentor.instrument_app(app, tracer_provider=provider)
    return True
