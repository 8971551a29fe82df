from tests.contracts.cypher_contract import CypherContract
from tests.contracts.journaled_contract import JournaledContract


class TestLadybug(CypherContract, JournaledContract):
    scheme = "ladybug"
    files = "graph.lbug*"

    def damage_graph(self, store):
        store._graph._execute("MATCH (i:Item {id: 'b'})-[h:HAS]->(v:Value) DELETE h")
