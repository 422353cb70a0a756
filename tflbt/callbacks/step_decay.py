"""Step-wise decay at given epochs: the schedule of the papers' baselines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tflbt.callbacks.learning_rate import LearningRateFactor


class StepDecay(LearningRateFactor):
    """Multiplies the learning rate by `factor` once each of the given epochs is done.

    The factor depends on the epoch alone: a second `fit` from epoch 0 begins at the full rate again, and
    `fit(initial_epoch=...)` at the rate that belongs there.

    Args:
      epochs: after how many epochs to decay, increasing, each more than 0: (150, 225) keeps the full rate for 150
        epochs.
      factor: in (0, 1), default 0.1.

    Raises:
      ValueError: if an argument is out of its range; at the start of `fit`, if the optimizer was built with a
        schedule.

    Source: Tables 2 to 5 of `two-phase.txt`, "step-wise (beta = 0.1)".

    Example:
      >>> decay = StepDecay([150, 225])
      >>> [round(decay.factor_after(epochs), 4) for epochs in (0, 149, 150, 225)]
      [1.0, 1.0, 0.1, 0.01]
    """

    owner = "step_decay"

    def __init__(self, epochs: Sequence[int], factor: float = 0.1) -> None:
        super().__init__()
        self.epochs = tuple(epochs) if isinstance(epochs, Iterable) else ()
        if not self.epochs or any(a >= b for a, b in zip((0, *self.epochs), self.epochs)):
            raise ValueError(
                f"epochs={epochs!r} must be a list of increasing numbers of epochs, more than 0."
            )
        if not 0 < factor < 1:
            raise ValueError(f"factor={factor!r} must be between 0 and 1.")
        self.factor = factor
        self._decays = 0

    def factor_after(self, epochs_done: int) -> float:
        """The factor after this many epochs."""
        return self.factor ** sum(epoch <= epochs_done for epoch in self.epochs)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Assigns the rate of the epoch."""
        self._decays = sum(decayed <= epoch for decayed in self.epochs)
        self.set_factor(self.factor_after(epoch))

    def epoch_columns(self) -> dict[str, Any]:
        """What this callback adds to an epoch's row."""
        return {"decays": self._decays}
