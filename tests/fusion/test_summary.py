from __future__ import annotations

from torch import nn

from fusion.summary import TensorGroup, summarize


class Small(nn.Module):
    """Two equal layers, and a head whose weight is also the encoder's."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(nn.Linear(3, 3, bias=False) for _ in range(2))
        self.head = nn.Linear(3, 2)
        self.tied = self.head.weight


def test_equal_layers_share_a_line_and_shared_tensors_count_once():
    summary = summarize(Small())
    assert summary.parts == {"tied": 6, "encoder": 18, "head": 2}
    assert summary.parameters == 26
    assert TensorGroup("encoder.*.weight", 2, (3, 3), 18) in summary.tensors
    assert {tensor.part for tensor in summary.tensors} == set(summary.parts)


def test_parameters_are_those_of_torch():
    model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 6))
    expected = sum(parameter.numel() for parameter in model.parameters())
    assert summarize(model).parameters == expected
    assert sum(tensor.parameters for tensor in summarize(model).tensors) == expected
