"""Kills a Neo4j server (-9) at random moments while a process writes, starts it again, and counts what is lost or doubled.

    python benchmarks/neo4j_kills.py [--kills 20] [--seed 0] [--out FILE]

The writer goes on by itself when the server is back; every batch that was acknowledged has to be there, once. Needs Java 17 and Maven.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

from tests.kg.stores.killing import outlived
from tests.servers import Neo4jServer, lacks


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out", type=Path, help="a file for the figures, which are printed as well"
    )
    args = parser.parse_args()
    if missing := lacks():
        print(f"nothing to kill: {missing}")
        return
    with tempfile.TemporaryDirectory() as folder:
        server = Neo4jServer(Path(folder))
        os.environ["NEO4J_PASSWORD"] = server.password
        server.start()
        try:
            report = outlived(server, args.kills, args.seed)
        finally:
            server.kill()
    text = json.dumps(report, indent=1)
    print(text)
    if args.out is not None:
        args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
