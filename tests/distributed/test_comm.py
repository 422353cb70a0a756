"""What ranks say to one another, with Horovod, without it, and where it is needed but missing."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path

import pytest
import tensorflow as tf

from tests.conftest import rank_environment
from tflbt.distributed import broadcast, comm, wrapped_optimizer


def test_one_process_needs_no_horovod_and_a_launched_one_is_told():
    environment = {k: v for k, v in rank_environment().items() if k not in comm.LAUNCHER_VARIABLES}
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("without_horovod.py"))],
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
    broadcast.broadcast_variables([tf.Variable(1.0)], "variables")
    assert wrapped_optimizer.unwrap(tf.keras.optimizers.SGD()) is None
    assert wrapped_optimizer.unwrap("sgd") is None


@pytest.mark.parametrize(
    ("over", "cores", "take"), [("mpi", 1, True), ("mpi", 2, False), ("gloo", 1, False), ("", 1, False)]
)  # fmt: skip
def test_sums_take_the_core_of_a_rank_over_mpi_that_has_one(monkeypatch, over, cores, take):
    horovod = types.SimpleNamespace(
        mpi_enabled=lambda: over == "mpi", gloo_enabled=lambda: over == "gloo"
    )
    monkeypatch.setattr(comm, "_horovod", lambda: horovod if over else None)
    monkeypatch.setattr(comm, "cores", lambda: cores)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    assert comm.sums_take_the_core() is take


def test_keras_3_is_refused_before_horovod_starts(monkeypatch):
    import horovod.tensorflow  # noqa: F401 - it puts the module in the place of TensorFlow's lazy loader

    monkeypatch.setenv("HOROVOD_RANK", "0")
    monkeypatch.setattr(tf.keras, "__version__", "3.1.0", raising=False)
    with pytest.raises(RuntimeError, match="Keras 3.1.0, with which Horovod never reduces"):
        comm.init()


@pytest.mark.parametrize(("old", "new"), [("meet", "join"), ("within", "process_set_scope")])
def test_old_names_still_work(old, new):
    with pytest.warns(DeprecationWarning, match=f"comm.{old} is now comm.{new}"):
        function = getattr(comm, old)
    assert function is getattr(comm, new)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = comm.nothing
