"""Choose which items are learned from and compared with, and fit the kernels that compare them.

Up to ``MAX_EXACT`` items are all landmarks; of more, some are. Kernels learn from all items, for
example how rare a word is, and then compare any item with the landmarks.

Shapes: N items, M landmarks, S statements, L levels of categories.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from experts.categories import CategoryKernel
from experts.chosen_items import choose_items, learnable
from experts.ensemble import Kernels
from experts.image_kernel import ImageKernel
from experts.kernels import KernelRows, StatementKernel, TitleKernel
from experts.labelled_items import LabelledItems
from experts.landmarks import choose_landmarks
from experts.situations import CatalogueWords
from experts.text_forms import TextForms
from experts.variants import KnownVariant, Shown, TitleVariant
from fusion.inference.featurizer import PropertyValue
from schema.ontology import Ontology

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

MAX_EXACT = 6_000
"""Items up to which each is a landmark. The inverse takes their number to the third power: 1.3 s
for 5,200 on two cores."""
CANDIDATES = 6_000
"""How many of more items may be landmarks; rare values first."""
LANDMARKS = 2_048
"""How many of more items are landmarks."""
MAX_ITEMS = 20_000
"""Items that are learned from at most, so that the kernels stay in memory; rare values first."""
KEPT_OF_VALUE = 3
"""Items of each value that are among these, if half of these suffice for it: one to learn from when
another is left out."""


@dataclass(frozen=True)
class ComparedItems:
    """The N items that are learned from, in every form, and the kernels that compare them.

    Attributes:
        items: the N items
        texts: their titles and descriptions in every form
        known: their statements in every form [N]
        landmarks: the M items that all are compared with; the N items themselves if ``is_exact``
        kernels: those of the landmarks
        features: those of the statements in every form [N, F]
        levels: those of the categories, as ones [N, L]
    """

    items: LabelledItems
    texts: TextForms
    known: Mapping[KnownVariant, Sequence[Sequence[PropertyValue]]]
    landmarks: LabelledItems
    kernels: Kernels
    is_exact: bool
    features: Mapping[KnownVariant, csr_matrix]
    levels: csr_matrix

    @property
    def shown(self) -> Shown:
        """What the variants show of the items."""
        return Shown(self.texts.titles, self.known)


def compare(
    ontology: Ontology,
    items: LabelledItems,
    properties: Sequence[str],
    rng: np.random.Generator,
    seed: int,
) -> ComparedItems:
    """Choose landmarks among labelled items, and fit the kernels.

    ``properties`` are learned. ``seed`` is that of the image kernel.
    """
    items = items.with_every_part()
    if len(items) > MAX_ITEMS:
        learned = learnable(items.known, ontology)
        items = items.select(choose_items(learned, MAX_ITEMS, rng, KEPT_OF_VALUE))
    is_exact = len(items) <= MAX_EXACT
    texts = TextForms.of(items, CatalogueWords(ontology), properties, rng)
    landmarks = items
    if not is_exact:
        # Rare values come first, and an identifier would make each item as rare as any other.
        learned = learnable(items.known, ontology)
        landmarks = items.select(choose_items(learned, CANDIDATES, rng))
    kernels = _fit_kernels(ontology, items, texts, landmarks, seed)
    if not is_exact:
        chosen = choose_landmarks(_alike(kernels, landmarks, texts.words), LANDMARKS, rng)
        landmarks = landmarks.select(chosen)
        statements = kernels.statements.select(chosen)
        kernels = Kernels(
            title=kernels.title.select(chosen),
            blind=kernels.blind.select(chosen),
            image=kernels.image.select(chosen),
            statements=statements,
            description=kernels.description.select(chosen),
            category=CategoryKernel.fit(items.categories, landmarks.categories, statements),
        )
    known: dict[KnownVariant, Sequence[Sequence[PropertyValue]]] = {
        KnownVariant.ALL: items.known,
        KnownVariant.SOME: [_some(each, rng) for each in items.known],
    }
    return ComparedItems(
        items,
        texts,
        known,
        landmarks,
        kernels,
        is_exact,
        features={form: kernels.statements.features(each) for form, each in known.items()},
        levels=kernels.category.one_hot(items.categories),
    )


def _fit_kernels(
    ontology: Ontology,
    items: LabelledItems,
    texts: TextForms,
    landmarks: LabelledItems,
    seed: int,
) -> Kernels:
    """Learn what the kernels take of all items, to compare with the landmarks."""
    blind_landmarks = [texts.words.blind(title) for title in landmarks.titles]
    statements = StatementKernel.fit(ontology, items.known, landmarks.known)
    encoders = items.encoders
    return Kernels(
        title=TitleKernel.fit(items.titles, landmarks.titles, encoders.texts),
        blind=TitleKernel.fit(texts.titles[TitleVariant.BLIND], blind_landmarks, encoders.texts),
        image=ImageKernel.fit(items.images, landmarks.images, seed, encoders.images),
        statements=statements,
        description=TitleKernel.fit(items.descriptions, landmarks.descriptions),
        category=CategoryKernel.fit(items.categories, landmarks.categories, statements),
    )


def _alike(kernels: Kernels, candidates: LabelledItems, words: CatalogueWords) -> KernelRows:
    """Return how alike the candidates for landmarks are, by titles and images together."""
    titles = candidates.titles
    alike = kernels.title.rows(titles) + kernels.image.own_rows()
    alike += kernels.blind.rows([words.blind(title) for title in titles])
    return alike


def _some(known: Sequence[PropertyValue], rng: np.random.Generator) -> list[PropertyValue]:
    """Draw some of an item's statements, at least one."""
    if not known:
        return []
    order = rng.permutation(len(known))
    return [known[place] for place in order[: rng.integers(1, len(known) + 1)]]
