"""What docs/values.md says of cells and values is what becomes of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest

from kg.home import Home
from kg.ingest.pipeline import IngestReport, ingest
from schema.given_readings import infer_reading
from schema.literals import parse_literal
from schema.ontology import Ontology, PropertySpec

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "values.md").read_text(encoding="utf-8")
CODE = re.compile(r"`([^`]+)`")
THINGS = ("Vase", "Lamp", "Bowl", "Chair", "Table", "Shelf", "Mirror", "Clock")


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table under a heading, without the names of its columns."""
    (section,) = re.findall(rf"## {heading}\n(.*?)(?=\n## |\Z)", TEXT, re.DOTALL)
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


@dataclass(frozen=True)
class Loaded:
    """What became of a table."""

    home: Home
    report: IngestReport

    def values(self, property: str = "x") -> dict[str, str]:
        """Return the values of a property by the ids of the items."""
        with self.home.store(read_only=True) as store:
            facts = [row for batch in store.scan() for row in batch.to_pylist()]
        return {row["item"]: row["value"] for row in facts if row["property"] == property}

    def titles(self) -> list[str]:
        """Return the titles of all items."""
        with self.home.store(read_only=True) as store:
            return [row["title"] for batch in store.items() for row in batch.to_pylist()]

    def is_said(self, *words: str) -> bool:
        """Return whether the report or the list of rejected rows has a line with these words."""
        lines = [*self.report.notes, *map(str, self.report.first_rejects)]
        return any(all(word in line for word in words) for line in lines)


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Loaded]:
    """Load a table of which one column has the given cells, and the others ids and titles."""

    def run(
        cells: Sequence[str], column: str = "x", *, titles: Sequence[str] = (), id: str = "id"
    ) -> Loaded:
        names = [id, "title", *([column] if column != id else [])]
        lines = ["\t".join(names)]
        for number, cell in enumerate(cells):
            title = titles[number] if titles else f"{THINGS[number % 8]} {number}"
            first = cell if column == id else str(number)
            lines.append("\t".join([first, title, *([cell] if column != id else [])]))
        table = tmp_path / "items.tsv"
        table.write_text("\n".join(lines) + "\n", encoding="utf-8")
        home = Home.open(tmp_path / "home", create=True)
        return Loaded(home, ingest(home, [table], max_rejects="100%"))

    return run


def words(row: int, column: int = 0) -> list[str]:
    """Return what stands in code in a row of the table about cells."""
    return CODE.findall(rows("Cells")[row][column])


def test_the_table_about_cells_has_the_rows_that_are_tested_here():
    # A row that is added needs a test of its own below.
    assert len(rows("Cells")) == 9


def test_words_for_nothing_are_no_values(load):
    # Beside real values, since a column of nothing but such words would show less.
    real = ["oak", "clay", "steel", "glass"] * len(words(0))
    loaded = load([*words(0), *real])
    assert len(words(0)) > 10
    assert sorted(set(loaded.values().values())) == ["clay", "glass", "oak", "steel"]
    assert loaded.is_said(f"{len(words(0))} cells")


def test_doubtful_words_are_no_values_unless_the_column_says_otherwise(load):
    assert words(1) == ["NA", "NaN", "null", "无", "なし"]
    loaded = load([*words(1), *["oak", "clay", "steel", "glass"] * 5])
    assert not set(loaded.values().values()) & set(words(1))


@pytest.mark.parametrize(
    ("cells", "kept", "brand"),
    [
        (["NA", "DE", "IT", "FR", "ZA", "NA", "DE"], "NA", False),
        (["无", "有", "有", "无"], "无", False),
        (["NaN", "Vari", "Vari", "Vari"], "NaN", True),
    ],
)
def test_doubtful_words_are_values_where_the_column_says_so(load, cells, kept, brand):
    titles = [f"{cell} folding chair" if brand else f"Thing {cell}" for cell in cells]
    loaded = load(cells, "brand" if brand else "country", titles=titles)
    assert kept in loaded.values("brand" if brand else "country").values()


def test_words_that_say_none_are_values_but_beside_numbers(load):
    real = ["striped", "dotted", "plain", "checked"] * 4
    assert set(load([*words(2), *real]).values().values()) == {*words(2), *real}


def test_words_that_say_none_are_no_values_beside_numbers(load):
    numbers = [str(number) for number in range(10, 90, 4)]
    assert set(load([*words(2), *numbers]).values().values()) == set(numbers)


def test_markup_is_taken_off(load):
    markup, paragraph = words(3)
    plain = CODE.findall(rows("Cells")[3][1])
    titles = [markup, f"{paragraph}Mug</p>", *plain]
    loaded = load(["a"] * len(titles), titles=titles)
    assert loaded.titles() == ["Salt & Pepper", "Mug", *plain]


def test_a_list_in_markup_has_a_value_for_each_item(load, tmp_path):
    loaded = load(["<ul><li>light</li><li>strong</li></ul>", "plain", "plain"])
    with loaded.home.store(read_only=True) as store:
        values = {row["value"] for batch in store.scan() for row in batch.to_pylist()}
    assert values == {"light", "strong", "plain"}


def test_what_spreadsheets_put_before_texts_is_taken_off(load):
    assert rows("Cells")[4][1] == "00123"
    cells = [*words(4), "00124", "00125"]
    assert sorted(load(cells).values().values()) == ["00123", "00123", "00124", "00125"]


def test_a_rounded_number_is_no_id(load):
    rounded = words(5)[0]
    loaded = load([rounded, "4012345600022", "4012345600039"], "id")
    assert (loaded.report.stored, loaded.report.rejected) == (2, 1)
    assert loaded.is_said(rounded)


def test_a_rounded_number_is_no_gtin_but_article_numbers_are_kept(load):
    rounded = words(5)[0]
    loaded = load([rounded, "4012345600022", "4012345600039", "4012345600046"], "GTIN")
    assert rounded not in loaded.values("GTIN").values()
    assert loaded.is_said("GTIN")
    articles = CODE.findall(rows("Cells")[5][1])
    assert articles == ["1E5", "3D7"]


def test_article_numbers_are_no_rounded_ids(load):
    loaded = load(["1E5", "3D7", "2B4", "7A1"], "id")
    assert loaded.report.rejected == 0


def test_decimals_of_ids_are_taken_off(load):
    loaded = load([words(6)[0], "4012345600039.0", "4012345600046.0"], "GTIN")
    assert loaded.values("GTIN")["0"] == rows("Cells")[6][1].split(",")[0]


def test_a_gtin_with_a_wrong_check_digit_is_kept_and_said(load):
    cells = ["4012345600023", "4006381333931", "4012345600046", "4012345600053"]
    loaded = load(cells, "GTIN")
    assert set(loaded.values("GTIN").values()) == set(cells)
    assert loaded.is_said("check digit")


def test_the_index_of_pandas_is_left_out(load, tmp_path):
    table = tmp_path / "items.csv"
    table.write_text(",id,title,x\n" + "".join(f"{n},a{n},Thing {n},oak\n" for n in range(5)))
    home = Home.open(tmp_path / "home", create=True)
    report = ingest(home, [table])
    assert report.new_statements == 5
    assert any("left out" in note for note in report.notes)


EXAMPLES = [
    (row[0], example)
    for row in rows("Datatypes")
    for example in re.findall(r"`[^`]+`(?:/`[^`]+`)?", row[1])
]


def test_most_datatypes_have_examples():
    assert {names for names, _ in EXAMPLES} >= {"`boolean`", "`date`", "`quantity`"}
    assert len(EXAMPLES) > 20


@pytest.mark.parametrize(("datatypes", "example"), EXAMPLES)
def test_an_example_has_its_datatype(datatypes: str, example: str) -> None:
    values = CODE.findall(example)
    reading = infer_reading("x", values, [5] * len(values)).reading
    assert reading.datatype in CODE.findall(datatypes)
    spec = PropertySpec("x", reading.datatype, reading.unit, decimal_mark=reading.decimal_mark)
    assert all(spec.parse(value) is not None for value in values)


@pytest.mark.parametrize(
    ("values", "datatype"),
    [(["NO", "DE", "FR"], "string"), (["x"], "string"), (["1", "0"], "integer")],
)
def test_what_is_no_truth_value(values, datatype):
    assert infer_reading("x", values, [5] * len(values)).reading.datatype == datatype


def test_a_date_that_can_be_read_in_two_ways_is_read_as_the_others_are():
    def infer(*values: str) -> PropertySpec:
        reading = infer_reading("x", values, [1] * len(values)).reading
        return PropertySpec(
            "x", reading.datatype, date_order=reading.date_order, remark=reading.remark
        )

    assert str(infer("03/04/2024", "31/12/2024").parse("03/04/2024")) == "2024-04-03"
    assert str(infer("03/04/2024", "12/31/2024").parse("03/04/2024")) == "2024-03-04"
    alone = infer("03/04/2024", "05/06/2024")
    assert alone.datatype == "string"
    assert alone.remark


@pytest.mark.parametrize(("name", "unit"), [("weight_kg", "kg"), ("Gewicht (g)", "g")])
def test_a_unit_in_the_name(name, unit):
    assert f"`{name}`" in TEXT
    reading = infer_reading(name, ["12", "13"], [1, 1]).reading
    assert (reading.datatype, reading.unit) == ("quantity", unit)


@pytest.mark.parametrize(("name", "values"), [("weight", ["500 G"]), ("x", ["500 G", "1.2 kg"])])
def test_a_capital_letter_may_be_a_unit(name, values):
    reading = infer_reading(name, values, [1] * len(values)).reading
    assert reading.datatype == "quantity"
    assert parse_literal("500 G", "quantity", "g", reading.decimal_mark) == 500


def infer(values: dict[str, list[str]]) -> Ontology:
    facts = [
        (f"{name} {number}", name, value)
        for name, texts in values.items()
        for number, value in enumerate(texts)
    ]
    columns = dict(zip(("item", "property", "value"), zip(*facts, strict=True), strict=True))
    items = {"id": [fact[0] for fact in facts], "category": [None] * len(facts)}
    schema = pa.schema([("id", pa.string()), ("category", pa.string())])
    return Ontology.infer(pa.table(items, schema=schema), pa.table(columns))


def test_numbers_with_three_digits_behind_their_only_mark():
    ontology = infer(
        {
            "price": ["1.299", "2.499"],
            "length": ["45,5 cm", "12,5 cm"],
            "both": ["1.5", "2,5", "1,250"],
        }
    )
    assert ontology["price"].parse("1.299") == 1299
    assert ontology["both"].decimal_mark == "unclear"
    assert ontology["both"].parse("1,250") is None
    assert ontology["both"].remark


(EQUAL,) = re.findall(r"are one value: (.*?)\. The ontology", TEXT, re.DOTALL)
PAIR = re.compile(r"`([^`]+)`\s+(?:and|beside)\s+`([^`]+)`")


@pytest.mark.parametrize(("one", "other"), PAIR.findall(EQUAL))
def test_two_texts_are_one_value(one: str, other: str) -> None:
    assert len(infer({"x": [one, other, one]})["x"].values) == 1


def test_texts_that_are_different_values():
    (sentence,) = re.findall(r"codes\. (`500`.*?)different", TEXT, re.DOTALL)
    pairs = PAIR.findall(sentence)
    assert len(pairs) == 4
    for one, other in pairs:
        name = "version" if one == "1.1" else "x"
        assert set(infer({name: [one, other]})[name].values) == {one, other}
    assert set(infer({"power": ["mW", "MW"]})["power"].values) == {"mW", "MW"}


def test_the_piece_of_an_ontology_can_be_read():
    flags, piece = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    specs = Ontology.from_toml(flags).properties
    reasons = {name: spec.not_completed for name, spec in specs.items()}
    assert reasons == {"price": None, "internal note": "learn_false", "colour": "complete_false"}
    ontology = Ontology.from_toml(piece)
    assert ontology.shown("colour", "gray") == "grey"
    assert ontology["model name"].case_sensitive
    price = ontology["price"]
    assert PropertySpec("price", "decimal", decimal_mark=price.decimal_mark).parse("1.299") == 1299
