"""Tests of another batch and rate for the first epochs, in `fit`."""

from __future__ import annotations

import pytest
import tensorflow as tf

from tests.callbacks.conftest import as_new
from tflbt import LargeBatchModel
from tflbt.callbacks import Checkpoint, FirstEpochsBatch, StepDecay, Warmup

K = tf.keras


@pytest.fixture
def run(make_model, data):
    """Trains with the callback; returns (batch size, rate, updates so far, growths) of each epoch."""

    def run(callback, *more, model=None, **options):
        model = model or make_model(K.optimizers.SGD(0.08), cls=LargeBatchModel)
        rows = []

        def note(epoch, logs):
            optimizer = model.optimizer
            rate, updates = float(optimizer.learning_rate), int(optimizer.iterations)
            growths = callback.epoch_columns()["growths"]
            rows.append((model.batch_size, round(rate, 7), updates, growths))

        note = K.callbacks.LambdaCallback(on_epoch_end=note)
        model.fit(
            *data, **{"batch_size": 16, "sub_batch_size": 4, "epochs": 4, "verbose": 0, **options},
            callbacks=[callback, note, *more],
        )  # fmt: skip
        return rows

    return run


def test_the_first_epoch_has_a_batch_and_a_rate_of_its_own(run):
    """32 samples: 8 updates of 4, then 2 of 16 an epoch."""
    rows = run(FirstEpochsBatch(4, 0.01))
    assert rows == [(4, 0.01, 8, 0), (16, 0.08, 10, 1), (16, 0.08, 12, 1), (16, 0.08, 14, 1)]


def test_the_rate_is_scaled_with_the_batch_where_none_is_given(run):
    rows = run(FirstEpochsBatch(8, epochs=2), epochs=3)
    assert rows == [(8, 0.04, 4, 0), (8, 0.04, 8, 0), (16, 0.08, 10, 1)]


def test_the_first_batch_may_be_the_larger_one_or_the_same(run):
    assert run(FirstEpochsBatch(32), epochs=2) == [(32, 0.16, 1, 0), (16, 0.08, 3, 0)]
    assert run(FirstEpochsBatch(16, 0.02), epochs=2) == [(16, 0.02, 2, 0), (16, 0.08, 4, 0)]


def test_all_epochs_may_be_first_ones(run):
    assert [row[:2] for row in run(FirstEpochsBatch(4, 0.01, epochs=9), epochs=2)] == [
        (4, 0.01)
    ] * 2


def test_it_composes_with_warm_up_and_decay(run):
    """An epoch's last update: half and all of the warm-up; then a tenth."""
    rows = run(FirstEpochsBatch(8, 0.02), Warmup(2), StepDecay([2]), epochs=3)
    assert [row[:2] for row in rows] == [(8, 0.01), (16, 0.08), (16, 0.008)]


def test_a_rate_assigned_meanwhile_is_the_new_base(run):
    halve = K.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: setattr(
            halve.model.optimizer, "learning_rate", halve.model.optimizer.learning_rate / 2
        )
    )
    rows = run(FirstEpochsBatch(8, 0.02, epochs=2), halve)
    assert [row[1] for row in rows] == [0.02, 0.01, 0.02, 0.01]


def test_nothing_is_traced_again(run, make_model):
    model = make_model(cls=LargeBatchModel, fresh=True)
    run(FirstEpochsBatch(8), model=model, epochs=3)
    assert model.train_tf_function.experimental_get_tracing_count() == 1


def test_a_resumed_run_is_the_same(run, make_model, tmp_path, cut_after):
    """Whether the resumed fit is given the batch of the first start (None) or the checkpoint's."""

    def made():
        return FirstEpochsBatch(4, 0.01, epochs=2)

    whole, callback = make_model(K.optimizers.SGD(0.08), cls=LargeBatchModel), made()
    wanted = run(callback, Checkpoint(tmp_path / "whole", [callback], keep=4), model=whole)
    model = make_model(K.optimizers.SGD(9.0), seed=1, cls=LargeBatchModel)
    strange = model.get_weights()
    for cut, reached in ((1, 4), (1, None), (2, 4), (2, None), (3, 16)):
        as_new(model, strange, 9.0)
        callback = made()
        checkpoint = Checkpoint(cut_after(tmp_path / "whole", cut), [callback])
        assert checkpoint.resume(model) == cut
        assert reached in (checkpoint.batch_size, None)
        rows = run(callback, model=model, initial_epoch=cut, batch_size=reached or 16)
        assert rows == wanted[cut:]
        for a, b in zip(whole.get_weights(), model.get_weights()):
            assert (a == b).all()


def test_a_second_fit_starts_over_with_its_own_batch(run):
    callback = FirstEpochsBatch(4, 0.01)
    assert run(callback, epochs=2) == [(4, 0.01, 8, 0), (16, 0.08, 10, 1)]
    again = run(callback, model=callback.model, epochs=2, batch_size=32)
    assert again == [(4, 0.01, 18, 0), (32, 0.08, 19, 1)]
    later = run(callback, model=callback.model, epochs=2, initial_epoch=1, batch_size=8)
    assert later == [(8, 0.08, 23, 1)]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((0,), "batch_size=0"),
        ((2.5,), "batch_size=2.5"),
        ((8, 0.0), "learning_rate=0.0"),
        ((8, float("nan")), "learning_rate=nan"),
        ((8, 0.1, 0), "epochs=0"),
        ((8, 0.1, 1.5), "epochs=1.5"),
    ],
)
def test_arguments_out_of_range(arguments, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        FirstEpochsBatch(*arguments)


def test_refusals_at_the_start_of_fit(run, data, make_model):
    with pytest.raises(
        ValueError, match=r"^batch_size=6 of the first epochs .* use 4, or give fit"
    ):
        run(FirstEpochsBatch(6))
    with pytest.raises(ValueError, match="^batch_size=2 .* multiple of 4 .* use 4"):
        run(FirstEpochsBatch(2))
    with pytest.raises(ValueError, match=r"^learning_rate=0.1 .* which is 0.0"):
        run(FirstEpochsBatch(8, 0.1), model=make_model(K.optimizers.SGD(0.0), cls=LargeBatchModel))
    with pytest.raises(ValueError, match="FirstEpochsBatch sets the learning rate, but SGD was"):
        rate = K.optimizers.schedules.CosineDecay(0.1, 10)
        run(FirstEpochsBatch(8), model=make_model(K.optimizers.SGD(rate), cls=LargeBatchModel))
    with pytest.raises(ValueError, match="use tflbt.LargeBatchModel.from_model"):
        make_model().fit(*data, verbose=0, callbacks=[FirstEpochsBatch(8)])
