import math

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from encoders.image import HALF
from encoders.vision import PretrainedVision, VisionSettings
from tests.gpu import needs_gpu, waiting_is_an_error
from training.config import Recipe
from training.loop import MAX_BAD_STEPS, ROLL_BACK_AFTER
from training.optim import AveragedWeights, BadSteps, build_optimizer, step_if_finite


def two_layers(device="cpu"):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).to(device)


def gradients(module, value=1.0):
    for parameter in module.parameters():
        parameter.grad = torch.full_like(parameter, value)


def state_of(module, optimizer):
    tensors = dict(module.named_parameters())
    for name, parameter in module.named_parameters():
        tensors |= {f"{name}.{key}": value for key, value in optimizer.state[parameter].items()}
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


@pytest.mark.parametrize("optimizer", ["adamw", "lamb"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_step_without_a_finite_gradient_changes_neither_weights_nor_state(optimizer, value):
    module = two_layers()
    built = build_optimizer(module, Recipe(optimizer=optimizer))
    gradients(module)
    assert step_if_finite(built, torch.tensor(2.0), 0.1).item() == 0
    before = state_of(module, built)
    assert built.param_groups[0]["lr"] == 0.1
    gradients(module, value)
    assert step_if_finite(built, torch.tensor(value), 0.1).item() == 1
    after = state_of(module, built)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    gradients(module)
    step_if_finite(built, torch.tensor(2.0), 0.1)
    assert all(not torch.equal(after[name], each) for name, each in state_of(module, built).items())


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 23)), max_size=8))
def test_bad_steps_are_counted_late_but_every_decision_is_in_time(runs):
    """What the loop decides by the count is what it would decide by counting at once."""
    counter = BadSteps()
    exact = 0
    for is_bad, length in runs:
        for _ in range(length):
            exact = exact + 1 if is_bad else 0
            counter.add(torch.tensor(float(is_bad)))
            assert (counter.count == ROLL_BACK_AFTER) == (exact == ROLL_BACK_AFTER)
            assert (counter.count > MAX_BAD_STEPS) == (exact > MAX_BAD_STEPS)
            if exact > 1:
                assert counter.count == exact
    assert counter.settle() == counter.count == exact


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("optimizer", ["adamw", "lamb"])
def test_neither_a_step_nor_the_averages_wait_for_the_gpu(optimizer):
    module = two_layers("cuda")
    built = build_optimizer(module, Recipe(optimizer=optimizer))
    average = AveragedWeights(module, 0.99)
    counter = BadSteps()
    gradients(module)
    with waiting_is_an_error():
        for step in range(30):
            norm = nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            counter.add(step_if_finite(built, norm, 0.1))
            average.update(module, step)
        gradients(module, math.nan)
        norm = nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        counter.add(step_if_finite(built, norm, 0.1))
    assert counter.settle() == 1
    assert all(parameter.isfinite().all() for parameter in module.parameters())


def test_a_pretrained_vision_model_has_a_learning_rate_of_its_own():
    config = transformers.ResNetConfig(
        embedding_size=4, layer_type="basic", hidden_sizes=[4], depths=[1]
    )
    settings = VisionSettings(config.to_dict(), HALF, HALF, 32).measured()
    encoder = PretrainedVision(settings, 8, frozen=False)
    groups = build_optimizer(encoder, Recipe(pretrained_rate=0.1)).param_groups
    scales = {each: group["scale"] for group in groups for each in group["params"]}
    of_vision = set(encoder.vision.parameters())
    assert {each: scales[each] for each in of_vision} == dict.fromkeys(of_vision, 0.1)
    assert scales[encoder.project.weight] == scales[encoder.positions] == 1.0
