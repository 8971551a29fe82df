import threading

import pytest
import torch

from encoders.batch_norm import BatchNorm, BatchNormStatistics, synchronise_batch_norm

CHANNELS = 3


class Together:
    """Sums tensors of several threads, each of which stands for a process."""

    def __init__(self, count):
        self.barrier = threading.Barrier(count, timeout=60)
        self.parts = []

    def sum_over(self, values):
        self.parts.append(values.clone())
        self.barrier.wait()
        total = torch.stack(self.parts).sum(0)
        self.barrier.wait()
        self.parts = []
        self.barrier.wait()
        values.copy_(total)


def norms(count):
    """The batch norms of several processes, with equal weights; and one of a single process."""
    torch.manual_seed(0)
    alone = BatchNorm(CHANNELS).double()
    torch.nn.init.uniform_(alone.weight)
    torch.nn.init.uniform_(alone.bias)
    together = Together(count)
    several = []
    for rank in range(count):
        norm = BatchNorm(CHANNELS).double()
        norm.load_state_dict(alone.state_dict())
        synchronise_batch_norm(norm, together.sum_over, rank, count)
        several.append(norm)
    return alone, several


def forward_and_backward(norm, x, weight):
    """The output for ``x`` and the gradient of x, if the loss is the sum of output times weight."""
    x = x.clone().requires_grad_()
    y = norm(x)
    (y * weight).sum().backward()
    return y.detach(), x.grad


@pytest.mark.parametrize("shape", [(7, CHANNELS), (7, CHANNELS, 4, 2)])
@pytest.mark.parametrize("rows", [(4, 3), (7, 0), (1, 6), (2, 2, 3)])
def test_several_processes_normalise_as_one_does(shape, rows):
    alone, several = norms(len(rows))
    x = torch.randn(shape, dtype=torch.float64)
    weight = torch.randn(shape, dtype=torch.float64)
    expected, gradient = forward_and_backward(alone, x, weight)
    found = {}

    def run(rank, part, part_weight):
        found[rank] = forward_and_backward(several[rank], part, part_weight)

    threads = [
        threading.Thread(target=run, args=(rank, *parts))
        for rank, parts in enumerate(zip(x.split(rows), weight.split(rows), strict=True))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    torch.testing.assert_close(torch.cat([found[rank][0] for rank in sorted(found)]), expected)
    torch.testing.assert_close(torch.cat([found[rank][1] for rank in sorted(found)]), gradient)
    for name in ("weight", "bias"):
        summed = sum(getattr(norm, name).grad for norm in several)
        torch.testing.assert_close(summed, getattr(alone, name).grad)
    for norm in several:
        for name, buffer in alone.named_buffers():
            torch.testing.assert_close(norm.get_buffer(name), buffer)


@pytest.mark.parametrize("synchronised", [False, True])
@pytest.mark.parametrize("count", [0, 1])
def test_less_than_two_values_are_normalised_by_the_running_statistics(synchronised, count):
    norm = BatchNorm(CHANNELS).double()
    norm.get_buffer("running_mean").fill_(1.0)
    norm.get_buffer("running_var").fill_(4.0)
    if synchronised:
        synchronise_batch_norm(norm, lambda values: None, 0, 1)
    x = torch.randn(count, CHANNELS, dtype=torch.float64)
    torch.testing.assert_close(norm(x), (x - 1) / (4 + norm.eps) ** 0.5)
    assert norm.num_batches_tracked == 0
    assert norm.get_buffer("running_mean").tolist() == [1.0] * CHANNELS


def test_statistics_can_be_set_back():
    norm = BatchNorm(CHANNELS)
    statistics = BatchNormStatistics(torch.nn.Sequential(norm))
    before = statistics.copy()
    norm(torch.randn(5, CHANNELS))
    assert norm.get_buffer("running_mean").any()
    statistics.restore(before)
    assert not norm.get_buffer("running_mean").any()
    assert norm.num_batches_tracked == 0
