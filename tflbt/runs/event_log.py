"""TensorBoard's view of a run: an event file made of the rows of its metrics table."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from tensorboard.compat.proto.event_pb2 import Event, SourceMetadata
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from tflbt.runs.metrics import is_logged_metric


def tag(column: str) -> str:
    """Returns the TensorBoard tag of a column: `train/`, `val/`, `seconds/`, or the column's own name.

    Example:
        >>> [tag(column) for column in ("loss", "val_accuracy", "eigenvalue", "seconds_curvature")]
        ['train/loss', 'val/accuracy', 'eigenvalue', 'seconds/curvature']
    """
    if column.startswith("seconds_"):
        return "seconds/" + column[len("seconds_") :]
    if not is_logged_metric(column):
        return column
    if column.startswith("val_"):
        return "val/" + column[len("val_") :]
    return "train/" + column


class EventLog:
    """One event file with a run's hyper-parameters and one scalar per column and epoch.

    `metrics.csv` is the record and the events are a view of it: the file is made anew from the rows each time training
    starts, and replaces those of earlier starts. So a resumed run shows every step once, in every reader, whatever a
    kill left of the old file. Events are written as protobufs, because `tf.summary` cannot give an earlier epoch its
    own time.

    Args:
        folder: The folder of the event file; made if missing.
        rows: The epochs so far of a resumed run, as `MetricsTable.read` returns them.
        hparams: Hyper-parameters by name for TensorBoard's HPARAMS page.

    Raises:
        OSError: If the file cannot be written.

    Example:
        >>> import tempfile
        >>> log = EventLog(tempfile.mkdtemp(), [], {"seed": 1})
        >>> log.add({"epoch": 1, "loss": 0.5})
        >>> log.close()
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        rows: Sequence[Mapping[str, Any]],
        hparams: Mapping[str, Any],
    ) -> None:
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        older = list(folder.glob("events.out.tfevents.*"))
        # TensorBoard reads files in the order of their names: with nanoseconds that is the order of time.
        name = f"events.out.tfevents.{time.time_ns()}.{os.getpid()}.tflbt"
        self._file: BinaryIO = open(folder / name, "wb")  # noqa: SIM115 (closed by `close`)
        self._records = RecordWriter(self._file)
        now = time.time()
        started = now - sum(_seconds(row) for row in rows)
        self._write(
            Event(
                wall_time=started,
                file_version="brain.Event:2",
                source_metadata=SourceMetadata(writer="tflbt"),
            )
        )
        if hparams:
            self._summary(hparams_pb(_plain(hparams), start_time_secs=started), 0, started)
        for row in rows:
            started += _seconds(row)
            self._add(row, started)
        self._file.flush()
        for path in older:
            path.unlink(missing_ok=True)

    def add(self, row: Mapping[str, Any]) -> None:
        """Adds an epoch: one scalar per number in the row, at the step `epoch`; text and None are left out."""
        self._add(row, time.time())
        self._file.flush()

    def close(self) -> None:
        """Closes the file; nothing can be added afterwards."""
        self._file.close()

    def _add(self, row: Mapping[str, Any], when: float) -> None:
        """Writes the numbers of a row."""
        summary = Summary()
        for column, value in row.items():
            if column != "epoch" and isinstance(value, (int, float)):
                summary.MergeFrom(_as_summary(scalar_pb(tag(column), float(value))))
        self._summary(summary, int(row["epoch"]), when)

    def _summary(self, summary: Any, step: int, when: float) -> None:
        """Writes one summary at a step and a time."""
        self._write(Event(wall_time=when, step=step, summary=_as_summary(summary)))

    def _write(self, event: Event) -> None:
        """Writes one event."""
        self._records.write(event.SerializeToString())


def _as_summary(summary: Any) -> Summary:
    """Returns a summary as one of TensorBoard's class; TensorFlow has another."""
    return Summary.FromString(summary.SerializeToString())


def _plain(hparams: Mapping[str, Any]) -> dict[str, Any]:
    """Returns values of the kinds that HPARAMS shows: numbers, text and booleans."""
    return {
        name: value if isinstance(value, (bool, int, float, str)) else str(value)
        for name, value in hparams.items()
    }


def _seconds(row: Mapping[str, Any]) -> float:
    """Returns the duration of an epoch, 0 if unknown."""
    return float(row.get("seconds") or 0.0)
