"""Training steps on a real GPU; without one, ``test_device.py`` has the same on a pretended one."""

import math

import pytest
import torch
from torch import distributed
from torch.nn.utils import clip_grad_norm_

from tests.encoders.made_text_models import text_model_settings
from tests.gpu import needs_gpu, waiting_is_an_error
from tests.training.preset_steps import TOKENIZER, PresetStep, preset_step
from training.compilation import compile_objective
from training.optim import AveragedWeights, build_optimizer, step_if_finite
from training.presets import PRESETS, preset_name
from training.processes import Processes
from training.sharding import clip_gradients, shard, whole

NAMES = [name for name in map(preset_name, PRESETS) if name != "wrapped"]
TEXT_MODELS = ["bert frozen", "bert tuned", "modernbert tuned", "clip_text_model tuned"]
GPU = torch.device("cuda")

pytestmark = [pytest.mark.gpu, needs_gpu]


def step_of(name: str) -> PresetStep:
    """Return a preset's step, or one of joint whose texts a pretrained encoder reads."""
    if name not in TEXT_MODELS:
        return preset_step(name)
    kind, _, frozen = name.partition(" ")
    text_model = text_model_settings(kind, TOKENIZER.vocab_size)
    return preset_step("joint", text_model=text_model, frozen_text=frozen == "frozen")


def gradient_of(step: PresetStep, device: torch.device, bf16: bool) -> torch.Tensor:
    """Return the gradient of all parameters without dropout, on the CPU."""
    objective = step.objective.to(device).eval()
    objective.zero_grad()
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
        total = objective(step.batch.to(device)).total
    total.backward()
    parts = [each.grad.flatten() for each in objective.parameters() if each.grad is not None]
    return torch.cat(parts).cpu()


@pytest.mark.parametrize("name", [*NAMES, "k3m+regions", *TEXT_MODELS])
def test_a_gpu_computes_what_a_cpu_computes(name, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    step = step_of(name)
    expected = gradient_of(step, torch.device("cpu"), bf16=False)
    for bf16, tolerance in ((False, 1e-3), (True, 0.05)):
        actual = gradient_of(step, GPU, bf16)
        assert (actual - expected).norm() < tolerance * expected.norm()


@pytest.mark.parametrize("name", [*NAMES, "k3m+regions", *TEXT_MODELS])
def test_a_step_does_not_wait_for_the_gpu(name):
    step = step_of(name)
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
# PyTorch's own compiler raises it where it is imported first.
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method:DeprecationWarning")
@pytest.mark.parametrize("mode", ["layers", "step"])
def test_a_compiled_step_computes_the_same(mode):
    step = preset_step("mbsd")
    expected = gradient_of(step, GPU, bf16=True)
    compile_objective(step.objective, mode, GPU)
    actual = gradient_of(step, GPU, bf16=True)
    assert (actual - expected).norm() < 0.05 * expected.norm()


def test_a_sharded_step_computes_the_same(tmp_path):
    """FSDP2 and NCCL, of a single process here."""
    objective = preset_step("mbsd").objective.to(GPU).eval()
    batch = preset_step("mbsd").batch.to(GPU)
    objective(batch).total.backward()
    expected = {name: each.grad for name, each in objective.named_parameters()}
    norm = clip_grad_norm_(objective.parameters(), math.inf)
    objective.zero_grad(set_to_none=True)
    store = f"file://{tmp_path / 'store'}"
    distributed.init_process_group("nccl", init_method=store, rank=0, world_size=1)
    try:
        shard(objective)
        objective(batch).total.backward()
        sharded_norm = clip_gradients(objective.parameters(), math.inf, Processes())
        for name, each in objective.named_parameters():
            assert each.grad is not None
            actual = whole(each.grad)
            wanted = expected[name]
            wanted = torch.zeros_like(actual) if wanted is None else wanted
            torch.testing.assert_close(actual, wanted, rtol=1e-3, atol=1e-5)
    finally:
        distributed.destroy_process_group()
    assert float(sharded_norm) == pytest.approx(float(norm), rel=1e-3)
