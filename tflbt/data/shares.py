"""Shares a data set that every rank reads out to the ranks, a sub-batch at a time: `tflbt.data.shard`."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import tensorflow as tf

from tflbt import checks
from tflbt.data.forms import require_batches
from tflbt.distributed import comm


class Share(NamedTuple):
    """A rank's share, as `shard` returned it, knows what it is a share of."""

    whole: Any
    rank: int
    size: int


@checks.arguments
def shard(dataset: Any, *, rank: int | None = None, size: int | None = None) -> Any:
    """A rank's share of a data set that all ranks read: of sub-batches j = 0, 1, ... those with `j % size == rank`.

    Every rank must read the same batches in the same order, so that no sample is lost or seen twice: give `shuffle`
    a seed (or call `tf.random.set_seed` first), and leave `deterministic` True. `fit` compares the order over ranks
    where it gets what this function returned, or `shard=True`. Random augmentation comes best after it.

    Update t of R ranks and k sub-batches then sees the sub-batches `t R k .. (t + 1) R k` of the data set, as one
    process would. Where the sub-batches do not divide, some ranks have one more: `tflbt.LargeBatchModel` goes on until
    all ranks have finished; a loop of your own must not wait for ranks that have none left.

    Each rank reads everything and passes over what belongs to others. Where reading takes the time, let each rank read
    its own files: `tf.data.Dataset.list_files(pattern, seed=0).shard(tflbt.size(), tflbt.rank())`.

    Args:
        dataset: A batched `tf.data.Dataset`, a `keras.utils.Sequence` or a generator of batches; it may be infinite.
            Its batches are the ranks' sub-batches, of any size; the last may be smaller.
        rank: This rank, 0 .. size - 1; default `tflbt.rank()`.
        size: Number of ranks; default `tflbt.size()`.

    Returns:
        The share, of the same kind; with one rank the data set itself. A data set that does not divide has an unknown
        cardinality. Every rank's Sequence has the same length; a rank that has nothing left gets an empty batch.

    Raises:
        ValueError: If `dataset` is none of these, or a number is out of its range.

    Example:
        >>> batches = tf.data.Dataset.range(7).batch(2)
        >>> [part.tolist() for part in shard(batches, rank=1, size=2).as_numpy_iterator()]
        [[2, 3], [6]]
    """
    require_batches("dataset", dataset)
    rank, size = comm.rank() if rank is None else rank, comm.size() if size is None else size
    checks.whole("size", size, at_least=1)
    checks.whole("rank", rank, at_least=0, at_most=size - 1, hint=f" (of size={size} ranks)")
    if size == 1:
        return dataset
    part = share_of(dataset, rank, size)
    if not hasattr(dataset, "__next__"):
        part._tflbt_share = Share(dataset, rank, size)
    return part


def share_of(dataset: Any, rank: int, size: int) -> Any:
    """What `shard` returns, of checked arguments."""
    if isinstance(dataset, tf.keras.utils.Sequence):
        return SharedSequence(dataset, rank, size)
    if not isinstance(dataset, tf.data.Dataset):
        return itertools.islice(dataset, rank, None, size)
    if dataset.options().deterministic is False:
        options = tf.data.Options()
        options.deterministic = True  # each rank would see another order
        dataset = dataset.with_options(options)
    batches = int(dataset.cardinality())
    part = dataset.shard(size, rank)
    # The ranks' lengths must be equal, or unknown, in Keras's loop.
    return part.filter(_always) if batches > 0 and batches % size else part


@tf.autograph.experimental.do_not_convert
def _always(*batch: Any) -> bool:
    return True


class SharedSequence(tf.keras.utils.Sequence):
    """A rank's share of a Sequence; it has equal lengths on all ranks, and its last batch may be empty."""

    def __init__(self, whole: tf.keras.utils.Sequence, rank: int, size: int) -> None:
        self.whole, self.rank, self.size = whole, rank, size

    def __len__(self) -> int:
        """The number of batches, rounded up."""
        return -(-len(self.whole) // self.size)

    def __getitem__(self, index: int) -> Any:
        """Batch `index` of the share."""
        place, length = index * self.size + self.rank, len(self.whole)
        if place < length:
            return self.whole[place]
        return tf.nest.map_structure(
            lambda part: part if part is None else part[:0], self.whole[length - 1]
        )

    def on_epoch_end(self) -> None:
        """Tells the whole Sequence."""
        self.whole.on_epoch_end()
