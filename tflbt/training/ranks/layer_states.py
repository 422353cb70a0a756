"""What layers keep besides trainable weights (moving averages, codebooks, counters), made equal on all ranks."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from absl import logging

from tflbt.distributed import comm, fingerprint
from tflbt.distributed.broadcast import broadcast_variables
from tflbt.training.update_state import TrainingModel


def agree(model: TrainingModel) -> None:
    """Averages the floats that differ between ranks, each of which saw other samples; takes the chief's other values.

    Variables that are equal on all ranks, such as frozen weights, are not touched, and the mean is computed in float64,
    so that equal elements stay equal to the bit. Whole numbers and flags have no mean: where they differ, the chief's
    are taken and the others are named, once.
    """
    variables = [v for v in model.non_trainable_weights if isinstance(v, tf.Variable)]
    plain, same = model.reduction.uncompressed, model.update_state.same
    differ = [variables[place] for place in differing(model, variables)]
    if not differ:
        return
    floats = [variable for variable in differ if variable.dtype.is_floating]
    sums = comm.all_reduce_sum(
        [tf.cast(v, tf.float64) for v in floats], "tflbt.layer_averages", plain
    )
    for variable, total in zip(floats, sums):
        variable.assign(tf.cast(total / plain.size, variable.dtype))
    others = [variable for variable in differ if not variable.dtype.is_floating]
    before = [variable.numpy() for variable in others]
    broadcast_variables(others, "tflbt.layer_values", plain)
    for variable, mine in zip(others, before):
        if not np.array_equal(variable.numpy(), mine):
            _warn_once(same.named, variable.name, plain.rank)


def differing(model: TrainingModel, variables: list[tf.Variable]) -> list[int]:
    """The places of the variables that are not equal on all ranks; every rank must make the same call."""
    plain = model.reduction.uncompressed
    if not plain.varies or not variables:
        return []
    prints = fingerprint.evidence(fingerprint.of_variables(variables))
    (summed,) = comm.all_reduce_sum([prints], "tflbt.layer_states", plain)
    equal = fingerprint.equal(summed, plain.size).numpy()
    return [place for place, alike in enumerate(equal) if not alike]


def _warn_once(named: set[str], name: str, rank: int) -> None:
    if name not in named:
        named.add(name)
        logging.warning(
            "%s, which a layer counts or sets, is not the same on rank %d as on rank 0, and has no mean over the "
            "ranks: rank 0's value is taken.",
            name,
            rank,
        )
