"""Whether the server and its model are ready, as monitors and inference clients ask."""


def test_the_server_is_live_and_ready(client):
    assert client.get("/v2/health/live").json()["status"] == "live"
    assert client.get("/v2/health/ready").json()["checks"] == {
        "model": "ready",
        "graph": "ready",
        "ledger": "ready",
    }


def test_models_are_listed_and_one_is_served(client, home):
    (home.models / "made" / "config.json").write_text("{}")
    (made,) = client.get("/v2/models").json()
    assert made["name"] == "made"
    assert made["state"] == "damaged"
    assert client.get("/v2/models/made").json() == made
    assert client.get("/v2/models/other").status_code == 404
    # The name that the model itself tells.
    assert client.get("/v2/models/fake/ready").json() == {"name": "fake", "ready": True}
    assert client.get("/v2/models/other/ready").status_code == 503


def test_metrics_count_requests_by_route(client):
    client.get("/v2/items/1")
    client.get("/v2/items/2")
    client.get("/nothing/here")
    client.request("BREW", "/v2/items/1")
    text = client.get("/metrics").text
    assert (
        'catalograph_requests_total{method="GET",route="/v2/items/{item_id}",status="200"} 2.0'
        in text
    )
    assert 'method="(other)"' in text
    assert "/nothing/here" not in text
    assert 'catalograph_model_loaded_timestamp_seconds{model="fake"}' in text
