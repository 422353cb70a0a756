"""A batch that grows where other schedules decay the learning rate: how large both are at each milestone."""

from __future__ import annotations

from collections.abc import Sequence

from tflbt import checks


@checks.arguments
def grown(
    batch_size: int, decays: int, *, factor: float, max_batch_size: int, step: int = 1
) -> tuple[int, float]:
    """The batch size and the learning rate's factor after a number of milestones.

    At each milestone the noise scale, learning rate / batch size, falls by `factor`: the batch grows as far as it can,
    and then the learning rate decays.

    Args:
        batch_size: The batch before the first milestone, a multiple of `step`.
        decays: The number of milestones passed, at least 0.
        factor: By which the noise scale falls at each milestone, more than 1.
        max_batch_size: The largest batch.
        step: Every batch is rounded down to a multiple of this (ranks x sub-batch size), but never below `batch_size`.

    Returns:
        (batch size, factor of the learning rate in (0, 1]).

    Raises:
        ValueError: If an argument is out of its range, or the factor to the power of `decays` is no finite number.

    Source: Smith et al. 2018, "Don't decay the learning rate, increase the batch size", as `abs-absa.txt` applies it:
      with factor 5 and at most 3,200, its updates in Table IV are those of batches 128, 640, 3,200, 3,200.

    Example:
        >>> [grown(128, n, factor=5, max_batch_size=5120, step=128) for n in range(4)]
        [(128, 1.0), (640, 1.0), (3200, 1.0), (5120, 0.32)]
    """
    checks.whole("batch_size", batch_size, at_least=1)
    checks.whole("decays", decays, at_least=0)
    checks.number("factor", factor, more_than=1)
    checks.whole("max_batch_size", max_batch_size, at_least=1)
    checks.whole("step", step, at_least=1)
    try:
        noise = float(factor) ** decays  # by which learning rate / batch size must have fallen
    except OverflowError:
        raise ValueError(
            f"decays={decays!r} are so many that factor={factor!r} to their power is no finite number."
        ) from None
    wanted = min(batch_size * noise, max_batch_size)
    batch = max(batch_size, int(round(wanted, 6)) // step * step)
    return batch, min(1.0, batch / batch_size / noise)


def check_growth(epochs: Sequence[float], factor: float, max_batch_size: int) -> None:
    """Raises ValueError unless milestones, factor and largest batch are in their ranges."""
    checks.increasing("epochs", epochs, whole=True, hint=", as (30, 60, 80)")
    checks.number("factor", factor, more_than=1, hint=": the batch grows by it")
    checks.whole("max_batch_size", max_batch_size, at_least=1)
