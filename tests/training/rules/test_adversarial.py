"""Tests of FGSM samples: against a NumPy oracle, whatever the split, and what they must leave alone."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf

from tflbt import FGSM, LargeBatchModel
from tflbt.data import fit_standardize
from tflbt.training.rules.adversarial import chosen

K = tf.keras


def linear(optimizer=None, seed=1) -> LargeBatchModel:
    """One linear unit with squared loss: input gradients by hand."""
    K.utils.set_random_seed(seed)
    inputs = K.Input([3])
    model = LargeBatchModel(inputs, K.layers.Dense(1)(inputs))
    model.compile(optimizer or K.optimizers.SGD(0.1), "mse", ["mae"])
    return model


@pytest.fixture
def unit():
    """16 samples with inputs in [0, 1]."""
    random = np.random.default_rng(0)
    x = random.uniform(size=(16, 3)).astype("float32")
    return x, random.normal(size=(16, 1)).astype("float32")


def places(count: int, share: float) -> np.ndarray:
    """Which samples of an update are adversarial, by the rule as documented."""
    numbers = np.arange(count)
    return np.floor((numbers + 1) * share) > np.floor(numbers * share)


def step_by_hand(w, b, x, y, marks, epsilon, low, high, rate):
    """One update of the linear unit, in float64."""
    w, b, x, y = (np.asarray(v, np.float64) for v in (w, b, x, y))
    slope = 2 * (x @ w + b - y) * w.T  # of each sample's loss by its input
    moved = np.clip(x + epsilon * np.sign(slope), low, high)
    x = np.where(marks[:, None], moved, x)
    error = x @ w + b - y
    return w - rate * 2 * x.T @ error / len(x), b - rate * 2 * error.mean(0), x


@functools.cache
def shared() -> tuple[LargeBatchModel, FGSM, list[np.ndarray]]:
    """A model, the rule that it is trained with, whose share each test sets, and its first weights: one trace."""
    model = linear()
    return model, FGSM(0.5, epsilon=0.3), model.get_weights()


@pytest.mark.parametrize(("batch", "sub_batch"), [(16, 16), (16, 4), (16, 2), (8, 4)])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 1.0])
def test_an_update_is_the_one_by_hand_whatever_the_sub_batches(batch, sub_batch, share, unit):
    x, y = unit
    model, fgsm, (w, b) = shared()
    model.set_weights([w, b])
    fgsm.share = share
    model.fit(
        x, y, batch_size=batch, sub_batch_size=sub_batch, shuffle=False, verbose=0, adversarial=fgsm
    )
    for first in range(0, 16, batch):
        part = slice(first, first + batch)
        w, b, _ = step_by_hand(w, b, x[part], y[part], places(batch, share), 0.3, 0, 1, 0.1)
    np.testing.assert_allclose(model.get_weights()[0], w, atol=1e-6)
    np.testing.assert_allclose(model.get_weights()[1], b, atol=1e-6)


def test_the_share_is_exact_over_an_update_and_spread_evenly():
    for share in (0.2, 0.25, 1 / 3, 0.05):
        parts = [
            chosen(tf.constant(first), tf.constant(8), tf.constant(share, tf.float64)).numpy()
            + first
            for first in range(0, 64, 8)
        ]
        together = np.concatenate(parts)
        assert len(together) == int(64 * share)
        assert np.ptp(np.diff(together)) <= 1
    places = chosen(tf.constant(5), tf.constant(5), tf.constant(0.4, tf.float64))
    assert places.numpy().tolist() == [2, 4]


def test_metrics_count_each_sample_once_and_see_the_adversarial_ones(unit):
    x, y = unit
    model = linear(K.optimizers.SGD(0.0))
    w, b = model.get_weights()
    history = model.fit(
        x, y, batch_size=16, sub_batch_size=4, shuffle=False, verbose=0,
        adversarial=FGSM(0.5, 0.3), epochs=2,
    ).history  # fmt: skip
    _, _, moved = step_by_hand(w, b, x, y, places(16, 0.5), 0.3, 0, 1, 0.0)
    wanted = ((moved @ w + b - y) ** 2).mean()
    np.testing.assert_allclose(history["loss"], [wanted] * 2, rtol=1e-5)
    assert wanted > ((x @ w + b - y) ** 2).mean()
    np.testing.assert_allclose(history["mae"][0], np.abs(moved @ w + b - y).mean(), rtol=1e-5)


def test_epsilon_and_range_are_of_the_original_scale(unit):
    """Training on standardised inputs equals training on original ones with the same first layer."""
    x, y = unit
    mean, scale = np.float32([0.4, 0.5, 0.6]), np.float32([0.2, 0.5, 1.5])
    fgsm = FGSM(1.0, epsilon=0.3, mean=mean, scale=scale)
    found = fgsm.perturb(tf.constant((x - mean) / scale), tf.constant(np.sign(x - 0.5)))
    wanted = np.clip(x + 0.3 * np.sign(x - 0.5), 0, 1)
    np.testing.assert_allclose(found * scale + mean, wanted, atol=1e-6)


def test_of_images_takes_the_scale_of_a_standardisation():
    images = np.random.default_rng(0).integers(0, 256, (9, 4, 4, 3), np.uint8)
    for mode in ("per_pixel", "per_channel", "divide_255", "imagenet"):
        standardize = fit_standardize(images, mode)
        fgsm = FGSM.of_images(standardize, 1.0, epsilon=0.1)
        found = fgsm.perturb(standardize(images), tf.ones(images.shape))
        pixels = (found.numpy() * standardize.scale + standardize.mean) / 255
        np.testing.assert_allclose(pixels, np.minimum(images / 255 + 0.1, 1), atol=1e-5)


def test_no_valid_range_clips_nothing_and_zero_gradients_move_nothing():
    x = tf.constant([[0.99, 0.01, 0.5, 0.5]])
    slope = tf.constant([[1.0, -1.0, 0.0, np.nan]])
    np.testing.assert_allclose(FGSM(1, 0.1, None).perturb(x, slope), [[1.09, -0.09, 0.5, 0.5]])


def test_what_lies_outside_of_the_range_is_neither_pulled_in_nor_pushed_further():
    x, slope = tf.constant([[1.5, -0.5]]), tf.constant([[1.0, 1.0]])
    np.testing.assert_allclose(FGSM(1, 0.1).perturb(x, slope), [[1.5, -0.4]])


def test_batch_normalisation_is_perturbed_in_inference_mode_and_its_statistics_see_one_pass(unit):
    def build():
        K.utils.set_random_seed(1)
        inputs = K.Input([3])
        hidden = K.layers.BatchNormalization(momentum=0.5)(inputs)
        model = LargeBatchModel(inputs, K.layers.Dense(1)(hidden))
        model.compile(K.optimizers.SGD(0.0), "mse")
        return model

    x, y = unit
    adversarial, plain = build(), build()
    adversarial.fit(x, y, batch_size=16, verbose=0, shuffle=False, adversarial=FGSM(1.0, 1e-6))
    plain.fit(x, y, batch_size=16, verbose=0, shuffle=False)
    for found, wanted in zip(adversarial.get_weights(), plain.get_weights()):
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_sample_weights_weigh_the_update_and_not_the_direction(unit):
    x, y = unit
    weight = np.linspace(0.1, 2, 16).astype("float32")
    model = linear()
    w, b = (np.float64(v) for v in model.get_weights())
    model.fit(
        x, y, sample_weight=weight, batch_size=16, sub_batch_size=8, shuffle=False, verbose=0,
        adversarial=FGSM(1.0, 0.3),
    )  # fmt: skip
    _, _, moved = step_by_hand(w, b, x, y, np.ones(16, bool), 0.3, 0, 1, 0.0)
    error = moved @ w + b - y
    wanted = w - 0.1 * 2 * moved.T @ (error * weight[:, None]) / 16
    np.testing.assert_allclose(model.get_weights()[0], wanted, atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_takes_the_same_direction(policy, unit):
    x, y = unit
    seen = []

    class Watched(LargeBatchModel):
        def compute_loss(self, x, y, y_pred, sample_weight):
            seen.append(x)
            return super().compute_loss(x, y, y_pred, sample_weight)

    K.mixed_precision.set_global_policy(policy)
    try:
        K.utils.set_random_seed(1)
        inputs = K.Input([3])
        outputs = K.layers.Activation("linear", dtype="float32")(K.layers.Dense(1)(inputs))
        model = Watched(inputs, outputs)
        # A tiny loss: in float16 its gradient by the inputs is below the smallest number without scaling.
        model.compile(K.optimizers.SGD(0.0), lambda a, b: 1e-7 * tf.square(a - b), run_eagerly=True)
        w, b = model.get_weights()
        model.fit(x, y, batch_size=16, shuffle=False, verbose=0, adversarial=FGSM(1.0, 0.3))
    finally:
        K.mixed_precision.set_global_policy("float32")
    _, _, wanted = step_by_hand(w, b, x, y, np.ones(16, bool), 0.3, 0, 1, 0.0)
    np.testing.assert_allclose(seen[-1], wanted, atol=2e-3)


def test_several_inputs_are_perturbed_where_they_are_floating():
    inputs = {"image": K.Input([2], name="image"), "word": K.Input([], dtype="int32", name="word")}
    hidden = K.layers.Embedding(4, 2, embeddings_initializer="ones")(inputs["word"])
    model = LargeBatchModel(inputs, K.layers.Dense(1)(inputs["image"] + hidden))
    model.compile(K.optimizers.SGD(0.1), "mse")
    x = {"image": np.full((4, 2), 0.5, "float32"), "word": np.arange(4, dtype="int32")}
    history = model.fit(x, np.ones((4, 1)), verbose=0, adversarial=FGSM(1.0, 0.1))
    assert np.isfinite(history.history["loss"][0])


def test_the_share_may_change_without_a_new_trace(unit):
    model = linear()
    fgsm, shares = FGSM(0.5, 0.3), []

    def halve(epoch, logs):
        shares.append(model.adversarial_share)
        model.adversarial_share /= 2

    callback = K.callbacks.LambdaCallback(on_epoch_end=halve)
    options = {"batch_size": 16, "verbose": 0, "adversarial": fgsm}
    model.fit(*unit, epochs=3, callbacks=[callback], **options)
    assert shares == [0.5, 0.25, 0.125]
    assert model.train_tf_function.experimental_get_tracing_count() == 1
    model.fit(*unit, callbacks=[callback], **options)
    assert shares[-1] == 0.5
    assert model.train_tf_function.experimental_get_tracing_count() == 1
    # Off again: as if it had never been.
    model.fit(*unit, batch_size=16, verbose=0)
    assert model.adversarial_share == 0


def test_without_a_share_it_is_bit_identical_to_off(unit):
    off, on = linear(), linear()
    off.fit(*unit, batch_size=8, sub_batch_size=4, epochs=2, verbose=0)
    on.fit(*unit, batch_size=8, sub_batch_size=4, epochs=2, verbose=0, adversarial=FGSM(0.0))
    for a, b in zip(off.get_weights(), on.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_jit_compiled_training_is_the_same(unit):
    plain, compiled = linear(), linear()
    compiled.compile(K.optimizers.SGD(0.1), "mse", jit_compile=True)
    for model in (plain, compiled):
        model.fit(
            *unit, batch_size=16, sub_batch_size=8, shuffle=False, verbose=0,
            adversarial=FGSM(0.25, 0.3),
        )  # fmt: skip
    np.testing.assert_allclose(plain.get_weights()[0], compiled.get_weights()[0], atol=1e-6)


def test_integer_inputs_are_refused_before_training():
    words = K.Input([], dtype="int32")
    model = LargeBatchModel(words, K.layers.Embedding(4, 1)(words))
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"adversarial=FGSM\(...\) .* x is int64: convert it"):
        model.fit(np.arange(4), np.ones([4, 1]), verbose=0, adversarial=FGSM())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"share": 1.5}, "share=1.5 must be between 0 and 1; the paper's is 0.2"),
        ({"share": -0.1}, "share=-0.1"),
        ({"share": np.nan}, "share=nan"),
        ({"epsilon": 0.0}, "epsilon=0.0 must be more than 0"),
        ({"valid_range": (1, 0)}, r"valid_range=\(1, 0\)"),
        ({"scale": [1.0, 0.0]}, "scale must be more than 0"),
    ],
)
def test_arguments_out_of_range(wrong, said):
    with pytest.raises(ValueError, match=said):
        FGSM(**wrong)


def test_a_share_out_of_range_cannot_be_assigned(unit):
    model = linear()
    with pytest.raises(ValueError, match="share=2"):
        model.adversarial_share = 2
