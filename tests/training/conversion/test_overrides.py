"""What a class overrides is carried over by `from_model` or used in a subclass, left with a notice, or refused."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import tensorflow as tf

from tflbt import curvature
from tflbt.training import LargeBatchModel
from tflbt.training.conversion import overrides

K = tf.keras

# What from_model does with every public name that a model's class may override.
FROM_MODEL = {
    "carried over": (
        *("__call__", "activity_regularizer", "add_loss", "add_metric", "add_update", "add_variable", "add_weight"),
        *("build", "build_from_config", "call", "compute_dtype", "compute_mask", "compute_output_shape"),
        *("compute_output_signature", "dtype", "dtype_policy", "from_config", "get_build_config", "get_config"),
        *("input_spec", "load_own_variables", "name", "name_scope", "non_trainable_variables", "non_trainable_weights"),
        *("save_own_variables", "save_spec", "supports_masking", "trainable", "trainable_variables"),
        *("trainable_weights", "variable_dtype", "variables", "weights", "with_name_scope"),
    ),
    "left with a notice": (
        *("count_params", "get_input_at", "get_input_mask_at", "get_input_shape_at", "get_layer", "get_output_at"),
        *("get_output_mask_at", "get_output_shape_at", "get_weight_paths", "inbound_nodes", "input", "input_mask"),
        *("input_shape", "layers", "outbound_nodes", "output", "output_mask", "output_shape", "state_updates"),
        *("submodules", "summary", "to_json", "to_yaml", "updates"),
    ),
    "refused": (
        *("autotune_steps_per_execution", "compile", "compile_from_config", "compute_loss", "compute_metrics"),
        *("distribute_reduction_method", "distribute_strategy", "dynamic", "evaluate", "evaluate_generator", "export"),
        *("finalize_state", "fit", "fit_generator", "get_compile_config", "get_metrics_result", "get_weights"),
        *("jit_compile", "load_weights", "losses", "make_predict_function", "make_test_function"),
        *("make_train_function", "metrics", "metrics_names", "predict", "predict_generator", "predict_on_batch"),
        *("predict_step", "reset_metrics", "reset_states", "run_eagerly", "save", "save_weights", "set_weights"),
        *("stateful", "steps_per_execution", "test_on_batch", "test_step", "train_on_batch", "train_step"),
    ),
}  # fmt: skip
# What a LargeBatchModel's class may not override; all else is used.
REFUSED_IN_SUBCLASS = {
    *("train_step", "make_train_function", "make_test_function"),
    *("steps_per_execution", "autotune_steps_per_execution"),
}
REFUSED_IN_OPTIMIZER = {"compute_gradients", "minimize", "aggregate_gradients"}


def public(cls):
    return [name for name in dir(cls) if not name.startswith("_")]


def delegating(base, name, calls):
    """An override that notes that it is used, and does what the base does."""
    original = inspect.getattr_static(base, name)
    if isinstance(original, property):

        def read(self):
            calls.add(name)
            return original.fget(self)

        return property(read, original.fset)
    if isinstance(original, classmethod):
        return original

    def method(self, *args, **kwargs):
        calls.add(name)
        return original(self, *args, **kwargs)

    return method


def subclass(base, names, calls):
    """A class with a Dense layer, or an optimizer, that overrides names."""
    members = {name: delegating(base, name, calls) for name in names}
    if issubclass(base, K.Model):

        def initialise(self):
            base.__init__(self)
            self.top = K.layers.Dense(2)

        def call(self, inputs):
            calls.add("call")
            return self.top(inputs)

        members |= {"__init__": initialise, "call": call}
    return type("Own", (base,), members)


def test_every_public_name_of_keras_is_classified():
    outcomes = {name: what for what, names in FROM_MODEL.items() for name in names}
    assert outcomes.keys() == {*public(K.Model), "__call__"}, "classify what is new in Keras"
    for name, outcome in outcomes.items():
        assert overrides.is_refused(name) == (outcome == "refused")
        assert (name in overrides.LEFT_BEHIND) == (outcome == "left with a notice")


@pytest.mark.parametrize("name", [*public(K.Model), "__call__"])
def test_what_from_model_does_with_an_override(name, caplog):
    tf.keras.utils.set_random_seed(1)
    calls, x = set(), tf.ones([3, 5])
    model = subclass(K.Model, [name], calls)()
    before = model(x)
    with caplog.at_level("WARNING", logger="absl"):
        if name in FROM_MODEL["refused"]:
            with pytest.raises(
                ValueError, match=f"Own has a {name} of its own.*tflbt.LargeBatchModel"
            ):
                LargeBatchModel.from_model(model)
            return
        ours = LargeBatchModel.from_model(model)
    assert (f"Keras's {name}:" in caplog.text) == (name in FROM_MODEL["left with a notice"])
    calls.clear()
    np.testing.assert_array_equal(ours(x), before)
    assert [id(v) for v in ours.trainable_weights] == [id(v) for v in model.trainable_weights]
    used = {"__call__", "call", "trainable_weights", "trainable_variables"}
    assert name in calls or name not in used


def loop(model, x, y):
    """What users call of a model, by which Keras calls the rest."""
    model.compile("sgd", "mse", ["mae"])
    model.fit(x, y, batch_size=16, verbose=0, shuffle=False, validation_data=(x, y))
    model.evaluate(x, y, batch_size=15, verbose=0)
    model.predict(x, batch_size=15, verbose=0)
    model.predict_on_batch(x)
    return model.get_weights()


def test_a_subclass_is_asked_for_all_that_keras_asks_for(samples, same):
    names = [n for n in public(K.Model) if n not in REFUSED_IN_SUBCLASS | {"call"}]
    asked_by_keras, asked_by_us = set(), set()
    classes = (
        subclass(K.Model, names, asked_by_keras),
        subclass(LargeBatchModel, names, asked_by_us),
    )
    weights = []
    for cls in classes:
        K.utils.set_random_seed(1)
        weights.append(loop(cls(), *samples))
    same(*weights)
    assert asked_by_keras - asked_by_us <= {"distribute_reduction_method"}  # of strategies


@pytest.mark.parametrize(
    "name", sorted(REFUSED_IN_SUBCLASS | {"batch_size", "rules", "update_state"})
)
@pytest.mark.parametrize("where", ["class", "object"])
def test_what_a_subclass_may_not_override(name, where, network):
    if where == "class":
        model = type("Own", (LargeBatchModel,), {name: delegating(LargeBatchModel, name, set())})()
    else:
        model = LargeBatchModel.from_model(network())
        vars(model)[name] = None
    with pytest.raises(ValueError, match=f"{name}( anew)?, which (sub-batches|LargeBatchModel)"):
        model.compile("sgd", "mse")


def test_the_number_of_sub_batches_is_not_keras_to_set(network):
    model = LargeBatchModel.from_model(network())
    model.compile("sgd", "mse")
    for name, value in (("steps_per_execution", 4), ("autotune_steps_per_execution", True)):
        with pytest.raises(ValueError, match=f"{name}={value}"):
            setattr(model, name, value)


def test_an_optimizer_is_asked_for_all_that_keras_asks_for(samples, network, same):
    base = K.optimizers.SGD
    names = [name for name in public(base) if name not in REFUSED_IN_OPTIMIZER]
    asked_by_keras, asked_by_us, weights = set(), set(), []
    for make, asked in ((lambda m: m, asked_by_keras), (LargeBatchModel.from_model, asked_by_us)):
        model = make(network())
        model.compile(subclass(base, names, asked)(0.1, momentum=0.9, use_ema=True), "mse")
        model.fit(*samples, batch_size=16, shuffle=False, verbose=0)
        weights.append(model.get_weights())
    same(*weights)
    assert asked_by_keras - asked_by_us == set()


class Legacy(K.optimizers.legacy.SGD):
    def _compute_gradients(self, loss, var_list, grad_loss=None, tape=None):
        return []


def assigned():
    optimizer = K.optimizers.SGD()
    optimizer.minimize = print
    return optimizer


REFUSED_OPTIMIZERS = {
    **{
        f"Own overrides {name}": lambda name=name: subclass(K.optimizers.SGD, [name], set())()
        for name in sorted(REFUSED_IN_OPTIMIZER)
    },
    "Own overrides minimize, which": lambda: K.mixed_precision.LossScaleOptimizer(
        subclass(K.optimizers.Adam, ["minimize"], set())()
    ),
    "Legacy overrides _compute_gradients": Legacy,
    "SGD overrides minimize": assigned,
    "RMSPropOptimizer is an optimizer of TensorFlow 1": lambda: tf.compat.v1.train.RMSPropOptimizer(
        0.1
    ),
    "must be one optimizer": lambda: [K.optimizers.SGD(), K.optimizers.Adam()],
}


@pytest.mark.parametrize("message", REFUSED_OPTIMIZERS)
def test_optimizers_that_are_refused(message, network):
    with pytest.raises(ValueError, match=message):
        LargeBatchModel.from_model(network()).compile(REFUSED_OPTIMIZERS[message](), "mse")


# What hangs on a model, or is overridden so that training changes, is as in Keras.


def with_added(model=None):
    """A functional model with a loss and a metric on layers that lead to no output, and one of its weights."""
    K.utils.set_random_seed(1)
    inputs = K.Input([5])
    hidden, aside = K.layers.Dense(4, "tanh")(inputs), K.layers.Dense(3, name="aside")(inputs)
    model = K.Model(inputs, K.layers.Dense(2, name="top")(hidden))
    model.add_loss(tf.reduce_mean((aside - 1.0) ** 2))
    model.add_metric(aside, name="aside", aggregation="mean")
    top = model.get_layer("top")
    model.add_loss(lambda: 0.1 * tf.reduce_sum(top.kernel**2))
    model.scale = tf.Variable(2.0)
    model.add_loss(lambda: model.scale**2)
    return model


def sequence_with_added():
    K.utils.set_random_seed(1)
    model = K.Sequential([K.Input([5]), K.layers.Dense(4, "tanh"), K.layers.Dense(2)])
    model.add_loss(tf.reduce_mean(model.layers[0].output ** 2))
    model.add_metric(model.output, name="out", aggregation="mean")
    return model


def around_a_frozen_body():
    body = with_added()
    body.trainable = False
    inputs = K.Input([5])
    hidden = body(inputs)
    model = K.Model(inputs, K.layers.Dense(2, activity_regularizer="l2")(hidden))
    model.add_loss(tf.reduce_mean(hidden**2))
    return model


class Doubling(K.Model):
    def call(self, inputs, training=None, mask=None):
        return 2.0 * super().call(inputs, training, mask)


class DoublingSequence(K.Sequential):
    def call(self, inputs, training=None, mask=None):
        return 2.0 * super().call(inputs, training, mask)


class HalfFrozen(K.Model):
    def __init__(self):
        super().__init__()
        self.hidden, self.top = K.layers.Dense(4, "tanh"), K.layers.Dense(2)

    def call(self, inputs):
        hidden = self.hidden(inputs)
        self.add_loss(tf.reduce_mean(hidden**2))
        return self.top(hidden)

    @property
    def trainable_weights(self):
        return self.top.trainable_weights


def functional(cls):
    inputs = K.Input([5])
    return cls(inputs, K.layers.Dense(2)(K.layers.Dense(4, "tanh")(inputs)))


def called(model):
    model(tf.ones([1, 5]))
    return model


FORMS = {
    "added losses and metrics": with_added,
    "the same on a Sequential": sequence_with_added,
    "around a frozen body that has them": around_a_frozen_body,
    "a functional subclass's call": lambda: functional(Doubling),
    "a Sequential subclass's call": lambda: DoublingSequence(
        [K.Input([5]), K.layers.Dense(4, "tanh"), K.layers.Dense(2)]
    ),
    "trainable_weights": lambda: called(HalfFrozen()),
}


@pytest.mark.parametrize("form", FORMS)
def test_what_hangs_on_a_model_is_carried_over(form, samples, against_keras):
    def build():
        K.utils.set_random_seed(1)
        return FORMS[form]()

    x, y = (part[:16] for part in samples)
    ours, plain = against_keras(
        build, lambda: {"optimizer": "sgd", "loss": "mse"}, x, y, batch_size=8
    )
    assert [v.shape for v in ours.trainable_weights] == [v.shape for v in plain.trainable_weights]
    assert len(ours.losses) == len(plain.losses)


@pytest.mark.parametrize("form", list(FORMS)[:2])
def test_added_losses_alone_train_and_are_saved(form, samples, against_keras, same, tmp_path):
    x, y = (part[:16] for part in samples)
    ours, _ = against_keras(FORMS[form], lambda: {"optimizer": "sgd"}, x, y, batch_size=8)
    if form == "the same on a Sequential":
        ours.save(tmp_path / "model.keras")
        loaded = K.models.load_model(tmp_path / "model.keras")
        assert len(loaded.losses) == 1 and len(loaded.weights) == len(ours.weights)
        same([loaded.evaluate(x, y, verbose=0)], [ours.evaluate(x, y, verbose=0)])


class Text(K.Model):
    def __init__(self):
        super().__init__()
        self.words, self.top = K.layers.Embedding(9, 4, mask_zero=True), K.layers.Dense(2)
        self.mean = K.layers.GlobalAveragePooling1D()

    def call(self, tokens):
        return self.top(self.mean(self.words(tokens)))


@pytest.mark.parametrize("kind", [Text, lambda: K.Sequential(Text().layers)])
def test_a_model_built_at_one_length_trains_at_another(kind, samples, against_keras, tmp_path):
    tokens = np.random.default_rng(0).integers(0, 9, (16, 20))

    def build():
        K.utils.set_random_seed(1)
        model = kind()
        model(tokens[:1, :12])
        return model

    ours, _ = against_keras(
        build, lambda: {"optimizer": "sgd", "loss": "mse"}, tokens, samples[1][:16]
    )
    if kind is Text:
        ours.save(tmp_path / "model.keras")
        loaded = K.models.load_model(tmp_path / "model.keras", custom_objects={"Text": Text})
        np.testing.assert_array_equal(
            loaded.predict(tokens, verbose=0), ours.predict(tokens, verbose=0)
        )


def test_a_functional_subclass_is_taken_apart_where_its_graph_is_all():
    members = {
        name: delegating(K.Sequential.__base__, name, set()) for name in ("get_config", "summary")
    }
    model = functional(type("Own", (K.Model,), members))
    ours = LargeBatchModel.from_model(model)
    assert [id(layer) for layer in ours.layers] == [id(layer) for layer in model.layers]


class Two(K.Model):
    """Two outputs by name, for inputs by name, of which it does not use all."""

    def __init__(self):
        super().__init__()
        self.tops = [K.layers.Dense(2), K.layers.Dense(2)]

    def call(self, inputs):
        return {"a": self.tops[0](inputs["x"]), "b": self.tops[1](inputs["x"])}


def test_outputs_and_inputs_keep_their_names(samples, against_keras):
    x, y = samples
    inputs, targets = {"x": x, "unused": y}, {"a": y, "b": 2.0 * y}

    def build():
        K.utils.set_random_seed(1)
        model = Two()
        model({"x": x.astype("int32"), "unused": y})  # of other types than in training
        return model

    losses = {"a": "mse", "b": "mae"}
    against_keras(build, lambda: {"optimizer": "sgd", "loss": losses}, inputs, targets)


def test_the_output_layer_of_a_subclass_is_still_cut_off(samples, caplog):
    model = LargeBatchModel.from_model(called(HalfFrozen()))
    model.compile("sgd", "mse")
    model.summary(print_fn=str)
    assert curvature.top_eigenvalue(model, *samples, iterations=2).eigenvalue > 0
    assert "cannot be cut" not in caplog.text


def test_attributes_and_precision_that_cannot_be_lost(network):
    plain = network()
    plain.rules = K.layers.Dense(2)
    with pytest.raises(ValueError, match="model.rules has another meaning"):
        LargeBatchModel.from_model(plain)
    K.mixed_precision.set_global_policy("mixed_float16")
    plain = network()
    K.mixed_precision.set_global_policy("float32")
    ours = LargeBatchModel.from_model(plain)
    ours.compile("sgd", "mse")
    assert isinstance(ours.optimizer, K.mixed_precision.LossScaleOptimizer)


def test_the_arguments_of_a_subclass_are_saved(samples, tmp_path):
    @K.utils.register_keras_serializable("tests")
    class Scaled(LargeBatchModel):
        def __init__(self, units, rate=0.1, *, bias=True):
            super().__init__()
            self.rate, self.bias = rate, bias
            self.top = K.layers.Dense(units, use_bias=bias)

        def call(self, inputs):
            return self.rate * self.top(inputs)

    @K.utils.register_keras_serializable("tests")
    class FromInputs(LargeBatchModel):
        def __init__(self, units, rate=0.1, *, bias=True):
            inputs = K.Input([5])
            super().__init__(inputs, rate * K.layers.Dense(units, use_bias=bias)(inputs))
            self.rate, self.bias = rate, bias

    for cls in (Scaled, FromInputs):
        model = cls(2, rate=0.5, bias=False)
        assert model.get_config() == {"units": 2, "rate": 0.5, "bias": False}
        loop(model, *samples)
        model.save(tmp_path / "model.keras")
        loaded = K.models.load_model(tmp_path / "model.keras")
        assert type(loaded) is cls and (loaded.rate, loaded.bias) == (0.5, False)
        np.testing.assert_array_equal(
            *(each.predict(samples[0], verbose=0) for each in (model, loaded))
        )


@pytest.mark.parametrize(
    ("loss", "targets", "message"),
    [(None, True, "No loss found"), ("mse", False, "Target data is missing")],
)
def test_what_is_missing_is_named_as_in_keras(loss, targets, message, samples, network):
    model = LargeBatchModel.from_model(network())
    model.compile("sgd", loss, ["mae"])
    with pytest.raises(ValueError, match=message):
        model.fit(samples[0], samples[1] if targets else None, verbose=0)


@pytest.mark.parametrize("method", ["fit", "evaluate", "predict", "predict_on_batch"])
def test_methods_that_have_functions_of_their_own_stand_in_none(method, samples, network):
    model = LargeBatchModel.from_model(network())
    model.compile("sgd", "mse")
    with pytest.raises(RuntimeError, match=f"call to `Model.{method}` inside a `tf.function`"):
        tf.function(lambda: getattr(model, method)(samples[0]))()
