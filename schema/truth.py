"""Truth values, in the words of several languages."""

from __future__ import annotations

import unicodedata

# A language a line: its true words, and its false ones.
_PAIRS = """
    yes y true | no n false
    ja wahr | nein falsch
    oui vrai | non faux
    sí si verdadero | no falso
    sì si vero | no falso
    sim verdadeiro | não nao falso
    ja waar | nee onwaar
    tak prawda | nie fałsz
    ano áno pravda | ne nie nepravda
    da adevărat | nu fals
    da točno | ne netočno
    ja sant sand | nej nei falskt falsk usant
    kyllä tosi | ei epätosi
    igen igaz | nem hamis
    jah tõene | ei väär
    jā patiess | nē nepatiess
    taip tiesa | ne netiesa
    ναι αληθές | όχι ψευδές
    evet doğru | hayır yanlış
    var | yok
    да истина верно | нет ложь неверно
    так істина | ні хибність
    да вярно | не невярно
    نعم صحيح | لا خطأ
    כן אמת | לא שקר
    हाँ सही | नहीं गलत
    có đúng | không sai
    ya benar | tidak salah
    ใช่ | ไม่ใช่
    是 有 真 对 | 否 无 假 错
    是 有 真 對 | 否 無 假 錯
    はい あり 有り 有 真 | いいえ なし 無し 無 偽
    예 네 있음 참 | 아니오 아니요 없음 거짓
    yes | no
    on | off
"""


def fold(text: str) -> str:
    """Return a text as it is compared with truth words: without case, in NFC."""
    return unicodedata.normalize("NFC", text.strip().casefold())


def _words() -> tuple[list[tuple[frozenset[str], frozenset[str]]], dict[str, bool]]:
    pairs = []
    truth: dict[str, bool] = {}
    for line in _PAIRS.strip().splitlines():
        true, false = (frozenset(map(fold, words.split())) for words in line.split("|"))
        pairs.append((true, false))
        # "on" and "off" are truth values beside each other only.
        truth.update(dict.fromkeys(false, False) | dict.fromkeys(true, True))
    return pairs, truth


PAIRS, _TRUTH = _words()
TRUE_WORDS = frozenset(word for word, truth in _TRUTH.items() if truth)
FALSE_WORDS = frozenset(word for word, truth in _TRUTH.items() if not truth)
_MAX_WORD = max(map(len, _TRUTH))

# A property that only says one of these could be a list of countries, languages or initials.
_CODES = frozenset("no si ja da ne nu ya ei y n on ano nie".split())


def parse_truth(text: str) -> bool | None:
    """Return the truth value that a text says; None if it says none."""
    if len(text) > _MAX_WORD + 2:
        return None
    return _TRUTH.get(fold(text))


def is_truth_property(words: frozenset[str], texts: frozenset[str]) -> bool:
    """Return whether a property is about what is true or false.

    ``words`` are its folded truth words, and ``texts`` the texts that they were. It is if it has
    both words of a language, or only words that are nothing else: ``NO`` beside ``DE`` is Norway.
    """
    if any(true & words and false & words for true, false in PAIRS):
        return True
    if any(word in ("on", "off") for word in words):
        return False
    are_codes = words <= _CODES and all(text.isupper() for text in texts)
    return bool(words) and not are_codes and len({_TRUTH[word] for word in words}) == 1
