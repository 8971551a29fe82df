"""Completion on demand, of stored items and of new ones, perhaps with an image."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import APIRouter, File, Form, UploadFile
from pydantic import ValidationError

from fusion.inference.featurizer import ItemInput, LazyImage, Pixels
from kg.image_decoding import letterboxed
from schema.errors import ImageRefusedError
from schema.terms import CATEGORY_SEPARATOR
from serving.api.authentication import Reader
from serving.api.catalogue import ServedCatalogue, ServedModel
from serving.api.documents import CompletionIn, CompletionOut, CompletionsOut, NewItemIn
from serving.api.parameters import Catalogue, ItemId
from serving.api.problems import EVERYWHERE, ProblemError
from serving.asking import CellPlan
from serving.results import Completion

router = APIRouter(prefix="/v2", tags=["completion"], responses=EVERYWHERE)
MAX_IMAGES = 8
_CHECKED_SIZE = 32
"""Pixels a side at which an image is decoded to see that it can be."""


@dataclass(frozen=True)
class UploadedImage(LazyImage):
    """An image that came with a request."""

    data: bytes = field(repr=False)

    def pixels(self, size: int) -> Pixels | None:
        """Decode the image as [3, size, size]."""
        return letterboxed(self.data, size)


@router.post("/items/{item_id}/complete")
def complete_item(
    catalogue: Catalogue, item_id: ItemId, _: Reader, given: CompletionIn | None = None
) -> CompletionsOut:
    """Complete the cells of a stored item, as it is now; nothing is written or proposed."""
    asked = given or CompletionIn()
    found, plan, model = catalogue.complete(
        item_id,
        tuple(dict.fromkeys(asked.properties)),
        top_k=asked.top_k,
        target_precision=asked.target_precision,
    )
    return completions_out(item_id, found, plan, model)


@router.post("/complete")
def complete_new_item(catalogue: Catalogue, given: NewItemIn, _: Reader) -> CompletionsOut:
    """Complete an item that is not stored, from whatever is known of it."""
    return complete_new(catalogue, given, ())


@router.post("/complete/with-images")
def complete_new_item_with_images(
    catalogue: Catalogue,
    _: Reader,
    item: Annotated[str, Form(max_length=500_000, description="The item as JSON")],
    images: Annotated[list[UploadFile], File(description="Its images, the first one first")],
) -> CompletionsOut:
    """Complete an item that is not stored, with its images as a multipart form."""
    if len(images) > MAX_IMAGES:
        raise ProblemError(422, f"images: {len(images)} are too many: send {MAX_IMAGES} at most")
    try:
        given = NewItemIn.model_validate(json.loads(item))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, ("item", *first["loc"])))
        raise ProblemError(422, f"{place}: {first['msg']}") from None
    except (ValueError, RecursionError) as error:
        raise ProblemError(422, f"item: it is no JSON ({str(error)[:100]})") from None
    uploaded = []
    for each in images:
        uploaded.append(checked_image(each.filename or "the image", each.file.read()))
    return complete_new(catalogue, given, tuple(uploaded))


def checked_image(name: str, data: bytes) -> UploadedImage:
    """Return an image that can be decoded. Raises ProblemError with status 422 if it cannot."""
    try:
        letterboxed(data, _CHECKED_SIZE)
    except ImageRefusedError as error:
        raise ProblemError(422, f"images: {name[:100]!r} {error}: send another file") from None
    return UploadedImage(data)


def complete_new(
    catalogue: ServedCatalogue, given: NewItemIn, images: tuple[UploadedImage, ...]
) -> CompletionsOut:
    """Complete an item that is not stored."""
    levels = (given.category or "").split(CATEGORY_SEPARATOR.strip())
    item = ItemInput(
        given.id,
        title=given.title or None,
        image=images[0] if images else None,
        known=tuple(dict.fromkeys((each.property, each.value) for each in given.statements)),
        description=given.description or None,
        category=tuple(level.strip() for level in levels if level.strip()),
        more_images=images[1:],
    )
    found, plan, model = catalogue.complete_new(
        item,
        tuple(dict.fromkeys(given.properties)),
        top_k=given.top_k,
        target_precision=given.target_precision,
    )
    return completions_out(given.id, found, plan, model)


def completions_out(
    item: str, found: list[Completion], plan: CellPlan, model: ServedModel
) -> CompletionsOut:
    """Return completions as a document, with those that were named and refused."""
    refused = [
        Completion.refused(each.item, each.property, each.reason)
        for each in plan.refused
        if each.item is not None and each.property is not None
    ]
    return CompletionsOut(
        item=item,
        model=model.name,
        completions=[CompletionOut(**each.as_dict()) for each in (*found, *refused)],
        not_asked={str(reason): count for reason, count in plan.not_asked.items()},
        notes=list(model.completion.notes),
    )
