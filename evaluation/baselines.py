"""What a team would try first, behind the scorer's face, so that the same evaluation measures them.

- :class:`MostFrequent`: a property's values by how often they occur.
- :class:`Classical`: TF-IDF of title words and character n-grams, histograms of oriented gradients and of colours, one-hot known
  statements; scikit-learn's logistic regression, one model a property, one set of models a setting.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from encoders.descriptors import colour_histograms, oriented_gradients
from evaluation.settings import Setting, catalogue_words, shown
from fusion.inference.featurizer import ItemInput, PixelReader
from fusion.inference.scorer import CellQuery
from schema.errors import DataError
from schema.ontology import Ontology
from schema.wording import WORD

IMAGE_SIZE = 64
COMPONENTS = 256
REGULARISATION = 10.0
_IMAGES_AT_ONCE = 256
_UNSEEN = 1e-9
_FEW = 50

Pair = tuple[str, str]


class MostFrequent:
    """Ranks values by their frequency among the training items, whatever the item shows."""

    name = "most frequent"
    calibration = None

    def __init__(self, ontology: Ontology, items: Sequence[ItemInput]) -> None:
        self.ontology = ontology
        counts = Counter(pair for item in items for pair in set(item.known))
        self._logits = {
            name: np.log([counts[name, value] + _UNSEEN for value in spec.values]).astype(
                np.float32
            )
            for name, spec in ontology.properties.items()
        }

    def encode(self, items: Sequence[ItemInput]) -> None:
        """Nothing is read."""

    def score(self, encoded: None, cells: Sequence[CellQuery]) -> list[NDArray[np.float32]]:
        """Log frequencies over the property's values."""
        return [self._logits[cell.property] for cell in cells]


@dataclass(frozen=True)
class Features:
    """What I items show: ``shown`` [I, F] sparse, of title and image."""

    shown: Any


class Classical:
    """Logistic regression on hand-made features, for one setting; made by :meth:`train`."""

    name = "classical"
    calibration = None

    def __init__(self, ontology: Ontology, read_pixels: PixelReader | None = None) -> None:
        self.ontology = ontology
        self.read_pixels = read_pixels
        self._title: list[Any] = []
        self._image: _ImageFeatures | None = None
        self._known: dict[Pair, int] = {}
        self._models: dict[str, Any] = {}

    @classmethod
    def train(
        cls,
        ontology: Ontology,
        items: Sequence[ItemInput],
        setting: Setting,
        *,
        read_pixels: PixelReader | None = None,
        also: Sequence[str] = (),
    ) -> Classical:
        """Models for all properties from the items' known statements, as the setting shows them."""
        items = shown(items, setting, catalogue_words(ontology, also))
        scorer = cls(ontology, read_pixels)
        scorer._read(items, known=setting.known == "all")
        features = scorer.encode(items)
        for name in ontology.properties:
            scorer._learn(name, items, features)
        if not scorer._models:
            raise DataError(
                f"none of the {len(items)} training items has a statement: the classical baseline needs some to learn from"
            )
        return scorer

    def _read(self, items: Sequence[ItemInput], *, known: bool) -> None:
        """Fit vocabularies and image components."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        titles = [item.title for item in items if item.title and WORD.search(item.title)]
        if titles:
            words = TfidfVectorizer(
                ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\w+", dtype=np.float32
            )
            rare = 2 if len(titles) > _FEW else 1  # a small catalogue may have no n-gram twice
            grams = TfidfVectorizer(
                analyzer="char_wb",
                ngram_range=(2, 5),
                min_df=rare,
                sublinear_tf=True,
                dtype=np.float32,
            )
            self._title = [vectorizer.fit(titles) for vectorizer in (words, grams)]
        images = [item.image for item in items if item.image is not None]
        if images:
            self._image = _ImageFeatures(self._described(images))
        if known:
            pairs = (
                (spec.name, value)
                for spec in self.ontology.properties.values()
                for value in spec.values
            )
            self._known = {pair: place for place, pair in enumerate(pairs)}

    def encode(self, items: Sequence[ItemInput]) -> Features:
        """Title and image features of I items; a missing part is all zeros."""
        from scipy.sparse import csr_matrix, hstack

        titles = [item.title or "" for item in items]
        blocks = [vectorizer.transform(titles) for vectorizer in self._title]
        if self._image is not None:
            there = [place for place, item in enumerate(items) if item.image is not None]
            dense = np.zeros((len(items), self._image.width), dtype=np.float32)
            if there:
                dense[there] = self._image(self._described([items[place].image for place in there]))
            blocks.append(csr_matrix(dense))
        return Features(
            hstack([csr_matrix((len(items), 1), dtype=np.float32), *blocks], format="csr")
        )

    def score(self, encoded: Features, cells: Sequence[CellQuery]) -> list[NDArray[np.float32]]:
        """Log probabilities over the property's values; a value without training items is far below all others."""
        scores: list[NDArray[np.float32]] = [np.zeros(0, np.float32)] * len(cells)
        for name in dict.fromkeys(cell.property for cell in cells):
            places = [place for place, cell in enumerate(cells) if cell.property == name]
            features = self._joined(
                encoded,
                [cells[place].item for place in places],
                [cells[place].known for place in places],
                name,
            )
            for place, row in zip(places, self._log_probabilities(name, features), strict=True):
                scores[place] = row
        return scores

    def _log_probabilities(self, name: str, features: Any) -> NDArray[np.float32]:
        values = self.ontology.values_of(name)
        out = np.full((features.shape[0], len(values)), _UNSEEN)
        model = self._models.get(name)
        if isinstance(model, str):
            out[:, values.index(model)] = 1
        elif model is not None:
            out[:, [values.index(value) for value in model.classes_]] = model.predict_proba(
                features
            ).clip(_UNSEEN)
        return np.log(out).astype(np.float32)

    def _learn(self, name: str, items: Sequence[ItemInput], features: Features) -> None:
        """One property's model; the only value seen stands for a model where there is no other."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        values = set(self.ontology.values_of(name))
        found = [
            (place, value)
            for place, item in enumerate(items)
            for own, value in item.known
            if own == name and value in values
        ]
        target = [value for _, value in found]
        if len(set(target)) > 1:
            places = [place for place, _ in found]
            inputs = self._joined(features, places, [items[place].known for place in places], name)
            with warnings.catch_warnings():
                # What is left to gain after that many steps does not change the ranks.
                warnings.simplefilter("ignore", ConvergenceWarning)
                self._models[name] = LogisticRegression(C=REGULARISATION, max_iter=300).fit(
                    inputs, target
                )
        elif target:
            self._models[name] = target[0]

    def _joined(
        self, features: Features, places: Sequence[int], known: Sequence[Sequence[Pair]], name: str
    ) -> Any:
        """Rows ``places`` of the features beside their one-hot known statements, the asked property's own left out."""
        from scipy.sparse import csr_matrix, hstack

        if not self._known:
            return features.shown[places]
        ones = [
            (row, self._known[pair])
            for row, pairs in enumerate(known)
            for pair in dict.fromkeys(pairs)
            if pair[0] != name and pair in self._known
        ]
        rows, columns = np.array(ones, dtype=np.int64).reshape(-1, 2).T
        one_hot = csr_matrix(
            (np.ones(len(ones), dtype=np.float32), (rows, columns)),
            shape=(len(places), len(self._known)),
        )
        return hstack([features.shown[places], one_hot], format="csr")

    def _described(
        self, images: Sequence[Any]
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Gradients and colours of images, some hundred at a time; an unreadable one is white."""
        for start in range(0, len(images), _IMAGES_AT_ONCE):
            pixels = np.stack(
                [self._pixels(image) for image in images[start : start + _IMAGES_AT_ONCE]]
            )
            scaled = torch.from_numpy(pixels).float() / 255
            yield oriented_gradients(scaled).numpy(), colour_histograms(scaled).numpy()

    def _pixels(self, image: Any) -> NDArray[np.uint8]:
        white = np.full((3, IMAGE_SIZE, IMAGE_SIZE), 255, dtype=np.uint8)
        if isinstance(image, np.ndarray):
            scaled = torch.nn.functional.interpolate(
                torch.from_numpy(image)[None].float(), (IMAGE_SIZE, IMAGE_SIZE), mode="area"
            )
            return scaled[0].to(torch.uint8).numpy()
        pixels = self.read_pixels(Path(image), IMAGE_SIZE) if self.read_pixels is not None else None
        return white if pixels is None else pixels


Described = Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]


class _ImageFeatures:
    """Principal components of both descriptors, each scaled to a mean square length of one."""

    def __init__(self, described: Described) -> None:
        from sklearn.decomposition import PCA

        self._parts: list[tuple[Any, float]] = []
        for block in (np.concatenate(column) for column in zip(*described, strict=True)):
            components = PCA(
                min(COMPONENTS, *block.shape), svd_solver="randomized", random_state=0
            ).fit(block)
            length = float(np.sqrt((components.transform(block) ** 2).sum(1).mean()))
            self._parts.append((components, 1 / length if length > 0 else 1.0))
        self.width = sum(components.n_components_ for components, _ in self._parts)

    def __call__(self, described: Described) -> NDArray[np.float32]:
        blocks = [np.concatenate(column) for column in zip(*described, strict=True)]
        scaled = [
            components.transform(block) * scale
            for (components, scale), block in zip(self._parts, blocks, strict=True)
        ]
        return np.concatenate(scaled, 1).astype(np.float32)
