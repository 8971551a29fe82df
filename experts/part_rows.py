"""The kernel rows of each part of the items, in every form, and the sums that experts learn from.

Shapes: N items, A items that are asked, M landmarks, B items of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from experts.compared_items import ComparedItems
from experts.ensemble import Expert, Part
from experts.labels import Labels
from experts.ridge import DuplicateRidge, ExactRidge, NystromRidge
from experts.variants import LEARNED, CategoryVariant, Form, KnownVariant, TitleVariant, Variant
from schema.arrays import IntArray

Ridge: TypeAlias = ExactRidge | NystromRidge | DuplicateRidge


@dataclass(frozen=True)
class PartRows:
    """Kernel rows of parts in all of their forms.

    Attributes:
        asked: the items that are shown in other forms than the one that is learned from [A]
        of_items: [N, M] in the form that is learned from; in others [A, M]
        between: those of the landmarks [M, M]; None if these are the items themselves
    """

    asked: IntArray
    of_items: Mapping[tuple[Part, Form], Tensor]
    between: Mapping[Part, Tensor] | None

    def beside(self, other: PartRows) -> PartRows:
        """Return the rows of both, of different parts."""
        between = None
        if self.between is not None and other.between is not None:
            between = {**self.between, **other.between}
        return PartRows(self.asked, {**self.of_items, **other.of_items}, between)

    def of(self, expert: Expert, seen: Variant, items: IntArray) -> Tensor:
        """Return the kernel rows [B, M] of an expert in a variant, of B asked ``items``."""
        places = np.searchsorted(self.asked, items)
        parts = []
        for part in expert.parts:
            form = seen.form(part)
            is_learned = form == LEARNED.form(part)
            parts.append(_at(self.of_items[part, form], items if is_learned else places))
        return _sum(parts)

    def system(self, expert: Expert, *, is_shared: bool = True) -> Ridge:
        """Return the regression of an expert, to be fitted for several properties if shared."""
        kernels = [self.of_items[part, LEARNED.form(part)] for part in expert.parts]
        if self.between is not None:
            between = _sum([self.between[part] for part in expert.parts])
            return NystromRidge(kernels[0], between, is_shared=is_shared, others=kernels[1:])
        kernel = _sum(kernels)
        if expert.parts == (Part.CATEGORY,):
            # Categories are few, and items of the same one are alike.
            _, group = np.unique(kernel.numpy(), axis=0, return_inverse=True)
            return DuplicateRidge(kernel, group)
        return ExactRidge(kernel)


def rows_of_content(compared: ComparedItems, asked: IntArray) -> PartRows:
    """Return the rows of texts and images, which are the same for all properties."""
    items = compared.items
    texts = compared.texts
    kernels = compared.kernels
    rows: dict[tuple[Part, Form], Tensor] = {}
    for form, every in texts.titles.items():
        titles = every
        if form is not TitleVariant.WHOLE:
            titles = [every[place] for place in asked.tolist()]
        rows[Part.TITLE, form] = torch.from_numpy(kernels.title.rows(titles))
        if form is not TitleVariant.BLIND:
            blind = [texts.words.blind(title) for title in titles]
            rows[Part.BLIND_TITLE, form] = torch.from_numpy(kernels.blind.rows(blind))
    images = kernels.image.own_rows() if compared.is_exact else kernels.image.rows(items.images)
    rows[Part.IMAGE, TitleVariant.WHOLE] = torch.from_numpy(images)
    if not kernels.description.is_empty:
        without_values = texts.descriptions[TitleVariant.BLIND]
        for form, own in (
            (TitleVariant.WHOLE, items.descriptions),
            (TitleVariant.BLIND, [without_values[place] for place in asked.tolist()]),
        ):
            rows[Part.DESCRIPTION, form] = torch.from_numpy(kernels.description.rows(own))
    between = None if compared.is_exact else _content_between(compared)
    return PartRows(asked, rows, between)


def _content_between(compared: ComparedItems) -> dict[Part, Tensor]:
    kernels = compared.kernels
    landmarks = compared.landmarks
    blind = [compared.texts.words.blind(title) for title in landmarks.titles]
    return {
        Part.DESCRIPTION: torch.from_numpy(kernels.description.rows(landmarks.descriptions)),
        Part.TITLE: torch.from_numpy(kernels.title.rows(landmarks.titles)),
        Part.BLIND_TITLE: torch.from_numpy(kernels.blind.rows(blind)),
        Part.IMAGE: torch.from_numpy(kernels.image.own_rows()),
    }


def rows_of_property(compared: ComparedItems, labels: Labels, asked: IntArray) -> PartRows:
    """Return the rows of statements and categories, without those of the property itself."""
    property = labels.property
    statements = compared.kernels.statements
    every = compared.features[KnownVariant.ALL]
    some = compared.features[KnownVariant.SOME][asked]
    rows: dict[tuple[Part, Form], Tensor] = {
        (Part.STATEMENTS, form): torch.from_numpy(statements.rows(features, property))
        for form, features in ((KnownVariant.ALL, every), (KnownVariant.SOME, some))
    }
    category = compared.kernels.category
    if not category.is_empty:
        hidden = labels.levels[CategoryVariant.HIDDEN]
        whole = labels.levels[CategoryVariant.WHOLE][asked]
        for form, levels in ((CategoryVariant.HIDDEN, hidden), (CategoryVariant.WHOLE, whole)):
            rows[Part.CATEGORY, form] = torch.from_numpy(category.rows(levels, property))
    between = None if compared.is_exact else _property_between(compared, property)
    return PartRows(asked, rows, between)


def _property_between(compared: ComparedItems, property: str) -> dict[Part, Tensor]:
    statements = compared.kernels.statements
    features = statements.features(compared.landmarks.known)
    between = {Part.STATEMENTS: torch.from_numpy(statements.rows(features, property))}
    category = compared.kernels.category
    if not category.is_empty:
        levels = category.one_hot(compared.landmarks.categories)
        own = statements.values_of_landmarks(property)
        hidden = category.without_values(levels, property, own)
        between[Part.CATEGORY] = torch.from_numpy(category.rows(hidden, property))
    return between


def _at(rows: Tensor, places: IntArray) -> Tensor:
    """Return the rows at some places, which are in order; copies nothing if these are all."""
    return rows if len(places) == len(rows) else rows[torch.from_numpy(places)]


def _sum(parts: Sequence[Tensor]) -> Tensor:
    if len(parts) == 1:
        return parts[0]
    total = parts[0] + parts[1]
    for part in parts[2:]:
        total += part
    return total
