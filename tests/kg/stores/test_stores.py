import importlib
import pkgutil
from pathlib import Path

import pytest

import kg.stores
from kg.stores.open import STORE_KINDS, open_store
from schema.errors import StoreError, UsageError
from tests.contracts.store_contract import StoreContract


class TestMemory(StoreContract):
    scheme = "memory"
    lasting = False

    @pytest.fixture
    def empty(self):
        return lambda: "memory:"


def suites(kind=StoreContract):
    """The contract's suites of all test modules beside this one, by their schemes."""
    for path in Path(__file__).parent.glob("test_*.py"):
        if "Contract" in path.read_text(encoding="utf-8"):
            importlib.import_module(f"tests.kg.stores.{path.stem}")
    below = [each for child in kind.__subclasses__() for each in [child, *suites(child).values()]]
    return {each.scheme: each for each in below if each.scheme}


def stores():
    """Every class below kg.stores that is a store whole."""
    modules = [
        importlib.import_module(f"kg.stores.{each.name}")
        for each in pkgutil.iter_modules(kg.stores.__path__)
    ]
    classes = {
        each for module in modules for each in vars(module).values() if isinstance(each, type)
    }
    return {
        each
        for each in classes
        if hasattr(each, "put") and hasattr(each, "content_hash") and not each.__subclasses__()
    }


def test_every_scheme_is_in_the_suite():
    assert set(suites()) == {kind.example.partition(":")[0] for kind in STORE_KINDS}


def test_every_store_has_a_scheme():
    assert len(stores()) == len(STORE_KINDS)


def test_an_unknown_scheme_is_named():
    with pytest.raises(UsageError, match="'oracle:x'"):
        open_store("oracle:x")


def test_the_memory_store_has_no_cypher():
    with open_store("memory:") as store, pytest.raises(StoreError, match="ladybug"):
        store.query("MATCH (n) RETURN n")
