"""HTML in cells: tags are removed and entities resolved; other angle brackets stay.

``a < b``, ``<3mm`` and ``R&D`` are no HTML. A cell is, if it has an entity with its semicolon, a
closing tag, a tag that is never closed (``<br>``), an opening one of a block (``<p>``), or one with
attributes. In a column that is HTML by its name or by what else is in it, every known tag counts.
"""

from __future__ import annotations

import html
import re
from html.entities import html5

_BLOCKS = frozenset(
    """
    address article aside blockquote body caption center dd details dialog dir div dl dt fieldset
    figcaption figure footer form h1 h2 h3 h4 h5 h6 head header hgroup html legend li main menu nav
    noscript ol optgroup option p pre search section summary table tbody td tfoot th thead title tr
    ul
    """.split()
)
_VOID = frozenset("area base br col embed hr img input link meta param source track wbr".split())
_INLINE = frozenset(
    """
    a abbr acronym applet audio b bdi bdo big button canvas cite code colgroup data datalist del dfn
    em font frame frameset i iframe ins kbd label map mark marquee meter nobr object output picture
    progress q rp rt ruby s samp script select slot small span strike strong style sub sup svg
    template textarea time tt u var video
    """.split()
)
_TAGS = _BLOCKS | _VOID | _INLINE
_SEPARATING = _BLOCKS | {"br", "hr"}
"""Tags at which one word ends and another begins."""

# Attributes never hold "<" here, and quoted ones may hold ">". Every repetition ends at a character
# that the one inside it excludes, so that no text takes more than linear time.
_ATTRIBUTES = r"(?:\s[^<>\"']*(?:\"[^\"<]*\"[^<>\"']*|'[^'<]*'[^<>\"']*)*)?"
_TAG = re.compile(rf"<(/?)([A-Za-z][A-Za-z0-9]*)\b({_ATTRIBUTES})\s*/?>")
_COMMENT = re.compile(
    r"<!--.*?(?:-->|\Z)|<!\[CDATA\[|\]\]>|<!DOCTYPE[^<>]*>|<\?[^<>]*\?>", re.DOTALL | re.I
)
_HIDDEN = re.compile(r"<(script|style)\b[^<>]*>.*?(?:</\1\s*>|\Z)", re.DOTALL | re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
# "&amp;amp;amp;lt;" is resolved at once: one round for each "amp;" would take quadratic time.
_AMPERSANDS = re.compile(r"&(?:(?:amp|AMP|#0{0,5}38|#[xX]0{0,4}26);)+", re.ASCII)
_LIST = re.compile(r"\s*<(ul|ol)\b[^<>]*>(.*)</\1\s*>\s*\Z", re.DOTALL | re.IGNORECASE)
_SUPERSCRIPT = re.compile(r"<sup>([0-9+-]{1,4})</sup>", re.IGNORECASE)
_RAISED = str.maketrans("0123456789+-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻")
_LIST_ITEM = re.compile(r"<li\b[^<>]*>", re.IGNORECASE)


def is_html(text: str) -> bool:
    """Return whether a text is HTML by itself."""
    if "&" in text and any(_is_known(entity) for entity in _ENTITY.findall(text)):
        return True
    if "<" not in text:
        return False
    for tag in _TAG.finditer(text):
        name = tag[2].lower()
        if name in _TAGS and (tag[1] or name in _VOID or name in _BLOCKS or "=" in tag[3]):
            # "<p>" may be in "x<p>y" as well, but nothing is written like that in a catalogue.
            return True
    return False


def without_markup(text: str, whole_column: bool = False) -> str:
    """Return the text that HTML shows, not yet trimmed; any other text as it is.

    ``whole_column`` says that the column is HTML, so that every known tag counts.
    """
    # Markup is often escaped once more on its way into a table, so what an entity resolves to may
    # be markup again. Each round shortens the text.
    while ("<" in text or "&" in text) and (whole_column or is_html(text)):
        stripped = _resolved(_without_tags(text))
        if stripped == text:
            break
        text = stripped
    return text


def list_items(text: str) -> list[str] | None:
    """Return the HTML of each item of a text that is one HTML list; None if it is none."""
    whole = _LIST.match(text)
    if whole is None or "<ul" in whole[2].lower() or "<ol" in whole[2].lower():
        return None
    first, *items = _LIST_ITEM.split(whole[2])
    return items if items and not first.strip() else None


def _without_tags(text: str) -> str:
    if "<" not in text:
        return text
    text = _HIDDEN.sub(" ", _COMMENT.sub(" ", text))
    # Without its tags, 10<sup>3</sup> would be 103.
    text = _SUPERSCRIPT.sub(lambda found: found[1].translate(_RAISED), text)
    return _TAG.sub(_replacement, text)


def _replacement(tag: re.Match[str]) -> str:
    name = tag[2].lower()
    if name not in _TAGS:
        return tag[0]
    return " " if name in _SEPARATING else ""


def _resolved(text: str) -> str:
    if "&" not in text:
        return text
    text = _AMPERSANDS.sub("&", text)
    return _ENTITY.sub(
        lambda found: html.unescape(found[0]) if _is_known(found[0]) else found[0], text
    )


def _is_known(entity: str) -> bool:
    return entity.startswith("&#") or entity[1:] in html5
