"""Every form of data that Keras takes trains to Keras's weights; others are refused by messages that name them."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf

from tflbt.data import forms
from tflbt.training import LargeBatchModel

K, L, Dataset = tf.keras, tf.keras.layers, tf.data.Dataset
RNG = np.random.default_rng(0)
X = RNG.standard_normal((20, 4)).astype("float32")
Y, W, LABELS = X[:, :2].copy(), np.linspace(0.5, 2, 20, dtype="float32"), (X[:, 0] > 0).astype(int)
IMAGES = (RNG.standard_normal((20, 2, 2, 1)) > 0).astype(int)
SPARSE, SCIPY = tf.sparse.from_dense(X), scipy.sparse.csr_matrix(X)
RAGGED = tf.ragged.constant([[k % 10] * (1 + k % 4) for k in range(20)], dtype=tf.int64)
CROSS_ENTROPY = K.losses.SparseCategoricalCrossentropy(from_logits=True)


class Column:
    """A column of a table, as pandas has it."""

    def __init__(self, values):
        self.values = values

    def to_numpy(self):
        return self.values


class Batches(K.utils.Sequence):
    """Batches of 4, made by a function of a slice."""

    def __init__(self, make, length=5):
        self.make, self.length = make, length

    def __len__(self):
        """Counts the batches."""
        return self.length

    def __getitem__(self, i):
        """Gives batch i."""
        return self.make(slice(4 * i, 4 * i + 4))


def generator(make):
    return (make(slice(4 * i, 4 * i + 4)) for i in itertools.cycle(range(5)))


def network(kind):
    """A network of one kind, built alike each time."""
    K.utils.set_random_seed(1)
    first = K.Input([1 if kind == "one feature" else 4], sparse=kind == "sparse", name="p")
    second = K.Input([4], name="q")
    if kind == "two inputs":
        return K.Model([first, second], L.Dense(2)(L.Concatenate()([first, second])))
    if kind == "two outputs":
        return K.Model(first, {name: L.Dense(2, name=name)(first) for name in "ab"})
    if kind == "list of outputs":
        return K.Model(first, [L.Dense(2, name=name)(first) for name in "ab"])
    if kind == "images":
        return K.Model(first, L.Reshape([2, 2, 2])(L.Dense(8)(first)))
    if kind == "ragged":
        words = K.Input([None], ragged=True, dtype="int64")
        mean = L.Lambda(lambda part: tf.reduce_mean(part, 1))(L.Embedding(10, 3)(words))
        return K.Model(words, L.Dense(2)(mean))
    if kind == "words":
        words = K.Input([1], dtype="string")
        lookup = L.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")
        return K.Model(words, L.Dense(2)(lookup(words)))
    return K.Model(first, L.Dense(2)(L.Dense(1)(first) if kind == "one feature" else first))


@functools.cache
def pair(kind, loss):
    """A network in plain Keras, which runs eagerly, and in tflbt, and the weights they begin with."""
    models = network(kind), LargeBatchModel.from_model(network(kind))
    for model in models:
        model.compile("sgd", loss, run_eagerly=model is models[0])
    return *models, models[0].get_weights()


def classes(**data):
    return {"class_weight": {0: 2.0, 1: 1.0}, "batch_size": 4, "loss": CROSS_ENTROPY, **data}


WORDS = np.array(["a", "b"] * 10)[:, None]
FORMS = {
    "lists": ("dense", lambda: {"x": X.tolist(), "y": Y.tolist()}),
    "tensors": ("dense", lambda: {"x": tf.constant(X), "y": tf.constant(Y)}),
    "variable": ("dense", lambda: {"x": tf.Variable(X), "y": Y}),
    "float64": ("dense", lambda: {"x": X.astype(float), "y": Y.astype(float)}),
    "bytes": ("dense", lambda: {"x": (9 * X).astype("uint8"), "y": Y > 0}),
    "list of arrays": ("two inputs", lambda: {"x": [X, X], "y": Y}),
    "dictionaries": (
        "two outputs",
        lambda: {"x": X, "y": {"a": Y, "b": X[:, 2:]}, "sample_weight": {"a": W, "b": W * W}},
    ),
    "weights of one output": (
        "list of outputs",
        lambda: {"x": X, "y": [Y, Y], "sample_weight": [W, None]},
    ),
    "no weights at all": (
        "list of outputs",
        lambda: {"x": X, "y": [Y, Y], "sample_weight": [None, None]},
    ),
    "weights of one output, validated": (
        "list of outputs",
        lambda: {"x": X, "y": [Y, Y], "validation_data": (X, [Y, Y], [None, W])},
    ),
    "weights of one output, split": (
        "list of outputs",
        lambda: {"x": X, "y": [Y, Y], "sample_weight": [W, None], "validation_split": 0.2},
    ),
    "words": ("words", lambda: {"x": WORDS, "y": Y}),
    "words as objects": ("words", lambda: {"x": WORDS.astype(object), "y": Y}),
    "scipy": ("sparse", lambda: {"x": SCIPY, "y": Y, "validation_data": (SCIPY.tocoo(), Y)}),
    "sparse": ("sparse", lambda: {"x": SPARSE, "y": Y, "sample_weight": W}),
    "sparse among dense": ("two inputs", lambda: {"x": [SCIPY, X], "y": Y}),
    "sparse from a sequence": (
        "sparse",
        lambda: {"x": Batches(lambda s: (tf.sparse.from_dense(X[s]), Y[s]))},
    ),
    "ragged": ("ragged", lambda: {"x": RAGGED, "y": Y}),
    "ragged data set": ("ragged", lambda: {"x": Dataset.from_tensor_slices((RAGGED, Y)).batch(4)}),
    "ragged from a sequence": ("ragged", lambda: {"x": Batches(lambda s: (RAGGED[s], Y[s]))}),
    "class weights of labels": ("dense", lambda: classes(x=X, y=LABELS)),
    "class weights of a column": ("dense too", lambda: classes(x=X, y=LABELS[:, None])),
    "class weights of one-hot": ("dense", lambda: classes(x=X, y=np.eye(2)[LABELS], loss="mse")),
    "class and sample weights": ("dense", lambda: classes(x=X, y=LABELS, sample_weight=W)),
    "both weights of images": ("images", lambda: classes(x=X, y=IMAGES, sample_weight=W)),
    "class weights and a sequence": (
        "dense",
        lambda: classes(x=Batches(lambda s: (X[s], LABELS[s])), batch_size=None),
    ),
    "lists from a sequence": ("dense", lambda: {"x": Batches(lambda s: [X[s], Y[s], W[s]])}),
    "one feature from a sequence": (
        "one feature",
        lambda: {"x": Batches(lambda s: (X[s, :1], Y[s]))},
    ),
    "lists of one feature from a generator": (
        "one feature",
        lambda: {"x": generator(lambda s: [X[s, :1], Y[s]]), "steps_per_epoch": 5},
    ),
    "None from a data set": (
        "dense",
        lambda: {"x": Dataset.from_tensor_slices((X, Y)).batch(4).map(lambda x, y: (x, y, None))},
    ),
    "validation from a sequence of lists": (
        "dense",
        lambda: {"x": X, "y": Y, "validation_data": Batches(lambda s: [X[s], Y[s]])},
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_form_trains_as_in_keras(form):
    kind, make = FORMS[form]
    histories = []
    data = make()
    plain, ours, weights = pair(kind, data.pop("loss", "mse"))
    for model in (plain, ours):
        data = {"batch_size": 4 if forms.is_arrays(make()["x"]) else None, **make()}
        data.pop("loss", None)
        model.set_weights(weights)
        histories.append(model.fit(**data, shuffle=False, verbose=0).history)
    assert ours.batch_size == 4
    for found, wanted in zip(ours.get_weights(), plain.get_weights()):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)
    assert histories[0].keys() == histories[1].keys()
    for name, values in histories[0].items():
        np.testing.assert_allclose(histories[1][name], values, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("form", ["arrays", "data set", "tuple"])
def test_evaluation_takes_the_same_forms(form):
    plain, ours, weights = pair("list of outputs", "mse")
    for model in (plain, ours):
        model.set_weights(weights)
    arrays = {"x": X, "y": [Y, Y], "sample_weight": [W, None]}
    batches = Dataset.from_tensor_slices((X, (Y, Y), (W, np.ones_like(W)))).batch(8)
    cases = {
        "arrays": arrays,
        "data set": {"x": batches},
        "tuple": {"x": batches.map(lambda *parts: (*parts[:2], None))},
    }
    wanted, found = (model.evaluate(**cases[form], verbose=0) for model in (plain, ours))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


SAMPLES = Dataset.from_tensor_slices((X, Y))
REFUSED = {
    "no targets": ({"x": X}, "Target data is missing.* as y"),
    "no targets in a data set": ({"x": SAMPLES.batch(4).map(lambda x, y: x)}, "x has none"),
    "no targets in a sequence": ({"x": Batches(lambda s: (X[s],))}, "x has none"),
    "no validation targets": (
        {"x": X, "y": Y, "validation_data": (X,)},
        "validation_data has none",
    ),
    "validation inputs alone": ({"x": X, "y": Y, "validation_data": X}, "validation_data has none"),
    "four parts": ({"x": X, "y": Y, "validation_data": (X, Y, W, W)}, "expected to be in format"),
    "batches of four parts": ({"x": Batches(lambda s: (X, Y, W, W))}, "expected to be in format"),
    "lengths": ({"x": X, "y": Y[:3]}, "ambiguous.*x: 20; y: 3"),
    "validation lengths": ({"x": X, "y": Y, "validation_data": (X, Y[:3])}, "x: 20; y: 3"),
    "lengths of weights": ({"x": X, "y": Y, "sample_weight": W[:3]}, "sample_weight: 3"),
    "no samples": ({"x": X[:0], "y": Y[:0]}, "non-empty"),
    "no batches": ({"x": SAMPLES.batch(4).take(0)}, "non-empty"),
    "empty sequence": ({"x": Batches(None, 0)}, "non-empty.*x has no batch"),
    "empty generator": ({"x": iter([])}, "non-empty"),
    "a number as y": ({"x": X, "y": 3.0}, "y has None or a single number"),
    "None in y": ({"x": X, "y": [Y, None]}, "y has None or a single number"),
    "objects": ({"x": X.astype(object), "y": Y}, r"x is an array of Python objects \(float\)"),
    "uneven rows": ({"x": [[1.0], [2.0, 3.0]], "y": Y}, r"tf.ragged.constant\(x\)"),
    "sparse targets": ({"x": X, "y": scipy.sparse.csr_matrix(Y)}, "y is sparse"),
    "a function": ({"x": lambda: (X, Y)}, "x is a function.*what the function returns"),
    "nothing": ({}, "x is a NoneType"),
    "a word": ({"x": "x", "y": Y}, "x is a str"),
    "a word to validate on": ({"x": X, "y": Y, "validation_data": "x"}, "validation_data is a str"),
    "numbers in batches": ({"x": Batches(lambda s: (X[s].tolist(), Y[s]))}, "x yields float"),
    "scipy in batches": ({"x": Batches(lambda s: (SCIPY[s], Y[s]))}, "x yields scipy.sparse"),
    "single numbers": ({"x": Dataset.from_tensor_slices((X[:, 0], W))}, r"with .batch\(n\)"),
    "split of a data set": (
        {"x": SAMPLES.batch(4), "validation_split": 0.25},
        "`validation_split`",
    ),
    "split of a sequence": (
        {"x": Batches(lambda s: (X[s], Y[s])), "validation_split": 0.25},
        "`validation_split`.*Batches",
    ),
    "split of sparse": ({"x": SCIPY, "y": Y, "validation_split": 0.25}, "csr_matrix"),
    "class weights of two outputs": (classes(x=X, y=[Y, Y]), "single output"),
    "class weights without y": (classes(x=X), "single output"),
    "class weights with gaps": (
        {"x": X, "y": LABELS, "class_weight": {1: 2.0}},
        "keys from 0 to one less",
    ),
    "two weights in a sequence": (
        classes(x=Batches(lambda s: (X[s], LABELS[s], W[s]))),
        "multiply them there",
    ),
    "transform of sparse": ({"x": SCIPY, "y": Y, "transform": lambda x, s: x}, "transform needs"),
    "shard of arrays": ({"x": X, "y": Y, "shard": "yes"}, "shard='yes' must be"),
}


@pytest.mark.parametrize("form", REFUSED)
def test_other_forms_are_refused_by_name(form):
    data, message = REFUSED[form]
    model = pair("dense", "mse")[1]
    with pytest.raises(ValueError, match=message):
        model.fit(**{name: value for name, value in data.items() if name != "loss"}, verbose=0)


def test_a_column_of_a_table_is_a_column():
    assert forms.as_arrays(Column(np.arange(3))).shape == (3, 1)
    assert forms.as_arrays(Column(np.ones([3, 2]))).shape == (3, 2)


def test_arrays_are_told_from_what_yields_batches():
    assert all(map(forms.is_arrays, (X, [X, X], {"a": X}, tf.constant(X), [[1.0]], SCIPY, RAGGED)))
    others = (Batches(None), iter([X]), SAMPLES, len, None)
    assert not any(map(forms.is_arrays, others))
