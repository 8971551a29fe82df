"""LAMB (You et al., 2020, "Large Batch Optimization for Deep Learning")."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, overload

import torch
from torch import Tensor


@dataclass(frozen=True)
class LambSettings:
    """The numbers of Algorithm 2: beta_1, beta_2, epsilon and lambda."""

    beta1: float
    beta2: float
    epsilon: float
    weight_decay: float


@dataclass(frozen=True)
class LambTensors:
    """N parameters of one device and one type, with gradients, moments and steps taken."""

    parameters: list[Tensor]
    gradients: list[Tensor]
    first: list[Tensor]
    second: list[Tensor]
    steps: list[Tensor]


class Lamb(torch.optim.Optimizer):
    """Adam's direction with the weight decay in it, as long as the layer's weights are.

        m = beta_1 m + (1 - beta_1) g              v = beta_2 v + (1 - beta_2) g^2
        u = (m / (1 - beta_1^t)) / (sqrt(v / (1 - beta_2^t)) + epsilon) + lambda w
        w = w - lr |w| / |u| u

    This is the paper's Algorithm 2 with phi(z) = z; the ratio |w| / |u| is 1 if either norm is 0. A
    layer is a parameter. Nothing is computed on the host, so that a step never waits for a GPU.

    The state of a parameter is that of torch's AdamW: ``step``, ``exp_avg`` and ``exp_avg_sq``,
    with the step on the parameter's device. If ``found_inf`` is set, a tensor that is not 0 if the
    gradient is not finite, the step then changes neither weights nor state, as with AdamW's fused
    kernel.

    Args:
        params: parameters, or groups of them
        lr: learning rate
        betas: beta_1 and beta_2
        eps: epsilon
        weight_decay: lambda
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        # By "capturable", load_state_dict() knows that steps belong on the parameter's device.
        super().__init__(params, {**defaults, "capturable": True})
        self.found_inf: Tensor | None = None

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take a step; ``closure`` computes the loss again, which is then returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            settings = LambSettings(beta1, beta2, group["eps"], group["weight_decay"])
            for tensors in self._tensors(group["params"]):
                device = tensors.parameters[0].device
                # As a tensor, so that a compiled update is not compiled again for every rate.
                rate = torch.full((), group["lr"], dtype=torch.float64, device=device)
                found_inf = None if self.found_inf is None else self.found_inf.to(device)
                lamb_update(tensors, rate, settings, found_inf)
        return loss

    def _tensors(self, parameters: list[Tensor]) -> list[LambTensors]:
        """Return the parameters that have a gradient, by device and type."""
        columns: dict[tuple[torch.device, torch.dtype], LambTensors] = {}
        for parameter in parameters:
            if parameter.grad is None:
                continue
            state = self.state[parameter]
            if not state:
                state["step"] = torch.zeros((), device=parameter.device)
                state["exp_avg"] = torch.zeros_like(parameter)
                state["exp_avg_sq"] = torch.zeros_like(parameter)
            key = (parameter.device, parameter.dtype)
            tensors = columns.setdefault(key, LambTensors([], [], [], [], []))
            tensors.parameters.append(parameter)
            tensors.gradients.append(parameter.grad)
            tensors.first.append(state["exp_avg"])
            tensors.second.append(state["exp_avg_sq"])
            tensors.steps.append(state["step"])
        return list(columns.values())


def lamb_update(
    tensors: LambTensors,
    rate: Tensor,
    settings: LambSettings,
    found_inf: Tensor | None = None,
) -> None:
    """Update parameters, moments and steps in place; see :class:`Lamb`.

    It can be compiled as a whole: there is no branch on what a tensor contains. ``rate`` is the
    learning rate, a scalar. If the scalar ``found_inf`` is not 0, nothing changes.
    """
    gradients = tensors.gradients
    dtype = tensors.parameters[0].dtype
    beta1 = torch.full_like(rate, settings.beta1)
    beta2 = torch.full_like(rate, settings.beta2)
    taken = torch.ones_like(rate)
    if found_inf is not None:
        # Moments that decay by 1 and take up gradients of 0 stay what they are. The gradients have
        # to be replaced: 0 times NaN is NaN.
        skipped = found_inf.reshape(()) != 0
        taken = torch.where(skipped, 0.0, taken)
        beta1 = torch.where(skipped, 1.0, beta1)
        beta2 = torch.where(skipped, 1.0, beta2)
        gradients = [torch.where(skipped, 0.0, gradient) for gradient in gradients]
    # As a list: in the overload for a single tensor, torch may read it to the host.
    torch._foreach_add_(tensors.steps, [taken.float()] * len(tensors.steps))
    torch._foreach_mul_(tensors.first, beta1.to(dtype))
    torch._foreach_add_(tensors.first, gradients, alpha=1 - settings.beta1)
    torch._foreach_mul_(tensors.second, beta2.to(dtype))
    torch._foreach_addcmul_(tensors.second, gradients, gradients, value=1 - settings.beta2)

    # Parameters may have taken different numbers of steps, since a head that a step leaves unused
    # has no gradient. None may have been taken yet if the very first one is skipped.
    steps = torch.stack(tensors.steps).double().clamp(min=1)
    correction1 = 1 - settings.beta1**steps
    correction2 = 1 - settings.beta2**steps
    denominators = torch._foreach_sqrt(tensors.second)
    torch._foreach_div_(denominators, correction2.sqrt().to(dtype).unbind())
    torch._foreach_add_(denominators, settings.epsilon)
    updates = torch._foreach_div(tensors.first, denominators)
    torch._foreach_div_(updates, correction1.to(dtype).unbind())
    if settings.weight_decay:
        torch._foreach_add_(updates, tensors.parameters, alpha=settings.weight_decay)

    of_weights = torch.stack(torch._foreach_norm(tensors.parameters))
    of_updates = torch.stack(torch._foreach_norm(updates))
    both = (of_weights > 0) & (of_updates > 0)
    ratio = torch.where(both, of_weights / of_updates, 1.0)
    torch._foreach_mul_(updates, (ratio * rate * taken).to(dtype).unbind())
    torch._foreach_sub_(tensors.parameters, updates)
