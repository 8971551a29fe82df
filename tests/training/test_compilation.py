import dataclasses

import pytest
import torch

from encoders.layers import TransformerLayer
from tests.training.preset_steps import preset_step
from training.compilation import compile_objective

CPU = torch.device("cpu")

# torch.compile itself makes an instance of every autograd function that it traces, and looks at the
# gradients of its inputs.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*should not be instantiated"),
    pytest.mark.filterwarnings("ignore:The .grad attribute"),
]


class CountedGraphs:
    """A backend of torch.compile that counts the graphs and runs them as they were traced."""

    def __init__(self):
        self.count = 0

    def __call__(self, graph, inputs):
        self.count += 1
        return graph.forward


@pytest.fixture(autouse=True)
def fresh_dynamo():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()
    torch.fx.experimental._config.use_duck_shape = True


@pytest.mark.parametrize("name", ["joint", "k3m", "k3m+regions", "mbsd", "vtbert"])
def test_a_whole_step_is_one_graph(name):
    step = preset_step(name)
    batch = step.batch
    expected = step.objective.eval()(batch).terms
    graphs = CountedGraphs()
    # Of fixed shapes: tracing takes a fifth of the time, and breaks at the same places.
    step.objective.compile(backend=graphs, fullgraph=True, dynamic=False)
    actual = step.objective(batch).terms
    assert graphs.count == 1
    assert actual.keys() == expected.keys()
    for term, loss in actual.items():
        torch.testing.assert_close(loss, expected[term], rtol=1e-4, atol=1e-5)
    step.objective.train()(batch).total.backward()
    assert graphs.count == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bert", "mbsd"])
def test_batches_of_other_sizes_need_no_other_graph(name, monkeypatch):
    step = preset_step(name)
    # The few items of this test may have no masked piece at all, which is another graph.
    step.collator.recipe = dataclasses.replace(step.collator.recipe, masked_rows=1.0)
    graphs = CountedGraphs()
    compile_real = torch.nn.Module.compile
    monkeypatch.setattr(
        torch.nn.Module,
        "compile",
        lambda module, **options: compile_real(module, backend=graphs, fullgraph=True, **options),
    )
    compile_objective(step.objective, "step", CPU)
    for number, items in enumerate((24, 23, 21, 22)):
        step.objective(step.batch_of(number, items)).total.backward()
    assert graphs.count == 1


def test_compiled_layers_equal_the_layers_and_share_their_graphs(monkeypatch):
    step = preset_step("mbsd", fusion_layers=4)
    expected = step.objective.eval()(step.batch).total
    graphs = CountedGraphs()
    compile_real = torch.compile
    monkeypatch.setattr(
        torch,
        "compile",
        lambda function, **options: compile_real(function, backend=graphs, **options),
    )
    compile_objective(step.objective, "layers", CPU)
    torch.testing.assert_close(step.objective(step.batch).total, expected)
    count = graphs.count
    layers = [part for part in step.objective.modules() if isinstance(part, TransformerLayer)]
    assert 0 < count < len(layers)


def test_nothing_is_compiled_on_a_cpu_unless_asked():
    objective = preset_step("bert").objective
    compile_objective(objective, "auto", CPU)
    assert objective._compiled_call_impl is None
    layers = [part for part in objective.modules() if isinstance(part, TransformerLayer)]
    assert all(layer._compiled is None for layer in layers)
