"""Growing the batch where others decay the learning rate: how large both are after so many epochs."""

from __future__ import annotations

from collections.abc import Sequence

from tflbt import checks


def grown(
    batch_size: int,
    decays: int,
    *,
    factor: float,
    max_batch_size: int,
    step: int = 1,
) -> tuple[int, float]:
    """The batch size and the learning rate's factor after so many milestones.

    At each milestone the noise scale, learning rate / batch size, falls by `factor`: as far as the batch can grow, by
    the batch, and beyond by the learning rate.

    Args:
        batch_size: The batch before the first milestone, a multiple of `step`.
        decays: Milestones passed, at least 0.
        factor: Of each milestone, more than 1.
        max_batch_size: The largest batch.
        step: What every batch must be a multiple of (ranks x sub-batch size): rounded down to one, never below
            `batch_size`.

    Returns:
        (batch size, factor of the learning rate in (0, 1]).

    Source: Smith et al. 2018, "Don't decay the learning rate, increase the batch size", as `abs-absa.txt` applies it:
      with factor 5 and at most 3,200, its updates in Table IV are those of batches 128, 640, 3,200, 3,200.

    Example:
        >>> [grown(128, n, factor=5, max_batch_size=5120, step=128) for n in range(4)]
        [(128, 1.0), (640, 1.0), (3200, 1.0), (5120, 0.32)]
    """
    noise = factor**decays  # by which learning rate / batch size must have fallen
    wanted = min(batch_size * noise, max_batch_size)
    batch = max(batch_size, int(round(wanted, 6)) // step * step)
    return batch, min(1.0, batch / batch_size / noise)


def check_growth(epochs: Sequence[float], factor: float, max_batch_size: int) -> None:
    """Raises unless milestones, factor and largest batch are in their ranges.

    Raises:
        ValueError: Naming the argument, its value and what would do.
    """
    checks.increasing("epochs", epochs, whole=True, hint=", as (30, 60, 80)")
    checks.number("factor", factor, more_than=1, hint=": the batch grows by it")
    checks.whole("max_batch_size", max_batch_size, at_least=1)
