"""What ranks say to one another, with Horovod."""

from __future__ import annotations

import horovod.tensorflow.keras as hvd
import numpy as np
import pytest
import tensorflow as tf

from tests.ranks.twins import SETS, K
from tflbt.distributed import broadcast, comm, wrapped_optimizer


def test_who_is_who(rank):
    assert (rank, comm.size(), comm.local_rank(), comm.local_size()) == (hvd.rank(), 2, rank, 2)
    assert comm.is_chief() == (rank == 0)


@pytest.mark.parametrize("call", [comm.all_reduce_sum, tf.function(comm.all_reduce_sum)])
def test_sums(call, rank):
    mine = [
        tf.constant([1.0, rank]),
        tf.constant(3),
        tf.zeros([0, 2]),
        tf.constant(2.0, tf.float64),
    ]
    sums = call(mine, "sums")
    assert [s.dtype for s in sums] == [m.dtype for m in mine]
    assert [s.numpy().tolist() for s in sums] == [[2.0, 1.0], 6, [], 4.0]


def test_objects(rank):
    assert comm.broadcast_object({"rank": rank}, "object") == {"rank": 0}
    assert comm.gather_objects("r" * (rank + 1), "objects") == ["r", "rr"]
    assert comm.on_chief(lambda: rank + 5, "five") == 5


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (OSError, FileNotFoundError("gone")),
        (ValueError, ValueError("bad")),
        (RuntimeError, KeyError("k")),
    ],
)
def test_an_error_of_the_chief_is_everybodys(kind, error):
    def fail():
        raise error

    with pytest.raises(kind) as raised:
        comm.on_chief(fail, "fail")
    assert str(error) in str(raised.value)


def test_variables_are_matched_by_place_and_kept_to_the_last_bit(rank):
    """One rank has built one model more, so that names differ."""
    extra = [tf.Variable(0.0) for _ in range(rank)]
    variables = [
        tf.Variable(np.float32(np.pi) * (rank + 1)),
        tf.Variable([rank, 7], dtype=tf.int64),
        tf.Variable(rank == 0),
    ]
    broadcast.broadcast_variables(variables, "variables")
    first, second, third = (variable.numpy() for variable in variables)
    assert first == np.float32(np.pi) and second.tolist() == [0, 7] and bool(third)
    assert len(extra) == rank


def test_variables_are_written_where_they_lie(rank):
    """Of every type, and in the memory that they have, unless somebody else still reads that."""
    types = ("float32", "float64", "float16", "bfloat16", "int8", "int16", "int64", "uint8", "bool")
    chiefs = [
        tf.cast(tf.reshape(tf.range(24), [n, -1]), kind) for n, kind in zip([1, 2, 3] * 3, types)
    ]
    variables = [tf.Variable(tf.zeros_like(value) if rank else value) for value in chiefs]
    variables += [
        tf.Variable(tf.zeros([0, 3])),
        variables[0],
    ]  # nothing to send; the same one again
    large = tf.Variable(tf.fill([2**20], float(rank)))
    place = np.asarray(large.read_value()).ctypes.data
    before = variables[0].read_value()
    broadcast.broadcast_variables([*variables, large], "variables")
    for variable, value in zip(variables, chiefs):
        np.testing.assert_array_equal(variable.numpy(), value.numpy())
    assert not large.numpy().any() and np.asarray(large.read_value()).ctypes.data == place
    assert bool(tf.reduce_any(before != 0)) == (rank == 0), "what was read before stays"


def test_ranks_that_have_met_share_in_one_call_and_gloo_in_few_messages(rank, monkeypatch):
    sums, sent, real_sum, real = [], [], comm.all_reduce_sum, broadcast._broadcast_in_place
    monkeypatch.setattr(comm, "all_reduce_sum", lambda *them: (sums.append(1), real_sum(*them))[1])
    monkeypatch.setattr(
        broadcast, "_broadcast_in_place", lambda *them: (sent.append(len(them[0])), real(*them))
    )
    shapes = [[], [7], [2, 3], [2**14], [5]]
    for met in (False, True):
        variables = [tf.Variable(tf.fill(shape, i + 10.0 * rank)) for i, shape in enumerate(shapes)]
        broadcast.broadcast_variables(variables, "shared", met=met)
        for i, variable in enumerate(variables):
            variable.assign_add(tf.ones_like(variable) * i)  # each has memory of its own
        for i, (shape, variable) in enumerate(zip(shapes, variables)):
            np.testing.assert_array_equal(variable.numpy(), np.full(shape, 2.0 * i))
    assert len(sums) == 1, "those that have met do not meet again"
    assert sent == [2 if hvd.gloo_enabled() else 5] * 2


def test_reductions_of_some_ranks(rank):
    alone = comm.Reduction(process_set=SETS[rank])
    both = comm.Reduction(process_set=hvd.global_process_set)
    assert (alone.size, alone.rank, alone.root, both.size, both.rank) == (1, 0, rank, 2, rank)
    assert comm.all_reduce_sum([tf.constant(4.0)], "alone", alone)[0].numpy() == 4.0
    assert comm.broadcast_object(rank, "to both", both) == 0
    assert comm.gather_objects(rank, "of both", both) == [0, 1]


def wrapped(inner=K.optimizers.SGD, **options):
    return hvd.DistributedOptimizer(inner(0.1), **options)


@pytest.mark.parametrize("inner", [K.optimizers.SGD, K.optimizers.Adam, K.optimizers.legacy.SGD])
def test_a_wrapped_optimizer_is_unwrapped_and_says_how_it_reduces(inner, rank):
    optimizer = wrapped(inner, compression=hvd.Compression.fp16, process_set=SETS[rank], op=hvd.Sum)
    reduction = wrapped_optimizer.unwrap(optimizer)
    assert type(optimizer) is inner
    assert reduction == comm.Reduction(SETS[rank], hvd.Compression.fp16, True)
    assert wrapped_optimizer.unwrap(optimizer) == reduction, "compiled again"


def test_a_wrapper_without_options_reduces_over_all():
    assert wrapped_optimizer.unwrap(wrapped()) == comm.EVERYONE


def test_wrappers_that_are_refused():
    with pytest.raises(ValueError, match="backward_passes_per_step=2"):
        wrapped_optimizer.unwrap(wrapped(backward_passes_per_step=2))
    local = wrapped()
    local.register_local_var(tf.Variable(1.0))
    with pytest.raises(ValueError, match="register_local_var"):
        wrapped_optimizer.unwrap(local)
