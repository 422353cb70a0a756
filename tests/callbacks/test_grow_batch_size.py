"""Tests of growing the batch at given epochs, in `fit`."""

from __future__ import annotations

import pytest
import tensorflow as tf

from tflbt import LargeBatchModel
from tflbt.callbacks import Checkpoint, GrowBatchSize, Warmup

K = tf.keras


@pytest.fixture
def grown(make_model, data, rates):
    """Trains with the callback; returns (batch size, rate) of each epoch."""

    def run(callback, *more, model=None, **options):
        model = model or make_model(K.optimizers.SGD(0.08), cls=LargeBatchModel)
        rows = []

        def note(epoch, logs):
            rows.append((model.batch_size, round(float(model.optimizer.learning_rate), 7)))

        note = K.callbacks.LambdaCallback(on_epoch_end=note)
        model.fit(
            *data, **{"batch_size": 4, "sub_batch_size": 4, "epochs": 4, "verbose": 0, **options},
            callbacks=[callback, note, *more],
        )  # fmt: skip
        return rows

    return run


def test_the_batch_grows_first_and_then_the_rate_falls(grown):
    rows = grown(GrowBatchSize([1, 2, 3], 2.0, max_batch_size=8))
    assert rows == [(4, 0.08), (8, 0.08), (8, 0.04), (8, 0.02)]


def test_what_does_not_divide_is_rounded_down_and_the_rate_makes_up_for_it(grown):
    rows = grown(GrowBatchSize([1, 2], 4.0, max_batch_size=30), epochs=3)
    assert rows == [(4, 0.08), (16, 0.08), (28, round(0.08 * 7 / 16, 7))]


def test_the_batch_is_at_most_the_data_set_and_the_rate_knows(grown):
    rows = grown(GrowBatchSize([1, 2], 8.0, max_batch_size=10_000), epochs=3)
    assert rows == [(4, 0.08), (32, 0.08), (32, 0.01)]


def test_it_composes_with_a_warm_up(grown):
    rows = grown(GrowBatchSize([1, 2], 2.0, max_batch_size=8), Warmup(4))
    assert rows == [(4, 0.02), (8, 0.04), (8, 0.03), (8, 0.04)]


def test_a_resumed_run_is_the_same(grown, make_model, tmp_path, cut_after):
    callback = GrowBatchSize([1, 2, 3], 2.0, max_batch_size=8)
    wanted = grown(callback, Checkpoint(tmp_path / "whole", [callback], keep=4))
    model = make_model(K.optimizers.SGD(9.0), cls=LargeBatchModel)
    for cut in range(1, 4):
        callback = GrowBatchSize([1, 2, 3], 2.0, max_batch_size=8)
        checkpoint = Checkpoint(cut_after(tmp_path / "whole", cut), [callback])
        model.optimizer.learning_rate = 9.0
        assert checkpoint.resume(model) == cut
        rows = grown(callback, model=model, initial_epoch=cut, batch_size=checkpoint.batch_size)
        assert rows == wanted[cut:]


def test_a_second_fit_starts_over(grown):
    callback = GrowBatchSize([1], 2.0, max_batch_size=8)
    first = grown(callback, epochs=2)
    assert grown(callback, model=callback.model, epochs=2) == first


def test_refusals(grown, data, make_model):
    with pytest.raises(ValueError, match="max_batch_size=3 is less than the batch_size=4 of fit"):
        grown(GrowBatchSize([1], max_batch_size=3))
    with pytest.raises(ValueError, match="use tflbt.LargeBatchModel.from_model"):
        make_model().fit(*data, verbose=0, callbacks=[GrowBatchSize([1], max_batch_size=3)])
    with pytest.raises(ValueError, match="factor=0.5 must be more than 1"):
        GrowBatchSize([1], 0.5, max_batch_size=8)


def test_the_updates_are_those_of_the_batches(grown):
    callback = GrowBatchSize([1, 2], 2.0, max_batch_size=16)
    grown(callback, epochs=3)
    assert int(callback.model.optimizer.iterations) == 32 // 4 + 32 // 8 + 32 // 16
