"""SPARQL 1.1's query language as an LL(1) grammar, without what leaves the store.

It derives the queries of https://www.w3.org/TR/sparql11-query/#sparqlGrammar, but neither SERVICE
nor an update, and of the prologue only what ``sparql_tokens`` leaves of it. The grammar is the
allow-list: what it does not derive is refused. Its parser keeps a stack of its own, so that no
depth of nesting makes Python recurse.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

# Quoted symbols are keywords and signs, names in small letters are the other kinds of tokens, and
# all others are rules. A line that begins with a blank continues the rule above it.
GRAMMAR = """
Query = ('BASE' iri)? (Select | Construct | Describe | Ask) Values
Select = SelectClause Dataset* Where Modifier
SubSelect = SelectClause Where Modifier Values
SelectClause = 'SELECT' ('DISTINCT' | 'REDUCED')?
  ((variable | '(' Expression 'AS' variable ')')+ | '*')
Construct = 'CONSTRUCT' (Template Dataset* Where Modifier
  | Dataset* 'WHERE' '{' Triples? '}' Modifier)
Describe = 'DESCRIBE' (VariableOrIri+ | '*') Dataset* Where? Modifier
Ask = 'ASK' Dataset* Where Modifier
Dataset = 'FROM' 'NAMED'? iri
Where = 'WHERE'? Group
Modifier = GroupBy? Having? OrderBy? Slice?
GroupBy = 'GROUP' 'BY' (BuiltIn | FunctionCall | '(' Expression ('AS' variable)? ')' | variable)+
Having = 'HAVING' Constraint+
OrderBy = 'ORDER' 'BY' (('ASC' | 'DESC') Bracketed | Constraint | variable)+
Slice = 'LIMIT' integer ('OFFSET' integer)? | 'OFFSET' integer ('LIMIT' integer)?
Values = ('VALUES' DataBlock)?

Group = '{' (SubSelect | TriplesBlock? (NotTriples '.'? TriplesBlock?)*) '}'
NotTriples = GroupOrUnion | Optional | Minus | Graph | Filter | Bind | 'VALUES' DataBlock
GroupOrUnion = Group ('UNION' Group)*
Optional = 'OPTIONAL' Group
Minus = 'MINUS' Group
Graph = 'GRAPH' VariableOrIri Group
Filter = 'FILTER' Constraint
Bind = 'BIND' '(' Expression 'AS' variable ')'
DataBlock = variable '{' Datum* '}' | (nil | '(' variable* ')') '{' (nil | '(' Datum* ')')* '}'
Datum = iri | Literal | 'UNDEF'
Constraint = Bracketed | BuiltIn | FunctionCall
FunctionCall = iri Arguments
Arguments = nil | '(' 'DISTINCT'? Expression (',' Expression)* ')'
Expressions = nil | '(' Expression (',' Expression)* ')'

Template = '{' Triples? '}'
Triples = SameSubject ('.' Triples?)?
SameSubject = VariableOrTerm Properties | (Collection | '[' Properties ']') Properties?
Properties = Verb Objects (';' (Verb Objects)?)*
Verb = VariableOrIri | 'a'
Objects = Node (',' Node)*
Node = VariableOrTerm | Collection | '[' Properties ']'
Collection = '(' Node+ ')'

TriplesBlock = SameSubjectPath ('.' TriplesBlock?)?
SameSubjectPath = VariableOrTerm PropertyPaths
  | (PathCollection | '[' PropertyPaths ']') PropertyPaths?
PropertyPaths = (Path | variable) PathObjects (';' ((Path | variable) PathObjects)?)*
PathObjects = PathNode (',' PathNode)*
PathNode = VariableOrTerm | PathCollection | '[' PropertyPaths ']'
PathCollection = '(' PathNode+ ')'
Path = PathSequence ('|' PathSequence)*
PathSequence = PathStep ('/' PathStep)*
PathStep = '^'? PathPrimary ('?' | '*' | '+')?
PathPrimary = iri | 'a' | '!' NegatedSet | '(' Path ')'
NegatedSet = OneInSet | nil | '(' (OneInSet ('|' OneInSet)*)? ')'
OneInSet = '^'? (iri | 'a')

VariableOrTerm = variable | iri | Literal | blank_node | anonymous | nil
VariableOrIri = variable | iri
Literal = string (language | '^^' iri)? | Number | 'TRUE' | 'FALSE'
Number = integer | fraction | positive | negative

Expression = Conjunction ('||' Conjunction)*
Conjunction = Relation ('&&' Relation)*
Relation = Sum (('=' | '!=' | '<' | '>' | '<=' | '>=') Sum
  | 'IN' Expressions | 'NOT' 'IN' Expressions)?
Sum = Product (('+' | '-') Product | (positive | negative) (('*' | '/') Unary)*)*
Product = Unary (('*' | '/') Unary)*
Unary = ('!' | '+' | '-')? Primary
Primary = Bracketed | BuiltIn | iri Arguments? | Literal | variable
Bracketed = '(' Expression ')'
BuiltIn = Aggregate | NoArgument nil | OneArgument '(' Expression ')'
  | TwoArguments '(' Expression ',' Expression ')' | ThreeArguments
  | 'BOUND' '(' variable ')' | 'BNODE' ('(' Expression ')' | nil)
  | ('CONCAT' | 'COALESCE') Expressions | 'EXISTS' Group | 'NOT' 'EXISTS' Group
NoArgument = 'RAND' | 'NOW' | 'UUID' | 'STRUUID'
OneArgument = 'STR' | 'LANG' | 'DATATYPE' | 'IRI' | 'URI' | 'ABS' | 'CEIL' | 'FLOOR' | 'ROUND'
  | 'STRLEN' | 'UCASE' | 'LCASE' | 'ENCODE_FOR_URI'
  | 'YEAR' | 'MONTH' | 'DAY' | 'HOURS' | 'MINUTES' | 'SECONDS'
  | 'TIMEZONE' | 'TZ' | 'MD5' | 'SHA1' | 'SHA256' | 'SHA384' | 'SHA512'
  | 'ISIRI' | 'ISURI' | 'ISBLANK' | 'ISLITERAL' | 'ISNUMERIC'
TwoArguments = 'LANGMATCHES' | 'CONTAINS' | 'STRSTARTS' | 'STRENDS' | 'STRBEFORE' | 'STRAFTER'
  | 'STRLANG' | 'STRDT' | 'SAMETERM'
ThreeArguments = 'IF' '(' Expression ',' Expression ',' Expression ')'
  | ('REGEX' | 'SUBSTR') '(' Expression ',' Expression (',' Expression)? ')'
  | 'REPLACE' '(' Expression ',' Expression ',' Expression (',' Expression)? ')'
Aggregate = 'COUNT' '(' 'DISTINCT'? ('*' | Expression) ')'
  | ('SUM' | 'MIN' | 'MAX' | 'AVG' | 'SAMPLE') '(' 'DISTINCT'? Expression ')'
  | 'GROUP_CONCAT' '(' 'DISTINCT'? Expression (';' 'SEPARATOR' '=' string)? ')'
"""
FUNCTION_ARGUMENTS = "Arguments"
"""The rule for the arguments of a function whose name, an IRI, is the token before."""
END = "the end"
KEYWORDS = frozenset(re.findall(r"'(\w+)'", GRAMMAR))
"""The words of the grammar, in capitals except ``a``."""

SYMBOL = re.compile(r"'(?P<literal>[^']+)'|(?P<name>\w+)|(?P<sign>[()|?*+])")

Symbols = tuple[str, ...]


class NotDerivedError(Exception):
    """The grammar derives no text that has this token at this place."""

    def __init__(self, position: int, expected: Sequence[str]) -> None:
        super().__init__(position)
        self.position = position
        self.expected = expected


@dataclass(slots=True)
class Table:
    """An LL(1) grammar: for each rule, what it is replaced by before each kind of token."""

    rows: dict[str, dict[str, Symbols]] = field(default_factory=dict)

    def function_arguments(self, kinds: Sequence[str]) -> Iterator[int]:
        """Parse a text given as the kinds of its tokens; yield where arguments begin.

        Raises NotDerivedError at the first token that cannot stand where it stands.
        """
        rows = self.rows
        stack = ["Query"]
        for position, kind in enumerate([*kinds, END]):
            while True:
                symbol = stack.pop() if stack else END
                row = rows.get(symbol)
                if row is None:
                    break
                symbols = row.get(kind)
                if symbols is None:
                    raise NotDerivedError(position, sorted(row))
                if symbol == FUNCTION_ARGUMENTS:
                    yield position
                stack.extend(symbols)
            if symbol != kind:
                raise NotDerivedError(position, [symbol])


@cache
def sparql_table() -> Table:
    """Return the parsing table of ``GRAMMAR``; raises ValueError if that is not LL(1)."""
    rules = _rules(GRAMMAR)
    first = _first_sets(rules)
    follow = _follow_sets(rules, first)
    table = Table()
    for rule, alternatives in rules.items():
        row = table.rows[rule] = {}
        for symbols in alternatives:
            kinds = _first_of(symbols, first)
            if "" in kinds:
                kinds = kinds - {""} | follow[rule]
            for kind in kinds:
                if kind in row:
                    raise ValueError(f"{rule} has two alternatives that begin with {kind}")
                # The parser takes symbols from the end of its stack.
                row[kind] = symbols[::-1]
    return table


def _rules(text: str) -> dict[str, list[Symbols]]:
    """Return each rule's alternatives; repetitions and brackets become rules of their own."""
    rules: dict[str, list[Symbols]] = {}
    for part in re.split(r"\n(?=\w)", text.strip()):
        name, _, body = part.partition(" = ")
        symbols = [match[0] for match in SYMBOL.finditer(body)]
        _Rule(name, symbols, rules).read()
    return rules


@dataclass(slots=True)
class _Rule:
    """A rule whose right side is being read, symbol after symbol."""

    name: str
    symbols: list[str]
    rules: dict[str, list[Symbols]]
    position: int = 0
    count: int = 0

    def read(self) -> None:
        self.rules[self.name] = self._alternatives()

    def _alternatives(self) -> list[Symbols]:
        alternatives = [self._sequence()]
        while self._next("|"):
            alternatives.append(self._sequence())
        return alternatives

    def _sequence(self) -> Symbols:
        sequence: list[str] = []
        while self.position < len(self.symbols) and self.symbols[self.position] not in ("|", ")"):
            sequence += self._repeated(self._item())
        return tuple(sequence)

    def _item(self) -> str:
        if not self._next("("):
            self.position += 1
            return self.symbols[self.position - 1].strip("'")
        alternatives = self._alternatives()
        self._next(")")
        return self._add(alternatives)

    def _repeated(self, item: str) -> Symbols:
        """Return the symbols for an item and the sign of repetition that may follow it."""
        if self._next("?"):
            return (self._add([(item,), ()]),)
        for sign in ("*", "+"):
            if self._next(sign):
                many = self._add([()])
                self.rules[many].append((item, many))
                return (many,) if sign == "*" else (item, many)
        return (item,)

    def _next(self, sign: str) -> bool:
        """Step over a sign if it comes next."""
        is_next = self.symbols[self.position : self.position + 1] == [sign]
        self.position += is_next
        return is_next

    def _add(self, alternatives: list[Symbols]) -> str:
        """Add a rule of its own for a part of this one; return its name."""
        self.count += 1
        name = f"{self.name} {self.count}"
        self.rules[name] = alternatives
        return name


def _first_of(symbols: Symbols, first: dict[str, set[str]]) -> set[str]:
    """Return the kinds that symbols can begin with, and "" if they can be nothing."""
    kinds: set[str] = set()
    for symbol in symbols:
        these = first.get(symbol, {symbol})
        kinds |= these - {""}
        if "" not in these:
            return kinds
    return kinds | {""}


def _first_sets(rules: dict[str, list[Symbols]]) -> dict[str, set[str]]:
    first: dict[str, set[str]] = {rule: set() for rule in rules}
    changed = True
    while changed:
        changed = False
        for rule, alternatives in rules.items():
            size = len(first[rule])
            for symbols in alternatives:
                first[rule] |= _first_of(symbols, first)
            changed |= len(first[rule]) > size
    return first


def _follow_sets(
    rules: dict[str, list[Symbols]], first: dict[str, set[str]]
) -> dict[str, set[str]]:
    follow: dict[str, set[str]] = {rule: set() for rule in rules}
    follow["Query"].add(END)
    changed = True
    while changed:
        changed = False
        for rule, alternatives in rules.items():
            for symbols in alternatives:
                after = follow[rule]
                for symbol in reversed(symbols):
                    if symbol not in rules:
                        after = {symbol}
                        continue
                    size = len(follow[symbol])
                    follow[symbol] |= after
                    changed |= len(follow[symbol]) > size
                    begin = first[symbol]
                    after = begin - {""} | after if "" in begin else begin
    return follow
