"""Queries that one reader takes for harmless, with a string, a comment or a name where another reads a clause. All are to be refused."""

CYPHER_TRICKS = (
    # Escapes, which Neo4j reads before anything else.
    "\\u0043REATE (n:Item {id: 'x'})", "MATCH (n) \\u0044ELETE n", "MATCH (n) DELET\\U00000045 n", "MATCH (n) \\uuu0053ET n.id = 'x'",
    "MATCH (n) WITH n, '\\u0027 AS x DETACH DELETE n //' AS y RETURN 1",
    'MATCH (n) WITH n, "\\u0022 AS x DETACH DELETE n //" AS y RETURN 1', "MATCH (n) WITH n AS `a\\u0060 DETACH DELETE a //` RETURN 1",
    "MATCH (n) /* \\u002a\\u002f DETACH DELETE n // */ RETURN n",
    # Comments.
    "MATCH (n) // only reads\r DETACH DELETE n", "MATCH (n) // only reads\r\rSET n.id = 'x' //\n RETURN n",
    "RETURN 1 AS x // ;\rCREATE (n)", "MATCH (n) /* /* */ DETACH DELETE n", "MATCH (n) /* */ /*/ */ DELETE n",
    "MATCH (n)/**/DETACH/**/DELETE/**/n", "MATCH (n) /* DELETE n", "MATCH (n) CRE/**/ATE (m)", "MATCH (n) DETACH//\nDELETE//\nn",
    "MATCH (n)/*\r*/DELETE n", "/*/*/*/ CREATE (n)", "//\rCREATE (n)",
    # Letters and spaces that are not what they look like.
    "MATCH (n) DE\u200bLETE n", "\ufeffCREATE (n:Item {id: 'x'})", "MATCH\u00a0(n)\u00a0DETACH\u00a0DELETE\u00a0n",
    "MATCH (n)\u2028DELETE n", "MATCH (n)\u2029SET n.id = 'x'", "MATCH (n)\u3000SET n.id = 'x'", "MATCH (n)\u0085DELETE n",
    "MATCH (n) DE\u00adLETE n", "MATCH (n) DELETE\u2060 n", "MATCH (n)\x0bDELETE n", "MATCH (n)\x1cDELETE n", "MATCH (n)\x00DELETE n",
    "MATCH (n) \u202eDELETE n", "MATCH (n) \u017fET n.id = 'x'", "\uff23\uff32\uff25\uff21\uff34\uff25 (n)", "MATCH (n) DELETE\u180en",
    "MATCH (n) DELETE \u2066n",
    # Strings and names in quotes.
    "MATCH (n) RETURN 'x' DELETE n", "MATCH (n) WITH n, 'a\\\\' AS x DETACH DELETE n //'", "MATCH (n) WITH n, 'it''s' AS x DETACH DELETE n",
    "MATCH (n) WITH n, \"'\" AS x DETACH DELETE n //\"", "MATCH (n) WITH n AS `a``b` DELETE `a``b`", "MATCH (n) WITH n AS `\\` DELETE `\\`",
    "MATCH (n) WITH n, 'a' AS `'` DELETE n // '", "MATCH (n) WITH n, '\"' AS x DELETE n //\"", "MATCH (n) RETURN $`a` DELETE n",
    # Functions that read files, call out or write.
    "MATCH (n) RETURN `apoc.load.json`('http://127.0.0.1:1/')", "RETURN `apoc`.`load`.`json`('x')",
    "RETURN apoc.load.json('http://127.0.0.1:1/')", "RETURN apoc.cypher.runFirstColumnSingle('CREATE (n)', {})",
    "RETURN {a: read_csv('/etc/passwd')}", "RETURN {a: nextval('x')}", "RETURN [nextval('x')]",
    "MATCH (i:Item) WHERE i.id = file('/etc/passwd') RETURN i", "RETURN n . load ('x')", "RETURN a.b /**/ ('x')",
    # Clauses inside of clauses.
    "MATCH (n) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 1 ROW", "MATCH (n) CALL { WITH n DELETE n } IN 2 CONCURRENT TRANSACTIONS",
    "MATCH (n) CALL { WITH n SET n.id = 'x' } RETURN n { .id, x: 1 }", "MATCH (n) RETURN n { .*, x: COLLECT { CREATE (m) RETURN m } }",
    "MATCH (n) WHERE EXISTS { MATCH (n) SET n.id = 'x' } RETURN n", "MATCH (n) RETURN COUNT { MATCH (n) DELETE n }",
    "MATCH (n) INSERT (:Item {id: 'x'})", "MATCH (n) NODETACH DELETE n", "MATCH (as) WITH as SET as.id = 'x'", "RETURN 1. CREATE (n)",
    "MATCH (n) RETURN [x IN [n] | x] CREATE (m)", "UNWIND [1] AS x MERGE (:Item {id: 'x'})", "MATCH (n) FOREACH (x IN [n] | DELETE x)",
    "MATCH (n) SET n += {id: 'x'}", "MATCH (n) SET n:Other", "MATCH (n) REMOVE n:Item", "MATCH (n) SET n.`id` = 'x'",
    "MATCH (n) SET n['id'] = 'x'", "MATCH (n) SET n:$(n.id)", "MATCH (n) USE neo4j RETURN n",
    "MATCH (n) RETURN n UNION CREATE (m) RETURN m AS n", "OPTIONAL CALL db.x()", "MATCH (n) WITH n WHERE true DELETE n",
    "OPTIONAL MATCH (n) DELETE n", "MATCH (n) RETURN n ORDER BY n.id DELETE n", "WITH 1 AS x CREATE (n)",
    # Commands.
    "CYPHER 25 MATCH (n) DETACH DELETE n", "CYPHER runtime=slotted CREATE (n)", "USING PERIODIC COMMIT 5 MATCH (n) DELETE n", "SHOW USERS",
    "SHOW SETTINGS", "SHOW FUNCTIONS EXECUTABLE BY CURRENT USER", "ALTER CURRENT USER SET PASSWORD FROM 'a' TO 'b'",
    "SHOW DATABASES YIELD *", "CREATE ALIAS x FOR DATABASE neo4j", "DENY READ ON GRAPH neo4j TO x", "START DATABASE neo4j",
    "RENAME USER neo4j TO eve", "FORCE CHECKPOINT", "COMMENT ON TABLE Item IS 'x'", "PROJECT GRAPH x", "ENABLE SERVER 'x'", "ANALYZE",
    "DEALLOCATE DATABASE FROM SERVER 'x'", "LET x = 1 RETURN x",
)  # fmt: skip
CALLED, GROUP = "<http://127.0.0.1:1/>", "{ ?a ?b ?c }"
SPARQL_TRICKS = tuple(
    text.replace("CALLED", CALLED).replace("GROUP", GROUP)
    for text in (
        # Escapes, which may be read before anything else.
        "SELECT * { SERV\\u0049CE CALLED GROUP }", "SELECT * { \\U00000053ERVICE CALLED GROUP }", "IN\\u0053ERT DATA { <urn:x> <urn:y> 1 }",
        "SELECT * { ?s ?p '\\u0027 . SERVICE CALLED GROUP #' }", 'SELECT * { ?s ?p "\\u0022 . SERVICE CALLED GROUP #" }',
        "SELECT * { ?s ?p <urn:x\\u003E> . SERVICE CALLED GROUP }", "SELECT * { ?s ?p ?o # \\u000a SERVICE CALLED GROUP \n }",
        # Comments.
        "SELECT * { ?s ?p ?o # only reads\r SERVICE CALLED GROUP }", "SELECT * { # a\r\rSERVICE CALLED GROUP #\n }", "# a\rCLEAR ALL",
        "SELECT * { SERVICE#\nCALLED GROUP }", "SELECT * {#\nSERVICE CALLED GROUP}", "ASK { SERVICE # SILENT\r\n CALLED GROUP }",
        # Words that begin where a number, a string or a name ends.
        "SELECT * { ?s ?p 1e5SERVICE CALLED GROUP }", "SELECT * { ?s ?p 1.0e0SERVICE CALLED GROUP }",
        "SELECT * { ?s ?p 1.SERVICE CALLED GROUP }", "SELECT * { ?s ?p trueSERVICE CALLED GROUP }",
        "SELECT * { ?s ?p 'a'SERVICE CALLED GROUP }", "SELECT * { ?s ?p '''a'''SERVICE CALLED GROUP }",
        'SELECT * { ?s ?p """a\\""""SERVICE CALLED GROUP }', "SELECT * { ?s ?p 'a\\\\' . SERVICE CALLED GROUP #' }",
        "SELECT*{SERVICE<urn:x>GROUP}", "PREFIX x: <urn:x> SELECT * { ?s ?p x:a\\# SERVICE CALLED GROUP \n }",
        "PREFIX x: <urn:x> SELECT * { ?s ?p x:a\\' . SERVICE CALLED GROUP # '\n }",
        "SELECT * { ?s ?p <urn:x\u00a0#> SERVICE CALLED GROUP \n }", 'SELECT * { ?s ?p <urn:x"> . SERVICE CALLED GROUP ?s ?p "x" }',
        "SELECT * { ?s ?p <urn:{#> . SERVICE CALLED GROUP \n }", "SELECT * { FILTER(1 <2) SERVICE CALLED GROUP }",
        "SELECT * { ?s ?p <#>SERVICE CALLED GROUP }", "SELECT * { BIND(1 AS ?x)SERVICE CALLED GROUP }",
        "SELECT * { VALUES ?x { UNDEF }SERVICE CALLED GROUP }", "SELECT * { MINUS{}SERVICE CALLED GROUP }",
        # Below, beside and between other clauses.
        "SELECT * { { SELECT * { SERVICE CALLED GROUP } } }", "SELECT * { { SELECT * { { SELECT ?a { SERVICE SILENT CALLED GROUP } } } } }",
        "SELECT * { service CALLED GROUP }", "SELECT * { OPTIONAL { SERVICE CALLED GROUP } }", "SELECT * { SeRvIcE ?x GROUP }",
        "SELECT * { FILTER EXISTS { SERVICE CALLED GROUP } }", "SELECT * { GRAPH ?g { SERVICE CALLED GROUP } }",
        "SELECT * { { } UNION { SERVICE CALLED GROUP } }", "PREFIX service: <urn:x> SELECT * { SERVICE service:x GROUP }",
        "PREFIX : <urn:x> SELECT * { SERVICE :x GROUP }", "DESCRIBE * { SERVICE CALLED GROUP }",
        "CONSTRUCT WHERE { ?s ?p ?o } ; INSERT DATA { <urn:x> <urn:y> 1 }", "SELECT * { ?s ?p ?o ; SERVICE CALLED GROUP }",
        "ASK{}CLEAR ALL",
        # Letters and spaces that are not what they look like.
        "\ufeffCLEAR ALL", "\u200bDROP ALL", "\uff23\uff2c\uff25\uff21\uff32 ALL", "SELECT * {\u200bSERVICE CALLED GROUP }",
        "SELECT * { SERVICE\u00a0CALLED GROUP }", "SELECT * { \u017fERVICE CALLED GROUP }", "SELECT * { ?s ?p ?o }\x0cCLEAR ALL",
        "SELECT * { ?s ?p ?o }\x00 CLEAR ALL", "SELECT * {}\u2028DROP ALL",
        # Updates and commands.
        "DELETE{?s ?p ?o}WHERE{?s ?p ?o}", "INSERT{}WHERE{}", "WITH<urn:x>DELETE{?s ?p ?o}WHERE{?s ?p ?o}", "BASE<urn:x>CLEAR ALL",
        "PREFIX x:<urn:x>DROP ALL", "define get:soft 'replace' SELECT * { ?s ?p ?o }", "explain SELECT * { ?s ?p ?o }",
        "SELECT * { ?s ?p ?o } CLEAR SILENT ALL", "DROP SILENT NAMED",
    )
)  # fmt: skip
