"""The private names of Keras and TensorFlow that tflbt needs, each behind a function that says what it is for.

No other file touches such names (tests/test_private_names.py), but for the optimizers', in
`tflbt.optimizers.keras_slots`. A port to another Keras begins here.

**Why LargeBatchModel has two classes.** `tf.keras.Model(inputs, outputs)` returns an object of another class,
`Functional`, by a trick that works for `Model` alone. `LargeBatchModel(inputs, outputs)` does the same: its `__new__`
returns a `FunctionalLargeBatchModel`, which is a LargeBatchModel and a Functional. A subclass of LargeBatchModel that
calls `super().__init__(inputs, outputs)` gets Functional as one more base when it is first constructed: Keras would
otherwise insert Functional among the bases of LargeBatchModel itself, and every later subclass that has a `call` of its
own, and no inputs, would break. FunctionalLargeBatchModel has a constructor of its own because Keras writes
layers into a model's configuration only if the constructor looks like Functional's.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import weakref
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from tensorflow.python.autograph.core import config as autograph

from tflbt import legacy_keras

legacy_keras.refuse_keras_3()
# AutoGraph leaves the functions of TensorFlow and Keras as they are. Those of tflbt have no Python `if` on tensors
# either, and would be converted in every process anew, which takes seconds. Users' functions are converted as ever, by
# Keras or by `tflbt.data.user_functions`.
autograph.CONVERSION_RULES = (autograph.DoNotConvert("tflbt"), *autograph.CONVERSION_RULES)

# The class that `tf.keras.Model(inputs, outputs)` returns; Keras exports it only as the base of Sequential.
Functional = tf.keras.Sequential.__base__


class TensorLogs:
    """A mixin for callbacks, named before `Callback`, that lets Keras hand them logs as tensors.

    Otherwise Keras fetches the logs of every update from the device, for all callbacks.
    """

    # Keras's constructor assigns False.
    _supports_tf_logs = property(lambda self: True, lambda self, value: None)


def steps_per_execution(model: tf.keras.Model) -> Any:
    """The number of batches that Keras takes per call of its train function; None before `compile`."""
    return model._steps_per_execution


def train_counter(model: tf.keras.Model) -> tf.Variable:
    """Keras's count of calls of `train_step`, which tells it that the data have not ended."""
    return model._train_counter


def test_counter(model: tf.keras.Model) -> tf.Variable:
    """Keras's count of calls of `test_step`, likewise."""
    return model._test_counter


def require_compiled(model: tf.keras.Model) -> None:
    """Raises Keras's RuntimeError unless the model is compiled."""
    model._assert_compile_was_called()


def compile_arguments(model: tf.keras.Model) -> Any:
    """What `compile` was called with, serialized; None for a model that is not compiled."""
    return model._compile_config.serialize() if model._is_compiled else None


def compile_values(model: tf.keras.Model) -> dict[str, Any]:
    """What `compile` was called with, as it is; nothing for a model that is not compiled."""
    return dict(model._compile_config.config) if model._is_compiled else {}


def made_under_strategy(model: tf.keras.Model) -> bool:
    """True if a `tf.distribute` strategy was active when the model was made."""
    return model._distribution_strategy is not None


def check_loss(model: tf.keras.Model, y: Any, loss: Any) -> None:
    """Raises Keras's ValueError where there is no loss, or none of the targets that it needs."""
    model._validate_target_and_loss(y, loss)


def mean_of_loss(model: tf.keras.Model) -> tf.keras.metrics.Mean:
    """The mean that a compiled model logs as its loss, which is among its metrics only from its first batch on."""
    return model.compiled_loss._total_loss_mean


def metrics_to_build(model: tf.keras.Model) -> list[tf.keras.metrics.Metric]:
    """The metrics that `compile` was called with, if Keras has not taken them in: it does not reset them until then."""
    if model.compiled_metrics.built:
        return []
    arguments = compile_values(model)
    values = tf.nest.flatten([arguments.get(name) for name in ("metrics", "weighted_metrics")])
    return [value for value in values if isinstance(value, tf.keras.metrics.Metric)]


def last_result(metric: tf.keras.metrics.Metric) -> Any:
    """What a metric's `result()` returned last."""
    return getattr(metric, "_call_result", None)


def own_functions_of_batches(model: tf.keras.Model) -> list[tuple[str, Any]]:
    """The losses and metrics, of a model that has computed its loss, which are the user's functions of (y, y_pred)."""
    # Names and None stand there where the model's own compute_loss has not used them.
    losses = [
        loss
        for loss in tf.nest.flatten(model.compiled_loss._losses)
        if isinstance(loss, tf.keras.losses.Loss)
    ]
    functions = [(f"loss {loss.name}", getattr(loss, "fn", loss.call)) for loss in losses]
    for metric in model.compiled_metrics.metrics:
        if isinstance(metric, tf.keras.metrics.MeanMetricWrapper) and not metric._fn_kwargs:
            functions.append((f"metric {metric.name}", metric._fn))
    return [
        (name, function if tf.executing_eagerly() else tf.function(function))  # converted
        for name, function in functions
        if legacy_keras.package_of(function) != "keras"
    ]


def carry_over(model: tf.keras.Model, ours: tf.keras.Model) -> None:
    """Hangs on `ours`, of the same inputs and outputs as a functional model, what else hangs on the model.

    That is what leads to no output: losses and metrics that were added, with their layers, and layers, variables and
    metrics that are attributes. Keras's `clone_model` does the same with copies.

    Raises:
        ValueError: If such an attribute has a name that means something else in LargeBatchModel.
    """
    present = {node for nodes in ours._nodes_by_depth.values() for node in nodes}
    nodes = [n for nodes in model._nodes_by_depth.values() for n in nodes if n not in present]
    if nodes:
        ends = {id(node.layer) for node in nodes}
        layers = [layer for layer in model._self_tracked_trackables if id(layer) in ends]
        ours._insert_layers(layers, relevant_nodes=nodes)
    ours._callable_losses.extend(model._callable_losses)
    ours.activity_regularizer = model.activity_regularizer
    if hasattr(model, "_manual_input_spec"):
        ours.input_spec = model.input_spec
    if not getattr(model, "_has_explicit_input_shape", True):
        ours.input_spec = None  # as in a Sequential that took its shape from data, which may change
    for name, value in vars(model).items():
        if name not in vars(ours) and any(_is_tracked(part) for part in _parts(value)):
            if hasattr(type(ours), name):
                raise ValueError(f"model.{name} has another meaning in LargeBatchModel: rename it.")
            setattr(ours, name, value)


def _is_tracked(value: Any) -> bool:
    return isinstance(value, (tf.keras.layers.Layer, tf.Variable))


def _parts(value: Any) -> list[Any]:
    """What a list, dictionary or other attribute holds."""
    try:
        return tf.nest.flatten(value)
    except (TypeError, ValueError):  # a dictionary whose keys have no order
        return []


def take_precision(model: tf.keras.Model, ours: tf.keras.Model) -> None:
    """Gives `ours` the precision that a model was made in, by which `compile` scales losses."""
    ours._set_dtype_policy(model.dtype_policy)


@contextlib.contextmanager
def validation_reader(
    model: tf.keras.Model, data: Any, steps: int | None, workers: dict[str, Any]
) -> Iterator[None]:
    """Gives `fit` the reader of its `validation_data`, if any, made for as many batches per call as are set now."""
    if data is not None:
        x, y, sample_weight = tf.keras.utils.unpack_x_y_sample_weight(data)
        model._eval_data_handler = tf.keras.__internal__.utils.get_data_handler(
            x=x,
            y=y,
            sample_weight=sample_weight,
            steps_per_epoch=steps,
            model=model,
            steps_per_execution=steps_per_execution(model),
            **workers,
        )
    try:
        yield
    finally:
        model._eval_data_handler = None


@contextlib.contextmanager
def beginning_after(model: tf.keras.Model, steps: int) -> Iterator[None]:
    """Has `fit` begin its first epoch after so many steps, as Keras itself does after a failure; 0 changes nothing."""
    if steps:
        model._training_state = _Counters(steps)
    try:
        yield
    finally:
        if steps:
            model._training_state = None


class _Counters:
    """What Keras asks for the epoch and the step to begin with."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def maybe_load_initial_counters_from_ckpt(
        self, steps_per_epoch: int, initial_epoch: int, mode: str
    ) -> tuple[int, int]:
        """The epoch of `fit`, and the steps of it that are done."""
        return initial_epoch, self.steps


def plain_optimizer(optimizer: Any) -> Any:
    """The optimizer itself, without the LossScaleOptimizer that may be around it."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def create_slots(optimizer: Any, variables: list[tf.Variable]) -> None:
    """Creates the slots and the counter of a legacy optimizer (`tf.keras.optimizers.legacy`)."""
    optimizer.iterations  # noqa: B018 - the counter is created when it is first read
    optimizer._create_all_weights(variables)


def loss_scale_variables(optimizer: Any) -> list[tf.Variable]:
    """The variables of a LossScaleOptimizer's loss scale; none where the scale is fixed."""
    return list(getattr(optimizer._loss_scale, "_weights", {}).values())


def learning_rate_argument(optimizer: Any) -> Any:
    """An optimizer's learning rate as it is kept: a variable, or the schedule of which `learning_rate` is a value."""
    rate = getattr(optimizer, "_learning_rate", None)
    return getattr(optimizer, "_hyper", {}).get("learning_rate") if rate is None else rate


def rate_of_next_step(model: tf.keras.Model) -> Any:
    """The learning rate of the optimizer's next step, as a variable, a tensor or a number; None if it has none."""
    optimizer = plain_optimizer(model.optimizer)
    rate = learning_rate_argument(optimizer)
    if isinstance(rate, tf.keras.optimizers.schedules.LearningRateSchedule):
        return rate(optimizer.iterations)
    return getattr(optimizer, "learning_rate", None) if rate is None else rate


def regularization_losses(model: tf.keras.Model) -> list[tf.Tensor]:
    """The losses of a model that depend on weights alone, such as those of kernel regularisers."""
    losses = [loss() for layer in model._flatten_layers() for loss in layer._callable_losses]
    return [loss for loss in losses if loss is not None]


def hyperparameter_variables(optimizer: Any) -> list[tf.Variable]:
    """The variables, the learning rate among them, in which an optimizer keeps its settings."""
    rate = getattr(optimizer, "_learning_rate", None)
    values = [rate, *getattr(optimizer, "_hyper", {}).values()]
    return [value for value in values if isinstance(value, tf.Variable)]


def name_of(part: Any) -> str:
    """A loss's or metric's function or class, however `compile` was called with it."""
    function = getattr(part, "fn", None) or getattr(part, "_fn", None) or part
    if function is None or isinstance(function, str):
        return str(function)
    return getattr(function, "__name__", type(function).__name__)


def function_of(metric: tf.keras.metrics.Metric) -> Any:
    """The function whose mean a metric is, or the metric itself."""
    return getattr(metric, "_fn", metric)


def has_added_losses(model: tf.keras.Model) -> bool:
    """Whether layers of a model that was called added losses, by `add_loss`, that depend on its inputs."""
    layers = [part for part in parts(model) if isinstance(part, tf.keras.layers.Layer)]
    return any(layer._losses or layer._eager_losses for layer in (model, *layers))


def built_untraced(model: tf.keras.Model, y: Any) -> bool:
    """Builds the loss and metrics of a model for labels of a spec, as Keras would at the first batch; whether it could.

    It can where nothing else creates variables when it is called: one output, and Keras's own layers and metrics.
    """
    own = [model.call, model.compute_loss, model.compute_metrics]
    own += [part for part in parts(model) if isinstance(part, tf.keras.layers.Layer)]
    metrics = [*tf.nest.flatten(model.compiled_metrics._user_metrics or ())]
    metrics += tf.nest.flatten(model.compiled_metrics._user_weighted_metrics or ())
    own += [metric for metric in metrics if isinstance(metric, tf.keras.metrics.Metric)]
    if (
        not getattr(model, "_is_graph_network", False)
        or tf.nest.is_nested(model.output)
        or not isinstance(y, tf.TensorSpec)
        or not all(legacy_keras.package_of(each) in ("keras", "tflbt") for each in own)
    ):
        return False
    model.compiled_loss.build(model.output)
    model.compiled_metrics.build(model.output, y)
    return all(metric.weights for metric in model.metrics)  # some create theirs for labels


# By model: what it consisted of, and its submodules. Weakly, since a submodule may know its model.
_submodules: weakref.WeakKeyDictionary[Any, tuple[list[int], list[weakref.ref]]] = (
    weakref.WeakKeyDictionary()
)


def parts(model: tf.keras.Model) -> tuple[Any, ...]:
    """A model's `submodules`, for which TensorFlow looks through all attributes of all layers.

    It does so again only where Keras's own list of the model's layers has changed, or has modules of TensorFlow in it,
    whose own parts Keras does not list.
    """
    listed = list(model._flatten_modules(include_self=False))
    if not all(isinstance(each, tf.keras.layers.Layer) for each in listed):
        return tuple(model.submodules)
    before, found = _submodules.get(model, ([], []))
    known = tuple(reference() for reference in found)
    if before == list(map(id, listed)) and None not in known:
        return known
    parts = tuple(model.submodules)
    _submodules[model] = (list(map(id, listed)), [weakref.ref(part) for part in parts])
    return parts


def concrete_functions(function: Any) -> list[Any]:
    """The traces that a `tf.function` has made."""
    return function._list_all_concrete_functions()


def random_generators(model: tf.keras.Model) -> list[tf.random.Generator]:
    """The random generators of a model's layers, in the order of the layers; none where Keras draws otherwise."""
    _require_generators_where_they_were()
    generators = (_generator_of(layer) for layer in parts(model))
    return [generator for generator in generators if isinstance(generator, tf.random.Generator)]


def _generator_of(layer: Any) -> Any:
    return getattr(getattr(layer, "_random_generator", None), "_generator", None)


@functools.cache
def _require_generators_where_they_were() -> None:
    """Raises unless a Dropout layer draws from the generator found in it: a change of Keras would be silent."""
    with tf.init_scope():
        layer = tf.keras.layers.Dropout(0.5, seed=0, force_generator=True, name="tflbt_dropout")
        layer.build([1])
        generator = _generator_of(layer)
        found = isinstance(generator, tf.random.Generator)
        before = generator.state.numpy().tolist() if found else None
        layer(tf.ones([1]), training=True)
        if not found or generator.state.numpy().tolist() == before:
            raise RuntimeError(
                f"Keras under TensorFlow {tf.__version__} does not draw from Dropout._random_generator._generator, "
                "where tflbt seeds random layers, so that a resumed run would not go on exactly: use TensorFlow 2.15."
            )


def calling_list(callback: Any) -> Any:
    """The list of callbacks from which Keras is now calling one of them; None if something else calls it."""
    frame = inspect.currentframe()
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, tf.keras.callbacks.CallbackList) and callback in caller.callbacks:
            return caller
        frame = frame.f_back
    return None
