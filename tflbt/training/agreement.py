"""Before the first update: all ranks must have the same model, and get the same values in it."""

from __future__ import annotations

import itertools
import zlib
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from tflbt.data import first_batch
from tflbt.data.first_batch import FirstBatch
from tflbt.data.user_functions import converted
from tflbt.distributed import comm, fingerprint, hardware
from tflbt.distributed.broadcast import broadcast_variables
from tflbt.training import keras_internals
from tflbt.training.ranks import mixed_hardware
from tflbt.training.sources.rank_data import FitData
from tflbt.training.update_state import TrainingModel


def settle(model: TrainingModel, data: FitData, arguments: dict[str, Any], validation: Any) -> None:
    """Builds what the first update needs, checks that the ranks agree, and gives all ranks the chief's state.

    The model's rules have started; `arguments` of `fit`, by name, must be equal on all ranks.
    """
    build(model, data.spec)
    validates_on = (
        int(validation.cardinality())
        if isinstance(validation, tf.data.Dataset)
        else validation is None
    )
    facts = {
        **data.facts,
        "batch_size": data.plan.batch_size,
        "sub_batch_size": data.plan.sub_batch_size,
        "steps_per_epoch": data.steps_per_epoch,
        **arguments,
        **{rule.name: rule.options for rule in model.rules},
        "the number of validation sub-batches": validates_on,
    }
    share(model, facts)
    warn_of_double_decay(model)


def share(model: TrainingModel, facts: dict[str, Any], *, again: bool = True) -> None:
    """Checks that the ranks agree about a model that is built, and gives all of them the chief's state.

    Args:
        model: The model.
        facts: What else must be equal, by name.
        again: False: not where the ranks have shared the state since `compile`; what differs now differs by mistake.
    """
    build_optimizer(model.optimizer, model.trainable_variables)
    refuse_synchronized_norm(model)
    same = model.update_state.same
    shares = again or not same.settled
    if model.reduction.size > 1:
        facts = {**facts, **compiled_facts(model), **vocabularies(model)}
        same_facts, same_state, same_hardware = _equal(model, facts, shares)
        if not same_facts or any(isinstance(value, FirstBatch) for value in facts.values()):
            check_same_model(model, facts)
        if not same.settled:
            same.mixed = False
            if not same_hardware or hardware.of_this_rank()[0]:
                mixed_hardware.find(model)
        if shares and not same_state:
            share_state(model)
    same.settled = True


def _equal(model: TrainingModel, facts: dict[str, Any], of_state: bool) -> list[bool]:
    """Whether facts, state and hardware are the same on all ranks, found with one sum; every rank must call it.

    Facts that are written differently may be equal all the same, and first batches are compared in their own way.
    """
    weights = [(v.dtype.name, tuple(v.shape)) for v in variables(model)]
    written = {name: isinstance(value, FirstBatch) or repr(value) for name, value in facts.items()}
    prints = [
        fingerprint.of_bytes(content)
        for content in (
            repr((weights, written)).encode(),
            fingerprint.of_variables(shared_variables(model)).tobytes() if of_state else b"",
            repr(hardware.of_this_rank()).encode(),
        )
    ]
    plain = model.reduction.uncompressed
    evidence = fingerprint.evidence(np.stack(prints))
    (summed,) = comm.all_reduce_sum([evidence], "tflbt.equal", plain)
    return fingerprint.equal(summed, plain.size).numpy().tolist()


def compiled_facts(model: TrainingModel) -> dict[str, Any]:
    """What `compile` was called with, as far as it can be compared between ranks."""
    plain = keras_internals.plain_optimizer(model.optimizer)
    try:
        options = plain.get_config()
    except NotImplementedError:
        options = {}
    if not isinstance(options.get("learning_rate"), dict):
        options.pop("learning_rate", None)  # a value is shared; a schedule cannot be
    options.pop("name", None)
    trains = {v.ref() for v in model.trainable_variables}
    return {
        "the optimizer": plain_optimizer_name(model.optimizer),
        **{f"the optimizer's {name}": repr(value) for name, value in options.items()},
        "the loss": [keras_internals.name_of(loss) for loss in tf.nest.flatten(model.loss)],
        "the metrics": [
            (metric.name, [(v.dtype.name, tuple(v.shape)) for v in metric.weights])
            for metric in model.metrics
        ],
        "which weights are trainable": [v.ref() in trains for v in variables(model)],
    }


def refuse_synchronized_norm(model: TrainingModel) -> None:
    """Raises ValueError for Keras's synchronised BatchNorm under ranks, which it would not synchronise."""
    if not model.reduction.varies:
        return
    for layer in keras_internals.parts(model):
        if getattr(layer, "synchronized", False):
            raise ValueError(
                f"layer {layer.name!r} ({type(layer).__name__}) has synchronized=True, which synchronises replicas of "
                "tf.distribute but not Horovod's ranks: use horovod.tensorflow.SyncBatchNormalization, or leave "
                "synchronized out, so that each sub-batch is normalised by itself."
            )


def build(model: TrainingModel, spec: Any) -> None:
    """Creates the weights and metrics that Keras would create in the first step, without taking one."""
    if model.built and model.compiled_loss.built and model.compiled_metrics.built:
        return
    if keras_internals.built_untraced(model, tf.keras.utils.unpack_x_y_sample_weight(spec)[1]):
        return
    metrics = keras_internals.metrics_to_build(model)
    first = [(v, v.numpy()) for metric in metrics for v in metric.weights]

    def run(data: Any, training: bool) -> None:
        x, y, sample_weight = tf.keras.utils.unpack_x_y_sample_weight(data)
        y_pred = model(x, training=training)
        converted(model.compute_loss)(x, y, y_pred, sample_weight)
        converted(model.compute_metrics)(x, y, y_pred, sample_weight)

    if model.run_eagerly:  # perhaps because it cannot be traced
        run(tf.nest.map_structure(_single_sample, spec), training=False)
        model.reset_metrics()
        for variable, value in first:
            variable.assign(value)
    else:
        spec = tf.nest.map_structure(_of_any_length, spec)
        tf.function(lambda data: run(data, training=True)).get_concrete_function(spec)
    # A plain model of a search has no such state; Keras resets its metrics.
    if hasattr(model, "update_state"):
        model.update_state.first_of_metrics = first


def _single_sample(spec: tf.TensorSpec) -> tf.Tensor:
    return tf.zeros([1, *(size or 1 for size in spec.shape[1:])], spec.dtype)


def _of_any_length(spec: Any) -> Any:
    if not isinstance(spec, tf.TensorSpec) or not spec.shape.rank:
        return spec
    return tf.TensorSpec([None, *spec.shape[1:]], spec.dtype)


def plain_optimizer_name(optimizer: Any) -> str:
    """The class of the optimizer itself, also under a LossScaleOptimizer."""
    return type(keras_internals.plain_optimizer(optimizer)).__name__


def build_optimizer(optimizer: Any, variables: list[tf.Variable]) -> None:
    """Creates the optimizer's slots, so that a broadcast covers more than its iteration count."""
    if hasattr(optimizer, "build"):
        optimizer.build(variables)
        return
    keras_internals.create_slots(keras_internals.plain_optimizer(optimizer), variables)


def optimizer_variables(optimizer: Any) -> list[tf.Variable]:
    """Every variable of an optimizer: slots, iterations, learning rate and loss scale, each once.

    `optimizer.variables` leaves the learning rate of some optimizers out, and the loss scale of all.
    """
    plain = keras_internals.plain_optimizer(optimizer)
    found = _variables(optimizer)
    if plain is not optimizer:
        found += [*_variables(plain), *keras_internals.loss_scale_variables(optimizer)]
    # A variable that was assigned to `iterations` is not among the others.
    found += [*keras_internals.hyperparameter_variables(plain), plain.iterations]
    return list({variable.ref(): variable for variable in found}.values())


def _variables(optimizer: Any) -> list[tf.Variable]:
    variables = optimizer.variables
    return list(variables if isinstance(variables, list) else variables())


def variables(model: TrainingModel) -> list[tf.Variable]:
    """The model's weights without the tables of vocabularies, which Keras counts among them."""
    return [weight for weight in model.weights if isinstance(weight, tf.Variable)]


def vocabularies(model: TrainingModel) -> dict[str, int]:
    """A checksum of each vocabulary in the model (TextVectorization, StringLookup ...), by what it is."""
    layers = [layer for layer in keras_internals.parts(model) if hasattr(layer, "get_vocabulary")]
    return {
        f"the vocabulary of layer {layer.name!r} (adapt it to the same data on every rank)": zlib.crc32(
            repr(layer.get_vocabulary()).encode()
        )
        for layer in layers
    }


def check_same_model(model: TrainingModel, facts: dict[str, Any]) -> None:
    """Raises the same ValueError on all ranks if their weights or facts, by name, differ: they would train apart."""
    reduction = model.reduction
    weights = [(v.name, (str(v.dtype.name), tuple(v.shape))) for v in variables(model)]
    ranks = comm.gather_objects((weights, facts), "tflbt.agreement", reduction)
    chief_weights, chief_facts = ranks[0]
    for rank, (other_weights, other_facts) in enumerate(ranks):
        pairs = itertools.zip_longest(chief_weights, other_weights, fillvalue=(None, "nothing"))
        for i, ((name, ours), (other_name, theirs)) in enumerate(pairs):
            if ours != theirs:
                raise ValueError(
                    f"The ranks hold different models: weight {i} ({name or other_name}) is {ours} on rank 0 and "
                    f"{theirs} on rank {rank}. Every rank must build the same model."
                )
        for name, value in chief_facts.items():
            if isinstance(value, FirstBatch):
                first_batch.compare([each.get(name) for _, each in ranks])
            elif other_facts.get(name) != value:
                raise ValueError(
                    f"The ranks disagree about {name}: {value!r} on rank 0, {other_facts.get(name)!r} on rank {rank}. "
                    "Give fit the same arguments on every rank, and data sets with equal numbers of sub-batches."
                )


def share_state(model: TrainingModel) -> None:
    """Gives every rank the chief's state; they have just found out together that it differs."""
    variables = shared_variables(model)
    broadcast_variables(variables, "tflbt.state", model.reduction, met=True)


def shared_variables(model: TrainingModel) -> list[tf.Variable]:
    """The weights, the optimizer's state, learning rate and loss scale, and the variables of rules."""
    return [*variables(model), *optimizer_variables(model.optimizer), *model.rules.variables]


def warn_of_double_decay(model: tf.keras.Model) -> None:
    """Warns where a weight decays twice: in the loss by a regulariser and in the optimizer."""
    optimizer = keras_internals.plain_optimizer(model.optimizer)
    if getattr(optimizer, "weight_decay", None) and any(
        getattr(layer, "kernel_regularizer", None) is not None
        for layer in keras_internals.parts(model)
    ):
        logging.warning(
            "Weights decay twice: the model's layers have a kernel_regularizer and %s has weight_decay=%s. Keep one.",
            type(optimizer).__name__,
            optimizer.weight_decay,
        )
