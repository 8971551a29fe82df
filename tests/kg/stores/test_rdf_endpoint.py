import pytest

from tests.contracts.sparql_contract import SparqlContract
from tests.contracts.store_contract import StoreContract
from tests.servers import emptied


class TestRdfEndpoint(SparqlContract, StoreContract):
    scheme = "rdf+http"

    @pytest.fixture
    def empty_url(self, fuseki):
        return lambda: emptied(fuseki.url)
