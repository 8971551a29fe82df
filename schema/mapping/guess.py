"""Which mapping fits a source: a shipped one by its rules, or one made from what the rows show."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from schema.errors import MappingError
from schema.mapping.evidence import Sample
from schema.mapping.generic import adapted, generic_mapping
from schema.mapping.lexicon import ID_NAMES, TITLE_NAMES
from schema.mapping.model import GuessRules, Head, Mapping
from schema.mapping.names import bare, is_pattern, listed, matches, normalized
from schema.mapping.parse import is_shipped, load_mapping, shipped_mappings
from schema.mapping.resolve import resolve

GENERIC = "generic"
_TITLES = frozenset(TITLE_NAMES)
_QUERY_NAMES = frozenset(
    """query searchquery searchterm searchterms searchphrase keyword querytext queryid
    suchbegriff suchanfrage requête termederecherche consulta запрос 搜索词 検索語""".split()
)
_QUERY_COUNTS = frozenset(
    """impressions clicks purchases conversions ctr views addtocarts carts esclabel escilabel
    relevance relevancelabel klicks aufrufe käufe impresiones clics показы клики""".split()
)
_ORDER_IDS = frozenset(
    """orderid orderno ordernumber orderref invoiceid invoiceno invoicenumber transactionid
    bestellid auftragsnummer rechnungsnummer numérodecommande numerocommande numeropedido
    idpedido numeroordine номерзаказа 订单号 注文番号""".split()
)
_ORDER_PARTS = frozenset(
    """customer customerid customername customeremail email quantity qty orderdate invoicedate
    kunde kundennummer menge bestelldatum client quantité cliente cantidad quantità total
    покупатель количество 数量 客户""".split()
)


@dataclass(frozen=True)
class Guess:
    """A guessed mapping, the reason for it, and why each column is read as it is."""

    mapping: Mapping
    reason: str
    why: dict[str, str] = field(default_factory=dict)


def guess_mapping(head: Head, sample: Sample | None = None) -> Guess:
    """Return the mapping that fits the first rows of a source, and why.

    ``sample`` are rows of sources whose head has none, such as JSON. Raises MappingError if no
    mapping fits.
    """
    if not head.rows:
        raise MappingError(f"{head.name} is empty: it has no row to guess a mapping from")
    sample = sample or sample_of(head)
    for name in shipped_mappings():
        mapping = load_mapping(name)
        reason = _reason_to_guess(mapping, head, sample)
        if reason:
            found = None if mapping.header is False else adapted(mapping, sample)
            if found is None:
                return Guess(mapping, reason)
            return Guess(found.mapping, reason, found.why)

    columns = head.rows[0]
    has_header = head.header and (head.header_found or not _is_data(columns))
    if not head.named and not has_header:
        raise MappingError(
            f"{head.name} seems to have no header (its first row is {listed(columns)}): "
            "name its columns in a mapping file (header = false, columns = [...])"
        )
    _refuse_events(head, sample)
    return guess_generic(sample)


def _refuse_events(head: Head, sample: Sample) -> None:
    """Raise MappingError if a source holds what happened to products, and not products.

    Nobody would notice if each query or order became an item.
    """
    names = {bare(name) for name in sample.columns}
    if names & _TITLES:
        return
    if names & _QUERY_NAMES and names & _QUERY_COUNTS:
        raise MappingError(
            f"{head.name} looks like a query log, not like a catalogue: load it with "
            "`catalograph queries`, or name its id column in a mapping file if its rows are items"
        )
    if names & _ORDER_IDS and names & _ORDER_PARTS:
        raise MappingError(
            f"{head.name} looks like a list of orders, no catalogue: if its rows are items, name "
            'its id column in a mapping file (`--mapping FILE.toml`, id = "...")'
        )


def guess_generic(sample: Sample) -> Guess:
    """Return the generic mapping as the columns and the first rows of a source suggest it.

    Raises MappingError if no column could be the id.
    """
    generic = load_mapping(GENERIC)
    found = generic_mapping(generic, sample)
    if found.mapping.triples is None and found.mapping.id == generic.id:
        # Called for its error alone.
        resolve(generic, sample.columns)
    return Guess(found.mapping, f"no other mapping fits its columns; {found.reason}", found.why)


def adapt_mapping(mapping: Mapping, sample: Sample) -> Guess:
    """Return a mapping that the user chose for a source, with what only the source itself tells.

    The generic one is made from the columns and the first rows; a file of the user's own says all
    that there is to say.
    """
    why = "as requested"
    if mapping.header is False:
        return Guess(mapping, why)
    if mapping == load_mapping(GENERIC):
        guess = guess_generic(sample)
        return Guess(guess.mapping, f"{why}; {guess.reason.partition('; ')[2]}", guess.why)
    if is_shipped(mapping):
        found = adapted(mapping, sample)
        return Guess(found.mapping, why, found.why)
    return Guess(mapping, why)


def sample_of(head: Head) -> Sample:
    """Return the first rows of a table that has no sample of its own.

    Of columns without a name, ``column_N`` is that of the N-th.
    """
    header = head.rows[0]
    names = tuple(
        name.strip().strip("\ufeff") or f"column_{position}"
        for position, name in enumerate(header, 1)
    )
    unnamed = frozenset(
        f"column_{position}" for position, name in enumerate(header, 1) if not name.strip()
    )
    if head.named:
        return Sample(names, (), unnamed)
    width = len(names)
    rows = tuple(tuple(row) for row in head.rows[1:] if len(row) == width)
    return Sample(names, rows, unnamed)


def _reason_to_guess(mapping: Mapping, head: Head, sample: Sample) -> str | None:
    """Return why one of a mapping's guessing rules fits a source; None if none does."""
    names = {normalized(name) for name in sample.columns}
    for rules in mapping.guess:
        reason = _fits(rules, mapping, head, names)
        if reason is not None:
            return reason
    return None


def _fits(rules: GuessRules, mapping: Mapping, head: Head, names: set[str]) -> str | None:
    header = head.rows[0]
    if rules.columns and all(_has(names, name) for name in rules.columns):
        if rules.any and not any(_has(names, name) for name in rules.any):
            return None
        return f"its header has {listed(rules.columns)}"
    if rules.starts and header[: len(rules.starts)] == rules.starts:
        return f"its header starts with {listed(rules.starts)}"

    same_delimiter = not mapping.delimiter or mapping.delimiter == head.delimiter
    if rules.pattern is None or head.named or not same_delimiter:
        return None
    cells = [row[rules.cell] for row in head.rows if rules.cell < len(row) == rules.width]
    matching = sum(bool(re.search(rules.pattern, cell)) for cell in cells)
    # More than half: a few malformed rows must not hide the format.
    if matching * 2 > len(head.rows):
        return f"it has {rules.width} columns and column {rules.cell + 1} holds {rules.pattern!r}"
    return None


def _has(names: set[str], name: str) -> bool:
    """Return whether there is a column of that name, or one below it in a record."""
    if is_pattern(name):
        return any(matches(each, name) for each in names)
    wanted = normalized(name)
    return wanted in names or any(each.startswith(f"{wanted}.") for each in names)


def _is_data(columns: Sequence[str]) -> bool:
    """Return whether a first row looks like an item rather than like a header."""
    if any(normalized(name) in ID_NAMES for name in columns):
        return False
    return any(_looks_like_data(cell) for cell in columns)


def _looks_like_data(cell: str) -> bool:
    return bool(re.fullmatch(r"[-+]?\d[\d.,]*|https?://.*", cell.strip()))
