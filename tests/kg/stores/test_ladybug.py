import os

import ladybug

from kg.stores.ladybug import LadybugStore
from tests.contracts.cypher_contract import CypherContract
from tests.contracts.journaled_contract import JournaledContract


class TestLadybug(CypherContract, JournaledContract):
    scheme = "ladybug"
    files = "graph.lbug*"
    store_class = LadybugStore

    def ruin_file(self, url):
        os.truncate(self.published(url), 4096)

    def fail_to_open(self, patch, reason):
        def fail(*arguments, **options):
            raise RuntimeError(reason)

        patch.setattr(ladybug, "Database", fail)

    def damage_graph(self, store):
        store._graph._execute("MATCH (i:Item {id: 'b'})-[h:HAS]->(v:Value) DELETE h")
