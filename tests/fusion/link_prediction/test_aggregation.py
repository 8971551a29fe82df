from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from fusion.link_prediction.aggregation import (
    StructureAggregation,
    Triples,
    ValueAggregation,
    segment_softmax,
)

DIM = 6
HEADS = 3


@dataclass
class Graph:
    """Three items, four properties and five values; item 1 has no triples."""

    items: Tensor
    properties: Tensor
    values: Tensor
    triples: Triples

    def aggregate(self, layer):
        return layer(self.items, self.properties, self.values, self.triples)


@pytest.fixture
def layer():
    torch.manual_seed(1)
    return StructureAggregation(DIM, HEADS).double()


@pytest.fixture
def graph():
    torch.manual_seed(2)
    triples = Triples(
        node=torch.tensor([0, 0, 0, 2, 2]),
        property=torch.tensor([0, 1, 2, 1, 3]),
        value=torch.tensor([4, 3, 2, 1, 0]),
    )
    items = torch.randn(3, DIM).double()
    properties = torch.randn(4, DIM).double()
    values = torch.randn(5, DIM).double()
    return Graph(items, properties, values, triples)


def reordered(triples, order):
    return Triples(triples.node[order], triples.property[order], triples.value[order])


def by_the_paper(layer, node, properties, values):
    """Compute K3M's equations for one node, with W1 over the concatenation, in float64.

    ``properties`` and ``values`` [X, D] are those of its triples.
    """
    parts = (layer.node, layer.property, layer.value)
    w1 = np.concatenate([part.weight.detach().numpy() for part in parts], 1)
    total = np.zeros(DIM)
    for head in range(HEADS):
        w1_of_head = w1[head * DIM : (head + 1) * DIM]
        w2 = layer.attend.detach().numpy()[head]
        t = [
            w1_of_head @ np.concatenate([node.numpy(), p.numpy(), v.numpy()])
            for p, v in zip(properties, values, strict=True)
        ]
        b = np.array([max(0.01 * (w2 @ x), w2 @ x) for x in t])
        a = np.exp(b) / np.exp(b).sum()
        total += sum(weight * x for weight, x in zip(a, t, strict=True))
    return layer.keep.weight.detach().numpy() @ node.numpy() + 1 / (1 + np.exp(-total / HEADS))


def by_dgl(layer, nodes, messages, targets, scores):
    """Aggregate ``messages`` [E, H, D] into ``nodes`` [N, D] by DGL's ``update_all``."""
    dgl = pytest.importorskip("kg.sampling.dgl_compat").dgl
    edges = torch.arange(len(targets)), targets
    star = dgl.heterograph(
        {("triple", "of", "node"): edges},
        num_nodes_dict={"triple": len(targets), "node": len(nodes)},
    )
    weight = segment_softmax(scores, targets, len(nodes))
    star.nodes["triple"].data["m"] = (messages * weight[..., None]).mean(1)
    star.update_all(dgl.function.copy_u("m", "m"), dgl.function.sum("m", "s"))
    total = star.nodes["node"].data["s"]
    has_triples = total.abs().sum(1, keepdim=True) > 0
    return layer.keep(nodes) + torch.sigmoid(total) * has_triples


def test_equals_the_equations_of_the_paper(layer, graph):
    out = graph.aggregate(layer).detach().numpy()
    properties = graph.properties[graph.triples.property]
    values = graph.values[graph.triples.value]
    for item, own in ((0, slice(0, 3)), (2, slice(3, 5))):
        expected = by_the_paper(layer, graph.items[item], properties[own], values[own])
        np.testing.assert_allclose(out[item], expected, rtol=1e-6)


def test_a_node_without_triples_keeps_its_own_part(layer, graph):
    torch.testing.assert_close(graph.aggregate(layer)[1], layer.keep(graph.items[1]))


def test_the_order_of_triples_does_not_matter(layer, graph):
    expected = graph.aggregate(layer)
    graph.triples = reordered(graph.triples, torch.tensor([4, 2, 0, 3, 1]))
    torch.testing.assert_close(graph.aggregate(layer), expected)


def test_without_any_triple_all_nodes_keep_their_own_part(layer, graph):
    none = torch.zeros(0, dtype=torch.int64)
    graph.triples = Triples(none, none, none)
    torch.testing.assert_close(graph.aggregate(layer), layer.keep(graph.items))


def test_equals_message_passing_in_dgl(layer, graph):
    triples = graph.triples
    t = (
        layer.node(graph.items)[triples.node]
        + layer.property(graph.properties)[triples.property]
        + layer.value(graph.values)[triples.value]
    ).view(-1, HEADS, DIM)
    b = torch.nn.functional.leaky_relu((t * layer.attend).sum(-1))
    expected = by_dgl(layer, graph.items, t, triples.node, b)
    torch.testing.assert_close(graph.aggregate(layer), expected)


def test_a_triple_of_another_node_changes_nothing_bit_for_bit(layer, graph):
    before = graph.aggregate(layer)
    graph.values = graph.values.clone()
    graph.values[0] += 1
    after = graph.aggregate(layer)
    assert torch.equal(after[0], before[0])
    assert not torch.equal(after[2], before[2])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_computes_the_same(layer, graph):
    expected = graph.aggregate(layer)
    triples = graph.triples
    on_gpu = Graph(
        graph.items.cuda(),
        graph.properties.cuda(),
        graph.values.cuda(),
        Triples(triples.node.cuda(), triples.property.cuda(), triples.value.cuda()),
    )
    torch.testing.assert_close(on_gpu.aggregate(layer.cuda()).cpu(), expected)


@pytest.fixture
def second_hop():
    torch.manual_seed(3)
    return ValueAggregation(DIM, HEADS).double()


@pytest.fixture
def statements():
    """Value 3 of items 0 and 1, value 4 of item 2; the last statement occurs twice."""
    return Triples(
        node=torch.tensor([0, 1, 2, 2]),
        property=torch.tensor([1, 1, 0, 0]),
        value=torch.tensor([3, 3, 4, 4]),
    )


def test_a_value_aggregates_the_items_that_have_it(second_hop, graph, statements):
    out = second_hop(graph.items, graph.properties, graph.values, statements).detach().numpy()
    layer = second_hop.aggregate
    two_items = by_the_paper(
        layer, graph.values[3], graph.properties[1].expand(2, -1), graph.items[:2]
    )
    one_item = by_the_paper(layer, graph.values[4], graph.properties[:1], graph.items[2:])
    np.testing.assert_allclose(out[3], two_items, rtol=1e-6)
    np.testing.assert_allclose(out[4], one_item, rtol=1e-6)
    np.testing.assert_allclose(out[0], layer.keep(graph.values[0]).detach().numpy())


def test_two_hops_do_not_depend_on_the_order(layer, second_hop, graph, statements):
    def two_hops(known):
        values = second_hop(graph.items, graph.properties, graph.values, known)
        return layer(graph.items, graph.properties, values, graph.triples)

    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(two_hops(statements), two_hops(reordered(statements, order)))


def test_the_second_hop_equals_message_passing_in_dgl(second_hop, graph, statements):
    layer = second_hop.aggregate
    distinct = reordered(statements, slice(0, 3))
    t = (
        layer.node(graph.values)[distinct.value]
        + layer.property(graph.properties)[distinct.property]
        + layer.value(graph.items)[distinct.node]
    ).view(-1, HEADS, DIM)
    b = torch.nn.functional.leaky_relu((t * layer.attend).sum(-1))
    expected = by_dgl(layer, graph.values, t, distinct.value, b)
    actual = second_hop(graph.items, graph.properties, graph.values, statements)
    torch.testing.assert_close(actual, expected)


def test_segment_softmax_sums_to_one():
    weight = segment_softmax(torch.tensor([[1.0], [900.0], [-5.0]]), torch.tensor([0, 0, 1]), 2)
    torch.testing.assert_close(weight[:2].sum(0), torch.ones(1))
    assert weight[2].item() == 1
