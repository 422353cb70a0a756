"""A rank's program: runs tflbt.tune's command, with accidents HOW:TRIAL:EPOCH,... as the first argument says.

raise raises on rank 1 alone after that epoch, or before the model is built for epoch 0; kill kills rank 1. After the
flags, AND ACCIDENTS FLAG=VALUE... may say that another search follows, with other accidents and flags; FLAG= is that
flag's default.
"""

from __future__ import annotations

import os
import signal
import sys


def read(words: str) -> list[tuple[str, int, int]]:
    """How, in which trial and after which epoch, of each accident."""
    accidents = [word.split(":") for word in words.split(",") if word]
    return [(how, int(trial), int(epoch)) for how, trial, epoch in accidents]


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


def main(accidents: str, *words: str) -> None:
    """Searches once or twice."""
    from absl import flags

    import tflbt.tune
    from tflbt import command_line

    again = words.index("AND") if "AND" in words else len(words)
    coming = read(accidents)
    prepare(coming, int(os.environ["HOROVOD_RANK"]))
    sys.argv = ["tflbt.tune", *words[:again]]
    try:
        command_line.run(tflbt.tune.main, required=("config", "workdir"))
    except SystemExit as end:
        if end.code or again == len(words):
            raise
    others, *changed = words[again + 1 :]
    coming[:] = read(others)
    for name, _, value in (word.partition("=") for word in changed):
        flag = flags.FLAGS[name]
        flag.parse(value) if value else flag.unparse()
    tflbt.tune.main()


if __name__ == "__main__":
    main(*sys.argv[1:])
