"""Language tags (BCP 47), such as ``de``, ``en-US`` or ``zh-Hant``."""

from __future__ import annotations

import re

_TAG = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*")


def canonical_tag(tag: str) -> str:
    """Return a tag as it is usually written; ``de_at`` becomes ``de-AT``.

    RDF does not tell tags apart by case, so that two spellings of one must not be two languages.
    Raises ValueError if it is no tag.
    """
    spelled = tag.strip().replace("_", "-")
    if not _TAG.fullmatch(spelled) or len(spelled) > 35:
        raise ValueError(f"{tag[:40]!r} is no language tag: write it like de, en-US or zh-Hant")
    first, *rest = spelled.lower().split("-")
    parts = [first]
    for part in rest:
        # What follows a single letter, such as the x of private use, stays in lower case.
        if any(len(each) == 1 for each in parts):
            parts.append(part)
        elif len(part) == 2 and part.isalpha():
            parts.append(part.upper())
        elif len(part) == 4 and part.isalpha():
            parts.append(part.title())
        else:
            parts.append(part)
    return "-".join(parts)
