"""What a model can still answer in a home whose ontology has changed since it was trained.

:class:`serving.home_scorer.HomeScorer` acts on the same differences; here they are told without
loading the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kg.home_ontology import VocabularyEdits
from schema.ontology import Ontology
from schema.property_maps import Proposal, propose_map, unknown_properties

NO_EDITS = VocabularyEdits()
_NAMED = 5
"""Properties and values that a line names."""


@dataclass(frozen=True)
class Answers:
    """The differences between a home's ontology and a model's.

    Attributes:
        answered: the model's properties that the home has
        removed: those that it does not have any more
        unknown: the home's properties that could be asked if the model knew them
        removed_values: by property, values of the model that the home has no more
        new_values: by property, values of the home that the model has not learned
        renamed: which of the unknown properties may be which of the model's
    """

    answered: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    removed_values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    new_values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    renamed: Sequence[Proposal] = ()

    @classmethod
    def of(
        cls, home: Ontology, model: Ontology, edits: VocabularyEdits = NO_EDITS, *, own: bool = True
    ) -> Answers:
        """Compare a home's ontology with that of a model.

        With ``own`` the model is one of the home's, so that what the home does not have was
        removed; otherwise only what a person has taken out, by ``edits``, was.
        """
        learned = [name for name, spec in model.properties.items() if spec.values]
        removed = [
            name
            for name in learned
            if name not in home.properties and (own or name in edits.properties)
        ]
        gone = {}
        new = {}
        for name in learned:
            at_home = home.properties.get(name)
            if at_home is None:
                continue
            spec = model[name]
            by_hand = set(edits.removed.get(name, ()))
            without = tuple(
                value
                for value in spec.values
                if value in by_hand or (own and at_home.position(value) is None)
            )
            added = tuple(value for value in at_home.values if spec.position(value) is None)
            if without:
                gone[name] = without
            if added:
                new[name] = added
        return cls(
            answered=tuple(name for name in learned if name in home.properties),
            removed=tuple(removed),
            unknown=tuple(unknown_properties(home, model)),
            removed_values=gone,
            new_values=new,
            renamed=tuple(propose_map(home, model)),
        )

    @property
    def word(self) -> str:
        """What has changed, in a word or two."""
        if self.removed or self.unknown:
            of = len({*self.answered, *self.unknown})
            return f"answers {len(self.answered):,} of {of:,}"
        if self.removed_values or self.new_values:
            return "other values"
        return "the same"

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "ontology": self.word,
            "answered": list(self.answered),
            "removed": list(self.removed),
            "unknown": list(self.unknown),
            "removed_values": {name: list(values) for name, values in self.removed_values.items()},
            "new_values": {name: list(values) for name, values in self.new_values.items()},
            "renamed": {each.property: each.model_property for each in self.renamed},
        }

    def lines(self) -> list[str]:
        """Return what has changed, for a person; nothing if nothing has."""
        lines = []
        if self.removed:
            lines.append(
                f"not answered, because this home has them no more: {_listed(self.removed)}"
            )
        if self.unknown:
            text = f"not answered, because the model does not know them: {_listed(self.unknown)}"
            alike = [f"{each.property} = {each.model_property}" for each in self.renamed]
            if alike:
                text += (
                    f"; some may have been renamed ({_listed(alike)}): `catalograph complete "
                    "--write-map FILE` writes down which"
                )
            lines.append(text)
        for name, values in self.removed_values.items():
            lines.append(f"{name}: not offered, because it was taken out: {_listed(values)}")
        for name, values in self.new_values.items():
            lines.append(f"{name}: not learned, because it is new: {_listed(values)}")
        if lines:
            lines.append("a model that is trained now knows all of this home's ontology")
        return lines


def _listed(names: Sequence[str]) -> str:
    more = f", and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
