"""An iterator ends apart from who used it, and gives what it would give."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading

import pytest
import tensorflow as tf

from tflbt.data.first_batch import look
from tflbt.data.iterator_ends import ended_apart, ending_at_once

ENDS = "tflbt-iterator-end"  # the name of the threads


def late_to_end():
    """A data set whose iterators wait where they end, as tf.data's tuning has some wait; with what has them go on."""
    go_on, ended = threading.Event(), threading.Event()

    def numbers():
        try:
            yield from range(5)
        finally:
            go_on.wait(60)
            ended.set()

    dataset = tf.data.Dataset.from_generator(numbers, output_signature=tf.TensorSpec([], tf.int64))
    return dataset, go_on, ended


def test_who_lets_an_iterator_go_does_not_wait_for_its_end():
    dataset, go_on, ended = late_to_end()
    iterator = iter(ending_at_once(dataset))
    assert next(iterator) == 0
    del iterator
    (thread,) = (each for each in threading.enumerate() if each.name == ENDS)
    assert not ended.is_set()
    go_on.set()
    thread.join(60)
    assert ended.is_set() and not thread.is_alive()


def test_the_data_set_is_the_same():
    dataset = tf.data.Dataset.range(7).shuffle(7, seed=1).batch(3)
    again = tf.data.Dataset.range(7).shuffle(7, seed=1).batch(3)
    found = ending_at_once(dataset)
    assert found.element_spec == dataset.element_spec
    assert int(found.cardinality()) == 3
    assert found.options() == dataset.options()
    for _ in range(3):
        assert [each.tolist() for each in found.as_numpy_iterator()] == [
            each.tolist() for each in again.as_numpy_iterator()
        ]


def test_a_function_takes_such_an_iterator_as_any_other():
    traced = []

    @tf.function
    def following(iterator):
        traced.append(iterator)
        return next(iterator)

    dataset = tf.data.Dataset.range(3)
    plain, ours = iter(dataset), ended_apart(iter(dataset))
    assert [int(following(each)) for each in (plain, ours, ours, plain)] == [0, 0, 1, 1]
    assert len(traced) == 1


def test_what_is_no_data_set_stays_as_it_is():
    arrays = [1, 2]
    assert ending_at_once(arrays) is arrays and ending_at_once(None) is None


def test_a_program_that_still_holds_an_iterator_ends_well():
    program = (
        "import tensorflow as tf; from tflbt.data.iterator_ends import ending_at_once\n"
        "iterator = iter(ending_at_once(tf.data.Dataset.range(9))); print(int(next(iterator)))\n"
        "other = iter(ending_at_once(tf.data.Dataset.range(9))); next(other); del other"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


@pytest.mark.parametrize("passes", [0, 1, 2])
def test_a_data_set_that_was_looked_at_ends_apart_and_leaves_no_iterator_behind(passes):
    dataset, go_on, ended = late_to_end()
    found, _ = look(dataset, share=lambda whole: whole.prefetch(1), steps=None)
    gc.disable()  # nothing may wait for it
    try:
        for _ in range(passes):
            ended.clear()
            iterator = iter(found)
            next(iterator)
            del iterator
        del found
        assert not ended.is_set()
        go_on.set()
        assert ended.wait(60)
        for thread in threading.enumerate():
            if thread.name == ENDS:
                thread.join(60)
    finally:
        gc.enable()
