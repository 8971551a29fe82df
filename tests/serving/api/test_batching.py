"""Completions that are computed together are those that each would have alone."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from fusion.inference.featurizer import ItemInput
from schema.errors import StoreUnavailableError
from serving.api.batching import Batcher, groups_of
from serving.home_completion import HomeCompletion, ItemRequest


@pytest.fixture
def completion(home):
    return HomeCompletion.open(home)


def requests():
    for number, title in enumerate(("red mug", "blue clay", "oak", "", "clay blue red")):
        for top_k in (1, 3):
            item = ItemInput(f"new {number}", title=title or None, category=("Mugs",))
            rejected = {(item.id, "colour"): {"blue"}} if number == 1 else {}
            yield ItemRequest(item, ("colour", "material"), top_k, 0.9, rejected)


def test_each_gets_its_own_whatever_else_is_asked(completion):
    alone = [completion.complete_item(each)[0] for each in requests()]
    batcher = Batcher()
    with ThreadPoolExecutor(10) as pool:
        planned = [completion.plan_item(each) for each in requests()]
        for _ in range(3):
            together = list(pool.map(lambda each: batcher.complete(completion, each), planned))
            assert together == alone
    batcher.close()
    assert [each.candidates[0].value for each in alone[2]] != ["blue", "clay"]
    with pytest.raises(StoreUnavailableError, match="the server stops"):
        batcher.complete(completion, planned[0])


def test_one_that_fails_does_so_for_itself(completion, monkeypatch):
    planned = [completion.plan_item(each) for each in requests() if each.top_k == 1]
    whole = HomeCompletion.complete_planned

    def failing(self, some):
        if any(each.request.item.id == "new 2" for each in some):
            raise RuntimeError("damaged")
        return whole(self, some)

    monkeypatch.setattr(HomeCompletion, "complete_planned", failing)
    batcher = Batcher()

    def outcome(each):
        try:
            return len(batcher.complete(completion, each))
        except RuntimeError as error:
            return str(error)

    with ThreadPoolExecutor(5) as pool:
        assert list(pool.map(outcome, planned)) == [2, 2, "damaged", 2, 2]
    batcher.close()


def test_items_of_one_id_are_not_completed_together(completion):
    from serving.api.batching import _Asked

    request = ItemRequest(ItemInput("x", title="red"), ("colour",))
    other = ItemRequest(ItemInput("y", title="red"), ("colour",))
    asked = [_Asked(completion, completion.plan_item(each)) for each in (request, request, other)]
    assert [len(group) for group in groups_of(asked)] == [2, 1]
