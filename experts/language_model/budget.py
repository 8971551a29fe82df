"""The budget of calls and of money that a run of questions has."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from experts.language_model.settings import BudgetSettings


@dataclass(frozen=True)
class Spent:
    """What was spent so far."""

    calls: int
    money: float
    input_tokens: int
    output_tokens: int


class Budget:
    """What a run has spent, counted from several threads.

    A call is paid before it is made, by the most that it may cost, and settled afterwards by what
    the server says that it took. So a run does not begin a call that may exceed the budget.
    """

    def __init__(self, settings: BudgetSettings) -> None:
        self.settings = settings
        self.calls = 0
        self.money = 0.0
        self.input_tokens = 0
        self.output_tokens = 0
        self._lock = threading.Lock()

    def spent(self) -> Spent:
        """Return what was spent so far."""
        with self._lock:
            return Spent(self.calls, self.money, self.input_tokens, self.output_tokens)

    def pay(self, cost: float) -> bool:
        """Pay for a call; return False, and pay nothing, if it may exceed the budget."""
        with self._lock:
            most = self.settings.money
            # Sums of floats are a little off.
            if self.calls >= self.settings.calls or (
                most is not None and self.money + cost > most + 1e-9
            ):
                return False
            self.calls += 1
            self.money += cost
            return True

    def settle(self, paid: float, input_tokens: int, output_tokens: int) -> None:
        """Put what a call took in the place of what was paid for it."""
        with self._lock:
            self.money += self.settings.price(input_tokens, output_tokens) - paid
            self.input_tokens += input_tokens
            self.output_tokens += output_tokens

    def refund(self, paid: float) -> None:
        """Take back what was paid for a call that the server did not carry out; it still counts."""
        with self._lock:
            self.money -= paid
