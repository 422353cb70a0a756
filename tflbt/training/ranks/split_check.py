"""Whether a loss and metrics that Keras does not know bear being computed in parts: looked at on real samples, once.

A training in sub-batches and on ranks needs losses that are means over samples, and metrics whose states can be merged.
Nothing is looked at where all of them are Keras's own.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from absl import logging

from tflbt import legacy_keras
from tflbt.distributed import comm
from tflbt.training import batch_wise, keras_internals
from tflbt.training.pending_metrics import metric_variables, preserved
from tflbt.training.ranks import loss_in_parts, metric_merging, metrics_in_parts
from tflbt.training.ranks.batch_parts import first_of
from tflbt.training.ranks.metric_merging import Merge
from tflbt.training.ranks.probe import Probe, RefusedError
from tflbt.training.update_state import TrainingModel


def examine(model: Any, batches: Any, sub_batches: int) -> Any:
    """Refuses a loss that is no mean over samples, and metrics that cannot be merged; finds how the others merge.

    Where one process takes its batch as a whole, a loss that is no mean is refused once `batch_size` grows.

    Args:
        model: The model, built and the same on all ranks.
        batches: What a `fit` or an evaluation is about to read.
        sub_batches: How many of them make an update of a rank, at most.

    Returns:
        `batches`, to be read instead.

    Raises:
        ValueError: If the loss or a metric is refused, by name.
    """
    state = model.update_state
    whole = sub_batches == 1 and not model.reduction.varies
    divided = not whole and (own_metrics(model) or batch_wise.kept_by_layers(model))
    if state.examined or not (own_loss(model) or divided):
        return batches

    def look() -> dict[int, Merge]:
        nonlocal batches
        course = state.course.read_value()
        state.course.assign([0, 1, 0, 0])  # what whole arrays deal before a fit begins
        first, batches = first_of(batches)
        state.course.assign(course)
        return {} if first is None else _look(model, first, whole)

    merges = comm.on_chief(look, "tflbt.split_check", model.reduction)
    state.examined = not whole
    metrics = model.metrics
    for number, merge in merges.items():
        spare = metric_merging.spare_of(metrics[number]) if merge.ways is None else None
        state.merges.append((metrics[number], merge, spare))
    if merges:  # the functions may have been traced
        model.train_function = model.test_function = None
    return batches


def own_loss(model: Any) -> bool:
    """Whether a part of the loss is not Keras's own."""
    return (
        type(model).compute_loss is not tf.keras.Model.compute_loss
        or keras_internals.has_added_losses(model)
        or not all(_is_keras(loss) for loss in tf.nest.flatten(model.loss) if loss is not None)
    )


def _is_keras(loss: Any) -> bool:
    loss = tf.keras.losses.get(loss) if isinstance(loss, str) else loss
    parts = [loss, getattr(loss, "fn", None)]
    found = {legacy_keras.package_of(part) for part in parts if part is not None}
    return found <= {"keras", "tflbt"}


def own_metrics(model: TrainingModel) -> list[int]:
    """The places of the metrics that are not Keras's own, or that the model's own code updates.

    In one process they can only differ from whole batches.
    """
    compiled = [*model.compiled_loss.metrics, *model.compiled_metrics.metrics]
    return [
        number
        for number, metric in enumerate(model.metrics)
        if not metric_merging.is_keras(metric)
        or not _is_keras(keras_internals.function_of(metric))
        or all(metric is not each for each in compiled)
    ]


def _look(model: TrainingModel, batch: Any, whole: bool) -> dict[int, Merge]:
    """Looks at a loss and metrics; leaves no trace but notices."""
    model.update_state.refusal = None
    generators = [generator.state for generator in keras_internals.random_generators(model)]
    try:
        with preserved([*model.weights, *metric_variables(model), *generators]):
            probe = Probe(model, batch)
            if own_loss(model):
                loss_in_parts.check(probe, quiet=whole)
            if whole:
                return {}
            batch_wise.tell_of_states(model, tf.keras.utils.unpack_x_y_sample_weight(batch)[0])
            return metrics_in_parts.merges(probe, own_metrics(model))
    except RefusedError as error:
        if not whole:
            raise
        model.update_state.refusal = str(error)
        return {}
    except Exception as error:  # noqa: BLE001 - whatever a user's code raises on a part of a batch
        logging.log(
            logging.DEBUG if whole else logging.WARNING,
            "A loss or metric of one's own could not be computed on a part of a batch, so that nobody knows whether it "
            "is right over sub-batches and ranks: %s",
            error,
        )
        return {}
