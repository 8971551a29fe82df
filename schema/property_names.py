"""What a property's name says about its values: ``weight_kg``, ``Gewicht (g)``, ``Preis EUR``."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from schema.currencies import find_currency
from schema.units import Unit, find_unit

# Stems of words for what is measured, without accents and case.
_DIMENSION_STEMS = {
    "mass": (
        "weight wt mass gewicht poids peso masse gewichts vaha waga вес масса netto brutto "
        "net gross fullmenge fuellmenge ves 重量 净重 毛重 무게 agirlik hmotnost vikt vaegt"
    ),
    "length": (
        "length width height depth diameter thickness lange laenge breite hohe hoehe tiefe "
        "durchmesser dicke longueur largeur hauteur profondeur epaisseur diametre longitud "
        "ancho anchura altura alto profundidad grosor lunghezza larghezza altezza "
        "profondita spessore dlugosc szerokosc wysokosc glebokosc delka sirka vyska hloubka "
        "длина ширина высота глубина диаметр толщина screen display bildschirm diagonale "
        "diagonal inseam waist chest radius abmessung 长度 宽度 高度 长 宽 高 直径 厚度 "
        "屏幕尺寸 幅 高さ 奥行 길이 너비 높이 distance"
    ),
    "volume": (
        "volume capacity inhalt volumen fassungsvermogen contenance capacite capacidad "
        "capacita pojemnosc objem объем емкость 容量 体积 容積 용량 content fillvolume"
    ),
    "time": (
        "time duration runtime laufzeit dauer duree duracion durata battery life garantie "
        "warranty guarantee garantia garanzia gwarancja гарантия время срок 时间 保修 alter "
        "age zeit"
    ),
    "power": (
        "power leistung wattage puissance potencia potenza moc vykon мощность 功率 출력 consumption"
    ),
    "voltage": ("voltage spannung tension voltaje voltaggio napiecie napeti напряжение 电压"),
    "current": ("current strom courant corriente corrente prad proud ток 电流 amperage"),
    "temperature": (
        "temperature temperatur temperatura temp teplota температура 温度 온도 kelvin "
        "farbtemperatur colortemperature"
    ),
    "data": (
        "memory storage ram speicher memoire memoria pamiec pamet память 内存 存储 "
        "festplatte ssd capacity kapazitat"
    ),
    "frequency": (
        "frequency frequenz frequence frecuencia frequenza clock takt refresh частота 频率"
    ),
    "magnetic flux density": ("magnetic magnet flux gauss magnetisch magnetique"),
    "capacitance": ("capacitance kapazitat capacitor"),
}


def _fold(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text.casefold())
    return "".join(each for each in letters if not unicodedata.combining(each))


_STEMS = [
    (_fold(stem), dimension)
    for dimension, stems in _DIMENSION_STEMS.items()
    for stem in stems.split()
]
_PRICE_WORD = re.compile(
    r"pri[cx]|preis|precio|prezzo|preco|prijs|cena|cost|kosten|kost|rrp|msrp|uvp|amount|betrag|fee|"
    r"цена|стоимость|价|價|価格|가격|fiyat|hinta|pris\b"
)
_BRACKETS = re.compile(r"[(\[{（【]([^()\[\]{}（）【】]{1,16})[)\]}）】]\s*\Z")
_LAST_WORD = re.compile(
    r"(?:[\s_\-/,.:]+(?:in\s+)?|(?<=[a-z])(?=[A-Z]))([A-Za-zµμ°%€$£²³/]{1,10})\Z"
)
_UNIT_OF_ITSELF = frozenset(
    "mm cm kg mg ml cl dl km lb lbs oz GB TB MHz GHz kHz kWh mAh kW dB Wh".split()
)
"""Last words of a name that are nothing but units; others need a word for what is measured."""


@dataclass(frozen=True, slots=True)
class NameHint:
    """The dimension, unit and currency that a property's name speaks of."""

    dimension: str | None = None
    unit: Unit | None = None
    currency: str | None = None


def name_hint(name: str) -> NameHint:
    """Return what a property's name says about its values."""
    bracketed = _BRACKETS.search(name)
    last = None if bracketed else _LAST_WORD.search(name)
    words = name[: (bracketed or last).start()] if (bracketed or last) else name  # type: ignore[union-attr]
    dimensions = _dimensions_of(words)
    spelling = bracketed[1].strip() if bracketed else last[1] if last else ""
    dimension = dimensions[0] if dimensions else None
    if not spelling:
        return NameHint(dimension)
    currency = find_currency(spelling)
    is_code = len(spelling) == 3 and spelling.isupper()
    if currency is not None and (bracketed or is_code or _PRICE_WORD.search(_fold(words))):
        return NameHint(dimension, currency=currency)
    for each in dimensions:
        unit = find_unit(spelling, each)
        if unit is not None and unit.dimension == each:
            return NameHint(each, unit)
    unit = find_unit(spelling)
    # In "Size (L)" and "price_min" the last word is no unit.
    is_certain = bool(bracketed) and len(spelling) > 1 and spelling.casefold() not in ("min", "max")
    if unit is not None and (is_certain or spelling in _UNIT_OF_ITSELF or spelling == "%"):
        return NameHint(unit.dimension, unit)
    return NameHint(
        _dimensions_of(name)[0] if dimension is None and _dimensions_of(name) else dimension
    )


def _dimensions_of(name: str) -> list[str]:
    """Return the dimensions that a name has words for, the last word's first."""
    folded = _fold(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name))
    found: dict[str, int] = {}
    for stem, dimension in _STEMS:
        is_word = stem.isascii() and len(stem) < 5
        position = -1
        for place in re.finditer(rf"\b{stem}\b" if is_word else stem, folded.replace("_", " ")):
            position = place.start()
        if position >= 0:
            found[dimension] = max(position, found.get(dimension, -1))
    return sorted(found, key=lambda each: -found[each])
