"""The end of an epoch whose samples are no multiple of the batch: what becomes of those that are left."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tflbt import checks

TAILS = ("update", "carry", "drop")


class Tail:
    """Which updates an epoch has, where an update takes `batch` samples of those that there are.

    - "update": the last update of an epoch takes what is left;
    - "carry": what is left begins the next epoch's first update, so that only the last epoch has a smaller update;
    - "drop": what is left is not used.

    An update that a batch grown within an epoch leaves too few samples for takes some of the next epoch's ("carry") or
    is not made ("drop").

    Args:
        kind: One of `TAILS`.
        length: Samples in an epoch, at least 1 (or of another unit, in which all numbers are then).
        step: Samples in a sub-batch of every rank; a batch is a multiple of it.
        steps: Sub-batches that each rank has in an epoch; default `ceil(length / step)`.
        unit: What is counted, for messages; default "samples".

    Attributes:
        left: Samples that updates of this epoch may still take.

    Example:
        >>> tail = Tail("carry", 10)
        >>> tail.begin(last_epoch=False)
        >>> tail.take(4)
        >>> tail.ends_with(4)
        True
        >>> tail.take(4)
        >>> tail.end()
        >>> tail.left
        2
    """

    def __init__(
        self, kind: str, length: int, step: int = 1, steps: int | None = None, unit: str = "samples"
    ) -> None:
        self.kind, self.length, self.step, self.unit = kind, length, step, unit
        self.steps = math.ceil(length / step) if steps is None else steps
        self.left = 0
        self._last_epoch = False
        self._ended = False  # by its last update, not broken off

    @property
    def largest(self) -> int:
        """The largest batch, a multiple of the step, that an epoch fills."""
        return self.length // self.step * self.step

    @property
    def _takes_the_rest(self) -> bool:
        """Whether this epoch ends with an update of what is left."""
        return self.kind == "update" or (self.kind == "carry" and self._last_epoch)

    def check(self, batch: int) -> None:
        """Raises ValueError if epochs would have no update."""
        if self.kind != "update" and batch > self.length:
            raise ValueError(
                f"tail={self.kind!r} would leave epochs without an update, as an update takes {batch} {self.unit} and "
                f"an epoch has {self.length}: use a batch_size for at most so many, or tail='update'."
            )

    def begin(self, last_epoch: bool) -> None:
        """Begins an epoch: its samples come to those that are left."""
        self.left += self.length
        self._last_epoch, self._ended = last_epoch, False

    def ends_with(self, batch: int) -> bool:
        """Whether the next update, of `batch` samples, is the epoch's last."""
        return self.left <= batch if self._takes_the_rest else self.left < 2 * batch

    def next(self, batch: int) -> int:
        """The samples that the next update takes; 0 if too few are left to make one."""
        if self._takes_the_rest:
            return min(batch, self.left)
        return batch if self.kind == "carry" or self.left >= batch else 0

    def step_after(self, batch: int, step: int) -> int:
        """How many of the epoch's sub-batches, of which `step` are done, Keras is to count after the next update."""
        if self.ends_with(batch):
            return self.steps
        done = math.ceil((self.length - self.left + batch) / self.step)
        return min(max(step, done), self.steps - 1)

    def take(self, batch: int) -> None:
        """An update takes its samples."""
        self._ended = self.ends_with(batch)
        self.left -= self.next(batch)

    def end(self) -> None:
        """Ends an epoch; one that was broken off carries nothing over."""
        if self.kind != "carry" or self._last_epoch or not self._ended:
            self.left = 0

    @property
    def steps_left(self) -> int:
        """Sub-batches of an epoch that "drop" leaves to each rank."""
        return self.steps - (self.length - self.left) // self.step

    def lopsided(self, batch: int) -> int:
        """The samples of an epoch's last update if they are less than half of those of the others, else 0."""
        rest = self.length % batch
        return rest if self.kind == "update" and batch < self.length and 2 * rest < batch else 0


def count_updates(
    samples: int, batch_sizes: Sequence[int], tail: str = "update"
) -> list[tuple[int, int]]:
    """Counts the updates that training makes, without training.

    Args:
        samples: Samples in an epoch, at least 1; with M instances of each sample, M times as many.
        batch_sizes: The batch of each epoch, in samples; its length is the number of epochs.
        tail: One of `TAILS`, default "update".

    Returns:
        For each epoch (full updates, samples of a smaller update at its end, or 0).

    Raises:
        ValueError: If there is no such tail, or an epoch would have no update.

    Example:
        >>> count_updates(50, 3 * [16])
        [(3, 2), (3, 2), (3, 2)]
        >>> count_updates(50, 3 * [16], "carry")
        [(3, 0), (3, 0), (3, 6)]
        >>> count_updates(50, 3 * [16], "drop")
        [(3, 0), (3, 0), (3, 0)]
    """
    checks.one_of("tail", tail, TAILS)
    end, counts = Tail(tail, samples), []
    for number, batch in enumerate(batch_sizes, 1):
        end.check(batch)
        end.begin(last_epoch=number == len(batch_sizes))
        full = end.left // batch
        end.take(full * batch)
        counts.append((full, end.left if end._takes_the_rest else 0))
        end.end()
    return counts


def total_updates(
    samples: int, batch_sizes: Sequence[int], tail: str = "update"
) -> tuple[int, int]:
    """Counts the full and the smaller updates of a whole training; arguments and errors as of `count_updates`.

    Example:
        >>> total_updates(1_281_167, 90 * [819_200], "carry")
        (140, 1)
    """
    counts = count_updates(samples, batch_sizes, tail)
    return sum(full for full, _ in counts), sum(rest > 0 for _, rest in counts)
