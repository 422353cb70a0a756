"""The learning rate as a product: one base, and a factor for each callback that has a say."""

from __future__ import annotations

import dataclasses
import math

# Below about 1e-38 float32 loses digits and goes to 0: a rate read back there tells nothing about who assigned it.
FLOAT32_TINY = 1e-37


@dataclasses.dataclass
class ComposedRate:
    """A learning rate that several callbacks set together without overwriting one another.

    rate = base * product of factors. A warm-up owns the factor "warmup", the two-phase schedule "two_phase", and so
    on; each changes its own factor only. When somebody else assigned the rate (`observe`), the base is moved so that
    the product is what they assigned.

    Example:
        >>> rate = ComposedRate(0.8)
        >>> rate.set("warmup", 0.25), rate.set("two_phase", 0.5), rate.set("warmup", 1.0)
        (0.2, 0.1, 0.4)
        >>> rate.observe(0.2)
        >>> rate.base
        0.4
    """

    base: float
    factors: dict[str, float] = dataclasses.field(default_factory=dict)
    assigned: float | None = None

    @property
    def value(self) -> float:
        """The rate that the factors make together."""
        return self.base * math.prod(self.factors.values())

    def set(self, owner: str, factor: float) -> float:
        """Gives `owner` this factor and returns the rate to assign."""
        self.factors[owner] = factor
        self.assigned = self.value
        return self.assigned

    def observe(self, current: float, tolerance: float = 1e-6) -> None:
        """Takes in the rate found in the optimizer: somebody else may have assigned it since."""
        expected = self.value if self.assigned is None else self.assigned
        if math.isclose(current, expected, rel_tol=tolerance, abs_tol=FLOAT32_TINY):
            return
        product = math.prod(self.factors.values())
        self.base = current / product if product > 0 else current
        self.assigned = current

    def fold(self, owner: str) -> None:
        """Makes a factor part of the base, so that its owner can begin at 1 again; the rate stays."""
        self.base *= self.factors.pop(owner, 1.0)
