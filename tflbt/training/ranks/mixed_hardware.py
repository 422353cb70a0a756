"""Ranks on different hardware: their roundings differ, so that their states drift apart, and are shared again.

Where all ranks compute alike they are compared bit for bit, and nothing here happens.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from tflbt.distributed import comm, hardware
from tflbt.distributed.broadcast import broadcast_variables
from tflbt.training.update_state import TrainingModel

# A rate that every rank computes for itself, by a few operations.
RATE_TOLERANCE = 1e-5
# What a weight's vector may have drifted in an epoch, as a share of its length; what a callback sets is further off.
DRIFT = 1e-2


def find(model: TrainingModel) -> None:
    """Finds out whether the ranks' hardware differs, and says so; every rank must make the same call."""
    if model.reduction.size == 1:
        return
    kinds = hardware.different(model.reduction)
    model.update_state.same.mixed = bool(kinds)
    if kinds and model.reduction.rank == 0:
        logging.warning(
            "The ranks compute on different hardware (%s), which may round differently: at the start of each epoch and "
            "evaluation all take rank 0's weights and optimizer state, and only differences beyond rounding are an "
            "error. %s=0 compares bit for bit instead.",
            *("; ".join(kinds), hardware.VARIABLE),
        )


def share(model: TrainingModel, variables: dict[str, tf.Variable]) -> None:
    """Gives all ranks rank 0's variables, by what messages call them; every rank must make the same call.

    Raises:
        ValueError: On all ranks, if weights or scalars of a rank were further off than rounding explains.
    """
    reduction = model.reduction.uncompressed
    before = [variable.read_value() for variable in variables.values()]
    broadcast_variables(list(variables.values()), "tflbt.mixed", reduction)
    mine = [
        name
        for value, (name, variable) in zip(before, variables.items())
        if (name.startswith("weight") or not variable.shape.rank) and not _close(value, variable)
    ]
    for rank, names in enumerate(comm.gather_objects(mine, "tflbt.drifted", reduction)):
        if names:
            more = f" (and {len(names) - 3} more)" if len(names) > 3 else ""
            raise ValueError(
                f"The ranks have come to differ by more than their hardware's rounding: {', '.join(names[:3])}{more} "
                f"on rank {rank}. The usual cause is a callback, or a line of the program, that sets a rate or weights "
                "on one rank only: give every rank the same callbacks."
            )


def _close(mine: tf.Tensor, chiefs: tf.Variable) -> bool:
    """Whether a rank's value is rank 0's to rounding; of numbers that are not floats, whether it is the same."""
    if not chiefs.dtype.is_floating:
        return bool(np.array_equal(mine.numpy(), chiefs.numpy()))
    own, others = (tf.cast(value, tf.float64).numpy() for value in (mine, chiefs))
    tolerance = DRIFT if chiefs.shape.rank else RATE_TOLERANCE
    close = np.linalg.norm(own - others) <= tolerance * np.linalg.norm(others)
    return bool(close) or np.array_equal(own, others, equal_nan=True)


def row(values: list[tf.Tensor], rank: Any, ranks: Any) -> tf.Tensor:
    """This rank's scalars in a matrix of all ranks', float32 `[ranks, n]`, to be summed."""
    scalars = tf.stack([tf.cast(value, tf.float32) for value in values])
    finite = tf.where(tf.math.is_finite(scalars), scalars, tf.float32.max)
    return tf.pad(finite[None], [[rank, ranks - rank - 1], [0, 0]])


def alike(rows: tf.Tensor) -> tf.Tensor:
    """Whether the scalars of all ranks, `[ranks, n]`, are equal to rounding, a bool scalar."""
    low, high = tf.reduce_min(rows, 0), tf.reduce_max(rows, 0)
    return tf.reduce_all(high - low <= RATE_TOLERANCE * tf.maximum(abs(low), abs(high)))
