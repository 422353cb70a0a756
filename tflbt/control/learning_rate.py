"""The learning rate as a product of one base and one factor per callback that sets it."""

from __future__ import annotations

import dataclasses
import math

from tflbt import checks

# Below about 1e-38 float32 loses digits and becomes 0, so such a rate does not show who assigned it.
FLOAT32_TINY = 1e-37


@checks.arguments
@dataclasses.dataclass
class ComposedRate:
    """A learning rate that several callbacks set together without overwriting one another.

    rate = base * product of factors. A warm-up owns the factor "warmup", the two-phase schedule "two_phase", and so on;
    each changes only its own factor. If another part of the program assigned the rate (`observe`), the base is changed
    so that the product equals it.

    Example:
        >>> rate = ComposedRate(0.8)
        >>> rate.set("warmup", 0.25), rate.set("two_phase", 0.5), rate.set("warmup", 1.0)
        (0.2, 0.1, 0.4)
        >>> rate.observe(0.2)
        >>> rate.base
        0.4
    """

    base: checks.Measured
    factors: dict[str, checks.Measured] = dataclasses.field(default_factory=dict)
    assigned: checks.Measured | None = None

    @property
    def value(self) -> float:
        """The rate that the factors make together."""
        return self.base * math.prod(self.factors.values())

    def set(self, owner: str, factor: float) -> float:
        """Sets the factor of `owner` and returns the rate to assign."""
        self.factors[owner] = factor
        self.assigned = self.value
        return self.assigned

    def observe(self, current: float, tolerance: float = 1e-6) -> None:
        """Adjusts the base to the rate found in the optimizer, which somebody else may have assigned since."""
        expected = self.value if self.assigned is None else self.assigned
        if math.isclose(current, expected, rel_tol=tolerance, abs_tol=FLOAT32_TINY):
            return
        product = math.prod(self.factors.values())
        self.base = current / product if product > 0 else current
        self.assigned = current

    def fold(self, owner: str) -> None:
        """Makes a factor part of the base, so that its owner can begin at 1 again; the rate stays the same."""
        self.base *= self.factors.pop(owner, 1.0)
