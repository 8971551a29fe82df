"""A device that does not exist, for tests of what a GPU would do: it computes on the CPU.

Its tensors wrap tensors of the CPU and claim the device ``meta``. Every operation of a
:class:`PretendDevice` is checked and counted: operations on tensors of both devices are refused,
and so are factories that lose their values; whatever would make the program wait for a GPU is
recorded, and so is every copy between the devices, with the line of the program that caused it.
"""

from __future__ import annotations

import traceback
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("meta")
aten = torch.ops.aten

# The size of their results depends on values, which the program has to wait for.
READS = {
    aten._local_scalar_dense,
    aten.bincount,
    aten.equal,
    aten.is_nonzero,
    aten.masked_select,
    aten.nonzero,
    aten.unique_consecutive,
    aten.unique_dim,
    aten._unique2,
}


class PretendTensor(Tensor):
    """A tensor of the pretended device; ``inner`` is the tensor of the CPU that it wraps."""

    inner: Any

    @staticmethod
    def __new__(cls, real: Tensor) -> PretendTensor:
        wrapper = torch.Tensor._make_wrapper_subclass(
            cls,
            real.size(),
            strides=real.stride(),
            storage_offset=real.storage_offset(),
            dtype=real.dtype,
            device=DEVICE,
        )
        wrapper.inner = real
        return wrapper

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        raise RuntimeError(f"{func} was called outside of the pretended device")


class PretendDevice(TorchDispatchMode):
    """While it is active, tensors can be moved to the pretended device and computed with there.

    ``waits`` and ``copies`` count, by the line of the program, what would wait for a GPU and what
    would be copied from or to it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self.copies: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [part for part in tree_flatten((args, kwargs))[0] if isinstance(part, Tensor)]
        here = [part for part in tensors if isinstance(part, PretendTensor)]
        packet = func.overloadpacket
        target = kwargs.get("device")
        lost = [part for part in tensors if part.is_meta and not isinstance(part, PretendTensor)]
        if lost:
            raise AssertionError(f"{packet} reads a constant that was not copied: {origin()}")
        if packet is aten._to_copy and (here or target == DEVICE):
            return self._copy(func, args, kwargs)
        if not here and target != DEVICE:
            return func(*args, **kwargs)

        # Single numbers may come from the CPU: they are passed to kernels by value.
        foreign = [part for part in tensors if not isinstance(part, PretendTensor) and part.dim()]
        if foreign:
            raise AssertionError(f"{packet} mixes devices: {origin()}")
        if packet is aten.copy_ and not isinstance(args[1], PretendTensor):
            self.copies[origin()] += 1
        grows = packet is aten.repeat_interleave and kwargs.get("output_size") is None
        if grows or packet in READS or reads_mask(packet, args):
            self.waits[f"{packet} {origin()}"] += 1
        out = func(*tree_map(unwrap, args), **tree_map(unwrap, kwargs))
        if packet is aten._local_scalar_dense:
            return out
        if is_in_place(func):
            return args[0]
        return tree_map(wrap, out)

    def _copy(self, func: Any, args: Any, kwargs: Any) -> Any:
        source = args[0]
        target = kwargs.get("device")
        arrives = target == DEVICE or (target is None and isinstance(source, PretendTensor))
        if isinstance(source, PretendTensor) != arrives:
            self.copies[origin()] += 1
            if not arrives:
                self.waits[f"copy to the CPU {origin()}"] += 1
        out = func(unwrap(source), **{**kwargs, "device": torch.device("cpu")})
        return PretendTensor(out) if arrives else out


def reads_mask(packet: Any, args: Any) -> bool:
    """Return whether an indexing operation has to find the True entries of a mask first."""
    if packet not in (aten.index, aten.index_put, aten.index_put_, aten._unsafe_index):
        return False
    return any(part is not None and part.dtype == torch.bool for part in args[1])


def is_in_place(func: Any) -> bool:
    """Return whether an operation changes its first argument and returns it."""
    aliases = [result.alias_info for result in func._schema.returns]
    return len(aliases) == 1 and aliases[0] is not None and aliases[0].is_write


def unwrap(value: Any) -> Any:
    """Return what a pretended tensor wraps, and the CPU instead of its device."""
    if isinstance(value, PretendTensor):
        return value.inner
    return torch.device("cpu") if value == DEVICE and isinstance(value, torch.device) else value


def wrap(value: Any) -> Any:
    """Return a tensor of the CPU as one of the pretended device."""
    plain = isinstance(value, Tensor) and not isinstance(value, PretendTensor)
    return PretendTensor(value) if plain else value


def origin() -> str:
    """Return the innermost line of the program, outside of this file and of torch."""
    for frame in reversed(traceback.extract_stack()):
        if "/torch/" not in frame.filename and frame.filename != __file__:
            return f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.line}"
    return "?"


def move_module(module: nn.Module) -> None:
    """Move parameters and buffers of ``module`` to the pretended device; tied ones stay tied."""
    moved: dict[int, Any] = {}
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                if id(parameter) not in moved:
                    moved[id(parameter)] = nn.Parameter(
                        PretendTensor(parameter.detach()), parameter.requires_grad
                    )
                part._parameters[name] = moved[id(parameter)]
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = PretendTensor(buffer)
    # Heads keep references to tables that they share with encoders.
    for part in module.modules():
        for name, value in list(vars(part).items()):
            if id(value) in moved:
                setattr(part, name, moved[id(value)])
