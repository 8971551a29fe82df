import torch

from training.objectives.vtm import swap_titles


def test_half_of_the_pairs_get_another_pairs_title():
    torch.manual_seed(0)
    pairs = torch.arange(400) % 4 != 0
    source, own = swap_titles(pairs)
    assert torch.equal(own, source == torch.arange(400))
    assert own[~pairs].all()
    assert pairs[source[pairs]].all()
    assert abs(own[pairs].float().mean() - 0.5) < 0.08


def test_a_lone_pair_keeps_its_title():
    source, own = swap_titles(torch.tensor([False, True, False]))
    assert source.tolist() == [0, 1, 2]
    assert own.all()
