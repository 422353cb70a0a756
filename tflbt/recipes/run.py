"""How a recipe trains into a run directory, with logs and checkpoints, or goes on where these end."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from tflbt import callbacks, report
from tflbt.distributed import comm
from tflbt.recipes.build import Recipe

# What may change between the start of a run and its resumption: nothing that the result depends on.
_MAY_DIFFER = ("stall_limit", "checkpoint.every", "checkpoint.keep")


def claim(path: str | os.PathLike[str], config: Any, resume: bool) -> report.RunDirectory:
    """Makes the directory of a new run, or opens that of the one to resume; every rank must call it alike.

    Raises:
        FileExistsError: If it is a new run and the directory holds one.
        FileNotFoundError: If it is one to resume and there is none.
        ValueError: If the run to resume has another configuration.
        OSError: If it cannot be read or written.
    """
    return comm.on_chief(
        lambda: (
            report.RunDirectory.open(path, config, _MAY_DIFFER)
            if resume
            else report.RunDirectory.create(path, config)
        ),
        "tflbt.run_directory",
    )


def fit(
    made: Recipe,
    directory: report.RunDirectory,
    *,
    resume: bool = False,
    more_callbacks: Sequence[Any] = (),
    verbose: int = 1,
) -> Any:
    """Trains a recipe in a directory of `claim`; every rank must call it alike.

    Args:
        made: The recipe.
        directory: Where metrics, checkpoints and TensorBoard's files go.
        resume: Go on where the newest good checkpoint ends, if there is one.
        more_callbacks: Such as may end the training early; checkpoints keep the state of those that have one, and one
            that says `over` after that is restored ends the training before it begins.
        verbose: 1 (default) shows bars and a line an epoch, 0 nothing.

    Returns:
        Keras's History of the epochs trained now; None if there were none left.

    Raises:
        FloatingPointError: If the loss is no longer a number.
        OSError: If a file cannot be written.
    """
    epochs = made.config.epochs
    options = made.config.checkpoint
    checkpoint = callbacks.Checkpoint(
        directory.checkpoints, [*made.schedules, *more_callbacks], options.every, options.keep
    )
    finished = checkpoint.resume(made.model) if resume else 0
    if resume and verbose and comm.is_chief():
        print(f"resume: {finished} of {epochs} epochs are done in {directory.path}", flush=True)
    if finished >= epochs or any(getattr(one, "over", False) for one in more_callbacks):
        return None
    ratios, account = callbacks.TrustRatioMonitor(), callbacks.TimeAccount()
    sources = [
        one
        for one in (*made.monitors, *made.schedules, ratios, account)
        if hasattr(one, "epoch_columns")
    ]
    log = callbacks.RunLog(directory, sources, verbose)
    watching = [callbacks.NonFiniteLoss(), ratios, account, log, *more_callbacks, checkpoint]
    try:
        return made.fit(watching, finished, checkpoint.batch_size)
    except FloatingPointError:
        log.diverged()
        raise
