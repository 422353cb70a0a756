"""Transforms that read each sample of a batch, such as an image file, and name all that cannot be read.

TensorFlow's operations do not say which file they failed on. So each sample carries its number, samples that fail are
left out, and the missing numbers give the files' names.

`tflbt.data.sharding` reads the samples of all sub-batches as one stream, as a bare pipeline of `tf.data` does. A data
set within the function of each sub-batch would cost half a millisecond per sample.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

_AT_A_TIME = 4  # samples of a batch that is read by itself


@dataclasses.dataclass(frozen=True)
class Reader:
    """A transform, `reader(names, seeds)`, that reads each sample of a batch.

    Attributes:
        elements: `elements(names, seeds)` returns a tuple of tensors `[n, ...]`: the paths, which errors name, and what
            else `read` takes. n may be 0.
        read: `read(path, ...)` returns one sample.
        sample: Shape and data type of a sample.
        unreadable: Words before the paths in the error, a `tf.errors.InvalidArgumentError`.
        rest: What the samples of a batch then go through, a function of (samples, seeds).
    """

    elements: Callable[[Any, Any], tuple[tf.Tensor, ...]]
    read: Callable[..., tf.Tensor]
    sample: tf.TensorSpec
    unreadable: str
    rest: Callable[[Any, Any], Any] = lambda samples, seeds: samples

    def __call__(self, names: Any, seeds: Any = None) -> Any:
        """Reads a batch by itself."""
        elements = self.elements(names, seeds)
        count = tf.shape(elements[0], tf.int64)[0]
        rows = tf.data.Dataset.from_tensor_slices((1 + tf.range(count), *elements))
        read = self._read(rows, tf.maximum(count, 1), _AT_A_TIME)
        return self.finished(names, seeds, 0, read.take(1).get_single_element())

    def followed_by(
        self, rest: Callable[[Any, Any], Any], own: Callable[[tf.Tensor], tf.Tensor]
    ) -> Reader:
        """A chain of this reader, which has seeds `own(seeds)`, and `rest(samples, seeds)`."""

        def elements(names: Any, seeds: Any) -> tuple[tf.Tensor, ...]:
            return self.elements(names, own(seeds))

        def both(samples: Any, seeds: Any) -> Any:
            return rest(self.rest(samples, own(seeds)), seeds)

        return dataclasses.replace(self, elements=elements, rest=both)

    def stream(
        self, steps: tf.data.Dataset, size: int, dealt: Callable[[Any], Any], calls: int
    ) -> tf.data.Dataset:
        """Reads sub-batches of at most `size` samples, `calls` samples at a time.

        Args:
            steps: The numbers of the sub-batches, from 0 on.
            size: Samples of each that are read; where it has fewer, the last ones are zeros.
            dealt: Returns the names and seeds of a sub-batch.
            calls: Samples that are read at a time.

        Returns:
            A dataset of (number of the sub-batch, what `finished` takes of it).
        """

        def rows(step: tf.Tensor) -> tuple[tf.Tensor, ...]:
            elements = self.elements(*dealt(step))
            count = tf.shape(elements[0], tf.int64)[0]
            parts = (step * size + 1 + tf.range(count), *elements)
            return tuple(
                tf.concat([part, tf.zeros([size - count, *part.shape[1:]], part.dtype)], axis=0)
                for part in parts
            )

        each = steps.map(rows, calls, deterministic=True).unbatch()
        return tf.data.Dataset.zip((steps, self._read(each, size, calls)))

    def finished(
        self, names: Any, seeds: Any, before: Any, read: tuple[tf.Tensor, tf.Tensor]
    ) -> Any:
        """Checks that all samples of a batch, numbered on from `before`, were read; they go through the rest."""
        numbers, samples = read
        paths = self.elements(names, seeds)[0]
        count = tf.shape(paths, tf.int64)[0]
        expected = before + 1 + tf.range(count)
        missing = tf.reduce_all(expected[:, None] != numbers[None], axis=1)
        unread = tf.strings.reduce_join(tf.boolean_mask(paths, missing), separator=", ")
        message = tf.strings.join([self.unreadable, unread, "."])
        complete = tf.reduce_all(numbers[:count] == expected)
        with tf.control_dependencies([tf.debugging.Assert(complete, [message])]):
            samples = tf.ensure_shape(samples[:count], [None, *self.sample.shape])
        return self.rest(samples, seeds)

    def _read(self, rows: tf.data.Dataset, size: Any, calls: int) -> tf.data.Dataset:
        """Batches of numbers and samples. Rows of zeros are not read; they follow the last, should some be missing."""

        def read(number: tf.Tensor, *element: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            def zeros() -> tf.Tensor:
                return tf.zeros(self.sample.shape, self.sample.dtype)

            return number, tf.cond(number > 0, lambda: self.read(*element), zeros)

        filler = tuple(tf.zeros(spec.shape, spec.dtype) for spec in rows.element_spec)
        rows = rows.concatenate(tf.data.Dataset.from_tensors(filler).repeat(size))
        samples = rows.map(read, calls, deterministic=True).ignore_errors()
        return samples.batch(size, drop_remainder=True)
