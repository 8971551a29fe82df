"""Prices: numbers with a currency before or behind them, and their decimals left out (``12,-``)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from schema.numbers import NUMBER, parse_number

# ISO 4217 codes, and the signs and words that stand for each.
_CURRENCIES = """
    EUR € euro euros евро ευρώ
    USD $ us$ usd$ dollar dollars долл долларов
    GBP £ pound¤ stg
    JPY ¥ ￥ jp¥ yen 円 日本円 엔
    CNY cn¥ rmb 元 人民币 yuan
    INR ₹ rs rs. inr. rupees
    CHF sfr sfr. fr. chf. francs¤
    SEK kr¤ skr
    NOK nkr
    DKK dkr
    PLN zł zl złotych
    CZK kč kc
    HUF ft¤ forint
    RUB ₽ руб руб. р¤ рублей
    TRY ₺ tl
    BRL r$
    CAD c$ ca$ can$
    AUD a$ au$
    NZD nz$
    HKD hk$
    TWD nt$
    SGD s$
    KRW ₩ 원 won
    ILS ₪ nis
    RON lei ron.
    UAH ₴ грн грн.
    THB ฿ บาท
    VND ₫ đ
    PHP ₱
    MXN mx$
    ZAR zar.
    AED aed. د.إ
    SAR sar. ر.س
    BGN лв лв.
    IDR rp rp.
    MYR rm
    KZT ₸
    ISK isk.
    NGN ₦
"""


def _spellings() -> dict[str, str]:
    codes = {}
    for line in _CURRENCIES.strip().splitlines():
        code, *others = line.split()
        # What is marked is a unit or a word of its own as well.
        for spelling in (code.casefold(), *(each for each in others if not each.endswith("¤"))):
            codes[spelling] = code
    # Crowns of Sweden, Norway and Denmark share a sign: which of them it is, stays open.
    codes |= {"kr": "kr", "kr.": "kr"}
    return codes


_CODES = _spellings()
_WORD = "|".join(sorted(map(re.escape, _CODES), key=lambda word: (-len(word), word)))
PRICE_WORDS = _WORD
"""A regular expression of every sign, code and name of a currency."""
_PRICE = re.compile(
    rf"(?P<sign>[+\-\u2212])?(?P<before>{_WORD})?\s?(?P<number>{NUMBER})"
    rf"(?:[.,][-–—]{{1,2}})?\s?(?P<after>{_WORD})?\Z",
    re.IGNORECASE,
)
_MAX_LENGTH = 32


@dataclass(frozen=True, slots=True)
class Price:
    """A number, its text, and the code of its currency; None if it has none."""

    number: float
    digits: str
    currency: str | None


def parse_price(text: str, decimal_mark: str = ".") -> Price | None:
    """Return the price that a text is; None if it is none, or has two currencies."""
    if len(text) > _MAX_LENGTH:
        return None
    found = _PRICE.match(text)
    if found is None:
        return None
    number = parse_number(found["number"], decimal_mark)
    currencies = {_CODES[word.casefold()] for word in (found["before"], found["after"]) if word}
    is_signed_twice = found["sign"] and not found["number"][0].isdigit()
    if number is None or len(currencies) > 1 or is_signed_twice:
        return None
    if found["sign"] in ("-", "\u2212"):
        number = -number
    return Price(number, found["number"], currencies.pop() if currencies else None)


def find_currency(text: str) -> str | None:
    """Return the code of a currency's sign, code or name; None if it is none."""
    return _CODES.get(text.casefold().strip())
