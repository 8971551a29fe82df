"""Training steps on a real GPU; without one, ``test_device.py`` has the same on a pretended one."""

import pytest
import torch
from torch.nn.utils import clip_grad_norm_

from tests.gpu import needs_gpu, waiting_is_an_error
from tests.training.preset_steps import PresetStep, preset_step
from training.compilation import compile_objective
from training.optim import AveragedWeights, build_optimizer, step_if_finite
from training.presets import PRESETS, preset_name

NAMES = [name for name in map(preset_name, PRESETS) if name != "wrapped"]
GPU = torch.device("cuda")

pytestmark = [pytest.mark.gpu, needs_gpu]


def gradient_of(step: PresetStep, device: torch.device, bf16: bool) -> torch.Tensor:
    """Return the gradient of all parameters without dropout, on the CPU."""
    objective = step.objective.to(device).eval()
    objective.zero_grad()
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
        total = objective(step.batch.to(device)).total
    total.backward()
    parts = [each.grad.flatten() for each in objective.parameters() if each.grad is not None]
    return torch.cat(parts).cpu()


@pytest.mark.parametrize("name", [*NAMES, "k3m+regions"])
def test_a_gpu_computes_what_a_cpu_computes(name, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    step = preset_step(name)
    expected = gradient_of(step, torch.device("cpu"), bf16=False)
    for bf16, tolerance in ((False, 1e-3), (True, 0.05)):
        actual = gradient_of(step, GPU, bf16)
        assert (actual - expected).norm() < tolerance * expected.norm()


@pytest.mark.parametrize("name", [*NAMES, "k3m+regions"])
def test_a_step_does_not_wait_for_the_gpu(name):
    step = preset_step(name)
    objective = step.objective.to(GPU)
    optimizer = build_optimizer(objective, step.collator.recipe)
    average = AveragedWeights(objective, 0.99)
    batch = step.batch.to(GPU)

    def train(number: int) -> None:
        with torch.autocast("cuda", dtype=torch.bfloat16):
            total = objective(batch).total
        total.backward()
        norm = clip_grad_norm_(objective.parameters(), 1.0)
        step_if_finite(optimizer, norm, 1e-3)
        optimizer.zero_grad(set_to_none=True)
        average.update(objective, number)

    train(0)
    with waiting_is_an_error():
        train(1)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["layers", "step"])
def test_a_compiled_step_computes_the_same(mode):
    step = preset_step("mbsd")
    expected = gradient_of(step, GPU, bf16=True)
    compile_objective(step.objective, mode, GPU)
    actual = gradient_of(step, GPU, bf16=True)
    assert (actual - expected).norm() < 0.05 * expected.norm()
