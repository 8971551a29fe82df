"""Proposals go out in a file, a colleague and a spreadsheet have it, and decisions come back."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from experts.labelled_items import CellDecision
from kg.home import Home
from kg.ingest.source import open_source
from schema.mapping import Mapping
from schema.proposals import NewProposal, ProposedDecision, ProposedValue
from serving.review.session import open_review
from tests.commands.conftest import Call, assert_fails
from tests.kg.ingest.made_workbooks import MadeSheet, write_xlsx
from training.decisions import read_decisions

Row = dict[str, str]
FORMULA = "=HYPERLINK(1)"


def proposal(item: str, property: str, *values: str, probability: float = 0.9) -> NewProposal:
    candidates = [ProposedValue(value, probability) for value in values]
    candidates += [ProposedValue(f"glass{number}", 0.01) for number in range(7)]
    return NewProposal(item, property, values, probability, tuple(candidates))


@pytest.fixture
def proposed(ingested: Call) -> Call:
    """Call a command in a home with three proposals, one of them a formula."""
    with open_review(Home.open("catalog")) as review:
        run = review.begin()
        review.add(
            run,
            [
                proposal("2", "material", "clay"),
                proposal("4", "colour", "brown", probability=0.6),
                proposal("3", "finish", FORMULA, probability=0.7),
            ],
        )
        review.end(run)
    return ingested


def rows_of(path: Path) -> list[Row]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def write(path: Path, rows: list[Row], delimiter: str = ",", encoding: str = "utf-8") -> None:
    with path.open("w", encoding=encoding, newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def decide(proposed: Call, tmp_path: Path) -> Callable[..., Any]:
    """Export, fill in decisions by item, import, and return the JSON."""

    def run(decisions: dict[str, tuple[str, str]], *words: str, **changes: Any) -> Any:
        path = tmp_path / "review.csv"
        assert proposed("review", "export", path).code == 0
        rows = rows_of(path)
        for row in rows:
            row["decision"], row["value"] = decisions.get(row["item"], ("", ""))
        rows = changes.pop("damage", lambda rows: rows)(rows)
        write(path, rows, **changes)
        return proposed("review", "import", path, "--by", "mo", "--json", *words).json

    return run


def states(call: Call) -> dict[str, tuple[str, list[str]]]:
    words = ("review", "list", "--json", "--state")
    names = ("proposed", "accepted", "rejected", "edited")
    listed = [each for name in names for each in call(*words, name).json["proposals"]]
    return {each["item"]: (each["state"], each["decided"]) for each in listed}


ALL = {"2": ("Yes", ""), "4": ("edit", "umber"), "3": ("FALSE", "")}
DECIDED = {
    "2": ("accepted", ["clay"]),
    "4": ("edited", ["umber"]),
    "3": ("rejected", []),
}
COUNTS = {"accepted": 1, "rejected": 1, "edited": 1, "skipped": 0, "refused": []}


def test_a_file_says_what_a_reviewer_needs(proposed: Call, tmp_path: Path) -> None:
    done = proposed("review", "export", "review.csv", "--order", "item", "--json").json
    assert (done["proposals"], done["format"], done["defused"]) == (3, "csv", 1)
    rows = rows_of(tmp_path / "review.csv")
    assert [row["item"] for row in rows] == ["2", "3", "4"]
    assert (rows[0]["title"], rows[0]["proposed"], rows[0]["probability"]) == (
        "Blue mug",
        "clay",
        "0.9000",
    )
    assert [rows[0][f"candidate {number}"] for number in (1, 5)] == [
        "glass0 (1.0%)",
        "glass4 (1.0%)",
    ]
    assert rows[1]["proposed"] == f"'{FORMULA}"
    assert {row["decision"] + row["value"] for row in rows} == {""}
    assert all(set(row["fingerprint"]) <= set("bcdfghjkmnpqrstv") for row in rows)


def test_decisions_are_one_run_that_is_taken_back(
    proposed: Call, decide: Callable[..., Any]
) -> None:
    before = proposed("stats", "--json").json, states(proposed)
    dry = decide(ALL, "--dry-run")
    assert (dry["run"], dry["dry_run"]) == (None, True)
    assert COUNTS.items() <= dry.items()
    assert (proposed("stats", "--json").json, states(proposed)) == before
    done = decide(ALL)
    assert COUNTS.items() <= done.items()
    assert states(proposed) == DECIDED
    history = proposed("review", "show", "2", "material", "--json").json["history"]
    assert [(each["kind"], each["reviewer"]) for each in history] == [("import", "mo")]
    assert proposed("undo", done["run"], "--json").json["proposals"] == 3
    assert (proposed("stats", "--json").json, states(proposed)) == before


def reordered(rows: list[Row]) -> list[Row]:
    kept = [name for name in reversed(rows[0]) if name not in ("title", "image", "item")]
    return [{name.upper(): row[name] for name in kept} for row in reversed(rows)]


def numbered(rows: list[Row]) -> list[Row]:
    return [
        row | {"proposal": f"{row['proposal']}.0", "item": f"{row['item']},0", "state": ""}
        for row in rows
    ]


def without_numbers(rows: list[Row]) -> list[Row]:
    kept = ("item", "property", "proposed", "state", "decision", "value")
    return [{name: row[name] for name in kept} for row in rows]


@pytest.mark.parametrize(
    "changes",
    [
        {"delimiter": ";", "encoding": "utf-8-sig"},
        {"delimiter": "\t", "encoding": "utf-16"},
        {"damage": reordered},
        {"damage": numbered},
        {"damage": without_numbers},
    ],
    ids=["semicolons", "utf-16", "reordered", "numbers", "without-numbers"],
)
def test_what_spreadsheets_do_costs_no_decision(
    proposed: Call, decide: Callable[..., Any], changes: dict[str, Any]
) -> None:
    assert COUNTS.items() <= decide(ALL, **changes).items()
    assert states(proposed) == DECIDED


def test_a_decision_about_a_changed_cell_is_refused_by_name(
    proposed: Call, decide: Callable[..., Any], tmp_path: Path
) -> None:
    def meanwhile(rows: list[Row]) -> list[Row]:
        proposed("review", "reject", "2", "material", "--by", "eva")
        (tmp_path / "erp.csv").write_text("id,finish\n3,matt\n")
        proposed("ingest", "erp.csv")
        return rows

    done = decide(ALL, damage=meanwhile)
    assert (done["accepted"], done["rejected"], done["edited"]) == (0, 0, 1)
    told = {each["item"]: each for each in done["refused"]}
    assert told.keys() == {"2", "3"}
    assert (told["2"]["row"], told["2"]["property"]) == (4, "material")
    assert "rejected by eva" in told["2"]["reason"]
    assert "expired" in told["3"]["reason"]


def test_a_prediction_written_meanwhile_is_a_change(
    proposed: Call, decide: Callable[..., Any]
) -> None:
    def meanwhile(rows: list[Row]) -> list[Row]:
        new = proposal("4", "colour", "black")
        due = "2000-01-01T00:00:00+00:00"
        with open_review(Home.open("catalog")) as review:
            run = review.begin()
            review.add(
                run,
                [NewProposal(**{**as_fields(new), "decision": ProposedDecision.FILL, "due": due})],
                apply=True,
            )
        return rows

    done = decide({"4": ("ok", "")}, damage=meanwhile)
    assert done["accepted"] == 0
    assert "expired" in done["refused"][0]["reason"]


def as_fields(new: NewProposal) -> dict[str, Any]:
    return {name: getattr(new, name) for name in ("item", "property", "values", "probability")}


def test_what_is_not_understood_is_refused_and_the_rest_counted(
    proposed: Call, decide: Callable[..., Any]
) -> None:
    done = decide({"2": ("perhaps", ""), "4": ("", "umber")})
    assert [each["item"] for each in done["refused"]] == ["4", "2"]
    assert done["undecided"] == 1
    assert done["run"] is None
    done = decide({"2": ("no", "oak"), "4": ("edit", "brown"), "3": ("edit", "")})
    reasons = {each["item"]: each["reason"] for each in done["refused"]}
    assert "takes no value" in reasons["2"]
    assert "accept it" in reasons["4"]
    assert "needs the right value" in reasons["3"]


def test_two_decisions_about_one_cell(proposed: Call, decide: Callable[..., Any]) -> None:
    def doubled(rows: list[Row]) -> list[Row]:
        brown, _, clay = rows
        return [*rows, clay, {**brown, "decision": "no"}]

    done = decide({"2": ("ok", ""), "4": ("yes", "")}, damage=doubled)
    assert (done["accepted"], done["repeated"], done["rejected"]) == (1, 1, 0)
    assert [each["row"] for each in done["refused"]] == [2, 6]
    assert "accept in row 2 and reject in row 6" in done["refused"][0]["reason"]


def test_most_reviewers_decide_and_their_share_is_what_models_learn_by(
    proposed: Call, decide: Callable[..., Any]
) -> None:
    def several(rows: list[Row]) -> list[Row]:
        brown, formula, clay = rows

        def says(row: Row, who: str, decision: str) -> Row:
            return row | {"reviewer": who, "decision": decision}

        return [
            *(says(clay, *each) for each in (("a", "ok"), ("b", "no"), ("c", "ok"), ("d", "?"))),
            *(says(brown, *each) for each in (("a", "no"), ("b", "ok"))),
            *(says(formula, *each) for each in (("a", "no"), ("a", "ok"), ("b", "no"))),
        ]

    done = decide({}, damage=several)
    assert (done["accepted"], done["rejected"], done["disputed"]) == (1, 0, 1)
    # Neither a tie nor somebody who says two things decides.
    assert {each["item"] for each in done["refused"]} == {"3", "4"}
    assert proposed("review", "show", "2", "material", "--json").json["reviewer"] == "a, c"
    home = Home.open("catalog")
    assert read_decisions(home) == {"2": {"material": CellDecision((), 0.6667)}}
    proposed("undo", done["run"])
    assert read_decisions(home) == {}


def test_what_was_rejected_is_refused_and_several_values_are_not(proposed: Call) -> None:
    with open_review(Home.open("catalog")) as review:
        run = review.begin()
        review.add(run, [proposal("2", "finish", "matt", "raw")])
        review.end(run)
    for item, property in (("2", "material"), ("2", "finish")):
        assert proposed("review", "reject", item, property).code == 0
    found = read_decisions(Home.open("catalog"))
    assert found == {"2": {"material": CellDecision(("clay",))}}


def test_rows_that_were_mixed_up_are_refused(proposed: Call, decide: Callable[..., Any]) -> None:
    def mixed(rows: list[Row]) -> list[Row]:
        items = [row["item"] for row in rows]
        return [row | {"item": item} for row, item in zip(rows, items[1:] + items[:1], strict=True)]

    done = decide(ALL, damage=mixed)
    assert (done["run"], len(done["refused"])) == (None, 3)


def test_a_second_import_changes_nothing_and_a_row_has_its_reviewer(
    proposed: Call, tmp_path: Path
) -> None:
    path = tmp_path / "review.csv"
    proposed("review", "export", path)
    rows = [row | {"decision": "skip", "reviewer": "eva"} for row in rows_of(path)]
    rows[0]["decision"] = "accept"
    write(path, rows)
    done = proposed("review", "import", path, "--json").json
    assert (done["accepted"], done["skipped"]) == (1, 2)
    shown = proposed("review", "show", "4", "colour", "--json").json
    assert shown["reviewer"] == "eva"
    assert proposed("review", "show", "2", "material", "--json").json["skips"] == 1
    again = proposed("review", "import", path, "--json").json
    assert (again["accepted"], again["already"], again["refused"]) == (0, 3, [])


def test_a_workbook(proposed: Call, tmp_path: Path) -> None:
    path = tmp_path / "review.xlsx"
    proposed("review", "export", path)
    mapping = Mapping("review", id=("proposal",), header=True)
    (batch,) = open_source(path, mapping).batches(mapping)
    rows: list[dict[str, Any]] = batch.table.to_pylist()
    for row in rows:
        decision, value = ALL[row["item"]]
        # As a spreadsheet keeps what it takes for numbers and truth values.
        row["proposal"] = float(row["proposal"])
        row["decision"] = False if decision == "FALSE" else decision
        row["value"] = value or None
    write_xlsx(path, {"review": MadeSheet([list(rows[0]), *(list(row.values()) for row in rows)])})
    assert COUNTS.items() <= proposed("review", "import", path, "--json").json.items()
    assert states(proposed) == DECIDED


def test_label_studio(proposed: Call, tmp_path: Path) -> None:
    done = proposed("review", "export", "tasks.json", "--json").json
    assert done["files"] == ["tasks.json", "tasks.xml"]
    configuration = (tmp_path / "tasks.xml").read_text()
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    for name in ("question", "title", "options"):
        assert f'"${name}"' in configuration
        assert all(name in task["data"] for task in tasks)

    def annotated(task: Any) -> Any:
        decision, value = {"2": ("accept", ""), "4": ("edit", "umber"), "3": ("reject", "")}[
            task["data"]["item"]
        ]
        result = [said("decision", "choices", [decision])]
        if value:
            result.append(said("value", "text", [value]))
        return task | {"annotations": [{"result": result, "completed_by": {"email": "eva@x.org"}}]}

    path = tmp_path / "export.json"
    path.write_text(json.dumps([annotated(task) for task in tasks]))
    done = proposed("review", "import", path, "--json").json
    assert COUNTS.items() <= done.items()
    assert states(proposed) == DECIDED
    shown = proposed("review", "show", "2", "material", "--json").json
    assert shown["reviewer"] == "eva@x.org"
    proposed("undo", done["run"])
    short = [task["data"] | {"decision": "edit", "candidate": "glass1"} for task in tasks[:1]]
    path.write_text(json.dumps(short))
    assert proposed("review", "import", path, "--json").json["edited"] == 1
    assert states(proposed)[tasks[0]["data"]["item"]] == ("edited", ["glass1"])


def test_predictions_fit_the_labelling_configuration(proposed: Call, tmp_path: Path) -> None:
    proposed("review", "export", "tasks.json")
    configuration = ElementTree.parse(tmp_path / "tasks.xml")
    controls = {each.get("name"): each for each in configuration.iter() if each.get("toName")}
    for task in json.loads((tmp_path / "tasks.json").read_text()):
        (prediction,) = task["predictions"]
        assert prediction["model_version"]
        assert prediction["score"] == task["data"]["probability"]
        assert bool(prediction["result"]) == (prediction["score"] >= 0.5)
        for result in prediction["result"]:
            control = controls[result["from_name"]]
            assert (control.tag, control.get("toName")) == ("Choices", result["to_name"])
            choices = [each.get("value") for each in control]
            assert set(result["value"][result["type"]]) <= set(choices)


def raw_task(task: Any, *annotations: Any) -> Any:
    """A task as Label Studio exports it as JSON: all documented keys, users by their numbers."""
    time = "2026-03-09T21:52:49.513742Z"
    return {
        "id": task["data"]["proposal"],
        "created_at": time,
        "updated_at": time,
        "project": 83,
        "file_upload": "d5a1-tasks.json",
        "drafts": [{"id": 4, "result": [said("decision", "choices", ["skip"])]}],
        "meta": {},
        "total_annotations": len(annotations),
        **task,
        "annotations": [
            {
                "id": "1001",
                "result": [
                    {"id": "Dx_aB91ISN", "source": "$question", "origin": "manual", **each}
                    for each in results
                ],
                "was_cancelled": not results,
                "ground_truth": False,
                "created_at": time,
                "updated_at": time,
                "lead_time": 4.288,
                "result_count": 0,
                "prediction": {},
                "task": task["data"]["proposal"],
                "completed_by": user,
            }
            for user, results in annotations
        ],
    }


def test_an_export_of_label_studio_as_json(proposed: Call, tmp_path: Path) -> None:
    proposed("review", "export", "tasks.json")
    tasks = {each["data"]["item"]: each for each in json.loads(Path("tasks.json").read_text())}
    edit = [said("decision", "choices", ["edit"]), said("value", "text", ["umber"])]
    path = tmp_path / "project-83.json"
    path.write_text(
        json.dumps(
            [
                raw_task(tasks["2"], (10, [said("decision", "choices", ["accept"])])),
                raw_task(tasks["4"], (10, edit)),
                raw_task(tasks["3"], (10, [])),
            ]
        )
    )
    done = proposed("review", "import", path, "--by", "mo", "--json").json
    counts = ("accepted", "edited", "skipped", "rejected")
    assert [done[name] for name in counts] == [1, 1, 1, 0]
    # One user's number says nothing that --by does not say better.
    assert proposed("review", "show", "4", "colour", "--json").json["reviewer"] == "mo"


def test_users_of_label_studio_are_told_apart_by_their_numbers(
    proposed: Call, tmp_path: Path
) -> None:
    proposed("review", "export", "tasks.json")
    task = next(t for t in json.loads(Path("tasks.json").read_text()) if t["data"]["item"] == "2")
    accept, reject = ([said("decision", "choices", [each])] for each in ("accept", "reject"))
    path = tmp_path / "export.json"
    path.write_text(json.dumps([raw_task(task, (10, accept), (11, reject), (12, accept))]))
    done = proposed("review", "import", path, "--by", "mo", "--json").json
    assert (done["accepted"], done["disputed"]) == (1, 1)
    shown = proposed("review", "show", "2", "material", "--json").json
    assert shown["reviewer"] == "annotator 10, annotator 12"


def test_an_export_of_label_studio_as_json_min(proposed: Call, tmp_path: Path) -> None:
    proposed("review", "export", "tasks.json")
    flat = [
        {
            **each["data"],
            "id": number,
            "decision": "edit" if each["data"]["item"] == "4" else "accept",
            **({"value": ["umber"]} if each["data"]["item"] == "4" else {}),
            "annotator": 1,
            "annotation_id": number,
            "created_at": "2026-03-09T21:52:49.513742Z",
            "updated_at": "2026-03-09T21:52:49.513742Z",
            "lead_time": 2.2,
        }
        for number, each in enumerate(json.loads(Path("tasks.json").read_text()), 1)
    ]
    path = tmp_path / "min.json"
    path.write_text(json.dumps(flat))
    done = proposed("review", "import", path, "--json").json
    assert (done["accepted"], done["edited"]) == (2, 1)


def said(name: str, type: str, value: list[str]) -> Any:
    return {"from_name": name, "to_name": "cell", "type": type, "value": {type: value}}


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", "proposal,item\n1,2\n", "decision"),
        ("a.csv", "item,decision\n1,yes\n2,no\n", "proposal"),
        ("a.csv", "proposal,decision\n1,yes\n2,no\n", "fingerprint"),
        ("a.json", "{", "no JSON"),
        ("a.json", "{}", "no list of tasks"),
    ],
)
def test_a_file_without_decisions_is_refused_in_one_line(
    proposed: Call, tmp_path: Path, name: str, content: str, told: str
) -> None:
    (tmp_path / name).write_text(content)
    assert_fails(proposed("review", "import", name), 1, told)


def test_a_file_name_has_to_say_its_format(proposed: Call) -> None:
    assert_fails(proposed("review", "export", "review.doc"), 2, "--format")
    assert proposed("review", "export", "review.doc", "--format", "csv").code == 0
    assert proposed("review", "import", "missing.csv").code != 0


def test_refused_rows_are_told_by_the_exit_code(proposed: Call, tmp_path: Path) -> None:
    path = tmp_path / "review.csv"
    assert proposed("review", "export", path).code == 0
    rows = rows_of(path)
    for row in rows:
        row["decision"] = "accept" if row["item"] == "2" else "perhaps"
    write(path, rows)
    importing = ("review", "import", path, "--by", "mo")
    assert_fails(proposed(*importing, "--dry-run"), 1, "2 rows", "can be taken", "--max-refused")
    refused = proposed(*importing, "--json")
    assert_fails(refused, 1, "limit of 0", "'perhaps' is none of")
    # What can be taken is taken all the same.
    assert (refused.json["accepted"], states(proposed)["2"][0]) == (1, "accepted")
    allowed = proposed(*importing, "--max-refused", "70%", "--json")
    assert (allowed.code, allowed.json["already"], len(allowed.json["refused"])) == (0, 1, 2)
    assert_fails(proposed(*importing, "--max-refused", "some"), 2, "--max-refused some")
