"""Deals every epoch's samples to the ranks in sub-batches; no rank count changes an update.

Epoch e has one global order of the N samples, a permutation drawn from (seed, e) alone. Global
sub-batch j is the samples `j*s .. (j+1)*s` of that order, and rank r of R takes j = r, r + R, r +
2R, ... Hence the update that takes k sub-batches on each of R ranks sees samples `t*B .. (t+1)*B`
with B = R*k*s, whatever R, k and s are, and no sample is lost or repeated in an epoch.

Every rank gets `ceil(ceil(N/s) / R)` sub-batches an epoch, so that all make the same number of
updates; a rank that has nothing left at the tail gets an empty sub-batch: 0 samples, the right
shapes. Leave the model out for those: with 0 samples TensorFlow 2.15's convolutions fail (oneDNN
gives them a wrong shape) and, where they do not, batch normalisation's moving statistics become
NaN.

With several instances of each sample `tflbt.data.batch_augmentation` says which stand where.

All epochs are one `tf.data.Dataset`, so the first sub-batches of an epoch are ready when the one
before ends. The arrays stay where they are, memory-mapped ones included: NumPy gathers each
sub-batch. Tensors of the whole set would be gathered up to twice as fast, but making them costs one
or two copies of it, and NumPy's hundreds of thousands of CIFAR images a second a core are more than
any training here takes. Do not write into the arrays while the dataset is in use.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt.data.batch_augmentation import BatchAugmentation, transformed
from tflbt.data.sample_seeds import sample_seeds
from tflbt.distributed import comm

Transform = Callable[[Any, tf.Tensor], Any]
_ONE_INSTANCE = BatchAugmentation()
_PREFETCHED = 2  # sub-batches: one being used, one ready; memory is bounded by a few sub-batches
_MOST_PARALLEL_CALLS = 16  # sub-batches made at a time, each held in memory


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
    augmentation: BatchAugmentation = _ONE_INSTANCE,
) -> tf.data.Dataset:
    """Makes the dataset of one rank's sub-batches for all the epochs of a run.

    Args:
        arrays: The whole data set, the same on every rank: an array `[N, ...]`, or nested tuples
            and dicts of arrays with the same N (a list counts as a tuple). Data types are kept.
        sub_batch_size: Samples in a sub-batch, at least 1; the last one of an epoch may have fewer.
        rank: This rank, 0 .. size - 1.
        size: Number of ranks, at least 1.
        epochs: The epoch (counted from 0) before which to stop, as in Keras's `fit`.
        initial_epoch: The epoch (counted from 0) to start with, 0 .. epochs. The dataset goes on
            exactly as an uninterrupted one would from there.
        shuffle: Whether an epoch's order is a permutation; if not it is 0 .. N - 1.
        seed: Of the permutations and of the transform's seeds, 0 .. 2^63 - 1; the same on every
            rank. The permutation is NumPy's `Generator(PCG64([seed, epoch])).permutation(N)`.
        transform: `transform(features, seeds)` is applied to the features (the first element of a
            tuple, or the whole of anything else) of each sub-batch, several at a time. `seeds`,
            int32 `[n, 2]`, come from (seed, epoch, sample index, instance) only. Must accept n = 0.
        augmentation: How many instances of each sample, and where; default one.

    Returns:
        A dataset of known cardinality, `steps_per_epoch(N, sub_batch_size, size, augmentation) * (epochs -
        initial_epoch)`, whose elements have the structure of `arrays` and an unknown first
        dimension.

    Raises:
        ValueError: If an argument is out of its range, or the arrays are empty, scalar or of
            different lengths.

    Example:
        >>> import numpy as np
        >>> from tflbt.data.sharding import sub_batches
        >>> dealt = sub_batches(np.arange(5), sub_batch_size=2, rank=1, size=2, shuffle=False)
        >>> [part.tolist() for part in dealt.as_numpy_iterator()]
        [[2, 3], []]
    """
    arrays = _as_arrays(arrays)
    samples = _sample_count(arrays)
    _check_split(sub_batch_size, rank, size)
    _check_epochs(epochs, initial_epoch, seed)
    steps = steps_per_epoch(samples, sub_batch_size, size, augmentation)

    source = _Source(arrays)

    def indices(epoch: tf.Tensor) -> tf.data.Dataset:
        order = _order(samples, seed, epoch) if shuffle else tf.range(samples, dtype=tf.int64)

        def of_step(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            places, instances = augmentation.places(step, samples, sub_batch_size, rank, size)
            return epoch, tf.gather(order, places), instances

        return tf.data.Dataset.range(steps).map(of_step)

    def batch(epoch: tf.Tensor, chosen: tf.Tensor, instances: tf.Tensor) -> Any:
        gathered = _gathered(source, chosen)
        if transform is None:
            return gathered
        return transformed(gathered, transform, sample_seeds(seed, epoch, chosen, instances))

    with tf.device("CPU:0"):
        dataset = tf.data.Dataset.range(initial_epoch, epochs).flat_map(indices)
        calls = min(comm.cores(), _MOST_PARALLEL_CALLS)
        dataset = dataset.map(batch, num_parallel_calls=calls, deterministic=True)
        total = tf.data.experimental.assert_cardinality(steps * (epochs - initial_epoch))
        return dataset.apply(total).prefetch(_PREFETCHED).with_options(_without_tuning())


def _without_tuning() -> tf.data.Options:
    """Options that keep tf.data from tuning itself: its tuner can hold up the end of `fit` by up to a minute."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return options


def one_epoch(
    arrays: Any,
    *,
    sub_batch_size: int,
    rank: int = 0,
    size: int = 1,
    transform: Transform | None = None,
) -> tf.data.Dataset:
    """Makes the dataset of one pass in the given order, for evaluation and prediction.

    Args:
        arrays: As in `sub_batches`.
        sub_batch_size: As in `sub_batches`.
        rank: As in `sub_batches`.
        size: As in `sub_batches`.
        transform: As in `sub_batches`; one without randomness, such as the standardisation.

    Returns:
        A dataset of `steps_per_epoch(N, sub_batch_size, size)` sub-batches.

    Raises:
        ValueError: As `sub_batches`.

    Example:
        >>> import numpy as np
        >>> from tflbt.data.sharding import one_epoch
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


def steps_per_epoch(
    samples: int,
    sub_batch_size: int,
    size: int = 1,
    augmentation: BatchAugmentation = _ONE_INSTANCE,
) -> int:
    """Counts the sub-batches every rank gets in an epoch: `ceil(ceil(samples / s) / size)` with one instance.

    Args:
        samples: Samples in the data set, at least 1.
        sub_batch_size: Samples in a sub-batch, at least 1.
        size: Number of ranks, at least 1.
        augmentation: As in `sub_batches`.

    Returns:
        The number of sub-batches, the same on every rank, empty ones included.

    Raises:
        ValueError: If an argument is below 1.

    Example:
        >>> from tflbt.data.sharding import steps_per_epoch
        >>> steps_per_epoch(50_000, 128, 4)
        98
    """
    for name, value in (("samples", samples), ("sub_batch_size", sub_batch_size), ("size", size)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}.")
    return augmentation.steps_per_epoch(samples, sub_batch_size, size)


def epoch_order(samples: int, seed: int, epoch: int) -> np.ndarray:
    """Draws the global order of the samples in an epoch, the same on every rank.

    Args:
        samples: Samples in the data set.
        seed: The run's seed, 0 or more.
        epoch: The epoch, counted from 0.

    Returns:
        int64 array of shape `[samples]`, a permutation of 0 .. samples - 1.

    Example:
        >>> from tflbt.data.sharding import epoch_order
        >>> sorted(epoch_order(4, seed=0, epoch=9).tolist())
        [0, 1, 2, 3]
    """
    return np.random.Generator(np.random.PCG64([seed, epoch])).permutation(samples)


class _Source:
    """The arrays of a dataset, which holds them for as long as it or an iterator over it lives."""

    def __init__(self, arrays: Any) -> None:
        self.arrays = arrays
        self.leaves = tf.nest.flatten(arrays)


def _alive(reference: weakref.ref[_Source]) -> _Source:
    source = reference()
    assert source is not None, "the dataset outlives what reads it"
    return source


# TensorFlow keeps what numpy_function calls for as long as the process runs, and converted by AutoGraph that would hold
# on to the graph. So these two are not converted.
@tf.autograph.experimental.do_not_convert
def _order(samples: int, seed: int, epoch: tf.Tensor) -> tf.Tensor:
    order = tf.numpy_function(
        lambda number: epoch_order(samples, seed, int(number)), [epoch], tf.int64, stateful=False
    )
    return tf.ensure_shape(order, [samples])


@tf.autograph.experimental.do_not_convert
def _gathered(source: _Source, chosen: tf.Tensor) -> Any:
    """Takes the chosen samples of every array, in one call to Python for all of them."""
    leaves, there = source.leaves, weakref.ref(source)  # weak, for the arrays' sake: see above
    taken = tf.numpy_function(
        lambda indices: [np.take(leaf, indices, axis=0) for leaf in _alive(there).leaves],
        [chosen],
        [tf.as_dtype(leaf.dtype) for leaf in leaves],
        stateful=False,
    )
    shaped = [tf.ensure_shape(part, [None, *leaf.shape[1:]]) for part, leaf in zip(taken, leaves)]
    return tf.nest.pack_sequence_as(source.arrays, shaped)


def _as_arrays(arrays: Any) -> Any:
    """Makes every leaf a NumPy array, uncopied, and lists tuples, as tf.data stacks lists."""
    if isinstance(arrays, (list, tuple)):
        return tuple(_as_arrays(array) for array in arrays)
    if isinstance(arrays, dict):
        return {name: _as_arrays(array) for name, array in arrays.items()}
    return np.asarray(arrays)


def _sample_count(arrays: Any) -> int:
    shapes = [tuple(leaf.shape) for leaf in tf.nest.flatten(arrays)]
    counts = {shape[0] if shape else 0 for shape in shapes}
    if len(counts) != 1 or 0 in counts:
        raise ValueError(
            "arrays must have the samples as their first dimension, the same number in all and at "
            f"least 1; their shapes are {shapes}."
        )
    return int(counts.pop())


def _check_split(sub_batch_size: int, rank: int, size: int) -> None:
    if sub_batch_size < 1:
        raise ValueError(f"sub_batch_size must be at least 1, got {sub_batch_size}.")
    if size < 1 or not 0 <= rank < size:
        raise ValueError(f"rank must be in 0 .. size - 1, got rank {rank} of size {size}.")


def _check_epochs(epochs: int, initial_epoch: int, seed: int) -> None:
    if not 0 <= initial_epoch <= epochs:
        raise ValueError(f"initial_epoch must be in 0 .. epochs ({epochs}), got {initial_epoch}.")
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed must be in 0 .. 2^63 - 1, got {seed}.")
