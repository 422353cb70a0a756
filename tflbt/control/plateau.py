"""When a loss counts as flat: after a number of epochs without improvement."""

from __future__ import annotations

import dataclasses
import math

from tflbt import checks


@checks.arguments
@dataclasses.dataclass
class Plateau:
    """Detects that a loss has not improved for `patience` epochs in a row.

    Args:
        patience: Epochs without improvement that make a plateau, at least 1.
        min_delta: How much lower than the best a loss must be to count as improved, at least 0 (default 0).

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> plateau = Plateau(patience=2)
        >>> [plateau.update(loss) for loss in (1.0, 0.5, 0.6, 0.5, 0.4)]
        [False, False, False, True, False]
    """

    patience: int
    min_delta: float = 0.0
    best: checks.Measured = math.inf
    waited: int = 0

    def __post_init__(self) -> None:
        """Checks the arguments."""
        checks.whole("patience", self.patience, at_least=1, hint=": epochs")
        checks.number("min_delta", self.min_delta, at_least=0)
        checks.counts(self, "waited")

    def update(self, loss: float) -> bool:
        """Processes one epoch's loss; returns True while the loss is flat. NaN is not an improvement."""
        if loss < self.best - self.min_delta:
            self.best, self.waited = loss, 0
        else:
            self.waited += 1
        return self.waited >= self.patience


def patience_of_budget(epochs: int, share: float = 0.05) -> int:
    """The paper's patience: 5% of the epoch budget, rounded up, at least one epoch (section 4 of `two-phase.txt`)."""
    return max(1, math.ceil(round(epochs * share, 9)))
