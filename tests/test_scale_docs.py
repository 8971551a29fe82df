"""docs/scale.md: engines read a journal on an object store as the page says."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from kg.stores.journal import Journal
from kg.stores.open import open_store
from kg.stores.shared_journal import share
from kg.stores.tables import statements_table
from tests.conftest import require_java
from tests.contracts.rows import statement
from tests.servers import jar_folder

HERE = Path(__file__).parent
SNIPPET = re.compile(r"```python\n(.*?)```", re.DOTALL)
OPERATIONS = {"item": 3, "statement": 4, "retract": 2, "delete": 1}


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory, object_store_server):
    """A home's store whose journal is on an object store, and the journal's URL."""
    folder = tmp_path_factory.mktemp("homes") / "graph"
    place = object_store_server.url
    share(Journal(folder / "journal"), place)
    with open_store(f"ladybug:{folder}") as store:
        store.put(None, statements_table([statement("a"), statement("b")]))
        store.put(None, statements_table([statement("c")]))
        store.retract([statement("a").id])
        store.put(None, statements_table([statement("a")]))
        store.delete(["b"])
    return f"ladybug:{folder}", place


def test_polars_and_duckdb_read_what_the_store_shows(catalogue):
    url, place = catalogue
    text = (HERE.parent / "docs" / "scale.md").read_text(encoding="utf-8")
    section = text.partition("## The journal where it lies")[2].partition("\n## ")[0]
    names: dict[str, Any] = {}
    for snippet in SNIPPET.findall(section):
        exec(compile(snippet.replace("s3://shop/shoes", place), "docs/scale.md", "exec"), names)
    assert names["operations"] == OPERATIONS
    with open_store(url, read_only=True) as store:
        found = [
            (row["item"], row["property"], row["value"], row["rank"])
            for batch in store.scan()
            for row in batch.to_pylist()
        ]
        assert len(found) == store.counts().statements == 2
    assert sorted(row[:4] for row in names["current"]) == sorted(found)


@pytest.mark.slow
def test_spark_reads_the_same(catalogue):
    require_java()
    pom = (HERE / "spark" / "pom.xml").read_text(encoding="utf-8")
    (spark,) = re.findall(r"<spark.version>(.+)</spark.version>", pom)
    if not version("pyspark").startswith(f"{spark}."):
        pytest.fail(f"PySpark {spark} is needed: Delta Lake's jars are for that version")
    jars = jar_folder(HERE / "spark" / "pom.xml")
    _, place = catalogue
    done = subprocess.run(
        [sys.executable, HERE / "spark" / "read.py", jars, place.replace("s3:", "s3a:")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SPARK_LOCAL_IP": "127.0.0.1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == OPERATIONS
