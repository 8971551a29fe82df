"""Batch norm whose statistics are those of the images of all processes of a training run.

Shapes: B rows in this process, C channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SumOver = Callable[[Tensor], None]
"""Sums a tensor over all processes, in place."""


class BatchNorm(nn.modules.batchnorm._BatchNorm):
    """PyTorch's batch norm (Ioffe and Szegedy, 2015) of [B, C] or [B, C, H, W].

    Two things differ. A single value per channel has no deviation: in training it is normalised by
    the running statistics, which it does not change. And between :meth:`synchronise` and the end of
    a run, the statistics are those of the rows of ``processes`` processes, so that these train as
    one does. Unlike ``nn.SyncBatchNorm`` that works on a CPU as well, and with no row at all.
    """

    # PyTorch's has none of these if it is built without running statistics.
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    def __init__(self, features: int, affine: bool = True) -> None:
        super().__init__(features, affine=affine)
        self.sum_over: SumOver | None = None
        self.rank = 0
        self.processes = 1

    def synchronise(self, sum_over: SumOver, rank: int, processes: int) -> None:
        """Use the statistics of all processes from now on, of which this one has a ``rank``."""
        self.sum_over = sum_over
        self.rank = rank
        self.processes = processes

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() not in (2, 4):
            raise ValueError(f"batch norm reads [B, C] or [B, C, H, W], not {tuple(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``input`` [B, C] or [B, C, H, W] per channel."""
        if self.training and self.sum_over is not None:
            return self._forward_of_all(input, self.sum_over)
        if self.training and input.numel() <= input.shape[1]:
            return F.batch_norm(
                input,
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                eps=self.eps,
            )
        normalised: Tensor = super().forward(input)
        return normalised

    def _forward_of_all(self, input: Tensor, sum_over: SumOver) -> Tensor:
        group = _ProcessGroup(sum_over, self.rank, self.processes)
        results = _NormOverProcesses.apply(  # type: ignore[no-untyped-call]
            input, self.running_mean, self.running_var, self.eps, group
        )
        normalised, mean, variance, count = results
        self._update(mean, variance, count)
        if self.weight is None:
            return normalised.to(input.dtype)
        shape = [1, -1, *[1] * (input.dim() - 2)]
        scaled = normalised * self.weight.view(shape) + self.bias.view(shape)
        return scaled.to(input.dtype)

    @torch.no_grad()
    def _update(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Move the running statistics, unless there was less than two values per channel."""
        several = count > 1
        rate = several.to(self.running_mean.dtype) * self.momentum
        unbiased = variance * (count / (count - 1).clamp(min=1))
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), rate)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), rate)
        self.num_batches_tracked += several.to(self.num_batches_tracked.dtype)


@dataclass(frozen=True)
class _ProcessGroup:
    """This process's ``rank`` among ``processes`` processes, and how they sum a tensor."""

    sum_over: SumOver
    rank: int
    processes: int


class _NormOverProcesses(torch.autograd.Function):
    """(x - mean) / sqrt(variance + eps) per channel, over the rows of all processes.

    Returns it with the mean, the variance [C] and the number of values per channel. Each direction
    has one exchange: of count, mean and squared deviations forward, which are combined by Chan's
    formula and so do not cancel; of two sums per channel backward. Of fewer than two values, the
    running statistics are used.
    """

    @staticmethod
    def forward(
        context: Any,
        x: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        eps: float,
        group: _ProcessGroup,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Normalise ``x`` [B, C] or [B, C, H, W] over the rows of all processes of ``group``."""
        single = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        channels = x.shape[1]
        others = [axis for axis in range(x.dim()) if axis != 1]
        shape = [1, -1, *[1] * (x.dim() - 2)]
        own_count = single.new_full((), x.numel() // channels)
        own_mean = single.sum(others) / own_count.clamp(min=1)
        own_deviation = (single - own_mean.view(shape)).square().sum(others)

        rows = single.new_zeros(group.processes, 2 * channels + 1)
        rows[group.rank] = torch.cat([own_count[None], own_mean, own_deviation])
        group.sum_over(rows)
        counts = rows[:, :1]
        means = rows[:, 1 : channels + 1]
        count = counts.sum()
        mean = (counts * means).sum(0) / count.clamp(min=1)
        deviation = (rows[:, channels + 1 :] + counts * (means - mean).square()).sum(0)
        variance = deviation / count.clamp(min=1)

        several = count > 1
        used_mean = torch.where(several, mean, running_mean.to(mean.dtype))
        used_variance = torch.where(several, variance, running_var.to(mean.dtype))
        scale = (used_variance + eps).rsqrt()
        normalised = (single - used_mean.view(shape)) * scale.view(shape)
        context.save_for_backward(normalised, scale, count)
        context.group = group
        context.dtype = x.dtype
        context.mark_non_differentiable(mean, variance, count)
        return normalised, mean, variance, count

    @staticmethod
    def backward(
        context: Any, gradient: Tensor, *_: Tensor
    ) -> tuple[Tensor, None, None, None, None]:
        """Return the gradient of the input, through mean and variance as well."""
        normalised, scale, count = context.saved_tensors
        others = [axis for axis in range(gradient.dim()) if axis != 1]
        shape = [1, -1, *[1] * (gradient.dim() - 2)]
        sums = torch.cat([gradient.sum(others), (gradient * normalised).sum(others)])
        context.group.sum_over(sums)
        # The running statistics are constants.
        mean_gradient, mean_product = (sums * (count > 1) / count.clamp(min=1)).chunk(2)
        through = gradient - mean_gradient.view(shape) - normalised * mean_product.view(shape)
        return (through * scale.view(shape)).to(context.dtype), None, None, None, None


def synchronise_batch_norm(model: nn.Module, sum_over: SumOver, rank: int, processes: int) -> None:
    """Let every batch norm of ``model`` use the statistics of all processes."""
    for module in model.modules():
        if isinstance(module, BatchNorm):
            module.synchronise(sum_over, rank, processes)


def has_batch_norm(model: nn.Module) -> bool:
    """Return whether a module has a batch norm, which makes its rows depend on each other."""
    return any(isinstance(module, BatchNorm) for module in model.modules())


def is_synchronised(model: nn.Module) -> bool:
    """Return whether a module has a batch norm that uses the statistics of all processes."""
    return any(
        isinstance(module, BatchNorm) and module.sum_over is not None for module in model.modules()
    )


class BatchNormStatistics:
    """The running statistics of a module's batch norms.

    A step that is started again must not move them twice.
    """

    def __init__(self, module: nn.Module) -> None:
        self._buffers = [
            buffer
            for part in module.modules()
            if isinstance(part, BatchNorm)
            for buffer in part.buffers(recurse=False)
        ]

    def copy(self) -> list[Tensor]:
        """Return their present values."""
        return [buffer.clone() for buffer in self._buffers]

    def restore(self, statistics: list[Tensor]) -> None:
        """Set them back to such values."""
        for buffer, value in zip(self._buffers, statistics, strict=True):
            buffer.copy_(value)
