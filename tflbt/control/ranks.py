"""How many ranks a batch wants: the rule by which a job grows and shrinks with its batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tflbt import checks


class WantedRanks(NamedTuple):
    """With how many ranks a run is to go on, and the batch for which they were chosen."""

    ranks: int
    batch_size: int


def check_ranks(min_ranks: int, max_ranks: int, samples_per_rank: int) -> None:
    """Raises ValueError unless the options of `ranks_for` can be."""
    checks.whole("min_ranks", min_ranks, at_least=1)
    checks.whole("max_ranks", max_ranks, at_least=1)
    checks.whole("samples_per_rank", samples_per_rank, at_least=1)
    if max_ranks < min_ranks:
        raise ValueError(f"max_ranks={max_ranks} must be at least min_ranks={min_ranks}.")


@checks.arguments
def ranks_for(
    batch_size: int,
    *,
    samples_per_rank: int = 256,
    min_ranks: int = 1,
    max_ranks: int,
    step: Callable[[int], int] = int,
) -> int | None:
    r"""Says how many ranks a batch of B samples wants, where each is to compute b of them.

    $$R = \max \{ r \le \mathrm{clip}(\lfloor B / b \rfloor, R_{\min}, R_{\max}) : B \bmod \mathrm{step}(r) = 0 \}$$

    The batch must divide over the ranks, so where it does not the next smaller number is taken that is at least
    `min_ranks`.

    Args:
        batch_size: B, samples per update over all ranks, at least 1.
        samples_per_rank: b, at least 1, default 256 (the paper's).
        min_ranks: The fewest ranks, at least 1, default 1.
        max_ranks: The most ranks, at least `min_ranks`.
        step: Of what a batch of r ranks must be a multiple; default r. With sub-batches of s samples it is r s.

    Returns:
        The number of ranks; None if the batch divides over no number from `min_ranks` on.

    Raises:
        ValueError: If an argument is out of its range.

    Source: section III-B and Table II of `abs-absa.txt`, where the workers grow with the batch.

    Example:
        >>> [ranks_for(batch, max_ranks=8) for batch in (128, 256, 1024, 16384)]
        [1, 1, 4, 8]
        >>> ranks_for(1024, max_ranks=8, samples_per_rank=300), ranks_for(768, max_ranks=8, step=lambda r: 256 * r)
        (2, 3)
    """
    check_ranks(min_ranks, max_ranks, samples_per_rank)
    checks.whole("batch_size", batch_size, at_least=1)
    most = min(max(batch_size // samples_per_rank, min_ranks), max_ranks)
    fitting = (ranks for ranks in range(most, min_ranks - 1, -1) if batch_size % step(ranks) == 0)
    return next(fitting, None)
