"""Looks at the first batch of a data set without losing it, and compares it over ranks.

The commonest mistake with Horovod is to give every rank the same data set: each sample is then seen once per rank, and
the ranks' first batches are equal. Where tflbt shares the data out, on the contrary, all ranks must read them in the
same order, or samples are lost.
"""

from __future__ import annotations

import dataclasses
import itertools
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt.data.iterator_ends import EndingAtOnce, cleared_after, cleared_apart, ended_apart

_TELLING = 20.0  # bits: targets that are equal by chance once in a million times


@dataclasses.dataclass(frozen=True)
class FirstBatch:
    """Checksums of a rank's first batch.

    Args:
        name: The data set's name, for messages.
        whole: Of everything in it.
        targets: Of y; None if there is none.
        telling: Whether y varies too much to be equal on two ranks by chance.
        dealt: Whether it is the first batch of a data set that tflbt shares out, and so must be the same on all ranks;
            otherwise it must differ.
    """

    name: str
    whole: int
    targets: int | None
    telling: bool
    dealt: bool


def describe(name: str, batch: Any, dealt: bool) -> FirstBatch:
    """The checksums of a batch (x,), (x, y) or (x, y, sample_weight)."""
    _, y, _ = tf.keras.utils.unpack_x_y_sample_weight(batch)
    values = _arrays(y)
    varied = sum(_bits(array) for array in values)
    targets = _checksum(values) if values else None
    return FirstBatch(name, _checksum(_arrays(batch)), targets, varied >= _TELLING, dealt)


def compare(batches: Sequence[FirstBatch | None]) -> None:
    """Raises ValueError if the ranks' data, whose first batches these are, cannot be what each rank should train on."""
    found = [(rank, batch) for rank, batch in enumerate(batches) if batch is not None]
    for (rank, ours), (other, theirs) in itertools.combinations(found, 2):
        same_targets = ours.targets is not None and ours.targets == theirs.targets
        if ours.dealt and theirs.dealt:
            if ours.whole != theirs.whole and not same_targets:
                raise ValueError(
                    f"Rank {other} reads {ours.name} in another order than rank {rank}, so sharing it out would lose "
                    "some samples and repeat others. Give its shuffle (and list_files) a seed, or call "
                    "tf.random.set_seed first; let random augmentation follow dataset = tflbt.data.shard(dataset)."
                )
        elif ours.whole == theirs.whole or same_targets and ours.telling:
            what = "" if ours.whole == theirs.whole else "targets of the "
            raise ValueError(
                f"Ranks {rank} and {other} have the same {what}first sub-batch of {ours.name}: each sample would count "
                "once per rank. Share it out, by shard=True here or by dataset = tflbt.data.shard(dataset). If each "
                "rank does have its own share, and they only begin alike, say shard=False."
            )


def look(
    dataset: tf.data.Dataset,
    *,
    share: Callable[[tf.data.Dataset], tf.data.Dataset],
    steps: int | None,
) -> tuple[tf.data.Dataset, Any]:
    """Reads the first batch of a data set, and gives it back.

    The first pass goes on with the iterator that was looked at. So no batch is lost where batches cannot be read again,
    no shuffle buffer is filled twice, and `shuffle` goes through the orders that it has in Keras.

    Args:
        dataset: The data set, finite or not.
        share: Makes this rank's share of it.
        steps: How many batches of the share Keras takes per epoch, if that was said.

    Returns:
        The share, and the first batch of the whole, None if it is empty.
    """
    share_of_later = share(dataset)
    if steps is None or steps == int(share_of_later.cardinality()):
        iter(
            dataset
        )  # Keras makes a first iterator in vain, which takes the first order of a shuffle
    iterator = iter(dataset)
    optional = iterator.get_next_as_optional()
    if not bool(optional.has_value()):
        return share_of_later, None
    begun = tf.Variable(False, trainable=False)
    first_pass = share(_rest(iterator, optional, begun, int(dataset.cardinality())))
    return _Looked(share_of_later, first_pass, begun), optional.get_value()


def _rest(iterator: Any, optional: Any, begun: tf.Variable, batches: int) -> tf.data.Dataset:
    """What an iterator has yet to give, behind what it gave."""

    def mark(first: Any) -> Any:
        begun.assign(True)
        return first

    def following(iterator: Any) -> Any:
        return iterator.get_next_as_optional()

    def present(element: Any) -> Any:
        return element.has_value()

    def value(element: Any) -> Any:
        return element.get_value()

    mark, following, present, value = map(
        tf.autograph.experimental.do_not_convert, (mark, following, present, value)
    )
    with tf.device("CPU:0"):
        # An element, not a variable of `following`: it would live on until Python collects that function's garbage.
        rest = tf.data.Dataset.from_tensors(iterator).repeat().map(following)
        chain = tf.data.Dataset.from_tensors(optional).map(mark).concatenate(rest)
        chain = chain.take_while(present).map(value)
        if batches >= 0:
            chain = chain.apply(tf.data.experimental.assert_cardinality(batches))
        options = tf.data.Options()
        options.autotune.enabled = False
        return chain.with_options(options).prefetch(1)


class _Looked(EndingAtOnce):
    """A data set whose iterators are of another until that has been read from."""

    def __init__(
        self, later: tf.data.Dataset, first_pass: tf.data.Dataset, begun: tf.Variable
    ) -> None:
        super().__init__(later)
        self._begun = begun
        self._first_pass = [first_pass]  # of which it is the only owner
        cleared_after(self, self._first_pass)

    def __iter__(self) -> Iterator[Any]:
        """The first pass, or a later one."""
        if self._first_pass and bool(self._begun):
            cleared_apart(self._first_pass)
            self._first_pass = []
        if not self._first_pass:
            return super().__iter__()
        return ended_apart(iter(self._first_pass[0]), *self._first_pass)


def _arrays(data: Any) -> list[np.ndarray]:
    parts = tf.nest.flatten(data, expand_composites=True)
    return [np.asarray(part) for part in parts if part is not None]


def _checksum(arrays: list[np.ndarray]) -> int:
    """A checksum of arrays and their shapes."""
    total = 0
    for array in arrays:
        # An array of objects (strings) holds addresses, which differ from process to process.
        content = repr(array.tolist()).encode() if array.dtype == object else array.tobytes()
        total = zlib.crc32(repr((array.shape, str(array.dtype))).encode() + content, total)
    return total


def _bits(array: np.ndarray) -> float:
    """The information in an array whose entries are independent of one another."""
    _, counts = np.unique(array.astype(str) if array.dtype == object else array, return_counts=True)
    return float(-(counts * np.log2(counts / max(1, array.size))).sum())
