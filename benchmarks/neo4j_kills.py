"""Kill a Neo4j server (-9) again and again while a process writes; count lost and duplicated rows.

    python benchmarks/neo4j_kills.py [--kills 20] [--seed 0] [--out FILE]

The writer goes on by itself when the server is back. Every batch that was acknowledged must be
there, and be there once. Needs Java 17 and Maven.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.kg.stores.killing import kill_repeatedly
from tests.servers import Neo4jServer, missing_requirement


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    missing = missing_requirement()
    if missing:
        print(f"no server to kill: {missing}")
        return
    os.environ["NEO4J_AUTH"] = f"neo4j/{Neo4jServer.password}"
    with tempfile.TemporaryDirectory() as folder, Neo4jServer(Path(folder)) as server:
        report = kill_repeatedly(server, args.kills, args.seed)
    text = json.dumps(report, indent=1)
    print(text)
    if args.out is not None:
        args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
