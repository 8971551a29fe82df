"""The mailbox through which the workers of a training on Ray speak with the command.

It is an actor on the node of the command. Its messages are bytes to it, so that it starts without
PyTorch, which they need.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Failure:
    """An error that another start would not mend: its line, and the exit code."""

    text: str
    exit_code: int


class Mailbox:
    """An actor: messages of the workers to the command, and its wish that they end."""

    def __init__(self) -> None:
        self._messages: list[bytes] = []
        self._failure: Failure | None = None
        self._there = asyncio.Event()
        self._stop = asyncio.Event()

    async def put(self, message: bytes) -> None:
        """Keep a message of a worker."""
        self._messages.append(message)
        self._there.set()

    async def take(self) -> list[bytes]:
        """Wait until there are messages; return all of them."""
        await self._there.wait()
        self._there.clear()
        taken = self._messages
        self._messages = []
        return taken

    async def fail(self, failure: Failure) -> None:
        """Keep the first failure of a worker."""
        self._failure = self._failure or failure

    async def failure(self) -> Failure | None:
        """Return the first failure of a worker, if any."""
        return self._failure

    async def ask_to_stop(self) -> None:
        """Ask the workers to save the run and to end."""
        self._stop.set()

    async def asked_to_stop(self) -> bool:
        """Wait until the workers are asked to stop."""
        return await self._stop.wait()


def open_mailbox() -> Any:
    """Start a mailbox on this node; return its actor."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    # Every worker may have calls under way, of which one waits for the whole run.
    actor: Any = ray.remote(Mailbox)
    return actor.options(num_cpus=0, scheduling_strategy=here, max_concurrency=10_000).remote()
