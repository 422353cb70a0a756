"""The adaptive batch size's decisions: Algorithm 1 of "Large Batch Size Training ... with Second-Order Information"."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from tflbt import checks

CURVATURE = "curvature"
DURATION = "duration"


@dataclasses.dataclass(frozen=True)
class Growth:
    """The decision after one measurement: the factor by which batch and rate grow (1.0: nothing does), and why.

    The reason is "curvature" (the eigenvalue fell below the reference / alpha), "duration" (kappa measurements without
    growth), or None.
    """

    reason: str | None = None
    factor: float = 1.0


@checks.arguments
@dataclasses.dataclass
class AdaptiveBatch:
    r"""Algorithm 1 as a state machine that is fed one eigenvalue at a time.

    With the reference \(\lambda_{old}\) and k measurements since the last growth, a measurement \(\lambda\) grows the
    batch if

    $$\lambda < \lambda_{old} / \alpha \quad \text{or} \quad k = \kappa$$

    and then B and the learning rate are multiplied by beta, the adversarial share is divided by omega, k = 0, and, in
    the first case, \(\lambda_{old} = \lambda\). B is a multiple of `step` (ranks x sub-batch size) and at most
    `max_batch_size`: it grows to the next multiple, or to the largest possible, and the learning rate grows in the same
    proportion. At the largest batch nothing grows any more, and the share stays the same.

    The first measurement is the reference. That of the initial weights does not count towards kappa; that of the first
    epoch does (`reference_counts`), as in Algorithm 1 and the authors' code: if nothing becomes flat, the batch grows
    after epochs 10, 20, 30 either way.

    Our rules where the paper has none: an eigenvalue that is NaN or infinite is ignored (it neither decides nor
    counts); one that is not positive counts towards kappa, but does not show flatness and never becomes the reference.

    Args:
        batch_size: The batch at the beginning, a multiple of `step`.
        max_batch_size: The largest batch, at least `batch_size`; rounded down to a multiple of `step`.
        step: Every batch must be a multiple of this, at least 1, default 1.
        alpha: The eigenvalue must fall by this factor, more than 1, default 2.
        beta: The factor by which batch size and learning rate grow, more than 1, default 2.
        kappa: The batch grows anyway after this many measurements without growth, at least 1, default 10.
        omega: The adversarial share is divided by this at each growth, at least 1, default 2.
        reference_counts: Whether the measurement that becomes the reference counts towards kappa, default False.

    Raises:
        ValueError: If an argument is out of its range.

    Source: Algorithm 1 and appendix B of `abs-absa.txt`.

    Example:
        >>> machine = AdaptiveBatch(batch_size=128, max_batch_size=500, step=128, kappa=3)
        >>> [machine.measured(value).reason for value in (8.0, 5.0, 3.9, 3.0, 1.9, 1.0)]
        [None, None, 'curvature', None, 'curvature', None]
        >>> machine.batch_size
        384
    """

    batch_size: int
    max_batch_size: int
    step: int = 1
    alpha: float = 2.0
    beta: float = 2.0
    kappa: int = 10
    omega: float = 2.0
    reference: checks.Measured | None = None
    waited: int = 0
    growths: int = 0
    reference_counts: bool = False

    def __post_init__(self) -> None:
        """Checks the arguments."""
        check_ratios(self.alpha, self.beta, self.kappa, self.omega)
        checks.counts(self, "batch_size", "step", at_least=1)
        checks.counts(self, "waited", "growths")
        if self.max_batch_size < self.batch_size:
            raise ValueError(
                f"max_batch_size={self.max_batch_size} is less than batch_size={self.batch_size}, with which the "
                f"training begins: use at least {self.batch_size}."
            )

    @property
    def largest(self) -> int:
        """The batch at which growth ends: the largest multiple of `step` up to `max_batch_size`."""
        return max(self.batch_size, self.max_batch_size // self.step * self.step)

    @property
    def at_largest(self) -> bool:
        """True if growth has ended."""
        return self.batch_size >= self.largest

    def measured(self, eigenvalue: float) -> Growth:
        """Processes a measurement; the first one that is positive becomes the reference."""
        if not math.isfinite(eigenvalue):
            return Growth()
        if self.reference is None:
            self.reference = eigenvalue if eigenvalue > 0 else None
            if not self.reference_counts:
                return Growth()
        self.waited += 1
        flatter = self.reference is not None and 0 < eigenvalue < self.reference / self.alpha
        if not flatter and self.waited < self.kappa:
            return Growth()
        self.waited = 0
        if flatter:
            self.reference = eigenvalue
        return self._grow(CURVATURE if flatter else DURATION)

    def _grow(self, reason: str) -> Growth:
        """Grows the batch, unless it is the largest already."""
        if self.at_largest:
            return Growth()
        wanted = math.ceil(round(self.batch_size * self.beta / self.step, 9)) * self.step
        before, self.batch_size = self.batch_size, min(wanted, self.largest)
        self.growths += 1
        return Growth(reason, self.batch_size / before)

    def share(self, initial: float) -> float:
        """The adversarial share after the growths so far: initial / omega^growths."""
        return initial / self.omega**self.growths

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs, as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> AdaptiveBatch:
        """Returns the machine that had this `state()`."""
        return cls(**state)


def check_ratios(alpha: float, beta: float, kappa: int, omega: float) -> None:
    """Raises ValueError unless the algorithm's numbers are in their ranges."""
    checks.number("alpha", alpha, more_than=1, hint="; the paper's is 2")
    checks.number("beta", beta, more_than=1, hint="; the paper's is 2")
    checks.whole("kappa", kappa, at_least=1, hint="; the paper's is 10")
    checks.number("omega", omega, at_least=1, hint="; the paper's is 2")
