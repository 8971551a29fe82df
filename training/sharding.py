"""Sharding of a model, its gradients, optimizer state and averages over processes (FSDP2).

A process keeps a slice of every parameter, and of what the optimizer and the averages keep about
it; the whole parameters are gathered for each step. Instead of 24 bytes per parameter, a process
needs 16 divided by the number of processes for its slices, 4 for the whole copy that validation
reads, and, during a step, 8 for the gathered weights and their gradients.

The whole model is one group, gathered at the beginning of the forward pass, whose gradients are
reduced at the end of the backward pass. Layers of their own would be gathered as often as a step
passes over them, which depends on what its batch contains and so differs between processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils import _pytree as pytree

from schema.errors import UsageError
from training.config import Recipe
from training.objectives.joint import JointObjective, LossReport
from training.processes import Processes

BYTES_PER_PARAMETER = 24
"""Weight, gradient, two moments, the average, and the copy that validation reads, in fp32."""

MEMORY_SHARE = 0.5
"""The share of a GPU's memory that is left for a model; activations take as much."""


def is_to_be_sharded(recipe: Recipe, objective: nn.Module, processes: Processes) -> bool:
    """Return whether to shard a model: as the recipe says, or if it is too large for a GPU.

    Raises UsageError if it is to be trained by LAMB, which needs the norms of whole parameters.
    """
    if processes.world == 1 or recipe.shard == "never":
        return False
    if recipe.shard == "always":
        if recipe.optimizer != "adamw":
            raise UsageError(
                f"shard=always does not work with optimizer={recipe.optimizer}, which needs whole "
                "parameters: set shard=never or optimizer=adamw"
            )
        return True
    if not torch.cuda.is_available() or recipe.optimizer != "adamw":
        return False
    _, memory = torch.cuda.mem_get_info()
    parameters = sum(parameter.numel() for parameter in objective.parameters())
    # The smallest GPU decides for all.
    rows = processes.gather([parameters * BYTES_PER_PARAMETER > MEMORY_SHARE * memory])
    return bool(rows.any())


def shard(objective: JointObjective) -> None:
    """Shard the parameters of ``objective``, in place, over all processes."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard

    if LossReport not in pytree.SUPPORTED_NODES:
        # FSDP looks for tensors in the output, from which the backward pass will begin.
        pytree.register_pytree_node(
            LossReport,
            lambda report: ([report.total, report.terms], None),
            lambda parts, _: LossReport(*parts),
        )
    device = objective.model.patch_mask.device.type
    mesh = init_device_mesh(device, (torch.distributed.get_world_size(),))
    # FSDP cannot slice a single number: every process has all of these.
    scalars = {parameter for parameter in objective.parameters() if parameter.ndim == 0}
    sharded = fully_shard(objective, mesh=mesh, reshard_after_forward=False, ignored_params=scalars)
    assert isinstance(sharded, FSDPModule)
    # The shares of the losses already refer to the batch of all processes: gradients are summed.
    sharded.set_gradient_divide_factor(1.0)
    # Gloo has no sum with a factor.
    sharded.set_force_sum_reduction_for_comms(True)
    objective.reaches_all_parameters = True


def clip_gradients(
    parameters: Iterable[nn.Parameter], limit: float, processes: Processes
) -> Tensor:
    """Scale gradients down to a norm of at most ``limit``; return their norm, a scalar.

    It is the norm of all gradients together, of all slices if the model is sharded.
    """
    parameters = list(parameters)
    if not any(isinstance(parameter, DTensor) for parameter in parameters):
        norm: Tensor = nn.utils.clip_grad_norm_(parameters, limit)
        return norm
    slices = [own_slice(each.grad) for each in parameters if isinstance(each.grad, DTensor)]
    wholes = [
        each.grad
        for each in parameters
        if each.grad is not None and not isinstance(each.grad, DTensor)
    ]
    squares = processes.sum(_squares(slices)) + _squares(wholes)
    total = squares.sqrt()
    # As in clip_grad_norm_.
    torch._foreach_mul_([*slices, *wholes], float((limit / (total + 1e-6)).clamp(max=1.0)))
    return total


def _squares(tensors: list[Tensor]) -> Tensor:
    """Return the sum of the squares of all elements, on the CPU in float64."""
    filled = [tensor for tensor in tensors if tensor.numel()]
    if not filled:
        return torch.zeros((), dtype=torch.float64)
    return torch.stack(torch._foreach_norm(filled)).double().square().sum().cpu()


def own_slice(tensor: Tensor) -> Tensor:
    """Return this process's slice of a sharded tensor, or the tensor itself if it is whole."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """Return the whole of a sharded tensor; all processes have to call this together."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def whole_on_cpu(tensors: Mapping[str, Tensor], kept: bool = True) -> dict[str, Tensor]:
    """Return copies of whole tensors on the CPU; all processes have to call this together.

    Those that are not to be ``kept`` are only gathered, for the others.
    """
    copies = {}
    for name, tensor in tensors.items():
        gathered = whole(tensor.detach())
        if kept:
            # safetensors refuses tensors that share memory, as tied weights do.
            copies[name] = gathered.cpu().clone().contiguous()
    return copies


def whole_averages(averages: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return averages as whole tensors; all processes have to call this together.

    Tied weights, which have one average, remain one tensor.
    """
    gathered: dict[int, Tensor] = {}
    for tensor in averages.values():
        if id(tensor) not in gathered:
            is_slice = isinstance(tensor, DTensor)
            gathered[id(tensor)] = whole(tensor).cpu() if is_slice else tensor
    return {name: gathered[id(tensor)] for name, tensor in averages.items()}


def sharded_like(tensor: Tensor, like: Tensor) -> Tensor:
    """Return a whole ``tensor`` sharded as ``like`` is, or itself if that is whole.

    Tensors of another shape, such as a count of steps, stay whole.
    """
    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor
    on_device = tensor.to(like.device)
    # Every process has the whole tensor and takes its slice.
    placed: Any = distribute_tensor(
        on_device, like.device_mesh, like.placements, src_data_rank=None
    )
    return placed


def all_sharded_like(
    tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return whole ``tensors`` sharded as those of the same name in ``like`` are."""
    return {
        name: sharded_like(tensor, like[name]) if name in like else tensor
        for name, tensor in tensors.items()
    }
