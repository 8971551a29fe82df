"""Web pages: the products in their JSON-LD or microdata."""

from __future__ import annotations

from kg.ingest.readers.rdf import RdfReader


class PageReader(RdfReader):
    """Reads the products of a page like those of a file of JSON-LD: see ``kg.rdf.pages``."""

    suffixes = (".html", ".htm", ".xhtml")


READER = PageReader()
