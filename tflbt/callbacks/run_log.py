"""`RunLog`: writes each epoch of a run to metrics.csv and TensorBoard, and as a line on the screen."""

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
from tflbt.callbacks.learning_rate import current_rate
from tflbt.callbacks.progress import Progress
from tflbt.distributed import comm
from tflbt.runs import directions
from tflbt.runs.event_log import EventLog
from tflbt.runs.metrics import flat
from tflbt.runs.run_directory import RunDirectory
from tflbt.training.keras_internals import TensorLogs


class Source(Protocol):
    """Anything, usually a callback, that adds columns to an epoch's row."""

    def epoch_columns(self) -> Mapping[str, Any]:
        """Returns values by column for the epoch that has just ended."""


@checks.arguments
class RunLog(TensorLogs, tf.keras.callbacks.Callback):
    """Writes one row per epoch to a run directory and shows it as a line.

    Place it after its sources in the list of callbacks, so that they have finished the epoch. The chief rank writes and
    prints; on other ranks it does nothing. No call is collective.

    The row has `epoch` (counted from 1), `updates` (the optimizer's iterations) and `samples` (the model's
    `samples_seen`, if it has that), both since the start of the run, Keras's losses and metrics, `learning_rate` and
    `batch_size` (`model.batch_size`, if there is one) of the epoch's last update, `ranks`, `seconds` (the whole epoch,
    including validation; where a run went on inside it, from there), and the columns of the sources; `TimeAccount`, for
    example, adds where the seconds went. With `fit(batch_augmentation=...)` every instance counts in `samples`, and
    `distinct_samples` counts each sample once; with `fit(small_loss=...)` there is `discarded_share`. Other rules of
    `fit` add columns of their own.

    A resumed run (`fit(..., initial_epoch=k)`) keeps the rows up to epoch k and writes the later ones again, in
    `metrics.csv` and in TensorBoard. A second `fit` of one model with the same `RunLog` continues the count of the
    first.

    With `fit(verbose=0)` it draws its own progress bar, which the line replaces; if Keras draws a bar, the line follows
    when that bar is finished.

    Args:
        run_directory: Where to write: a `RunDirectory`, or a path (created if missing).
        sources: Objects whose `epoch_columns()`, called at the end of each epoch, returns a dictionary; usually
            callbacks such as `TwoPhaseSchedule`.
        verbose: 1 (default) shows bar and line; 0 writes the files only.

    Raises:
        ValueError: If `verbose` is not 0, 1 or 2, or a source has no `epoch_columns`.
        FileExistsError: At the first epoch, if `run_directory` is a path that holds another run's rows, and
            `initial_epoch` is 0.
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
        sources: Iterable[Any] = (),  # with `epoch_columns`, as `Source` has it
        verbose: bool | int = 1,
    ) -> None:
        super().__init__()
        checks.one_of("verbose", verbose, (0, 1, 2, True, False))
        if not isinstance(run_directory, RunDirectory):
            run_directory = RunDirectory(run_directory)
        self.run_directory = run_directory
        self.sources = list(sources)
        for source in self.sources:
            if not callable(getattr(source, "epoch_columns", None)):
                raise ValueError(f"sources holds {source!r}, which has no epoch_columns() method.")
        self.verbose = int(verbose)
        self._progress = Progress()
        self._events: EventLog | None = None
        self._started = self._wrote_directions = False
        self._offset = 0
        self._last_epoch = 0
        self._epoch = self._keras_epoch = 0
        self._line = ""
        self._learning_rate: Any = None
        self._batch_size: Any = None
        self._epoch_began = 0.0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Waits for the number of the first epoch, which alone shows whether this run is resumed."""
        self._started = False

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock; opens the files at the first epoch."""
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
        """Notes the batch size of this update, as callbacks may change it at the end of the update or the epoch."""
        if comm.is_chief():
            self._batch_size = getattr(self.model, "batch_size", None)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the learning rate of this update, before a callback changes it."""
        if not comm.is_chief():
            return
        rate = current_rate(self.model)
        # A copy on the device, fetched only at the end of the epoch, so that the update need not wait.
        self._learning_rate = rate.read_value() if isinstance(rate, tf.Variable) else rate
        if self._draws:
            self._progress.update(batch + 1, logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the row, the events and the line."""
        if not comm.is_chief():
            return
        row = self._row(self._epoch, logs or {}, self.sources)
        self.run_directory.metrics.append(row)
        if not self._wrote_directions:
            self.run_directory.write_directions(directions.of_model(self.model))
            self._wrote_directions = True
        if self._events is not None:
            self._events.add(row)
        self._last_epoch = row["epoch"]
        self._line = epoch_line(row, self._epochs)
        self._progress.clear()
        if not self._keras_draws:
            self._show_line()

    def diverged(self) -> None:
        """Writes the row of an epoch that ended early because its loss became NaN or infinite; its loss is NaN."""
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
        """The last epoch of this run, in the count of the rows."""
        return int(self.params.get("epochs") or 0) + self._offset

    @property
    def _keras_draws(self) -> bool:
        """True if Keras draws a progress bar."""
        return bool(self.params.get("verbose"))

    @property
    def _draws(self) -> bool:
        """True if this callback draws the progress bar."""
        return self.verbose > 0 and not self._keras_draws

    def _show_line(self) -> None:
        """Prints the line of the epoch that has ended, only once."""
        if self._line and self.verbose:
            print(self._line, file=sys.stdout, flush=True)
        self._line = ""

    def _start(self, initial_epoch: int) -> None:
        """Opens the files, keeping the rows up to `initial_epoch` and dropping the later ones."""
        run, self._offset = self.run_directory, 0
        if self._last_epoch and initial_epoch == 0:
            self._offset = self._last_epoch
        self._require_ours(initial_epoch)
        run.require_contained()
        run.path.mkdir(parents=True, exist_ok=True)
        run.metrics.truncate(initial_epoch + self._offset)
        if self._events is not None:  # the last fit was interrupted
            self._events.close()
        self._events = EventLog(run.tensorboard, run.metrics.read(), run.hyper_parameters)
        run.claimed, self._started, self._wrote_directions = True, True, False

    def _require_ours(self, initial_epoch: int) -> None:
        """Raises if starting at this epoch would drop the rows of another run."""
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
        model = self.model
        rate = current_rate(model) if self._learning_rate is None else self._learning_rate
        size = getattr(model, "batch_size", None) if self._batch_size is None else self._batch_size
        row: dict[str, Any] = {
            "epoch": epoch,
            "updates": _number(getattr(model.optimizer, "iterations", None)),
            "samples": _number(getattr(model, "samples_seen", None)),
        }
        # Keras's own schedules add "lr" to the logs, which is the column learning_rate.
        ours = {"lr", *(name for name, value in row.items() if value is not None)}
        row.update({name: _number(value) for name, value in logs.items() if name not in ours})
        row["learning_rate"] = _number(logs.get("learning_rate", rate))
        row["batch_size"] = _number(size)
        row["ranks"] = comm.reduction_of(model).size
        for rule in getattr(model, "rules", ()):
            columns = rule.columns(self._keras_epoch)
            row.update({name: _number(value) for name, value in columns.items()})
        for source in sources:
            row.update({name: _number(value) for name, value in source.epoch_columns().items()})
        row["seconds"] = time.perf_counter() - self._epoch_began
        return flat(row)


def _number(value: Any) -> Any:
    """Converts variables, tensors and NumPy scalars to Python numbers; returns anything else as it is."""
    value = value.numpy() if hasattr(value, "numpy") else value
    return value.item() if hasattr(value, "item") and getattr(value, "size", 1) == 1 else value
