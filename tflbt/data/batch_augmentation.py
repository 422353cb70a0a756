"""Batch augmentation: M instances of every sample in one update, each augmented in its own way."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt import checks
from tflbt.data.sample_seeds import sample_seeds
from tflbt.data.user_functions import converted

PLACEMENTS = ("sub_batch", "rank", "ranks")


@checks.arguments
@dataclass(frozen=True)
class BatchAugmentation:
    r"""M instances of each sample in every update: give it to `LargeBatchModel.fit(batch_augmentation=...)`.

    $$w_{t+1} = w_t - \eta \frac{1}{M B} \sum_{i=1}^{M} \sum_{n \in \mathcal{B}} \nabla_w \ell(w_t, T_i(x_n), y_n)$$

    The `batch_size` of `fit` is the number of instances in an update, M * B: B samples in M instances. An epoch is the
    N samples, M * N instances, and has as many updates as an epoch without batch augmentation has with batch B.
    Instance i of a sample has seeds of its own, from (seed, epoch, sample, i) alone, so that `fit`'s `transform`
    augments each differently; the first has the seeds that it would have without batch augmentation. Without a
    transform the instances are equal but for dropout, which draws a mask for every row (section 3.3).

    The gradient is the same mean over M * B losses wherever the instances are computed. What differs is what batch
    normalisation normalises together, and the variance of a rank's share:

    - "sub_batch": the instances of a sample stand side by side in one sub-batch;
    - "rank": each in another sub-batch of the same rank, so that M = 1 and M > 1 normalise the same number of different
      samples;
    - "ranks": each in another sub-batch, which are dealt to the ranks in turn.

    Attributes:
        instances: M, at least 1. 1: no batch augmentation.
        placement: "sub_batch" (default; the paper's where a batch fits into memory), "rank" (the paper's accumulation)
            or "ranks".

    Raises:
        ValueError: If M is no positive integer or the placement is unknown; at the start of `fit`, when a sub-batch
            ("sub_batch") or the sub-batches of an update ("rank": of each rank, "ranks": of all) do not hold whole
            multiples of M.

    Source: section 2 of `batch-augmentation.txt`.

    Example:
        >>> import numpy as np
        >>> from tflbt.data import BatchAugmentation, sub_batches
        >>> dealt = sub_batches(np.arange(4), sub_batch_size=4, shuffle=False, augmentation=BatchAugmentation(2))
        >>> [part.tolist() for part in dealt.as_numpy_iterator()]
        [[0, 0, 1, 1], [2, 2, 3, 3]]
        >>> apart = BatchAugmentation(2, "rank")
        >>> dealt = sub_batches(np.arange(4), sub_batch_size=2, shuffle=False, augmentation=apart)
        >>> [part.tolist() for part in dealt.as_numpy_iterator()]
        [[0, 1], [0, 1], [2, 3], [2, 3]]
    """

    instances: int = 1
    placement: str = "sub_batch"

    def __post_init__(self) -> None:
        """Checks the arguments."""
        checks.whole("instances", self.instances, at_least=1)
        checks.one_of("placement", self.placement, PLACEMENTS)

    def sub_batches_together(self, size: int) -> int:
        """Sub-batches that each of `size` ranks must take together, for an update to have whole samples."""
        if self.placement == "rank":
            return self.instances
        return self.instances // math.gcd(self.instances, size) if self.placement == "ranks" else 1

    def check(self, sub_batches: int, sub_batch_size: int, size: int) -> None:
        """Checks that an update, `sub_batches` of each of `size` ranks, has all instances of each of its samples."""
        count = self.instances
        if self.placement == "sub_batch" and sub_batch_size % count:
            near = max(1, sub_batch_size // count) * count
            raise ValueError(
                f"instances={count} in one sub-batch need a sub_batch_size that is a multiple of {count}, got "
                f"{sub_batch_size}: use {near}, or placement='rank'."
            )
        together = self.sub_batches_together(size)
        if sub_batches % together:
            step = size * sub_batch_size * together
            raise ValueError(
                f"instances={count} with placement={self.placement!r} need a batch_size that is a multiple of {step} "
                f"(= {size} ranks x {together} sub-batches x {sub_batch_size}), got "
                f"{sub_batches * size * sub_batch_size}."
            )

    def steps_per_epoch(self, samples: int, sub_batch_size: int, size: int) -> int:
        """Counts the sub-batches every rank gets in an epoch, empty ones included."""
        if self.placement == "sub_batch":
            return math.ceil(math.ceil(samples * self.instances / sub_batch_size) / size)
        blocks = math.ceil(samples / sub_batch_size)
        if self.placement == "rank":
            return math.ceil(blocks / size) * self.instances
        return math.ceil(blocks * self.instances / size)

    def places(
        self, step: int, samples: int, sub_batch_size: int, rank: int, size: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Says where a sub-batch's rows come from, int64 `[n]`: places in the epoch's order, numbers of instances."""
        count = self.instances
        if self.placement == "sub_batch":
            rows = _rows(step * size + rank, sub_batch_size, samples * count)
            return rows // count, rows % count
        if self.placement == "rank":
            block, instance = step // count * size + rank, step % count
        else:
            dealt = step * size + rank
            block, instance = dealt // count, dealt % count
        rows = _rows(block, sub_batch_size, samples)
        return rows, np.full_like(rows, instance)


def _rows(block: int, length: int, end: int) -> np.ndarray:
    """The numbers of a block that are below the end; maybe none."""
    first = block * length
    return np.arange(min(first, end), min(first + length, end), dtype=np.int64)


@checks.arguments
def augmented_batches(
    instances: int,
    transform: Callable[[Any, tf.Tensor], Any] | None = None,
    *,
    seed: int = 0,
    together: bool = True,
) -> Callable[[tf.data.Dataset], tf.data.Dataset]:
    """Batch augmentation of your own `tf.data` pipeline: `dataset.batch(B).apply(augmented_batches(M, ...))`.

    Args:
        instances: M, at least 1.
        transform: `transform(features, seeds)` on a batch's features (the first element of a tuple, or the whole of
            anything else), such as `tflbt.data.Cutout`; None: the instances are equal.
        seed: Seed of the transform, 0 .. 2^63 - 1. A row's seeds come from (seed, number of the batch, row), so a data
            set that is iterated again draws the same: repeat it before batching for other draws in other epochs.
        together: True: batches of M * B, the instances of a row side by side; False: M batches of B after each other.

    Returns:
        A function from a data set of batches to one of augmented batches, in the same order whatever the threads.

    Raises:
        ValueError: If M is no positive integer.

    Source: sections 2 and 3 of `batch-augmentation.txt` ("BA can be added to any training code by merely modifying the
    input pipeline").

    Example:
        >>> from tflbt.data import Cutout, augmented_batches
        >>> images = tf.data.Dataset.from_tensor_slices((tf.ones([8, 32, 32, 3]), tf.range(8)))
        >>> pipeline = images.batch(4).apply(augmented_batches(3, Cutout(16)))
        >>> [labels.numpy().tolist() for _, labels in pipeline]
        [[0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3], [4, 4, 4, 5, 5, 5, 6, 6, 6, 7, 7, 7]]
    """
    BatchAugmentation(instances)  # checks the number

    def augmented(number: tf.Tensor, batch: Any, chosen: tf.Tensor, which: tf.Tensor) -> Any:
        batch = tf.nest.map_structure(lambda leaf: tf.gather(leaf, chosen), batch)
        if transform is None:
            return batch
        return transformed(batch, transform, sample_seeds(seed, number, chosen, which))

    def all_together(number: tf.Tensor, batch: Any) -> Any:
        rows = tf.range(tf.shape(tf.nest.flatten(batch)[0])[0] * instances)
        return augmented(number, batch, rows // instances, rows % instances)

    def each_apart(number: tf.Tensor, batch: Any) -> tf.data.Dataset:
        rows = tf.range(tf.shape(tf.nest.flatten(batch)[0])[0])
        numbers = tf.data.Dataset.range(instances)
        return numbers.map(lambda i: augmented(number, batch, rows, tf.fill(tf.shape(rows), i)))

    def apply(dataset: tf.data.Dataset) -> tf.data.Dataset:
        numbered = dataset.enumerate()  # a tuple's parts would become arguments of their own
        if together:
            return numbered.map(all_together, tf.data.AUTOTUNE, deterministic=True)
        return numbered.flat_map(each_apart)

    return apply


def transformed(batch: Any, transform: Callable[[Any, tf.Tensor], Any], seeds: tf.Tensor) -> Any:
    """A batch with its features transformed: the first element of a tuple, or the whole of anything else."""
    if isinstance(batch, tuple):
        return (converted(transform)(batch[0], seeds), *batch[1:])
    return converted(transform)(batch, seeds)
