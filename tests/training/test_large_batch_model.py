"""Every kind of Keras model becomes one; what cannot be is refused; the batch size may change on the way."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tflbt.training import LargeBatchModel

K = tf.keras


class Direct(LargeBatchModel):
    """A subclass with its own `call` and `compute_loss`; Keras's `Plain` below is its twin."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden, self.top = K.layers.Dense(4, "tanh"), K.layers.Dense(2)

    def call(self, inputs, training=False):
        return self.top(self.hidden(inputs))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        return 2.0 * super().compute_loss(x, y, y_pred, sample_weight)


class Plain(K.Model):
    call = Direct.call

    def __init__(self):
        super().__init__()
        self.hidden, self.top = K.layers.Dense(4, "tanh"), K.layers.Dense(2)


class FromInputs(LargeBatchModel):
    """A subclass that hands inputs and outputs to its base."""

    def __init__(self, **kwargs):
        inputs = K.Input([5])
        super().__init__(inputs, K.layers.Dense(2)(K.layers.Dense(4, "tanh")(inputs)), **kwargs)


class Named(K.Model):
    """Takes a dictionary of features and words."""

    def __init__(self):
        super().__init__()
        self.embedding, self.top = K.layers.Embedding(9, 4), K.layers.Dense(2)

    def call(self, inputs):
        return self.top(tf.reduce_mean(self.embedding(inputs["words"]), 1) + inputs["features"])


class OwnBuild(K.Model):
    """A `build` that keeps the shape to itself."""

    def build(self, shape):
        self.kernel = self.add_weight("kernel", [shape[-1], 2])
        self.built = True

    def call(self, inputs):
        return inputs @ self.kernel


def chain(name: str):
    layers = [K.layers.Dense(4, "tanh"), K.layers.Dense(2)]
    return K.Sequential(layers if name == "deferred" else [K.Input([5]), *layers])


def built(model, x):
    model(x)
    return model


def built_for(model, shapes):
    model.build(shapes)
    return model


KINDS = {
    "direct": lambda x: Direct(),
    "direct, named": lambda x: Direct(name="mine"),
    "inputs given": lambda x: FromInputs(),
    "direct, after one with inputs": lambda x: (FromInputs(), Direct())[1],
    "from a subclass": lambda x: LargeBatchModel.from_model(built(Plain(), x[:1])),
    "from a subclass built for a shape": lambda x: LargeBatchModel.from_model(
        built_for(Plain(), (None, 5))
    ),
    "from a sequence": lambda x: LargeBatchModel.from_model(chain("with an input")),
    "from a deferred sequence": lambda x: LargeBatchModel.from_model(
        built(chain("deferred"), x[:1])
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_trains_like_keras(kind, samples, same):
    x, y = samples
    plain = built(chain("deferred"), x)
    model = KINDS[kind](x)
    assert isinstance(model, LargeBatchModel) and isinstance(model, K.Model)
    built(model, x[:1]).set_weights(plain.get_weights())
    doubled = isinstance(model, Direct)
    plain.compile(K.optimizers.SGD(0.2 if doubled else 0.1), "mse", run_eagerly=True)
    model.compile(K.optimizers.SGD(0.1), "mse")
    for each, more in ((plain, {}), (model, {"sub_batch_size": 4})):
        each.fit(x, y, batch_size=16, shuffle=False, verbose=0, **more)
    same(model.get_weights(), plain.get_weights())
    same([model.predict(x, verbose=0)], [plain.predict(x, verbose=0)])


def test_a_model_built_for_several_shapes_takes_whole_numbers(samples, same):
    x, y = samples
    inputs = {"words": np.arange(120).reshape(30, 4) % 9, "features": x[:, :4]}
    plain = built_for(Named(), {"words": (None, 4), "features": (None, 4)})
    model = LargeBatchModel.from_model(plain)
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(inputs, y, batch_size=16, sub_batch_size=4, verbose=0)
    assert len(before) == 3 and not np.array_equal(before[0], model.get_weights()[0])
    same([model.predict(inputs, verbose=0)], [plain(inputs)])
    assert LargeBatchModel.from_model(model) is model


def test_an_unbuilt_subclass_is_built_by_its_first_data(samples):
    model = Direct()
    model.compile("adam", "mse", ["mae"])
    model.fit(*samples, batch_size=16, sub_batch_size=4, verbose=0)
    assert int(model.optimizer.iterations) == 2 and len(model.optimizer.variables) == 1 + 2 * 4


def test_the_model_shares_layers_and_weights_with_the_one_it_is_made_from(network):
    plain = network()
    model = LargeBatchModel.from_model(plain)
    assert [id(layer) for layer in model.layers] == [id(layer) for layer in plain.layers]
    model.layers[-1].bias.assign([3.0, 4.0])
    assert plain.get_weights()[-1].tolist() == [3.0, 4.0]


class Stepping(K.Model):
    def train_step(self, data):
        return {}


class LargeStepping(LargeBatchModel):
    train_step = Stepping.train_step


def summing(model):
    model.compile("sgd", K.losses.MeanSquaredError(reduction="sum"))


def in_scope(model):
    with tf.distribute.OneDeviceStrategy("cpu:0").scope():
        model.compile("sgd", "mse")


def made_in_scope(model):
    with tf.distribute.OneDeviceStrategy("cpu:0").scope():
        inputs = K.Input([5])
        model = LargeBatchModel(inputs, K.layers.Dense(2)(inputs))
    model.compile("sgd", "mse")


def assign_before_fit(model):
    model.batch_size = 8


REFUSED = {
    "steps_per_execution=4": lambda m: m.compile("sgd", "mse", steps_per_execution=4),
    "steps_per_execution='auto'": lambda m: m.compile("sgd", "mse", steps_per_execution="auto"),
    "reduction='sum'": summing,
    "Stepping has a train_step": lambda m: LargeBatchModel.from_model(Stepping()),
    "LargeStepping overrides train_step": lambda m: LargeStepping().compile("sgd", "mse"),
    "is not built": lambda m: LargeBatchModel.from_model(Plain()),
    "sequential.* is not built": lambda m: LargeBatchModel.from_model(chain("deferred")),
    "own_build.* has a build of its own": lambda m: LargeBatchModel.from_model(
        built_for(OwnBuild(), (None, 5))
    ),
    "strategy is active": in_scope,
    "when the model was made": made_in_scope,
    "batch_size=8 was assigned before fit": assign_before_fit,
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_is_refused(message, network):
    with pytest.raises(ValueError, match=message):
        REFUSED[message](LargeBatchModel.from_model(network()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 10, "sub_batch_size": 4}, "batch_size=10 .* use 8 or 12"),
        ({"batch_size": 3, "sub_batch_size": 4}, "batch_size=3 .* use 4"),
        ({"batch_size": 0}, "batch_size=0 must be a whole number, at least 1"),
        ({"batch_size": 8, "sub_batch_size": 2.5}, "sub_batch_size=2.5 must be"),
        ({"batch_size": 8, "steps_per_epoch": 2}, "steps_per_epoch=2 cannot be given with arrays"),
        ({"batch_size": 8, "validation_split": 1.0}, "validation_split=1.0 of 30 samples"),
        ({"batch_size": 8, "stall_limit": -1}, "stall_limit=-1 must be a number of seconds"),
    ],
)
def test_arguments_of_fit_that_cannot_be(arguments, message, samples, network):
    model = LargeBatchModel.from_model(network())
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=message):
        model.fit(*samples, verbose=0, **arguments)


def test_batch_size_assigned_in_callbacks_traces_nothing_and_updates_right(samples, network, same):
    x, y = samples
    model, plain = LargeBatchModel.from_model(network()), network()
    for each in (model, plain):
        each.compile(K.optimizers.SGD(0.1, momentum=0.9), "mse", run_eagerly=each is plain)
    sizes = [8, 16, 28, 4]
    for size in sizes:
        plain.fit(x, y, batch_size=size, shuffle=False, verbose=0)

    class Grow(K.callbacks.Callback):
        traces: list[int] = []
        iterations: list[int] = []

        def on_epoch_end(self, epoch, logs=None):
            self.traces.append(self.model.train_tf_function.experimental_get_tracing_count())
            self.iterations.append(int(self.model.optimizer.iterations))
            if epoch < 2:
                self.model.batch_size = sizes[epoch + 1]

        def on_train_batch_end(self, batch, logs=None):
            # In the last, partial update of the third epoch, after which Keras restores what was before.
            if self.iterations == [4, 6] and batch == 7:
                self.model.batch_size = sizes[3]

    model.fit(
        x, y, batch_size=8, sub_batch_size=4, epochs=4, shuffle=False, verbose=0, callbacks=Grow()
    )
    assert Grow.traces == [1] * 4
    assert Grow.iterations == [4, 6, 8, 16]
    assert model.batch_size == 4
    same(model.get_weights(), plain.get_weights())
    with pytest.raises(ValueError, match="batch_size=10 .* use 8 or 12"):
        model.batch_size = 10


def test_fit_twice_goes_on_and_retraces_nothing(samples, network):
    model = LargeBatchModel.from_model(network())
    model.compile("sgd", "mse")
    for epochs, batch_size in ((1, 8), (2, 30), (1, None)):
        model.fit(*samples, batch_size=batch_size, sub_batch_size=2, epochs=epochs, verbose=0)
    assert model.train_tf_function.experimental_get_tracing_count() == 1
    assert int(model.optimizer.iterations) == 4 + 2 + 15
    assert model.samples_seen == 4 * 30


def test_a_batch_larger_than_the_data_is_one_update(samples, network):
    model = LargeBatchModel.from_model(network())
    model.compile("sgd", "mse")
    history = model.fit(*samples, batch_size=64, sub_batch_size=4, epochs=3, verbose=0)
    assert int(model.optimizer.iterations) == 3 and model.batch_size == 64
    assert np.isfinite(history.history["loss"]).all()


# What LargeBatchModel has beyond a Keras model: a class derived from it cannot use these names for itself.
PUBLIC = {
    *("adversarial", "adversarial_share", "batch_augmentation", "batch_plan", "batch_size"),
    *("from_model", "reduction", "restore_rules", "rules", "samples_seen", "small_loss"),
    *("sub_batches_variable", "to_keras", "update_state"),
}
# Names of ours inside, before they had a prefix, and others that a user's class is likely to have.
FREE = (
    *("_plan", "_rules", "_reduction", "_update_state", "_take_plan", "_start", "_state", "_data"),
    *("plan", "sub_batch_size", "tail", "seed", "transform", "shard", "progress", "nominal"),
)


class Busy(Direct):
    """Uses all free names for layers, so that Keras tracks them too."""

    def __init__(self):
        super().__init__()
        for name in FREE:
            setattr(self, name, K.layers.Dense(5))

    def call(self, inputs, training=False):
        for name in FREE[:2]:
            inputs = getattr(self, name)(inputs)
        return super().call(inputs, training)


def test_the_names_that_a_derived_class_must_not_use(samples):
    ours = {name for name in dir(LargeBatchModel) if not hasattr(K.Model, name)}
    assert ours - {"__annotations__", "train_function", "test_function"} == PUBLIC
    pairs = ((K.Model, "Plain"), (LargeBatchModel, "Large"))
    plain, large = (type(name, (base,), {"call": Direct.call})() for base, name in pairs)
    added = vars(large).keys() - vars(plain).keys()
    assert added and all(name.startswith("_tflbt_") for name in added)

    model = Busy()
    model.compile("sgd", "mse")
    model.fit(*samples, batch_size=16, sub_batch_size=4, verbose=0)
    assert all(isinstance(getattr(model, name), K.layers.Dense) for name in FREE)
    settable = {"adversarial_share", "batch_size", "samples_seen"}
    for name in PUBLIC - {"from_model", "restore_rules", "to_keras"} - settable:
        with pytest.raises(AttributeError, match=f"Can't set the attribute .{name}."):
            setattr(model, name, K.layers.Dense(5))
