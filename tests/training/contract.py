"""The contract with Keras in one table: forms of models, forms of data, and what plain Keras makes of each pair.

`MODELS` and `DATA` name the rows and the columns; `Twins` trains a row's model as plain Keras by whole batches and as a
LargeBatchModel by sub-batches. Both are compiled once and trained with every form of data from the same weights. The
tests of the table are test_contract.py, on one rank, and ranks/test_training_contract.py, on two: every time those
pairs that differ in what they show, and with `tests/run.sh -m slow -k every_model_with` the others too. Every form of
data meets each structure of samples (one array, several inputs, several outputs); of the other forms of models each is
traced once on one rank and once on two, here with weights of samples and there without, or inversely.

What equals what. An update's gradient, the loss, the metrics, `evaluate` and `predict` are those of plain Keras on the
same global batches, to float32's rounding. Two things see sub-batches by design, so that their rows say when they are
equal: BatchNormalization takes the statistics of a sub-batch (equal where an update is a single sub-batch, or where
the layer is frozen), and the loss of a sequence with a mask is Keras's mean over the positions of a sub-batch that the
mask leaves (equal where every sample has as many of them).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tflbt.training import LargeBatchModel

K, L = tf.keras, tf.keras.layers
# Two updates an epoch, of 8 and 7 samples; the last sub-batch has a single sample.
SAMPLES, BATCH, SUB_BATCH, EPOCHS = 15, 8, 2, 2
RNG = np.random.default_rng(0)
FEATURES = RNG.standard_normal((SAMPLES, 5)).astype("float32")
MORE = RNG.standard_normal((SAMPLES, 3)).astype("float32")
CLASSES = RNG.integers(0, 3, SAMPLES)
TARGETS = RNG.standard_normal((SAMPLES, 2)).astype("float32")
WORDS = RNG.integers(1, 9, (SAMPLES, 4))
PADDED = np.where(np.arange(4) < RNG.integers(1, 5, (SAMPLES, 1)), WORDS, 0)
EQUALLY_PADDED = np.where(np.arange(4) < 3, WORDS, 0)
TAGS = RNG.integers(0, 3, (SAMPLES, 4))
WEIGHT = RNG.uniform(0.5, 2.0, SAMPLES).astype("float32")
CLASS_WEIGHT = {
    0: 0.5,
    1: 2.0,
    2: 1.0,
    3: 1.5,
    4: 0.7,
    5: 1.2,
}  # of vectors, Keras takes the largest's place


def sgd() -> Any:
    return K.optimizers.SGD(0.1, momentum=0.9)


def classification() -> dict[str, Any]:
    """Arguments of `compile` for a model with three logits."""
    return {
        "optimizer": sgd(),
        "loss": K.losses.SparseCategoricalCrossentropy(from_logits=True),
        "metrics": ["accuracy"],
        "weighted_metrics": [K.metrics.SparseCategoricalCrossentropy(name="ce", from_logits=True)],
    }


# Forms of models: functions of the class that makes them, tf.keras.Model or LargeBatchModel.
def functional(Model: type, norm: bool = False) -> K.Model:
    inputs = K.Input([5], name="features")
    hidden = L.Dense(6, "tanh", kernel_regularizer="l2")(inputs)
    hidden = L.BatchNormalization()(hidden) if norm else hidden
    return Model(inputs, L.Dense(3, dtype="float32")(hidden))


def sequential(Model: type) -> K.Model:
    layers = [K.Input([5], name="features"), L.Dense(6, "tanh"), L.Dense(3)]
    return K.Sequential(layers)


def subclassed(Model: type) -> K.Model:
    class Net(Model):
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.top = L.Dense(6, "tanh"), L.Dense(3)

        def call(self, features: tf.Tensor, training: bool = False) -> tf.Tensor:
            hidden = self.hidden(features)
            self.add_loss(1e-2 * tf.reduce_mean(hidden**2))
            return self.top(hidden)

    model = Net()
    model(FEATURES[:1])
    return model


def several_inputs(Model: type) -> K.Model:
    inputs = [K.Input([5], name="features"), K.Input([3], name="more")]
    return Model(inputs, L.Dense(3)(L.Dense(6, "tanh")(L.Concatenate()(inputs))))


def several_outputs(Model: type) -> K.Model:
    inputs = K.Input([5], name="features")
    hidden = L.Dense(6, "tanh")(inputs)
    return Model(inputs, [L.Dense(3, name="kind")(hidden), L.Dense(2, name="place")(hidden)])


def of_several_outputs() -> dict[str, Any]:
    return {
        "optimizer": sgd(),
        "loss": {"kind": K.losses.SparseCategoricalCrossentropy(from_logits=True), "place": "mse"},
        "loss_weights": {"kind": 0.5, "place": 2.0},
        "metrics": {"kind": ["accuracy"], "place": ["mae"]},
    }


def transformer(Model: type) -> K.Model:
    words = K.Input([4], name="words")
    embedded = L.Embedding(9, 4)(words)
    attended = L.MultiHeadAttention(2, 2)(embedded, embedded)
    hidden = L.LayerNormalization()(embedded + attended)
    return Model(words, L.Dense(3)(L.GlobalAveragePooling1D()(hidden)))


def lstm(Model: type) -> K.Model:
    words = K.Input([4], name="words")
    return Model(words, L.Dense(3)(L.LSTM(4)(L.Embedding(9, 4, mask_zero=True)(words))))


def tagger(Model: type) -> K.Model:
    words = K.Input([4], name="words")
    states = L.SimpleRNN(4, return_sequences=True)(L.Embedding(9, 4, mask_zero=True)(words))
    return Model(words, L.Dense(3)(states))


def variational(Model: type) -> K.Model:
    inputs = K.Input([5], name="features")
    mean, log_variance = L.Dense(2)(inputs), L.Dense(2)(inputs)
    model = Model(inputs, L.Dense(5)(mean + 0.5 * tf.exp(log_variance / 2)))
    divergence = tf.reduce_sum(mean**2 + tf.exp(log_variance) - 1.0 - log_variance, 1) / 2
    model.add_loss(tf.reduce_mean(divergence))
    model.add_metric(divergence, name="divergence")
    return model


def transferred(Model: type) -> K.Model:
    body = K.Sequential([K.Input([5]), L.Dense(6), L.BatchNormalization(), L.ReLU()], name="body")
    body.trainable = False
    inputs = K.Input([5], name="features")
    return Model(inputs, L.Dense(3)(body(inputs, training=False)))


def of_policy(policy: str) -> Callable[[type], K.Model]:
    def mixed(Model: type) -> K.Model:
        K.mixed_precision.set_global_policy(policy)
        return functional(Model)

    return mixed


def scaled() -> dict[str, Any]:
    return {**classification(), "optimizer": K.mixed_precision.LossScaleOptimizer(sgd())}


def reconstruction() -> dict[str, Any]:
    return {"optimizer": sgd(), "loss": "mse"}


@dataclasses.dataclass(frozen=True)
class Form:
    """A form of model, with the samples that it is trained on."""

    build: Callable[[type], K.Model]
    compile: Callable[[], dict[str, Any]] = classification
    x: Any = dataclasses.field(default_factory=lambda: FEATURES)
    y: Any = dataclasses.field(default_factory=lambda: CLASSES)
    from_model: bool = False  # whether it is made of a plain model; else of LargeBatchModel itself
    sub_batch_size: int = SUB_BATCH
    # The largest difference of weights, as a share of their largest change, and of outputs. Gradients in 16 bits are
    # rounded once per sub-batch, by half of the last bit's 2^-10 (float16) or 2^-7 (bfloat16), which may add up.
    rounding: float = 0.0
    # By a part of the name of a form of data: words of the ValueError with which Keras and tflbt refuse the pair.
    refused: dict[str, str] = dataclasses.field(default_factory=dict)
    special: bool = False  # has all columns daily: another structure of samples
    vectors: bool = (
        False  # has the column of class weights daily: its classes are vectors' largest places
    )
    # Which of the columns on two ranks daily: those with weights, or those without, so that there is one trace; None:
    # none, because another row has the same graph (of LSTMs that of tags, whose mask reaches the loss, for a quarter of
    # the time). On one rank the row has the other ones.
    weighs_on_ranks: bool | None = None

    by_whole_batches: bool = False  # equal only where one rank takes the batch at once
    names_inputs: bool = True

    def takes(self, data: Data, ranks: int) -> bool:
        """Whether the table has a pair."""
        return not (ranks > 1 and self.by_whole_batches) and (self.names_inputs or not data.named)

    def takes_daily(self, data: Data, ranks: int) -> bool:
        """Whether a pair is among those that are tested every time; the others are marked as slow."""
        if ranks > 1:
            of_rank = data.ranks and (self.special or data.daily)
            return of_rank and data.weighs == self.weighs_on_ranks
        by_class = self.vectors and data.by_class
        return (
            self.special or by_class or (data.daily and data.weighs != bool(self.weighs_on_ranks))
        )


OF_ONE = {"class ": "class_weight` is only supported for Models with a single output"}
MODELS = {
    "functional": Form(functional, special=True, weighs_on_ranks=False),
    "functional, from_model": Form(functional, from_model=True),
    "sequential, from_model": Form(sequential, from_model=True),
    "subclassed": Form(subclassed, weighs_on_ranks=True, names_inputs=False),
    "subclassed, from_model": Form(subclassed, from_model=True, names_inputs=False),
    "several inputs": Form(several_inputs, x=(FEATURES, MORE), special=True, weighs_on_ranks=True),
    "several outputs": Form(
        several_outputs,
        of_several_outputs,
        y=(CLASSES, TARGETS),
        refused=OF_ONE,
        special=True,
        weighs_on_ranks=False,
    ),
    "transformer": Form(transformer, x=WORDS, weighs_on_ranks=True),
    "LSTM with a mask": Form(lstm, x=PADDED),
    "a tag for each word": Form(tagger, x=EQUALLY_PADDED, y=TAGS, weighs_on_ranks=False),
    "VAE": Form(variational, reconstruction, y=FEATURES, vectors=True, weighs_on_ranks=False),
    "VAE, from_model": Form(variational, reconstruction, y=FEATURES, from_model=True),
    "frozen body, from_model": Form(transferred, from_model=True, weighs_on_ranks=True),
    "batch norm": Form(
        functools.partial(functional, norm=True), sub_batch_size=8, by_whole_batches=True
    ),
    "mixed_float16": Form(
        of_policy("mixed_float16"), scaled, rounding=2.0**-9, weighs_on_ranks=False
    ),
    "mixed_bfloat16": Form(of_policy("mixed_bfloat16"), rounding=2.0**-6),
}


def cut(samples: Any, start: int, end: int) -> Any:
    """Some of the samples."""
    return tf.nest.map_structure(lambda array: array[start:end], samples)


# Forms of data: functions of the samples, (x, y, weight), and of this rank's batches of them.
def whole(samples: Any, batches: Any) -> dict[str, Any]:
    return dict(zip(("x", "y", "sample_weight"), samples))


def tensors(samples: Any, batches: Any) -> dict[str, Any]:
    return whole(tf.nest.map_structure(tf.constant, samples), batches)


def dataset(samples: Any, batches: Any) -> dict[str, Any]:
    """Batches of a static number of samples where all are equal."""
    whole_ones = len({len(tf.nest.flatten(batch)[0]) for batch in batches}) == 1
    rows = tf.nest.map_structure(lambda *parts: np.concatenate(parts), *batches)
    size = len(tf.nest.flatten(batches[0])[0])
    return {"x": tf.data.Dataset.from_tensor_slices(rows).batch(size, drop_remainder=whole_ones)}


def unknown(samples: Any, batches: Any) -> dict[str, Any]:
    """Batches of which nothing but their rank is known, nor how many there are."""
    spec = tf.nest.map_structure(lambda a: tf.TensorSpec([None, *a.shape[1:]], a.dtype), batches[0])
    return {"x": tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=spec)}


class Sequence(K.utils.Sequence):
    """Batches by their number."""

    def __init__(self, batches: Any) -> None:
        self.batches = batches

    def __len__(self) -> int:
        """The number of batches."""
        return len(self.batches)

    def __getitem__(self, index: int) -> Any:
        """A batch."""
        return self.batches[index]


def sequence(samples: Any, batches: Any) -> dict[str, Any]:
    return {"x": Sequence(batches)}


def generator(samples: Any, batches: Any) -> dict[str, Any]:
    def endless() -> Iterator[Any]:
        while True:
            yield from batches

    return {"x": endless(), "steps": len(batches)}


@dataclasses.dataclass(frozen=True)
class Data:
    """A form of data, and which samples it is of."""

    make: Callable[[Any, Any], dict[str, Any]]
    samples: int = SAMPLES
    weighted: bool = False
    fit: dict[str, Any] = dataclasses.field(default_factory=dict)  # further arguments
    named: bool = False  # inputs and outputs as dictionaries
    daily: bool = False  # a column of all rows: it says something of the model
    ranks: bool = False  # a column on two ranks too
    by_class: bool = False  # the column of rows whose classes are vectors

    @property
    def kind(self) -> tuple[Any, ...]:
        """What plain Keras's result depends on."""
        return self.samples, self.weighted, tuple(self.fit)

    @property
    def weighs(self) -> bool:
        """Whether sub-batches come with weights."""
        return self.weighted or bool(self.fit)


BY_CLASS = {"class_weight": CLASS_WEIGHT}
# Batches of a Sequence have no static shapes: theirs come first, with and without weights, and the others use their
# traces, so that there are two for each row, and further ones for dictionaries.
DATA = {
    "Sequence": Data(sequence, daily=True),
    "tf.data, unknown size": Data(unknown, ranks=True),
    "arrays": Data(whole, daily=True, ranks=True),
    "tensors": Data(tensors),
    "generator": Data(generator),
    "tf.data": Data(dataset, ranks=True),
    "tf.data, whole batches": Data(dataset, samples=BATCH),
    "Sequence, sample weights": Data(sequence, weighted=True, daily=True, ranks=True),
    "generator, sample weights": Data(generator, weighted=True),
    "sample weights": Data(whole, weighted=True, ranks=True),
    "tf.data, sample weights": Data(dataset, weighted=True),
    # They are weights of samples before a model sees them: daily for each structure of samples and of classes.
    "class weights": Data(whole, fit=BY_CLASS, by_class=True),
    "tf.data, class weights": Data(dataset, fit=BY_CLASS, ranks=True),
    # Keras takes both only where the batches divide.
    "class and sample weights": Data(whole, weighted=True, fit=BY_CLASS, samples=BATCH),
    "dictionaries": Data(whole, named=True),
    "tf.data, dictionaries": Data(dataset, named=True),
}


# Pairs that fail, by the beginnings of their names, with the reason: nothing here is meant to stay.
FAULTS: dict[tuple[str, str], str] = {}


def pairs(ranks: int) -> list[Any]:
    """The table's pairs of names for a number of ranks, as parameters of a test."""
    table = [
        (row, column)
        for row, form in MODELS.items()
        for column, data in DATA.items()
        if form.takes(data, ranks)
    ]
    return [pytest.param(*pair, marks=marks(*pair, ranks)) for pair in table]


def marks(row: str, column: str, ranks: int) -> list[Any]:
    """Says of a pair that it is slow, or that it fails, if so."""
    if not MODELS[row].takes_daily(DATA[column], ranks):
        return [pytest.mark.slow]
    if any(part in column for part in MODELS[row].refused):
        return []
    reasons = [
        reason
        for (model, data), reason in FAULTS.items()
        if row.startswith(model) and column.startswith(data)
    ]
    return [pytest.mark.xfail(reason=reason, strict=True) for reason in reasons[:1]]


@functools.lru_cache(maxsize=1)
def plain(build: Callable[[type], K.Model], compile: Callable[[], dict[str, Any]]) -> Any:
    """A plain model and its results by the kind of data, kept for the rows that share it."""
    K.utils.set_random_seed(1)
    model = build(K.Model)
    # Eagerly: nothing is traced for it.
    model.compile(**compile(), run_eagerly=True)
    return model, {}


class Twins:
    """A form of model as plain Keras and as a LargeBatchModel, which start every training from the same weights."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.plain, self.results = plain(form.build, form.compile)
        K.utils.set_random_seed(1)
        if form.from_model:
            self.large = LargeBatchModel.from_model(form.build(K.Model))
        else:
            self.large = form.build(LargeBatchModel)
        self.large.compile(**form.compile())
        K.mixed_precision.set_global_policy("float32")
        self.start = self.large.get_weights()

    def samples(self, model: K.Model, data: Data) -> Any:
        """The tuple (x, y) or (x, y, weight), in the form in which `model` takes them."""
        parts = [self.form.x, self.form.y]
        if data.named:
            names = [self.plain.input_names, model.output_names]
            parts = [dict(zip(*pair)) for pair in zip(names, map(tf.nest.flatten, parts))]
        if data.weighted:
            parts.append(tf.nest.map_structure(lambda _: WEIGHT, parts[1]))
        return cut(tuple(parts), 0, data.samples)

    def train(self, model: K.Model, make: Callable[[], dict[str, Any]], **fit: Any) -> Any:
        """The results of a training that starts anew."""
        model.set_weights(self.start)
        model.optimizer.build(model.trainable_variables)
        for variable in model.optimizer.variables:
            if variable.shape.rank or variable.dtype == tf.int64:  # no learning rate
                variable.assign(tf.zeros_like(variable))
        data, validation, evaluated = make(), make(), make()
        steps = data.pop("steps", None)
        validation.pop("steps", None)
        data_of_validation = tuple(validation.values()) if "y" in validation else validation["x"]
        history = model.fit(
            **data,
            **fit,
            steps_per_epoch=steps,
            validation_data=data_of_validation,
            validation_steps=steps,
            batch_size=BATCH,
            validation_freq=EPOCHS,
            epochs=EPOCHS,
            shuffle=False,
            verbose=0,
        ).history
        evaluated = model.evaluate(**evaluated, verbose=0, return_dict=True)
        predicted = model.predict(self.form.x, verbose=0)
        return model.get_weights(), history, evaluated, tf.nest.flatten(predicted)

    def wanted(self, data: Data) -> Any:
        """What plain Keras makes of the samples of data."""
        if data.kind not in self.results:
            samples = self.samples(self.plain, dataclasses.replace(data, named=False))
            result = self.train(self.plain, lambda: whole(samples, None), **data.fit)
            self.results[data.kind] = result
        return self.results[data.kind]

    def found(self, data: Data, rank: int, ranks: int) -> Any:
        """What the LargeBatchModel makes of data."""
        size, samples = self.form.sub_batch_size, self.samples(self.large, data)
        starts = range(rank * size, data.samples, ranks * size)
        batches = [cut(samples, start, start + size) for start in starts]
        make = functools.partial(data.make, samples, batches)
        return self.train(self.large, make, sub_batch_size=size, **data.fit)


@functools.lru_cache(maxsize=1)
def twins(model: str) -> Twins:
    """The twins of a row, kept for the pairs that follow."""
    return Twins(MODELS[model])


def check(model: str, data: str, rank: int = 0, ranks: int = 1) -> list[np.ndarray]:
    """Asserts that Keras and tflbt make the same of a pair, to float32's rounding, or refuse it in the same words.

    Returns the weights.
    """
    pair, form, of = twins(model), MODELS[model], DATA[data]
    if words := next((words for part, words in form.refused.items() if part in data), None):
        for make in (lambda: pair.wanted(of), lambda: pair.found(of, rank, ranks)):
            with pytest.raises(ValueError, match=words):
                make()
        return []
    wanted, found = pair.wanted(of), pair.found(of, rank, ranks)
    change = max(np.abs(a - b).max() for a, b in zip(wanted[0], pair.start))
    assert change > 1e-2
    for name, ours, theirs in zip(("weights", "history", "evaluate", "predict"), found, wanted):
        if isinstance(theirs, dict):
            assert ours.keys() == theirs.keys(), name
            ours, theirs = ([results[key] for key in theirs] for results in (ours, theirs))
        atol = 2e-6 + form.rounding * (change if name == "weights" else 1.0)
        for mine, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(mine, other, rtol=2e-5, atol=atol, err_msg=name)
    return found[0]
