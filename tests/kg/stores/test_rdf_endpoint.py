import pytest

from kg.stores.open import open_store
from schema.errors import StoreError
from tests.contracts.sparql_contract import SparqlContract
from tests.contracts.store_contract import StoreContract
from tests.servers import emptied


class TestRdfEndpoint(SparqlContract, StoreContract):
    scheme = "rdf+http"

    @pytest.fixture
    def empty(self, fuseki):
        return lambda: emptied(fuseki.url)


def test_an_endpoint_that_is_not_there_is_one_line():
    with pytest.raises(StoreError, match=r"no SPARQL endpoint answers at http://127\.0\.0\.1:1/ds"):
        open_store("rdf+http://127.0.0.1:1/ds")
