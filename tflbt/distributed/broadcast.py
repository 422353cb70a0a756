"""Gives all ranks the chief's variables: those in this memory where they lie, the rest in buckets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from tflbt.distributed import comm

# What Horovod broadcasts as it is; words and rarer numbers are pickled.
_BROADCAST = frozenset(
    [tf.float32, tf.float64, tf.float16, tf.int8, tf.int16, tf.int32, tf.int64, tf.uint8, tf.bool]
)
# Bytes. Gloo takes longer over a smaller message than to copy it into a larger and back, MPI does not.
_MESSAGE = 2**14
# Bytes of a bucket of several variables. The broadcast of a smaller one is no slower per byte.
_BUCKET = 32 * 2**20
_raw = tf.raw_ops
IN_PLACE, AS_ONE, IN_BUCKETS, PICKLED = "in place", "as one", "in buckets", "pickled"


def broadcast_variables(
    variables: list[tf.Variable],
    name: str,
    reduction: comm.Reduction = comm.EVERYONE,
    *,
    met: bool = False,
) -> None:
    """Assigns the chief's values to `variables`, matched by their position in the list, bit for bit.

    What lies in the host's memory is read and written where it is; over Gloo, small variables as one. The rest, as on
    a GPU, travels in buckets: memory holds one, or the largest variable, beside the variables. `met` says that the
    ranks come from another call that all of them made together, so that none waits long for the others here.

    Horovod's own `broadcast_variables` matches by name, and hangs if one rank has built more models than another.
    """
    if reduction.size == 1 or not variables:
        return
    import horovod.tensorflow as hvd

    chief, options = reduction.rank == 0, {"root_rank": reduction.root, **reduction.options}
    smallest = _MESSAGE if hvd.gloo_enabled() else 0
    by_way: dict[str, list[tf.Variable]] = {IN_PLACE: [], AS_ONE: [], IN_BUCKETS: [], PICKLED: []}
    for variable in variables:
        by_way[_way(variable, smallest)].append(variable)
    if not met and (by_way[IN_PLACE] or by_way[AS_ONE]):
        # The next call keeps the processor busy: the watchdog would not see that a rank waits for another.
        comm.all_reduce_sum([tf.zeros([])], f"{name}.begin", reduction.uncompressed)
    with tf.device("CPU:0"):
        packs = [(tf.Variable(packed(some)), some) for some in in_buckets(by_way[AS_ONE])]
    _broadcast_in_place([*(pack for pack, _ in packs), *by_way[IN_PLACE]], name, reduction)
    for pack, bucket in packs if not chief else []:
        unpack(pack.read_value(), bucket)
    with tf.device("CPU:0"):
        for place, bucket in enumerate(in_buckets(by_way[IN_BUCKETS])):
            mine = packed(bucket)
            received = hvd.broadcast(mine, name=f"{name}.{place}", **options)
            if not chief:
                unpack(received, bucket)
    if pickled := by_way[PICKLED]:
        values = comm.broadcast_object([each.numpy() for each in pickled], name, reduction)
        for variable, value in zip(pickled, values):
            variable.assign(value)


def _way(variable: tf.Variable, smallest: int) -> str:
    """How a variable travels, where a message has so many bytes at least."""
    if variable.dtype not in _BROADCAST:
        return PICKLED
    if "device:CPU" not in variable.device or variable.dtype == tf.int16:
        return IN_BUCKETS  # Horovod takes no int16 where it lies
    if not size(variable):
        return IN_BUCKETS  # there is nothing to send
    return AS_ONE if size(variable) < smallest else IN_PLACE


def _broadcast_in_place(
    variables: Sequence[tf.Variable], name: str, reduction: comm.Reduction
) -> None:
    """Broadcasts variables without a copy, all of them in one call; Horovod keeps the processor busy meanwhile."""
    if not variables:
        return
    from horovod.tensorflow.mpi_ops import MPI_LIB

    handles = {id(variable.handle): variable.handle for variable in variables}  # each is locked
    process_set = reduction.options.get("process_set")
    MPI_LIB.horovod_broadcast_inplace_resource(
        [*handles.values()],
        # Its own `broadcast_` takes the variables' names, which may differ.
        variable_names=[f"{name}.{place}" for place in range(len(handles))],
        root_rank=reduction.root,
        process_set_id=process_set.process_set_id if process_set else 0,
    )


def in_buckets(
    variables: Sequence[tf.Variable], most: int = _BUCKET
) -> Iterator[list[tf.Variable]]:
    """The variables, type by type and in their order, in lists of at most so many bytes or of a single variable."""
    for dtype in dict.fromkeys(variable.dtype for variable in variables):
        bucket: list[tf.Variable] = []
        used = 0
        for variable in (each for each in variables if each.dtype == dtype):
            more = size(variable)
            if bucket and used + more > most:
                yield bucket
                bucket, used = [], 0
            bucket.append(variable)
            used += more
        yield bucket


def size(variable: tf.Variable) -> int:
    """The bytes of a variable's values."""
    return variable.shape.num_elements() * variable.dtype.size


# Raw operations, as the methods of hundreds of small variables take longer than to send them.
def packed(bucket: Sequence[tf.Variable]) -> tf.Tensor:
    """The values of a bucket in a row; a single variable's are not copied."""
    rows = [_shaped(_raw.ReadVariableOp(resource=v.handle, dtype=v.dtype), v, [-1]) for v in bucket]
    return rows[0] if len(rows) == 1 else _raw.ConcatV2(values=rows, axis=0)


def unpack(content: tf.Tensor, bucket: Sequence[tf.Variable]) -> None:
    """Assigns values that were `packed`; until they are updated they share its memory."""
    sizes = [variable.shape.num_elements() for variable in bucket]
    parts = _raw.SplitV(value=content, size_splits=sizes, axis=0, num_split=len(sizes))
    for variable, part in zip(bucket, parts):
        value = _shaped(part, variable, variable.shape)
        _raw.AssignVariableOp(resource=variable.handle, value=value)


def _shaped(value: tf.Tensor, variable: tf.Variable, shape: Any) -> tf.Tensor:
    """A variable's values in another shape, if it is no row itself."""
    return value if variable.shape.rank == 1 else _raw.Reshape(tensor=value, shape=shape)
