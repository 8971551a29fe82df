"""Ingest: files become items and statements; every row is stored or rejected."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from kg.home import Home
from kg.ingest.pipeline import ingest, parse_limit
from kg.stores.memory import MemoryStore
from schema.errors import MappingError, RejectsError, SourceNotFoundError, UsageError
from tests.real_data import DATA, needs_data

ITEMS = """id,title,category,image,seller,colour,height
1,Red mug,Home > Mugs,images/1.png,acme,red|blue,12 cm
2,Rug,Home > Rugs,,acme,NA,
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    store = MemoryStore()
    monkeypatch.setattr(Home, "store", lambda self, read_only=False: store)
    return Home.open(tmp_path / "home", create=True)


def statements(home):
    return [row for batch in home.store().scan() for row in batch.to_pylist()]


def facts(home):
    return sorted((row["item"], row["property"], row["value"]) for row in statements(home))


def item(home, id):
    return home.store().item(id)[0]


def rejected_rows(home):
    with home.ledger() as ledger:
        return ledger.rejects()


def write(folder, text, name="items.csv"):
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder / name


def test_a_table_becomes_items_and_statements(home, tmp_path):
    report = ingest(home, [write(tmp_path, ITEMS)])
    assert (report.mapping, report.read, report.stored) == ("sample", 2, 2)
    assert (report.items, report.statements) == (2, 3)
    assert facts(home) == [
        ("1", "colour", "blue"),
        ("1", "colour", "red"),
        ("1", "height", "12 cm"),
    ]
    assert item(home, "1").category == "Home > Mugs"
    assert "columns left out: seller" in report.notes[-1]


def test_a_second_run_adds_nothing(home, tmp_path):
    path = write(tmp_path, ITEMS)
    ingest(home, [path])
    again = ingest(home, [path])
    assert (again.read, again.stored, again.new_items, again.new_statements) == (2, 2, 0, 0)


def test_every_statement_has_its_provenance(home, tmp_path):
    report = ingest(home, [write(tmp_path, ITEMS)])
    for row in statements(home):
        assert (row["source"], row["batch"], row["row"]) == ("items.csv", report.run, 2)
        assert row["rank"] == "asserted"
        assert row["time"].endswith("+00:00")


def test_the_report_has_the_fields_of_the_contract(home, tmp_path):
    fields = [
        "mapping",
        "read",
        "stored",
        "rejected",
        "items",
        "statements",
        "new_items",
        "new_statements",
        "images",
        "seconds",
        "changes",
    ]
    assert list(ingest(home, [write(tmp_path, ITEMS)]).as_dict()) == fields


def test_images_are_found_beside_the_table(home, tmp_path):
    path = write(tmp_path, ITEMS)
    (tmp_path / "images").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "images" / "1.png")
    assert ingest(home, [path]).images == 1
    assert item(home, "1").images == (str(tmp_path / "images" / "1.png"),)
    assert item(home, "2").images == ()


def test_missing_and_refused_images_are_reported(home, tmp_path):
    path = write(tmp_path, "id,title,image\n1,a,gone.png\n2,b,../x.png\n3,c,https://x.org/3.jpg\n")
    report = ingest(home, [path], images=tmp_path)
    assert (report.images, report.stored) == (0, 3)
    notes = "\n".join(report.notes)
    assert "1 images were not found" in notes
    assert "leaves the image folder" in notes
    assert item(home, "3").images == ("https://x.org/3.jpg",)


def test_images_named_by_id(home, tmp_path):
    (tmp_path / "p").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "p" / "1.jpg")
    report = ingest(home, [write(tmp_path, "id,title\n1,a\n2,b\n")], images=tmp_path / "p")
    assert report.images == 1


@pytest.mark.parametrize("name", ["photos", "new {x} photos", "a/{b}/"])
def test_images_named_by_id_in_the_folder_of_a_mapping(home, tmp_path, name):
    mapping = tmp_path / "m.toml"
    mapping.write_text(f'id = "id"\nimage_pattern = "{{id}}.jpg"\nimage_folder = "{name}"\n')
    (tmp_path / name).mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(tmp_path / name / "1.jpg")
    table = write(tmp_path, "id,title\n1,a\n2,b\n")
    assert ingest(home, [table], mapping=str(mapping)).images == 1


def test_bad_rows_are_rejected_with_a_reason(home, tmp_path):
    path = write(tmp_path, b"id,colour\n1,red\n,blue\n2\n3,caf\xff\n1,green\n1,red\n4,\xc3\xa9\n")
    report = ingest(home, [path], max_rejects="100%")
    assert (report.read, report.stored, report.rejected, report.items) == (7, 3, 4, 2)
    reasons = {row.line: row.reason for row in rejected_rows(home)}
    assert sorted(reasons) == [3, 4, 5, 6]
    assert (reasons[3], reasons[6]) == (
        "empty id",
        "id '1' already appeared in line 2 with other content",
    )
    assert {row.file for row in rejected_rows(home)} == {str(path)}


def test_rows_of_a_corrected_file_are_no_longer_rejected(home, tmp_path):
    ingest(home, [write(tmp_path, "id,colour\n1,red\n,blue\n")], max_rejects=1)
    ingest(home, [write(tmp_path, "id,colour\n1,red\n2,blue\n")])
    assert rejected_rows(home) == []


def test_over_the_limit_the_good_rows_are_stored_and_the_job_fails(home, tmp_path):
    path = write(tmp_path, "id,colour\n1,red\n,blue\n")
    with pytest.raises(
        RejectsError,
        match=r"1 of 2 rows were rejected, more than the limit of 1% .*line 3, empty id.*--max-re",
    ) as caught:
        ingest(home, [path])
    assert caught.value.report.stored == home.store().counts().items == 1


@pytest.mark.parametrize(
    ("text", "rows", "allowed"), [("1%", 200, 2), ("0", 10, 0), (5, 10, 5), ("2.5 %", 1000, 25)]
)
def test_limits(text, rows, allowed):
    assert parse_limit(text, "--max-rejects")(rows) == allowed


@pytest.mark.parametrize("text", ["many", "-1", "nan", "inf%", ""])
def test_invalid_limits(text):
    with pytest.raises(UsageError, match="--max-rejects"):
        parse_limit(text, "--max-rejects")


def test_a_dry_run_writes_nothing(tmp_path):
    report = ingest(Home(tmp_path / "home"), [write(tmp_path, ITEMS)], dry_run=True)
    assert (report.stored, report.statements) == (2, 3)
    assert not (tmp_path / "home").exists()


def test_invalid_requests_fail_before_anything_is_written(home, tmp_path):
    good = write(tmp_path, ITEMS)
    bad = write(tmp_path, "colour,size\nred,1\n", "bad.csv")
    for sources, extra, error in (
        ([good, bad], {}, MappingError),
        ([good, tmp_path / "none.csv"], {}, SourceNotFoundError),
        ([good], {"images": tmp_path / "none"}, SourceNotFoundError),
        ([good], {"mapping": "nonesuch"}, MappingError),
        ([], {}, UsageError),
    ):
        with pytest.raises(error):
            ingest(home, sources, **extra)
    assert home.store().counts().items == 0


def test_minimal_catalogues(home, tmp_path):
    assert ingest(home, [write(tmp_path, "id\n1\n")]).items == 1
    assert ingest(home, [write(tmp_path, "id,colour\n", "none.csv")]).read == 0
    assert ingest(home, [write(tmp_path, "id,colour\n2,red\n", "one.csv")]).statements == 1


def test_the_ontology_is_inferred_again_and_keeps_edits(home, tmp_path):
    ingest(home, [write(tmp_path, ITEMS)])
    text = home.ontology_path.read_text()
    assert home.ontology()["height"].unit == "cm"
    home.ontology_path.write_text(text.replace('unit = "cm"', 'unit = "in"'))
    ingest(home, [write(tmp_path, ITEMS.replace("12 cm", "14 cm"))])
    assert home.ontology()["height"].unit == "in"
    assert home.ontology().values_of("height") == ("14 cm",)


def test_progress_is_reported(home, tmp_path):
    rows_read = []
    ingest(home, [write(tmp_path, ITEMS)], progress=lambda report: rows_read.append(report.read))
    assert rows_read[-1] == 2


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=6)


@settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(st.lists(st.tuples(CELL, CELL), max_size=8))
def test_every_row_of_any_table_is_stored_or_rejected(tmp_path, rows):
    path = write(tmp_path, "id,colour\n" + "".join(f"{name},{colour}\n" for name, colour in rows))
    report = ingest(Home(tmp_path / "none"), [path], dry_run=True, max_rejects="100%")
    assert report.read == report.stored + report.rejected
    assert report.items <= report.stored


@needs_data
def test_the_fashion_catalogue(home):
    report = ingest(home, [DATA / "fashion"])
    assert report.mapping == "fashion-product-images"
    assert (report.read, report.stored, report.rejected) == (7020, 7020, 0)
    assert (report.statements, report.images, len(home.ontology().properties)) == (56152, 7020, 8)
    assert item(home, "15970").category == "Apparel > Topwear > Shirts"


@needs_data
def test_the_k3m_catalogue(home):
    report = ingest(home, [DATA / "k3m" / "train.tsv"])
    assert (report.mapping, report.read, report.stored, report.items) == ("k3m", 400, 400, 400)
    assert ("631434255153", "材质", "布") in facts(home)


def test_what_cleaning_did_is_said_by_word_and_column(home, tmp_path):
    table = (
        ",sku,title,country,brand,ean,material\n"
        "0,A1,Salt &amp; <b>Pepper</b>,NA,n/a,4006381333931,—\n"
        "1,A2,Cup,DE,NaN,4006381333932,'00012\n"
        "2,A3,Can,IT,N/A,4.00638E+12,Wood &lt; Oak\n"
    )
    report = ingest(home, [write(tmp_path, table)], dry_run=True)
    notes = "\n".join(report.notes)
    assert "4 cells left out as missing" in notes
    assert "N/A (1 in brand)" in notes
    assert "NA (1 in country)" in notes
    assert "2 cells had HTML" in notes
    assert "1 of 2 GTINs in ean are faulty" in notes
    assert "4.00638E+12 (1 in ean)" in notes
    assert "columns left out: column_1" in notes


def test_a_spoilt_id_is_rejected_with_a_reason_that_says_so(home, tmp_path):
    table = "ean,title\n4.01235E+12,Cup\n#REF!,Can\n4012345600022.0,Bowl\n04012345600015,Plate\n"
    ingest(home, [write(tmp_path, table)], max_rejects=2)
    assert sorted(row.reason.split(" (")[0] for row in rejected_rows(home)) == [
        "id '#REF!' is a spreadsheet's word for an error: correct the cell",
        "id '4.01235E+12' is a number that a spreadsheet has rounded",
    ]
    assert [item(home, name).title for name in ("4012345600022", "04012345600015")] == [
        "Bowl",
        "Plate",
    ]


def test_equal_values_are_one_in_the_ontology_and_texts_stay_as_they_are(home, tmp_path):
    ingest(home, [write(tmp_path, "sku,title,weight\n1,a,1.2 kg\n2,b,1200 g\n3,c,2 kg\n")])
    assert home.ontology().values_of("weight") == ("1.2 kg", "2 kg")
    assert facts(home) == [
        ("1", "weight", "1.2 kg"),
        ("2", "weight", "1200 g"),
        ("3", "weight", "2 kg"),
    ]
    assert home.snapshot().values == ["1.2 kg", "2 kg"]


def test_a_row_without_any_category_is_no_trouble(home, tmp_path):
    (tmp_path / "m.toml").write_text('id = "id"\ncategory = ["a", "b"]\n')
    table = write(tmp_path, "id,a,b\n1,Home,Mugs\n2,,\n3,Home,\n")
    ingest(home, [table], mapping=str(tmp_path / "m.toml"))
    assert [item(home, name).category for name in "123"] == ["Home > Mugs", None, "Home"]


def test_items_of_an_earlier_source_are_said(home, tmp_path):
    write(tmp_path, "sku,title,colour\n1,Mug,red\n2,Cup,blue\n", "a.csv")
    write(tmp_path, "sku,title,colour\n1,Becher,green\n3,Pot,red\n", "b.csv")
    report = ingest(home, [tmp_path / "a.csv", tmp_path / "b.csv"])
    assert (report.items, report.new_items) == (3, 3)
    assert [note for note in report.notes if "earlier source" in note] == [
        "b.csv: 1 items are in an earlier source of this run, too"
    ]
    assert any("another title" in note and "the newest is shown" in note for note in report.notes)


def test_variants_of_a_product_that_no_source_has_are_said(home, tmp_path):
    (tmp_path / "m.toml").write_text('id = "id"\nparent = "parent"\n')
    table = write(tmp_path, "id,parent\n1,\n2,1\n3,9\n")
    report = ingest(home, [table], mapping=str(tmp_path / "m.toml"))
    assert "1 variants are of a product that no source has" in report.notes[-1]
