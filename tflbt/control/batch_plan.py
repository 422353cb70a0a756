"""How a global batch is split: ranks x sub-batches x sub-batch size."""

from __future__ import annotations

import dataclasses

from tflbt import checks


@dataclasses.dataclass(frozen=True)
class BatchPlan:
    """A global batch of `batch_size` samples, taken by `ranks` ranks in sub-batches of `sub_batch_size`.

    One update sees `batch_size = ranks * sub_batches * sub_batch_size` samples (the last update of an epoch: the
    remaining ones).

    Args:
        batch_size: Samples per update, over all ranks, at least 1.
        sub_batch_size: Samples that a rank computes on at a time; None: the rank's whole share of the batch at once.
        ranks: Number of ranks, at least 1.

    Raises:
        ValueError: If a size is not a positive whole number, or the batch does not divide; the message names the
            nearest sizes that do.

    Example:
        >>> BatchPlan(8192, 256, ranks=2).sub_batches
        16
        >>> BatchPlan(1000, 256, ranks=2)
        Traceback (most recent call last):
        ...
        ValueError: batch_size=1000 is not a multiple of 2 ranks x sub_batch_size=256 (= 512): use 512 or 1024.
    """

    batch_size: int
    sub_batch_size: int | None = None
    ranks: int = 1

    def __post_init__(self) -> None:
        """Fills in the sub-batch size and checks that everything divides."""
        for name in ("batch_size", "sub_batch_size", "ranks"):
            value = getattr(self, name)
            if value is None and name == "sub_batch_size":
                continue
            integral = checks.is_number(value) and value % 1 == 0  # 256.0 too
            checks.whole(name, int(value) if integral else value, at_least=1)
            object.__setattr__(self, name, int(value))
        if self.sub_batch_size is None:
            self._check_multiple(self.ranks, f"{self.ranks} ranks")
            object.__setattr__(self, "sub_batch_size", self.batch_size // self.ranks)
        step = self.ranks * self.samples_a_rank_computes
        self._check_multiple(
            step, f"{self.ranks} ranks x sub_batch_size={self.sub_batch_size} (= {step})"
        )

    def _check_multiple(self, step: int, what: str) -> None:
        """Raises unless the batch is a multiple of `step`."""
        if self.batch_size % step == 0:
            return
        below = self.batch_size // step * step
        nearest = f"{below} or {below + step}" if below else f"{step}"
        raise ValueError(
            f"batch_size={self.batch_size} is not a multiple of {what}: use {nearest}."
        )

    @property
    def samples_a_rank_computes(self) -> int:
        """Samples in memory at a time: the sub-batch size, but never None."""
        return self.sub_batch_size or self.batch_size // self.ranks

    @property
    def sub_batches(self) -> int:
        """Sub-batches per rank and update."""
        return self.batch_size // (self.ranks * self.samples_a_rank_computes)

    def with_batch_size(self, batch_size: int) -> BatchPlan:
        """The same ranks and sub-batch size with another global batch."""
        return BatchPlan(batch_size, self.sub_batch_size, self.ranks)
