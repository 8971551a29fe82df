"""The reference of the API, made from the same document that programs read: /openapi.json."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response

from serving.api.authentication import Reader
from serving.pages.rendering import render
from serving.pages.routing import page_router

router = page_router()
_METHODS = ("get", "post", "put", "delete")


@dataclass(frozen=True)
class Field:
    """A parameter, or a field of a document."""

    name: str
    type: str
    where: str
    is_required: bool
    told: str


@dataclass(frozen=True)
class Operation:
    """What can be asked of a path."""

    method: str
    path: str
    summary: str
    told: str
    fields: tuple[Field, ...]
    statuses: tuple[tuple[str, str], ...]

    @property
    def anchor(self) -> str:
        """The name by which the page links to it."""
        return f"{self.method}-{self.path}".replace("/", "-").replace("{", "").replace("}", "")


@router.get("/docs")
def reference(request: Request, who: Reader) -> Response:
    """Show what can be asked of the API."""
    document = request.app.openapi()
    groups: dict[str, list[Operation]] = {}
    for path, methods in document["paths"].items():
        for method in _METHODS:
            if method in methods:
                operation = methods[method]
                (tag,) = operation.get("tags", ["other"])[:1]
                groups.setdefault(tag, []).append(_operation(document, path, method, operation))
    return render(
        request,
        "reference.html.j2",
        who,
        title="API",
        groups=groups,
        version=document["info"]["version"],
        about=document["info"]["description"],
    )


def _operation(
    document: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any]
) -> Operation:
    fields = [
        Field(
            each["name"],
            _type(document, each.get("schema", {})),
            each["in"],
            each.get("required", False),
            each.get("description") or each.get("schema", {}).get("description", ""),
        )
        for each in operation.get("parameters", ())
    ]
    fields += _body_fields(document, operation.get("requestBody", {}))
    told = operation.get("description", "")
    statuses = [
        (status, each.get("description", ""))
        for status, each in sorted(operation.get("responses", {}).items())
    ]
    return Operation(
        method.upper(), path, operation.get("summary", ""), told, tuple(fields), tuple(statuses)
    )


def _body_fields(document: Mapping[str, Any], body: Mapping[str, Any]) -> Iterator[Field]:
    for media_type, content in body.get("content", {}).items():
        for schema in _alternatives(document, content.get("schema", {})):
            required = schema.get("required", ())
            for name, each in schema.get("properties", {}).items():
                where = "form" if media_type.startswith("multipart") else "body"
                yield Field(
                    name,
                    _type(document, each),
                    f"{where} of {schema['title']}" if schema.get("title") else where,
                    name in required,
                    each.get("description", ""),
                )


def _alternatives(
    document: Mapping[str, Any], schema: Mapping[str, Any]
) -> Iterator[Mapping[str, Any]]:
    """Yield the schemas of objects that one stands for."""
    schema = _resolved(document, schema)
    choices = schema.get("oneOf") or schema.get("anyOf")
    if choices is None:
        yield schema
        return
    for each in choices:
        yield from _alternatives(document, each)


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: Mapping[str, Any] = document["components"]["schemas"][reference.rpartition("/")[2]]
    return found


def _type(document: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Return the type of a schema in words."""
    if "$ref" in schema:
        resolved = _resolved(document, schema)
        if "enum" in resolved:
            return " | ".join(map(str, resolved["enum"]))
        return str(resolved.get("title", "object"))
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        return " | ".join(dict.fromkeys(_type(document, each) for each in choices))
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    if schema.get("type") == "array":
        return f"list of {_type(document, schema.get('items', {}))}"
    return str(schema.get("type", "any"))
