"""Which character encoding a text is in.

A byte-order mark says it, and so do the NULs of UTF-16 and UTF-32. Text that is valid UTF-8 is
UTF-8, for other encodings hardly ever look like it. What remains is one of some dozens of encodings
in which almost any bytes are valid, so the letters are compared with those of languages: in the
right encoding nearly all belong to one, and signs such as ``³`` do not stand within words.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from schema.errors import DataError

_MAX_EVIDENCE = 20_000
"""Bytes of lines with signs beyond ASCII that are looked at: more do not change the result."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    # Before UTF-16, whose mark it starts with.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WIDE = {"utf-16": ("utf-16-le", "utf-16-be"), "utf-32": ("utf-32-le", "utf-32-be")}

_OTHER_FILES = (
    (b"PK\x03\x04", "a ZIP archive, such as an Excel workbook: save it as CSV, or name it .xlsx"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook or other Office document: save it as CSV"),
    (b"%PDF", "a PDF document: export the table as CSV"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"GIF8", "an image"),
    (b"PAR1", "a Parquet file: name it .parquet"),
    (b"\x1f\x8b", "compressed by gzip"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive: unpack it"),
    (b"Rar!", "a RAR archive: unpack it"),
    (b"SQLite format 3", "an SQLite database: export the table as CSV"),
)
_PAGE = re.compile(rb"\s*<(?:!doctype\s+html|html|table|\?xml)", re.IGNORECASE)


@dataclass(frozen=True)
class Encoding:
    """A text's encoding: Python's name for it, the length of its byte-order mark, and why."""

    name: str
    mark_bytes: int = 0
    reason: str = ""


@dataclass(frozen=True)
class _Language:
    """A language in a legacy encoding: the encoding, and its letters other than ASCII's.

    Several languages together explain more than one does, so they have a lower ``weight``.
    Of ``letters``, the ``rare`` ones make up about a tenth of a text. They tell apart encodings of
    the same script, in each of which every byte is some letter.
    """

    encoding: str
    letters: frozenset[str]
    rare: frozenset[str] = frozenset()
    weight: float = 1.0


def _language(encoding: str, letters: str, rare: str = "", weight: float = 1.0) -> _Language:
    return _Language(encoding, _both_cases(letters + rare), _both_cases(rare), weight)


def _both_cases(letters: str) -> frozenset[str]:
    # Not str.upper() of the whole: that of "ß" is "SS".
    upper = {letter.upper() for letter in letters if len(letter.upper()) == 1}
    return frozenset(letters) | upper


_CYRILLIC = ("абвгдезийклмнопрстуцчыья", "жфхшщъэюёіїєґўђћјљњџѓќ№")
_GREEK = ("αγδεηικλμνοπρσςτυωάέίόή", "βζθξφχψύώϊϋΐΰ")
_HEBREW = ("אבדהוחילםכמןנעפקרשת", "גזטךףץצס")
_ARABIC = ("ابتدرسعفقكلمنهويةأح", "ءآؤإئثجخذزشصضطظغىپچژگ،؛؟ـ")
_THAI = ("กขคงจชดตทนบปพมยรลวสหอะาิีืุูเแโใไ่้็์ั", "ฃฅฆฉซฌญฎฏฐฑฒณถธผฝฟภฤฦศษฬฮฯำึฺ฿ๅๆ๊๋ํ๎")

_WESTERN = "äöüßéèêëàâçîïôùûœáíóúñåæøãõì"

# In the order of how likely they are before a byte is seen. Of encodings in which a text reads
# equally well, the first is taken.
_LANGUAGES = (
    _language("cp1252", "äöüß"),
    _language("cp1252", "éèêëàâçîïôùûœ"),
    _language("cp1252", "áéíóúñüç¿¡ºª"),
    _language("cp1252", "àèéìòù"),
    _language("cp1252", "áâãàçéêíóôõú"),
    _language("cp1252", "åäöéæø"),
    _language("cp1252", "éëïóöüèê"),
    _language("cp1252", _WESTERN, weight=0.97),
    _language("iso8859-15", _WESTERN, weight=0.96),
    _language("cp1250", "ąćęłńóśźż"),
    _language("cp1250", "áčďéěíňóřšťúůýž"),
    _language("cp1250", "áäčďéíĺľňóôŕšťúýž"),
    _language("cp1250", "áéíóöőúüű"),
    _language("cp1250", "čćđšž"),
    _language("cp1250", "ăâîşţ"),
    _language("cp1254", "çğıöşüâîİ"),
    _language("cp1257", "ąčęėįšųūž"),
    _language("cp1257", "āčēģīķļņšūž"),
    _language("cp1252", "äöüõšž"),
    _language("cp1252", "áðéíóúýþæö"),
    _language("cp1251", *_CYRILLIC),
    _language("cp1253", *_GREEK),
    _language("cp1255", *_HEBREW),
    _language("cp1256", *_ARABIC),
    _language("cp874", *_THAI),
    _language("koi8_r", *_CYRILLIC),
    _language("iso8859-2", "ąćęłńóśźžż"),
    _language("iso8859-2", "áčďéěíňóřšťúůýžäöüőű"),
    _language("iso8859-5", *_CYRILLIC),
    _language("iso8859-7", *_GREEK),
    _language("cp866", *_CYRILLIC),
    _language("cp850", _WESTERN, weight=0.95),
    _language("cp852", "áčďéěíňóřšťúůýžąćęłńśźżäöüőű"),
    _language("mac_roman", _WESTERN, weight=0.95),
)
_SIGNS = frozenset("€£¥©®™°²³½¼¾×–—‒“”„‚‘’‹›«»…§µ·•±†‰\u00a0№¹ªº´÷Ω≤≥√")
_SIGNS_WITHIN_WORDS = frozenset("’‘´·\u00a0–\u2011")
_FIRST_OTHER_SCRIPT = "\u0370"
"""The first letter that is not Latin."""

_WITH_SIGNS_ALONE = frozenset({"cp1252", "iso8859-15"})
"""Encodings that are thought of if a text has signs such as ``€``, but no letters."""

_RARE_WEIGHT = 0.5
_LEAST_SCORE = 0.75
"""How well a text has to read: words of one language have more, those of a wrong encoding less."""

_UTF8_SEQUENCE = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
)
_NOT_ASCII = re.compile(rb"[\x80-\xff]")


def find_encoding(data: bytes, name: str) -> Encoding:
    """Return the encoding of the text that starts with ``data``; ``name`` is the file's.

    Raises DataError if it is no text.
    """
    for start, what in _OTHER_FILES:
        if data.startswith(start):
            raise DataError(f"{name} is no text but {what}")
    if _PAGE.match(data.removeprefix(codecs.BOM_UTF8)):
        raise DataError(f"{name} is a page or document of markup, not a delimited text: export CSV")
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return Encoding(encoding, len(mark), "by its byte-order mark")
    if b"\0" in data:
        wide = _find_wide(data)
        if wide is not None:
            return wide
    _check_is_text(data, name)
    return _find_narrow(data)


def given_encoding(encoding: str, data: bytes) -> Encoding:
    """Return an encoding that was given for the text that starts with ``data``."""
    known = codecs.lookup(encoding).name
    known = "utf-8" if known == "utf-8-sig" else known
    for mark, marked in _MARKS:
        # Only of this encoding: in any other, these bytes are signs.
        if data.startswith(mark) and (known == marked or marked in _WIDE.get(known, ())):
            return Encoding(marked, len(mark), "as given")
    if known in _WIDE:
        wide = _find_wide(data)
        is_same_width = wide is not None and wide.name.startswith(known)
        known = wide.name if wide and is_same_width else _WIDE[known][0]
    return Encoding(known, 0, "as given")


def encoding_label(encoding: str) -> str:
    """Return the name of an encoding as people write it."""
    return encoding.upper() if encoding.startswith("utf") else encoding


def _find_wide(data: bytes) -> Encoding | None:
    """Return UTF-16 or UTF-32 if the NULs are where they are in its ASCII letters."""
    if _controls(data) * 5 < 2 * len(data) and _is_utf8(data):
        # Some NULs are damage. Of two bytes a letter one is a control in most alphabets (0 in
        # Latin, 4 in Cyrillic), and in all others the bytes are no UTF-8.
        return None
    data = data[: len(data) // 4 * 4]
    for encoding, width in (
        ("utf-32-le", 4),
        ("utf-32-be", 4),
        ("utf-16-le", 2),
        ("utf-16-be", 2),
    ):
        newline = "\n".encode(encoding)
        newline_or_return = (newline, "\r".encode(encoding))
        units = {data[at : at + width] for at in range(0, min(len(data), 40_000), width)}
        if not any(each in units for each in newline_or_return):
            continue
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError as error:
            # The last sign may be cut in two.
            if error.start < len(data) - 4:
                continue
            text = data[: error.start].decode(encoding)
        if text.count("\0") * 100 <= len(text) and _looks_written(text):
            return Encoding(encoding, 0, "by the places of its NULs")
    return None


def _is_utf8(data: bytes) -> bool:
    """Return whether bytes are UTF-8; the last sign may be cut."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.start >= len(data) - 3
    return True


def _looks_written(text: str) -> bool:
    """Return whether text consists of letters and usual signs, not of what bytes happen to give."""
    sample = text[:20_000]
    usual = sum(
        sign.isprintable() or sign in "\r\n\t"
        for sign in sample
        if not "\ue000" <= sign <= "\uf8ff"
    )
    return usual >= 0.95 * len(sample)


def _controls(data: bytes) -> int:
    """Return how many bytes are control characters that no text has."""
    return sum(data.count(bytes([code])) for code in (*range(9), *range(14, 27), *range(28, 32)))


def _check_is_text(data: bytes, name: str) -> None:
    controls = _controls(data)
    # A few NULs are damage in a row, which costs that row.
    if controls > max(20, len(data) // 20) or controls == len(data.strip()) > 0:
        raise DataError(
            f"{name} is no text: {controls:,} of its first {len(data):,} bytes are NULs and other "
            'control characters (for UTF-16 without a mark: encoding = "utf-16" in a mapping file)'
        )


def _find_narrow(data: bytes) -> Encoding:
    """Return UTF-8, or the encoding in which the text reads best."""
    if data.isascii():
        return Encoding("utf-8", 0, "all signs are ASCII")
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(data)
    except UnicodeDecodeError:
        pass
    else:
        return Encoding("utf-8", 0, "it is valid")

    evidence = _evidence(data)
    rest, sequences = _UTF8_SEQUENCE.subn(b"", evidence)
    broken = len(_NOT_ASCII.findall(rest))
    if sequences >= broken:
        return Encoding("utf-8", 0, "it is valid but for some bytes")
    best = max(
        (*_single_byte_scores(evidence), *_multibyte_scores(evidence)),
        # max() takes the first of equals.
        key=lambda scored: scored.score,
    )
    if best.score >= _LEAST_SCORE:
        return Encoding(best.encoding, 0, "its letters read best so")
    guess = _guess_otherwise(evidence)
    if guess is not None:
        return Encoding(guess, 0, "its letters read best so")
    return Encoding("utf-8", 0, "no encoding gives text that reads well")


@dataclass(frozen=True)
class _Scored:
    """How well a text reads in an encoding: 1 is best."""

    encoding: str
    score: float


def _evidence(data: bytes) -> bytes:
    """Return whole lines of a text that have other signs than ASCII's."""
    lines: list[bytes] = []
    size = 0
    for line in data.splitlines():
        if line.isascii():
            continue
        # A very long line may be cut in the middle of a sign, which is one of many.
        lines.append(line[:_MAX_EVIDENCE])
        size += len(line)
        if size > _MAX_EVIDENCE:
            break
    # The last line of the data may be cut in the middle of a sign.
    if len(lines) > 1 and not data.endswith((b"\n", b"\r")):
        lines.pop()
    return b"\n".join(lines)


def _single_byte_scores(evidence: bytes) -> Iterable[_Scored]:
    texts: dict[str, str | None] = {}
    for language in _LANGUAGES:
        encoding = language.encoding
        if encoding not in texts:
            texts[encoding] = _decoded(evidence, encoding)
        text = texts[encoding]
        if text is not None:
            yield _Scored(encoding, language.weight * _reading_score(text, language))


def _decoded(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        # A few broken bytes are damage, as they are in UTF-8.
        text = data.decode(encoding, errors="replace")
        damaged = text.count("\ufffd")
        return text if damaged * 50 < len(_NOT_ASCII.findall(data)) and error.start >= 0 else None


def _reading_score(text: str, language: _Language) -> float:
    """Return the share of signs other than ASCII's that a text in a language has in such places."""
    fitting = 0.0
    count = 0
    has_letter = language.encoding in _WITH_SIGNS_ALONE
    before = " "
    for at, sign in enumerate(text):
        if not sign.isascii():
            count += 1
            after = text[at + 1] if at + 1 < len(text) else " "
            if sign in language.letters:
                has_letter = True
                weight = _RARE_WEIGHT if sign in language.rare else 1.0
                fitting += weight * _is_letter_in_place(sign, before, after)
            elif sign in _SIGNS:
                within_word = before.isalpha() and after.isalpha()
                fitting += 1.0 if not within_word or sign in _SIGNS_WITHIN_WORDS else 0.0
            elif "\x80" <= sign <= "\x9f":
                # Control characters that nobody writes: letters of another encoding.
                fitting -= 2
        before = sign
    return max(0.0, fitting / count) if count and has_letter else 0.0


def _is_letter_in_place(sign: str, before: str, after: str) -> bool:
    """Return whether a letter stands where it does in words of its script."""
    if sign >= _FIRST_OTHER_SCRIPT:
        if sign.isupper() and before.isalpha() and before >= _FIRST_OTHER_SCRIPT:
            # Capitals alone are rare, and what KOI8-R looks like in cp1251.
            return False
        return not (_is_latin(before) or _is_latin(after))
    # As in "GrŸn", which is "Grün" in the wrong encoding.
    return not (sign.isupper() and before.islower())


def _is_latin(sign: str) -> bool:
    return sign.isascii() and sign.isalpha()


def _multibyte_scores(evidence: bytes) -> Iterable[_Scored]:
    # Hangul before Chinese, in whose commonest letters it also falls.
    for encoding, score in (
        ("cp949", _hangul),
        ("gb18030", _simplified),
        ("cp950", _traditional),
        ("cp932", _shifted_japanese),
        ("euc_jp", _japanese),
    ):
        text = _decoded(evidence, encoding)
        if text is None:
            continue
        counts = Counter(sign for sign in text if not sign.isascii())
        alone = _letters_between_latin(text)
        total = sum(counts.values())
        if total:
            fitting = sum(score(sign) * count for sign, count in counts.items())
            yield _Scored(encoding, max(0.0, fitting - alone) / total)


def _letters_between_latin(text: str) -> int:
    """Return how many signs stand in the middle of a Latin word, as in "Gr黱" for "Grün"."""
    return len(re.findall(r"(?<=[A-Za-z])[^\x00-\x7f](?=[A-Za-z]|\b|$)", text))


def _bytes_of(sign: str, encoding: str) -> int:
    """Return the two bytes of a sign as a number, or 0 if it does not have two."""
    try:
        data = sign.encode(encoding)
    except UnicodeEncodeError:
        return 0
    return int.from_bytes(data, "big") if len(data) == 2 else 0


def _hangul(sign: str) -> float:
    code = _bytes_of(sign, "cp949")
    if 0xB0A1 <= code <= 0xC8FE:
        return 1.0
    return 0.9 if 0xA1A1 <= code <= 0xA9FE and code & 0xFF >= 0xA1 else 0.2


def _simplified(sign: str) -> float:
    code = _bytes_of(sign, "gb18030")
    if 0xB0A1 <= code <= 0xD7F9 and code & 0xFF >= 0xA1:
        return 1.0
    if 0xA1A1 <= code <= 0xA3FE:
        return 0.9
    return 0.4 if 0xD8A1 <= code <= 0xF7FE and code & 0xFF >= 0xA1 else 0.1


def _traditional(sign: str) -> float:
    code = _bytes_of(sign, "cp950")
    if 0xA440 <= code <= 0xC67E:
        return 1.0
    if 0xA140 <= code <= 0xA3BF:
        return 0.9
    return 0.4 if 0xC940 <= code <= 0xF9D5 else 0.1


def _shifted_japanese(sign: str) -> float:
    if "ぁ" <= sign <= "ヿ":
        return 1.0
    code = _bytes_of(sign, "cp932")
    if 0x889F <= code <= 0x9872:
        return 0.95
    if 0x8140 <= code <= 0x829A:
        return 0.9
    # Narrow Katakana: in Latin text these are single letters.
    return 0.6 if "｡" <= sign <= "ﾟ" else 0.2


def _japanese(sign: str) -> float:
    if "ぁ" <= sign <= "ヿ":
        return 1.0
    code = _bytes_of(sign, "euc_jp")
    if 0xB0A1 <= code <= 0xCFD3:
        return 0.95
    return 0.9 if 0xA1A1 <= code <= 0xA3FE else 0.2


def _guess_otherwise(evidence: bytes) -> str | None:
    """Return what charset-normalizer takes a text for, or None if it is unsure."""
    from charset_normalizer import from_bytes

    match = from_bytes(evidence).best()
    # Without a language that its letters are frequent in, it is a guess of the signs alone.
    if match is None or match.coherence < 0.5:
        return None
    return codecs.lookup(match.encoding).name
