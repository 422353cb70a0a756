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
    """Returns the TensorBoard tag of a column: `train/`, `val/`, `seconds/`, or the column's own name."""
    if column.startswith("seconds_"):
        return column.replace("_", "/", 1)
    if not is_logged_metric(column):
        return column
    return column.replace("_", "/", 1) if column.startswith("val_") else f"train/{column}"


class EventLog:
    """One event file with a run's hyper-parameters and one scalar per column and epoch.

    `metrics.csv` is the record and the events are a view of it: the file is made anew from the rows each time training
    starts, and replaces those of earlier starts. So a resumed run shows every step once, in every reader, whatever a
    kill left of the old file. Events are written as protobufs, because `tf.summary` cannot give an earlier epoch its
    own time.
    """

    def __init__(
        self, folder: Path, rows: Sequence[Mapping[str, Any]], hparams: Mapping[str, Any]
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        older = list(folder.glob("events.out.tfevents.*"))
        # TensorBoard reads files in the order of their names: with nanoseconds that is the order of time.
        name = f"events.out.tfevents.{time.time_ns()}.{os.getpid()}.tflbt"
        self._file: BinaryIO = open(folder / name, "xb")  # noqa: SIM115 (closed by `close`)
        self._records = RecordWriter(self._file)
        started = time.time() - sum(_seconds(row) for row in rows)
        writer = SourceMetadata(writer="tflbt")
        version = "brain.Event:2"
        self._write(Event(wall_time=started, file_version=version, source_metadata=writer))
        if hparams:
            summary = _as_summary(hparams_pb(_plain(hparams), start_time_secs=started))
            self._write(Event(wall_time=started, step=0, summary=summary))
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
        self._write(Event(wall_time=when, step=int(row["epoch"]), summary=summary))

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
    seconds = row.get("seconds")
    return float(seconds) if isinstance(seconds, (int, float)) else 0.0
