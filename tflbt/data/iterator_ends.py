"""Data sets whose iterators end at once, where tf.data may wait: its own tuning of a pipeline ends late, now and then.

The thread that tunes a pipeline (`tf.data.Options().autotune`, on by default) looks at it after 10 ms, 20, 40 and so
on, up to a minute. As an iterator ends, that thread is woken up to stop, but may look a moment before it can see that,
and sleep on; the iterator then waits as long again as it was in use. Of many ranks one does in nearly every epoch.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

_PATIENCE = 0.02  # seconds; buffers, files and threads end before the wait for the tuner


class EndingAtOnce(tf.data.Dataset):
    """The same data set, but nobody waits where its iterators end."""

    def __init__(self, dataset: tf.data.Dataset) -> None:
        self._dataset = dataset
        super().__init__(tf.data.experimental.to_variant(dataset))

    def _inputs(self) -> list[tf.data.Dataset]:
        return [self._dataset]

    @property
    def element_spec(self) -> Any:
        """That of the data set."""
        return self._dataset.element_spec

    def __iter__(self) -> Iterator[Any]:
        """An iterator of the data set."""
        return ended_apart(iter(self._dataset), self._dataset)


def ending_at_once(data: Any) -> Any:
    """The same data; a data set ends at once."""
    wanted = isinstance(data, tf.data.Dataset) and not isinstance(data, EndingAtOnce)
    return EndingAtOnce(data) if wanted else data


def ended_apart(iterator: Any, *others: Any) -> Any:
    """The same iterator of a data set; once nobody holds it any more, it ends in a thread of its own.

    A program that ends waits for that thread, as it would have waited for the iterator.

    Args:
        iterator: The iterator.
        *others: What is to end behind it in that thread: the data set whose functions it calls as it ends, or what may
            be the last to hold another iterator.
    """
    handles = tf.nest.flatten(iterator, expand_composites=True)  # what takes its time to end
    iterator._tflbt_last = last = _Last()
    cleared_after(last, [*others, *handles])  # a list is emptied from its end
    return iterator


class _Last:
    """The attribute that an iterator got last, and so the last to die with it: the iterator then holds nothing else."""


def cleared_after(owner: Any, contents: list[Any]) -> None:
    """Empties a list in a thread of its own once nobody holds its owner any more."""
    weakref.finalize(owner, cleared_apart, contents).atexit = False


def cleared_apart(contents: list[Any]) -> None:
    """Empties a list in a thread of its own; waits for it no longer than files and threads of data sets take to end."""
    thread = threading.Thread(target=contents.clear, name="tflbt-iterator-end")
    try:
        thread.start()
    except RuntimeError:
        contents.clear()  # there can be no more threads, as at the end of a program since Python 3.12
    else:
        thread.join(_PATIENCE)
