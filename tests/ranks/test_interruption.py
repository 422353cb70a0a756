"""A signal on one rank ends all of them after the same update; resumed, they go on bit for bit."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest

from tests.ranks.twins import K, X, Y, identical_on_ranks
from tflbt import LargeBatchModel
from tflbt.callbacks import Checkpoint, RunLog
from tflbt.distributed import comm
from tflbt.distributed.restart import RestartNeeded


class SignalOnRankOne(K.callbacks.Callback):
    """Sends rank 1 alone a signal, in the middle of the second epoch, as a lost host's agent would."""

    def on_train_batch_end(self, batch, logs=None):
        if comm.rank() == 1 and int(self.model.optimizer.iterations) == 5:
            os.kill(os.getpid(), signal.SIGUSR1)
            while not self.model.update_state.interruption.notice.received:
                time.sleep(0.001)


@pytest.fixture(autouse=True)
def seeded_layers():
    """Random layers draw from generators, as in tflbt.train."""
    before = K.backend.experimental.is_tf_random_generator_enabled()
    K.backend.experimental.enable_tf_random_generator()
    yield
    if not before:
        K.backend.experimental.disable_tf_random_generator()


def test_all_ranks_leave_after_the_same_update_and_go_on_with_the_next_sample(rank, shared_folder):
    """The ranks' moving statistics and dropout differ inside an epoch; each gets its own back."""
    K.utils.set_random_seed(1)
    inputs = K.Input([5])
    hidden = K.layers.BatchNormalization()(K.layers.Dense(8)(inputs))
    model = LargeBatchModel(inputs, K.layers.Dense(2)(K.layers.Dropout(0.3)(hidden)))
    model.compile(K.optimizers.SGD(0.05, momentum=0.9), "mse", metrics=["mae"])
    model.optimizer.build(model.trainable_variables)
    variables = [*model.weights, *model.optimizer.variables]
    first = [v.numpy() for v in variables]

    def fit(name, *more, resume=False):
        for variable, value in zip(variables, first):
            variable.assign(value)
        model.samples_seen, model.update_state.progress = 0, type(model.update_state.progress)()
        checkpoint = Checkpoint(shared_folder / name / "checkpoints", preemption=True)
        begin = checkpoint.resume(model) if resume else 0
        log = RunLog(shared_folder / name / "run", verbose=0)
        model.fit(
            X, Y, batch_size=8, sub_batch_size=2, epochs=3, initial_epoch=begin, verbose=0,
            callbacks=[log, *more, checkpoint],
        )  # fmt: skip
        rows = log.run_directory.metrics.read() if rank == 0 else []
        rows = [{k: v for k, v in row.items() if not k.startswith("seconds")} for row in rows]
        return [v.numpy() for v in variables], rows

    whole, rows = fit("whole")
    with pytest.raises(RestartNeeded, match="in epoch 2, after its update 2"):
        fit("cut", SignalOnRankOne())
    means = model.layers[2].moving_mean.numpy().tolist()
    assert len({str(mean) for mean in comm.gather_objects(means, "tests.means")}) == 2
    again, rows_again = fit("cut", resume=True)
    for ours, theirs in zip(again, whole):
        np.testing.assert_array_equal(ours, theirs)
    assert rows_again == rows
    identical_on_ranks(again, "after a signal")
    if rank == 0:
        names = sorted(path.name for path in (shared_folder / "cut" / "checkpoints").iterdir())
        assert names == ["epoch_00002", "epoch_00003"]
        assert [row["ranks"] for row in rows] == [2, 2, 2]
