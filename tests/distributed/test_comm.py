"""What ranks say to one another, with Horovod, without it, and where it is needed but missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from tflbt.distributed import comm, wrapped_optimizer

WITHOUT_HOROVOD = """
import os, sys
sys.modules["horovod"] = None  # importing it raises ImportError
import numpy as np
import tensorflow as tf
import tflbt

tflbt.init()
inputs = tf.keras.Input([3])
model = tflbt.LargeBatchModel(inputs, tf.keras.layers.Dense(1)(inputs))
model.compile("sgd", "mse")
x = np.ones([8, 3], "float32")
model.fit(x, x[:, :1], batch_size=8, sub_batch_size=2, verbose=0, validation_split=0.5)
assert int(model.optimizer.iterations) == 1
for variable in ("HOROVOD_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK"):
    os.environ[variable] = "0"
    for call in (tflbt.init, tflbt.size, lambda: model.fit(x, x[:, :1], verbose=0)):
        try:
            call()
        except RuntimeError as error:
            assert "Horovod cannot be imported" in str(error) and "mpi/install.sh" in str(error), error
        else:
            raise AssertionError("launched, but trains alone")
    del os.environ[variable]
"""


def test_one_process_needs_no_horovod_and_a_launched_one_is_told():
    environment = {k: v for k, v in os.environ.items() if k not in comm.LAUNCHER_VARIABLES}
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_HOROVOD],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_one_process_talks_to_itself():
    assert (comm.rank(), comm.size(), comm.local_rank(), comm.local_size()) == (0, 1, 0, 1)
    assert comm.is_chief() and not comm.launched()
    tensors = [tf.constant([1.0, 2.0]), tf.constant(3)]
    assert comm.all_reduce_sum(tensors, "sum") == tensors
    assert comm.broadcast_object({"a": 1}, "object") == {"a": 1}
    assert comm.gather_objects("mine", "objects") == ["mine"]
    assert comm.on_chief(lambda: 7, "seven") == 7
    with pytest.raises(FileNotFoundError, match="nowhere"):
        comm.on_chief(Path("/nowhere").read_text, "read")
    comm.broadcast_variables([tf.Variable(1.0)], "variables")
    assert wrapped_optimizer.unwrap(tf.keras.optimizers.SGD()) is None
    assert wrapped_optimizer.unwrap("sgd") is None


ON_RANKS = """
import numpy as np
import tensorflow as tf
import tflbt
import horovod.tensorflow.keras as hvd
from tflbt.distributed import comm, wrapped_optimizer

sets = [hvd.ProcessSet([0]), hvd.ProcessSet([1])]
hvd.init(process_sets=sets)
tflbt.init()
rank = comm.rank()
assert (rank, comm.size(), comm.local_rank(), comm.local_size()) == (hvd.rank(), 2, rank, 2)
assert comm.is_chief() == (rank == 0)

mine = [tf.constant([1.0, rank]), tf.constant(3), tf.zeros([0, 2]), tf.constant(2.0, tf.float64)]
for call in (comm.all_reduce_sum, tf.function(comm.all_reduce_sum)):
    sums = call(mine, "sums")
    assert [s.dtype for s in sums] == [m.dtype for m in mine]
    assert [s.numpy().tolist() for s in sums] == [[2.0, 1.0], 6, [], 4.0]
assert comm.broadcast_object({"rank": rank}, "object") == {"rank": 0}
assert comm.gather_objects("r" * (rank + 1), "objects") == ["r", "rr"]
assert comm.on_chief(lambda: rank + 5, "five") == 5
errors = {OSError: FileNotFoundError("gone"), ValueError: ValueError("bad"), RuntimeError: KeyError("k")}
for kind, error in errors.items():
    def fail():
        raise error
    try:
        comm.on_chief(fail, "fail")
        raise SystemExit("no error came")
    except kind as raised:
        assert str(error) in str(raised), raised

# One rank has built one model more, so names differ; values are matched by place and kept to the last bit.
extra = [tf.Variable(0.0) for _ in range(rank)]
held = [tf.Variable(np.float32(np.pi) * (rank + 1)), tf.Variable([rank, 7], dtype=tf.int64), tf.Variable(rank == 0)]
comm.broadcast_variables(held, "variables")
assert held[0].numpy() == np.float32(np.pi) and held[1].numpy().tolist() == [0, 7] and bool(held[2])

alone, both = comm.Reduction(process_set=sets[rank]), comm.Reduction(process_set=hvd.global_process_set)
assert (alone.size, alone.rank, alone.root, both.size, both.rank) == (1, 0, rank, 2, rank)
assert comm.all_reduce_sum([tf.constant(4.0)], "alone", alone)[0].numpy() == 4.0
assert comm.broadcast_object(rank, "to both", both) == 0
assert comm.gather_objects(rank, "of both", both) == [0, 1]

def wrapped(inner=tf.keras.optimizers.SGD, **options):
    return hvd.DistributedOptimizer(inner(0.1), **options)

for inner in (tf.keras.optimizers.SGD, tf.keras.optimizers.Adam, tf.keras.optimizers.legacy.SGD):
    optimizer = wrapped(inner, compression=hvd.Compression.fp16, process_set=sets[rank], op=hvd.Sum)
    told = wrapped_optimizer.unwrap(optimizer)
    assert type(optimizer) is inner
    assert told == comm.Reduction(sets[rank], hvd.Compression.fp16, True)
    assert wrapped_optimizer.unwrap(optimizer) == told, "compiled again"
assert wrapped_optimizer.unwrap(wrapped()) == comm.EVERYONE

def refused(message, optimizer):
    try:
        wrapped_optimizer.unwrap(optimizer)
        raise SystemExit("not refused: " + message)
    except ValueError as error:
        assert message in str(error), error

refused("backward_passes_per_step=2", wrapped(backward_passes_per_step=2))
local = wrapped()
local.register_local_var(tf.Variable(1.0))
refused("register_local_var", local)
print(f"the end {rank}\\n", end="", flush=True)
"""


@pytest.mark.ranks(2)
def test_two_ranks_talk(run_ranks):
    output = run_ranks(ON_RANKS).stdout
    assert "the end 0" in output and "the end 1" in output


def test_keras_3_is_refused_before_horovod_starts(monkeypatch):
    import horovod.tensorflow  # noqa: F401 - it puts the module in the place of TensorFlow's lazy loader

    monkeypatch.setenv("HOROVOD_RANK", "0")
    monkeypatch.setattr(tf.keras, "__version__", "3.1.0", raising=False)
    with pytest.raises(RuntimeError, match="Keras 3.1.0, with which Horovod never reduces"):
        comm.init()
