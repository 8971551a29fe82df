"""What a GPU would have to be waited for in a training step, counted without one."""

import contextlib
from typing import Any

import pytest
import torch
from torch import nn

from tests.encoders.made_text_models import text_model_settings
from tests.pretend_device import DEVICE, PretendDevice, PretendTensor, move_module
from tests.training.preset_steps import TOKENIZER, PresetStep, preset_step
from training.config import Recipe
from training.optim import AveragedWeights, build_optimizer, step_if_finite
from training.presets import PRESETS, preset_name

NAMES = [name for name in map(preset_name, PRESETS) if name != "wrapped"]


@pytest.fixture
def without_autocast(monkeypatch):
    """Autocast knows no pretended device, and the steps are in single precision."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())


@pytest.mark.usefixtures("without_autocast")
@pytest.mark.parametrize("name", [*NAMES, "k3m+regions", "k3m+two-hops", "joint+two-hops"])
def test_a_step_copies_its_batch_once_and_never_waits(name):
    check_never_waits(preset_step(name))


@pytest.mark.usefixtures("without_autocast")
@pytest.mark.parametrize(
    ("kind", "frozen"), [("bert", True), ("roberta", False), ("clip_text_model", False)]
)
def test_nor_does_one_whose_texts_are_read_by_a_pretrained_encoder(kind, frozen):
    text_model = text_model_settings(kind, TOKENIZER.vocab_size)
    check_never_waits(preset_step("joint", text_model=text_model, frozen_text=frozen))


def check_never_waits(step: PresetStep) -> None:
    """Check that a step computes on the pretended device what it does on the CPU, unread."""
    expected = step.objective.eval()(step.batch)
    with PretendDevice() as device:
        move_module(step.objective)
        batch = step.batch.to(DEVICE)
        assert device.copies.total() == 1
        device.copies.clear()
        losses = step.objective(batch).terms
        assert losses.keys() == expected.terms.keys()
        for term, loss in losses.items():
            torch.testing.assert_close(loss.inner, expected.terms[term], rtol=1e-4, atol=1e-5)
        step.objective.train()(batch).total.backward()
        assert not device.waits
        assert not device.copies


@pytest.mark.usefixtures("without_autocast")
def test_lamb_clipping_and_averages_never_wait_either():
    """AdamW has a kernel of its own for that, which only a real GPU can show."""
    step = preset_step("mbsd")
    with PretendDevice() as device:
        move_module(step.objective)
        batch = step.batch.to(DEVICE)
        optimizer = build_optimizer(step.objective, Recipe(optimizer="lamb"))
        average = AveragedWeights(step.objective, 0.9)
        device.copies.clear()
        device.waits.clear()
        weights: Any = step.objective.model.patch_mask
        before = weights.inner.clone()
        for number in range(2):
            optimizer.zero_grad(set_to_none=True)
            step.objective.train()(batch).total.backward()
            norm = nn.utils.clip_grad_norm_(step.objective.parameters(), 1.0)
            step_if_finite(optimizer, norm, 0.1)
            average.update(step.objective, number)
        assert not torch.equal(weights.inner, before)
        assert not device.waits
        assert not device.copies


def test_the_pretended_device_finds_what_it_is_meant_to_find():
    with PretendDevice() as device:
        there = torch.arange(6.0).to(DEVICE)
        assert isinstance(there, PretendTensor)
        assert device.copies.total() == 1
        assert not device.waits
        there.sum().item()
        there[there > 2]
        (there > 2).nonzero()
        there.cpu()
        assert device.waits.total() == 4
        with pytest.raises(AssertionError, match="mixes devices"):
            there + torch.arange(6.0)
        with pytest.raises(AssertionError, match="was not copied"):
            there + torch.tensor([1.0] * 6, device=DEVICE)
        doubled: Any = there * 2
        assert torch.equal(doubled.inner, torch.arange(6.0) * 2)
