"""Tests of the memory store, and of the rules that hold for all stores together."""

import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import kg.stores
from kg.stores.open import STORE_KINDS, open_store
from kg.stores.protocol import GraphStore, Rebuildable, SparqlQueryable, Verifiable
from schema.errors import StoreError, UsageError
from tests.contracts.store_contract import StoreContract


class TestMemory(StoreContract):
    scheme = "memory"
    persistent = False

    @pytest.fixture
    def empty_url(self):
        return lambda: "memory:"


def suites(parent=StoreContract):
    """Return the suites of all test modules in this folder that inherit the contract, by scheme."""
    for path in Path(__file__).parent.glob("test_*.py"):
        if "Contract" in path.read_text(encoding="utf-8"):
            importlib.import_module(f"tests.kg.stores.{path.stem}")
    by_scheme = {}
    for suite in parent.__subclasses__():
        if suite.scheme:
            by_scheme[suite.scheme] = suite
        by_scheme |= suites(suite)
    return by_scheme


def stores():
    """Return the classes in kg.stores that implement all of GraphStore."""
    modules = [
        importlib.import_module(f"kg.stores.{each.name}")
        for each in pkgutil.iter_modules(kg.stores.__path__)
    ]
    classes = {
        each for module in modules for each in vars(module).values() if inspect.isclass(each)
    }
    return {
        each for each in classes if issubclass(each, GraphStore) and not inspect.isabstract(each)
    }


def test_every_kind_of_store_has_a_suite():
    assert set(suites()) == {kind.example.partition(":")[0] for kind in STORE_KINDS}


def test_every_store_has_a_kind():
    assert len(stores()) == len(STORE_KINDS)


def test_unknown_scheme_is_named():
    with pytest.raises(UsageError, match="'oracle:x'"):
        open_store("oracle:x")


def test_memory_store_has_no_optional_ability():
    with open_store("memory:") as store:
        assert not isinstance(store, (Verifiable, Rebuildable, SparqlQueryable))


def test_memory_store_answers_no_cypher():
    with open_store("memory:") as store, pytest.raises(StoreError, match="ladybug"):
        store.query("MATCH (n) RETURN n")
