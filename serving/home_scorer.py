"""A scorer in the words of a home: its property names, its values, and what people edited.

Any scorer is wrapped. Cells and known statements are translated into the model's properties and
values, and its scores into the home's; calibration and ontology speak of the home's names, too.
Values that are one in the home, such as synonyms that a person added, get the sum of their
probabilities. Values that a person added are scored by their text where the model can.

Shapes: M values of the model's property, V values of the home's, of which each stands for one or
several of the model's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experts.open_values import OpenValue
from fusion.inference.featurizer import ItemInput, PropertyValue
from fusion.inference.scorer import CellQuery
from kg.home_ontology import VocabularyEdits
from schema.arrays import IntArray
from schema.modalities import Modality
from schema.ontology import Ontology, PropertySpec
from schema.property_maps import PropertyMap
from serving.cells import (
    ExtendableScorer,
    OpenVocabularyScorer,
    ProvingScorer,
    Scorer,
    unknown_values,
)

NO_MAP = PropertyMap()
NO_EDITS = VocabularyEdits()


@dataclass(frozen=True, eq=False)
class _Source:
    """Where the scores of a property of the home come from.

    Attributes:
        model_property: the model's property
        spec: the property by the home's name and values
        model_values: the model's value that stands for each [V]
        place: the home's value that each of the model's is [M]; None if they are the same
    """

    model_property: str
    spec: PropertySpec
    model_values: tuple[str, ...]
    place: IntArray | None

    def scores(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits [V] of the home's values, given those of the model's [M].

        That of another value, which a scorer may give after them, stays the last.
        """
        if self.place is None:
            return logits
        values = logits[: len(self.place)].astype(np.float64)
        joined = np.full(len(self.model_values), -np.inf, np.float64)
        np.logaddexp.at(joined, self.place, values)
        return np.append(joined, logits[len(self.place) :]).astype(np.float32)


@dataclass(frozen=True)
class HomeWords:
    """The words of a home, which any copy of a model may be put into.

    Attributes:
        home: the home's ontology
        property_map: which of its names and values are which of the model's
        edits: what a person has added to its vocabulary and taken out of it
        own: whether the model was trained in this home
    """

    home: Ontology
    property_map: PropertyMap = NO_MAP
    edits: VocabularyEdits = NO_EDITS
    own: bool = False

    def of(self, scorer: Scorer) -> HomeScorer:
        """Return a scorer in these words."""
        return HomeScorer(scorer, self.home, self.property_map, self.edits, own=self.own)


class HomeScorer:
    """A scorer that speaks of a home's properties and values.

    Args:
        scorer: any scorer
        home: the home's ontology
        property_map: which of its names and values are which of the model's
        edits: what a person has added to its vocabulary and taken out of it
        own: whether the model was trained in this home, so that values that the home does not have
            any more are taken out

    Attributes:
        removed: by property, the values of the model that the home has no more
        removed_properties: the properties of the model that the home has no more
        unscored: by property, values that a person added and that the model cannot score
    """

    def __init__(
        self,
        scorer: Scorer,
        home: Ontology,
        property_map: PropertyMap = NO_MAP,
        edits: VocabularyEdits = NO_EDITS,
        *,
        own: bool = False,
    ) -> None:
        self._home = home
        self._map = property_map
        self.removed_properties = frozenset(
            name
            for name in scorer.ontology.properties
            if name not in home.properties and (own or name in edits.properties)
        )
        self._scorer = scorer
        self._sources = self._all_sources()
        self.unscored: dict[str, tuple[str, ...]] = {}
        self._add_values(edits)
        self._translations: dict[PropertyValue, PropertyValue | None] = {}
        self.ontology = Ontology(
            [source.spec for source in self._sources.values()],
            categories=scorer.ontology.categories,
            described=scorer.ontology.described,
            threshold=scorer.ontology.threshold,
        )
        self.calibration = self._renamed_calibration()
        self.removed = {
            name: gone
            for name, source in self._sources.items()
            if (gone := tuple(self._removed_values(source.spec, edits, own)))
        }

    @property
    def name(self) -> str:
        """The model name that predictions carry."""
        return self._scorer.name

    @property
    def modalities(self) -> frozenset[Modality]:
        """The modalities that the model reads."""
        return self._scorer.modalities

    def situation(self, item: ItemInput, cell: CellQuery) -> str:
        """Name what a cell is predicted from, as the model does."""
        return self._scorer.situation(item, self._query(cell)[1])

    def encode(self, items: Sequence[ItemInput]) -> Any:
        """Encode titles and images, the expensive part."""
        return self._scorer.encode(items)

    def score(self, encoded: Any, cells: Sequence[CellQuery]) -> list[NDArray[np.float32]]:
        """Return the logits of each cell over ``ontology.values_of(property)``.

        Raises PropertyNotFoundError on a property that the model does not know.
        """
        sources = []
        queries = []
        for cell in cells:
            source, query = self._query(cell)
            sources.append(source)
            queries.append(query)
        logits = self._scorer.score(encoded, queries)
        return [source.scores(row) for source, row in zip(sources, logits, strict=True)]

    def proving_scores(
        self, encoded: Any, cells: Sequence[CellQuery]
    ) -> list[NDArray[np.float32]] | None:
        """Return the logits by which precision is proven; None if those of :meth:`score` are."""
        if not isinstance(self._scorer, ProvingScorer):
            return None
        translated = [self._query(cell) for cell in cells]
        logits = self._scorer.proving_scores(encoded, [query for _, query in translated])
        if logits is None:
            return None
        return [source.scores(row) for (source, _), row in zip(translated, logits, strict=True)]

    def unknown_values(self, item: ItemInput, property: str) -> Sequence[OpenValue]:
        """Return values that the model does not know, as the home writes them.

        One of them may be a value that a person has added.
        """
        spec = self._home.properties.get(property)
        source = self._sources[self.ontology[property].name]
        offered = []
        for each in unknown_values(self._scorer, item, source.model_property):
            if source.spec.position(each.value) is None:
                value = each.value if spec is None else spec.shown(each.value)
                offered.append(replace(each, value=value))
        return offered

    def model_query(self, cell: CellQuery) -> CellQuery:
        """Return a cell in the words of the model."""
        return self._query(cell)[1]

    def _query(self, cell: CellQuery) -> tuple[_Source, CellQuery]:
        """Return where a cell's scores come from, and the cell in the words of the model."""
        source = self._sources[self.ontology[cell.property].name]
        known = tuple(self._translated(cell.known))
        return source, CellQuery(cell.item, source.model_property, known, cell.category)

    def _translated(self, known: Sequence[PropertyValue]) -> Iterator[PropertyValue]:
        for statement in known:
            # Statements are given again with each variant of a cell.
            if statement not in self._translations:
                self._translations[statement] = self._translation(*statement)
            translation = self._translations[statement]
            if translation is not None:
                yield translation

    def _translation(self, name: str, value: str) -> PropertyValue | None:
        source = self._sources.get(name)
        if source is None:
            return None
        position = source.spec.position(value)
        return source.model_property, value if position is None else source.model_values[position]

    def _all_sources(self) -> dict[str, _Source]:
        """Return where the scores of each property come from, by the home's names."""
        mapped = dict(self._map.properties)
        targets = set(mapped.values())
        for name in self._scorer.ontology.properties:
            # What another name stands for is no property of its own, unless the home has it.
            is_own = name in self._home.properties or name not in targets
            if name not in mapped and is_own and name not in self.removed_properties:
                mapped[name] = name
        return {name: self._source(name, of_model) for name, of_model in mapped.items()}

    def _source(self, name: str, of_model: str) -> _Source:
        known = self._scorer.ontology[of_model]
        spec = self._home.properties.get(name)
        if spec is None:
            same = replace(known, name=name)
            return _Source(of_model, same, known.values, None)
        said: dict[int, list[str]] = {}
        for value, model_value in self._map.values.get(name, {}).items():
            position = known.position(model_value)
            if position is not None:
                said.setdefault(position, []).append(value)
        places: dict[str, int] = {}
        place = []
        values: list[str] = []
        counts: list[int] = []
        first: list[str] = []
        synonyms = dict(spec.synonyms)
        for number, value in enumerate(known.values):
            written, *others = said.get(number, [spec.shown(value)])
            if others:
                synonyms[written] = (*synonyms.get(written, ()), *others)
            key = spec.key(written)
            if key not in places:
                places[key] = len(values)
                values.append(written)
                counts.append(0)
                first.append(value)
            place.append(places[key])
            counts[places[key]] += known.counts[number]
        adapted = replace(
            known,
            name=name,
            values=tuple(values),
            counts=tuple(counts),
            datatype=spec.datatype,
            unit=spec.unit,
            cardinality=spec.cardinality,
            decimal_mark=spec.decimal_mark,
            date_order=spec.date_order,
            case_sensitive=spec.case_sensitive,
            spellings=spec.spellings,
            synonyms=synonyms,
        )
        is_same = len(values) == len(known.values)
        return _Source(of_model, adapted, tuple(first), None if is_same else np.array(place))

    def _add_values(self, edits: VocabularyEdits) -> None:
        """Let values that a person added be candidates, if the model can score texts."""
        new: dict[str, tuple[str, ...]] = {}
        for name, values in edits.added.items():
            source = self._sources.get(name)
            if source is not None:
                spec = source.spec
                unknown = tuple(each for each in values if spec.position(each) is None)
                if unknown:
                    new[name] = unknown
        if not new:
            return
        if isinstance(self._scorer, OpenVocabularyScorer):
            # They are offered where a title says them.
            return
        if not isinstance(self._scorer, ExtendableScorer):
            self.unscored = new
            return
        self._scorer = self._scorer.with_values(
            {self._sources[name].model_property: values for name, values in new.items()}
        )
        self._sources = self._all_sources()

    def _removed_values(
        self, spec: PropertySpec, edits: VocabularyEdits, own: bool
    ) -> Iterator[str]:
        at_home = self._home.properties.get(spec.name)
        by_hand = edits.removed.get(spec.name, ())
        gone = {spec.position(value) for value in by_hand}
        for position, value in enumerate(spec.values):
            is_unknown = at_home is not None and at_home.position(value) is None
            if position in gone or (own and is_unknown):
                yield value

    def _renamed_calibration(self) -> dict[str, Any] | None:
        """Return the calibration by the home's names of properties."""
        data = self._scorer.calibration
        names = {name: source.model_property for name, source in self._sources.items()}
        if data is None or all(name == other for name, other in names.items()):
            return data
        # Version 1 has curves instead of what is proven.
        proofs: dict[str, Any] = {
            key: {situation: _renamed(each, names) for situation, each in data[key].items()}
            for key in ("proven", "curves", "intervals")
            if key in data
        }
        temperatures: dict[str, Any] = {
            key: _renamed_temperatures(data[key], names)
            for key in ("temperatures", "proving_temperatures")
            if key in data
        }
        several: dict[str, Any] = {}
        if "several" in data:
            proven = data["several"]["proven"].items()
            several["several"] = {
                "weights": _renamed(data["several"]["weights"], names),
                "proven": {situation: _renamed(each, names) for situation, each in proven},
            }
        return {**data, **proofs, **temperatures, **several}


def _renamed_temperatures(data: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    situations = {
        situation: {**fitted, "properties": _renamed(fitted["properties"], names)}
        for situation, fitted in data["situations"].items()
    }
    return {**data, "situations": situations}


def _renamed(by_property: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {
        name: by_property[of_model] for name, of_model in names.items() if of_model in by_property
    }
