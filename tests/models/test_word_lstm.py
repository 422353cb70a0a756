"""The word-level LSTM: counts, an LSTM by hand, tied weights, and the masks of its five kinds of dropout."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt import models
from tflbt.models.text_layers import ActivationPenalty, TiedEmbedding, WeightDropLSTM, WordDropout
from tflbt.models.word_lstm import word_lstm
from tflbt.training import LargeBatchModel

NO_DROPOUT = {
    f"dropout_{where}": 0.0 for where in ("embedding", "input", "hidden", "output", "recurrent")
}
TINY = {"input_shape": (5,), "classes": 9, "embedding": 3, "units": 4, "layers": 2}


def words(samples=2, length=5, seed=0):
    return np.random.default_rng(seed).integers(0, 9, [samples, length]).astype(np.int32)


def by_hand(vocabulary, embedding, units, layers, tied, biases=1):
    """Parameters of the authors' ``model.py``; PyTorch's LSTM has two biases."""
    total, entering = vocabulary * embedding, embedding
    for layer in range(layers):
        leaving = embedding if tied and layer == layers - 1 else units
        total += 4 * leaving * (entering + leaving + biases)
        entering = leaving
    return total + vocabulary + (0 if tied else entering * vocabulary)


def test_parameter_counts_are_the_authors_but_for_pytorchs_second_bias():
    assert by_hand(10_000, 400, 1150, 3, True, biases=2) == 24_221_600  # which their code prints
    assert by_hand(10_000, 400, 1150, 3, True) == 24_221_600 - 4 * (1150 + 1150 + 400) == 24_210_800
    for tied, layers in ((True, 3), (False, 2)):
        model = word_lstm(**{**TINY, "layers": layers}, tie_weights=tied)
        assert model.count_params() == by_hand(9, 3, 4, layers, tied)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(x, kernel, recurrent, bias):
    """Gates in the order input, forget, new, output; zero state at first."""
    h = c = np.zeros([len(x), recurrent.shape[0]])
    outputs = []
    for step in range(x.shape[1]):
        i, f, g, o = np.split(x[:, step] @ kernel + h @ recurrent + bias, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs, axis=1)


@pytest.mark.parametrize("tied", [True, False])
def test_logits_are_those_of_numpy(tied):
    model, x = word_lstm(**TINY, tie_weights=tied), words()
    held = {variable.name: variable.numpy().astype(float) for variable in model.variables}
    h = held["embedding/embeddings:0"][x]
    for layer in ("lstm1", "lstm2"):
        cell = (
            held[f"{layer}/lstm_cell/{part}:0"] for part in ("kernel", "recurrent_kernel", "bias")
        )
        h = lstm(h, *cell)
    if tied:
        expected = h @ held["embedding/embeddings:0"].T + held["embedding/bias:0"]
    else:
        expected = h @ held["logits/kernel:0"] + held["logits/bias:0"]
    np.testing.assert_allclose(model(x), expected, atol=1e-6)


def test_a_word_changes_no_logits_before_it():
    model, x = word_lstm(**TINY), words()
    other = x.copy()
    other[:, 3] = (x[:, 3] + 1) % 9
    before, after = model(x).numpy(), model(other).numpy()
    np.testing.assert_array_equal(before[:, :3], after[:, :3])
    assert (np.abs(before - after)[:, 3:].max((0, 2)) > 1e-6).all()


def test_tied_weights_are_one_variable_with_both_gradients():
    model, x = word_lstm(**TINY, **NO_DROPOUT), words(1)
    tied = model.get_layer("embedding")
    assert isinstance(tied, TiedEmbedding)
    assert sum(variable.shape == (9, 3) for variable in model.variables) == 1
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(model(x)))
    gradient = tf.convert_to_tensor(tape.gradient(loss, tied.embeddings)).numpy()
    held, step, sums = tied.embeddings.numpy(), 1e-2, []
    direction = np.random.default_rng(0).normal(size=[9, 3]).astype(np.float32)
    for moved in (held + step * direction, held - step * direction):
        tied.embeddings.assign(moved)
        sums.append(float(tf.reduce_sum(tf.square(model(x)))))
    tied.embeddings.assign(held)
    assert np.sum(gradient * direction) == pytest.approx((sums[0] - sums[1]) / (2 * step), rel=0.01)
    unseen = sorted(set(range(9)) - set(x.ravel()))
    assert np.abs(gradient[unseen]).max() > 0  # from the logits alone
    only_logits = 2 * np.einsum("ntw,nte->we", model(x), _last_states(model, x))
    seen = sorted(set(x.ravel()))
    assert np.abs(gradient - only_logits)[seen].max() > 1e-4  # the rest is from looking words up
    np.testing.assert_allclose(gradient[unseen], only_logits[unseen], rtol=1e-4)


def _last_states(model, x):
    return tf.keras.Model(model.input, model.get_layer("lstm2").output)(x)


@pytest.mark.parametrize("where", ["input", "hidden", "output"])
def test_masks_are_locked_over_the_words_and_differ_between_equal_samples(where):
    """What makes M equal samples in a batch M instances."""
    options = {**TINY, **NO_DROPOUT, "embedding": 32, "units": 32, f"dropout_{where}": 0.5}
    model = word_lstm(**options)
    layer = model.get_layer(f"{where}_dropout" + ("1" if where == "hidden" else ""))
    part = tf.keras.Model(model.input, [layer.input, layer.output])
    before, after = (y.numpy() for y in part(np.repeat(words(1), 4, axis=0), training=True))
    masks = np.round(after / before, 4)
    assert set(np.unique(masks)) == {0.0, 2.0}
    np.testing.assert_array_equal(masks, np.repeat(masks[:, :1], 5, axis=1))
    assert len({mask.tobytes() for mask in masks[:, 0]}) == 4
    logits = model(np.repeat(words(1), 2, axis=0), training=True).numpy()
    assert np.abs(logits[0] - logits[1]).max() > 1e-4
    assert not np.diff(part(words())[1] - part(words())[0]).any()  # none in inference


def test_a_dropped_word_is_dropped_wherever_it_stands():
    layer, x = WordDropout(0.5, 9), np.tile(np.arange(9, dtype=np.int32), [3, 2])
    vectors = tf.random.stateless_normal([3, 18, 4], [0, 1])
    scales = np.unique(np.round(layer([vectors, x], training=True) / vectors, 4)[0, :9, 0])
    assert set(scales) == {0.0, 2.0}
    masks = np.round(layer([vectors, x], training=True) / vectors, 4)
    np.testing.assert_array_equal(masks, np.broadcast_to(masks[:1, :, :1], masks.shape))
    np.testing.assert_array_equal(masks[:, :9], masks[:, 9:])
    np.testing.assert_array_equal(layer([vectors, x]), vectors)


def test_weight_drop_is_an_lstm_with_one_mask_on_the_weights_between_states():
    """Fitted backwards: the outputs are those of the hand-written LSTM with dropped weights, doubled if kept."""
    layer, x = WeightDropLSTM(3, weight_drop=0.5, return_sequences=True), tf.ones([2, 4, 2])
    plain = layer(x).numpy()
    kernel, recurrent, bias = (variable.numpy() for variable in layer.trainable_variables)
    np.testing.assert_allclose(plain, lstm(np.ones([2, 4, 2]), kernel, recurrent, bias), atol=1e-6)
    seen = []
    layer._weight_dropout = lambda weights, training: seen.append(training) or _halved(weights)
    dropped = layer(x, training=True).numpy()
    expected = lstm(np.ones([2, 4, 2]), kernel, _halved(recurrent), bias)
    np.testing.assert_allclose(dropped, expected, atol=1e-6)
    np.testing.assert_allclose(dropped[:, 0], plain[:, 0], atol=1e-6)  # no state before it
    assert np.abs(dropped - plain)[:, 1:].max() > 1e-3 and seen == [True]
    assert layer.cell.recurrent_kernel is layer.trainable_variables[1]


def _halved(weights):
    """As dropout does it, with every second weight dropped."""
    return weights * (2.0 * (np.arange(12) % 2)).astype(np.float32)


def test_weight_drop_draws_a_new_mask_each_call_for_all_samples_together():
    layer, x = WeightDropLSTM(8, weight_drop=0.5), tf.ones([2, 4, 2])
    first, second = (layer(x, training=True).numpy() for _ in range(2))
    np.testing.assert_array_equal(first[0], first[1])
    assert np.abs(first - second).max() > 1e-4
    np.testing.assert_array_equal(layer(x), layer(x))


def test_weight_drop_puts_the_weights_back_after_an_error():
    layer = WeightDropLSTM(3, weight_drop=0.5)
    layer(tf.ones([2, 4, 2]))
    held = layer.cell.recurrent_kernel
    with pytest.raises(ValueError, match="initial_state"):
        layer.call(tf.ones([2, 4, 2]), training=True, initial_state=[tf.zeros([2, 3])])
    assert layer.cell.recurrent_kernel is held


def test_penalties_are_the_authors_and_only_of_training():
    layer = ActivationPenalty(2.0, 1.0)
    h, dropped = np.random.default_rng(0).normal(size=[2, 3, 4, 5]).astype(np.float32)
    np.testing.assert_array_equal(layer([h, dropped], training=True), dropped)
    expected = 2 * np.mean(dropped**2) + np.mean((h[:, 1:] - h[:, :-1]) ** 2)
    assert float(layer.losses[0]) == pytest.approx(expected, rel=1e-5)
    layer([h, dropped])
    assert float(layer.losses[0]) == 0
    layer([h[:, :1], dropped[:, :1]], training=True)  # one word: nothing moves
    assert float(layer.losses[0]) == pytest.approx(2 * np.mean(dropped[:, :1] ** 2), rel=1e-5)


def test_decay_is_of_every_weight_but_biases_and_of_tied_ones_once():
    model = word_lstm(**TINY, weight_decay=0.2)
    model(words())
    weights = [v for v in model.trainable_variables if "bias" not in v.name]
    assert len(weights) == 1 + 2 * 2
    expected = 0.1 * sum(float(tf.reduce_sum(weight**2)) for weight in weights)
    assert float(tf.add_n(model.losses)) == pytest.approx(expected, rel=1e-5)


def test_initial_weights_have_the_authors_ranges():
    tf.keras.utils.set_random_seed(0)
    model = word_lstm(**{**TINY, "classes": 400, "embedding": 16, "units": 64}, tie_weights=False)
    for variable in model.variables:
        bound = 0.1 if variable.name.startswith(("embedding", "logits")) else 64**-0.5
        if variable.name == "logits/bias:0":
            bound = 0.0
        assert bound * 0.95 <= np.abs(variable).max() <= bound, variable.name


def test_the_layers_of_training_save_and_come_back(tmp_path):
    """With all of its dropout, which `test_models` has none of."""
    model = word_lstm(**TINY)
    again = tf.keras.Model.from_config(model.get_config())
    assert [layer.get_config() for layer in again.layers] == [
        layer.get_config() for layer in model.layers
    ]
    model.save(tmp_path / "model.keras")
    loaded = tf.keras.models.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_array_equal(loaded(words()), model(words()))
    assert loaded.get_layer("lstm1").weight_drop == 0.5
    assert np.abs(loaded(words(), training=True) - loaded(words(), training=True)).max() > 1e-5


def test_a_large_batch_model_trains_it_in_sub_batches():
    """Words as inputs, a label a position, and penalties: 4 + 3 samples are one step on the mean over 7."""
    x = words(7)
    y = np.roll(x, -1, axis=1).astype(np.int64)
    model = LargeBatchModel.from_model(word_lstm(**{**TINY, "layers": 1}, **NO_DROPOUT))
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with tf.GradientTape() as tape:
        total = loss(y, model(x, training=True)) + tf.add_n(model.losses)
    gradients = tape.gradient(total, model.trainable_variables)
    expected = [v - 0.5 * g for v, g in zip(model.trainable_variables, gradients)]
    model.compile(tf.keras.optimizers.SGD(0.5), loss)
    history = model.fit(x, y, batch_size=8, sub_batch_size=4, verbose=0).history
    for variable, weights in zip(model.trainable_variables, expected):
        np.testing.assert_allclose(variable, weights, atol=1e-6)
    assert history["loss"][0] == pytest.approx(float(total), rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 0}, "^layers=0 must be a whole number, between 1"),
        ({"input_shape": (5, 1)}, r"^input_shape=\(5, 1\) must be \(a whole number\)"),
        ({"dropout_hidden": 1.0}, "^dropout_hidden=1.0 must be at least 0 and less than 1"),
        ({"slowness_penalty": -1.0}, "slowness_penalty=-1.0 must be at least 0"),
    ],
)
def test_wrong_options_are_told(options, message):
    with pytest.raises(ValueError, match=message):
        word_lstm(**{**TINY, **options})


def test_it_is_built_by_its_name():
    assert models.build("word_lstm", **TINY).output_shape == (None, 5, 9)
