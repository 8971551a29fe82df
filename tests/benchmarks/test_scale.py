"""The arithmetic of the benchmark of scale, and that it goes on where it was cut off."""

import math
import sys
from dataclasses import replace

import pytest

from benchmarks import scale
from benchmarks.scale import Place, Stage, measure_size
from benchmarks.scale_figures import (
    Figure,
    Figures,
    Point,
    large_slope,
    markdown_table,
    net_of_start,
    net_slope,
    slope,
)
from benchmarks.scale_plan import (
    Assumed,
    gigabytes,
    markdown,
    planned,
    shards_of,
    statements_of_item,
)

SAY = "import sys; open(sys.argv[1], 'a').write(sys.argv[2] + ' '); print('{\"cells\": 7}')"


def points(*pairs):
    return [Point(items, cost) for items, cost in pairs]


def test_a_slope_is_that_of_the_least_squares_line_through_the_logarithms():
    # By hand: log10 gives (1, 0), (2, 1) and (3, 3), whose means are 2 and 4/3, so that the slope
    # is ((-1)(-4/3) + 0 + (1)(5/3)) / (1 + 0 + 1) = 3/2.
    assert slope(points((10, 1), (100, 10), (1000, 1000))) == pytest.approx(1.5)
    assert slope(points((10, 4), (1000, 4))) == pytest.approx(0)
    assert slope(points((10, 4))) is None
    assert slope(points((10, 0), (100, 4))) is None


def test_the_start_is_subtracted_and_sizes_that_are_mostly_start_do_not_count():
    # A start of 5 s, and 1 ms an item.
    costs = points((200, 5.2), (1_000, 6), (10_000, 15), (100_000, 105))
    net = net_of_start(costs)
    assert [point.items for point in net] == [9_800, 99_800]
    assert [point.cost for point in net] == pytest.approx([9.8, 99.8])
    assert net_slope(costs) == pytest.approx(1)
    assert large_slope(costs) == pytest.approx(math.log10(7))
    assert net_of_start([]) == []
    # A start of 5 s at a busy moment, and of 4 s at a quiet one.
    assert [point.cost for point in net_of_start(points((200, 5), (1_000, 4), (9_000, 8)))] == [4]


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path / "work", 40)


@pytest.fixture
def run(tmp_path, monkeypatch, place):
    """Measures stages that only write down their names, and returns these."""
    done = tmp_path / "done"
    path = tmp_path / "figures.json"

    monkeypatch.setattr(
        scale, "command_of", lambda stage, at, _: [sys.executable, "-c", *stage.words(at)]
    )

    def measured(stages, limit=60.0):
        done.write_text("")
        place.home.mkdir(parents=True, exist_ok=True)
        measure_size(place, Figures.open(path), stages, limit)
        return done.read_text().split(), Figures.open(path)

    return measured


def stage(tmp_path, name, code=SAY, needs=()):
    return Stage(name, lambda at: (code, str(tmp_path / "done"), name), ("cells",), needs)


def test_what_was_measured_is_not_measured_again(tmp_path, run):
    stages = [stage(tmp_path, "first"), stage(tmp_path, "second", needs=("first",))]
    assert run(stages[:1])[0] == ["first"]
    ran, figures = run(stages)
    assert ran == ["second"]
    assert figures.of(40, "second").said == {"cells": 7}
    assert figures.of(40, "second").cpu_seconds > 0
    assert run(stages)[0] == []


def test_a_size_whose_home_is_gone_begins_anew(tmp_path, run, place):
    stages = [stage(tmp_path, "first"), stage(tmp_path, "second")]
    run(stages[:1])
    figures = Figures.open(tmp_path / "figures.json")
    (tmp_path / "done").write_text("")
    measure_size(replace(place, folder=tmp_path / "other"), figures, stages, 60.0)
    assert (tmp_path / "done").read_text().split() == ["first", "second"]


def test_what_takes_too_long_is_ended_and_said_and_what_needs_it_left_out(tmp_path, run):
    slow = stage(tmp_path, "slow", "import time; time.sleep(600)")
    stages = [slow, stage(tmp_path, "next", needs=("slow",)), stage(tmp_path, "other")]
    ran, figures = run(stages, limit=0.5)
    assert ran == ["other"]
    assert figures.of(40, "slow").not_finished_within == 0.5
    assert figures.of(40, "next").left_out == "needs 'slow'"
    # The same limit would not do; with a greater one it is tried again, and what needs it.
    assert not figures.is_open(40, "slow", 0.5)
    assert figures.is_open(40, "slow", 60)
    ran, figures = run([stage(tmp_path, "slow"), *stages[1:]])
    assert ran == ["slow", "next"]
    assert figures.is_done(40, "next")


def test_a_stage_that_fails_is_said_and_tried_again_without_what_it_left_behind(
    tmp_path, run, place
):
    broken = stage(tmp_path, "first", "raise SystemExit(3)")
    _, figures = run([broken])
    assert figures.of(40, "first").failed == "exit code 3"
    left = place.home / "models" / "made"
    left.mkdir(parents=True)
    assert run([replace(stage(tmp_path, "first"), makes="made")])[0] == ["first"]
    assert not left.exists()


def test_the_table_has_a_cost_for_each_size_and_the_slopes_with_and_without_the_start():
    sizes = {
        200: {"ingest": Figure(1, 5.2, 100), "align": Figure(failed="exit code 2")},
        10_000: {"ingest": Figure(1, 15, 200), "align": Figure(1, 4, 50)},
        100_000: {"ingest": Figure(1, 105, 1100), "align": Figure(not_finished_within=60)},
    }
    _, _, ingest, align = markdown_table(Figures(None, sizes), ["ingest", "align"]).splitlines()
    assert ingest == "| ingest | 15.0 s | 105 s | 0.85 / 1.00 | 1,100 MB | 0.74 / 0.99 |"
    assert align == "| align | 4.0 s | not within 60 s | – / – | 50 MB | – / – |"


def test_the_plan_multiplies_what_an_item_takes_and_counts_once_what_is_done_for_a_sample():
    sizes = {
        200: {"ingest": Figure(1, 2, 100, 5), "train experts": Figure(1, 9)},
        1_000: {
            "ingest": Figure(1, 3.6, 100, 7, said={"statements": 8_000}),
            "train experts": Figure(1, 90),
        },
    }
    figures = Figures(None, sizes)
    # 1.6 s for 800 items: 2 ms an item, so 2,000 s for a million.
    found = planned(figures, "ingest", 1_000_000, Assumed(vcpus=10, busy=0.5, vcpu_hour=0.1))
    assert found is not None
    assert found.cpu_hours == pytest.approx(2000 / 3600)
    assert found.node_hours == pytest.approx(2000 / 3600 / 5)
    # Idle processors are paid as well.
    assert found.dollars == pytest.approx(2000 / 3600 * 2 * 0.1)
    once = planned(figures, "train experts", 1_000_000, Assumed())
    assert once is not None
    assert once.cpu_hours == 90 / 3600
    assert planned(figures, "align", 1_000_000, Assumed()) is None
    assert statements_of_item(figures) == 8
    assert gigabytes(figures, "ingest", 1_000_000) == pytest.approx(2.5)
    assert shards_of(11_200_001, Assumed(shard_items=1_000_000)) == 12
    assert "125,000 items, 1 shards" in markdown(figures, [1_000_000], Assumed())
