"""Draw queries that read, write, or reach outside, in both languages, and damage their spelling."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kg.stores.cypher_functions import LADYBUG

PIECE = re.compile(r"\w+|\s+|.", re.DOTALL)
ODD_SPACES = ("\u0085", "\u2028", "\u2029", "\u00a0", "\u3000", "\u1680", "\u180e", "\u200b")
ODD_CONTROLS = ("\x0b", "\x0c", "\x1c", "\x1f", "\x00", "\ufeff", "\u00ad", "\u2060", "\udc80")
LOOKALIKES = {"s": "ſ", "S": "ſ", "i": "ı", "I": "İ", "k": "\u212a", "E": "\uff25", "-": "\u2010"}
COMMENTS = (
    "/* */",
    "/**/",
    "/***/",
    "/* **/",
    "/*/*/",
    "// x\n",
    "// x\r",
    "# x\n",
    "# x\r",
    "#\n",
)
QUOTES = ("'", '"', "`", "''", '"""', "\\", "\\'", "<", ">", "\\\\")
BRACKETS = ("(", ")", "{", "}", "[", "]")
GLUE = (
    "1",
    "1e5",
    "0x1F",
    "1.",
    ".5",
    "$1",
    "1_0",
    "$x",
    "'a'",
    "²",
    ".",
    ":",
    "_:a",
    "'a'@en",
    ":x",
)
NAMES = ("i", "v", "h", "x", "set", "load", "create", "service", "in", "end", "order")


@dataclass
class Texts:
    """What the drawings of both languages have in common.

    ``outside`` is the path of a file, and ``address`` a URL, that no query may reach.
    """

    rng: random.Random
    outside: str
    address: str

    def draw(self) -> str:
        """Return a query that reads or attacks, as it should be or damaged."""
        is_attack = self.rng.random() < 0.5
        text = self.attack() if is_attack else self.reading()
        while self.rng.random() < (0.6 if is_attack else 0.3):
            text = self.rng.choice(DAMAGES)(self.rng, text)
        return text

    def reading(self) -> str:
        """Return a query that only reads."""
        raise NotImplementedError

    def attack(self) -> str:
        """Return a query that would write, read a file, or send something."""
        raise NotImplementedError

    def some(self, draw: Callable[[], str], most: int, separator: str = " ") -> str:
        """Return one to ``most`` drawings."""
        return separator.join(draw() for _ in range(self.rng.randint(1, most)))

    def one_of(self, *texts: str) -> str:
        """Return one of some texts."""
        return self.rng.choice(texts)


class CypherTexts(Texts):
    """Cypher on items that have values."""

    def reading(self) -> str:
        """Return clauses that read, and what they return."""
        text = f"MATCH {self.pattern()}"
        if self.rng.random() < 0.5:
            text += f" WHERE {self.truth(2)}"
        if self.rng.random() < 0.5:
            text += f" {self.clause()}"
        text += f" {self.returning()}"
        if self.rng.random() < 0.1:
            text += f" UNION {self.one_of('ALL ', '')}RETURN 'none' AS x"
        return text

    def attack(self) -> str:
        """Return a clause that attacks, on its own, after others, or within a subquery."""
        attack = self.attacking_clause()
        place = self.rng.randrange(6)
        if place == 0:
            return attack
        if place == 1:
            return f"{self.one_of('CALL', 'CALL (i)', 'WITH 1 AS x WHERE EXISTS')} {{ {attack} }}"
        if place == 2:
            return f"MATCH (i:Item) WHERE {self.truth(1)} {attack}"
        if place == 3:
            return f"{self.reading()}{self.one_of(';', ' ', ' UNION ')}{attack}"
        # After a property, a label or a key, where a clause's name is none.
        before = self.one_of("WHERE i.", "WHERE i:", "RETURN {", "WHERE i.x = 1.", "WITH ")
        return f"MATCH (i:Item) {before}{self.one_of('', ' ', '/* */')}{attack}"

    def attacking_clause(self) -> str:
        """Return a clause that writes, reads a file, or writes one."""
        return self.one_of(
            "SET i.title = 'written'",
            "SET i.title = 'written' RETURN 1",
            "DETACH DELETE i",
            "CREATE (:Item {id: 'written'})",
            "MERGE (:Value {text: 'written'})",
            "CREATE NODE TABLE Written(id STRING PRIMARY KEY)",
            "CREATE SEQUENCE written",
            "CREATE MACRO written(x) AS x",
            "DROP TABLE HAS",
            "ALTER TABLE Item ADD written STRING",
            "COMMENT ON TABLE Item IS 'written'",
            f"LOAD FROM '{self.outside}' RETURN *",
            f"LOAD FROM '{self.outside}' (header=false) MATCH (i:Item) RETURN *",
            f"CALL READ_CSV_PARALLEL('{self.outside}') RETURN *",
            f"COPY Value FROM '{self.outside}'",
            f"COPY (MATCH (n:Item) RETURN n.id) TO '{self.outside}.csv'",
            f"EXPORT DATABASE '{self.outside}.db'",
            f"ATTACH '{self.outside}.db' AS other (dbtype lbug)",
            "CALL show_tables() RETURN *",
            "CALL threads = 1",
            "CHECKPOINT",
            "BEGIN TRANSACTION",
            "RETURN nextval('written')",
        )

    def clause(self) -> str:
        """Return a clause that reads, and keeps the item ``i``."""
        name = self.rng.choice(NAMES)
        return self.one_of(
            f"MATCH (i)-[:HAS]->(w:Value) WHERE {self.truth(1)}",
            "OPTIONAL MATCH (i)-[k:HAS]->(w:Value {text: 'red'})",
            f"UNWIND {self.list(1)} AS {name}",
            f"WITH i, h, v, {self.value(2)} AS {name}",
            "WITH DISTINCT i, h, v ORDER BY i.id DESC SKIP 0 LIMIT 5",
        )

    def pattern(self) -> str:
        """Return a pattern of an item ``i``, a relationship ``h`` and a value ``v``."""
        item = self.one_of("(i:Item)", "(i:Item {id: 'a'})", "(i:`Item`)")
        path = self.one_of("", "", "p = ")
        return f"{path}{item}-[h:HAS]->(v:Value)"

    def returning(self) -> str:
        """Return a RETURN clause."""
        items = self.one_of("*", f"{self.value(2)} AS x", f"DISTINCT {self.value(1)} AS x")
        return f"RETURN {items}{self.one_of('', ' LIMIT 3', ' SKIP 1 LIMIT 2')}"

    def value(self, depth: int) -> str:
        """Return an expression whose parts are nested at most ``depth`` deep."""
        kinds = (self.number, self.text, self.truth, self.list, self.any)
        return self.rng.choice(kinds)(depth)

    def number(self, depth: int) -> str:
        """Return an expression that gives a number."""
        if depth == 0:
            return self.one_of("1", "-2", "1.5", "1e3", "count(*)", "$x", "$1", "size(v.text)")
        one, other = self.number(depth - 1), self.number(depth - 1)
        return self.one_of(
            f"{one} {self.one_of(*'+ - * /'.split())} {other}",
            f"({one})",
            f"{self.one_of('abs', 'round', 'sqrt', 'sign')}({one})",
            f"size({self.list(depth - 1)})",
            f"CASE WHEN {self.truth(depth - 1)} THEN {one} ELSE {other} END",
            f"COUNT {{ MATCH (i)-[:HAS]->(:Value) WHERE {self.truth(depth - 1)} }}",
        )

    def text(self, depth: int) -> str:
        """Return an expression that gives a string."""
        if depth == 0:
            return self.one_of(
                "'text'", '"SET"', "i.id", "v.text", "h.rank", "i.`title`", "'it\\'s'"
            )
        one = self.text(depth - 1)
        return self.one_of(
            f"{self.one_of('lower', 'toUpper', 'trim', 'reverse', 'md5')}({one})",
            f"{one} + {self.text(depth - 1)}",
            f"left({one}, 2)",
            f"coalesce({one}, 'none')",
            f"{{set: {one}, load: 1}}.set",
        )

    def truth(self, depth: int) -> str:
        """Return an expression that is true or false."""
        if depth == 0:
            return self.one_of("true", "i.id = 'a'", "v.text IS NOT NULL", "h.rank <> 'SET'")
        one = self.truth(depth - 1)
        comparison = self.one_of("=", "<>", "<", ">=")
        return self.one_of(
            f"{one} {self.one_of('AND', 'OR', 'XOR')} {self.truth(depth - 1)}",
            f"NOT ({one})",
            f"{self.number(depth - 1)} {comparison} {self.number(depth - 1)}",
            f"{self.text(depth - 1)} {self.one_of('CONTAINS', 'STARTS WITH', '=')} 'e'",
            f"i.id IN ['a', {self.text(depth - 1)}]",
            f"any(x IN {self.list(depth - 1)} WHERE x = 1)",
            f"EXISTS {{ MATCH (i)-[:HAS]->(w:Value) WHERE {one} }}",
        )

    def list(self, depth: int) -> str:
        """Return an expression that gives a list of numbers."""
        if depth == 0:
            return self.one_of("[1, 2]", "range(1, 3)", "[1]", "[3, 1, 2][1:2]")
        return self.one_of(
            f"[{self.number(depth - 1)}, {self.number(depth - 1)}]",
            f"list_sort({self.list(depth - 1)})",
            f"list_transform({self.list(depth - 1)}, y -> y + 1)",
        )

    def any(self, depth: int) -> str:
        """Return a call of any function with any arguments."""
        function = self.rng.choice(sorted(LADYBUG.functions))
        arguments = [self.value(max(depth - 1, 0)) for _ in range(self.rng.randrange(4))]
        return f"{function}({', '.join(arguments)})" if depth else "null"


class SparqlTexts(Texts):
    """SPARQL on items of the same names."""

    def reading(self) -> str:
        """Return a query of any form."""
        return f"{self.prologue()}{self.query()}"

    def query(self) -> str:
        """Return a query without a prologue."""
        group = self.group(2)
        return self.one_of(
            f"SELECT * {group}",
            f"SELECT DISTINCT ?i {group} ORDER BY ?i LIMIT 3",
            f"SELECT ?v (COUNT(*) AS ?n) {group} GROUP BY ?v HAVING (COUNT(*) > 0)",
            f"SELECT ({self.expression(2)} AS ?x) {group}",
            f"ASK {group}",
            f"CONSTRUCT {{ ?i <urn:p> ?v }} WHERE {group}",
            f"DESCRIBE ?i {group}",
        )

    def prologue(self) -> str:
        """Return prefixes with which names lead outside."""
        return "".join(
            f"PREFIX {name}: <{self.address}> "
            for name in ("", "SERVICE", "SERVICESILENT", "s")
            if self.rng.random() < 0.6
        )

    def attack(self) -> str:
        """Return a query that asks another server, or an update."""
        update = self.one_of(
            "INSERT DATA { <urn:x> <urn:y> 'written' }",
            "DELETE WHERE { ?s ?p ?o }",
            "INSERT { ?s ?p 'written' } WHERE { ?s ?p ?o }",
            f"LOAD <{self.address}>",
            f"LOAD <file://{self.outside}>",
            "CLEAR ALL",
            "DROP ALL",
            "CREATE GRAPH <urn:written>",
            "COPY DEFAULT TO <urn:written>",
        )
        if self.rng.random() < 0.3:
            return self.prologue() + self.one_of(
                update, f"ASK {{}} {update}", f"ASK {{}} ; {update}"
            )
        asks = f"{self.service()}{self.one_of(' ', '')}{{ ?a ?b ?c }}"
        inside = self.one_of(
            asks,
            f"?s ?p ?o . {asks}",
            f"OPTIONAL {{ {asks} }}",
            f"?s ?p ?o MINUS {{ {asks} }}",
            f"FILTER EXISTS {{ {asks} }}",
            f"FILTER NOT EXISTS {{ {asks} }}",
            f"{{ SELECT * {{ {asks} }} }}",
            f"{{}} UNION {{ {asks} }}",
            f"GRAPH ?g {{ {asks} }}",
            f"?s <urn:p>/:.{asks}",
            f"?s ?p {self.rng.choice(GLUE)}{asks}",
            f"VALUES ?g {{ <{self.address}> }} {asks}",
            f"BIND(1 AS ?x){asks}",
            f"LATERAL {{ {asks} }}",
        )
        form = self.one_of("SELECT *", "ASK", "CONSTRUCT { ?a ?b ?c } WHERE", "DESCRIBE ?s")
        return f"{self.prologue()}{form} {{ {inside} }}"

    def service(self) -> str:
        """Return SERVICE in one of its spellings, with where to ask."""
        word = self.one_of("SERVICE", "service", "SeRvIcE", "SERVICE SILENT", "SERVICE/**/", "SERV")
        target = self.one_of(f" <{self.address}>", f"<{self.address}>", ":x", " :x", " ?g", "?g")
        return self.one_of(f"{word}{target}", f"{word}{target}", "SERVICESILENT:x", "SERVICE:x")

    def group(self, depth: int) -> str:
        """Return a group graph pattern."""
        return f"{{ {self.some(lambda: self.part(depth), 3)} }}"

    def part(self, depth: int) -> str:
        """Return a part of a group."""
        path = self.one_of(
            "schema:name", "?p", "a", "schema:name|^schema:name", "!(a|^a)", "(a/a)*"
        )
        triple = f"?i {path} ?v {self.one_of('.', '. ', '')}"
        if depth == 0:
            return triple
        group = self.group(depth - 1)
        return self.one_of(
            triple,
            f"?i schema:name {self.one_of('[]', '()', '_:b', '1', '1e5')}, 'x'@en ; a ?v .",
            f"OPTIONAL {group}",
            f"{group} UNION {group}",
            f"MINUS {group}",
            f"GRAPH ?g {group}",
            f"FILTER ({self.expression(2)})",
            f"FILTER NOT EXISTS {group}",
            f"BIND ({self.expression(1)} AS ?b{self.rng.randrange(99)})",
            "VALUES (?v ?w) { ('red' UNDEF) (1 <urn:x>) }",
            f"{{ SELECT ?i {group} }}",
        )

    def expression(self, depth: int) -> str:
        """Return an expression whose parts are nested at most ``depth`` deep."""
        if depth == 0:
            return self.one_of(
                "?v", "1", "-2", "1.5e3", "'text'", "'''a'b'''", "true", "xsd:integer"
            )
        inner = [self.expression(depth - 1) for _ in range(2)]
        operator = self.one_of(*"+ - * / = != < > && ||".split())
        return self.one_of(
            f"{inner[0]} {operator} {inner[1]}",
            f"({inner[0]})",
            f"!({inner[0]})",
            f"STR({inner[0]})",
            f"CONCAT({inner[0]}, {inner[1]})",
            f"IF(BOUND(?v), {inner[0]}, {inner[1]})",
            f"xsd:string({inner[0]})",
            f"{inner[0]} NOT IN ({inner[1]})",
            f"EXISTS {{ ?i ?p {self.one_of('?v', '1')} }}",
            f"<{self.address}f>({inner[0]})",
        )


def _change(rng: random.Random, text: str, change: Callable[[list[str], int], None]) -> str:
    """Return a text of which one piece was changed in a list of all of them."""
    pieces = PIECE.findall(text)
    if pieces:
        change(pieces, rng.randrange(len(pieces)))
    return "".join(pieces)


def glued(rng: random.Random, text: str) -> str:
    """Remove some of a text's blanks."""
    return "".join(each for each in PIECE.findall(text) if each != " " or rng.random() < 0.7)


def replaced_spaces(rng: random.Random, text: str) -> str:
    """Replace some blanks by what may be one."""
    odd = rng.choice(ODD_SPACES + ODD_CONTROLS + ("\t", "\r", "\n", "\r\n"))
    return "".join(
        odd if each == " " and rng.random() < 0.4 else each for each in PIECE.findall(text)
    )


def inserted(parts: Sequence[str]) -> Callable[[random.Random, str], str]:
    """Return a damage that inserts one of some parts somewhere."""

    def damage(rng: random.Random, text: str) -> str:
        """Insert a part between two pieces."""
        return _change(rng, text, lambda pieces, place: pieces.insert(place, rng.choice(parts)))

    return damage


def changed_case(rng: random.Random, text: str) -> str:
    """Change the case of letters, or put letters that look alike in their place."""
    if rng.random() < 0.5:
        return "".join(rng.choice((each.lower(), each.upper())) for each in text)
    return "".join(LOOKALIKES.get(each, each) if rng.random() < 0.1 else each for each in text)


def escaped(rng: random.Random, text: str) -> str:
    """Write a character as an escape, which some parsers replace before anything else."""
    if not text:
        return text
    place = rng.randrange(len(text))
    form = rng.choice(
        ("\\u{:04X}", "\\U{:08X}", "\\\\u{:04x}", "\\uu{:04X}", "\\x{:02X}", "%{:02X}")
    )
    return text[:place] + form.format(ord(text[place])) + text[place + 1 :]


def split_word(rng: random.Random, text: str) -> str:
    """Put something between two letters."""
    place = rng.randrange(len(text) + 1)
    return text[:place] + rng.choice(COMMENTS + ODD_SPACES + ODD_CONTROLS + GLUE) + text[place:]


def truncated(rng: random.Random, text: str) -> str:
    """Cut off the beginning or the end."""
    place = rng.randrange(len(text) + 1)
    return rng.choice((text[:place], text[place:]))


def doubled(rng: random.Random, text: str) -> str:
    """Repeat a piece."""
    return _change(rng, text, lambda pieces, place: pieces.insert(place, pieces[place]))


def swapped(rng: random.Random, text: str) -> str:
    """Put one piece in another's place."""

    def swap(pieces: list[str], place: int) -> None:
        """Swap a piece with any other."""
        other = rng.randrange(len(pieces))
        pieces[place], pieces[other] = pieces[other], pieces[place]

    return _change(rng, text, swap)


def nested(rng: random.Random, text: str) -> str:
    """Put brackets, often very many, around a piece."""
    depth = rng.choice((1, 2, 5, 30, 60, 3_000))
    opening, closing = rng.choice((("(", ")"), ("[", "]"), ("{", "}"), ("NOT (", ")"), ("!(", ")")))

    def nest(pieces: list[str], place: int) -> None:
        """Nest one piece."""
        pieces[place] = opening * depth + pieces[place] + closing * depth

    return _change(rng, text, nest)


DAMAGES: tuple[Callable[[random.Random, str], str], ...] = (
    glued,
    replaced_spaces,
    inserted(COMMENTS),
    inserted(QUOTES),
    inserted(BRACKETS),
    inserted(GLUE),
    inserted(ODD_SPACES + ODD_CONTROLS),
    inserted((";", ",", "|", "?", "!", "*", "+", "\n")),
    changed_case,
    escaped,
    split_word,
    truncated,
    doubled,
    swapped,
    nested,
)
