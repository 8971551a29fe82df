from __future__ import annotations

import base64
import io
import json
import os

import numpy as np
import pytest
from PIL import Image

from evaluation.report import (
    read_completions,
    read_truth,
    render,
    report_data,
    strongest_reasons,
    thumbnail,
    write_report,
)
from kg.home import Home
from kg.image_files import ImageFiles
from kg.snapshot import GraphSnapshot
from kg.stores.tables import items_table
from schema.errors import CatalographWarning, DataError
from schema.modalities import Modality
from schema.ontology import Ontology, PropertySpec
from schema.terms import Item

NO_FILES = ImageFiles([])


@pytest.fixture
def snapshot():
    return GraphSnapshot(
        items=["a", "b"],
        titles=["Red <mug>", None],
        categories=[None, None],
        images=[None, None],
        properties=["colour", "kind"],
        values=["red", "blue", "mug"],
        triples=np.array([[0, 0, 0], [0, 1, 2], [1, 0, 1]]),
        indptr=np.array([0, 2, 3]),
    )


@pytest.fixture
def ontology():
    return Ontology(
        [
            PropertySpec(name, values=("mug", "lamp"), counts=(2, 1), coverage=1.0)
            for name in ("colour", "kind")
        ]
    )


def completion(value="lamp", decision="fill", probability=0.9):
    evidence = {
        "title": 0.2,
        "image": -0.5,
        "known": [{"property": "colour", "value": "blue", "effect": 0.1}],
    }
    return {
        "item": "b",
        "property": "kind",
        "candidates": [{"value": value, "probability": probability}],
        "decision": decision,
        "evidence": evidence,
    }


def test_filled_cells_count_as_covered_after_completion_only(snapshot, ontology):
    data = report_data(snapshot, ontology, [completion()], {}, NO_FILES)
    kind = next(row for row in data.coverage if row.property == "kind")
    assert (kind.before, kind.after) == (0.5, 1.0)


def test_cells_left_for_review_do_not_count_as_covered(snapshot, ontology):
    data = report_data(snapshot, ontology, [completion(decision="review")], {}, NO_FILES)
    assert next(row for row in data.coverage if row.property == "kind").after == 0.5


def test_accuracy_is_compared_with_the_most_frequent_value(snapshot, ontology):
    (row,) = report_data(
        snapshot, ontology, [completion()], {("b", "kind"): {"lamp"}}, NO_FILES
    ).accuracy
    assert (row.model, row.most_frequent) == (1.0, 0.0)


def test_a_property_without_values_has_no_most_frequent_one(snapshot):
    ontology = Ontology([PropertySpec("kind", coverage=1.0)])
    (row,) = report_data(
        snapshot, ontology, [completion()], {("b", "kind"): {"lamp"}}, NO_FILES
    ).accuracy
    assert row.most_frequent == 0.0


def test_the_interval_of_an_accuracy_is_wilsons(snapshot, ontology):
    lines = [{**completion(), "item": str(number)} for number in range(10)]
    truth = {(str(number), "kind"): {"lamp"} for number in range(10)}
    (row,) = report_data(snapshot, ontology, lines, truth, NO_FILES).accuracy
    # Wilson (1927) with all of n right: the lower end is n / (n + z²).
    assert row.low == pytest.approx(10 / (10 + 1.96**2), abs=1e-4)
    assert row.high == 1.0


def test_completions_are_checked_if_the_truth_is_known(snapshot, ontology):
    lines = [completion(), {**completion(probability=0.3), "item": "c"}]
    truth = {("b", "kind"): {"lamp"}, ("c", "kind"): {"mug"}}
    data = report_data(snapshot, ontology, lines, truth, NO_FILES)
    assert (data.checked_fills.right, data.checked_fills.count) == (1, 2)
    assert [(each.probability, each.accuracy) for each in data.reliability] == [
        (0.3, 0.0),
        (0.9, 1.0),
    ]
    page = render(data)
    assert "50.0%" in page
    assert "true value: mug" in page


def test_the_page_escapes_titles_and_needs_nothing_from_outside(snapshot, ontology):
    page = render(report_data(snapshot, ontology, [{**completion(), "item": "a"}], {}, NO_FILES))
    assert "Red &lt;mug&gt;" in page
    assert "http:" not in page
    assert "https:" not in page
    assert "default-src 'none'; img-src data:" in page


def test_reasons_are_sorted_by_the_size_of_their_effect():
    reasons = strongest_reasons(completion()["evidence"])
    assert [name for name, _ in reasons] == ["image", "title", "colour: blue"]


def test_an_image_that_cannot_be_read_has_no_thumbnail(tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"no image")
    os.mkfifo(tmp_path / "pipe")
    files = ImageFiles([tmp_path])
    for image in (None, "https://x.org/1.jpg", *map(str, (tmp_path / "x.jpg", tmp_path / "pipe"))):
        assert thumbnail(image, files) is None
    assert len(files.failures) == 2


def test_a_file_from_outside_does_not_get_into_the_page(tmp_path):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (9, 9), "red").save(tmp_path / "secret.png")
    (tmp_path / "photos" / "link.png").symlink_to(tmp_path / "secret.png")
    files = ImageFiles([tmp_path / "photos"])
    for image in ("secret.png", "photos/link.png", "photos/../secret.png"):
        assert thumbnail(str(tmp_path / image), files) is None
        assert thumbnail(str(tmp_path / image), ImageFiles([])) is None


def test_a_thumbnail_is_encoded_anew(tmp_path):
    """Nothing of the file's bytes is in the page: they may hold scripts, or who took it where."""
    image = tmp_path / "a.jpg"
    Image.new("RGB", (400, 200), "red").save(
        image, comment=b"<script>here</script>", exif=b"secret"
    )
    url = thumbnail(str(image), ImageFiles([tmp_path]))
    assert url is not None
    data = base64.b64decode(url.removeprefix("data:image/jpeg;base64,"))
    assert b"script" not in data
    assert b"secret" not in data
    with Image.open(io.BytesIO(data)) as small:
        assert (small.format, small.size) == ("JPEG", (160, 80))


def test_images_that_cannot_be_shown_are_counted(tmp_path):
    home = Home.open(tmp_path / "home", create=True)
    with home.store() as store:
        store.put(items_table([Item("b", images=("/etc/passwd.png",))]), None)
    Ontology().save(home.ontology_path)
    (tmp_path / "filled.jsonl").write_text(json.dumps(completion()) + "\n")
    with pytest.warns(
        CatalographWarning, match=r"^1 of 1 images .*/etc/passwd.png, which is outside"
    ):
        write_report(home, tmp_path / "page.html", tmp_path / "filled.jsonl")
    assert "no image" in (tmp_path / "page.html").read_text()


def test_files_of_another_kind_are_refused(tmp_path):
    (tmp_path / "a").write_text(json.dumps({"item": "a"}) + "\n")
    with pytest.raises(DataError, match="is not a completion"):
        read_completions(tmp_path / "a")
    with pytest.raises(DataError, match="item,property,value,kind"):
        read_truth(tmp_path / "a")


@pytest.mark.parametrize(
    "change",
    [
        {"item": 5},
        {"property": None},
        {"decision": []},
        {"candidates": 5},
        {"candidates": [5]},
        {"candidates": [{"value": "a"}]},
        {"candidates": [{"value": 5, "probability": 0.5}]},
        {"candidates": [{"value": "a", "probability": 1.5}]},
        {"candidates": [{"value": "a", "probability": float("nan")}]},
        {"candidates": [{"value": "a", "probability": "x"}]},
        {"evidence": 5},
        {"decision": "\ud800"},
        {"evidence": {Modality.STATEMENTS.value: 5}},
        {"evidence": {Modality.STATEMENTS.value: [{"property": "a"}]}},
        {
            "evidence": {
                Modality.STATEMENTS.value: [{"property": "a", "value": "b", "effect": None}]
            }
        },
    ],
    ids=range(15),
)
def test_a_completion_of_anything_is_refused_by_its_line(tmp_path, change):
    lines = [completion(), completion() | change]
    (tmp_path / "a").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(DataError, match=":2 is not a completion"):
        read_completions(tmp_path / "a")


@pytest.mark.parametrize("data", [b"\xff", b"[" * 100_000, b'{"item": ' * 50_000, b"1" * 2_000_000])
def test_lines_of_anything_are_refused(tmp_path, data):
    (tmp_path / "a").write_bytes(data + b"\n")
    with pytest.raises(DataError, match=":1 is not a completion"):
        read_completions(tmp_path / "a")
    with pytest.raises(DataError):
        read_truth(tmp_path / "a")


def test_what_can_be_filled_is_counted_by_target(snapshot, ontology):
    lines = [
        {**completion("mug"), "proven": 0.99},
        {**completion("lamp"), "item": "a", "proven": 0.95},
        completion(decision="abstain"),
    ]
    truth = {("b", "kind"): {"mug"}, ("a", "kind"): {"mug"}}
    data = report_data(snapshot, ontology, [*lines[:2], {**lines[2], "item": "c"}], truth, NO_FILES)
    found = [(row.target, row.cells, row.checked, row.right) for row in data.targets]
    assert found == [(0.9, 2, 2, 1), (0.95, 2, 2, 1), (0.99, 1, 1, 1)]
    assert data.targets[0].share == pytest.approx(2 / 3)
    assert "What can be filled" in render(data)
    # Completions of an earlier version do not say what is proven.
    assert report_data(snapshot, ontology, [completion()], {}, NO_FILES).targets == []


def test_values_that_no_item_had_are_shown_with_a_title(snapshot, ontology):
    line = completion("Teal <b>", decision="review")
    line["candidates"][0] |= {"source": "title", "span": [0, 3]}
    line["item"] = "a"
    data = report_data(snapshot, ontology, [line, completion()], {}, NO_FILES)
    (row,) = data.title_values
    assert (row.property, row.value, row.cells, row.title) == ("kind", "Teal <b>", 1, "Red <mug>")
    page = render(data)
    assert "Values that no item had" in page
    assert "Teal &lt;b&gt;" in page


@pytest.mark.parametrize("proven", [-1, 2, "high"])
def test_what_is_proven_is_checked(tmp_path, proven):
    path = tmp_path / "lines.jsonl"
    path.write_text(json.dumps({**completion(), "proven": proven}) + "\n")
    with pytest.raises(DataError, match="not a completion"):
        read_completions(path)
