"""Baselines: what a team would try first, measured by the same evaluation as the models.

- :class:`MostFrequent` ranks a property's values by their frequency.
- :class:`Classical` is scikit-learn's logistic regression, one model per property, on TF-IDF of
  title words and character n-grams, histograms of oriented gradients and of colours, and one-hot
  known statements. It is trained for one setting.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from encoders.descriptors import colour_histograms, oriented_gradients
from evaluation.settings import Setting, apply_setting, catalogue_words
from fusion.inference.featurizer import ItemInput, PropertyValue
from fusion.inference.scorer import CellQuery, situation_of
from schema.errors import DataError
from schema.modalities import NETWORK_MODALITIES, Modality
from schema.ontology import Ontology
from schema.wording import WORD

BASELINE_IMAGE_SIZE = 64
MAX_COMPONENTS = 256
INVERSE_REGULARISATION = 10.0
_IMAGES_PER_BATCH = 256
_UNSEEN_PROBABILITY = 1e-9
"""The probability of a value that never occurs in training: its logarithm must be finite."""
_SMALL_CATALOGUE = 50  # titles, below which an n-gram may be learned from a single one


class MostFrequent:
    """Ranks values by their frequency among the training items, whatever the item is."""

    name = "most frequent"
    modalities = NETWORK_MODALITIES

    def __init__(self, ontology: Ontology, items: Sequence[ItemInput]) -> None:
        self.ontology = ontology
        self.calibration: dict[str, Any] | None = None
        counts = Counter(statement for item in items for statement in set(item.known))
        self._logits: dict[str, NDArray[np.float32]] = {}
        for name, spec in ontology.properties.items():
            frequencies = np.array([counts[name, value] for value in spec.values], dtype=np.float64)
            self._logits[name] = np.log(frequencies + _UNSEEN_PROBABILITY).astype(np.float32)

    def situation(self, item: ItemInput, cell: CellQuery) -> str:
        """Name the modalities that a cell is predicted from."""
        return situation_of(item, cell)

    def encode(self, items: Sequence[ItemInput]) -> None:
        """Do nothing: the items do not matter."""

    def score(self, encoded: None, cells: Sequence[CellQuery]) -> list[NDArray[np.float32]]:
        """Return log frequencies over the property's values."""
        return [self._logits[cell.property] for cell in cells]


@dataclass(frozen=True)
class ContentFeatures:
    """Features of I items' titles and images: a sparse ``matrix`` [I, F]."""

    matrix: Any


@dataclass
class _Examples:
    """Rows of a property's model: the items' positions, and the statements that may be used."""

    positions: list[int] = field(default_factory=list)
    known: list[Sequence[PropertyValue]] = field(default_factory=list)


class Classical:
    """Logistic regression on classical features, for one setting; built by :meth:`train`."""

    name = "classical"
    modalities = NETWORK_MODALITIES

    def __init__(self, ontology: Ontology) -> None:
        self.ontology = ontology
        self.calibration: dict[str, Any] | None = None
        self._title_vectorizers: list[Any] = []
        self._image_features: _ImageFeatures | None = None
        self._statement_column: dict[PropertyValue, int] = {}
        self._models: dict[str, Any] = {}
        self._only_value: dict[str, str] = {}  # of properties with a single value in training

    @classmethod
    def train(
        cls,
        ontology: Ontology,
        items: Sequence[ItemInput],
        setting: Setting,
        *,
        blind_also: Sequence[str] = (),
        properties: Sequence[str] | None = None,
    ) -> Classical:
        """Train a model for each property on the items' statements, as the setting shows them.

        ``properties`` restricts which are predicted. Images have to be pixels [3, S, S].
        """
        items = apply_setting(items, setting, catalogue_words(ontology, blind_also))
        scorer = cls(ontology)
        scorer._fit_features(items, with_statements=setting.shows(Modality.STATEMENTS))
        features = scorer.encode(items)
        for name in ontology.learned() if properties is None else properties:
            scorer._fit_property(name, items, features)
        if not scorer._models and not scorer._only_value:
            raise DataError(
                f"none of the {len(items)} training items has a statement: "
                "the classical baseline needs some to learn from"
            )
        return scorer

    def _fit_features(self, items: Sequence[ItemInput], *, with_statements: bool) -> None:
        """Fit the vocabularies of titles, the components of images, the columns of statements."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        titles = [item.title for item in items if item.title and WORD.search(item.title)]
        if titles:
            # The default pattern would drop words of one character, such as the sizes S, M and L.
            words = TfidfVectorizer(
                ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\w+", dtype=np.float32
            )
            # A small catalogue may not have any n-gram twice.
            characters = TfidfVectorizer(
                analyzer="char_wb",
                ngram_range=(2, 5),
                min_df=2 if len(titles) > _SMALL_CATALOGUE else 1,
                sublinear_tf=True,
                dtype=np.float32,
            )
            self._title_vectorizers = [words.fit(titles), characters.fit(titles)]

        images = [item.image for item in items if item.image is not None]
        if images:
            self._image_features = _ImageFeatures(self._descriptors(images))

        if with_statements:
            statements = (
                (spec.name, value)
                for spec in self.ontology.properties.values()
                if spec.is_learned
                for value in spec.values
            )
            self._statement_column = {each: column for column, each in enumerate(statements)}

    def situation(self, item: ItemInput, cell: CellQuery) -> str:
        """Name the modalities that a cell is predicted from."""
        return situation_of(item, cell)

    def encode(self, items: Sequence[ItemInput]) -> ContentFeatures:
        """Return title and image features of I items; those of a missing modality are zeros."""
        from scipy.sparse import csr_matrix, hstack

        titles = [item.title or "" for item in items]
        # An empty column comes first, so that there is a matrix even without any feature.
        blocks: list[Any] = [csr_matrix((len(items), 1), dtype=np.float32)]
        blocks += [vectorizer.transform(titles) for vectorizer in self._title_vectorizers]
        if self._image_features is not None:
            with_image = [index for index, item in enumerate(items) if item.image is not None]
            dense = np.zeros((len(items), self._image_features.width), dtype=np.float32)
            if with_image:
                descriptors = self._descriptors([items[index].image for index in with_image])
                dense[with_image] = self._image_features.transform(descriptors)
            blocks.append(csr_matrix(dense))
        return ContentFeatures(hstack(blocks, format="csr"))

    def score(
        self, encoded: ContentFeatures, cells: Sequence[CellQuery]
    ) -> list[NDArray[np.float32]]:
        """Return log probabilities over the property's values.

        A value without training items gets one far below all others.
        """
        scores: list[NDArray[np.float32]] = [np.zeros(0, np.float32)] * len(cells)
        for name in dict.fromkeys(cell.property for cell in cells):
            numbers = [number for number, cell in enumerate(cells) if cell.property == name]
            examples = _Examples(
                [cells[number].item for number in numbers],
                [cells[number].known for number in numbers],
            )
            inputs = self._inputs(name, encoded, examples)
            for number, row in zip(numbers, self._log_probabilities(name, inputs), strict=True):
                scores[number] = row
        return scores

    def _log_probabilities(self, name: str, inputs: Any) -> NDArray[np.float32]:
        values = self.ontology.values_of(name)
        probabilities = np.full((inputs.shape[0], len(values)), _UNSEEN_PROBABILITY)
        if name in self._only_value:
            probabilities[:, values.index(self._only_value[name])] = 1
        elif name in self._models:
            model = self._models[name]
            columns = [values.index(value) for value in model.classes_]
            probabilities[:, columns] = model.predict_proba(inputs).clip(_UNSEEN_PROBABILITY)
        return np.log(probabilities).astype(np.float32)

    def _fit_property(
        self, name: str, items: Sequence[ItemInput], features: ContentFeatures
    ) -> None:
        """Train one property's model, or remember its value if training has only one."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        values = set(self.ontology.values_of(name))
        examples = _Examples()
        target = []
        for position, item in enumerate(items):
            for property_name, value in item.known:
                if property_name == name and value in values:
                    examples.positions.append(position)
                    examples.known.append(item.known)
                    target.append(value)
        if len(set(target)) == 1:
            # scikit-learn refuses to fit a single class.
            self._only_value[name] = target[0]
        elif target:
            model = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=300)
            with warnings.catch_warnings():
                # What further steps would gain does not change the ranks.
                warnings.simplefilter("ignore", ConvergenceWarning)
                self._models[name] = model.fit(self._inputs(name, features, examples), target)

    def _inputs(self, name: str, features: ContentFeatures, examples: _Examples) -> Any:
        """Return the content features of the examples beside their one-hot known statements.

        The statements of the property itself are left out.
        """
        from scipy.sparse import csr_matrix, hstack

        content = features.matrix[examples.positions]
        if not self._statement_column:
            return content
        rows = []
        columns = []
        for row, statements in enumerate(examples.known):
            for statement in dict.fromkeys(statements):
                if statement[0] != name and statement in self._statement_column:
                    rows.append(row)
                    columns.append(self._statement_column[statement])
        one_hot = csr_matrix(
            (np.ones(len(rows), dtype=np.float32), (rows, columns)),
            shape=(len(examples.positions), len(self._statement_column)),
        )
        return hstack([content, one_hot], format="csr")

    def _descriptors(self, images: Sequence[Any]) -> Iterator[_Descriptors]:
        """Yield the descriptors of images in batches."""
        for start in range(0, len(images), _IMAGES_PER_BATCH):
            batch = images[start : start + _IMAGES_PER_BATCH]
            pixels = np.stack([_resized(image) for image in batch])
            scaled = torch.from_numpy(pixels).float() / 255
            yield _Descriptors(
                oriented_gradients(scaled).numpy(), colour_histograms(scaled).numpy()
            )


def _resized(image: Any) -> NDArray[np.uint8]:
    """Return pixels at the baseline's size."""
    if not isinstance(image, np.ndarray):
        raise DataError(f"the image {image} is not pixels: the classical baseline opens no files")
    size = BASELINE_IMAGE_SIZE
    resized = torch.nn.functional.interpolate(
        torch.from_numpy(image)[None].float(), (size, size), mode="area"
    )
    return resized[0].to(torch.uint8).numpy()


@dataclass(frozen=True)
class _Descriptors:
    """Classical descriptors of B images: ``gradients`` [B, G] and ``colours`` [B, C]."""

    gradients: NDArray[np.float32]
    colours: NDArray[np.float32]


class _ScaledComponents:
    """Principal components of one descriptor, scaled to a mean squared length of one."""

    def __init__(self, descriptor: NDArray[np.float32]) -> None:
        from sklearn.decomposition import PCA

        # PCA cannot find more components than there are images or features.
        count = min(MAX_COMPONENTS, *descriptor.shape)
        self._components = PCA(count, svd_solver="randomized", random_state=0).fit(descriptor)
        squared_lengths = (self._components.transform(descriptor) ** 2).sum(1)
        length = float(np.sqrt(squared_lengths.mean()))
        self._scale = 1 / length if length > 0 else 1.0
        self.width: int = self._components.n_components_

    def transform(self, descriptor: NDArray[np.float32]) -> NDArray[np.float32]:
        """Project [B, D] onto the components [B, width]."""
        return np.asarray(self._components.transform(descriptor) * self._scale)


class _ImageFeatures:
    """The scaled principal components of both descriptors, side by side."""

    def __init__(self, descriptors: Iterator[_Descriptors]) -> None:
        every = _joined(descriptors)
        self._gradients = _ScaledComponents(every.gradients)
        self._colours = _ScaledComponents(every.colours)
        self.width = self._gradients.width + self._colours.width

    def transform(self, descriptors: Iterator[_Descriptors]) -> NDArray[np.float32]:
        """Return the features [B, width] of B images."""
        every = _joined(descriptors)
        blocks = [
            self._gradients.transform(every.gradients),
            self._colours.transform(every.colours),
        ]
        return np.concatenate(blocks, 1).astype(np.float32)


def _joined(descriptors: Iterator[_Descriptors]) -> _Descriptors:
    batches = list(descriptors)
    return _Descriptors(
        np.concatenate([batch.gradients for batch in batches]),
        np.concatenate([batch.colours for batch in batches]),
    )
