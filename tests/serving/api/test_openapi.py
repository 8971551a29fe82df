"""The API does what its OpenAPI document says, whatever is sent to it."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from kg.home import Home
from schema.ledger_tokens import TokenRecords
from schema.tokens import Scope, new_token
from serving.api.app import create_app
from serving.api.options import Limits, ServeOptions
from tests.serving.api.conftest import made_home

EXAMPLES = 3
"""For each operation, and as many that are invalid."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
OPEN = {"/v2/health/live", "/v2/health/ready", "/v2/models/{name}/ready"}
# The server outlives a test, and so what it has said of warnings.
pytestmark = pytest.mark.filterwarnings("ignore:.*reading version")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home with a made model, whose jobs end at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("serving.api.jobs.PYTHON", "/bin/true")
        yield made_home(tmp_path_factory.mktemp("openapi"), patch)


@pytest.fixture(scope="module")
def app(home: Home) -> FastAPI:
    """The application of the home, without a limit of requests."""
    return create_app(home, ServeOptions(limits=Limits(requests_per_second=1e6, burst=10**6)))


def numbers_of(app: FastAPI) -> dict[str, list[str]]:
    """Return values of the parameters of paths that there are."""
    return {
        "item_id": ["1", "2", "4", "a%2Fb"],
        "name": ["fake", "made", "none"],
        "number": ["0", "1", "2", "3"],
        "job": [job.id for job in app.state.jobs.all()] or ["none"],
        "run": [run.id for run in app.state.catalogue.records.runs()],
    }


def test_the_api_does_what_its_document_says(app, home):
    text, admin = new_token("fuzz", (Scope.ADMIN,))
    with home.ledger() as ledger:
        TokenRecords(ledger).add(admin)
    headers = {"Authorization": f"Bearer {text}"}
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    requests = 0
    for result in schema.get_all_operations():
        operation: Any = result.ok()  # type: ignore[union-attr]
        modes = [GenerationMode.POSITIVE]
        if operation.path not in OPEN:
            modes.append(GenerationMode.NEGATIVE)
        for mode in modes:

            @seed(20)
            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate],
            )
            @given(operation.as_strategy(generation_mode=mode))
            def conforms(case):
                nonlocal requests
                requests += 1
                known = numbers_of(app)
                chance = random.Random(repr((case.path_parameters, case.body)))
                if chance.random() < 0.7:
                    for name in case.path_parameters or {}:
                        case.path_parameters[name] = chance.choice(known[name])
                response = case.call(headers=headers)
                # 503 is how a readiness check says no.
                is_check = case.path.endswith("/ready")
                case.validate_response(response, checks=CHECKS[is_check:])

            conforms()
    assert requests > 100


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The OpenAPI document."""
    return create_app(
        Home.open(tmp_path_factory.mktemp("document") / "home", create=True)
    ).openapi()


def operations(document):
    """Yield each path, method and operation."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_the_document_is_openapi_3_1(document):
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["title"] == "Catalograph"
    # Every reference leads somewhere.
    found = set(re.findall(r"'\$ref': '#/components/schemas/([^']+)'", repr(document)))
    assert found
    assert found <= set(document["components"]["schemas"])


def test_each_operation_says_what_it_does_and_needs(document):
    for path, method, operation in operations(document):
        assert operation["summary"], (path, method)
        assert operation["description"], (path, method)
        assert operation["tags"], (path, method)
        assert ("security" in operation) == (path not in OPEN), (path, method)
    schemes = document["components"]["securitySchemes"]
    assert [each["scheme"] for each in schemes.values()] == ["bearer"]


def test_each_problem_is_documented_as_a_problem_document(document):
    problem = {"$ref": "#/components/schemas/Problem"}
    for path, method, operation in operations(document):
        errors = {code: each for code, each in operation["responses"].items() if code >= "400"}
        assert {"401", "403", "413", "422", "429", "503"} <= set(errors), (path, method)
        for code, each in errors.items():
            content = each["content"]
            assert content["application/problem+json"]["schema"] == problem, (path, method, code)


def test_the_document_names_no_folder_of_this_machine(document):
    assert str(Path.home()) not in repr(document)
