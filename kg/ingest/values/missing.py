"""Words for nothing: what people and programs write into a cell whose value they do not know.

A word is compared without case, spaces and enclosing brackets, so that ``N / A`` and ``(n/a)`` are
``n/a``. Words are of three kinds:

- certain ones (``#N/A``, ``k.A.``, ``unknown``, a dash) are never a value;
- doubtful ones (``NA``, ``null``, ``無``) are none unless their column says otherwise: ``NA``
  beside ``DE`` and ``IT`` is Namibia;
- those that say "none" (``none``, ``keine``, ``not applicable``) are values, because a pattern or a
  warranty can be none, unless all else in the column are numbers, dates or identifiers.
"""

from __future__ import annotations

import re
import unicodedata
from enum import Enum


class Doubt(Enum):
    """How certainly a word means that there is no value."""

    CERTAIN = "certain"
    DOUBTFUL = "doubtful"
    SIGN = "sign"
    """Nothing but dashes, dots or question marks: certain, unless the column consists of signs."""
    NONE = "none"


# What spreadsheets write where a formula fails, in the languages whose names differ.
ERROR_WORDS = frozenset(
    """
    #n/a #na #nv #ref! #div/0! #value! #name? #num! #null! #spill! #calc! #field! #blocked!
    #connect! #unknown! #busy! #error! #getting_data #bezug! #wert! #zahl! #überlauf! #kalk!
    #nombre? #nombre! #¿nombre? #valeur! #nom? #valor! #nome? #núm! #num? #rif! #valore! #nome!
    #verw! #waarde! #naam? #getal! #leeg! #nd #nd! #n/d #ссылка! #знач! #имя? #число! #дел/0!
    #н/д #пусто! #adr! #arg! #nazwa? #liczba! #zero! #hodnota! #odkaz! #název? #číslo! #ogiltig!
    #värdefel! #namn? #ogiltigt! #skärning! #saknas! #reference! #referens! #värde! #верность!
    #başv! #değer! #ad? #sayi! #sayı! #yok #nombre #viittaus! #arvo! #nimi? #luku! #puuttuu!
    """.split()
)

_CERTAIN = """
    n/a|n.a.|n.a|n/a.|n\\a|<na>|nan%|#null|\\n|n/d|n.d.|n.d|n/v|n/k|n.k.|n/s|n.v.|n.b.|n/z
    not available|notavailable|not avail.|not specified|not known|not given|not provided|not stated
    not set|not found|not defined|no data|no value|no info|no information|no entry|no answer
    no record|no data available|data not available|information not available|unavailable
    unknown|unkown|unknow|unspecified|undefined|undisclosed|tbd|t.b.d.|tbc|t.b.c.|tba|t.b.a.
    to be defined|to be determined|to be confirmed|to be announced|to be advised|to be decided
    to be completed|to be added|to follow|pending info|missing|missing value|(blank)|<blank>
    [blank]|(empty)|<empty>|[empty]|(null)|<null>|[null]|{null}|(none)|<none>|[none]|(nil)
    please select|please choose|select one|choose an option|-- select --|- select -|--none--
    - none -|system.object|[object object]|fill in|please fill in|to be filled
    k.a.|k. a.|k/a|keine angabe|keine angaben|keine daten|keine information|keine informationen
    keine auswahl|ohne angabe|o.a.|o. a.|o.angabe|unbekannt|nicht bekannt|nicht angegeben
    nicht verfügbar|nicht vorhanden (n.v.)|nicht definiert|nicht spezifiziert|nicht gesetzt
    noch offen|noch zu klären|folgt|wird nachgereicht|bitte wählen|bitte auswählen|(leer)|<leer>
    [leer]|nicht ermittelt|n. v.|n. a.|n. b.|unbek.
    n.c.|n.c|n/c|non communiqué|non communiquée|non renseigné|non renseignée|non disponible
    non spécifié|non spécifiée|non précisé|non précisée|non défini|non connu|inconnu|inconnue
    indisponible|pas disponible|à définir|à préciser|à compléter|à confirmer|à venir|(vide)|<vide>
    [vide]|aucune donnée|aucune information|pas d'information|pas de données|sans information
    s/d|s.d.|s/i|s.i.|sin datos|sin dato|sin información|sin especificar|no disponible
    no especificado|no especificada|desconocido|desconocida|no definido|no consta|por definir
    por confirmar|por determinar|(vacío)|(vacio)|(en blanco)|n/e|no informado
    non specificato|non specificata|non disponibile|sconosciuto|sconosciuta|da definire
    da confermare|dato non disponibile|nessun dato|nessuna informazione|(vuoto)|non definito
    non noto|non indicato
    sem informação|sem informacao|sem dados|não informado|nao informado|não disponível
    nao disponivel|não especificado|nao especificado|desconhecido|desconhecida|a definir
    a confirmar|(vazio)|não definido|não se sabe|n/i
    onbekend|niet bekend|niet beschikbaar|niet opgegeven|niet gespecificeerd|geen gegevens
    geen informatie|geen opgave|nader te bepalen|n.n.b.|n.t.b.|(leeg)|(lege)|niet ingevuld
    b.d.|b/d|brak danych|brak informacji|nieznany|nieznana|nieznane|nie dotyczy (b.d.)
    niedostępne|nie określono|nieokreślony|nie podano|do ustalenia|(puste)|(pusty)
    neznámý|neznámé|neznámá|neuvedeno|nezadáno|není k dispozici|nedostupné|nespecifikováno
    bez údajů|bude doplněno|neznáme|neuvedené|nezadané|(prázdné)
    okänd|okänt|ej angivet|ej angiven|uppgift saknas|saknas|ej tillgänglig|ukjent|ukendt
    ikke angivet|ikke oppgitt|ikke tilgængelig|ikke tilgjengelig|mangler|ei tietoa|ei tiedossa
    tuntematon|ei saatavilla|ei määritelty
    ismeretlen|nincs adat|nincs megadva|nem ismert|nem elérhető|n.é.
    necunoscut|nespecificat|fără informații|nu este disponibil|indisponibil|nedefinit
    άγνωστο|μη διαθέσιμο|δ/υ|δ.υ.|χωρίς στοιχεία
    bilinmiyor|belirtilmemiş|bilgi yok|veri yok|mevcut değil|tanımsız|(boş)|belirsiz
    нет данных|нет информации|нет сведений|неизвестно|неизвестный|неизвестна|не указано|не указан
    не указана|не задано|не определено|не определен|н/д|н.д.|н/у|н/о|б/д|(пусто)|уточняется
    нет в наличии данных|данные отсутствуют|немає даних|невідомо|не вказано|невідомий
    няма данни|неизвестен|непознато
    未知|不详|不詳|未填写|未填|未填寫|请填写|請填寫|请选择|請選擇|暂无|暫無|暂无数据|暂无信息
    无数据|無資料
    无资料|未提供|未指定
    未设置|未設定|待定|待确认|待確認|待补充|缺失|空白|（空）|(空白)|不明|未定
    未登録|未記入|未入力
    未公開|データなし|情報なし|記載なし|該当データなし|不明です|未設定です|未詳|(空白セル)
    정보없음|정보 없음|미정|미상|알 수 없음|알수없음|데이터 없음|자료 없음
    미입력|미지정|미확인|(공백)
    غير معروف|غير متوفر|غير محدد|لا توجد بيانات|غير متاح|לא ידוע|אין מידע|לא צוין|לא זמין
    अज्ञात|उपलब्ध नहीं|không rõ|không có dữ liệu|chưa xác định|chưa cập nhật|không xác định
    tidak diketahui|tidak tersedia|tidak ada data|belum diketahui|ไม่ทราบ|ไม่ระบุ|ไม่มีข้อมูล
    err:501|err:502|err:503|err:504|err:508|err:509|err:511|err:512|err:520|err:522|err:523|err:524
    1900-01-00|00.01.1900|0.1.1900|1/0/1900|01/00/1900|0001-01-01|01.01.0001|01/01/0001
    0001-01-01t00:00:00|1/1/0001|invalid date|not a number|not a time
"""

_DOUBTFUL = """
    na|nan|nat|null|nil|nd|ka|unk|unkn|undef|#
    без данных|なし|無し|無|无|没有|沒有|없음|нет|нет.|немає|yok|nincs
"""

_NONE = """
    none|no one|nothing|not applicable|not appl.|inapplicable|does not apply|doesn't apply
    not relevant|keine|keiner|keines|kein|nicht zutreffend|entfällt|trifft nicht zu|ohne
    nicht relevant|nicht anwendbar|nicht vorhanden|aucun|aucune|sans objet|non applicable
    ne s'applique pas|néant|sans|ninguno|ninguna|ningún|no aplica|no procede|nada|nessuno|nessuna
    non applicabile|nenhum|nenhuma|não se aplica|nao se aplica|não aplicável|geen
    niet van toepassing|n.v.t.|nvt|brak|nie dotyczy|žádný|žádná|žádné|nevztahuje se|ingen|inget
    inga|ej tillämpligt|ei mitään
    ei sovellettavissa|nem alkalmazható|niciunul|niciuna|nu se aplică|κανένα|δεν ισχύει
    не применимо|не применяется|отсутствует|не застосовується|geçerli değil|不适用|不適用
    该当なし|該当なし|해당없음|해당 없음
    không áp dụng|tidak berlaku
    لا ينطبق|לא רלוונטי|ไม่เกี่ยวข้อง
"""

OPPOSITES = {
    "无": ("有",),
    "無": ("有", "有り", "あり"),
    "無し": ("有り", "有", "あり"),
    "なし": ("あり", "有り", "有"),
    "没有": ("有",),
    "沒有": ("有",),
    "없음": ("있음", "유"),
    "нет": ("да", "есть"),
    "немає": ("є", "так"),
    "yok": ("var",),
    "nincs": ("van",),
}
"""What makes a word the false one of two truth values, if the column has it as well."""

_BRACKETS = {"(": ")", "[": "]", "{": "}", "<": ">", "（": "）", "【": "】"}
_DASHES = "\\-\u00ad\u02d7\u058a\u05be\u1806\u2010-\u2015\u2043\u2212\u2500\u2501\u2e3a\u2e3b\u30fc"
_SIGNS = re.compile(rf"[{_DASHES}._,?\u00bf/\\~=*'\"`\u00b4\u2018-\u201f\u3002\u30fb:;|^\u00b7]+\Z")
# A lone star or tilde is nothing; three stars are a rating.
_REPEATED = re.compile(
    rf"[{_DASHES}._?\u00bf,\u3002\u30fb\u00b7]+\Z|[/\\~=*'\"`\u00b4:;|^]{{1,2}}\Z"
)
_ZERO_DATE = re.compile(r"0{2,4}([-./])0{1,2}\1(?:0{2}|0{4})(?:t?0{1,2}:00(?::00)?z?)?\Z")
_OVERFLOW = re.compile(r"#{3,}\Z")
"""What a spreadsheet shows where a number does not fit into its column."""


def word_key(text: str) -> str:
    """Return a text as it is compared with words for nothing: without case and spaces."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return "".join(text.casefold().split())


def _keys(words: str) -> list[str]:
    return [
        word_key(word) for line in words.splitlines() for word in line.split("|") if word.strip()
    ]


_DOUBTS: dict[str, Doubt] = {
    **dict.fromkeys(_keys(_NONE), Doubt.NONE),
    **dict.fromkeys(_keys(_DOUBTFUL), Doubt.DOUBTFUL),
    **dict.fromkeys(_keys(_CERTAIN), Doubt.CERTAIN),
    **dict.fromkeys(map(word_key, ERROR_WORDS), Doubt.CERTAIN),
}
WORD_KEYS = frozenset(_DOUBTS)
"""The keys of all words for nothing that are listed; others are made of signs, or in brackets."""
MAX_WORD = 40
"""No word for nothing is longer, so longer texts need not be compared."""


def doubt_of(text: str) -> Doubt | None:
    """Return how certainly a text means that there is no value; None if it is an ordinary text."""
    if len(text) > MAX_WORD:
        return None
    key = word_key(text)
    found = _DOUBTS.get(key)
    if found is not None:
        return found
    if not key or key[-1].isalnum():
        return Doubt.CERTAIN if _ZERO_DATE.match(key) else None
    if _OVERFLOW.match(key):
        return Doubt.CERTAIN
    if _SIGNS.match(key):
        return Doubt.SIGN if _REPEATED.match(key) else None
    if len(key) > 2 and _BRACKETS.get(key[0]) == key[-1]:
        # Even "(none)" is what a pivot table or a program writes for an empty cell.
        return Doubt.CERTAIN if doubt_of(key[1:-1]) else None
    return None


def is_error_value(text: str) -> bool:
    """Return whether a text is what a spreadsheet writes where a formula fails."""
    key = word_key(text)
    return key in _ERROR_KEYS or bool(_OVERFLOW.match(key))


_ERROR_KEYS = frozenset(map(word_key, ERROR_WORDS))
