"""Ghosts of batch normalisation that are larger than a sub-batch: over the sub-batches of several ranks together."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from tflbt.distributed import comm, membership
from tflbt.models.ghost_batch_norm import GhostBatchNormalization
from tflbt.training import keras_internals
from tflbt.training.sources.rank_data import FitData


def start(model: Any, data: FitData, tail: str) -> None:
    """Finds the ghosts that span ranks in a `fit`, and with which ranks this one shares them.

    Raises:
        ValueError: If ranks' sub-batches do not make up whole ghosts, or a rank could be left waiting for another.
    """
    size, reduction = data.plan.samples_a_rank_computes, model.reduction
    ghosts = {
        part: part.ghost_size
        for part in keras_internals.parts(model)
        if isinstance(part, GhostBatchNormalization) and part.ghost_size > size
    }
    spans = {}
    if ghosts and reduction.size > 1:
        for ghost in set(ghosts.values()):
            ranks = ranks_of_ghost(ghost, size, reduction.size)
            _check(model, data, tail, ghost)
            spans[ghost] = comm.neighbours(ranks, reduction.uncompressed)
    state, found = model.update_state, {part: spans[g] for part, g in ghosts.items() if spans}
    if found != state.ghosts:
        model.train_function = None
    state.ghosts = found


def ranks_of_ghost(ghost: int, sub_batch: int, ranks: int) -> int:
    """How many neighbouring ranks, each with a sub-batch, make up a ghost that is larger than one.

    Raises:
        ValueError: If they do not come to whole ghosts.

    Example:
        >>> ranks_of_ghost(256, 64, ranks=8)
        4
    """
    if ghost % sub_batch or ranks % (ghost // sub_batch):
        fit = [str(sub_batch * n) for n in range(1, ranks + 1) if ranks % n == 0]
        raise ValueError(
            f"ghost_batch_size={ghost} is not what the sub-batches, of {sub_batch} samples, of some of {ranks} ranks "
            f"come to: use {', '.join(fit)}, or a divisor of {sub_batch}."
        )
    return ghost // sub_batch


def _check(model: Any, data: FitData, tail: str, ghost: int) -> None:
    """Raises where a rank could have a sub-batch while another that shares its ghost has none."""
    plan, rows, what = data.plan, data.rows, f"ghost_batch_size={ghost} is of several ranks, which"
    if model.jit_compile or membership.elastic():
        other = "jit_compile=True" if model.jit_compile else "ranks that come and go"
        raise ValueError(f"{what} does not go with {other}: use ghosts of one rank.")
    step = plan.ranks * plan.samples_a_rank_computes
    if rows is None:
        raise ValueError(f"{what} takes x as whole arrays: give these, or use ghosts of one rank.")
    rest = rows % step
    if tail != "drop" and 0 < rest <= step - plan.samples_a_rank_computes:
        raise ValueError(
            f"{what} must all have samples in every sub-batch, but the last {rest} of the epoch's {rows} samples are "
            f"too few for {plan.ranks} ranks x sub_batch_size={plan.samples_a_rank_computes}: use tail='drop', another "
            "sub_batch_size, or ghosts of one rank."
        )


@contextlib.contextmanager
def together(model: Any) -> Iterator[None]:
    """Where updates are computed or traced: ghosts span the ranks that they are of."""
    ghosts = model.update_state.ghosts
    for number, (layer, reduction) in enumerate(ghosts.items()):
        layer.sum_over_ranks = _summing(f"tflbt.ghosts.{number}", reduction)
    try:
        yield
    finally:
        for layer in ghosts:
            layer.sum_over_ranks = None


def _summing(name: str, reduction: comm.Reduction) -> Callable[[list[tf.Tensor], str], Any]:
    return lambda tensors, what: comm.all_reduce_sum(tensors, f"{name}.{what}", reduction)
