"""Queries that would write, read files, call other servers or stop one, in many spellings."""

from itertools import product

from tests.kg.stores.tricks import CYPHER_TRICKS, SPARQL_TRICKS

CYPHER_ATTACKS = (
    "CREATE (n:Item {id: 'x'})",
    "MERGE (n:Item {id: 'x'})",
    "MATCH (n) SET n.id = 'x'",
    "MATCH (n) REMOVE n.id",
    "MATCH (n) DELETE n",
    "MATCH (n) DETACH DELETE n",
    "DROP CONSTRAINT catalograph_item",
    "CREATE INDEX FOR (n:Item) ON (n.id)",
    "DROP TABLE Item",
    "ALTER TABLE Item DROP title",
    "COPY Item FROM '/etc/passwd'",
    "COPY (MATCH (n) RETURN n) TO '/tmp/x.csv'",
    "LOAD FROM '/etc/passwd' RETURN *",
    "LOAD CSV FROM 'file:///etc/passwd' AS line RETURN line",
    "CALL READ_CSV_SERIAL('/etc/passwd') RETURN *",
    "CALL db.labels()",
    "CALL dbms.shutdown()",
    "CALL apoc.load.json('http://127.0.0.1/')",
    "CALL { MATCH (n) DETACH DELETE n }",
    "EXPORT DATABASE '/tmp/x'",
    "IMPORT DATABASE '/tmp/x'",
    "INSTALL httpfs",
    "LOAD EXTENSION httpfs",
    "ATTACH '/tmp/x' AS y",
    "USE system SHOW USERS",
    "BEGIN TRANSACTION",
    "COMMIT",
    "CHECKPOINT",
    "MATCH (n) FOREACH (x IN [1] | SET n.a = x)",
    "CREATE USER eve SET PASSWORD 'x'",
    "GRANT ROLE admin TO eve",
    "TERMINATE TRANSACTION 'x'",
    "SHOW TRANSACTIONS",
    "PROFILE MATCH (n) DELETE n",
    "EXPLAIN CREATE (n)",
    "STOP DATABASE neo4j",
)
CYPHER_DISGUISES = (
    "{}",
    "MATCH (n) RETURN n; {}",
    "/* read only */ {}",
    "MATCH (n) WITH n {}",
    "// harmless\n{}",
    "{} RETURN 1",
    "\t{}  ;",
)
SPARQL_ATTACKS = (
    "INSERT DATA { <urn:x> <urn:y> 1 }",
    "DELETE WHERE { ?s ?p ?o }",
    "DELETE { ?s ?p ?o } INSERT { ?s ?p 1 } WHERE { ?s ?p ?o }",
    "LOAD <file:///etc/passwd>",
    "LOAD SILENT <http://127.0.0.1/x>",
    "CLEAR ALL",
    "CLEAR GRAPH <urn:x>",
    "DROP ALL",
    "DROP DEFAULT",
    "CREATE GRAPH <urn:x>",
    "ADD DEFAULT TO <urn:x>",
    "MOVE DEFAULT TO <urn:x>",
    "COPY DEFAULT TO <urn:x>",
    "WITH <urn:x> DELETE { ?s ?p ?o } WHERE { ?s ?p ?o }",
    "DELETE DATA { <urn:x> <urn:y> 1 }",
    "SELECT * { SERVICE <http://127.0.0.1/sparql> { ?s ?p ?o } }",
    "SELECT * { SERVICE SILENT <http://127.0.0.1/> { ?s ?p ?o } }",
    "SELECT * { ?s ?p ?o . SERVICE ?s { ?a ?b ?c } }",
    "ASK { SERVICE <file:///etc/passwd> { ?s ?p ?o } }",
    "CONSTRUCT { ?s ?p ?o } WHERE { SERVICE <http://127.0.0.1/> { ?s ?p ?o } }",
    "DESCRIBE ?s { SERVICE <http://127.0.0.1/> { ?s ?p ?o } }",
)
SPARQL_DISGUISES = (
    "{}",
    "SELECT * {{ ?s ?p ?o }} ; {}",
    "PREFIX x: <urn:x> {}",
    "# harmless\n{}",
    "BASE <urn:x> {}",
    "\n\t {} ",
    "SELECT * {{ ?s ?p ?o }}\n{}",
    "SELECT ('x' AS ?y) {{ }} {}",
    "ASK {{ }} ; {}",
    "{} ;",
)


def disguised(disguises: tuple[str, ...], attacks: tuple[str, ...]) -> tuple[str, ...]:
    """Return every attack in every disguise, as written and in lower case, each once."""
    texts = [
        disguise.format(text)
        for disguise, attack in product(disguises, attacks)
        for text in (attack, attack.lower())
    ]
    return tuple(dict.fromkeys(texts))


CYPHER = disguised(CYPHER_DISGUISES, CYPHER_ATTACKS) + CYPHER_TRICKS
SPARQL = disguised(SPARQL_DISGUISES, SPARQL_ATTACKS) + SPARQL_TRICKS
