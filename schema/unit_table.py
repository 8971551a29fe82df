"""The units of catalogues: their factors, and how they are spelled in several languages.

A row has the unit's symbol, the factor to its dimension's base unit, what pint calls it, and its
other spellings, separated by "|". Base units are those of the SI (of mass the kilogram), bytes for
data and pixels for images. The tests compare every factor with pint's, which takes two seconds to
load: more than the whole of most commands.
"""

from __future__ import annotations

from typing import NamedTuple


class UnitRow(NamedTuple):
    """A unit: ``factor * x + offset`` is a number x of it in the base unit of its dimension."""

    symbol: str
    factor: float
    pint: str
    spellings: str = ""
    offset: float = 0.0


UNIT_ROWS: dict[str, tuple[UnitRow, ...]] = {
    "length": (
        UnitRow("nm", 1e-9, "nanometer", "nanometer|nanometers|nanometre|nanometres"),
        UnitRow("µm", 1e-6, "micrometer", "um|micron|microns|micrometer|micrometre|мкм|微米"),
        UnitRow(
            "mm",
            1e-3,
            "millimeter",
            "millimeter|millimeters|millimetre|millimetres|millimètre|millimètres|milímetro"
            "|milímetros|millimetri|мм|毫米|ミリ|ミリメートル|밀리미터",
        ),
        UnitRow(
            "cm",
            1e-2,
            "centimeter",
            "centimeter|centimeters|centimetre|centimetres|zentimeter|centimètre"
            "|centimètres|centímetro|centímetros|centimetri|cms|см|厘米|公分|センチ"
            "|センチメートル|센티미터",
        ),
        UnitRow("dm", 1e-1, "decimeter", "decimeter|decimetre|dezimeter|дм|分米"),
        UnitRow(
            "m",
            1.0,
            "meter",
            "meter|meters|metre|metres|mètre|mètres|metro|metros|metri|mtr|mtrs|metr|metrów"
            "|м|метр|метра|метров|米|公尺|メートル|미터",
        ),
        UnitRow(
            "km",
            1e3,
            "kilometer",
            "kilometer|kilometers|kilometre|kilometres|kilomètre|kilomètres|kilómetro"
            "|kilómetros|km.|км|公里|千米|キロメートル",
        ),
        UnitRow(
            "in",
            0.0254,
            "inch",
            "inch|inches|inchs|\"|″|''|”|“|’’|′′|zoll|zölle|pouce|pouces|pulgada|pulgadas"
            "|pulg|pollice|pollici|polegada|polegadas|cale|cali|tum|tommer|tomme|palec"
            "|palce|hüvelyk|дюйм|дюйма|дюймов|дюйми|inç|英寸|英吋|吋|寸|インチ|인치",
        ),
        UnitRow(
            "ft",
            0.3048,
            "foot",
            "foot|feet|′|'|’|fuß|fuss|pied|pieds|piede|piedi|фут|фута|футов|英尺|呎|フィート|피트",
        ),
        UnitRow("yd", 0.9144, "yard", "yard|yards|yds|码|ヤード"),
        UnitRow("mi", 1609.344, "mile", "mile|miles|英里|マイル"),
    ),
    "area": (
        UnitRow("mm²", 1e-6, "millimeter**2", "mm2|mm^2|sq mm|sqmm|qmm|мм²|平方毫米"),
        UnitRow("cm²", 1e-4, "centimeter**2", "cm2|cm^2|sq cm|sqcm|qcm|см²|平方厘米"),
        UnitRow(
            "m²",
            1.0,
            "meter**2",
            "m2|m^2|sq m|sqm|qm|sq mt|square meter|square meters|square metre|square metres"
            "|quadratmeter|m carré|metro cuadrado|metros cuadrados|м²|м2|кв м|平方米|平米"
            "|㎡|平方メートル|제곱미터",
        ),
        UnitRow("km²", 1e6, "kilometer**2", "km2|km^2|sq km"),
        UnitRow("ha", 1e4, "hectare", "hectare|hectares|hektar|公顷"),
        UnitRow("in²", 0.00064516, "inch**2", "in2|in^2|sq in|sqin|square inch|square inches"),
        UnitRow(
            "ft²", 0.09290304, "foot**2", "ft2|ft^2|sq ft|sqft|square foot|square feet|平方英尺"
        ),
        UnitRow("acre", 4046.8564224, "43560*foot**2", "acres"),
    ),
    "mass": (
        UnitRow("µg", 1e-9, "microgram", "ug|mcg|microgram|micrograms|мкг|微克"),
        UnitRow(
            "mg",
            1e-6,
            "milligram",
            "milligram|milligrams|milligramm|milligramme|miligramo|мг|毫克|ミリグラム|밀리그램",
        ),
        UnitRow(
            "g",
            1e-3,
            "gram",
            "gram|grams|gramm|gramme|grammes|gramo|gramos|grammo|grammi|grama|gramas|gramů"
            "|gramów|gm|gms|gr|grs|grm|г|гр|грамм|граммов|грам|克|公克|グラム|그램",
        ),
        UnitRow(
            "kg",
            1.0,
            "kilogram",
            "kilogram|kilograms|kilogramm|kilogramme|kilogrammes|kilogramo|kilogramos"
            "|kilogrammi|kilo|kilos|kgs|kgr|quilo|quilos|кг|килограмм|килограммов|千克|公斤"
            "|キロ|キログラム|킬로그램",
        ),
        UnitRow(
            "t",
            1e3,
            "metric_ton",
            "tonne|tonnes|tonnen|metric ton|metric tons|тонна|тонн|吨|公吨|トン",
        ),
        UnitRow(
            "oz",
            0.028349523125,
            "ounce",
            "ounce|ounces|unze|unzen|onza|onzas|oncia|унция|унций|盎司|オンス",
        ),
        UnitRow(
            "lb",
            0.45359237,
            "pound",
            "lbs|pound|pounds|pfund|libra|libras|libbra|libbre|фунт|фунтов|磅|ポンド",
        ),
        UnitRow("carat", 2e-4, "carat", "carats|克拉|カラット|карат"),
    ),
    "volume": (
        UnitRow("µl", 1e-9, "microliter", "µL|ul|microliter|microlitre|мкл|微升"),
        UnitRow(
            "ml",
            1e-6,
            "milliliter",
            "mL|milliliter|milliliters|millilitre|millilitres|mililitro|mililitros"
            "|millilitri|cc|ccm|мл|毫升|ミリリットル|밀리리터",
        ),
        UnitRow(
            "cl",
            1e-5,
            "centiliter",
            "cL|centiliter|centiliters|centilitre|centilitres|zentiliter|сл",
        ),
        UnitRow("dl", 1e-4, "deciliter", "dL|deciliter|decilitre|deziliter"),
        UnitRow(
            "l",
            1e-3,
            "liter",
            "L|ℓ|liter|liters|litre|litres|litro|litros|litri|ltr|ltrs|lt|lit|litr|litrów"
            "|litry|litrů|л|литр|литра|литров|升|公升|リットル|리터",
        ),
        UnitRow("hl", 1e-1, "hectoliter", "hL|hectoliter|hektoliter|hectolitre"),
        UnitRow("mm³", 1e-9, "millimeter**3", "mm3|mm^3"),
        UnitRow("cm³", 1e-6, "centimeter**3", "cm3|cm^3|cu cm|см³|立方厘米"),
        UnitRow("dm³", 1e-3, "decimeter**3", "dm3|dm^3"),
        UnitRow(
            "m³",
            1.0,
            "meter**3",
            "m3|m^3|cbm|cu m|cubic meter|cubic meters|kubikmeter|м³|м3|立方米|㎥",
        ),
        UnitRow("in³", 1.6387064e-5, "inch**3", "in3|in^3|cu in|cubic inch|cubic inches"),
        UnitRow("ft³", 0.028316846592, "foot**3", "ft3|ft^3|cu ft|cuft|cubic foot|cubic feet"),
        UnitRow(
            "fl oz",
            2.95735295625e-5,
            "US_fluid_ounce",
            "floz|fl.oz|fl.oz.|fluid ounce|fluid ounces|fluid-ounce|fluid oz|us fl oz|液量盎司",
        ),
        UnitRow("pint", 4.73176473e-4, "US_pint", "pints"),
        UnitRow("qt", 9.46352946e-4, "US_liquid_quart", "quart|quarts|qts"),
        UnitRow("gal", 3.785411784e-3, "US_liquid_gallon", "gallon|gallons|gals|加仑|ガロン"),
        UnitRow("cup", 2.365882365e-4, "cup", "cups"),
        UnitRow("tbsp", 1.478676478125e-5, "tablespoon", "tablespoon|tablespoons"),
        UnitRow("tsp", 4.92892159375e-6, "teaspoon", "teaspoon|teaspoons"),
    ),
    "time": (
        UnitRow(
            "ms", 1e-3, "millisecond", "millisecond|milliseconds|millisekunde|millisekunden|мс|毫秒"
        ),
        UnitRow(
            "s",
            1.0,
            "second",
            "sec|secs|second|seconds|sek|sekunde|sekunden|seconde|secondes|segundo|segundos"
            "|secondi|сек|секунд|秒|초",
        ),
        UnitRow(
            "min",
            60.0,
            "minute",
            "mins|minute|minutes|minuten|minuto|minutos|minuti|minut|minuty|мин|минут"
            "|минуты|хв|分钟|分鐘|分|분",
        ),
        UnitRow(
            "h",
            3600.0,
            "hour",
            "hr|hrs|hour|hours|std|stunde|stunden|heure|heures|hora|horas|ora|ore|uur|uren"
            "|godz|godzin|timmar|tuntia|hodin|ч|час|часа|часов|小时|小時|時間|시간",
        ),
        UnitRow(
            "day",
            86400.0,
            "day",
            "days|tag|tage|tagen|jour|jours|día|días|giorno|giorni|dia|dias|dag|dagen|dagar"
            "|dni|dní|дн|день|дня|дней|天|日間",
        ),
        UnitRow(
            "week",
            604800.0,
            "week",
            "weeks|wk|wks|woche|wochen|semaine|semaines|semana|semanas|settimana|settimane"
            "|weken|tygodni|недель|недели|周|週間|주",
        ),
        UnitRow(
            "month",
            2629746.0,
            "gregorian_year/12",
            "months|mth|mths|monat|monate|monaten|mois|mes|meses|mese|mesi|mês|maand"
            "|maanden|miesiąc|miesiące|miesięcy|měsíců|månader|kuukautta|мес|месяц|месяца"
            "|месяцев|个月|個月|ヶ月|か月|개월",
        ),
        UnitRow(
            "year",
            31556952.0,
            "gregorian_year",
            "years|yr|yrs|jahr|jahre|jahren|an|ans|année|années|año|años|anno|anni|ano|anos"
            "|jaar|rok|lata|lat|roky|let|år|vuotta|yıl|год|года|лет|роки|年|년",
        ),
    ),
    "data": (
        UnitRow("KB", 1e3, "kilobyte", "kB|Ko|kilobyte|kilobytes"),
        UnitRow("MB", 1e6, "megabyte", "Mo|megabyte|megabytes|МБ"),
        UnitRow("GB", 1e9, "gigabyte", "Go|gigabyte|gigabytes|ГБ"),
        UnitRow("TB", 1e12, "terabyte", "To|terabyte|terabytes|ТБ"),
        UnitRow("KiB", 1024.0, "kibibyte"),
        UnitRow("MiB", 1048576.0, "mebibyte"),
        UnitRow("GiB", 1073741824.0, "gibibyte"),
        UnitRow("TiB", 1099511627776.0, "tebibyte"),
    ),
    "data rate": (
        UnitRow("kbit/s", 125.0, "kilobit/second", "kbps|kb/s|kbits/s"),
        UnitRow("Mbit/s", 1.25e5, "megabit/second", "Mbps|mbits/s|Mb/s"),
        UnitRow("Gbit/s", 1.25e8, "gigabit/second", "Gbps|gbits/s|Gb/s"),
        UnitRow("MB/s", 1e6, "megabyte/second", "MBps|MBytes/s|Mo/s"),
        UnitRow("GB/s", 1e9, "gigabyte/second", "GBps|Go/s"),
    ),
    "frequency": (
        UnitRow("Hz", 1.0, "hertz", "hertz|Гц|赫兹"),
        UnitRow("kHz", 1e3, "kilohertz", "кГц"),
        UnitRow("MHz", 1e6, "megahertz", "МГц|兆赫"),
        UnitRow("GHz", 1e9, "gigahertz", "ГГц"),
    ),
    "rotation": (
        UnitRow(
            "rpm",
            1.0,
            "rpm/rpm",
            "U/min|u/min|tr/min|1/min|min-1|min⁻¹|r/min|об/мин|giri/min|转/分",
        ),
    ),
    "power": (
        UnitRow("mW", 1e-3, "milliwatt", "мВт"),
        UnitRow("W", 1.0, "watt", "watt|watts|вт|Вт|ватт|瓦|瓦特|ワット|와트"),
        UnitRow("kW", 1e3, "kilowatt", "kilowatt|kilowatts|кВт|千瓦"),
        UnitRow("MW", 1e6, "megawatt"),
        UnitRow("hp", 745.69987158227022, "horsepower", "bhp|马力"),
        UnitRow("PS", 735.49875, "metric_horsepower", "CV|л.с.|л с"),
        UnitRow("BTU/h", 0.29307107017222, "Btu_it/hour", "BTU/hr|btuh"),
    ),
    "apparent power": (
        UnitRow("VA", 1.0, "volt*ampere"),
        UnitRow("kVA", 1e3, "kilovolt*ampere"),
    ),
    "energy": (
        UnitRow("J", 1.0, "joule", "joule|joules|Дж|焦耳"),
        UnitRow("kJ", 1e3, "kilojoule", "kilojoule|kilojoules|кДж|千焦"),
        UnitRow("kcal", 4184.0, "kilocalorie", "kilocalorie|kilocalories|Cal|ккал|千卡|大卡"),
        UnitRow("mWh", 3.6, "milliwatt*hour"),
        UnitRow("Wh", 3600.0, "watt*hour", "watt hour|watt hours|вт ч|瓦时"),
        UnitRow("kWh", 3.6e6, "kilowatt*hour", "kw h|квт ч|千瓦时"),
    ),
    "voltage": (
        UnitRow("mV", 1e-3, "millivolt", "мВ"),
        UnitRow(
            "V",
            1.0,
            "volt",
            "volt|volts|voltios|VAC|VDC|V AC|V DC|V~|V=|В|вольт|伏|伏特|ボルト|볼트",
        ),
        UnitRow("kV", 1e3, "kilovolt", "кВ"),
    ),
    "current": (
        UnitRow("µA", 1e-6, "microampere", "uA"),
        UnitRow("mA", 1e-3, "milliampere", "мА"),
        UnitRow("A", 1.0, "ampere", "amp|amps|ampere|amperes|amperios|А|安|安培|アンペア"),
    ),
    "charge": (
        UnitRow("mAh", 3.6, "milliampere*hour", "мАч|毫安时|毫安"),
        UnitRow("Ah", 3600.0, "ampere*hour", "Ач|安时"),
    ),
    "resistance": (
        UnitRow("Ω", 1.0, "ohm", "ohm|ohms|Ω|Ом|欧姆"),
        UnitRow("kΩ", 1e3, "kiloohm", "kohm|kΩ|кОм"),
        UnitRow("MΩ", 1e6, "megaohm", "MΩ|МОм"),
    ),
    "capacitance": (
        UnitRow("pF", 1e-12, "picofarad"),
        UnitRow("nF", 1e-9, "nanofarad"),
        UnitRow("µF", 1e-6, "microfarad", "uF|мкФ"),
        UnitRow("F", 1.0, "farad", "farad"),
    ),
    "magnetic flux density": (
        UnitRow("G", 1e-4, "1e-4*tesla", "gauss|gs|гаусс"),
        UnitRow("mT", 1e-3, "millitesla"),
        UnitRow("T", 1.0, "tesla", "tesla"),
    ),
    "pressure": (
        UnitRow("Pa", 1.0, "pascal", "pascal|Па"),
        UnitRow("hPa", 1e2, "hectopascal"),
        UnitRow("kPa", 1e3, "kilopascal", "кПа"),
        UnitRow("MPa", 1e6, "megapascal", "МПа"),
        UnitRow("mbar", 1e2, "millibar", "мбар"),
        UnitRow("bar", 1e5, "bar", "bars|бар|巴"),
        UnitRow("psi", 6894.757293168, "psi", "lbf/in²"),
        UnitRow("atm", 101325.0, "standard_atmosphere", "атм"),
    ),
    "force": (
        UnitRow("N", 1.0, "newton", "newton|newtons|牛"),
        UnitRow("kN", 1e3, "kilonewton"),
    ),
    "torque": (UnitRow("Nm", 1.0, "newton*meter", "N·m|N*m|N m|N-m|Нм|Н·м|牛米"),),
    "speed": (
        UnitRow("m/s", 1.0, "meter/second", "м/с|米/秒"),
        UnitRow("km/h", 1 / 3.6, "kilometer/hour", "kmh|kph|kmph|км/ч|公里/小时"),
        UnitRow("mph", 0.44704, "mile/hour", "mi/h"),
    ),
    "flow": (
        UnitRow("l/min", 1e-3 / 60, "liter/minute", "L/min|lpm|л/мин"),
        UnitRow("l/h", 1e-3 / 3600, "liter/hour", "L/h|lph|л/ч"),
        UnitRow("m³/h", 1 / 3600, "meter**3/hour", "m3/h|cbm/h|м³/ч|м3/ч"),
        UnitRow("cfm", 0.028316846592 / 60, "foot**3/minute"),
    ),
    "angle": (
        UnitRow("°", 1.0, "degree/degree", "deg|degree|degrees|grad|grados|gradi|度角|градусов"),
    ),
    "luminous flux": (UnitRow("lm", 1.0, "lumen", "lumen|lumens|лм|流明|ルーメン|루멘"),),
    "illuminance": (UnitRow("lx", 1.0, "lux", "lux|лк|勒克斯"),),
    "luminance": (UnitRow("cd/m²", 1.0, "candela/meter**2", "cd/m2|nit|nits|кд/м²"),),
    "sound level": (
        UnitRow("dB", 1.0, "degree/degree", "dB(A)|dBA|dB A|decibel|decibels|дБ|分贝"),
    ),
    "temperature": (
        UnitRow(
            "°C",
            1.0,
            "degC",
            "℃|degC|grad celsius|degrees celsius|celsius|º C|ºC|° C|摄氏度",
            273.15,
        ),
        UnitRow(
            "°F",
            5 / 9,
            "degF",
            "℉|degF|degrees fahrenheit|fahrenheit|º F|ºF|° F|华氏度",
            459.67 * 5 / 9,
        ),
        UnitRow("K", 1.0, "kelvin", "kelvin|开尔文"),
    ),
    "share": (
        UnitRow(
            "%",
            0.01,
            "percent",
            "percent|pct|prozent|pourcent|por ciento|процентов|％|% vol|% vol.|vol%|vol.%"
            "|vol. %|% abv|%vol",
        ),
    ),
    "pixels": (
        UnitRow("px", 1.0, "degree/degree", "pixel|pixels|pix|像素|画素|ピクセル"),
        UnitRow(
            "MP",
            1e6,
            "1e6*degree/degree",
            "megapixel|megapixels|mpx|mpix|mpixel|МП|Мп|百万像素|万画素数",
        ),
    ),
    "resolution": (UnitRow("dpi", 1.0, "degree/degree", "ppi"),),
    "frame rate": (UnitRow("fps", 1.0, "degree/degree", "帧/秒|к/с"),),
    "area density": (
        UnitRow("g/m²", 1e-3, "gram/meter**2", "g/m2|gsm|g/qm|gr/m2|г/м²|г/м2|克/平方米"),
    ),
    "linear density": (
        UnitRow("dtex", 1e-7, "decitex"),
        UnitRow("den", 1e-3 / 9000, "denier", "denier|旦"),
    ),
    "optical power": (
        UnitRow("dpt", 1.0, "1/meter", "dioptrien|diopter|diopters|dioptre|dioptres|дптр"),
    ),
}

EXACT_ONLY = frozenset(
    "mW MW MP nm Nm PS Ko Mo Go To Cal МП Мп CV Mb/s MB/s Gb/s GB/s kb/s Pa mPa MPa".split()
)
"""Spellings that mean another unit, or no unit at all, in another case."""

SHARED_LETTERS = {
    "mass": {"g": "g", "t": "t"},
    "length": {"m": "m", "c": "cm"},
    "volume": {"l": "l"},
    "time": {"s": "s", "h": "h", "m": "min", "d": "day", "j": "day", "y": "year", "a": "year"},
    "temperature": {"c": "°C", "f": "°F", "k": "K", "°": "°C"},
    "voltage": {"v": "V"},
    "power": {"w": "W"},
    "current": {"a": "A"},
    "magnetic flux density": {"g": "G", "t": "T"},
    "capacitance": {"f": "F"},
    "data": {"k": "KB", "m": "MB", "g": "GB", "t": "TB"},
}
"""What single letters stand for, in any case, where the dimension is known."""

CERTAIN_LETTERS = frozenset("m g l L s h V W A N J t".split())
"""Single letters that are units wherever they follow a number, exactly as they are here."""

DIMENSION_NAMES = {
    "length time^-1": "speed",
    "length^3 time^-1": "flow",
    "length^-2 mass": "area density",
    "length^2": "area",
    "length^3": "volume",
    "length^2 mass time^-2": "energy",
    "length^2 mass time^-3": "power",
    "length^-1 mass time^-2": "pressure",
    "length mass time^-2": "force",
    "current time": "charge",
}
"""The names of some dimensions that units may be composed to."""
