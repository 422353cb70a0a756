"""An iterator ends apart from who used it, and gives what it would give."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading

import numpy as np
import pytest
import tensorflow as tf

from tflbt.data.first_batch import look
from tflbt.data.iterator_ends import ended_apart, ending_at_once
from tflbt.training import LargeBatchModel

K = tf.keras


class LateToEnd:
    """A data set whose iterators wait where they end, as tf.data's tuning has some wait, until they may go on."""

    def __init__(self):
        self.go_on, self.begun, self.ended = threading.Event(), 0, 0
        signature = tf.TensorSpec([2, 3]), tf.TensorSpec([2])
        self.dataset = tf.data.Dataset.from_generator(self._batches, output_signature=signature)
        self._threads = set(threading.enumerate())

    def _batches(self):
        self.begun += 1
        try:
            for _ in range(5):
                yield np.ones([2, 3]), np.ones([2])
        finally:
            self.go_on.wait(60)
            self.ended += 1

    def release(self):
        """Has all go on, and waits for their threads."""
        assert self.begun and not self.ended, (self.begun, self.ended)
        self.go_on.set()
        for thread in set(threading.enumerate()) - self._threads:
            if thread.name == "tflbt-iterator-end":
                thread.join(60)
        assert self.ended == self.begun


def test_who_lets_an_iterator_go_does_not_wait_for_its_end():
    late = LateToEnd()
    iterator = iter(ending_at_once(late.dataset))
    next(iterator)
    del iterator
    late.release()


@pytest.mark.parametrize("method", ["fit", "validation_data", "evaluate", "predict"])
def test_loops_of_a_model_do_not_wait(method):
    model = LargeBatchModel.from_model(K.Sequential([K.layers.Dense(1, input_shape=[3])]))
    model.compile("sgd", "mse")
    late = LateToEnd()
    if method == "validation_data":
        other = tf.data.Dataset.from_tensors((tf.ones([2, 3]), tf.ones([2])))
        model.fit(other, validation_data=late.dataset, validation_steps=2, verbose=0)
    else:
        steps = {"steps_per_epoch" if method == "fit" else "steps": 2}
        getattr(model, method)(late.dataset, verbose=0, **steps)
    late.release()


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
    late = LateToEnd()
    found, _ = look(late.dataset, share=lambda whole: whole.prefetch(1), steps=None)
    gc.disable()  # nothing may wait for it
    try:
        for _ in range(passes):
            iterator = iter(found)
            next(iterator)
            del iterator
        del found
        assert late.begun == max(1, passes)
        late.release()
    finally:
        gc.enable()
