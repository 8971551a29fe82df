"""Whether the server is up, what it serves, and its metrics."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from kg.home_models import list_models, read_champion
from schema.errors import CatalographError
from serving.api.authentication import Admin, Reader
from serving.api.catalogue import ServedCatalogue
from serving.api.documents import Health, ModelIn, ModelOut, ModelSummary, Ready
from serving.api.parameters import Catalogue
from serving.api.problems import EVERYWHERE, ProblemError, documented

TOLD = ("created", "preset", "metrics", "items")
"""What of a model's own description is passed on: the rest may name files."""
router = APIRouter(prefix="/v2", tags=["server"], responses=EVERYWHERE)
metrics_router = APIRouter(tags=["server"])


def _not_ready(model: str) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI says of an answer that is no problem, but what is ready and what is not.

    Without a server that can answer, it is a problem after all.
    """
    found = documented(503)
    schema = {"$ref": f"#/components/schemas/{model}"}
    found[503]["content"]["application/json"] = {"schema": schema}
    return found


@router.get("/health/live")
async def live() -> Health:
    """Say that the server answers."""
    # It waits for no thread, however many requests wait for one.
    return Health(status="live")


@router.get("/health/ready", responses=_not_ready("Health"))
def ready(catalogue: Catalogue, response: Response) -> Health:
    """Say whether the graph can be read, and whether there is a model.

    A catalogue without a model is ready: it can be searched, reviewed and edited.
    """
    checks = {"model": catalogue.failure or "ready"}
    try:
        with catalogue.store() as store:
            store.revision()
        checks["graph"] = "ready"
        catalogue.records.has_any()
        checks["ledger"] = "ready"
    except CatalographError as error:
        checks["graph"] = str(error)
        response.status_code = 503
        return Health(status="not ready", checks=checks)
    if catalogue.is_loading:
        response.status_code = 503
        return Health(status="not ready", checks=checks)
    return Health(status="ready", checks=checks)


@router.get("/model")
def model(catalogue: Catalogue, _: Reader) -> ModelOut:
    """Describe the model that is served."""
    return _described(catalogue)


@router.put("/model")
def change_model(catalogue: Catalogue, given: ModelIn, _: Admin) -> ModelOut:
    """Serve another model of the home, without a failed request in between."""
    catalogue.change_model(given.name)
    return _described(catalogue)


@router.get("/models")
def list_served_models(catalogue: Catalogue, _: Reader) -> list[ModelSummary]:
    """List the models of the home, the newest first."""
    return model_summaries(catalogue)


@router.get("/models/{name}", responses=documented(404))
def model_metadata(catalogue: Catalogue, name: str, _: Reader) -> ModelSummary:
    """Describe a model of the home."""
    return _summary(catalogue, name)


@router.get("/models/{name}/ready", responses=_not_ready("Ready"))
def model_ready(catalogue: Catalogue, name: str, response: Response) -> Ready:
    """Say whether a model answers: 200 if it is the served one, 503 otherwise."""
    is_served = catalogue.model is not None and catalogue.model.name == name
    if not is_served:
        response.status_code = 503
    return Ready(name=name, ready=is_served)


def _summary(catalogue: ServedCatalogue, name: str) -> ModelSummary:
    found = next((each for each in model_summaries(catalogue) if each.name == name), None)
    if found is None:
        raise ProblemError(404, f"no model {name[:100]!r} in this home: list those that there are")
    return found


def model_summaries(catalogue: ServedCatalogue) -> list[ModelSummary]:
    """Return the models of a home, the newest first."""
    champion = read_champion(catalogue.home)
    served = catalogue.model
    found = [
        ModelSummary(
            name=each.name,
            versions=[each.time] if each.time else [],
            kind=each.kind,
            state=each.state,
            problem=each.problem,
            items=each.items,
            properties=each.properties,
            held_out=dict(each.held_out or {}),
            is_champion=champion is not None and champion.name == each.name,
            is_served=served is not None and served.name == each.name,
        )
        for each in list_models(catalogue.home)
    ]
    return sorted(found, key=lambda each: each.versions, reverse=True)


def _described(catalogue: ServedCatalogue) -> ModelOut:
    served = catalogue.model
    if served is None:
        return ModelOut(name=None, ready=False, why=catalogue.failure)
    completion = served.completion
    told: dict[str, Any] = dict(completion.scorer.about)
    return ModelOut(
        name=served.name,
        ready=True,
        why=catalogue.failure,
        loaded=datetime.fromtimestamp(served.loaded, UTC).isoformat(timespec="seconds"),
        properties=[
            name for name in completion.asking.properties if completion.asking.refusal(name) is None
        ],
        modalities=sorted(map(str, completion.adapted.modalities)),
        notes=list(completion.notes),
        about={name: told[name] for name in TOLD if name in told},
    )


@metrics_router.get("/metrics", include_in_schema=False)
def metrics(request: Request, _: Reader) -> Response:
    """Return the metrics of the server in the format of Prometheus."""
    registry = request.app.state.metrics.registry
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
