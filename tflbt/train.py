"""The command `python -m tflbt.train`: trains a recipe into a run directory, or goes on with one."""

from __future__ import annotations

import sys
import time
from typing import Any

from absl import app, flags, logging
from ml_collections import config_flags

_CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "A recipe and variant, hparams/FILE.py:VARIANT; --config.KEY=VALUE changes one of its values.",
    lock_config=True,
)
_WORKDIR = flags.DEFINE_string("workdir", None, "The run directory; a new one, or the one to resume.")
_RESUME = flags.DEFINE_bool("resume", False, "Go on with the run in --workdir where its checkpoints end.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where the data sets lie (digits need none).")

# Errors that mean the user has something to change; anything else is a defect and shows its traceback.
_EXPECTED = (ValueError, OSError, FloatingPointError)
# The chief's message ends the job before the others repeat it; one that fails alone still speaks.
_PATIENCE_SECONDS = 3.0


def train(config: Any, workdir: str, *, resume: bool = False, data_dir: str | None = None) -> Any:
    """Trains a recipe and leaves a run directory: metrics, checkpoints, TensorBoard, figures, report.

    Args:
      config: a recipe's `ConfigDict` (see `tflbt.recipe.default_config`).
      workdir: the run directory, which must not hold a run unless `resume`.
      resume: go on where the newest good checkpoint ends; the result equals an uninterrupted run's.
      data_dir: where the data sets lie.

    Returns:
      Keras's History of the epochs trained now.

    Raises:
      ValueError: if the configuration cannot be.
      OSError: if data, the run directory or a checkpoint cannot be read or written.
      FloatingPointError: if the loss is no longer a number.
    """
    from tflbt import callbacks, recipe, report
    from tflbt.distributed import comm

    recipe.prepare_process(config)
    made = recipe.build(config, data_dir)
    directory = comm.on_chief(
        lambda: (
            report.RunDirectory.open(workdir, config, may_differ=("stall_limit", "checkpoint.every", "checkpoint.keep"))
            if resume
            else report.RunDirectory.create(workdir, config)
        ),
        "tflbt.run_directory",
    )
    checkpoint = callbacks.Checkpoint(
        directory.checkpoints, made.schedules, config.checkpoint.every, config.checkpoint.keep
    )
    initial_epoch = checkpoint.resume(made.model) if resume else 0
    if initial_epoch >= config.epochs:
        logging.info("the run has all its %d epochs", config.epochs)
    sources = [callback for callback in made.schedules if hasattr(callback, "epoch_columns")]
    try:
        return made.fit(
            [callbacks.NonFiniteLoss(), callbacks.RunLog(directory, sources), checkpoint],
            initial_epoch,
            checkpoint.batch_size,
        )
    finally:
        if comm.is_chief():
            _write_report(directory)


def _write_report(directory: Any) -> None:
    """Writes figures and page; a failure here must not hide how the training ended."""
    from tflbt import report

    try:
        print(f"report: {report.write(directory)}")
    except Exception as error:  # noqa: BLE001
        logging.error("the report could not be written: %s (python -m tflbt.report_run writes it later)", error)


def main(argv: list[str]) -> None:
    """Trains what the flags say; ends with status 1 and one line if that cannot be."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}")
    try:
        train(_CONFIG.value, _WORKDIR.value, resume=_RESUME.value, data_dir=_DATA_DIR.value)
    except _EXPECTED as error:
        fail(error)


def fail(error: Exception) -> None:
    """Prints an error as one line and ends this process with status 1."""
    from tflbt.distributed import comm

    if not comm.is_chief():
        time.sleep(_PATIENCE_SECONDS)
    print(f"tflbt.train: error: {error}", file=sys.stderr, flush=True)
    sys.exit(1)


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "workdir"])
    app.run(main)
