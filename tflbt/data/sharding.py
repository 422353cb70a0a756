"""Deals every epoch's samples to the ranks in sub-batches, so that an update does not depend on the number of ranks.

Epoch e has one global order of the N samples, a permutation drawn from (seed, e) alone. Global sub-batch j is the
samples `j*s .. (j+1)*s` of that order, and rank r of R takes j = r, r + R, r + 2R, ... Hence the update that takes k
sub-batches on each of R ranks sees samples `t*B .. (t+1)*B` with B = R*k*s, whatever R, k and s are, and no sample is
lost or repeated in an epoch.

Every rank gets `ceil(ceil(N/s) / R)` sub-batches per epoch, so that all ranks make the same number of updates. A rank
that has nothing left at the end gets an empty sub-batch: 0 samples, the right shapes. The model must not run on those:
with 0 samples TensorFlow 2.15's convolutions fail (oneDNN gives them a wrong shape) or, where they do not fail, batch
normalisation's moving statistics become NaN.

For several instances of each sample, `tflbt.data.batch_augmentation` says which instance is where.

The samples of all epochs, one after another, are a stream in which sample p of epoch e has the place e N + p. Epochs
that are joined are dealt as one, so that a sub-batch may have samples of two.

All epochs are one `tf.data.Dataset`, so the first sub-batches of an epoch are ready when the previous epoch ends. The
arrays stay where they are, even if they are memory-mapped, and NumPy gathers each sub-batch: tensors of the whole set
would cost one or two copies of it. Do not write into the arrays while the dataset is in use.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt import checks
from tflbt.data.batch_augmentation import BatchAugmentation, transformed
from tflbt.data.reading import Reader
from tflbt.data.sample_seeds import sample_seeds
from tflbt.distributed import comm

Transform = Callable[[Any, tf.Tensor], Any]
_Rows = Callable[[int, list[int]], tuple[np.ndarray, np.ndarray]]
_SINGLE = BatchAugmentation()
_PREFETCHED = 2  # sub-batches: one being used, one ready; memory is bounded by a few sub-batches
_MOST_PARALLEL_CALLS = 16  # sub-batches built at a time, each in memory


@checks.arguments
def sub_batches(
    arrays: Any,
    *,
    sub_batch_size: int,
    rank: int = 0,
    size: int = 1,
    epochs: int = 1,
    initial_epoch: int = 0,
    shuffle: bool = True,
    seed: int = 0,
    transform: Transform | None = None,
    augmentation: BatchAugmentation = _SINGLE,
    joined: bool = False,
    course: tf.Variable | None = None,
) -> tf.data.Dataset:
    """Makes the dataset of one rank's sub-batches for all the epochs of a run.

    Args:
        arrays: The whole data set, the same on every rank: an array `[N, ...]`, or nested tuples and dicts of arrays
            with the same N (a list counts as a tuple). Data types do not change.
        sub_batch_size: Samples in a sub-batch, at least 1; the last one of an epoch may have fewer.
        rank: This rank, 0 .. size - 1.
        size: Number of ranks, at least 1.
        epochs: The epoch (counted from 0) before which to stop, as in Keras's `fit`.
        initial_epoch: The epoch (counted from 0) to start with, 0 .. epochs. From there the dataset continues
            exactly as an uninterrupted one would.
        shuffle: Whether an epoch's order is a permutation; otherwise it is 0 .. N - 1.
        seed: Seed of the permutations and of the transform's seeds, 0 .. 2^63 - 1; the same on every rank. The
            permutation is NumPy's `Generator(PCG64([seed, epoch])).permutation(N)`.
        transform: `transform(features, seeds)` is applied to the features (the first element of a tuple, or the whole
            of anything else) of each sub-batch, in several threads. `seeds`, int32 `[n, 2]`, come from (seed, epoch,
            sample index, instance) alone. It must accept n = 0.
        augmentation: How many instances of each sample there are, and where; default one.
        joined: Whether the epochs are dealt as one, without a smaller sub-batch where an epoch ends; default False.
        course: Int64 `[4]`, constant during an iteration: the epoch to start with, that before which to stop, how many
            samples of the epoch before that start are dealt first (below 0: so many of its own are passed over), and,
            where epochs are not joined, how many of its sub-batches are passed over. Default (initial_epoch, epochs, 0,
            0), which says how many there can be.

    Returns:
        A dataset of known cardinality, `steps_per_epoch(N, sub_batch_size, size, augmentation) * (epochs -
        initial_epoch)` unless the epochs are joined. Its elements have the structure of `arrays` and an unknown first
        dimension.

    Raises:
        ValueError: If an argument is out of its range, or the arrays are empty, scalar or of different lengths.

    Example:
        >>> dealt = sub_batches(np.arange(5), sub_batch_size=2, rank=1, size=2, shuffle=False)
        >>> [part.tolist() for part in dealt.as_numpy_iterator()]
        [[2, 3], []]
    """
    arrays = _as_arrays(arrays)
    samples = _sample_count(arrays)
    steps = steps_per_epoch(samples, sub_batch_size, size, augmentation)
    checks.whole("rank", rank, at_least=0, at_most=size - 1, hint=f" (of size={size} ranks)")
    checks.whole("initial_epoch", initial_epoch, at_least=0, at_most=epochs, hint=" (epochs)")
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed={seed} must be in 0 .. 2^63 - 1.")
    dealt = epochs - initial_epoch
    if joined:
        most = samples * (dealt + (course is not None))  # less than an epoch is carried over
        steps, dealt = steps_per_epoch(most, sub_batch_size, size, augmentation) if most else 0, 1
    whole = tf.constant([initial_epoch, epochs, 0, 0], tf.int64) if course is None else course

    def rows(index: int, now: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """The places in the stream of a sub-batch's rows, and the numbers of their instances."""
        start, stop, carried, passed = now
        number, step = divmod(index + passed, steps)
        begin, end = start * samples - carried, stop * samples
        if not joined:
            begin = (start + number) * samples
            end = min(begin + samples, end)
        places, instances = augmentation.places(step, end - begin, sub_batch_size, rank, size)
        return begin + places, instances

    source = _Source(arrays, samples, seed if shuffle else None, rows)
    reader = transform if isinstance(transform, Reader) else None

    def found(index: tf.Tensor) -> tuple[Any, Any]:
        now = tf.convert_to_tensor(whole)
        gathered, seeds_of = _gathered(source, index, now, transform is not None)
        return gathered, sample_seeds(seed, *seeds_of) if seeds_of else None

    def names_and_seeds(index: tf.Tensor) -> tuple[Any, Any]:
        gathered, seeds = found(index)
        return gathered[0] if isinstance(gathered, tuple) else gathered, seeds

    def batch(index: tf.Tensor, read: Any = None) -> Any:
        gathered, seeds = found(index)
        if transform is None:
            return gathered
        if reader is None:
            return transformed(gathered, transform, seeds)
        before = index * sub_batch_size
        return transformed(gathered, lambda x, s: reader.finished(x, s, before, read), seeds)

    with tf.device("CPU:0"):
        calls = min(comm.cores(), _MOST_PARALLEL_CALLS)
        dataset = tf.data.Dataset.range(steps * dealt)
        if reader is not None:
            dataset = reader.stream(dataset, sub_batch_size, names_and_seeds, calls)
            dataset = dataset.apply(tf.data.experimental.assert_cardinality(steps * dealt))
        dataset = dataset.map(batch, num_parallel_calls=calls, deterministic=True)
        options = tf.data.Options()
        options.autotune.enabled = False  # it can delay the end of `fit` by up to a minute
        return dataset.prefetch(_PREFETCHED).with_options(options)


@checks.arguments
def one_epoch(
    arrays: Any,
    *,
    sub_batch_size: int,
    rank: int = 0,
    size: int = 1,
    transform: Transform | None = None,
) -> tf.data.Dataset:
    """Makes the dataset of one pass in the arrays' order, for evaluation and prediction.

    The arguments are those of `sub_batches`; the transform should have no randomness, like the standardisation.

    Example:
        >>> passed = one_epoch(np.arange(3), sub_batch_size=2)
        >>> [part.tolist() for part in passed.as_numpy_iterator()]
        [[0, 1], [2]]
    """
    return sub_batches(
        arrays,
        sub_batch_size=sub_batch_size,
        rank=rank,
        size=size,
        shuffle=False,
        transform=transform,
    )


@checks.arguments
def steps_per_epoch(
    samples: int, sub_batch_size: int, size: int = 1, augmentation: BatchAugmentation = _SINGLE
) -> int:
    """Counts the sub-batches that every rank gets in an epoch, empty ones included.

    They are `ceil(ceil(samples / s) / size)` with one instance.

    Args:
        samples: Samples in the data set, at least 1.
        sub_batch_size: s, samples in a sub-batch, at least 1.
        size: Number of ranks, at least 1.
        augmentation: As in `sub_batches`.

    Raises:
        ValueError: If an argument is below 1.

    Example:
        >>> steps_per_epoch(50_000, 128, 4)
        98
    """
    for name, value in (("samples", samples), ("sub_batch_size", sub_batch_size), ("size", size)):
        checks.whole(name, value, at_least=1)
    return augmentation.steps_per_epoch(samples, sub_batch_size, size)


def epoch_order(samples: int, seed: int, epoch: int) -> np.ndarray:
    """Draws the global order of the samples in an epoch, the same on every rank: int64, 0 .. samples - 1 permuted."""
    return np.random.Generator(np.random.PCG64([seed, epoch])).permutation(samples)


class _Source:
    """Holds the arrays of a dataset, and the orders in use, for as long as the dataset or an iterator over it lives."""

    def __init__(self, arrays: Any, samples: int, seed: int | None, rows: _Rows) -> None:
        self.arrays, self.samples, self.seed = arrays, samples, seed  # no seed: no shuffling
        self.rows = rows
        self.leaves = tf.nest.flatten(arrays)
        self._orders: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()

    def order(self, epoch: int) -> np.ndarray:
        """The order of an epoch, drawn once for all threads; the newest two are kept."""
        with self._lock:
            if epoch not in self._orders:
                self._orders[epoch] = epoch_order(self.samples, self.seed or 0, epoch)
                for old in list(self._orders)[:-2]:
                    del self._orders[old]
            return self._orders[epoch]

    def find(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The epochs and the numbers of the samples at places of the stream, which ascend."""
        epochs, numbers = np.divmod(places, self.samples)
        if self.seed is not None and len(epochs):
            for epoch in range(epochs[0], epochs[-1] + 1):
                here = epochs == epoch
                numbers[here] = self.order(epoch)[numbers[here]]
        return epochs, numbers

    def take(self, index: int, course: list[int]) -> list[np.ndarray]:
        """The samples of a sub-batch, of every array; then their epochs, numbers and instances."""
        places, instances = self.rows(index, course)
        epochs, numbers = self.find(places)
        return [
            *(np.take(leaf, numbers, axis=0) for leaf in self.leaves), epochs, numbers, instances,
        ]  # fmt: skip


# TensorFlow keeps the functions that numpy_function calls for as long as the process runs. If AutoGraph converted them,
# they would keep the graph too, so this is not converted.
@tf.autograph.experimental.do_not_convert
def _gathered(
    source: _Source, index: tf.Tensor, course: tf.Tensor, numbered: bool
) -> tuple[Any, list[tf.Tensor]]:
    """A sub-batch, and if `numbered` its samples' epochs, numbers and instances, with one call to Python for all.

    Every `fit` traces this anew, and an operation takes a third of a millisecond to trace: what can be NumPy's is.
    """
    leaves, reference = source.leaves, weakref.ref(source)  # weak, to free the arrays: see above
    dtypes = [tf.as_dtype(leaf.dtype) for leaf in leaves] + 3 * numbered * [tf.int64]
    found = tf.numpy_function(
        lambda index, course: reference().take(int(index), course.tolist())[: len(dtypes)],  # type: ignore[union-attr]
        [index, course],
        dtypes,
        stateful=False,
    )
    for part, shape in zip(found, [leaf.shape[1:] for leaf in leaves] + 3 * numbered * [()]):
        part.set_shape([None, *shape])
    return tf.nest.pack_sequence_as(source.arrays, found[: len(leaves)]), found[len(leaves) :]


def _as_arrays(arrays: Any) -> Any:
    """Turns every leaf into a NumPy array without copying, and lists into tuples, because tf.data stacks lists."""
    if isinstance(arrays, (list, tuple)):
        return tuple(_as_arrays(array) for array in arrays)
    if isinstance(arrays, dict):
        return {name: _as_arrays(array) for name, array in arrays.items()}
    return np.asarray(arrays)


def _sample_count(arrays: Any) -> int:
    """Returns the length that all arrays have."""
    shapes = [tuple(leaf.shape) for leaf in tf.nest.flatten(arrays)]
    counts = {shape[0] if shape else 0 for shape in shapes}
    if len(counts) != 1 or 0 in counts:
        raise ValueError(
            "arrays must have the samples as their first dimension, the same number in all and at "
            f"least 1; their shapes are {shapes}."
        )
    return int(counts.pop())
