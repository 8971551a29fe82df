"""Ingesting with the help of a Ray cluster, of which parts are lost on the way."""

from pathlib import Path

import pytest

from kg.ingest import distributed, ray_engine
from schema.errors import EngineError
from tests.kg.ingest.held_work import LOST, broken_file, held_block
from tests.kg.ingest.test_accounting import use_batches
from tests.kg.ingest.test_distributed import homes, load, write_sheets, write_table

__all__ = ["homes", "load"]


def test_what_a_lost_node_or_process_had_is_done_again(tmp_path, monkeypatch, load, ray_nodes):
    use_batches(monkeypatch, 7)
    monkeypatch.setattr(distributed, "assemble_block", held_block)
    monkeypatch.setattr(distributed, "assemble_file", broken_file)
    table = tmp_path / "t.csv"
    write_table(table)
    sheets = [tmp_path / "t.xlsx", tmp_path / "u.xlsx"]
    for path in sheets:
        write_sheets(path)
    lost = [Path(f"{path}{LOST}") for path in (table, *sheets)]
    with (
        ray_nodes.second_killed_when(lost[0].exists) as killed,
        ray_engine.ray_engine(2) as engine,
    ):
        by_blocks = load("apart", [table], engine)
        assert killed.is_set()
        by_files = load("apart", sheets, engine)
    assert engine.taken
    assert not engine.notes()
    assert all(each.exists() for each in lost)
    assert by_blocks == load("here", [table])
    assert by_files == load("here", sheets)


def test_no_node_left_is_one_line(monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "wait", lambda started, timeout: ([], started))
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": False, "Resources": {"CPU": 1.0}}])
    with pytest.raises(EngineError, match=r"no node of the Ray cluster is left .*the same command"):
        ray_engine._wait_for(None)
