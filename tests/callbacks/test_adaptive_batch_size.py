"""Tests of the adaptive batch size in `fit`: when it measures and grows, and that a resumed run is the same."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf

from tests.callbacks.conftest import as_new
from tflbt import FGSM, LargeBatchModel
from tflbt.callbacks import AdaptiveBatchSize, Checkpoint, StepDecay, Warmup
from tflbt.control import AdaptiveBatch
from tflbt.curvature import top_eigenvalue

K = tf.keras
ADVERSARIAL = FGSM(0.5, 0.01, None)  # the same for all, so that an update is traced once


@pytest.fixture
def scripted(make_model, data, scripted_curvature, rates):
    """Runs the callback on given eigenvalues; returns it, the rates of all updates, and the history."""

    def run(
        eigenvalues, *more, epochs=4, largest=32, batch_size=4, before=(), fresh=False, **options
    ):
        adaptive = AdaptiveBatchSize(largest, curvature_data=data, **options)
        adaptive.curvature = scripted_curvature(eigenvalues)
        model = make_model(K.optimizers.SGD(0.01), cls=LargeBatchModel, fresh=fresh)
        history = model.fit(
            *data, batch_size=batch_size, sub_batch_size=4, epochs=epochs, verbose=0,
            callbacks=[*before, rates, adaptive, *more], adversarial=ADVERSARIAL,
        )  # fmt: skip
        return adaptive, rates.rates, history.history

    return run


def test_batch_and_learning_rate_grow_together(scripted):
    """The reference 8; 5 decides nothing, 3 grows; the new reference 3: 2 nothing."""
    adaptive, rates, history = scripted([8.0, 5.0, 3.0, 2.0, 2.0])
    assert history["batch_size"] == [4, 4, 8, 8]
    np.testing.assert_allclose(rates, [0.01] * 16 + [0.02] * 8, rtol=1e-6)
    np.testing.assert_allclose(history["learning_rate"], [0.01, 0.01, 0.02, 0.02], rtol=1e-6)
    assert history["eigenvalue"] == [5.0, 3.0, 2.0, 2.0]
    assert adaptive.growths == 1
    assert adaptive.model.samples_seen == 4 * 32


def test_growth_by_duration_and_the_largest_batch(scripted):
    adaptive, _, history = scripted([1.0] * 6, kappa=1, epochs=5, largest=16)
    assert history["batch_size"] == [4, 8, 16, 16, 16]
    # At the largest batch there is nothing to decide, so nothing is measured.
    assert adaptive.curvature.asked == 3
    np.testing.assert_array_equal(history["eigenvalue"], [1, 1, np.nan, np.nan, np.nan])
    assert adaptive.epoch_columns()["curvature_products"] == 0


def test_the_share_falls_with_growth_and_ends_at_tau(scripted):
    shares = []
    note = K.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: shares.append(note.model.adversarial_share)
    )
    scripted([8.0, 3.0, 3.0, 1.0, 1.0, 1.0], note, omega=4.0, tau=4, epochs=5)
    assert shares == [0.125, 0.125, 0.03125, 0.0, 0.0]


def test_without_epochs_before_tau_no_sample_is_adversarial(scripted):
    adaptive, _, _ = scripted([1.0] * 9, tau=0, epochs=2)
    assert adaptive.epoch_columns()["adversarial_ratio"] == 0.0


def test_tau_is_half_of_the_epochs_where_it_is_not_given(scripted):
    shares = []
    note = K.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: shares.append(note.model.adversarial_share)
    )
    scripted([1.0] * 7, note, epochs=5)
    assert shares == [0.5, 0.0, 0.0, 0.0, 0.0]


def test_it_measures_every_so_many_samples(scripted):
    """20 samples are 5 updates of 4, then (at 8) 3 updates: 24 samples."""
    adaptive, rates, history = scripted([8.0, 3.0, *[3.0] * 9], measure_every=20, epochs=3)
    assert history["batch_size"] == [8, 8, 8]
    np.testing.assert_allclose(rates[:6], [0.01] * 5 + [0.02], rtol=1e-6)
    assert adaptive.curvature.asked == 1 + 1 + (3 * 32 - 20) // 24


@pytest.mark.parametrize(
    ("options", "batches"),
    [
        # Algorithm 1 with "epoch" read as the interval: growth at the third of every three measurements.
        ({"reference": "first_epoch"}, [4, 4, 4, 8, 8, 8]),
        # Two an epoch, of 16 samples: after samples 48 and 96, in the middle of epochs 2 and 3.
        ({"reference": "first_epoch", "measure_every": 16, "epochs": 4}, [4, 8, 8, 16]),
    ],
)
def test_the_first_measurement_is_the_reference_and_counts(scripted, options, batches):
    history = scripted([5.0] * 12, kappa=3, **{"epochs": 6, **options})[2]
    assert history["batch_size"] == batches
    assert history["eigenvalue"][0] == 5.0


@pytest.mark.parametrize(("at_largest", "last"), [(False, 0.0), (True, 0.0625)])
def test_adversarial_samples_may_end_at_the_largest_batch(scripted, at_largest, last):
    """An eigenvalue that halves every epoch: in the authors' code no share is left at 8 times the batch."""
    shares = []
    note = K.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: shares.append(note.model.adversarial_share)
    )
    options = {"reference": "first_epoch", "tau": 9, "adversarial_at_largest": at_largest}
    scripted([8.0, 3.9, 1.9, 0.9, 0.4], note, epochs=5, **options)
    assert shares == [0.5, 0.25, 0.125, last, last]


def test_the_reference_may_be_taken_after_the_whole_first_epoch(scripted):
    """Nothing is decided in the first epoch, however often it would measure."""
    adaptive, _, history = scripted(
        [8.0, 3.0, *[3.0] * 9], reference="after_first_epoch", measure_every=16, epochs=3
    )
    assert history["batch_size"][0] == 4
    assert history["batch_size"][1] == 8
    assert history["eigenvalue"][0] == 8.0


def test_it_composes_with_warm_up_and_decay(scripted):
    decay = StepDecay([2], 0.1)
    _, rates, history = scripted([1.0] * 9, kappa=1, largest=8, before=[Warmup(2), decay], epochs=4)
    assert history["batch_size"] == [4, 8, 8, 8]
    wanted = [0.01 * n / 16 for n in range(1, 9)] + [0.02 * (8 + 2 * n) / 16 for n in range(1, 5)]
    np.testing.assert_allclose(rates, wanted + [0.002] * 8, rtol=1e-5)


def test_the_learning_rate_may_be_left_alone(scripted):
    assert set(scripted([1.0] * 9, kappa=1, scale_learning_rate=False)[1]) == {np.float32(0.01)}


def test_a_data_set_smaller_than_the_largest_batch_is_one_update_an_epoch(scripted):
    adaptive, _, history = scripted([1.0] * 9, kappa=1, largest=10_000, epochs=6)
    assert history["batch_size"] == [4, 8, 16, 32, 32, 32]
    assert adaptive.largest() == 32


def test_nan_and_negative_eigenvalues_do_not_grow_the_batch(scripted):
    history = scripted([8.0, np.nan, -5.0, np.nan, 3.9], epochs=4)[2]
    assert history["batch_size"] == [4] * 4


def test_the_real_eigenvalues_decide_as_algorithm_1_says(data, make_model):
    """Eigenvalues measured a second time, from a cold start and to the end, decide alike."""
    x, y = data
    model = make_model(K.optimizers.SGD(0.02), cls=LargeBatchModel)
    adaptive = AdaptiveBatchSize(
        32, alpha=1.05, kappa=3, curvature_data=data, iterations=50, tolerance=1e-4
    )
    measured = []

    def measure(*_):
        exact = top_eigenvalue(
            model, x, y, layers="all", method="exact", iterations=300, tolerance=1e-5
        )
        measured.append(exact.eigenvalue)

    note = K.callbacks.LambdaCallback(on_train_begin=measure, on_epoch_end=measure)
    history = model.fit(
        x, y, batch_size=4, sub_batch_size=4, epochs=8, verbose=0, callbacks=[note, adaptive]
    ).history
    machine, batches = AdaptiveBatch(4, 32, 4, alpha=1.05, kappa=3), []
    for value in measured:
        machine.measured(value)
        batches.append(machine.batch_size)
    assert history["batch_size"] == batches[:-1]
    assert len(set(batches)) > 2
    found = [value for value in history["eigenvalue"] if np.isfinite(value)]
    np.testing.assert_allclose(found, measured[1 : len(found) + 1], rtol=1e-3)


@functools.cache
def network(seed: int) -> tuple[LargeBatchModel, FGSM, list[np.ndarray]]:
    """A model, compiled once, the rule that it is trained with, and its first weights."""
    K.utils.set_random_seed(seed)
    inputs = K.Input([4])
    hidden = K.layers.Dense(8, "tanh")(inputs)
    model = LargeBatchModel(inputs, K.layers.Dense(1)(K.layers.BatchNormalization()(hidden)))
    model.compile(K.optimizers.SGD(0.02, momentum=0.9), "mse")
    return model, FGSM(0.4, 0.01, None), model.get_weights()


def train(seed, data, folder, first=0, **options):
    """Trains from the checkpoints in a folder; returns a list of (batch size, rate, share) an epoch."""
    model, adversarial, weights = network(seed)
    as_new(model, weights, 0.02)
    made = [
        Warmup(2), StepDecay([4], 0.2),
        AdaptiveBatchSize(32, kappa=2, curvature_data=data, tau=5, **options),
    ]  # fmt: skip
    checkpoint, rows = Checkpoint(folder, made, keep=6), []

    def note(epoch, logs):
        rows.append((logs["batch_size"], logs["learning_rate"], model.adversarial_share))

    done = checkpoint.resume(model)
    assert done == first
    model.fit(
        *data, batch_size=4, sub_batch_size=4, epochs=6, initial_epoch=done, verbose=0, seed=1,
        callbacks=[*made, K.callbacks.LambdaCallback(on_epoch_end=note), checkpoint],
        adversarial=adversarial,
    )  # fmt: skip
    return rows, model.get_weights()


@pytest.mark.parametrize("options", [{}, {"measure_every": 28, "reference": "first_epoch"}])
def test_interrupted_at_any_epoch_and_resumed_is_the_same_run(options, data, tmp_path, cut_after):
    wanted, whole = train(0, data, tmp_path / "whole", **options)
    assert len({batch for batch, _, _ in wanted}) > 2
    for cut in range(1, 6):
        rows, resumed = train(7, data, cut_after(tmp_path / "whole", cut), cut, **options)
        assert rows == wanted[cut:]
        for a, b in zip(resumed, whole):
            np.testing.assert_array_equal(a, b)


def test_a_second_fit_starts_over_and_a_later_epoch_goes_on(scripted, data):
    adaptive, rates, _ = scripted([8.0, 3.0, 1.0, *[1.0] * 20], epochs=2)
    model, options = adaptive.model, {"sub_batch_size": 4, "verbose": 0, "callbacks": [adaptive]}
    assert model.batch_size == 16
    fgsm = FGSM(0.4, 0.01, None)
    adaptive.tau = 9
    history = model.fit(
        *data, batch_size=4, epochs=3, initial_epoch=2, adversarial=fgsm, **options
    ).history
    assert history["batch_size"] == [16]
    assert adaptive.epoch_columns()["adversarial_ratio"] == 0.1  # after two growths
    np.testing.assert_allclose(history["learning_rate"], [0.04], rtol=1e-6)
    history = model.fit(*data, batch_size=4, epochs=1, **options).history
    assert history["batch_size"] == [4]
    np.testing.assert_allclose(history["learning_rate"], [0.01], rtol=1e-6)
    assert adaptive.growths == 0


def test_growing_traces_nothing_again(scripted):
    adaptive, _, _ = scripted([1.0] * 9, kappa=1, fresh=True)
    assert adaptive.model.train_tf_function.experimental_get_tracing_count() == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"max_batch_size": 0}, "max_batch_size=0 must be a whole number, at least 1"),
        ({"alpha": 1.0}, "alpha=1.0 must be more than 1"),
        ({"beta": 1.0}, "beta=1.0 must be more than 1"),
        ({"kappa": 0}, "kappa=0 must be"),
        ({"omega": 0.5}, "omega=0.5 must be at least 1"),
        ({"tau": -1}, "tau=-1 must be"),
        ({"measure_every": 0}, "measure_every=0 must be"),
        ({"reference": "here"}, "reference='here' must be"),
        ({"curvature_data": None}, "curvature_data=NoneType must be"),
    ],
)
def test_arguments_out_of_range(wrong, said, data):
    with pytest.raises(ValueError, match=said):
        AdaptiveBatchSize(**{"max_batch_size": 64, "curvature_data": data, **wrong})


def test_a_largest_batch_below_the_first_is_refused_before_training(data, make_model):
    model = make_model(cls=LargeBatchModel)
    with pytest.raises(ValueError, match="max_batch_size=4 is less than batch_size=8"):
        model.fit(
            *data, batch_size=8, sub_batch_size=4, verbose=0,
            callbacks=[AdaptiveBatchSize(4, curvature_data=data)],
        )  # fmt: skip
    assert int(model.optimizer.iterations) == 0


def test_a_plain_keras_model_is_told_what_to_use(data, make_model):
    with pytest.raises(ValueError, match="cannot: use tflbt.LargeBatchModel.from_model"):
        make_model().fit(*data, verbose=0, callbacks=[AdaptiveBatchSize(64, curvature_data=data)])
