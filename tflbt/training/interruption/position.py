"""Where inside an epoch a `fit` was interrupted: what the next one must know to go on with the next sample."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from tflbt.control.tail import Tail
from tflbt.distributed import comm
from tflbt.training.keras_internals import random_generators
from tflbt.training.pending_metrics import metric_variables
from tflbt.training.ranks import layer_states
from tflbt.training.sources.rank_data import FitData
from tflbt.training.update_state import TrainingModel


@dataclasses.dataclass(frozen=True)
class Position:
    """A place between two updates of an epoch, and what is true there that an epoch's beginning would reset.

    Attributes:
        epoch: The epoch that goes on, as Keras counts: so many are finished.
        updates: Its updates that are done.
        taken: Its samples that these have taken, instances counted; those carried over into it are none of its own.
        metrics: The states of metrics, over all ranks.
        of_ranks: For each rank what it does not share: `random`, its layers' generators, and `layers`, their variables
            at `places` among the weights that are not trained.
        places: See `of_ranks`.
        rules: The variables of rules, by the rule's name.
    """

    epoch: int
    updates: int
    taken: int
    metrics: list[np.ndarray]
    of_ranks: list[dict[str, list[np.ndarray]]]
    places: list[int]
    rules: dict[str, Any] = dataclasses.field(default_factory=dict)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, as JSON values and arrays; rules have a place of their own there."""
        return {name: value for name, value in vars(self).items() if name != "rules"}

    def steps(self, tail: Tail) -> int:
        """How many of the epoch's sub-batches Keras has counted."""
        return min(max(math.ceil(self.taken / tail.step), 0), tail.steps - 1)


def here(model: TrainingModel, epoch: int, updates: int, step: int) -> Position:
    """The present position, after `step` of Keras's sub-batches; every rank must make the same call."""
    tail = model.update_state.tail
    assert tail is not None  # whole arrays have a length
    taken = step * tail.step if tail.kind == "update" else tail.length - tail.left
    weights = _untrained(model)
    places = layer_states.differing(model, weights)
    mine = {
        "random": [generator.state.numpy() for generator in random_generators(model)],
        "layers": [np.asarray(weights[place].numpy()) for place in places],
    }
    of_ranks = comm.gather_objects(mine, "tflbt.position", model.reduction)
    metrics = [np.asarray(v.numpy()) for v in metric_variables(model)]
    return Position(epoch, updates, taken, metrics, of_ranks, places)


def take_up(model: TrainingModel, epoch: int, data: FitData) -> int:
    """Prepares a `fit` that begins with an epoch; returns how many of its sub-batches are done.

    Raises:
        ValueError: If it is to go on inside the epoch, and these data or this number of ranks cannot.
    """
    state, plan = model.update_state, data.plan
    position, tail = state.position, state.tail
    if position is None:
        return 0
    if position.epoch != epoch:
        if model.reduction.rank == 0:
            logging.warning(
                "The checkpoint was written inside epoch %d, but fit has initial_epoch=%d: it begins that epoch anew.",
                position.epoch + 1,
                epoch,
            )
        state.position = None
        return 0
    if data.rows is None or tail is None or position.taken >= tail.length:
        raise ValueError(
            f"The checkpoint was written after {position.taken} samples of epoch {epoch + 1}, where fit cannot go on "
            "with these data: give it the arrays of the run that is to go on, or remove the checkpoint whose name has "
            "_update_ in it, to begin with the one before."
        )
    step = plan.ranks * plan.samples_a_rank_computes
    step *= model.batch_augmentation.sub_batches_together(plan.ranks)
    if tail.kind != "carry" and position.taken % step:
        raise ValueError(
            f"The checkpoint was written by {len(position.of_ranks)} ranks after {position.taken} samples of epoch "
            f"{epoch + 1}, no multiple of {step} ({plan.ranks} ranks x sub-batches): start it with as many ranks and "
            "the sub_batch_size as before."
        )
    return position.steps(tail)


def restore(model: TrainingModel, position: Position) -> None:
    """Restores what the beginning of the epoch has reset, after it."""
    metrics = metric_variables(model)
    if [tuple(v.shape) for v in metrics] != [np.shape(value) for value in position.metrics]:
        raise ValueError(
            "The checkpoint was written inside an epoch with other metrics: compile the model with those of the run "
            "that is to go on."
        )
    for variable, value in zip(metrics, position.metrics):
        variable.assign(value)
    model.rules.restore(position.rules)
    ranks, rank = len(position.of_ranks), model.reduction.rank
    if ranks == model.reduction.size:
        own = position.of_ranks[rank]
        for generator, value in zip(random_generators(model), own["random"]):
            generator.reset(value)
        layers = own["layers"]
    else:  # as at an epoch's end; random layers begin as in a new epoch
        layers = [
            np.mean(values, axis=0) for values in zip(*(r["layers"] for r in position.of_ranks))
        ]
    weights = _untrained(model)
    for place, value in zip(position.places, layers):
        weights[place].assign(tf.cast(value, weights[place].dtype))


def _untrained(model: TrainingModel) -> list[tf.Variable]:
    return [v for v in model.non_trainable_weights if isinstance(v, tf.Variable)]
