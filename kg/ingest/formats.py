"""Recognise the format of a file by its content: names lie, and many files come without one.

Shops call JSON lines ``.json``, web pages and tab-separated text ``.xls``, workbooks ``.csv``, and
leave out the ``.gz``.
"""

from __future__ import annotations

import codecs
import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kg.ingest.files import SourceFile, is_zip, member_names, says_compressed
from kg.ingest.unpacking import find_compression
from schema.errors import DataError

START_BYTES = 1 << 16
"""So much of a file is looked at."""


@dataclass(frozen=True)
class Content:
    """What a file is by its content: the suffix of that format, and what people call it."""

    suffix: str
    words: str


PARQUET = Content(".parquet", "Parquet")
ARROW = Content(".arrow", "Arrow IPC")
FEATHER = Content(".feather", "Feather")
XLSX = Content(".xlsx", "an Excel workbook")
XLSB = Content(".xlsb", "a binary Excel workbook")
XLS = Content(".xls", "an Excel workbook of before 2007")
ODS = Content(".ods", "an OpenDocument sheet")
HTML = Content(".html", "a web page")
XML = Content(".xml", "XML")
JSON = Content(".json", "JSON")
JSON_LINES = Content(".jsonl", "JSON lines")
JSON_LD = Content(".jsonld", "JSON-LD")
TURTLE = Content(".ttl", "Turtle")
DELIMITED = Content(".csv", "delimited text")

# What is no source, by how it starts, and what to do with it.
_REFUSED: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "a PDF document: ask for the table that it was made from"),
    (b"SQLite format 3\0", "an SQLite database: export its table as CSV"),
    (b"Obj\x01", "an Avro file: convert it to Parquet or JSONL"),
    (b"ORC", "an ORC file: convert it to Parquet or JSONL"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive: unpack it, and name the files in it"),
    (b"Rar!\x1a\x07", "a RAR archive: unpack it, and name the files in it"),
    (b"\x1f\x9d", "compressed by compress: unpack it first (`gunzip`)"),
    (b"\x04\x22\x4d\x18", "compressed by LZ4: unpack it first (`unlz4`)"),
    (b"{\\rtf", "a text with formatting (RTF): save its table as CSV"),
    (b"\x89PNG\r\n", "an image: give images with --images"),
    (b"\xff\xd8\xff", "an image: give images with --images"),
    (b"GIF8", "an image: give images with --images"),
)
_ORC_SUFFIX = ".orc"
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_TAR = b"ustar"
_TAR_POSITION = 257

_RDF_XML = re.compile(r"<(?:\w+:)?RDF[\s>]")
_HTML_START = re.compile(
    r"<(?:!doctype\s+html|html|head|body|meta|title|table|script|div|style)\b", re.IGNORECASE
)
_XHTML_START = re.compile(r"<(?:!doctype\s+html|html)\b", re.IGNORECASE)
_XML_START = re.compile(r"<(?:\?xml\b|!DOCTYPE\b|!--|[A-Za-z_][\w.-]*(?::[A-Za-z_][\w.-]*)?[\s/>])")
_SPREADSHEET_XML = "urn:schemas-microsoft-com:office:spreadsheet"
_JSON_START = re.compile(r"\{\s*(?:\"|\}|$)|\[\s*(?:\{|\[|$)")
_JSON_LD_KEY = re.compile(r"\"@(?:context|graph)\"\s*:")
_TURTLE_START = re.compile(r"@(?:prefix|base)\s|(?:PREFIX|BASE)\s+\S*\s*<", re.IGNORECASE)
_DELIMITERS = ",;\t|"
_JSON_LINES_SUFFIXES = (".jsonl", ".ndjson")


def find_content(file: SourceFile) -> Content | None:
    """Return what a file is by its content, or None if that does not tell.

    Raises DataError if it is known to be no source, and if it cannot be read.
    """
    start = file.start(START_BYTES)
    if find_compression(start) is not None:
        raise DataError(
            f"{file.name} is compressed twice, or within an archive: unpack it once, and name the "
            "files in it"
        )
    if is_zip(start):
        return _zip_content(file)
    if start.startswith(_OLE):
        return XLS
    if start.startswith(b"PAR1"):
        return PARQUET
    if start.startswith(b"ARROW1"):
        return ARROW
    if start.startswith(b"FEA1"):
        return FEATHER
    for magic, what in _REFUSED:
        if start.startswith(magic) and (magic != b"ORC" or file.suffix == _ORC_SUFFIX):
            raise DataError(f"{file.name} is {what}")
    if start[_TAR_POSITION : _TAR_POSITION + len(_TAR)] == _TAR:
        raise DataError(f"{file.name} is a tar archive: unpack it, and name the files in it")
    return _text_content(start_text(start), file.suffix)


def _zip_content(file: SourceFile) -> Content:
    """Return which of the formats a file has that are zip archives."""
    with file.on_disk() as path:
        content = _document_content(path, file.name)
    if content is None:
        raise DataError(
            f"{file.name} is an archive within an archive: unpack it, and name the files in it"
        )
    return content


def is_sheet_archive(file: SourceFile) -> bool:
    """Return whether a zip archive on disk is a workbook, and no archive of files."""
    return _document_content(file.path, file.name) is not None


def _document_content(path: Path, name: str) -> Content | None:
    """Return what a zip archive is: a workbook, or None for an archive of files.

    Raises DataError if it is another kind of document.
    """
    names = set(member_names(path, name))
    if "xl/workbook.xml" in names:
        return XLSX
    if "xl/workbook.bin" in names:
        return XLSB
    mimetype = b""
    if "mimetype" in names:
        with zipfile.ZipFile(path) as archive, archive.open("mimetype") as stream:
            mimetype = stream.read(200)
    if mimetype.startswith(b"application/vnd.oasis.opendocument.spreadsheet"):
        return ODS
    if "word/document.xml" in names or mimetype.startswith(b"application/"):
        raise DataError(f"{name} is a document and no workbook: save its table as CSV")
    # A workbook may call its parts what it likes.
    return XLSX if "[Content_Types].xml" in names else None


def start_text(start: bytes) -> str:
    """Return the first bytes of a file as text, for guessing: in UTF-8, UTF-16 or UTF-32."""
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):
        if start.startswith(mark):
            return start[len(mark) :].decode(encoding, "replace")
    # JSON and XML start with an ASCII character.
    if start[1:2] == b"\0" and start[3:4] == b"\0" and start[:1] != b"\0":
        return start.decode("utf-16-le", "replace")
    if start[:1] == b"\0" and start[2:3] == b"\0" and start[1:2] != b"\0":
        return start.decode("utf-16-be", "replace")
    return start.decode("utf-8", "replace")


def _text_content(text: str, suffix: str) -> Content | None:
    text = text.lstrip()
    if text.startswith("<"):
        return _markup_content(text)
    if _JSON_START.match(text):
        return _json_content(text, suffix)
    if _TURTLE_START.match(text):
        return TURTLE
    return None


def _markup_content(text: str) -> Content | None:
    # Declarations and comments come before the first element.
    body = re.sub(r"\A(?:\s+|<\?.*?\?>|<!--.*?-->)+", "", text, flags=re.DOTALL)
    is_declared = text.startswith("<?xml")
    if (_XHTML_START if is_declared else _HTML_START).match(body):
        return HTML
    if not _XML_START.match(text):
        return None
    return XML


def _json_content(text: str, suffix: str) -> Content:
    # A single line is a document, unless the name says that it is one of many.
    at_least = 1 if suffix in _JSON_LINES_SUFFIXES else 2
    if _are_json_lines(text, at_least):
        return JSON_LINES
    return JSON_LD if _JSON_LD_KEY.search(text) else JSON


def _are_json_lines(text: str, at_least: int) -> bool:
    """Return whether each of the first lines is an object, after a line ``[`` if there is one."""
    lines = [line for line in text.splitlines() if line.strip()]
    if lines and lines[0].strip() == "[":
        lines = lines[1:]
        at_least = max(at_least, 2)
    objects = 0
    for line in lines[:3]:
        if not line.lstrip().startswith("{"):
            break
        try:
            json.loads(line.strip().rstrip(","), parse_int=str)
        except (ValueError, RecursionError):
            break
        objects += 1
    return objects >= at_least


def is_rdf_xml(file: SourceFile) -> bool:
    """Return whether a file is RDF in XML."""
    return _RDF_XML.search(start_text(file.start(START_BYTES))) is not None


def is_spreadsheet_xml(file: SourceFile) -> bool:
    """Return whether a file is a workbook in the XML of Excel 2003."""
    return _SPREADSHEET_XML in start_text(file.start(START_BYTES))


def looks_delimited(file: SourceFile) -> bool:
    """Return whether text seems to be a table: two lines or more, the first with a delimiter."""
    start = file.start(START_BYTES)
    text = start_text(start)
    control = sum(letter < " " and letter not in "\t\r\n\f" for letter in text)
    if control > len(text) // 100 and control > 1:
        return False
    first, _, rest = text.lstrip().partition("\n")
    return any(mark in first for mark in _DELIMITERS) and bool(rest.strip())


# Suffixes whose content is what the reader of the suffix makes of it, unless it is plainly another
# format: of each suffix, the contents that are no surprise.
_EXPECTED: dict[str, tuple[Content, ...]] = {
    ".jsonl": (JSON_LINES,),
    ".ndjson": (JSON_LINES,),
    ".json": (JSON,),
    ".jsonld": (JSON, JSON_LD, JSON_LINES),
    ".xml": (XML,),
    ".rss": (XML,),
    ".atom": (XML,),
    ".html": (HTML,),
    ".htm": (HTML,),
    ".xhtml": (HTML, XML),
    ".parquet": (PARQUET,),
    ".pq": (PARQUET,),
    ".arrow": (ARROW, FEATHER),
    ".ipc": (ARROW,),
    ".feather": (ARROW, FEATHER),
    ".xlsx": (XLSX,),
    ".xlsm": (XLSX,),
    ".xlsb": (XLSB,),
    ".xls": (XLS,),
    ".ods": (ODS,),
    ".ttl": (TURTLE, XML),
    ".trig": (TURTLE, XML),
    ".nt": (XML,),
    ".nq": (XML,),
}
_BINARY = (PARQUET, ARROW, FEATHER, XLSX, XLSB, XLS, ODS)
_SHEETS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")


@dataclass(frozen=True)
class Recognised:
    """The suffix of the format in which a file is read, and a remark where its name lies."""

    suffix: str
    remark: str | None = None


def recognise(file: SourceFile, is_supported: Callable[[str], bool]) -> Recognised:
    """Decide by which format's reader a file is read.

    Raises DataError if it is known to be no source.
    """
    content = find_content(file)
    suffix = file.suffix
    if content is None:
        if suffix in _SHEETS or (not is_supported(suffix) and looks_delimited(file)):
            return Recognised(DELIMITED.suffix, _remark(file, DELIMITED))
        return Recognised(suffix)
    if content in _EXPECTED.get(suffix, ()):
        return Recognised(suffix)
    if suffix in (".xlsx", ".xlsm", ".xlsb", ".ods") and content is XLS:
        # An encrypted workbook is in the container of the older format; so its reader finds out.
        return Recognised(XLS.suffix)
    return Recognised(content.suffix, _remark(file, content))


def _remark(file: SourceFile, content: Content) -> str:
    called = f"is called {file.suffix}" if file.suffix else "has no suffix"
    return f"{file.name} {called} but is {content.words} by its content, and read as that"


def compression_remark(file: SourceFile) -> str | None:
    """Return a remark on a file whose name is wrong about its being compressed."""
    if file.member is not None or file.spooled:
        return None
    with file.path.open("rb") as stream:
        compression = find_compression(stream.read(8))
    said = says_compressed(file.path.name)
    if compression is None and said:
        return f"{file.name} is not compressed although its name says so; it is read as it is"
    if compression is not None and not said:
        return f"{file.name} is compressed by {compression.label} although its name does not say so"
    return None
