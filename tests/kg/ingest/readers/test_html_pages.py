"""Web pages as a source; what is read of a page is tested in tests/kg/rdf/test_pages.py."""

import json

from kg.ingest.readers.html_pages import READER
from tests.contracts.reader_contract import ReaderContract


class TestPages(ReaderContract):
    reader = READER
    file_name = "items.html"
    broken = b'<html><script type="application/ld+json">{"@type": "Product", </script>'
    id_column = "@item"
    keeps_order = False

    def write(self, path, rows):
        scripts = []
        for number, row in enumerate(rows):
            product = {
                "@context": {"@vocab": "urn:property:"},
                "@type": "https://schema.org/Product",
            }
            if row:
                product |= {"@id": f"urn:product:{number}", **row}
            text = json.dumps(product).replace("<", "\\u003c")
            scripts.append(f'<script type="application/ld+json">{text}</script>')
        path.write_text("<!DOCTYPE html><title>Shop</title>" + "\n".join(scripts))
