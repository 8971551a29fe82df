"""Encodings: text of many languages is shown right, and what is no text is refused."""

import pytest

from kg.ingest.readers.encodings import find_encoding, given_encoding
from schema.errors import DataError

TEXTS = {
    "German": ["Stuhl Köln;Grün;129,90", "Tisch Zürich;Weiß;89,00", "Größe für Türen"],
    "French": ["Crème brûlée;été", "Théière émaillée", "Chaise pliante hêtre"],
    "Spanish": ["Sillón pequeño;niño", "Lámpara de señal"],
    "Portuguese": ["Cadeira de praia;não", "Coração", "Algodão"],
    "Swedish": ["Stol grön;blå", "Fåtölj"],
    "Polish": ["Krzesło białe;żółty", "Stół dębowy", "Łóżko ciężkie"],
    "Czech": ["Židle dřevěná;žlutá", "Stůl kulatý", "Příborník"],
    "Hungarian": ["Női cipő;fehér", "Asztali lámpa", "Gyűrű"],
    "Turkish": ["Sandalye kırmızı;yeşil", "Masa örtüsü", "Gümüş ışık"],
    "Lithuanian": ["Kėdė medinė;žalia", "Šviestuvas"],
    "Russian": ["Стул деревянный;красный", "Лампа настольная", "Кружка белая"],
    "Greek": ["Καρέκλα ξύλινη;κόκκινο", "Λάμπα δαπέδου"],
    "Hebrew": ["כיסא עץ;אדום", "שולחן עגול;לבן", "מנורה שולחנית"],
    "Arabic": ["كرسي خشبي;أحمر", "مصباح"],
    "Thai": ["เก้าอี้ไม้;สีแดง", "โคมไฟ"],
    "Chinese": ["红色杯子;白色", "木制椅子", "台灯"],
    "Taiwanese": ["紅色杯子;白色", "木製椅子", "檯燈", "馬克杯"],
    "Japanese": ["赤いカップ;ホワイト", "木製の椅子", "卓上ランプ"],
    "Korean": ["빨간 컵;흰색", "나무 의자", "탁상 램프"],
}


def table(language):
    return "sku;name;colour\n" + "".join(
        f"{number};{line}\n" for number, line in enumerate(TEXTS[language], 1)
    )


def decoded(data):
    encoding = find_encoding(data, "f")
    return data[encoding.mark_bytes :].decode(encoding.name)


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"]
)
def test_unicode(language, encoding):
    assert decoded(table(language).encode(encoding)) == table(language)


@pytest.mark.parametrize(
    ("language", "encodings"),
    [
        ("German", "cp1252 latin-1 cp850 mac-roman"),
        ("French", "cp1252 latin-1 iso8859-15 cp850"),
        ("Spanish", "cp1252"),
        ("Portuguese", "cp1252"),
        ("Swedish", "cp1252"),
        ("Polish", "cp1250 iso8859-2"),
        ("Czech", "cp1250 iso8859-2 cp852"),
        ("Hungarian", "cp1250"),
        ("Turkish", "cp1254"),
        ("Lithuanian", "cp1257"),
        ("Russian", "cp1251 koi8-r cp866 iso8859-5"),
        ("Greek", "cp1253"),
        ("Hebrew", "cp1255"),
        ("Arabic", "cp1256"),
        ("Thai", "cp874"),
        ("Chinese", "gb18030"),
        ("Taiwanese", "big5"),
        ("Japanese", "shift-jis cp932 euc-jp"),
        ("Korean", "euc-kr"),
    ],
)
def test_legacy_encodings(language, encodings):
    for encoding in encodings.split():
        assert decoded(table(language).encode(encoding)) == table(language), encoding


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Größe", "cp1252"),
        ("crème", "cp1252"),
        ("12 €", "cp1252"),
        ("10” plate, Men’s, Foo™ bar®", "cp1252"),
        ("20°C ± 1", "cp1252"),
        ("10 € bœuf Cœur", "iso8859-15"),
        ("手机壳,黑色,苹果", "gb18030"),
    ],
)
def test_a_few_signs(text, encoding):
    data = f"id,t\n1,{text}\n".encode(encoding)
    assert decoded(data) == f"id,t\n1,{text}\n"


@pytest.mark.parametrize(
    "damaged",
    [b"caf\xc3\xa9\n\xff\n", b"caf\xff\n", b"\xed\xa0\x80\n", "é".encode() * 9 + b"\xe9"],
)
def test_text_in_utf8_with_a_few_broken_bytes_is_utf8(damaged):
    assert find_encoding(b"id,t\n1," + damaged, "f").name == "utf-8"


def test_a_sign_that_is_cut_at_the_end_is_no_damage():
    data = ("é€😀" * 100).encode()
    for cut in range(len(data) - 5, len(data)):
        assert find_encoding(data[:cut], "f").reason == "it is valid"


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"PK\x03\x04" + b"x" * 30, "Excel"),
        (b"\x89PNG\r\n\x1a\n", "image"),
        (bytes(1000), "no text"),
        (bytes(range(256)) * 8, "no text"),
        (b"\r\n<!DOCTYPE html><html>", "markup"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>", "markup"),
    ],
)
def test_what_is_no_text_is_refused_in_one_line(data, word):
    with pytest.raises(DataError, match=rf"^shop\.csv .*{word}") as caught:
        find_encoding(data, "shop.csv")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "data", "name", "mark"),
    [
        ("latin-1", b"\xef\xbb\xbfx", "iso8859-1", 0),
        ("UTF-8", b"\xef\xbb\xbfx", "utf-8", 3),
        ("utf-8-sig", b"x", "utf-8", 0),
        ("utf-16", "x\n".encode("utf-16-be"), "utf-16-be", 0),
        ("utf-16", b"\xff\xfex\0", "utf-16-le", 2),
        ("utf-16-le", b"\xff\xfex\0", "utf-16-le", 2),
    ],
)
def test_a_given_encoding_is_used(given, data, name, mark):
    encoding = given_encoding(given, data)
    assert (encoding.name, encoding.mark_bytes) == (name, mark)


@pytest.mark.parametrize("count", [1, 2, 9])
def test_nuls_in_ascii_make_no_signs_of_two_bytes(count):
    data = b"id,colour\n" + b",\x00\n" * count + b",0\n"
    assert find_encoding(data, "a.csv").name == "utf-8"


def test_cyrillic_of_two_bytes_a_letter_is_no_damaged_ascii():
    data = ("артикул,цвет\n" + "кран,красный\n" * 9).encode("utf-16-le")
    assert find_encoding(data, "a.csv").name == "utf-16-le"
