"""Queries that look dangerous, or are merely odd, and only read: both guards have to let them pass, and the stores answer them."""

from tests.kg.lookups import read_lookups

CYPHER = (
    "MATCH (i:Item) RETURN i.id AS `set`", "MATCH (i:Item)-[h:HAS]->(v:Value) WHERE h.property = 'set' RETURN v.text AS `delete`",
    "MATCH (i:Item) WHERE i.title CONTAINS 'DELETE' RETURN i.id", 'MATCH (i:Item) WHERE i.title = "MERGE; DROP" RETURN i.id',
    "MATCH (create_:Item) RETURN create_.id", "MATCH (merged:Item) RETURN merged.id AS created",
    "MATCH (i:Item) RETURN i.id AS start, 1 AS stop", "RETURN 1 AS comment", "RETURN 1 AS project, 2 AS enable",
    "RETURN {set: 1, delete: 2, load: 3} AS copy_", "RETURN {`create`: 1} AS m", "MATCH (i:Item) // CREATE\n RETURN count(i) AS n",
    "MATCH (i:Item) /* DETACH DELETE i; DROP */ RETURN count(i) AS n", "RETURN 1 AS one;", "RETURN 'it\\'s; CREATE (n)' AS text",
    'RETURN "a \\" DELETE" AS text', "RETURN 'back\\\\slash' AS text", "RETURN '//' AS x, '/*' AS y", "RETURN '`' AS tick",
    "RETURN 'CALL { }' AS text UNION RETURN 'LOAD CSV' AS text", "RETURN '\u200bDELETE \uff24' AS text", "RETURN 'größe' AS größe",
    "MATCH (i:Item) WHERE NOT EXISTS { MATCH (i)-[:HAS {property: 'set'}]->(:Value) } RETURN count(i) AS n",
    "MATCH (i:Item) RETURN COUNT { MATCH (i)-[:HAS]->(:Value) } AS n LIMIT 1", "UNWIND [1, 2, 3] AS x RETURN sum(x) AS total",
    "UNWIND ['create', 'merge'] AS word MATCH (v:Value {text: word}) RETURN v.text", "WITH 1 AS x WHERE x > 0 RETURN x",
    "OPTIONAL MATCH (i:Item {id: 'nobody'}) RETURN i.id AS id", "MATCH (i:Item) WHERE i.title =~ '.*(set|drop).*' RETURN count(i) AS n",
    "match (i:Item) return distinct i.category as category order by category desc skip 1 limit 2", "RETURN\t1\r\n AS x",
    "RETURN (1 + 2) * (3) AS x", "MATCH (i:Item) RETURN CASE WHEN i.title IS NULL THEN 'none' ELSE 'set' END AS title LIMIT 1",
    "RETURN any(x IN [1, 2] WHERE x > 1) AS yes",
    "MATCH (:Item)-[h:HAS]->(:Value) WHERE h.rank IN ['asserted'] AND (h.confidence IS NULL OR h.confidence > 0.5) RETURN count(h) AS n",
    "MATCH (i:Item)-[h:HAS]->(v:Value) RETURN h.source AS source, min(h.row) AS first, avg(h.row) AS mean LIMIT 3", "RETURN -1.5e3 AS x",
    "MATCH (i:Item) WITH i ORDER BY i.id LIMIT 3 RETURN collect(i.id) AS ids",
    "RETURN round(sqrt(2.0), 2) AS root, abs(-1) AS one, sign(-3) AS s",
    "MATCH (i:Item) WHERE i.id STARTS WITH 'P' AND NOT i.id ENDS WITH '9' RETURN count(i) AS n",
    "RETURN toUpper('load') AS x, trim(' set ') AS y",
)  # fmt: skip
SPARQL = (
    "SELECT ?service { ?service a schema:Product } LIMIT 1", "SELECT $delete { $delete a schema:Product } LIMIT 1",
    "SELECT * { ?s schema:name ?insert FILTER(CONTAINS(?insert, 'SERVICE')) }", 'SELECT * { ?s rdf:object "DELETE WHERE { ?s ?p ?o }" }',
    "SELECT * { ?s rdf:object 'it\\'s SERVICE <urn:x>' }", 'SELECT * { ?s rdf:object """CLEAR "ALL" """ }',
    "SELECT * { ?s rdf:object '''DROP 'ALL' ''' }", "# SERVICE <urn:x> { }\nASK { ?s ?p ?o }", "ASK { ?s ?p ?o } # LOAD <urn:x>",
    "SELECT * { ?s property:service ?o }", "SELECT * { ?s property:add ?o }", "PREFIX load: <urn:load:> SELECT * { ?s load:clear ?o }",
    "PREFIX service: <urn:x> SELECT * { ?s service:drop/service:copy ?o }", "SELECT * { ?s <urn:SERVICE> ?o }",
    "SELECT * { ?s <urn:x#DELETE> ?o }", "SELECT * { <urn:catalograph:property:dinner%20service> ?p ?o }",
    "BASE <urn:catalograph:> SELECT * { ?s ?p ?o } LIMIT 1", "BASE <urn:x:> PREFIX y: <z> SELECT * { ?s y:insert ?o }",
    "SELECT * { ?s ?p 'x'@en }", "SELECT * { ?s ?p 'load'@add }", "SELECT (COUNT(*) AS ?drop) { ?s ?p ?o }",
    "CONSTRUCT { ?s <urn:create> ?o } WHERE { ?s schema:name ?o } LIMIT 1", "DESCRIBE item:P000001", "ASK FROM rank:asserted { ?s ?p ?o }",
    "SELECT ?g { GRAPH ?g { ?s ?p ?o } } GROUP BY ?g", "ASK{?s ?p ?o}", "SELECT * { ?s cg:row ?r FILTER(?r < 3 && ?r > 1) } LIMIT 1",
    "SELECT * { ?s cg:row ?r FILTER(?r<3) } LIMIT 1", "SELECT * { VALUES ?x { 'USING' 'MOVE' } }",
    "SELECT ?x { BIND('\u200bSERVICE' AS ?x) }", "SELECT * { ?größe schema:name ?name } LIMIT 1",
    "select * where { ?s ?p ?o . filter(isiri(?o)) } limit 1", "SELECT * { ?s ?p ?o MINUS { ?s a rdf:Statement } } LIMIT 1",
    "SELECT (1e5 AS ?x) (-1.5 AS ?y) (true AS ?z) {}", "SELECT * { _:add ?p _:b } LIMIT 1",
    "SELECT * {\r\n ?s a schema:Product }\r\nLIMIT 1", "SELECT (REPLACE('a.b', '\\\\.', '-') AS ?x) {}",
    "SELECT * { ?s rdf:object ?o ; cg:rank [] } LIMIT 1",
)  # fmt: skip
ALL_CYPHER = CYPHER + tuple(each.query for each in read_lookups("cypher"))
ALL_SPARQL = SPARQL + tuple(each.query for each in read_lookups("sparql"))
