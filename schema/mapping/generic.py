"""What the first rows of a source tell about its mapping."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from schema.bracketed import list_in
from schema.mapping.attributes import find_packed, find_pairs
from schema.mapping.evidence import (
    CERTAIN_INDEX,
    LEVEL_SEPARATORS,
    MIN_ROWS,
    TAG,
    TITLE_ENDING,
    ColumnFacts,
    Sample,
    are_numbers,
    counts_up,
    has_digit,
    has_id_ending,
    is_json,
    is_list_of_paths,
    list_separator,
    look_like_ids,
    paths_by_comma,
    share,
    starts_with_letter,
    why_no_id,
)
from schema.mapping.languages import is_language, tagged_names
from schema.mapping.lexicon import (
    CATEGORY_LEVELS,
    CATEGORY_NAMES,
    CATEGORY_PLURALS,
    DESCRIPTION_NAMES,
    ID_NAMES,
    IGNORED_NAMES,
    IMAGE_NAMES,
    LANGUAGE_COLUMNS,
    LANGUAGE_PATTERNS,
    NO_TITLE,
    PARENT_NAMES,
    PRODUCT_NAMES,
    PROPERTY_COLUMNS,
    TITLE_NAMES,
    UNIT_COLUMNS,
    UNIT_ENDINGS,
    VALUE_COLUMNS,
)
from schema.mapping.model import (
    BRACKETS,
    ColumnSettings,
    LanguageNames,
    Mapping,
    PackedColumn,
    TripleColumns,
    Variants,
)
from schema.mapping.names import bare, matches, normalized
from schema.mapping.unit_codes import unit_in_name

MIN_PREFIXED = 4
"""Columns from which a common beginning of their names is taken for a prefix."""


@dataclass
class Findings:
    """A mapping for one source, and why each column was read as it is."""

    mapping: Mapping
    why: dict[str, str] = field(default_factory=dict)
    reason: str = ""


def adapted(mapping: Mapping, sample: Sample) -> Findings:
    """Return a shipped mapping with what only the source itself tells: index columns and units."""
    detective = _Detective(mapping, sample)
    detective.leave_out_index()
    detective.find_bracketed()
    detective.take_roles()
    detective.find_units()
    if mapping.multi is None and mapping.properties is None:
        detective.find_lists()
    return Findings(detective.mapping, detective.why)


def generic_mapping(mapping: Mapping, sample: Sample) -> Findings:
    """Return the generic mapping for one source, made from its columns' names and contents."""
    detective = _Detective(mapping, sample)
    detective.leave_out_index()
    if detective.find_triples():
        return Findings(detective.mapping, detective.why, detective.reason)
    detective.find_bracketed()
    detective.find_languages()
    detective.find_pairs()
    detective.find_roles()
    detective.find_unit_columns()
    detective.find_units()
    detective.find_packed()
    detective.find_lists()
    return Findings(detective.mapping, detective.why, detective.reason)


class _Detective:
    """Looks at the columns of one source, and writes down in a mapping what it finds."""

    def __init__(self, mapping: Mapping, sample: Sample) -> None:
        self.mapping = mapping
        self.why: dict[str, str] = {}
        self.reason = ""
        self._unnamed = sample.unnamed
        missing = mapping.missing
        rows = [row for row in sample.rows if any(cell and cell.strip() for cell in row)]
        rows = list(dict.fromkeys(rows))
        self._facts: dict[str, ColumnFacts] = {}
        for position, name in enumerate(sample.columns):
            cells = (row[position] for row in rows if position < len(row))
            texts = [cell.strip() for cell in cells if cell and cell.strip()]
            known = tuple(text for text in texts if text not in missing)
            if name in self._facts:
                known = self._facts[name].texts + known
            self._facts[name] = ColumnFacts(name, known, len(rows))
        self._bracketed = [name for name in self._facts if self._open_lists(name)]
        self._free = list(self._facts)
        self._prefix = _common_prefix(sample.columns)
        self._titles: dict[str, list[str]] = {}

    def _open_lists(self, name: str) -> bool:
        """Look at the values of lists in brackets in place of the cells; return if there are."""
        facts = self._facts[name]
        lists = [list_in(text) for text in facts.texts]
        found = [values for values in lists if values is not None]
        if not found or len(found) * 2 < len(lists):
            return False
        texts = tuple(text for values in found for text in values)
        self._facts[name] = ColumnFacts(name, texts, facts.count)
        return True

    # ---- columns that are nothing of the catalogue ----------------------------------------------

    def find_bracketed(self) -> None:
        """Say which columns hold lists as JSON or Python writes them."""
        for name in self._bracketed:
            if self.mapping.settings_of(name).multi in (None, self.mapping.multi):
                self._say(name, multi=BRACKETS)
                self.why[name] = "its cells are lists in brackets"

    def leave_out_index(self) -> None:
        """Leave out the index that pandas writes."""
        ignored = []
        for name in self._free:
            if CERTAIN_INDEX.fullmatch(name) or (
                name in self._unnamed and counts_up(self._facts[name].texts)
            ):
                ignored.append(name)
                self.why[name] = "the index of a table that pandas wrote"
        self._take(ignored)
        self.mapping = self.mapping.with_ignored(tuple(ignored))

    def take_roles(self) -> None:
        """Set aside the columns that the mapping gives a role."""
        mapping = self.mapping
        names = (*mapping.id, *mapping.title, *mapping.description, *mapping.category)
        names += (*mapping.images, *mapping.language_column, *mapping.ignore)
        names += tuple(name for pairs in mapping.pairs for name in (pairs.name, pairs.value))
        if mapping.variants is not None:
            names += (
                *mapping.variants.parent,
                *mapping.variants.group,
                mapping.variants.packed or "",
            )
        self._take(each for each in self._facts if any(matches(each, name) for name in names))

    # ---- long tables ----------------------------------------------------------------------------

    def find_triples(self) -> bool:
        """Recognise a table of items, properties and values."""
        if not 3 <= len(self._free) <= 6:
            return False
        property_column = self._by_name(PROPERTY_COLUMNS)
        value = self._by_name(VALUE_COLUMNS)
        unit = self._by_name(UNIT_COLUMNS)
        language = self._by_name(LANGUAGE_COLUMNS)
        rest = [name for name in self._free if name not in (property_column, value, unit, language)]
        named = [name for name in rest if bare(name) in ID_NAMES or has_id_ending(name)]
        if property_column is None or value is None or len(rest) != 1 or not named:
            return False
        item = named[0]
        facts = self._facts[property_column]
        is_once = facts.count >= MIN_ROWS and facts.distinct == len(facts.texts)
        if is_once and self._facts[item].identifies:
            # A property that comes up only once is no property of several items.
            return False
        triples = TripleColumns(
            (item,),
            (property_column,),
            (value,),
            (language,) if language else (),
            (unit,) if unit else (),
        )
        self.mapping = replace(self.mapping, id=(), triples=triples)
        self.why |= {item: "the item of each row", property_column: "names a property of it"}
        self.why[value] = "the value of that property"
        self.reason = f"each row is one value: {item!r}, {property_column!r}, {value!r}"
        return True

    # ---- languages ------------------------------------------------------------------------------

    def find_languages(self) -> None:
        """Recognise columns that are the same in several languages."""
        for pattern in LANGUAGE_PATTERNS:
            tagged = tagged_names(self._free, [pattern])
            languages: dict[str, set[str]] = {}
            for each in tagged.values():
                languages.setdefault(each.name, set()).add(each.language)
            # One column alone may be called "part-no" or "is_in".
            several = {name for name, found in languages.items() if len(found) > 1}
            if not several:
                continue
            patterns = (
                tuple(pattern.replace("{name}", name) for name in several)
                if "{name}" in pattern
                else (pattern,)
            )
            columns = self.mapping.languages.columns + patterns
            self.mapping = replace(self.mapping, languages=LanguageNames(columns=columns))
            for column, each in tagged.items():
                if each.name in several:
                    self.why[column] = f"{each.name} in {each.language}"
                    self._titles.setdefault(each.name, []).append(column)
                    self._free.remove(column)
                    texts = self._facts[column].texts
                    facts = self._facts.get(each.name)
                    if facts is None or len(facts.texts) < len(texts):
                        self._facts[each.name] = replace(self._facts[column], name=each.name)
                    if each.name not in self._free:
                        self._free.append(each.name)
            return

    # ---- columns of names and values ------------------------------------------------------------

    def find_pairs(self) -> None:
        """Recognise numbered columns of which one names a property and another has its value."""
        for pairs in find_pairs(self._free):
            names = [name for name in self._free if matches(name, pairs.name)]
            texts = [text for name in names for text in self._facts[name].texts]
            if not texts or share(texts, lambda text: text[:1].isdigit() or len(text) > 60) > 0.5:
                continue
            values = [name for name in self._free if matches(name, pairs.value)]
            units = [name for name in self._free if pairs.unit and matches(name, pairs.unit)]
            self.mapping = replace(self.mapping, pairs=(*self.mapping.pairs, pairs))
            self.why |= dict.fromkeys(names, "names the property in the column beside it")
            self.why |= dict.fromkeys(values, "the value of the property that is named beside it")
            self.why |= dict.fromkeys(units, "the unit of the value beside it")
            self._take([*names, *values, *units])

    # ---- roles ----------------------------------------------------------------------------------

    def find_roles(self) -> None:
        """Find the columns of the id, title, description, category, images and parent."""
        images = self._image_columns()
        self._take(images)
        id_column = self._id_column()
        self._take([id_column] if id_column else [])
        language = self._language_column(id_column)
        self._take([language] if language else [])
        title = self._title_column()
        self._take([title] if title else [])
        description = self._description_column()
        if title is None and description is not None and self._is_short(description):
            self.why[description] = "named like a description, but short, and there is no title"
            title, description = description, None
        self._take([name for name in (title, description) if name])
        category = self._category_columns()
        self._take(category)
        parent = self._parent_column()
        self._take([parent] if parent else [])

        mapping = self.mapping
        if id_column is not None:
            mapping = _with_role(mapping, "id", (id_column,))
        mapping = _with_role(mapping, "title", (title,) if title else ())
        mapping = _with_role(mapping, "description", (description,) if description else ())
        mapping = _with_role(mapping, "images", tuple(images))
        mapping = _with_role(mapping, "category", tuple(category))
        mapping = replace(mapping, category_any=False)
        if language is not None:
            mapping = _with_role(mapping, "language_column", (language,))
        if parent is not None:
            mapping = replace(mapping, variants=Variants(parent=(parent,)))
        self.mapping = mapping
        if category:
            self._find_levels(category[0])
        self.mapping = self.mapping.with_ignored(
            tuple(name for name in self._free if normalized(name) in _IGNORED)
        )
        id_text = repr(id_column) if id_column else "none"
        self.reason = f"the id is {id_text}, the title {title!r}"

    def _id_column(self) -> str | None:
        candidates = self._ranked(ID_NAMES)
        endings = [name for name in self._free if has_id_ending(name)]
        candidates += [name for name in endings if name not in candidates]
        refused: list[str] = []
        for name in candidates:
            facts = self._facts[name]
            if facts.identifies:
                why = "named like an id, filled in every row, and never twice the same"
                if refused:
                    why += f" ({', '.join(refused)})"
                self.why[name] = why
                return name
            refused.append(f"{name!r} {why_no_id(facts)}")
        if candidates:
            # No better one is known: its empty or repeated cells will be rejected, and said.
            best = max(candidates, key=lambda each: self._facts[each].distinct)
            best = candidates[0] if self._facts[candidates[0]].distinct else best
            self.why[best] = f"named like an id, but {why_no_id(self._facts[best])}"
            return best
        for name in self._free:
            facts = self._facts[name]
            if facts.count >= MIN_ROWS and facts.identifies and look_like_ids(facts.texts):
                self.why[name] = "not named like an id, but every row has its own code in it"
                return name
        return None

    def _language_column(self, id_column: str | None) -> str | None:
        """Return the column with the language of each row, if an item has a row for each."""
        name = self._by_name(LANGUAGE_COLUMNS)
        if name is None or id_column is None or self._facts[id_column].identifies:
            return None
        texts = self._facts[name].texts
        if len(set(texts)) < 2 or not all(map(is_language, texts)):
            return None
        self.why[name] = "the language of a row: an item has a row for each"
        return name

    def _title_column(self) -> str | None:
        for name in self._ranked(TITLE_NAMES):
            if self._facts[name].count == 0 or self._facts[name].texts:
                self.why[name] = "named like a title"
                return name
        for name in self._ranked(PRODUCT_NAMES):
            if share(self._facts[name].texts, starts_with_letter) > 0.5:
                self.why[name] = "named like a product, and holds words"
                return name
        endings = [
            name
            for name in self._free
            if TITLE_ENDING.search(normalized(name)) and not NO_TITLE.fullmatch(normalized(name))
        ]
        if endings:
            name = max(endings, key=lambda each: self._facts[each].distinct)
            self.why[name] = "its name ends like that of a title"
            return name
        texts = [
            facts
            for name in self._free
            if (facts := self._facts[name]).count >= MIN_ROWS
            and facts.filled > 0.9
            and facts.distinct > 0.9 * len(facts.texts)
            and 1.5 <= facts.mean_words <= 20
            and facts.address_share == 0
            and normalized(name) not in DESCRIPTION_NAMES
            and share(facts.texts, starts_with_letter) > 0.8
        ]
        if texts:
            name = max(texts, key=lambda facts: facts.distinct).name
            self.why[name] = "not named like a title, but every row has its own short text in it"
            return name
        return None

    def _description_column(self) -> str | None:
        candidates = self._ranked(DESCRIPTION_NAMES)
        endings = [
            name
            for name in self._free
            if normalized(name).endswith(("description", "beschreibung", "descrizione", "描述"))
        ]
        for name in [*candidates, *(each for each in endings if each not in candidates)]:
            facts = self._facts[name]
            if facts.count == 0 or (facts.texts and facts.address_share < 0.5):
                self.why[name] = "named like a description"
                return name
        for name in self._free:
            facts = self._facts[name]
            html = share(facts.texts, lambda text: TAG.search(text) is not None)
            if facts.texts and html > 0.5 and facts.mean_words > 12:
                self.why[name] = "long texts with HTML"
                return name
        return None

    def _is_short(self, name: str) -> bool:
        """Return whether a column holds a few words for each row, as titles do."""
        facts = self._facts[name]
        has_tags = share(facts.texts, lambda text: TAG.search(text) is not None) > 0
        return facts.filled > 0.5 and facts.mean_words <= 8 and not has_tags

    def _category_columns(self) -> list[str]:
        candidates = self._ranked(CATEGORY_NAMES)
        if candidates:
            # Google's number of a category says less than a path.
            candidates.sort(key=lambda each: share(self._facts[each].texts, str.isdigit) > 0.5)
            self.why[candidates[0]] = "named like a category"
            return candidates[:1]
        numbered = sorted(
            name for name in self._free if CATEGORY_LEVELS.fullmatch(normalized(name))
        )
        if len(numbered) > 1:
            self.why |= dict.fromkeys(numbered, "a level of the category")
            return numbered
        endings = [
            name
            for name in self._free
            if normalized(name).endswith(("category", "kategorie", "categoría", "catégorie"))
        ]
        if endings:
            self.why[endings[0]] = "its name ends like that of a category"
        return endings[:1]

    def _find_levels(self, name: str) -> None:
        """Find out what separates the levels of a category, and several categories."""
        facts = self._facts[name]
        for sign in LEVEL_SEPARATORS:
            least = 0.6 if sign in ("/", " | ") else 0.2
            if facts.texts and facts.share_with(sign) >= least:
                self.mapping = replace(self.mapping, category_separator=sign.strip())
                self.why[name] += f"; {sign.strip()!r} separates its levels"
                break
        for sign in ("|", ";"):
            if facts.share_with(sign) > 0 and sign != self.mapping.category_separator:
                self.mapping = replace(self.mapping, category_multi=sign)
                self.why[name] += f"; {sign!r} separates several categories"
                return
        separator = self.mapping.category_separator
        several = separator and any(paths_by_comma(text, separator) for text in facts.texts)
        if not several and bare(name) in CATEGORY_PLURALS:
            several = any(is_list_of_paths(text, separator or ">") for text in facts.texts)
            several = several or list_separator(facts.texts) == ","
        if several:
            self.mapping = replace(self.mapping, category_multi=",")
            self.why[name] += "; commas separate several categories"

    def _image_columns(self) -> list[str]:
        found = []
        for name in self._free:
            facts = self._facts[name]
            is_named = IMAGE_NAMES.fullmatch(normalized(name)) is not None
            if facts.texts and facts.image_share >= 0.8:
                found.append(name)
                self.why[name] = "holds addresses or paths of image files"
            elif is_named and (facts.count == 0 or facts.image_share + facts.address_share > 0):
                found.append(name)
                self.why[name] = "named like images, and holds addresses"
            elif (
                is_named and facts.texts and facts.mean_words == 1 and not are_numbers(facts.texts)
            ):
                found.append(name)
                self.why[name] = "named like images"
        return found

    def _parent_column(self) -> str | None:
        for name in self._ranked(PARENT_NAMES):
            self.why[name] = "names the product that a row is a variant of"
            return name
        return None

    # ---- values ---------------------------------------------------------------------------------

    def find_unit_columns(self) -> None:
        """Recognise columns that hold the units of the numbers in another."""
        self._find_shared_units()
        names = {normalized(name): name for name in self._free}
        for name in list(self._free):
            for ending in UNIT_ENDINGS:
                unit = names.get(normalized(ending.replace("{name}", name)))
                if unit is not None and unit != name and unit in self._free:
                    self._say(name, unit_column=unit)
                    self.why[unit] = f"the unit of {name!r}"
                    self._free.remove(unit)
                    break

    def _find_shared_units(self) -> None:
        """Recognise units of several columns: those of "Gewichtseinheit" and "weight unit"."""
        for unit in list(self._free):
            match = _SHARED_UNIT.fullmatch(normalized(unit))
            texts = self._facts[unit].texts
            if match is None or not texts or share(texts, has_digit) > 0:
                continue
            measured = [
                name
                for name in self._free
                if name != unit
                and normalized(name).endswith(match[1])
                and are_numbers(self._facts[name].texts)
            ]
            if not measured or match[1] in map(normalized, measured):
                # The column of just that name is found by its ending.
                continue
            for name in measured:
                self._say(name, unit_column=unit)
            self.why[unit] = f"the unit of {', '.join(map(repr, measured))}"
            self._free.remove(unit)

    def find_units(self) -> None:
        """Recognise units in the names of columns, whose cells then need none."""
        known = {normalized(name) for name in self._facts}
        for name in self._free:
            found = unit_in_name(name)
            if found is None or normalized(found[0]) in known:
                continue
            if self.mapping.settings_of(name).unit or self.mapping.settings_of(name).unit_column:
                continue
            facts = self._facts[name]
            if facts.texts and share(facts.texts, has_digit) < 0.5:
                continue
            self._say(name, property=found[0], unit=found[1])
            self.why[name] = f"the property {found[0]!r}, in {found[1]}"

    def find_packed(self) -> None:
        """Recognise columns whose cells hold properties, as JSON or as pairs of name and value."""
        for name in self._free:
            texts = self._facts[name].texts
            if texts and share(texts, is_json) > 0.5:
                packed = (*self.mapping.packed, PackedColumn(name, json=True))
                self.mapping = replace(self.mapping, packed=packed)
                self.why[name] = "its cells are JSON, whose members become properties"
                continue
            pairs = find_packed(name, texts) if texts else None
            if pairs is not None:
                self.mapping = replace(self.mapping, packed=(*self.mapping.packed, pairs))
                self.why[name] = (
                    f"its cells hold properties: name{pairs.pair}value, parted by {pairs.item!r}"
                )

    def find_lists(self) -> None:
        """Recognise columns whose cells hold several values, by values that come up again."""
        for name in self._free:
            packed = any(matches(name, packed.column) for packed in self.mapping.packed)
            if packed or self.mapping.settings_of(name).multi is not None:
                continue
            separator = list_separator(self._facts[name].texts)
            if separator is not None and separator != self.mapping.multi:
                self._say(name, multi=separator)
                sign = "commas" if separator == "," else repr(separator)
                self.why[name] = f"{sign} separate values that come up in other rows, too"

    # ---- helpers --------------------------------------------------------------------------------

    def _say(self, name: str, **said: Any) -> None:
        """Add something to the settings of a column."""
        settings = dict(self.mapping.settings)
        settings[name] = replace(settings.get(name, ColumnSettings()), **said)
        self.mapping = replace(self.mapping, settings=tuple(settings.items()))

    def _take(self, names: Iterable[str]) -> None:
        taken = set(names)
        self._free = [name for name in self._free if name not in taken]

    def _by_name(self, names: Sequence[str]) -> str | None:
        return next(iter(self._ranked(names)), None)

    def _ranked(self, names: Sequence[str]) -> list[str]:
        """Return the free columns of these names, in the order of the names."""
        places = {name.casefold(): at for at, name in reversed(list(enumerate(names)))}
        prefix = len(self._prefix)

        def place(name: str) -> int | None:
            found = places.get(normalized(name), places.get(bare(name)))
            if found is None and (prefix or ":" in name):
                found = places.get(bare(name[prefix:].rpartition(":")[2]))
                # Names as they are go first.
                return None if found is None else found + len(names)
            return found

        found = [(at, name) for name in self._free if (at := place(name)) is not None]
        # Of equals, the first in the source.
        return [name for _, name in sorted(found, key=lambda each: each[0])]


def _common_prefix(columns: Sequence[str]) -> str:
    """Return what all columns' names begin with, as tables of databases have it: "OX", "prod_"."""
    names = [name.casefold() for name in columns if name]
    if len(names) < MIN_PREFIXED:
        return ""
    # What the first and the last in order have in common, all between have, too.
    first, last = min(names), max(names)
    same = next((at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), 0)
    return first[:same] if same > 1 else ""


def _with_role(mapping: Mapping, role: str, names: tuple[str, ...]) -> Mapping:
    """Return the mapping with the exact columns of a role."""
    fields: dict[str, Any] = {role: names}
    return replace(mapping, **fields, optional=mapping.optional - {role})


_IGNORED = frozenset(map(normalized, IGNORED_NAMES))
_SHARED_UNIT = re.compile(r"(.{4,}?)s?(?:unit|uom|unitofmeasure|einheit)")
