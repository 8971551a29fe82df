"""LAMB against its Algorithm 2, written out in float64."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.gpu import needs_gpu, waiting_is_an_error
from training.lamb import Lamb, LambSettings, LambTensors, lamb_update

RATE = 0.01
BETA1, BETA2, EPSILON, DECAY = 0.9, 0.98, 1e-6, 0.1


def lamb(parameters, **changes):
    chosen = {"lr": RATE, "betas": (BETA1, BETA2), "weight_decay": DECAY, **changes}
    return Lamb(parameters, **chosen)


def algorithm_2(weights: Tensor, gradients: list[Tensor], decay: float = DECAY) -> Tensor:
    """Return the weights after a step for each gradient, as the paper has it."""
    first = torch.zeros_like(weights)
    second = torch.zeros_like(weights)
    for t, gradient in enumerate(gradients, 1):
        first = BETA1 * first + (1 - BETA1) * gradient
        second = BETA2 * second + (1 - BETA2) * gradient**2
        r = (first / (1 - BETA1**t)) / ((second / (1 - BETA2**t)).sqrt() + EPSILON)
        u = r + decay * weights
        w_norm = weights.square().sum().sqrt()
        u_norm = u.square().sum().sqrt()
        ratio = w_norm / u_norm if w_norm > 0 and u_norm > 0 else 1.0
        weights = weights - RATE * ratio * u
    return weights


def take_steps(optimizer, parameter, gradients):
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()


@given(
    scale=st.sampled_from([0.0, 1e-3, 1.0, 100.0]),
    size=st.sampled_from([1e-4, 1.0, 50.0]),
    decay=st.sampled_from([0.0, DECAY]),
    steps=st.integers(1, 6),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=40)
def test_steps_are_those_of_the_papers_algorithm(scale, size, decay, steps, seed):
    """Norms above 10 are not clamped, and the decay is inside the ratio."""
    random = torch.Generator().manual_seed(seed)
    start = torch.randn(4, 3, generator=random, dtype=torch.float64) * scale
    gradients = [
        torch.randn(4, 3, generator=random, dtype=torch.float64) * size for _ in range(steps)
    ]
    parameter = nn.Parameter(start.clone())
    take_steps(lamb([parameter], weight_decay=decay), parameter, gradients)
    expected = algorithm_2(start, gradients, decay)
    torch.testing.assert_close(parameter.detach(), expected, rtol=1e-12, atol=1e-14)


def test_a_step_moves_a_layer_by_the_rate_times_its_own_norm():
    parameter = nn.Parameter(torch.full((100, 100), 3.0))
    take_steps(lamb([parameter]), parameter, [torch.randn(100, 100)])
    moved = (parameter - 3.0).norm()
    assert moved.item() == pytest.approx(RATE * 300.0, rel=1e-5)


def test_without_a_gradient_the_decay_alone_is_the_direction():
    parameter = nn.Parameter(torch.ones(5))
    take_steps(lamb([parameter]), parameter, [torch.zeros(5)])
    torch.testing.assert_close(parameter.detach(), torch.full((5,), 1 - RATE))


def test_nothing_divides_by_nothing():
    parameter = nn.Parameter(torch.zeros(5))
    take_steps(lamb([parameter]), parameter, [torch.zeros(5)])
    assert torch.equal(parameter.detach(), torch.zeros(5))


def test_each_parameter_counts_its_own_steps():
    """A head that a step leaves unused has no gradient."""
    torch.manual_seed(0)
    weights = [torch.randn(3, dtype=torch.float64) for _ in range(2)]
    gradients = [torch.randn(3, dtype=torch.float64) for _ in range(4)]
    parameters = [nn.Parameter(each.clone()) for each in weights]
    optimizer = lamb(parameters)
    for number, gradient in enumerate(gradients):
        parameters[0].grad = gradient.clone()
        parameters[1].grad = gradient.clone() if number == 3 else None
        optimizer.step()
    torch.testing.assert_close(parameters[0].detach(), algorithm_2(weights[0], gradients))
    torch.testing.assert_close(parameters[1].detach(), algorithm_2(weights[1], gradients[3:]))


def test_parameters_of_several_types_are_updated():
    parameters = [nn.Parameter(torch.ones(3, dtype=kind)) for kind in (torch.float32, torch.double)]
    optimizer = lamb(parameters)
    for parameter in parameters:
        parameter.grad = torch.tensor([1.0, -2.0, 3.0], dtype=parameter.dtype)
    optimizer.step()
    torch.testing.assert_close(parameters[0].detach().double(), parameters[1].detach())


@pytest.mark.parametrize("skipped", [0, 2])
def test_a_step_with_an_infinite_gradient_changes_nothing_at_all(skipped):
    torch.manual_seed(0)
    gradients = [torch.randn(4) for _ in range(4)]
    start = torch.randn(4)
    expected = nn.Parameter(start.clone())
    plain = lamb([expected])
    take_steps(plain, expected, gradients)

    parameter = nn.Parameter(start.clone())
    optimizer = lamb([parameter])
    poison = torch.tensor([torch.nan, torch.inf, 1.0, -torch.inf])
    for number, gradient in enumerate(gradients):
        if number == skipped:
            optimizer.found_inf = torch.ones(())
            take_steps(optimizer, parameter, [poison])
        optimizer.found_inf = torch.zeros(())
        take_steps(optimizer, parameter, [gradient])
    assert torch.equal(parameter, expected)
    for key, value in plain.state[expected].items():
        assert torch.equal(optimizer.state[parameter][key], value), key


def test_its_state_is_that_of_adamw_and_goes_on_after_loading():
    torch.manual_seed(0)
    gradients = [torch.randn(4) for _ in range(6)]
    whole = nn.Parameter(torch.ones(4))
    take_steps(lamb([whole]), whole, gradients)

    parameter = nn.Parameter(torch.ones(4))
    first = lamb([parameter])
    take_steps(first, parameter, gradients[:3])
    adam = torch.optim.AdamW([nn.Parameter(torch.ones(4))], fused=True)
    take_steps(adam, adam.param_groups[0]["params"][0], gradients[:1])
    state = first.state_dict()["state"][0]
    assert state.keys() == adam.state_dict()["state"][0].keys()

    again = lamb([parameter])
    again.load_state_dict(copy.deepcopy(first.state_dict()))
    take_steps(again, parameter, gradients[3:])
    assert torch.equal(parameter, whole)


def test_the_whole_update_is_one_graph():
    """No break where a number would be read from the device; and the compiled one is the same."""

    def tensors():
        random = torch.Generator().manual_seed(0)
        weights, gradients, first, second = (
            [torch.rand(3, 2, generator=random) for _ in range(3)] for _ in range(4)
        )
        steps = [torch.full((), 2.0) for _ in range(3)]
        return LambTensors(weights, gradients, first, second, steps)

    chosen = LambSettings(BETA1, BETA2, EPSILON, DECAY)
    rate = torch.full((), RATE, dtype=torch.float64)
    eager, compiled = tensors(), tensors()
    lamb_update(eager, rate, chosen, torch.zeros(()))
    graph = torch.compile(lamb_update, fullgraph=True, backend="aot_eager")
    graph(compiled, rate, chosen, torch.zeros(()))
    for name in ("parameters", "first", "second", "steps"):
        for one, other in zip(getattr(eager, name), getattr(compiled, name), strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.gpu
@needs_gpu
def test_a_step_does_not_wait_for_the_gpu():
    parameters = [nn.Parameter(torch.randn(8, 8, device="cuda")) for _ in range(3)]
    optimizer = lamb(parameters)
    optimizer.found_inf = torch.zeros((), device="cuda")
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    with waiting_is_an_error():
        for _ in range(3):
            optimizer.step()
    assert all(optimizer.state[parameter]["step"].is_cuda for parameter in parameters)
