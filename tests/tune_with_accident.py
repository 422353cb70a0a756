"""A rank's program: runs tflbt.tune, with accidents HOW:TRIAL:EPOCH,... as the first argument says.

raise_on_rank_1 raises there alone after that epoch, or before the model is built for epoch 0; kill kills rank 1.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys


def prepare(accidents: list[tuple[str, int, int]], rank: int) -> None:
    """Makes a trial's callback have them."""
    from tflbt.recipes import tune as recipe_tune
    from tflbt.tuning.trial_callbacks import WatchTrial

    end_epoch, call = WatchTrial.on_epoch_end, recipe_tune.RecipeTrainer.__call__

    def accident(trial, epoch: int) -> None:
        for how, number, after in accidents:
            if (number, after, rank) == (trial.number, epoch, 1):
                if how == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise OSError("an accident on rank 1")

    def on_epoch_end(self, epoch, logs=None):
        end_epoch(self, epoch, logs)
        accident(self.trial, epoch + 1)

    def train(self, trial, folder, callbacks):
        accident(trial, 0)
        call(self, trial, folder, callbacks)

    WatchTrial.on_epoch_end, recipe_tune.RecipeTrainer.__call__ = on_epoch_end, train


if __name__ == "__main__":
    accidents = [word.split(":") for word in sys.argv[1].split(",") if word]
    sys.argv = ["tflbt.tune", *sys.argv[2:]]
    prepare(
        [(how, int(trial), int(epoch)) for how, trial, epoch in accidents],
        int(os.environ["HOROVOD_RANK"]),
    )
    runpy.run_module("tflbt.tune", run_name="__main__", alter_sys=True)
