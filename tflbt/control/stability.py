"""Up to which curvature SGD is stable at a learning rate, and when to report that it is not."""

from __future__ import annotations

import dataclasses
import math

from tflbt import checks


@checks.arguments
def stability_limit(learning_rate: float, momentum: float = 0.0, nesterov: bool = False) -> float:
    r"""The Hessian eigenvalue up to which SGD converges to a minimum.

    Along an eigenvector with eigenvalue \(\lambda\) the loss is a parabola, and Keras's SGD with learning rate \(\eta\)
    and momentum \(\mu\) is a linear recursion in w. It is stable if the roots of its characteristic polynomial lie
    within the unit circle; the first root to leave it does so at z = -1, where the weights jump from side to side:

    - plain: \(z - (1 - \eta\lambda)\), so \(\lambda < 2 / \eta\);
    - heavy ball (v <- mu v - eta g, w <- w + v): \(z^2 - (1 + \mu - \eta\lambda) z + \mu\), so
      \(\lambda < 2 (1 + \mu) / \eta\);
    - Nesterov (the same v, w <- w + mu v - eta g): \(z^2 - (1 + \mu)(1 - \eta\lambda) z + \mu (1 - \eta\lambda)\), so
      \(\lambda < 2 (1 + \mu) / ((1 + 2 \mu) \eta)\).

    Args:
        learning_rate: Eta, at least 0; at 0 there is no limit.
        momentum: Mu, in [0, 1], default 0; at 1 the weights oscillate for ever, and beyond the limit they diverge.
        nesterov: Whether it is Nesterov's momentum, default False.

    Returns:
        The limit, in the unit of the loss per squared weight.

    Raises:
        ValueError: If an argument is out of its range.

    Source: Theorem 1 (equation 5) of `batch-augmentation.txt` for plain SGD, where the limit holds for the largest
      eigenvalue of every mini-batch; with momentum it is derived here for one parabola, without noise.

    Example:
        >>> stability_limit(0.1), stability_limit(0.1, 0.5), stability_limit(0.1, 0.5, nesterov=True)
        (20.0, 30.0, 15.0)
    """
    checks.number("learning_rate", learning_rate, at_least=0)
    checks.number("momentum", momentum, at_least=0, at_most=1)
    if learning_rate == 0:
        return math.inf
    look_ahead = 1 + 2 * momentum if nesterov else 1.0
    return 2 * (1 + momentum) / look_ahead / learning_rate


@checks.arguments
@dataclasses.dataclass
class StabilityWatch:
    """Reports when an eigenvalue goes above the limit and when it is below again, but nothing in between.

    NaN is ignored.

    Attributes:
        above: Whether the last measurement was at or above the limit.

    Example:
        >>> watch = StabilityWatch()
        >>> [watch.measured(value, limit=10.0) for value in (8.0, 12.0, 15.0, 9.0, 9.0)]
        [None, 'above', None, 'below', None]
    """

    above: bool = False

    def measured(self, eigenvalue: float, limit: float) -> str | None:
        """Processes a measurement; returns "above" or "below" if the side has changed, else None."""
        if math.isnan(eigenvalue) or (eigenvalue >= limit) == self.above:
            return None
        self.above = not self.above
        return "above" if self.above else "below"
