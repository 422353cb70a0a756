"""While training goes on: ranks whose rates, weights or decisions have come to differ end the job, on all ranks.

What must be equal is fingerprinted: small settings at the start of every update, all weights and the optimizer's state
at the start of every epoch and evaluation. The fingerprints travel with the update's own reduction; there is no other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt.distributed import comm, fingerprint, membership
from tflbt.training import agreement, keras_internals
from tflbt.training.ranks import mixed_hardware
from tflbt.training.update_state import TrainingModel

MARK = "tflbt: the ranks have come to differ"


def settings(model: TrainingModel) -> dict[str, tf.Variable]:
    """The scalars that must be equal on all ranks at the start of an update, by what messages call them."""
    plain = keras_internals.plain_optimizer(model.optimizer)
    rate = keras_internals.learning_rate_argument(plain)
    variables = [
        *keras_internals.hyperparameter_variables(plain),
        *(
            keras_internals.loss_scale_variables(model.optimizer)
            if plain is not model.optimizer
            else []
        ),
        *(variable for variable in model.rules.variables if variable.shape.rank == 0),
    ]
    found = {v.name: v for v in variables if v is not rate}
    if isinstance(rate, tf.Variable):
        found = {"the learning rate": rate, **found}
    return {
        **found,
        "the number of updates": model.optimizer.iterations,
        "the number of sub-batches in an update": model.sub_batches_variable,
    }


def state(model: TrainingModel, *, training: bool = True) -> dict[str, tf.Variable]:
    """Every variable that must be equal on all ranks at the start of an epoch, by what messages call it."""
    kinds = {"weight": [v for v in model.weights if isinstance(v, tf.Variable)]}
    if training:
        kinds["the optimizer's"] = agreement.optimizer_variables(model.optimizer)
        kinds["a rule's"] = model.rules.variables
    return {
        f"{kind} {v.name} (number {i})": v
        for kind, variables in kinds.items()
        for i, v in enumerate(variables)
    }


def begin(model: TrainingModel, variables: dict[str, tf.Variable]) -> None:
    """Fingerprints a `state` for the updates of an epoch, or for an evaluation; does nothing in one process."""
    if not model.reduction.varies or not variables:
        return
    same = model.update_state.same
    if same.mixed:
        mixed_hardware.share(model, variables)
    prints = fingerprint.of_variables(list(variables.values()))
    same.latest = {name: row.tobytes() for name, row in zip(variables, prints)}
    same.variable.assign(tf.concat([fingerprint.fingerprint(prints), [0]], 0))


def leave(model: TrainingModel) -> None:
    """Ends the training before its last update: takes part in an update without samples, which says so.

    Where all ranks leave, nothing happens. A rank that goes on meets this in its own next update, and all say so.
    """
    state = model.update_state
    if model.reduction.size == 1 or state.element_spec is None:
        return
    state.same.variable.assign(tf.concat([state.same.variable[:-1], [1]], 0))
    before = bool(state.data_may_end)
    state.data_may_end.assign(False)
    nothing = tf.data.Dataset.from_generator(lambda: iter(()), output_signature=state.element_spec)
    model.make_train_function()(iter(nothing))
    state.data_may_end.assign(before)


def evidence(model: TrainingModel, *, of_settings: bool) -> list[tf.Tensor]:
    """What a rank contributes to a reduction, so that `require_equal` can see whether the ranks are equal."""
    reduction, same = model.reduction, model.update_state.same
    if not reduction.varies:
        return []
    scalars = [v.read_value() for v in settings(model).values()] if of_settings else []
    rounded = same.mixed or membership.elastic()  # who joins later may have other hardware
    exact = [same.variable.read_value(), *([] if rounded else scalars)]
    found = [fingerprint.evidence(fingerprint.fingerprint_of_all(exact))]
    if rounded and scalars:
        row = mixed_hardware.row(scalars, reduction.rank_in_graph, reduction.size_in_graph)
        found.append(row)
    return found


def require_equal(model: TrainingModel, summed: list[tf.Tensor]) -> None:
    """Stops the compiled function, on all ranks alike, unless they are equal; see `explained`."""
    for exact in summed[:1]:
        tf.debugging.Assert(fingerprint.equal(exact, model.reduction.size_in_graph), [MARK])
    for rows in summed[1:]:
        tf.debugging.Assert(mixed_hardware.alike(rows), [MARK])


@contextlib.contextmanager
def explained(model: TrainingModel) -> Iterator[None]:
    """Raises a ValueError that names what differs, where the body ends because the ranks do."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        if MARK not in str(error):
            raise
        message = _difference(model)
    else:
        return
    raise ValueError(message)


def _difference(model: TrainingModel) -> str:
    """What differs between the ranks, with its values; every rank must make the same call."""
    same = model.update_state.same
    mine = (
        {name: v.numpy().item() for name, v in settings(model).items()},
        same.latest,
        {"stop_training": bool(same.variable[-1])},
    )
    scalars, weights, leaving = zip(*comm.gather_objects(mine, "tflbt.difference", model.reduction))
    if any(leaving[0] != other for other in leaving):
        who = " and ".join(str(r) for r, flags in enumerate(leaving) if flags["stop_training"])
        return (
            f"Training was stopped (model.stop_training) on rank {who} only, while the others go on. Give every rank "
            "the same callbacks, and let them decide by what is equal on all ranks, such as metrics."
        )
    different = [
        f"{name} is {_by_rank([values.get(name) for values in scalars])}"
        for name in scalars[0]
        if len({repr(values.get(name)) for values in scalars}) > 1
    ]
    differing = [name for name in same.latest if len({found.get(name) for found in weights}) > 1]
    variables = state(model)
    norms = [float(np.linalg.norm(_floats(variables[name]))) for name in differing[:3]]
    ranks_norms = comm.gather_objects(norms, "tflbt.norms", model.reduction)
    different += [
        f"{name} differs (its norm: {_by_rank(list(values))})"
        for name, values in zip(differing, zip(*ranks_norms))
    ]
    if len(differing) > 3:
        different.append(f"and {len(differing) - 3} more")
    return (
        f"The ranks have come to differ: {'; '.join(different) or 'their state'}. The usual cause is a callback, or a "
        "line of the program, that sets a rate or weights on one rank only: give every rank the same callbacks."
    )


def _floats(variable: tf.Variable) -> np.ndarray:
    return np.asarray(tf.cast(variable, tf.float64)).ravel()


def _by_rank(values: list[Any]) -> str:
    """Values and the ranks that have them, of many ranks the first few."""
    some = [f"{value!r} on rank {rank}" for rank, value in enumerate(values)]
    return ", ".join(some[:8]) + (", ..." if len(some) > 8 else "")
