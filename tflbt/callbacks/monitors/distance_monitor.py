"""`DistanceMonitor`: how far the weights have gone from where training began, at logarithmically spaced updates."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tflbt import checks
from tflbt.analysis.diffusion import is_log_spaced
from tflbt.callbacks.states.within_epoch import goes_on_inside
from tflbt.distributed import comm
from tflbt.runs.metrics import MetricsTable

COLUMNS = ("distance", "weight_norm", "weight_cosine")


@checks.arguments
class DistanceMonitor(tf.keras.callbacks.Callback):
    r"""Logs the distance from the initial weights (Figs 11 and 12 of "The Limit of the Batch Size"); changes nothing.

    $$D_t = |w_t - w_0|_2$$

    over all trainable variables (not BatchNorm's moving statistics), after update t of the training. At the ends of
    epochs it logs `distance`, and `weight_norm` \(|w_t|\) and `weight_cosine` \(\cos(w_t, w_0)\) beside it, since with
    weight decay D also has the shrinking of w_0. The laws that D may follow (log t in a random potential, sqrt t in a
    flat one) show early, within the first epoch, so it also measures at updates evenly spread over a logarithmic axis,
    and writes these with their numbers into `table`.

    It costs one copy of the weights, a pass over them at the updates that are measured, and nothing at others. Weights
    are the same on every rank: there is no communication, and the chief alone writes. A resumed run goes on from the
    w_0 of its checkpoint.

    Args:
        table: A CSV file for a row per measurement: `epoch`, `updates` since w_0, and the columns above. Default None:
            no file; a recipe writes `distance.csv` into the run directory.
        per_decade: Measurements for ten times the updates, at least 1, default 10.
        per_variable: Whether rows also have the distance of each variable, as `distance/NAME`; default False.

    Raises:
        ValueError: If an argument is out of its range; at the first epoch, if a checkpoint's w_0 is of other variables.
        FileExistsError: At the first epoch, if `table` holds rows of another run.

    Source: section 4.2 and appendix 6.1 of `limit-of-the-batch-size.txt`; Hoffer, Hubara and Soudry (2017), whose
    code logs each tensor by itself.

    Example:
        >>> model = tf.keras.Sequential([tf.keras.layers.Dense(1, use_bias=False, input_shape=(1,))])
        >>> model.compile(tf.keras.optimizers.SGD(0.5), lambda y, z: z)  # the gradient is 1
        >>> monitor = DistanceMonitor()
        >>> history = model.fit(tf.ones([4, 1]), tf.ones([4, 1]), batch_size=1, verbose=0, callbacks=[monitor])
        >>> history.history["distance"]
        [2.0]
    """

    def __init__(
        self,
        table: str | os.PathLike[str] | None = None,
        per_decade: int = 10,
        per_variable: bool = False,
    ) -> None:
        super().__init__()
        checks.whole("per_decade", per_decade, at_least=1)
        self.table = None if table is None else MetricsTable(table)
        self.per_decade = per_decade
        self.per_variable = per_variable
        self._start: list[tf.Tensor] | None = None
        self._begin = 0  # the optimizer's iterations at w_0
        self._counted = 0  # updates since w_0, by our own count, which needs no device
        self._rows: list[dict[str, Any]] = []  # of this epoch
        self._columns: dict[str, float] = {}
        self._variables: list[tf.Variable] = []
        self._first = True  # epoch of this `fit`
        self._ours = table is None  # whether the table's rows are of this run

    def write_into(self, directory: str | os.PathLike[str]) -> None:
        """Takes a run's directory as the place of `distance.csv`, unless a table was named."""
        if self.table is None:
            self.table = MetricsTable(Path(directory) / "distance.csv")
            self._ours = True

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Waits for the first epoch, whose number shows whether this goes on."""
        self._first = True

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the weights before the first update; drops rows of epochs that a resumed run repeats."""
        self._rows = []
        if not self._first:
            return
        self._first = False
        self._variables = list(self.model.trainable_variables)
        first = epoch == 0 and not goes_on_inside(self.model)
        if first or self._start is None:
            self._start = [tf.cast(v.read_value(), tf.float32) for v in self._variables]
            self._begin = self._optimizer_count()
        if [v.shape for v in self._variables] != [part.shape for part in self._start]:
            raise ValueError(
                "DistanceMonitor: the trainable variables are not those whose initial values the checkpoint holds; "
                "resume without it (Checkpoint.resume(model, without=['DistanceMonitor'])) or with the layers as they "
                "were."
            )
        self._counted = self._optimizer_count() - self._begin
        if self.table is not None and comm.is_chief():
            if not self._ours and self.table.read():
                raise FileExistsError(
                    17,
                    "this holds the distances of another run: name another table",
                    str(self.table.path),
                )
            self.table.truncate(epoch)
        self._ours = True

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Measures, if it is due."""
        self._counted += 1
        if is_log_spaced(self._counted, self.per_decade):
            self._measure()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measures, and writes the epoch's rows."""
        self._measure()
        self._columns = {name: self._rows[-1][name] for name in COLUMNS}
        if self.table is not None and comm.is_chief():
            for row in self._rows:
                self.table.append({"epoch": epoch + 1, **row})
        if logs is not None:
            logs.update(self._columns)

    def _measure(self) -> None:
        """Adds a row, unless the last is of the same update."""
        updates = self._optimizer_count() - self._begin
        if self._rows and self._rows[-1]["updates"] == updates:
            return
        row: dict[str, Any] = {"updates": updates}
        squares = squared_lengths(self._variables, self._start or [])
        distance, norm, product, first = squares.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            cosine = product / np.sqrt(norm * first)
        row.update(zip(COLUMNS, map(float, (np.sqrt(distance), np.sqrt(norm), cosine))))
        if self.per_variable:
            for place, (variable, (square, *_)) in enumerate(zip(self._variables, squares)):
                name = f"distance/{variable.name.partition(':')[0]}"
                row[f"{name}_{place}" if name in row else name] = float(np.sqrt(square))
        self._rows.append(row)

    def _optimizer_count(self) -> int:
        """The optimizer's count, in which updates that were skipped for a gradient that is no number are none."""
        return int(self.model.optimizer.iterations)

    def epoch_columns(self) -> dict[str, Any]:
        """What this callback adds to an epoch's row."""
        return dict(self._columns)

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds: the initial weights."""
        start = None if self._start is None else [part.numpy() for part in self._start]
        return {"start": start, "begin": self._begin}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes up a `state()`."""
        start = state["start"]
        self._start = None if start is None else [tf.constant(part) for part in start]
        self._begin, self._ours = int(state["begin"]), True

    def epoch_state(self) -> dict[str, Any]:
        """What a checkpoint inside an epoch holds: its rows, which are written at its end."""
        return {"rows": self._rows}

    def restore_epoch(self, state: dict[str, Any]) -> None:
        """Goes on inside an epoch."""
        self._rows = list(state["rows"])


def squared_lengths(variables: list[tf.Variable], start: list[tf.Tensor]) -> np.ndarray:
    r"""Returns \(|w - w_0|^2, |w|^2, w \cdot w_0, |w_0|^2\) of each variable, `[variables, 4]`, in one copy."""
    rows = []
    for variable, first in zip(variables, start):
        now = tf.cast(variable, tf.float32)
        pairs = ((now - first, now - first), (now, now), (now, first), (first, first))
        rows.append(tf.stack([tf.reduce_sum(a * b) for a, b in pairs]))
    return tf.stack(rows).numpy().astype(np.float64)
