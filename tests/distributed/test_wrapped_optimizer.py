"""Tests of taking `hvd.DistributedOptimizer` off; a Horovod that wraps otherwise is refused, not misread."""

from __future__ import annotations

import pytest
import tensorflow as tf

from tflbt.distributed import comm, wrapped_optimizer

hvd = pytest.importorskip("horovod.tensorflow.keras")
SGD = tf.keras.optimizers.SGD


@pytest.fixture(autouse=True)
def _recognition_is_checked_anew():
    wrapped_optimizer._require_recognition.cache_clear()
    yield
    wrapped_optimizer._require_recognition.cache_clear()


@pytest.mark.parametrize("cls", [SGD, tf.keras.optimizers.Adam, tf.keras.optimizers.legacy.SGD])
def test_a_wrapper_is_taken_off_and_its_arguments_stay(cls):
    optimizer = hvd.DistributedOptimizer(cls(0.1), compression=hvd.Compression.fp16, op=hvd.Sum)
    assert wrapped_optimizer.is_wrapped(optimizer)
    reduction = wrapped_optimizer.unwrap(optimizer)
    assert reduction == comm.Reduction(None, hvd.Compression.fp16, sum_over_ranks=True)
    assert type(optimizer) is cls and not wrapped_optimizer.is_wrapped(optimizer)
    assert wrapped_optimizer.unwrap(optimizer) == reduction  # compiled again
    assert wrapped_optimizer.unwrap(cls(0.1)) is None


def test_a_wrapper_that_keeps_its_arguments_elsewhere_is_refused():
    def initialise(self, learning_rate=0.1):
        SGD.__init__(self, learning_rate)

    another = type("SGD", (SGD,), {"__module__": "horovod._keras", "__init__": initialise})
    with pytest.raises(RuntimeError, match="does not keep process_set, compression.*0.28.1"):
        wrapped_optimizer.unwrap(another())


def test_a_wrapper_that_cannot_be_recognised_is_refused(monkeypatch):
    monkeypatch.setattr(hvd, "DistributedOptimizer", lambda optimizer: optimizer)
    with pytest.raises(RuntimeError, match="cannot be told from plain optimizers"):
        wrapped_optimizer.unwrap(SGD())


def test_what_is_put_on_comes_off_again():
    wanted = comm.Reduction(compression=wrapped_optimizer.half(), sum_over_ranks=True)
    plain = tf.keras.optimizers.SGD()
    wrapped = wrapped_optimizer.wrap(plain, wanted)
    assert wrapped_optimizer.is_wrapped(wrapped) and not wrapped_optimizer.is_wrapped(plain)
    assert wrapped_optimizer.unwrap(wrapped) == wanted
