"""Writes down each epoch of a run: metrics.csv, TensorBoard, and a line on the screen."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import tensorflow as tf

from tflbt import checks
from tflbt.callbacks.epoch_line import epoch_line
from tflbt.callbacks.progress import Progress
from tflbt.distributed import comm
from tflbt.runs.event_log import EventLog
from tflbt.runs.run_directory import RunDirectory


class Source(Protocol):
    """What a callback offers that has something to say about an epoch."""

    def epoch_columns(self) -> Mapping[str, Any]:
        """Returns values by column for the epoch that has just ended."""


class RunLog(tf.keras.callbacks.Callback):
    """Writes a row an epoch to a run directory and shows it as a line.

    Place it after its sources in the list of callbacks, so that they have finished the epoch.
    The chief rank writes and prints; on other ranks it does nothing. No call is collective.

    The row: `epoch` (counted from 1), `updates` (optimizer iterations), `samples` (from
    `model.samples_seen` where there is one; both since the start of the run), Keras's losses and
    metrics, `learning_rate` and `batch_size` (of the epoch's last update; `model.batch_size` where
    there is one), `seconds` (the whole epoch, validation included), and what the sources add:
    `TimeAccount` where the seconds went. With `fit(batch_augmentation=...)` every instance counts
    in `samples`, and `distinct_samples` counts each sample once; with `fit(small_loss=...)` there
    is `discarded_share`.

    A resumed run (`fit(..., initial_epoch=k)`) keeps the rows up to epoch k and writes those
    after it anew, in `metrics.csv` and in TensorBoard. A second `fit` of one model with the same
    `RunLog` goes on counting where the first ended.

    With `fit(verbose=0)` it draws its own progress bar, which gives way to the line; if Keras
    draws a bar, the line follows when that bar is finished.

    Args:
        run_directory: Where to write: a `RunDirectory`, or a path (made if missing).
        sources: Objects with `epoch_columns() -> dict`, asked at each epoch's end; usually
            callbacks such as `TwoPhaseSchedule`.
        verbose: 1 (default) shows bar and line; 0 writes the files only.

    Raises:
        FileExistsError: At the first epoch, if `run_directory` is a path where another run's
            rows are and `initial_epoch` is 0.
        OSError: If a file cannot be written; names it.

    Example:
        >>> import tempfile
        >>> model = tf.keras.Sequential([tf.keras.layers.Dense(1, input_shape=(2,))])
        >>> model.compile("sgd", "mse")
        >>> log = RunLog(tempfile.mkdtemp(), verbose=0)
        >>> _ = model.fit(tf.ones([8, 2]), tf.ones([8, 1]), epochs=2, verbose=0, callbacks=[log])
        >>> [row["updates"] for row in log.run_directory.metrics.read()]
        [1, 2]
    """

    def __init__(
        self,
        run_directory: RunDirectory | str | os.PathLike[str],
        sources: Iterable[Source] = (),
        verbose: int = 1,
    ) -> None:
        """Takes the places to write to and to ask; writes nothing yet."""
        super().__init__()
        checks.one_of("verbose", verbose, (0, 1, 2))
        if not isinstance(run_directory, RunDirectory):
            run_directory = RunDirectory(run_directory)
        self.run_directory = run_directory
        self.sources = list(sources)
        for source in self.sources:
            if not callable(getattr(source, "epoch_columns", None)):
                raise ValueError(f"sources holds {source!r}, which has no epoch_columns() method.")
        self.verbose = int(verbose)
        self._supports_tf_logs = True  # no need for Keras to fetch every update's logs
        self._progress = Progress()
        self._events: EventLog | None = None
        self._started = False
        self._offset = 0
        self._last_epoch = 0
        self._epoch = self._keras_epoch = 0
        self._line = ""
        self._learning_rate: Any = None
        self._batch_size: Any = None
        self._epoch_began = 0.0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Waits for the first epoch's number, which is the only word on whether this resumes."""
        self._started = False

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock; at the first epoch, also the files."""
        if not comm.is_chief():
            return
        self._show_line()
        if not self._started:
            self._start(epoch)
        self._keras_epoch, self._epoch = epoch, epoch + 1 + self._offset
        self._epoch_began = time.perf_counter()
        self._learning_rate = self._batch_size = None
        if self._draws:
            number = f"epoch {self._epoch}/{self._epochs}"
            self._progress.start(number, self.params.get("steps"))

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Keeps the batch size of this update, which callbacks may change at its end or the epoch's."""
        if comm.is_chief():
            self._batch_size = getattr(self.model, "batch_size", None)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Keeps the learning rate this update used, before anything changes it."""
        if not comm.is_chief():
            return
        rate = _learning_rate(self.model.optimizer)
        # On a device, a copy that is fetched only at the epoch's end: no wait in the update.
        self._learning_rate = rate.read_value() if isinstance(rate, tf.Variable) else rate
        if self._draws:
            self._progress.update(batch + 1, logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the row, the events and the line."""
        if not comm.is_chief():
            return
        row = self._row(self._epoch, logs or {}, self.sources)
        self.run_directory.metrics.append(row)
        if self._events is not None:
            self._events.add(row)
        self._last_epoch = row["epoch"]
        self._line = epoch_line(row, self._epochs)
        self._progress.clear()
        if not self._keras_draws:
            self._show_line()

    def diverged(self) -> None:
        """Writes the row of an epoch that was cut short by a loss which is no number: its loss is NaN."""
        if not comm.is_chief() or not self._started:
            return
        row = self._row(self._epoch, {"loss": math.nan}, sources=())
        self.run_directory.metrics.append(row)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Shows the last line and closes the event file."""
        if self._events is not None:
            self._events.close()
            self._events = None
        # Keras's bar ends after the callbacks of the last epoch and before this.
        self._show_line()

    @property
    def _epochs(self) -> int:
        """The last epoch of this run, as the row counts."""
        return int(self.params.get("epochs") or 0) + self._offset

    @property
    def _keras_draws(self) -> bool:
        """True if Keras shows a bar of its own."""
        return bool(self.params.get("verbose"))

    @property
    def _draws(self) -> bool:
        """True if the bar is ours to draw."""
        return self.verbose > 0 and not self._keras_draws

    def _show_line(self) -> None:
        """Prints the line of the epoch that has ended, once."""
        if self._line and self.verbose:
            print(self._line, file=sys.stdout, flush=True)
        self._line = ""

    def _start(self, initial_epoch: int) -> None:
        """Opens the files: keeps the rows up to `initial_epoch`, drops those after it."""
        run, self._offset = self.run_directory, 0
        if self._last_epoch and initial_epoch == 0:
            self._offset = self._last_epoch
        self._require_ours(initial_epoch)
        run.path.mkdir(parents=True, exist_ok=True)
        run.metrics.truncate(initial_epoch + self._offset)
        if self._events is not None:  # the last fit was interrupted
            self._events.close()
        self._events = EventLog(run.tensorboard, run.metrics.read(), run.hyper_parameters)
        run.claimed = self._started = True

    def _require_ours(self, initial_epoch: int) -> None:
        """Raises if starting at this epoch would drop the rows of a run that is not known ours."""
        if initial_epoch or self.run_directory.claimed or not self.run_directory.metrics.read():
            return
        raise FileExistsError(
            17,
            "this holds the epochs of another run; resume it with fit(initial_epoch=...), or give "
            "RunLog another directory",
            str(self.run_directory.metrics_csv),
        )

    def _row(
        self, epoch: int, logs: Mapping[str, Any], sources: Iterable[Source]
    ) -> dict[str, Any]:
        """Returns the values of an epoch by column, in the documented order of columns."""
        optimizer, model = self.model.optimizer, self.model
        rate = _learning_rate(optimizer) if self._learning_rate is None else self._learning_rate
        size = getattr(model, "batch_size", None) if self._batch_size is None else self._batch_size
        row: dict[str, Any] = {
            "epoch": epoch,
            "updates": _number(getattr(optimizer, "iterations", None)),
            "samples": _number(getattr(model, "samples_seen", None)),
        }
        # Keras's own schedules add "lr" to the logs: the column learning_rate says it already.
        row.update({name: _number(value) for name, value in logs.items() if name != "lr"})
        row["learning_rate"] = _number(logs.get("learning_rate", rate))
        row["batch_size"] = _number(size)
        for rule in getattr(model, "rules", ()):
            columns = rule.columns(self._keras_epoch)
            row.update({name: _number(value) for name, value in columns.items()})
        for source in sources:
            row.update({name: _number(value) for name, value in source.epoch_columns().items()})
        row["seconds"] = time.perf_counter() - self._epoch_began
        return row


def _learning_rate(optimizer: Any) -> Any:
    """Returns the learning rate of the moment: a variable, a tensor, a number, or None."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # of a LossScaleOptimizer
    rate = getattr(inner, "learning_rate", None)
    if isinstance(rate, tf.keras.optimizers.schedules.LearningRateSchedule):  # legacy optimizers
        return rate(inner.iterations)
    return rate


def _number(value: Any) -> Any:
    """Returns variables, tensors and NumPy scalars as Python numbers; the rest as it is."""
    value = value.numpy() if hasattr(value, "numpy") else value
    return value.item() if hasattr(value, "item") and getattr(value, "size", 1) == 1 else value
