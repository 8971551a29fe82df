"""Review behind the API: decisions, conflicts of two reviewers, filters, and taking back."""

import threading


def numbers(client, **params):
    return [each["id"] for each in client.get("/v2/proposals", params=params).json()["proposals"]]


def test_a_proposal_is_listed_shown_and_accepted(client):
    assert numbers(client) == [2, 3, 1]
    found = client.get("/v2/proposals/1")
    document = found.json()
    assert document["proposed"] == ["clay"]
    assert document["title"] == "Blue mug"
    assert document["current"] == []
    done = client.post("/v2/proposals/1/accept", headers={"if-match": found.headers["etag"]})
    assert done.json()["changed"] == 1
    stored = client.get("/v2/items/2").json()["statements"]
    assert {"property": "material", "value": "clay", "rank": "accepted"}.items() <= next(
        each for each in stored if each["property"] == "material"
    ).items()
    assert client.get("/v2/proposals/1").json()["history"][-1]["reviewer"] == "local"


def test_the_second_of_two_reviewers_gets_both_versions(client):
    etag = client.get("/v2/proposals/1").headers["etag"]
    assert client.post("/v2/proposals/1/reject", headers={"if-match": etag}).status_code == 200
    late = client.post("/v2/proposals/1/accept", headers={"if-match": etag})
    assert late.status_code == 409
    assert late.json()["current"]["status"] == "rejected"
    assert late.json()["if_match"] == etag
    # Without a version it is still refused, since it is decided.
    assert client.post("/v2/proposals/1/accept").status_code == 409


def test_of_many_reviewers_at_once_one_decides(client):
    codes = []
    barrier = threading.Barrier(8)

    def decide(action):
        barrier.wait()
        codes.append(client.post(f"/v2/proposals/2/{action}").status_code)

    threads = [
        threading.Thread(target=decide, args=(("accept", "reject")[each % 2],)) for each in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [200] + [409] * 7
    assert len(client.get("/v2/proposals/2").json()["history"]) == 1


def test_another_value_is_given_and_taken_back(client):
    done = client.post("/v2/proposals/3/edit", json={"values": ["green"]})
    assert done.status_code == 200
    assert client.get("/v2/proposals/3").json()["decided"] == ["green"]
    run = done.json()["run"]
    assert client.post(f"/v2/runs/{run}/undo").json()["proposals"] == 1
    assert client.get("/v2/proposals/3").json()["status"] == "proposed"
    assert client.post("/v2/proposals/3/edit", json={"values": ["red"]}).status_code == 400


def test_many_are_decided_by_a_filter_that_is_as_expected(client):
    bulk = {"action": "accept", "filter": {"property": "colour"}, "expected": 3}
    refused = client.post("/v2/proposals/bulk", json=bulk)
    assert refused.status_code == 409
    assert refused.json()["current"] == 2
    done = client.post("/v2/proposals/bulk", json={**bulk, "expected": 2})
    assert done.json()["changed"] == 2
    assert numbers(client) == [1]
    client.post(f"/v2/runs/{done.json()['run']}/undo")
    assert numbers(client) == [2, 3, 1]


def test_a_filter_has_to_say_something(client):
    for filter in ({}, {"states": ["accepted"]}):
        found = client.post("/v2/proposals/bulk", json={"action": "reject", "filter": filter})
        assert found.status_code == 400
    assert numbers(client) == [2, 3, 1]


def test_pages_go_on_where_a_decided_proposal_was(client):
    for order in ("gain", "probability", "item", "doubt"):
        whole = numbers(client, order=order)
        first = client.get("/v2/proposals", params={"order": order, "limit": 1}).json()
        rest = numbers(client, order=order, after=first["next"])
        assert [each["id"] for each in first["proposals"]] + rest == whole
    first = client.get("/v2/proposals", params={"limit": 1}).json()
    client.post(f"/v2/proposals/{first['proposals'][0]['id']}/accept")
    assert numbers(client, after=first["next"]) == [3, 1]


def test_skipped_ones_come_last(client):
    client.post("/v2/proposals/2/skip")
    assert numbers(client) == [3, 1, 2]
    assert client.get("/v2/proposals/2").json()["status"] == "proposed"


def test_the_unknown_is_said_to_be_so(client):
    for number in (0, 99, 1 << 70):
        assert client.post(f"/v2/proposals/{number}/accept").status_code == 404
