"""Puts `hvd.DistributedOptimizer` on an optimizer, or off, by private names of Horovod's whose change is an error."""

from __future__ import annotations

import functools
import sys
from typing import Any

import tensorflow as tf

from tflbt.distributed.comm import EVERYONE, Reduction

# The arguments of hvd.DistributedOptimizer that Horovod 0.28.1 keeps in the closure of the wrapper's constructor.
ARGUMENTS = ("process_set", "compression", "op", "backward_passes_per_step")


def unwrap(optimizer: Any) -> Reduction | None:
    """Takes `hvd.DistributedOptimizer` off an optimizer in place and returns how it would have reduced.

    Horovod makes the wrapper a subclass of the optimizer's class that reduces in `compute_gradients`, once for each
    sub-batch. tflbt reduces once per update itself, so the object is given its own class back (it stays the same
    object: a learning rate assigned through it still counts, and it saves as a plain Keras optimizer), and the
    wrapper's process set, compression and op become the model's. None for an optimizer that was not wrapped.

    Raises:
        ValueError: For `backward_passes_per_step` > 1 (the sub-batches are that), or variables registered as local.
        RuntimeError: If this Horovod wraps optimizers in another way, so that its arguments cannot be read.
    """
    if not is_wrapped(optimizer):
        if imported := sys.modules.get("horovod.tensorflow.keras"):  # else none can be wrapped
            _require_recognition(imported)
        return getattr(optimizer, "_tflbt_reduction", None)
    arguments = _arguments(optimizer)
    if arguments["backward_passes_per_step"] != 1:
        raise ValueError(
            f"backward_passes_per_step={arguments['backward_passes_per_step']} was given to hvd.DistributedOptimizer, "
            "but LargeBatchModel accumulates itself: leave it at 1 and give fit a sub_batch_size."
        )
    if getattr(optimizer, "_local_vars", None):
        raise ValueError(
            "hvd.DistributedOptimizer.register_local_var is not supported by LargeBatchModel: every variable is "
            "reduced."
        )
    import horovod.tensorflow as hvd

    process_set, compression = arguments["process_set"], arguments["compression"]
    reduction = Reduction(
        process_set=None if process_set is hvd.global_process_set else process_set,
        compression=None if compression is hvd.Compression.none else compression,
        sum_over_ranks=arguments["op"] == hvd.Sum,
    )
    object.__setattr__(optimizer, "__class__", type(optimizer).__mro__[1])
    object.__setattr__(optimizer, "_tflbt_reduction", reduction)
    return reduction


def wrap(optimizer: Any, reduction: Reduction = EVERYONE) -> Any:
    """Puts `hvd.DistributedOptimizer` around an optimizer, with the arguments that `unwrap` finds."""
    import horovod.tensorflow.keras as hvd

    return hvd.DistributedOptimizer(
        optimizer,
        op=hvd.Sum if reduction.sum_over_ranks else hvd.Average,
        compression=reduction.compression or hvd.Compression.none,
        process_set=reduction.process_set or hvd.global_process_set,
    )


def half() -> Any:
    """Horovod's compression to float16."""
    import horovod.tensorflow as hvd

    return hvd.Compression.fp16


def is_wrapped(optimizer: Any) -> bool:
    """True for an optimizer whose class, or a base of it, was made by Horovod."""
    return any(cls.__module__.partition(".")[0] == "horovod" for cls in type(optimizer).__mro__)


def _arguments(optimizer: Any) -> dict[str, Any]:
    """The arguments that `hvd.DistributedOptimizer` got, from the closure of the wrapper's constructor."""
    initialiser: Any = type(optimizer).__dict__.get("__init__")
    names = getattr(getattr(initialiser, "__code__", None), "co_freevars", ())
    missing = [name for name in ARGUMENTS if name not in names]
    if missing:
        raise _unknown(f"does not keep {', '.join(missing)} where Horovod 0.28.1 does")
    cells = dict(zip(names, initialiser.__closure__))
    return {name: cells[name].cell_contents for name in ARGUMENTS}


@functools.cache
def _require_recognition(hvd: Any) -> None:
    """Raises if a wrapped optimizer would be taken for a plain one, and its process set and compression ignored."""
    wrapped = hvd.DistributedOptimizer(tf.keras.optimizers.SGD())
    if not is_wrapped(wrapped):
        raise _unknown("makes classes that cannot be told from plain optimizers")
    _arguments(wrapped)


def _unknown(what: str) -> RuntimeError:
    import horovod

    return RuntimeError(
        f"hvd.DistributedOptimizer of Horovod {horovod.__version__} {what}, so LargeBatchModel cannot read its process "
        "set, compression and op: use Horovod 0.28.1, or compile with the plain optimizer, which LargeBatchModel "
        "reduces over all ranks itself."
    )
