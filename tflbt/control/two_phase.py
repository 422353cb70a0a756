"""The two-phase schedule's decisions: Algorithm 1 of "Achieving Small-Batch Accuracy with Large-Batch Scalability"."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

from tflbt import checks
from tflbt.control.plateau import Plateau

EXPLORATION = "exploration"
CONVERGENCE = "convergence"


@dataclasses.dataclass(frozen=True)
class Decision:
    """The decision at an epoch's end: `switched` to the convergence phase, or `decay` the learning rate by beta."""

    switched: bool = False
    decay: bool = False


@checks.arguments
@dataclasses.dataclass
class TwoPhase:
    """Algorithm 1 as a state machine that is fed one epoch at a time.

    Exploration: the learning rate stays large until the training loss is flat (`plateau`) at epoch x, and for
    ceil(x * extra_fraction) more epochs. The last of these records its loss f and eigenvalue h and switches the phase.
    Losses of epochs that start before epoch `begin` is over, such as those of a warm-up, are passed over: they are
    neither the best nor counted as flat, but x counts these epochs.
    Convergence: an epoch whose loss *and* eigenvalue both exceed the recorded ones decays the learning rate and clears
    the record, so that the next epoch only records; any other epoch replaces the record with its own values.

    Args:
        plateau: Detects the flat training loss.
        extra_fraction: Extra epochs after the plateau, as a fraction of the epochs up to it, at least 0 (default 1/3,
            the paper's).
        begin: Epochs (fractions allowed) whose losses the plateau does not see, at least 0 (default 0: it sees all).

    Raises:
        ValueError: If `extra_fraction` or `begin` is negative.

    Source: Algorithm 1 and the phase switching condition of section 3.1 (`two-phase.txt`). The algorithm prints
      "h' = 0" for the cleared record; here it is None, and an eigenvalue that is not positive never counts as a
      record, which is the same rule. Of a warm-up it says nothing; with `begin` at its end, a loss that rises with the
      rate is not taken for flat.
    """

    plateau: Plateau
    extra_fraction: float = 1 / 3
    begin: float = 0.0
    phase: str = EXPLORATION
    epoch: int = 0
    plateau_epoch: int | None = None
    switch_epoch: int | None = None
    decays: int = 0
    reference_eigenvalue: checks.Measured | None = None
    reference_loss: checks.Measured | None = None

    def __post_init__(self) -> None:
        """Checks the arguments."""
        checks.number("extra_fraction", self.extra_fraction, at_least=0)
        checks.number("begin", self.begin, at_least=0, hint=": epochs")
        checks.one_of("phase", self.phase, (EXPLORATION, CONVERGENCE))
        checks.counts(self, "epoch", "plateau_epoch", "switch_epoch", "decays")

    def end_of_epoch(self, loss: float | None, eigenvalue: Callable[[], float]) -> Decision:
        """Processes an epoch's mean training loss; `eigenvalue()` is called only if it is needed.

        An epoch without a loss (None), which may be measured in some only, is counted and shows nothing.
        """
        if self.phase == EXPLORATION:
            if not self._explored(loss):
                return Decision()
            self.phase, self.switch_epoch = CONVERGENCE, self.epoch
            if loss is not None:
                self.reference_loss, self.reference_eigenvalue = loss, eigenvalue()
            return Decision(switched=True)
        self.epoch += 1
        if loss is None:
            return Decision()
        measured = eigenvalue()
        if self._sharper_and_higher(loss, measured):
            self.reference_eigenvalue = self.reference_loss = None
            self.decays += 1
            return Decision(decay=True)
        self.reference_loss, self.reference_eigenvalue = loss, measured
        return Decision()

    def _explored(self, loss: float | None) -> bool:
        """Counts one exploration epoch; True if the plateau and the extra epochs are over."""
        self.epoch += 1
        seen = self.epoch - 1 >= self.begin and self.plateau_epoch is None
        if seen and loss is not None and self.plateau.update(loss):
            self.plateau_epoch = self.epoch
        if self.plateau_epoch is None:
            return False
        extra = math.ceil(round(self.plateau_epoch * self.extra_fraction, 9))
        return self.epoch >= self.plateau_epoch + extra

    def _sharper_and_higher(self, loss: float, eigenvalue: float) -> bool:
        """True if eigenvalue and loss both exceed the recorded ones."""
        if self.reference_eigenvalue is None or self.reference_loss is None:
            return False
        return 0 < self.reference_eigenvalue < eigenvalue and self.reference_loss < loss

    def state(self) -> dict[str, object]:
        """Everything that a resumed run needs, as JSON values (an infinite best loss is written as None)."""
        fields = dataclasses.asdict(self)
        if fields["plateau"]["best"] == math.inf:
            fields["plateau"]["best"] = None
        return fields

    @classmethod
    def from_state(cls, state: dict[str, object]) -> TwoPhase:
        """Returns the machine that had this `state()`."""
        fields = dict(state)
        plateau = dict(fields.pop("plateau"))  # type: ignore[call-overload]
        if plateau["best"] is None:
            plateau["best"] = math.inf
        return cls(plateau=Plateau(**plateau), **fields)  # type: ignore[arg-type]
