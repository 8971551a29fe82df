import numpy as np
import pytest
import torch

from fusion.link_prediction.aggregation import (
    StructureAggregation,
    ValueAggregation,
    segment_softmax,
)

DIM = 6
HEADS = 3


@pytest.fixture
def layer():
    torch.manual_seed(1)
    return StructureAggregation(DIM, HEADS).double()


@pytest.fixture
def graph():
    torch.manual_seed(2)
    edges = (
        torch.tensor([0, 0, 0, 2, 2]),
        torch.tensor([0, 1, 2, 1, 3]),
        torch.tensor([4, 3, 2, 1, 0]),
    )
    return (
        torch.randn(3, DIM).double(),
        torch.randn(4, DIM).double(),
        torch.randn(5, DIM).double(),
        edges,
    )


def by_the_paper(layer, node, properties, values, edges):
    """K3M's equations for one node in numpy float64, W1 over the concatenation."""
    w1 = np.concatenate(
        [part.weight.detach().numpy() for part in (layer.node, layer.property, layer.value)], 1
    )
    total = np.zeros(DIM)
    for head in range(HEADS):
        w = w1[head * DIM : (head + 1) * DIM]
        w2 = layer.attend.detach().numpy()[head]
        t = [
            w @ np.concatenate([node.numpy(), properties[e].numpy(), values[e].numpy()])
            for e in edges
        ]
        b = np.array([max(0.01 * (w2 @ x), w2 @ x) for x in t])
        a = np.exp(b) / np.exp(b).sum()
        total += sum(weight * x for weight, x in zip(a, t, strict=True))
    return layer.keep.weight.detach().numpy() @ node.numpy() + 1 / (1 + np.exp(-total / HEADS))


def test_equals_the_papers_equations(layer, graph):
    node, properties, values, (_, edge_property, edge_value) = graph
    properties = properties[edge_property]
    values = values[edge_value]
    out = layer(*graph).detach().numpy()
    np.testing.assert_allclose(
        out[0], by_the_paper(layer, node[0], properties, values, [0, 1, 2]), rtol=1e-6
    )
    np.testing.assert_allclose(
        out[2], by_the_paper(layer, node[2], properties, values, [3, 4]), rtol=1e-6
    )


def test_a_node_without_triples_keeps_its_own_part(layer, graph):
    torch.testing.assert_close(layer(*graph)[1], layer.keep(graph[0][1]))


def test_order_of_triples_does_not_matter(layer, graph):
    order = torch.tensor([4, 2, 0, 3, 1])
    torch.testing.assert_close(
        layer(*graph), layer(*graph[:3], tuple(end[order] for end in graph[3]))
    )


def test_without_any_triple(layer, graph):
    none = torch.zeros(0, dtype=torch.int64)
    torch.testing.assert_close(layer(*graph[:3], (none, none, none)), layer.keep(graph[0]))


def test_equals_dgl_update_all(layer, graph):
    dgl = pytest.importorskip("kg.sampling.dgl_compat").dgl
    node, properties, values, (edge_node, edge_property, edge_value) = graph
    properties = properties[edge_property]
    values = values[edge_value]
    star = dgl.heterograph(
        {("triple", "of", "item"): (torch.arange(5), edge_node)},
        num_nodes_dict={"triple": 5, "item": 3},
    )
    t = (layer.node(node)[edge_node] + layer.property(properties) + layer.value(values)).view(
        5, HEADS, DIM
    )
    score = torch.nn.functional.leaky_relu((t * layer.attend).sum(-1))
    weight = segment_softmax(score, edge_node, 3)
    star.nodes["triple"].data["m"] = (t * weight[..., None]).mean(1)
    star.update_all(dgl.function.copy_u("m", "m"), dgl.function.sum("m", "s"))
    summed = star.nodes["item"].data["s"]
    expected = layer.keep(node) + torch.sigmoid(summed) * (summed.abs().sum(1, keepdim=True) > 0)
    torch.testing.assert_close(layer(*graph), expected)


def test_a_triple_of_another_node_changes_nothing_bit_for_bit(layer, graph):
    node, properties, values, edges = graph
    moved = values.clone()
    moved[0] += 1
    assert torch.equal(layer(*graph)[0], layer(node, properties, moved, edges)[0])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_says_the_same(layer, graph):
    expected = layer(*graph)
    edges = tuple(end.cuda() for end in graph[3])
    torch.testing.assert_close(
        layer.cuda()(*(part.cuda() for part in graph[:3]), edges).cpu(), expected
    )


@pytest.fixture
def second():
    torch.manual_seed(3)
    return ValueAggregation(DIM, HEADS).double()


@pytest.fixture
def statements():
    """Items 0, 1, 2; value 3 of items 0 and 1, value 4 of item 2, one statement twice."""
    return torch.tensor([0, 1, 2, 2]), torch.tensor([1, 1, 0, 0]), torch.tensor([3, 3, 4, 4])


def test_a_value_hears_of_the_items_that_have_it(second, graph, statements):
    items, properties, values, _ = graph
    out = second(items, properties, values, statements).detach().numpy()
    layer = second.aggregate
    of = properties[1].expand(2, -1)
    np.testing.assert_allclose(
        out[3], by_the_paper(layer, values[3], of, items[:2], [0, 1]), rtol=1e-6
    )
    np.testing.assert_allclose(
        out[4], by_the_paper(layer, values[4], properties[:1], items[2:], [0]), rtol=1e-6
    )
    np.testing.assert_allclose(out[0], layer.keep(values[0]).detach().numpy())


def test_two_hops_do_not_mind_the_order(layer, second, graph, statements):
    items, properties, values, edges = graph
    order = torch.tensor([2, 0, 3, 1])
    one = layer(items, properties, second(items, properties, values, statements), edges)
    other = layer(
        items,
        properties,
        second(items, properties, values, tuple(part[order] for part in statements)),
        edges,
    )
    torch.testing.assert_close(one, other)


def test_two_hops_equal_dgl_update_all(second, graph, statements):
    dgl = pytest.importorskip("kg.sampling.dgl_compat").dgl
    items, properties, values, _ = graph
    item, known, value = (part[:3] for part in statements)
    star = dgl.heterograph(
        {("item", "has", "value"): (item, value)}, num_nodes_dict={"item": 3, "value": 5}
    )
    part = second.aggregate
    t = (
        part.node(values)[value] + part.property(properties)[known] + part.value(items)[item]
    ).view(3, HEADS, DIM)
    score = torch.nn.functional.leaky_relu((t * part.attend).sum(-1))
    star.edata["m"] = (t * segment_softmax(score, value, 5)[..., None]).mean(1)
    star.update_all(dgl.function.copy_e("m", "m"), dgl.function.sum("m", "s"))
    summed = star.nodes["value"].data["s"]
    expected = part.keep(values) + torch.sigmoid(summed) * (summed.abs().sum(1, keepdim=True) > 0)
    torch.testing.assert_close(second(items, properties, values, statements), expected)


def test_segment_softmax_sums_to_one():
    weight = segment_softmax(torch.tensor([[1.0], [900.0], [-5.0]]), torch.tensor([0, 0, 1]), 2)
    torch.testing.assert_close(weight[:2].sum(0), torch.ones(1))
    assert weight[2].item() == 1
