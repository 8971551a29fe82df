"""The functions with an IRI for a name that a SPARQL query may call: all of them only compute.

They are the datatypes of XML Schema, which convert values, and functions of XPath that stores share
(https://www.w3.org/TR/xpath-functions/). Not among these: what reads documents (``fn:doc``,
``fn:collection``), and Jena's ``fn:apply``, which calls a function whose name is computed, such as
a Java class. All other functions are a store's own.
"""

from __future__ import annotations

from schema.iris import XSD

XPATH = "http://www.w3.org/2005/xpath-functions#"
MATH = "http://www.w3.org/2005/xpath-functions/math#"


def _iris(namespace: str, names: str) -> frozenset[str]:
    return frozenset(f"{namespace}{name}" for name in names.split())


FUNCTIONS = (
    _iris(
        XSD,
        "anyURI base64Binary boolean byte date dateTime dateTimeStamp dayTimeDuration decimal "
        "double duration float gDay gMonth gMonthDay gYear gYearMonth hexBinary int integer long "
        "negativeInteger nonNegativeInteger nonPositiveInteger normalizedString positiveInteger "
        "short string time token unsignedByte unsignedInt unsignedLong unsignedShort "
        "yearMonthDuration",
    )
    | _iris(
        XPATH,
        # Numbers.
        "abs ceiling floor format-number numeric-abs numeric-add numeric-ceil numeric-divide "
        "numeric-equal numeric-floor numeric-greater-than numeric-less-than numeric-multiply "
        "numeric-round numeric-subtract numeric-unary-minus round round-half-to-even "
        # Texts and truth values.
        "boolean compare concat contains encode-for-uri ends-with lower-case matches "
        "normalize-space normalize-unicode not replace starts-with string string-join "
        "string-length substring substring-after substring-before translate upper-case "
        # Dates and times.
        "adjust-date-to-timezone adjust-dateTime-to-timezone adjust-time-to-timezone dateTime "
        "day-from-date day-from-dateTime days-from-duration hours-from-dateTime "
        "hours-from-duration hours-from-time minutes-from-dateTime minutes-from-duration "
        "minutes-from-time month-from-date month-from-dateTime months-from-duration "
        "seconds-from-dateTime seconds-from-duration seconds-from-time timezone-from-date "
        "timezone-from-dateTime timezone-from-time year-from-date year-from-dateTime "
        "years-from-duration",
    )
    | _iris(MATH, "acos asin atan atan2 cos exp exp10 log log10 pi pow sin sqrt tan")
)
